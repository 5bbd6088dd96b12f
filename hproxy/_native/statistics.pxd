# SPDX-License-Identifier: Apache-2.0
# The map of statistics: histograms of time, counters of a digest, the bounded table of them.
#
# Memory: a Histogram is 1 KiB inside its object; `high` is malloc'ed when the first bucket
# passes 2^32 and freed with it. DigestCounters make their histogram after FEW calls. Holding
# one keeps it (and its table) alive, whether or not the table still lists it.
# Failure: recording never fails: without memory a time is left out of the percentiles only.
# The GIL is held throughout; times are nanoseconds, moments are seconds of the reactor's clock.

from libc.stdint cimport uint32_t, uint64_t


cdef enum:
    SUB_BITS = 3           # 8 buckets per power of two: a middle is off by at most 1/16
    UNIT_BITS = 7          # buckets begin with 128 ns: 1 us falls where 1/16 holds already
    BUCKETS = 264          # enough for 2^42 ns, 73 minutes; longer ones count as that
    FEW = 8                # times kept as they are before a histogram is made
    WAIT_CALLS = 16        # calls of a digest that lost its place before it asks for another


cdef class Histogram:
    cdef uint32_t low[264]
    cdef uint64_t* high                         # NULL until a bucket's `low` went round; 2^32s
    cdef readonly uint64_t total                # times recorded

    cpdef void record(self, uint64_t ns) noexcept
    cdef void carry(self, int index) noexcept
    cdef void add(self, int index, uint64_t count) noexcept
    cdef uint64_t bucket(self, int index) noexcept
    cdef void fold(self, Histogram other) noexcept
    cdef uint64_t at(self, double fraction) noexcept


cdef class DigestCounters:
    cdef readonly object key                    # what the table lists it by; None: belongs to none
    cdef readonly uint64_t count                # statements, failed ones included
    cdef readonly uint64_t errors
    cdef readonly uint64_t rows_sent
    cdef readonly uint64_t rows_affected
    cdef readonly uint64_t bytes_in             # from clients
    cdef readonly uint64_t bytes_out            # to clients
    cdef readonly uint64_t sum_ns
    cdef readonly uint64_t min_ns
    cdef readonly uint64_t max_ns
    cdef readonly double first_seen
    cdef readonly double last_seen
    cdef readonly Histogram histogram           # None up to FEW calls
    cdef uint64_t few[8]
    cdef readonly uint64_t credit               # calls it may have had while not listed, at most
    cdef DigestTable table
    cdef DigestCounters twin                    # listed under the same key while this one is not
    cdef bint outside                           # the table lists it no longer
    cdef unsigned int wait                      # calls until it asks to be listed again

    cpdef void record(
        self, uint64_t ns, uint64_t rows, uint64_t affected, uint64_t bytes_in, uint64_t bytes_out,
        bint error, double now,
    ) noexcept
    cdef DigestCounters elsewhere(self, int hostgroup)
    cdef void remember(self, uint64_t ns) noexcept
    cdef void grow(self) noexcept
    cdef void fold(self, DigestCounters other) noexcept
    cdef void clear(self) noexcept


cdef class DigestTable:
    cdef readonly Py_ssize_t limit              # digests listed at most
    cdef readonly uint64_t evicted              # digests that lost their place so far
    cdef readonly DigestCounters other          # all calls of digests that are not listed
    cdef dict entries                           # key -> DigestCounters
    cdef list heap                              # (value when pushed, order, DigestCounters)
    cdef uint64_t order

    cpdef DigestCounters entry(self, object key)
    cdef DigestCounters route(self, DigestCounters outsider)
    cdef int admit(self, DigestCounters counters) except -1
    cdef uint64_t evict(self) except? 0xFFFFFFFFFFFFFFFF
