# SPDX-License-Identifier: Apache-2.0
"""A listening socket that hands accepted descriptors to a callback.

Out of descriptors or memory, accepting pauses for PAUSE_SEC instead of spinning on a
level-triggered "readable"; clients wait in the kernel's queue meanwhile.
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
from hproxy.net.resolver import tune

__all__ = ["Listener"]

BACKLOG = 4096
BATCH = 64  # accepts per wake-up: a burst of connects must not starve running sessions
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
        paused: Callable[[OSError], None] | None = None,
    ) -> None:
        self._accepted = accepted
        self._keepalive_sec = keepalive_sec
        self._paused = paused
        self._sock: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._path: str | None = None
        self._quiet_until = 0.0

    @property
    def address(self) -> str:
        """Where it listens, with the port the kernel chose."""
        if self._sock is None:
            return "closed"
        if self._path is not None:
            return self._path
        host, port = self._sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def port(self) -> int:
        """The TCP port; 0 for a Unix socket."""
        return 0 if self._path is not None or self._sock is None else self._sock.getsockname()[1]

    def open(self, host: str, port: int, path: str | None = None) -> None:
        """Bind and accept. Raises OSError (address in use, no permission, ...)."""
        if path is not None:
            _remove_stale(path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            address: Any = path
            self._path = path
        else:
            found = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, address = found[0][0], found[0][4]
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tune(sock, self._keepalive_sec)  # accepted connections inherit it
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._accept)

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

    def _accept(self) -> None:
        for _ in range(BATCH):
            sock = self._sock
            if sock is None:  # closed by the one we told of the last client
                return
            try:
                found = accept(sock.fileno())
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._pause(error)
                return
            if found is None:
                return
            self._accepted(*found)

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
