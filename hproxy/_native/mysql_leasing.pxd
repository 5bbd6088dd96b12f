# SPDX-License-Identifier: Apache-2.0
# The map of mysql_leasing: how a session comes by a backend connection and is rid of it.
#
# Memory: an idle session holds no connection. `last` keeps the one before alive, not busy.
# Failure: what a connection lacks is told to `driver` (Python); its methods are listed on top of
# session/multiplex.py. The GIL is held.

from libc.stdint cimport uint32_t, uint64_t
from hproxy._native.decision cimport Decision
from hproxy._native.mysql_session cimport Session
from hproxy._native.pool cimport BackendConnection, Group, Server

cdef enum:                     # server status flags
    STATUS_IN_TRANSACTION = 0x0001
    STATUS_AUTOCOMMIT = 0x0002


cdef enum:                     # reasons to keep a connection; protocols/mysql/pins.py names them
    PIN_TRANSACTION = 1
    PIN_OPEN_CURSOR = 16
    PIN_LONG_DATA = 32
    PIN_FOUND_ROWS = 64
    PIN_WARNINGS = 128
    PIN_NEXT_TRANSACTION = 512
    PIN_SESSION_MODE = 32768
    PIN_NO_MULTIPLEX = 262144


cdef bytes CLOSE_STATEMENT     # a frame but for the statement's number
cdef uint64_t UNKNOWN_ID       # no LAST_INSERT_ID()


cdef class Leasing(Session):
    cdef readonly Decision decision         # of the command under way
    cdef readonly BackendConnection held    # None while it needs none
    cdef readonly BackendConnection last    # held before; its context may still be ours
    cdef uint64_t last_uses
    cdef double arrived                     # reactor seconds, when the command under way came
    cdef readonly uint64_t serial           # of this session, never 0
    cdef public object settings             # what the serving connection must be set to
    cdef readonly uint32_t pins             # without TRANSACTION, which is in the status flags
    cdef public uint32_t status             # server status flags of the last answer
    cdef public bint keeps_warnings         # the server keeps them over what names no table
    cdef public bint restated               # ROW_COUNT() was told in the text: no connection has it
    cdef public bint exact_insert_ids       # ask for LAST_INSERT_ID() before giving back
    cdef uint64_t insert_id_seen            # in an OK; LAST_INSERT_ID() may know nothing of it
    cdef readonly bint insert_id_open       # ... because an OK does not say it for sure
    cdef public uint64_t last_insert_id
    cdef public double hold_seconds         # on the writer after a write of its own
    cdef double wrote_at                    # ... or its transaction ended; 0 = never
    cdef public double wait_limit           # seconds a statement may wait for a connection
    cdef public bint roams                  # query rules take statements out of a transaction
    cdef Server avoided                     # has just lost a connection under the command under way
    cdef readonly BackendConnection aside   # of the transaction while they run elsewhere
    cdef uint32_t aside_status              # what `status` and `pins` were of it
    cdef uint32_t aside_pins
    cdef bint aside_id_open                 # and `insert_id_open`, `insert_id_seen`
    cdef uint64_t aside_id_seen
    cdef readonly bint sticks               # a query rule wants it to keep the connection it has
    cdef bint doubtful                      # PIN_TRANSACTION is for what the last ERR may hide
    cdef public bint leaving                # its next command is left to another process
    cdef readonly double pinned_since       # reactor seconds; 0 = it is not
    cdef readonly bytes pinned_by           # digest of the statement that pinned it

    cpdef Group target(self, Decision decision)
    cdef bint answers(self, uint32_t flags) noexcept
    cdef bint keeps_context(self) noexcept
    cdef bint keeps(self, uint32_t flags) noexcept
    cdef bint acquire(self) except -1
    cdef int attach(self, BackendConnection connection) except -1
    cdef BackendConnection detach(self)
    cdef int let_go(self) except -1
    cdef int settle(self) except -1
    cdef bint leaves(self) except -1
    cdef int set_aside(self) except -1
    cdef int take_back(self) except -1

    # Hook: Multiplexed has what is to be sent.
    cdef int go(self) except -1
