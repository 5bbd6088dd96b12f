# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""Where the time of statements goes: exact counts in twenty cells, by hostgroup and by command.

    command comes ─┬─ QUEUE: no connection is idle ─┬─ sent ── first byte ── end of the answer
                   │   (CONNECT: one is opened)     │    └ FIRST_BYTE ┘            │
                   │                                └─ ANSWER ────────────────────┘
                   └─ TOTAL ──────────────────────────────────────────────────────┘

The clock is read when a command is sent and when its answer ended, as for the digests. When it
came and when the answer began is the time of the reactor's batch, which costs nothing: the moment
that the kernel told of it, not that when its turn came.
A statement that found an idle connection waited for none: only real waits are recorded, and
who reads adds the others to the first cell.
"""

cimport cython
from libc.stdint cimport uint64_t

PHASES = ("queue", "connect", "first_byte", "answer", "total")
assert len(PHASES) == PHASE_COUNT


cdef inline void put(Cells* into, uint64_t ns) noexcept:
    into.cells[hproxy_cell_of(ns)] += 1
    into.sum_ns += ns


cdef tuple told(Cells* cells):
    """(cells, sum in nanoseconds)"""
    cdef int cell
    return tuple([cells.cells[cell] for cell in range(HPROXY_CELLS)]), cells.sum_ns


@cython.final
cdef class PhaseTimes:

    cdef void answered(
        self, unsigned char command, uint64_t first_ns, uint64_t answer_ns, uint64_t total_ns
    ) noexcept:
        cdef int cell = hproxy_cell_of(total_ns)
        cdef Cells* into = &self.phases[<int>PHASE_TOTAL]
        into.cells[cell] += 1
        into.sum_ns += total_ns
        put(&self.phases[<int>PHASE_ANSWER], answer_ns)
        put(&self.phases[<int>PHASE_FIRST_BYTE], first_ns)
        if command < COMMANDS:
            into = &self.table.commands[command]
            into.cells[cell] += 1
            into.sum_ns += total_ns

    cpdef void queued(self, uint64_t ns) noexcept:
        put(&self.phases[<int>PHASE_QUEUE], ns)

    cpdef void connected(self, uint64_t ns) noexcept:
        put(&self.phases[<int>PHASE_CONNECT], ns)

    def read(self):
        cdef int phase
        return {PHASES[phase]: told(&self.phases[phase]) for phase in range(<int>PHASE_COUNT)}


@cython.final
cdef class PhaseTable:

    def __cinit__(self):
        self.rows = {}

    def ensure(self, int hostgroup):
        cdef PhaseTimes row = self.rows.get(hostgroup)
        if row is None:
            row = PhaseTimes.__new__(PhaseTimes)
            row.table = self
            self.rows[hostgroup] = row
        return row

    def read_commands(self):
        cdef int command
        cdef dict found = {}
        for command in range(COMMANDS):
            cells, sum_ns = told(&self.commands[command])
            if any(cells):
                found[command] = (cells, sum_ns)
        return found


def cell_of(uint64_t ns):
    """The cell of a time; for tests."""
    return hproxy_cell_of(ns)
