# SPDX-License-Identifier: Apache-2.0
"""An endpoint of ours and the far end of its socket, with a reactor polled by hand."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import ClassVar

from hproxy._native.endpoint import Endpoint
from hproxy._native.reactor import Reactor

__all__ = ["Peer", "emptied", "open_descriptors", "pair", "settle", "tcp_pair"]

# A reactor that never comes to rest is served for ever by what it cannot get rid of.
SPINS = 10_000
# Less than an endpoint lingers: that it goes away by its deadline only is not good enough.
PATIENCE_S = 2.0


class Peer:
    """The far end: a client or a backend, as the test wants it."""

    open: ClassVar[set[Peer]] = set()

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        Peer.open.add(self)
        sock.setblocking(False)
        self.heard = b""
        self.ended = False

    def send(self, data: bytes) -> None:
        """Send all of it; the other side must have room."""
        sent = self.socket.send(data)
        assert sent == len(data), f"only {sent} of {len(data)} bytes fit"

    def send_some(self, data: bytes | memoryview) -> int:
        """Send what fits."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def receive(self, limit: int = 1 << 30) -> bytes:
        """What has come, at most `limit` bytes; sets `ended` at the end."""
        parts = []
        while limit > 0:
            try:
                data = self.socket.recv(min(limit, 1 << 20))
            except BlockingIOError:
                break
            except (ConnectionResetError, BrokenPipeError):
                self.ended = True
                break
            if not data:
                self.ended = True
                break
            parts.append(data)
            limit -= len(data)
        return b"".join(parts)

    def shut(self) -> None:
        """Say that nothing more comes from here."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a word: RST instead of FIN (TCP only)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.socket.close()
        Peer.open.discard(self)


def pair(reactor: Reactor, *, send_buffer: int | None = None) -> tuple[Peer, Endpoint]:
    """Over a socketpair; `send_buffer` makes the endpoint's kernel buffer small."""
    ours, theirs = socket.socketpair()
    return connect(reactor, ours, theirs, send_buffer)


def tcp_pair(reactor: Reactor, *, send_buffer: int | None = None) -> tuple[Peer, Endpoint]:
    """Over TCP on loopback: where resets exist."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), 5.0)
        ours, _ = listener.accept()
    return connect(reactor, ours, theirs, send_buffer)


def connect(
    reactor: Reactor, ours: socket.socket, theirs: socket.socket, send_buffer: int | None
) -> tuple[Peer, Endpoint]:
    if send_buffer is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, send_buffer)
    ours.setblocking(False)
    return Peer(theirs), Endpoint(reactor, ours.detach())


def settle(reactor: Reactor) -> int:
    """Poll until nothing is ready; the number of events served."""
    served = 0
    for _ in range(SPINS):
        now = reactor.poll()
        if not now:
            return served
        served += now
    raise AssertionError("the reactor does not come to rest")


def emptied(reactor: Reactor) -> bool:
    """Serve until nothing is watched any more; False when that does not come to pass.

    A close may be felt late: whoever looks at /proc/PID/fd just then holds the file open.
    """
    patience = time.monotonic() + PATIENCE_S
    while reactor.size and time.monotonic() < patience:
        reactor.poll()
    return reactor.size == 0


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))
