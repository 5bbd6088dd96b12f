# SPDX-License-Identifier: Apache-2.0
# The map of mysql_multiplex: a client session that borrows a backend connection per statement.
#
# Memory: an idle session holds no buffer, no connection and, until it prepares, no table of
# statements. A command is kept (`copy`) while it is under way if it may have to be sent again.
# Failure: everything unusual is told to `driver` (Python); its methods are listed on top of
# session/multiplex.py. The GIL is held.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from hproxy._native.decision cimport Decision, DecisionCache
from hproxy._native.digest cimport Digester
from hproxy._native.endpoint cimport Endpoint
from hproxy._native.execution cimport ExecuteLayout
from hproxy._native.mysql_session cimport Session
from hproxy._native.pool cimport BackendConnection, Group
from hproxy._native.statements cimport BackendStatement, ClientStatement, ClientStatements

cdef enum:
    WHOLE_LIMIT = 49152        # frame bytes of a command that may wait in the client's inbox
    GATHER_LIMIT = 1048576     # frame bytes of a command that is read whole before it is judged
    COPY_LIMIT = 16384         # frame bytes of a command that is kept to be sent again


cdef enum:                     # reasons to keep a connection; protocols/mysql/pins.py names them
    PIN_TRANSACTION = 1
    PIN_OPEN_CURSOR = 16
    PIN_LONG_DATA = 32
    PIN_FOUND_ROWS = 64
    PIN_WARNINGS = 128
    PIN_LOCAL_INFILE = 256
    PIN_NEXT_TRANSACTION = 512
    PIN_SESSION_MODE = 32768


cdef class Multiplexed(Session):
    cdef Digester digester
    cdef DecisionCache decisions
    cdef readonly Decision decision         # of the command under way
    cdef readonly Decision answered_decision    # of the one before it
    cdef readonly BackendConnection held    # None while it needs none
    cdef readonly BackendConnection last    # held before; its context may still be ours
    cdef uint64_t last_uses
    cdef readonly uint64_t serial           # of this session, never 0
    cdef public object settings             # what the serving connection must be set to
    cdef readonly uint64_t salt                      # account and schema, mixed into digests
    cdef public int modes                   # how its texts are lexed
    cdef readonly uint32_t pins             # without TRANSACTION, which is in the status flags
    cdef public uint32_t status             # server status flags of the last answer
    cdef public bint watched                # the driver is told when this statement is answered
    cdef public bint watch_next             # ... and of the next ones, until this is taken back
    cdef public bint fast_lane
    cdef public bint keeps_warnings         # the server keeps them over what names no table
    cdef public bint exact_insert_ids       # ask for LAST_INSERT_ID() before giving back
    cdef uint64_t insert_id_seen            # in an OK; LAST_INSERT_ID() may know nothing of it
    cdef readonly bint insert_id_open                # ... because an OK does not say it for sure
    cdef public uint64_t last_insert_id
    cdef public double hold_seconds         # on the writer after a write of its own
    cdef double wrote_at                    # ... or its transaction ended; 0 = never
    cdef bint wrote                         # in the transaction that is open
    cdef bint doubtful                      # PIN_TRANSACTION is for what the last ERR may hide
    cdef public double wait_limit           # seconds a statement may wait for a connection
    cdef readonly double pinned_since       # reactor seconds; 0 = it is not
    cdef readonly bytes pinned_by           # digest of the statement that pinned it
    cdef bytes pending                      # frame of a command the driver submitted
    cdef bytes copy                         # frame of the command under way, as the client sent it
    cdef bytes refusal                      # answer to the next command instead of running it
    cdef readonly int attempts              # times the command under way was sent
    cdef bytearray gathered                 # a long command while it is read
    cdef Py_ssize_t missing                 # bytes of it still to come
    cdef uint64_t begun                     # nanoseconds, when the command was sent
    cdef uint64_t bytes_before              # of the client, in and out, when it was sent
    cdef readonly uint64_t context_serial   # statements that left a context of their own
    cdef public int64_t row_count           # what ROW_COUNT() returns
    cdef readonly uint64_t found_rows
    cdef public bint restated               # these were told in the text: no connection has them
    cdef readonly ClientStatements statements       # None until it prepares
    cdef readonly ClientStatement statement         # of the command under way
    cdef public bint shows_transactions     # ... or is told of transactions whatever it turned on
    cdef public bint shows_in_eof           # ... and what sets the flag behind rows, too
    cdef unsigned char told_begin           # of transactions it was last told: BEGUN[told_begin]
    cdef public bint shows_state            # the client has turned tracking of its own on
    cdef int cursors                        # statements with an open cursor
    cdef int long_data                      # statements with long data sent

    cdef Py_ssize_t look(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t query(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Py_ssize_t on_statement(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Decision decision_of(self, ClientStatement statement)
    cdef Py_ssize_t close_statement(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t reset_statement(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t to_driver(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Py_ssize_t gather(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Py_ssize_t refuse_command(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t dispatch(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t bind_statement(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t send_typed(
        self, unsigned char* p, Py_ssize_t have, BackendStatement entry, ExecuteLayout* layout
    ) except -2
    cdef bint acquire(self) except -1
    cpdef Group target(self, Decision decision)
    cdef bint answers(self, uint32_t flags) noexcept
    cdef bint keeps_context(self) noexcept
    cdef int nothing_done(self) except -1
    cdef bint back_from_driver(self) except -1
    cdef bint keeps(self, uint32_t flags) noexcept
    cdef int attach(self, BackendConnection connection) except -1
    cdef BackendConnection detach(self)
    cdef int let_go(self) except -1
    cdef int settle(self) except -1
    cdef int go(self) except -1
    cdef int sending(self) except -1
    cdef int answered_statement(self) except -1
    cdef int keep_prepared(self, ClientStatement statement) except -1
    cdef int dispose(self, ClientStatement statement) except -1
    cdef int forget_types(self, ClientStatement statement) except -1
    cdef int forget_cursor(self, ClientStatement statement) noexcept
    cdef int forget_long_data(self, ClientStatement statement) noexcept
    cdef Py_ssize_t state_changed(self, unsigned char* frame, Py_ssize_t size) except -2
    cdef Py_ssize_t keep_transactions(
        self, unsigned char* p, Py_ssize_t length, uint32_t status) noexcept
    cdef Py_ssize_t tell_begun(
        self, const unsigned char* letters, bint again, uint32_t status) noexcept
    cdef Py_ssize_t refused_by_backend(self, unsigned char* frame, Py_ssize_t size) except -2
    cdef int send_again(self) except -1
    cdef int send_pending(self) except -1
    cdef int next_command(self) except -1
    cdef bytes ok(self)
    cpdef Multiplexed like(self, Endpoint client)
