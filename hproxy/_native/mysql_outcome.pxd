# SPDX-License-Identifier: Apache-2.0
# The map of mysql_outcome: what an answer leaves in the session.
#
# Memory: a command is kept (`copy`) while it is under way if it may have to be sent again.
# Failure: an ERR about the connection, not the command, costs the connection and the command is
# sent again where that is safe. The GIL is held.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from hproxy._native.decision cimport Decision
from hproxy._native.mysql_tracked cimport Tracked
from hproxy._native.statements cimport ClientStatement, ClientStatements


cdef enum:
    LOGGED_LIMIT = 65536       # payload bytes of a command that are kept to be logged


cdef class Watch:
    cdef public uint64_t slow_ns            # what takes so long is slow; 0: nothing is
    cdef public bint tell                   # the driver is told of slow statements
    cdef public uint64_t slow               # slow statements so far


cdef class Outcome(Tracked):
    cdef public Watch watch                 # of the worker; None: nothing is slow
    cdef bytes logged                       # payload of the command under way, if it is logged
    cdef readonly Decision answered_decision    # of the command before the one under way
    cdef public bint watch_next             # the driver is told of the next ones, too
    cdef bint wrote                         # in the transaction that is open
    cdef bytes copy                         # frame of the command under way, as the client sent it
    cdef readonly int attempts              # times the command under way was sent
    cdef uint64_t begun                     # nanoseconds, when the command was sent
    cdef double first_at                    # reactor seconds, when its answer began; 0 = not yet
    cdef uint64_t bytes_before              # to the client, when it was sent
    cdef uint64_t received_before           # from the backend, then
    cdef bytes refusal_told                 # ERR that is the whole answer under way, else None
    cdef readonly uint64_t context_serial   # statements that left a context of their own
    cdef public int64_t row_count           # what ROW_COUNT() returns
    cdef readonly uint64_t found_rows
    cdef readonly ClientStatements statements       # None until it prepares
    cdef readonly ClientStatement statement         # of the command under way
    cdef public bint expired                # it is killed: its answer has taken too long
    cdef public bytearray captured          # frames of the answer, if they are wanted
    cdef public Py_ssize_t capture_limit    # bytes of them that may be kept
    cdef int cursors                        # statements with an open cursor
    cdef int long_data                      # statements with long data sent

    cdef int sending(self) except -1
    cdef int keep_for_log(self, const unsigned char* p, Py_ssize_t have) except -1
    cdef int report(
        self, Decision decision, ClientStatement statement, bytes copy, uint64_t took) except -1
    cdef Py_ssize_t refused_by_backend(self, unsigned char* frame, Py_ssize_t size) except -2
    cdef int answered_statement(self) except -1
    cdef int account(self, Decision decision, bint errored, uint64_t ns) except -1
    cdef int learn_transaction(self, uint32_t flags, bint errored) except -1
    cdef int learn_counts(self, uint32_t flags, bint errored) except -1
    cdef int learn_warnings(self, uint32_t flags, bint errored) except -1
    cdef int nothing_done(self) except -1
    cdef bytes ok(self)

    # Hooks: what is open in a statement, and where a command is sent again.
    cdef int learn_statement(self, ClientStatement statement, bint errored) except -1
    cdef int send_again(self) except -1
    cdef int hold_back(self) except -1
