# SPDX-License-Identifier: Apache-2.0
# The map of tally: how often each command of SQL was run, and in how many of twelve times.
#
# Memory: a table makes its rows once; a row is 140 bytes. A decision keeps its row alive.
# Failure: counting never fails. The GIL is held; times are nanoseconds.

from libc.stdint cimport uint64_t

cdef enum:
    CELLS = 12                 # 100 us .. 10 s, and all that take longer


cdef class CommandCounters:
    cdef readonly str name
    cdef readonly uint64_t count
    cdef readonly uint64_t sum_ns
    cdef uint64_t cells[12]

    cpdef void record(self, uint64_t ns) noexcept


cdef class CommandTable:
    cdef readonly dict rows             # name -> CommandCounters, in the order given
