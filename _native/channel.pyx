# SPDX-License-Identifier: Apache-2.0
# cython: auto_pickle=False
"""MySQL packets over an endpoint for code that awaits (the slow lane).

The connect phase, the demo's and later the admin port's servers and side connections all
talk through this; the fast lane takes the endpoint over with `detach` and never comes here.
"""

cimport cython

from hproxy._native.compression cimport CompressedStream
from hproxy._native.endpoint cimport LOW_WATER, Endpoint, Owner

import asyncio
import ssl
from os import strerror

from hproxy.errors import BackendLost, BackendProtocolError, ClientError

cdef enum:
    FRAME_MAX = 0xFFFFFF
    HELD_LIMIT = 262144         # bytes held unread before reading pauses


@cython.final
cdef class Channel(Owner):

    def __init__(self, Endpoint endpoint not None, str side not None,
                 Py_ssize_t limit=1073741824):
        if side not in ("client", "backend"):
            raise ValueError(f"side is 'client' or 'backend', not {side!r}")
        self.endpoint = endpoint
        self.side = side
        self.limit = limit
        self.held = bytearray()
        endpoint.owner = self
        if endpoint.fd < 0:             # nobody would ever tell
            self.fail("gone", "connection closed")
        endpoint.redeliver()

    # -- from the endpoint -----------------------------------------------------

    cdef Py_ssize_t on_data(
        self, Endpoint end, const unsigned char* data, Py_ssize_t length
    ) except -1:
        self.held += data[:length]
        if len(self.held) - self.taken > HELD_LIMIT and self.waiter is None:
            end.pause()
        self.wake()
        return length

    cdef int on_eof(self, Endpoint end, int error) except -1:
        self.fail("gone", f"connection reset ({strerror(error)})" if error else "connection closed")
        return 0

    cdef int on_malformed(self, Endpoint end, str reason) except -1:
        return self.fail("compression", reason)

    cdef int on_drained(self, Endpoint end) except -1:
        return self.wake()

    cdef int on_secured(self, Endpoint end, object error) except -1:
        if error is not None:
            self.fail("tls", f"TLS handshake failed: {error}")
        return self.wake()

    cdef int on_broken(self, Endpoint end, object error) except -1:
        self.fail("gone", f"internal failure: {error!r}")
        end.close()
        return 0

    cdef int wake(self) except -1:
        cdef object waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)
        return 0

    cdef int fail(self, str code, str reason) except -1:
        if self.failure is None:
            if self.side == "client":
                self.failure = ClientError(reason, code=code)
            elif code == "gone":
                self.failure = BackendLost(reason)
            else:
                self.failure = BackendProtocolError(reason, code=code)
        return self.wake()

    # -- reading ---------------------------------------------------------------

    cdef object take(self):
        """The next whole packet, or None. Raises on a broken frame."""
        cdef const unsigned char* p = <const unsigned char*><char*>self.held
        cdef Py_ssize_t end = len(self.held), pos = self.taken, at = pos, total = 0, length
        cdef int seq = self.seq
        cdef list parts
        cdef object packet
        # Heads first, copies once all is there: a long packet comes in thousands of pieces.
        while True:
            if end - pos < 4:
                return None
            length = p[pos] | (p[pos + 1] << 8) | (p[pos + 2] << 16)
            total += length
            if p[pos + 3] != seq:
                self.fail("sequence", f"packet has sequence id {p[pos + 3]}, expected {seq}")
                raise self.failure
            if total > self.limit:
                self.seq = (seq + 1) & 0xFF     # the refusal answers this frame
                self.fail("oversized", f"packet of {total} bytes or more, limit is {self.limit}")
                raise self.failure
            if end - pos - 4 < length:
                return None
            seq = (seq + 1) & 0xFF
            pos += 4 + length
            if length < FRAME_MAX:
                break
        if total == length:
            packet = p[pos - length:pos]
        else:
            parts = []
            while at < pos:
                length = min(pos - at - 4, <Py_ssize_t>FRAME_MAX)
                parts.append(p[at + 4:at + 4 + length])
                at += 4 + length
            packet = b"".join(parts)
        self.seq = seq
        self.taken = pos
        if pos == end:
            self.held = bytearray()
            self.taken = 0
        elif pos > HELD_LIMIT:
            del self.held[:pos]
            self.taken = 0
        return packet

    async def read_packet(self):
        while True:
            packet = self.take()
            if packet is not None:
                return packet
            if self.failure is not None:
                raise self.failure
            await self._wait()

    async def _wait(self):
        if self.waiter is not None:
            raise RuntimeError("a channel has one reader at a time")
        self.waiter = waiter = asyncio.get_running_loop().create_future()
        if self.endpoint.fd >= 0:
            self.endpoint.resume()
        try:
            await waiter
        finally:
            if self.waiter is waiter:
                self.waiter = None

    # -- writing ---------------------------------------------------------------

    cdef bint was_said(self, bytes payload) except -1:
        cdef object expected = self.said.pop(0)
        return expected is None or payload == <bytes>expected

    def write_packet(self, bytes payload not None):
        self.write_packets([payload])

    def write_packets(self, list payloads not None):
        cdef bytearray out = bytearray()
        cdef const unsigned char* data
        cdef bytes payload
        cdef Py_ssize_t length, pos, size
        for payload in payloads:
            if self.said and self.was_said(payload):
                self.seq = (self.seq + 1) & 0xFF
                continue
            length = len(payload)
            pos = 0
            while True:
                size = min(length - pos, <Py_ssize_t>FRAME_MAX)
                out += bytes((size & 0xFF, size >> 8 & 0xFF, size >> 16, self.seq))
                out += payload[pos:pos + size] if size != length else payload
                self.seq = (self.seq + 1) & 0xFF
                pos += size
                if size < FRAME_MAX:
                    break
        if out:
            data = <const unsigned char*><char*>out
            self.endpoint.write(data, len(out))

    async def drain(self):
        while self.failure is None and self.endpoint.queued() > LOW_WATER:
            await self._wait()
        if self.failure is not None:
            raise self.failure

    async def start_tls(self, context, *, server_side, server_hostname=None):
        incoming = ssl.MemoryBIO()
        outgoing = ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side, server_hostname)
        incoming.write(bytes(self.held[self.taken:]))
        self.held = bytearray()
        self.taken = 0
        self.endpoint.secure(tls, incoming, outgoing)
        while self.endpoint.securing and self.failure is None:
            await self._wait()
        if self.failure is not None:
            raise self.failure

    def start_compression(self, codec):
        cdef CompressedStream frames = CompressedStream(codec, self.side == "client")
        cdef bytearray held = self.held
        frames.push(<const char*><char*>held + self.taken, len(held) - self.taken)
        self.held = bytearray()
        self.taken = 0
        if self.endpoint.fd >= 0:
            self.endpoint.compress(frames)

    # -- end of life -----------------------------------------------------------

    @property
    def gone(self):
        """Whether nothing more can come from the peer."""
        return self.failure is not None

    @property
    def clean(self):
        """Whether all that came was read, and the peer is there as far as is known."""
        return self.failure is None and len(self.held) == self.taken

    def detach(self):
        cdef Endpoint endpoint = self.endpoint
        cdef const unsigned char* p = <const unsigned char*><char*>self.held
        if endpoint.fd >= 0:
            endpoint.keep(p + self.taken, len(self.held) - self.taken)
        endpoint.owner = None
        self.fail("gone", "channel detached")
        self.held = bytearray()
        self.taken = 0
        return endpoint

    def finish(self):
        self.fail("gone", "connection closed by us")
        self.endpoint.finish()

    def close(self):
        self.fail("gone", "connection closed by us")
        self.endpoint.close()
