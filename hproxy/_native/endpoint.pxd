# SPDX-License-Identifier: Apache-2.0
# The map of endpoint: one connected socket, its leftover input and its send queue.
#
# Memory: an endpoint owns its descriptor. In steady state it owns no buffer: input lands in
# the reactor's scratch and is offered to the owner; what the owner leaves is kept in `inbox`
# (malloc, exactly as long), what the peer will not take yet in `queue`.
# `data` given to `on_data` is valid only during that call.
# Failure: syscall errors never raise, they arrive as `on_eof(error)`; owners may raise, which
# closes this endpoint through `on_failure`. The GIL is held: every syscall is non-blocking.

from libc.stdint cimport uint32_t, uint64_t
from hproxy._native.buffer cimport ByteQueue
from hproxy._native.compression cimport CompressedStream
from hproxy._native.reactor cimport Pollable

cdef enum:
    INBOX_LIMIT = 65536        # leftover bytes beyond which reading pauses
    HIGH_WATER = 131072        # queued bytes at which the owner should pause the other side
    LOW_WATER = 32768          # queued bytes at which `on_drained` is told


cdef class Owner:
    cdef Py_ssize_t on_data(
        self, Endpoint end, const unsigned char* data, Py_ssize_t length) except -1
    cdef int on_eof(self, Endpoint end, int error) except -1
    cdef int on_malformed(self, Endpoint end, str reason) except -1
    cdef int on_drained(self, Endpoint end) except -1
    cdef int on_secured(self, Endpoint end, object error) except -1
    cdef int on_deadline(self, Endpoint end) except -1
    cdef int on_broken(self, Endpoint end, object error) except -1


cdef class Endpoint(Pollable):
    cdef Owner owner
    cdef ByteQueue queue                # None until the peer was slow once
    cdef char* inbox
    cdef Py_ssize_t inbox_length
    cdef readonly uint64_t bytes_in     # as on the wire, TLS and compression included
    cdef readonly uint64_t bytes_out
    cdef bint paused                    # EPOLLIN off
    cdef bint lingering                 # closing: flush, send FIN, read to the end
    cdef bint fin                       # lingering: we close our direction first
    cdef bint broken                    # the peer takes nothing any more
    cdef bint securing                  # TLS handshake in progress
    cdef object tls                     # ssl.SSLObject or None
    cdef object incoming                # its ssl.MemoryBIOs
    cdef object outgoing
    cdef CompressedStream frames        # None: not compressed

    cdef int write(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int redeliver(self) except -1
    cdef int secure(self, object tls, object incoming, object outgoing) except -1
    cdef int compress(self, CompressedStream frames) except -1
    cdef int keep(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int receive(self, Py_ssize_t room) except -1
    cdef int receive_tls(self, Py_ssize_t room) except -1
    cdef int receive_packed(self, bint hung_up) except -1
    cdef int unseal(self, char* cipher, Py_ssize_t length) except -2
    cdef int pump(self) except -1
    cdef int malformed(self, str reason) except -1
    cdef void unstash(self, char* scratch) noexcept
    cdef int offer(self, const unsigned char* data, Py_ssize_t length) except -1
    cdef int ended(self, int error) except -1
    cdef int discard(self) except -1
    cdef int send_raw(self, const char* data, Py_ssize_t length) except -1
    cdef int flush(self) except -1
    cdef int rearm(self) except -1
    cdef bint step_handshake(self) except? True
    cdef int send_fin(self) except -1
    cpdef finish(self, bint fin=*)
    cpdef close(self)
    cpdef int part(self) except -2

    cdef inline Py_ssize_t queued(self) noexcept:
        return self.queue.size if self.queue is not None else 0
