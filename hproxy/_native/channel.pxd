# SPDX-License-Identifier: Apache-2.0
# The map of channel: MySQL packets over an endpoint for code that awaits (the slow lane).
#
# Memory: a channel owns what it has received and not yet handed out (`held`); `detach` gives
# that back to the endpoint. Packets leave as bytes, joined over 16 MiB continuations.
# Failure: reads raise ClientError / BackendProtocolError / BackendLost by `side`; writes never
# raise for a peer that left. One reader at a time.

from hproxy._native.endpoint cimport Endpoint, Owner


cdef class Channel(Owner):
    cdef readonly Endpoint endpoint     # None once detached
    cdef readonly str side              # "client" or "backend": whose bytes these are
    cdef public int seq                 # next sequence id, expected or sent
    cdef public Py_ssize_t limit        # longest packet accepted, in bytes
    cdef public list said               # packets that others have sent already; None: any one
    cdef bytearray held
    cdef Py_ssize_t taken               # bytes of `held` already handed out
    cdef object waiter                  # future of the one pending read, drain or handshake
    cdef object failure                 # what every later read raises

    cdef object take(self)
    cdef bint was_said(self, bytes payload) except -1
    cdef int wake(self) except -1
    cdef int fail(self, str code, str reason) except -1
