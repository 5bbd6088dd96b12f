# SPDX-License-Identifier: Apache-2.0
# The map of phases: where the time of statements goes, by hostgroup and by command.
#
# Memory: a hostgroup has 840 bytes, made once; a worker has 5.5 KB for its commands.
# Failure: counting never fails. The GIL is held; times are nanoseconds.

from libc.stdint cimport uint64_t

cdef extern from "cells.h":
    enum:
        HPROXY_CELLS               # 10 us, 20, 50 .. 10 s, and all that take longer
    int hproxy_cell_of(uint64_t ns) noexcept nogil

cdef enum:
    COMMANDS = 33                  # COM_SLEEP .. COM_END: those that have names in the protocol

cdef enum Phase:                   # PHASES in phases.pyx names them
    PHASE_QUEUE                    # a statement waits for a connection that others have
    PHASE_CONNECT                  # a connection is opened, logged in and set up
    PHASE_FIRST_BYTE               # the command was sent, its answer begins
    PHASE_ANSWER                   # the command was sent, its answer ended
    PHASE_TOTAL                    # the command came, its answer ended: what a client feels
    PHASE_COUNT


cdef struct Cells:
    uint64_t sum_ns
    uint64_t cells[20]


cdef class PhaseTimes:             # one hostgroup
    cdef Cells phases[5]
    cdef PhaseTable table

    cdef void answered(
        self, unsigned char command, uint64_t first_ns, uint64_t answer_ns, uint64_t total_ns
    ) noexcept
    cpdef void queued(self, uint64_t ns) noexcept
    cpdef void connected(self, uint64_t ns) noexcept


cdef class PhaseTable:             # of a worker
    cdef readonly dict rows        # hostgroup -> PhaseTimes
    cdef Cells commands[33]        # PHASE_TOTAL by command byte
