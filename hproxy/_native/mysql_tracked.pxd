# SPDX-License-Identifier: Apache-2.0
# The map of mysql_tracked: session state in an OK.
#
# Memory: nothing is kept; an OK is rewritten in place, never longer than it came.
# Failure: state that cannot be read passes as it is. The GIL is held.

from libc.stdint cimport uint32_t
from hproxy._native.mysql_leasing cimport Leasing


cdef class Tracked(Leasing):
    cdef public bint watched                # the driver is told when this statement is answered
    cdef public bint shows_state            # the client has turned tracking of its own on
    cdef public bint shows_transactions     # ... or is told of transactions whatever it turned on
    cdef public bint shows_in_eof           # ... and what sets the flag behind rows, too
    cdef unsigned char told_begin           # of transactions it was last told: BEGUN[told_begin]

    cdef Py_ssize_t state_changed(self, unsigned char* frame, Py_ssize_t size) except -2
    cdef Py_ssize_t keep_transactions(
        self, unsigned char* p, Py_ssize_t length, uint32_t status) noexcept
    cdef Py_ssize_t tell_begun(
        self, const unsigned char* letters, bint again, uint32_t status) noexcept
