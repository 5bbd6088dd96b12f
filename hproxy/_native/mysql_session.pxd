# SPDX-License-Identifier: Apache-2.0
# The map of mysql_session: the command phase of one client, relayed to one backend.
#
# Memory: a session refers to two endpoints, which own their sockets; it buffers nothing.
# Failure: everything unusual is told to `driver` (Python, the slow lane), whose methods are
# the named points below; a driver that raises closes this session only. The GIL is held.

from libc.stdint cimport uint64_t
from hproxy._native.endpoint cimport Endpoint
from hproxy._native.mysql cimport CommandFramer, Reply, ResponseScanner
from hproxy._native.notes cimport Notes
from hproxy._native.pool cimport Borrower

cdef enum:
    SLOW_STATEMENT = 4096      # longest statement looked at for KILL, in bytes


cdef enum SessionState:
    SESSION_IDLE
    SESSION_COMMAND            # a command is being forwarded
    SESSION_RESPONSE           # its response is awaited or relayed
    SESSION_INFILE             # the client's file is being forwarded
    SESSION_STREAM             # both directions flow until the response ends (binlog dump)
    SESSION_SLOW               # the driver holds a command
    SESSION_WAITING            # a command waits for a backend connection
    SESSION_GATHER             # a long command is read whole before it is judged
    SESSION_CLOSED


cdef class Session(Borrower):
    cdef readonly Endpoint client
    cdef readonly Endpoint backend      # None while a multiplexed session holds none
    cdef readonly ResponseScanner scanner
    cdef CommandFramer framer
    cdef SessionState session_state
    cdef Reply reply_kind               # of the command under way
    cdef object driver
    cdef public object tag              # the driver's own record of this session
    cdef public Notes notes             # what is told of its statements; None: nothing
    cdef public double idle_timeout     # seconds between commands; 0 = for ever
    cdef public uint64_t max_packet     # longest command or part of a file, in bytes
    cdef readonly unsigned char command     # command byte under way or last
    cdef readonly uint64_t commands     # commands seen
    cdef readonly double began          # reactor seconds, when the last one came
    cdef readonly double transaction_since  # reactor seconds; 0 = it is in none
    cdef bint query_attributes          # CLIENT_QUERY_ATTRIBUTES was agreed
    cdef bint discarding                # the rest of a refused command is thrown away
    cdef bint answered                  # the response ended before the command was sent
    cdef readonly bint farewell                  # the backend has said an unasked-for ERR

    cdef Py_ssize_t client_data(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef Py_ssize_t backend_data(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef Py_ssize_t slow_length(self, const unsigned char* p, Py_ssize_t have) noexcept
    cdef void seen(self, unsigned char command) noexcept
    cdef void unseen_again(self) noexcept
    cdef void to_slow(self, unsigned char command) noexcept
    cdef int open_command(self, const unsigned char* p, Py_ssize_t have) except -1
    cdef Py_ssize_t relay(self, unsigned char* data, Py_ssize_t length) except -2
    cdef int command_sent(self) except -1
    cdef bint response_ended(self) except -1
    cdef int note_ended(self) except -1
    cdef int response_done(self) except -1
    cdef Py_ssize_t unasked(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int tell(self, list payloads, int sequence) except -1
    cdef int hang_up(self, str reason) except -1

    # Hooks: what a multiplexed session does otherwise.
    cdef Py_ssize_t begin(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t inspect(self, unsigned char* frame, Py_ssize_t size) except -2
    cdef int leave_backend(self, SessionState before) except -1
    cdef Py_ssize_t collect(self, unsigned char* p, Py_ssize_t have) except -2
    cdef int became_idle(self) except -1
    cdef bint owns_surplus(self) except -1
