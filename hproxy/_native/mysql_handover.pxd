# SPDX-License-Identifier: Apache-2.0
# The map of mysql_handover: what a session takes along into another process.
#
# Memory: nothing is kept here; what `depart` returns refers to nothing of the session.
# Failure: ValueError for a session that cannot leave, or a memory that makes no sense; the
# session is then as it was, or never started. The GIL is held.

from hproxy._native.endpoint cimport Endpoint


cdef bint quiet(Endpoint client) noexcept
