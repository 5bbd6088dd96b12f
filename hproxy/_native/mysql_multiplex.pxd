# SPDX-License-Identifier: Apache-2.0
# The map of mysql_multiplex: a client session that borrows a backend connection per statement.
#
# Memory: an idle session holds no buffer, no connection and, until it prepares, no table of
# statements.
# Failure: everything unusual is told to `driver` (Python); its methods are listed on top of
# session/multiplex.py. The GIL is held.

from libc.stdint cimport uint64_t
from hproxy._native.decision cimport Decision, DecisionCache
from hproxy._native.digest cimport Digester
from hproxy._native.endpoint cimport Endpoint
from hproxy._native.mysql_prepared cimport Prepared

cdef enum:
    COPY_LIMIT = 16384         # frame bytes of a command that is kept to be sent again


cdef class Multiplexed(Prepared):
    cdef Digester digester
    cdef DecisionCache decisions
    cdef public int modes                   # how its texts are lexed
    cdef bytes refusal                      # answer to the next command instead of running it
    cdef bytearray gathered                 # a long command while it is read
    cdef Py_ssize_t missing                 # bytes of it still to come

    cdef bint light(self) noexcept
    cdef bint portable(self) noexcept
    cdef Py_ssize_t look(self, unsigned char* p, Py_ssize_t have) except -2
    cdef bint asked_since(self) noexcept
    cdef Py_ssize_t query(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Decision by_text(
        self, Decision known, const unsigned char* text, Py_ssize_t length, uint64_t low,
        uint64_t high
    )
    cdef Py_ssize_t gather(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Py_ssize_t refuse_command(self, unsigned char* p, Py_ssize_t have) except -2
    cdef bint recommits(self) except -1
    cdef int drop_aside(self) except -1
    cdef bint back_from_driver(self) except -1
    cdef int next_command(self) except -1
    cpdef Multiplexed like(self, Endpoint client)
