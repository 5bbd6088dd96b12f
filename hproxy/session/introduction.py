# SPDX-License-Identifier: Apache-2.0
"""Clients who come through a load balancer that says who they are: the PROXY header is read first.

    accepted ── peer not in proxy_protocol_networks ────────────────────> greeted, at once
        └ else: wait ── header ──────────> the client's own address ────> greeted
                  ├── silence until the deadline: it came by itself ────> greeted
                  └── anything else, a header that is not whole ────────> refused

Bytes are looked at where they lie (MSG_PEEK) and taken only if they are the header's: whoever
greets finds the socket as if the client had connected by itself. Silence is no lie: a MySQL
client says nothing before it is greeted, so one that comes past the balancer is let in as the
address it has.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from hproxy.errors import ClientError, ConnectError
from hproxy.net.proxy_protocol import LOCAL_V1, LOCAL_V2, Malformed, Reader, build
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Introduction", "announce", "introduce"]

PEEK_BYTES = 4096


def introduce(
    services: Services, fd: int, connection: Connection, greet: Callable[[int, Connection], None]
) -> bool:
    """Whether a header is awaited first; then `greet` is called when it was read."""
    networks = services.settings.proxy_networks
    if networks is None or not networks.expects(connection.peer):
        return False
    Introduction(services, fd, connection, greet)
    return True


class Introduction:
    """Waits for one header; calling it ends the wait and the connection."""

    def __init__(
        self,
        services: Services,
        fd: int,
        connection: Connection,
        greet: Callable[[int, Connection], None],
    ) -> None:
        self._services = services
        self._fd = fd
        self._connection = connection
        self._greet = greet
        self._reader = Reader()
        self._loop = asyncio.get_running_loop()
        connection.busy = self
        seconds = services.settings.proxy_header_timeout
        self._timer = self._loop.call_later(seconds, self._late)
        self._loop.add_reader(fd, self._readable)
        self._readable()  # a balancer sends it along with the connection

    def _readable(self) -> None:
        if self._fd < 0:
            return
        sock = socket.socket(fileno=self._fd)
        try:
            while self._reader.header is None:
                seen = sock.recv(PEEK_BYTES, socket.MSG_PEEK)
                if not seen:
                    self._refuse("gone before the PROXY header", "gone")
                    return
                used = self._reader.feed(seen)
                sock.recv(used)
        except BlockingIOError:
            return
        except Malformed as error:
            self._refuse(f"PROXY header: {error}", "malformed")
            return
        except OSError as error:
            self._refuse(error.strerror or str(error), "gone")
            return
        finally:
            sock.detach()
        self._introduced()

    def _introduced(self) -> None:
        header, connection = self._reader.header, self._connection
        assert header is not None
        if header.peer is not None:
            connection.introduced(header.peer, header)
        self._pass_on()

    def _late(self) -> None:
        if self._reader.begun:
            self._refuse("the PROXY header did not come to its end", "timeout")
        else:
            self._connection.debug("no PROXY header came: taken for a direct client")
            self._pass_on()

    def _pass_on(self) -> None:
        fd = self._let_go()
        self._connection.busy = None
        self._greet(fd, self._connection)

    def _let_go(self) -> int:
        self._timer.cancel()
        self._loop.remove_reader(self._fd)
        fd, self._fd = self._fd, -1
        return fd

    def _refuse(self, reason: str, code: str) -> None:
        connection, services = self._connection, self._services
        services.registry.totals.logins_failed += 1
        error = ClientError(reason, code=code)
        say = connection.debug if code == "gone" else connection.log.warning
        say("login failed", code=error.full_code, reason=reason)
        services.recorder.refused(connection, error)
        os.close(self._let_go())
        connection.busy = None
        services.registry.leave(connection)

    def __call__(self) -> None:
        """Nobody shall wait for it any longer."""
        if self._fd >= 0:
            os.close(self._let_go())
            self._services.registry.leave(self._connection)


def announce(services: Services, fd: int, hostgroup: int, connection: Connection) -> None:
    """Send the PROXY header that backends of this hostgroup expect, on a new connection to one.

    `connection` is whose it will be. Raises ConnectError."""
    version = services.settings.proxy_versions.get(hostgroup)
    if not version:
        return
    header = LOCAL_V2 if version == 2 else LOCAL_V1
    if connection.peer not in ("", "unix"):
        host, _, port = connection.peer.rpartition(":")
        header = build(version, (host.strip("[]"), int(port)), _reached(fd, connection))
    try:
        written = os.write(fd, header)  # the first bytes of a new connection always fit
    except OSError as error:
        raise ConnectError(error.strerror or str(error)) from error
    if written != len(header):
        raise ConnectError("no room for the PROXY header")


def _reached(fd: int, connection: Connection) -> tuple[str, int]:
    """Where the client had connected to, as far as anybody told; else the backend's address."""
    if connection.header is not None and connection.header.destination is not None:
        told: tuple[str, int] = connection.header.destination
        return told
    sock = socket.socket(fileno=fd)
    try:
        if sock.family == socket.AF_UNIX:
            return ("0.0.0.0", 0)
        host, port = sock.getpeername()[:2]
        return host.partition("%")[0], port
    except OSError as error:
        raise ConnectError(error.strerror or str(error)) from error
    finally:
        sock.detach()
