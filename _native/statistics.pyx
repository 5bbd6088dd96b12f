# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""What each digest cost: counts and times per digest, natively, in bounded memory.

    cached decision ── DigestCounters.record ──> its own numbers while the table lists it
                            └─ lost its place ─> DigestTable.other, and after a while it asks again

The table keeps the digests that are called most by the space-saving rule: who comes last takes
the place of the one with the least value and inherits that value as credit, so a digest with
more than 1/limit of all calls is always listed. Only reported numbers differ from the rule:
they are exact from the moment of listing on, what came before is in `other`, nothing is counted
twice, and the sum over all rows is exact.
"""

cimport cython
from libc.math cimport ceil
from libc.stdlib cimport calloc, free

from collections import namedtuple
from heapq import heappop, heappush, heapreplace

cdef extern from *:
    int __builtin_clzll(unsigned long long value) noexcept nogil


Row = namedtuple(
    "Row",
    "key count_star errors rows_sent rows_affected bytes_in bytes_out sum_ns min_ns max_ns"
    " first_seen last_seen p50_ns p95_ns p99_ns credit",
    module=__name__,
)


cdef inline int index_of(uint64_t ns) noexcept nogil:
    """The bucket: the highest bit chooses the group of 8, the three bits below it the bucket."""
    cdef uint64_t units = ns >> UNIT_BITS
    cdef int shift
    if units < (1 << SUB_BITS):
        return <int>units
    shift = 63 - __builtin_clzll(units) - SUB_BITS
    if shift > BUCKETS // 8 - 2:
        return BUCKETS - 1
    return (shift << SUB_BITS) + <int>(units >> shift)


cdef inline uint64_t lower_of(int index) noexcept nogil:
    """The least time of a bucket; that of BUCKETS is the end of the last one."""
    cdef uint64_t group = index >> SUB_BITS
    cdef uint64_t units = index
    if group > 0:
        units = ((1 << SUB_BITS) + (units & 7)) << (group - 1)
    return units << UNIT_BITS


cdef double fraction_of(double percent) except -1:
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {percent}")
    return percent / 100


@cython.final
cdef class Histogram:

    def __dealloc__(self):
        free(self.high)

    cpdef void record(self, uint64_t ns) noexcept:
        cdef int index = index_of(ns)
        self.total += 1
        self.low[index] += 1
        if self.low[index] == 0:
            self.carry(index)

    cdef void carry(self, int index) noexcept:
        """A bucket went round: 2^32 calls are a few days of one busy digest."""
        if self.high == NULL:
            self.high = <uint64_t*>calloc(BUCKETS, sizeof(uint64_t))
        if self.high == NULL:
            self.low[index] = 0xFFFFFFFF
        else:
            self.high[index] += 1

    cdef uint64_t bucket(self, int index) noexcept:
        cdef uint64_t high = self.high[index] if self.high != NULL else 0
        return (high << 32) + self.low[index]

    cdef void add(self, int index, uint64_t count) noexcept:
        cdef uint64_t sum = self.bucket(index) + count
        self.total += count
        self.low[index] = <uint32_t>(sum & 0xFFFFFFFF)
        if sum >> 32 != 0:
            if self.high == NULL:
                self.carry(index)
            if self.high != NULL:
                self.high[index] = sum >> 32

    cdef void fold(self, Histogram other) noexcept:
        cdef int index
        cdef uint64_t total = self.total + other.total
        for index in range(BUCKETS):
            self.add(index, other.bucket(index))
        self.total = total

    cdef uint64_t at(self, double fraction) noexcept:
        cdef uint64_t sum = 0, seen = 0, rank
        cdef int index
        for index in range(BUCKETS):
            sum += self.bucket(index)
        if sum == 0:
            return 0
        rank = <uint64_t>ceil(fraction * <double>sum)
        # The last rank of a sum beyond 2^53 may round up past it.
        rank = min(max(rank, <uint64_t>1), sum)
        for index in range(BUCKETS):
            seen += self.bucket(index)
            if seen >= rank:
                break
        return (lower_of(index) + lower_of(index + 1)) // 2

    def percentile(self, double percent):
        return self.at(fraction_of(percent))

    def percentiles(self, percents):
        return [self.at(fraction_of(percent)) for percent in percents]

    def merge(self, Histogram other not None):
        self.fold(other)

    def rows(self):
        return [
            (lower_of(index), lower_of(index + 1), self.bucket(index))
            for index in range(BUCKETS)
            if self.bucket(index) != 0
        ]

    def load(self, rows):
        cdef uint64_t start, end, count
        cdef int index
        cdef list found = []
        for start, end, count in rows:
            index = index_of(start)
            if lower_of(index) != start or lower_of(index + 1) != end:
                raise ValueError(f"no bucket reaches from {start} to {end} ns")
            found.append((index, count))
        for index, count in found:
            self.add(index, count)


@cython.final
cdef class DigestCounters:

    cpdef void record(
        self, uint64_t ns, uint64_t rows, uint64_t affected, uint64_t bytes_in, uint64_t bytes_out,
        bint error, double now,
    ) noexcept:
        cdef DigestCounters into = self
        if self.outside:
            try:
                into = self.table.route(self)
            except Exception:  # no memory to be listed again
                into = self.table.other
        into.remember(ns)
        if into.count == 0:
            into.first_seen = now
            into.min_ns = ns
        elif ns < into.min_ns:
            into.min_ns = ns
        if ns > into.max_ns:
            into.max_ns = ns
        into.count += 1
        into.errors += error
        into.rows_sent += rows
        into.rows_affected += affected
        into.bytes_in += bytes_in
        into.bytes_out += bytes_out
        into.sum_ns += ns
        into.last_seen = now

    cdef DigestCounters elsewhere(self, int hostgroup):
        """Those of the same digest in another hostgroup: a transaction, say, that stays there."""
        if self.table is None:
            return self
        return self.table.entry((hostgroup, *(<tuple?>self.key)[1:]))

    cdef void remember(self, uint64_t ns) noexcept:
        """Keep a time; most digests are called a few times only and need no histogram."""
        if self.histogram is None:
            if self.count < FEW:
                self.few[self.count] = ns
                return
            self.grow()
            if self.histogram is None:
                return
        self.histogram.record(ns)

    cdef void grow(self) noexcept:
        cdef Histogram histogram
        cdef uint64_t kept
        try:
            histogram = Histogram.__new__(Histogram)
        except MemoryError:
            return
        for kept in range(min(self.count, <uint64_t>FEW)):
            histogram.record(self.few[kept])
        self.histogram = histogram

    cdef void fold(self, DigestCounters other) noexcept:
        cdef uint64_t kept
        cdef uint64_t count = other.count
        if count == 0:
            return
        if self.histogram is None:
            if other.histogram is not None or self.count + count > FEW:
                self.grow()
            else:
                for kept in range(count):
                    self.few[self.count + kept] = other.few[kept]
        if self.histogram is not None:
            if other.histogram is not None:
                self.histogram.fold(other.histogram)
            else:
                for kept in range(min(count, <uint64_t>FEW)):
                    self.histogram.record(other.few[kept])
        if self.count == 0 or other.first_seen < self.first_seen:
            self.first_seen = other.first_seen
        if self.count == 0 or other.last_seen > self.last_seen:
            self.last_seen = other.last_seen
        if self.count == 0 or other.min_ns < self.min_ns:
            self.min_ns = other.min_ns
        if other.max_ns > self.max_ns:
            self.max_ns = other.max_ns
        self.count += count
        self.errors += other.errors
        self.rows_sent += other.rows_sent
        self.rows_affected += other.rows_affected
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.sum_ns += other.sum_ns

    cdef void clear(self) noexcept:
        self.count = self.errors = self.rows_sent = self.rows_affected = 0
        self.bytes_in = self.bytes_out = self.sum_ns = self.min_ns = self.max_ns = 0
        self.first_seen = self.last_seen = 0
        self.credit = 0
        self.histogram = None

    def percentiles(self, percents):
        cdef list fractions = [fraction_of(percent) for percent in percents]
        cdef list few
        cdef uint64_t kept
        if self.histogram is not None:
            return [min(max(self.histogram.at(f), self.min_ns), self.max_ns) for f in fractions]
        few = sorted([self.few[kept] for kept in range(min(self.count, <uint64_t>FEW))])
        if not few:
            return [0 for _ in fractions]
        return [few[max(<Py_ssize_t>ceil(<double>f * len(few)), 1) - 1] for f in fractions]

    def merge(self, DigestCounters other not None):
        self.fold(other)

    def row(self):
        return Row(
            self.key, self.count, self.errors, self.rows_sent, self.rows_affected, self.bytes_in,
            self.bytes_out, self.sum_ns, self.min_ns, self.max_ns, self.first_seen, self.last_seen,
            *self.percentiles((50, 95, 99)), self.credit,
        )


@cython.final
cdef class DigestTable:

    def __cinit__(self, Py_ssize_t limit):
        if limit < 1:
            raise ValueError(f"a table of {limit} digests lists nothing")
        self.limit = limit
        self.other = DigestCounters.__new__(DigestCounters)
        self.entries = {}
        self.heap = []

    cpdef DigestCounters entry(self, object key):
        cdef DigestCounters counters = self.entries.get(key)
        if counters is None:
            counters = DigestCounters.__new__(DigestCounters)
            counters.key = key
            counters.table = self
            self.admit(counters)
        return counters

    cdef DigestCounters route(self, DigestCounters outsider):
        """Where a call of a digest counts whose counters are not listed."""
        cdef DigestCounters twin = outsider.twin
        if twin is not None and not twin.outside:
            return twin
        if outsider.wait > 0:
            outsider.wait -= 1
            return self.other
        outsider.twin = self.entries.get(outsider.key)
        if outsider.twin is not None:
            return outsider.twin
        self.admit(outsider)
        return outsider

    cdef int admit(self, DigestCounters counters) except -1:
        cdef uint64_t credit = 0
        if len(self.entries) >= self.limit:
            credit = self.evict()
        self.order += 1
        heappush(self.heap, (credit, self.order, counters))
        self.entries[counters.key] = counters
        counters.credit = credit
        counters.outside = False
        return 0

    cdef uint64_t evict(self) except? 0xFFFFFFFFFFFFFFFF:
        """Fold the least valuable digest into `other`; its value.

        The heap knows values of the past, and values only grow: an entry on top that has grown
        goes back down. Each such step is paid for by a call counted since the last one.
        """
        cdef DigestCounters counters
        cdef uint64_t value
        while True:
            pushed, order, counters = self.heap[0]
            value = counters.credit + counters.count
            if value == pushed:
                break
            heapreplace(self.heap, (value, order, counters))
        heappop(self.heap)
        del self.entries[counters.key]
        self.other.fold(counters)
        counters.clear()
        counters.outside = True
        counters.wait = WAIT_CALLS
        self.evicted += 1
        return value

    def snapshot(self):
        cdef DigestCounters counters
        return [counters.row() for counters in self.entries.values() if counters.count > 0]

    def total(self):
        cdef DigestCounters sum = DigestCounters.__new__(DigestCounters)
        cdef DigestCounters counters
        sum.fold(self.other)
        for counters in self.entries.values():
            sum.fold(counters)
        return sum

    def reset(self):
        cdef DigestCounters counters
        for counters in self.entries.values():
            counters.clear()
            counters.outside = True
            counters.wait = 0
        self.entries.clear()
        self.heap.clear()
        self.other.clear()

    def __len__(self):
        return len(self.entries)
