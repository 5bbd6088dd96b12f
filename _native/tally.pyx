# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""How often each command of SQL was run, and how long that took: exact, whatever is listed.

    decision ── its command ── record(ns) ──> count, sum, one of twelve cells

A digest may lose its place in the bounded table of digests; a command never does. Which command
a statement is was found when its decision was made, so that a call costs a few additions.
"""

cimport cython
from libc.stdint cimport uint64_t

cdef uint64_t LIMITS[11]
LIMITS[:] = [
    100_000, 500_000, 1_000_000, 5_000_000, 10_000_000, 50_000_000, 100_000_000, 500_000_000,
    1_000_000_000, 5_000_000_000, 10_000_000_000,
]


@cython.final
cdef class CommandCounters:

    cpdef void record(self, uint64_t ns) noexcept:
        cdef int cell = 0
        while cell < CELLS - 1 and ns > LIMITS[cell]:
            cell += 1
        self.cells[cell] += 1
        self.count += 1
        self.sum_ns += ns

    @property
    def histogram(self):
        return tuple([self.cells[cell] for cell in range(CELLS)])


@cython.final
cdef class CommandTable:

    def __cinit__(self, names):
        self.rows = {}
        for name in names:
            self.ensure(name)

    def row(self, str name not None):
        return self.rows[name]

    def ensure(self, str name not None):
        cdef CommandCounters row = self.rows.get(name)
        if row is None:
            row = CommandCounters.__new__(CommandCounters)
            row.name = name
            self.rows[name] = row
        return row

    @property
    def count(self):
        return sum([(<CommandCounters>row).count for row in self.rows.values()])

    @property
    def sum_ns(self):
        return sum([(<CommandCounters>row).sum_ns for row in self.rows.values()])
