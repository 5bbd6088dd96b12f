# SPDX-License-Identifier: Apache-2.0
# The map of statements: what is prepared, by which client, on which connection.
#
# Memory: a Statement lives as long as the cache or anybody who prepared it; the cache's list
# holds plain pointers to what its dict owns. Nothing points into a caller's buffer after a call.
# Failure: `bind` never raises; the rest may raise MemoryError. In steady
# state (types known on both sides) nothing is allocated. The GIL is held throughout.

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from hproxy._native.execution cimport ExecuteLayout, ParameterTypes

cdef enum:
    TYPES_KEPT = 16            # distinct type blocks interned for one statement
    LATEST_ID = 0xFFFFFFFF     # MariaDB: the statement this connection prepared last


cdef enum Execution:           # what read_execute found
    EXECUTE_MALFORMED = -1     # answer 1835, Malformed communication packet
    EXECUTE_MORE = 0           # call again with more of the packet; nothing was recorded
    EXECUTE_READ = 1
    EXECUTE_UNTYPED = 2        # answer 1210, as a server that was never told the types
    EXECUTE_FEWER = 3          # answer 1210, as a server that got fewer values than it asked for


cdef enum Binding:             # what bind says
    BIND_AS_IS                 # send it with the other id patched in
    BIND_TYPES                 # the connection has other types: send what `typed` returns


cdef class Statement:
    cdef readonly object key
    cdef readonly bytes text
    cdef readonly uint64_t number       # of this process's statements, from 1
    cdef readonly uint16_t params
    cdef readonly uint16_t columns
    cdef readonly bint sticky           # the server derives types from the first execution (MySQL)
    cdef readonly object response       # as the caller gave it
    cdef public object decision
    cdef public int64_t epoch           # of the schemas when `response` came; -1: do not trust it
    cdef public double seen_at          # seconds of the caller's clock, when it came
    cdef readonly uint64_t uses         # executions
    cdef readonly Py_ssize_t memory     # bytes accounted
    cdef list types                     # of ParameterTypes, at most TYPES_KEPT
    cdef StatementCache cache           # None outside of one
    cdef void* newer                    # Statement, borrowed; NULL at the ends
    cdef void* older

    cdef ParameterTypes intern(self, const unsigned char* payload, const ExecuteLayout* layout)
    cdef bint room(self, Py_ssize_t grown) noexcept


cdef class StatementCache:
    cdef dict statements                # key -> Statement
    cdef void* newest                   # Statement, borrowed
    cdef void* oldest
    cdef readonly Py_ssize_t max_entries
    cdef readonly Py_ssize_t max_bytes
    cdef readonly Py_ssize_t memory
    cdef readonly uint64_t hits
    cdef readonly uint64_t misses
    cdef readonly uint64_t evictions
    cdef readonly list evicted          # callables told of each Statement that had to go

    cdef void touch(self, Statement statement) noexcept
    cdef void link(self, Statement statement) noexcept
    cdef void unlink(self, Statement statement) noexcept
    cpdef Statement get(self, object key)
    cpdef bint put(self, Statement statement) except -1
    cpdef bint remove(self, Statement statement) except -1
    cpdef int clear(self) except -1


cdef class ClientStatement:
    cdef readonly Statement statement
    cdef readonly uint32_t client_id
    cdef public object decision         # the statement's, or what its session decided anew
    cdef public uint64_t salt           # of the session when that was
    cdef public bytes asked             # the client's text, where query rules made another of it
    cdef readonly ParameterTypes types  # last bound by this client, or None
    cdef bytearray shape                # classes its executions have fixed so far, or None
    cdef readonly bint mixed            # it has bound other classes since: see the .pyx
    cdef public bint cursor_open
    cdef public bint long_data


cdef class BackendStatement:
    cdef readonly Statement statement
    cdef readonly uint32_t backend_id
    cdef readonly ParameterTypes types  # last bound on this connection, or None
    cdef bytearray shape                # classes fixed here by anybody, or None
    cdef readonly ClientStatement owner     # the mixed one that alone may use it
    cdef readonly uint64_t last_used
    cdef public bint held               # not to be evicted: a cursor, long data, in use
    cdef BackendStatement next          # the same text, prepared once more

    cpdef int forget_types(self) except -1      # after an ERR: nobody knows what was taken over


cdef class ClientStatements:
    cdef list slots                     # open addressing by id; None where empty
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t memory     # bytes of their texts
    cdef readonly uint32_t next_id
    cdef public ClientStatement latest  # what LATEST_ID means; set to None when a prepare fails

    cdef Py_ssize_t slot_of(self, uint32_t number) noexcept
    cdef int resize(self, Py_ssize_t capacity) except -1
    cdef void advance(self) noexcept
    cpdef ClientStatement add(self, Statement statement)
    cpdef ClientStatement find(self, uint32_t number)
    cpdef bint remove(self, uint32_t number) except -1
    cpdef int clear(self) except -1
    cpdef list entries(self)


cdef class BackendStatements:
    cdef dict statements                # Statement -> BackendStatement
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t owned      # those with an owner
    cdef uint64_t clock

    cpdef BackendStatement find(self, ClientStatement client)
    cpdef list put(self, Statement statement, uint32_t backend_id)
    cpdef bint remove(self, BackendStatement entry) except -1
    cpdef list retire(self)
    cpdef int clear(self) except -1
    cpdef list entries(self)
    cdef int evict(self, BackendStatement newcomer, list gone) except -1


cdef int read_execute(
    ClientStatement client, const unsigned char* payload, Py_ssize_t have, Py_ssize_t total,
    bint attributes, ExecuteLayout* layout) except -2
cdef int bind(
    BackendStatements pool, ClientStatement client, BackendStatement backend,
    const unsigned char* payload, const ExecuteLayout* layout) noexcept
cdef bytes typed(
    ClientStatement client, BackendStatement backend, const unsigned char* payload,
    Py_ssize_t have, const ExecuteLayout* layout)
