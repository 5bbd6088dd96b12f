# SPDX-License-Identifier: Apache-2.0
"""Accepting: who it is, how the descriptor is set up, and when there is nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
from pathlib import Path

import pytest

from hproxy._native.acceptor import accept


def listening(family: socket.AddressFamily, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)  # type: ignore[arg-type]
    sock.listen()
    sock.setblocking(False)
    return sock


def first(server: socket.socket) -> tuple[int, str]:
    assert select.select([server], [], [], 10)[0]
    found = accept(server.fileno())
    assert found is not None
    return found


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_peers_by_address(host: str, shown: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        listening(family, (host, 0)) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
    ):
        fd, peer = first(server)
        with socket.socket(fileno=fd) as accepted:
            assert peer == f"{shown}:{client.getsockname()[1]}"
            assert not os.get_blocking(fd)
            assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
            assert accepted.getpeername() == client.getsockname()
        assert accept(server.fileno()) is None


def test_peer_of_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with listening(socket.AF_UNIX, path) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        fd, peer = first(server)
        os.close(fd)
        assert peer == "unix"


def test_options_are_inherited() -> None:
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
        with socket.create_connection(server.getsockname()):
            fd, _ = first(server)
            with socket.socket(fileno=fd) as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77


def test_errors() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        accept(-1)
    assert caught.value.errno == errno.EBADF
