# SPDX-License-Identifier: Apache-2.0
"""A listening socket that hands accepted descriptors to a callback.

Out of descriptors or memory, accepting pauses for PAUSE_SEC instead of spinning on a
level-triggered "readable"; clients wait in the kernel's queue meanwhile. Of memory some is left
to those who are served already (net.memory).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable
from typing import Any

from hproxy._native.acceptor import accept
from hproxy.config.address import Address
from hproxy.net.memory import spare
from hproxy.net.resolver import tune

__all__ = ["Listener", "bound"]

BACKLOG = 4096
BATCH = 64  # accepts per wake-up: a burst of connects must not starve running sessions
ASK_EVERY = 32  # clients accepted until memory is looked at again: they need 3 MiB with TLS
PAUSE_SEC = 0.2
QUIET_SEC = 10.0  # pauses closer together than this are one trouble, told once
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Accepted = Callable[[int, str], None]


class Listener:
    """Accepts on one address and tells `accepted(fd, peer)`; `peer` is "host:port" or "unix"."""

    def __init__(
        self,
        accepted: Accepted,
        *,
        keepalive_sec: int = 0,
        fastopen: int = 0,
        paused: Callable[[OSError], None] | None = None,
    ) -> None:
        self.accepted = accepted
        self._keepalive_sec = keepalive_sec
        self._fastopen = fastopen
        self._paused = paused
        self._sock: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._path: str | None = None
        self._lent: str | None = None  # the path, while another process may go on with it
        self._quiet_until = 0.0
        self._unasked = 0  # clients that may still be accepted before memory is looked at

    @property
    def address(self) -> str:
        """Where it listens, with the port the kernel chose."""
        if self._sock is None:
            return "closed"
        if self._sock.family == socket.AF_UNIX:
            return str(self._sock.getsockname())
        host, port = self._sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def port(self) -> int:
        """The TCP port; 0 for a Unix socket."""
        if self._sock is None or self._sock.family == socket.AF_UNIX:
            return 0
        return int(self._sock.getsockname()[1])

    def open(self, host: str, port: int, path: str | None = None) -> None:
        """Bind and accept. Raises OSError (address in use, no permission, ...)."""
        sock = bound(Address(host, port, path), keepalive_sec=self._keepalive_sec)
        self._path = path
        self._start(sock)

    def adopt(self, sock: socket.socket, path: str | None = None) -> None:
        """Accept on a socket that listens already. It is ours; its file only as `path`."""
        self._path = path
        tune(sock, self._keepalive_sec)
        sock.setblocking(False)
        self._start(sock)

    def _start(self, sock: socket.socket) -> None:
        self._sock = sock
        self.fast_open(self._fastopen)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._accept)

    def keep_alive(self, seconds: int) -> None:
        """TCP keep-alive of connections accepted from now on; 0 is off."""
        self._keepalive_sec = seconds
        if self._sock is not None:
            tune(self._sock, seconds)

    def fast_open(self, waiting: int) -> None:
        """So many connects may be under way with TCP Fast Open; 0 is off."""
        self._fastopen = waiting
        sock = self._sock
        if sock is None or sock.family == socket.AF_UNIX:
            return
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) != waiting:
            with contextlib.suppress(OSError):  # a kernel without it serves all the same
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, waiting)

    def rest(self) -> int | None:
        """Accept nobody for now; who connects waits. The descriptor, for another process to go on
        with: from here on the file, if it has one, is that one's."""
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._sock is None or self._loop is None:
            return None
        self._loop.remove_reader(self._sock)
        self._lent, self._path = self._path, None
        return self._sock.fileno()

    def wake(self) -> None:
        """As before `rest`: no other process goes on with it."""
        self._path, self._lent = self._lent, None
        self._go_on()

    def close(self) -> None:
        """Stop accepting; accepted connections are not touched."""
        if self._resume is not None:
            self._resume.cancel()
        if self._sock is None or self._loop is None:
            return
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._sock = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._path = None

    def _accept(self) -> None:
        for _ in range(BATCH):
            sock = self._sock
            if sock is None:  # closed by the one we told of the last client
                return
            try:
                found = self._next(sock)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._pause(error)
                return
            except MemoryError:
                self._pause(_no_memory())
                return
            if found is None:
                return
            self.accepted(*found)

    def _next(self, sock: socket.socket) -> tuple[int, str] | None:
        if self._unasked == 0:
            if not spare():
                raise _no_memory()
            self._unasked = ASK_EVERY
        self._unasked -= 1
        return accept(sock.fileno())

    def _pause(self, error: OSError) -> None:
        assert self._loop is not None
        assert self._sock is not None
        self._loop.remove_reader(self._sock)
        self._resume = self._loop.call_later(PAUSE_SEC, self._go_on)
        now = self._loop.time()
        if self._paused is not None and now >= self._quiet_until:
            self._paused(error)
        self._quiet_until = now + QUIET_SEC

    def _go_on(self) -> None:
        self._resume = None
        if self._sock is not None and self._loop is not None:
            self._loop.add_reader(self._sock, self._accept)


def _no_memory() -> OSError:
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def bound(address: Address, *, keepalive_sec: int = 0, shared: bool = False) -> socket.socket:
    """A socket that listens there; `shared`: others of ours may listen there too, each with a
    queue of its own (SO_REUSEPORT). Raises OSError (address in use, no permission, ...)."""
    if address.path is not None:
        _remove_stale(address.path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where: Any = address.path
    else:
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, where = found[0][0], found[0][4]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        tune(sock, keepalive_sec)  # accepted connections inherit it
        sock.bind(where)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """A socket file nobody listens on is left over from a crash."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
