# SPDX-License-Identifier: Apache-2.0
# The map of mysql_prepared: commands that name a prepared statement.
#
# Memory: an execution is patched where it lies; only one that lacks its types is copied.
# Failure: what cannot be read is `driver.unreadable_execute`'s. The GIL is held.

from libc.stdint cimport uint64_t
from hproxy._native.decision cimport Decision
from hproxy._native.execution cimport ExecuteLayout
from hproxy._native.mysql_outcome cimport Outcome
from hproxy._native.statements cimport BackendStatement, ClientStatement

cdef enum:
    WHOLE_LIMIT = 49152        # frame bytes of a command that may wait in the client's inbox
    GATHER_LIMIT = 1048576     # frame bytes of a command that is read whole before it is judged


cdef bytes framed(bytes payload)


cdef class Prepared(Outcome):
    cdef readonly uint64_t salt             # what decisions rest on, mixed into digests
    cdef uint64_t base_salt                 # without the flag
    cdef readonly long flag_in              # flagIN of its next statement
    cdef public bint fast_lane
    cdef bytes pending                      # frame of a command the driver submitted

    cdef Py_ssize_t on_statement(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef int note(self, Decision decision) except -1
    cdef int set_flag(self, long flag) except -1
    cdef Decision decision_of(self, ClientStatement statement)
    cdef Py_ssize_t close_statement(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t reset_statement(self, unsigned char* p, Py_ssize_t have) except -2
    cdef int keep_prepared(self, ClientStatement statement) except -1
    cdef int dispose(self, ClientStatement statement) except -1
    cdef int forget_types(self, ClientStatement statement) except -1
    cdef int forget_cursor(self, ClientStatement statement) noexcept
    cdef int forget_long_data(self, ClientStatement statement) noexcept
    cdef Py_ssize_t bind_statement(self, unsigned char* p, Py_ssize_t have) except -2
    cdef Py_ssize_t send_typed(
        self, unsigned char* p, Py_ssize_t have, BackendStatement entry, ExecuteLayout* layout
    ) except -2

    # Hooks: how Multiplexed takes and sends any command.
    cdef Py_ssize_t to_driver(self, unsigned char* p, Py_ssize_t have, Py_ssize_t size) except -2
    cdef Py_ssize_t dispatch(self, unsigned char* p, Py_ssize_t have) except -2
    cdef int send_pending(self) except -1
