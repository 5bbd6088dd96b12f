# SPDX-License-Identifier: Apache-2.0
"""From an address to a connected, non-blocking descriptor."""

from __future__ import annotations

import asyncio
import os
import socket

from hproxy.errors import ConnectError

__all__ = ["connect"]

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
SocketAddress = tuple[str | int | bytes, ...]


async def connect(host: str, port: int, *, path: str | None = None, keepalive_sec: int = 0) -> int:
    """Connect a stream socket and return its descriptor; the caller owns it.

    Every address of a name is tried in the resolver's order; the caller bounds the time.
    Raises ConnectError with the last reason.
    """
    if path is not None:
        return await _try(socket.AF_UNIX, path, 0)
    failure: ConnectError | None = None
    for family, address in await _addresses(host, port):
        try:
            return await _try(family, address, keepalive_sec)
        except ConnectError as error:
            failure = error
    raise failure or ConnectError("the name has no address", host=host)


async def _addresses(host: str, port: int) -> list[tuple[int, SocketAddress]]:
    loop = asyncio.get_running_loop()
    try:
        # Numeric addresses, the usual case, need no thread and no resolver.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMERIC)
    except socket.gaierror:
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectError(f"cannot resolve the name: {error.strerror}", host=host) from error
    return [(family, tuple(address)) for family, _, _, _, address in found]


async def _try(family: int, address: str | SocketAddress, keepalive_sec: int) -> int:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        tune(sock, keepalive_sec)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except OSError as error:
        sock.close()
        # asyncio's own text, "Connect call failed", says less than the number.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConnectError(reason) from error
    except BaseException:
        sock.close()
        raise
    return sock.detach()


def tune(sock: socket.socket, keepalive_sec: int) -> None:
    """No Nagle delay; keepalive probes after `keepalive_sec` of silence (0 = none)."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, keepalive_sec > 0)
    if keepalive_sec > 0:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive_sec)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, keepalive_sec // 4))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
