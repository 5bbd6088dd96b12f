# SPDX-License-Identifier: Apache-2.0
"""From an address to a connected descriptor, or a reason why not."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from hproxy.errors import ConnectError
from hproxy.net import resolver
from hproxy.net.resolver import connect
from tests.unit.conftest import Run

HERE = "127.0.0.1"


def listening(host: str = HERE) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family)


def free_port() -> int:
    with listening() as sock:
        port: int = sock.getsockname()[1]
        return port


def test_a_descriptor_of_the_callers_own(run: Run) -> None:
    with listening() as server:
        fd = run(connect(HERE, server.getsockname()[1], keepalive_sec=40))
        accepted, _ = server.accept()
        with accepted, socket.socket(fileno=fd) as ours:
            assert os.get_blocking(fd) is False
            assert os.get_inheritable(fd) is False
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 40
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10
            ours.send(b"hello")
            assert accepted.recv(10) == b"hello"


def test_no_keepalive(run: Run) -> None:
    with listening() as server:
        ours = socket.socket(fileno=run(connect(HERE, server.getsockname()[1])))
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        ours.close()


def test_ipv6(run: Run) -> None:
    with listening("::1") as server:
        ours = socket.socket(fileno=run(connect("::1", server.getsockname()[1])))
        assert ours.family is socket.AF_INET6
        ours.close()


def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "db.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with socket.socket(fileno=run(connect("", 0, path=path, keepalive_sec=40))) as ours:
            assert ours.family is socket.AF_UNIX
    with pytest.raises(ConnectError, match="Connection refused"):
        run(connect("", 0, path=path))
    with pytest.raises(ConnectError, match="No such file"):
        run(connect("", 0, path=str(tmp_path / "nothing")))


def test_nobody_there(run: Run) -> None:
    with pytest.raises(ConnectError, match="Connection refused"):
        run(connect(HERE, free_port()))


def test_a_name_that_does_not_exist(run: Run) -> None:
    with pytest.raises(ConnectError, match="cannot resolve the name") as caught:
        run(connect("nowhere.invalid", 3306))
    assert caught.value.facts == {"host": "nowhere.invalid"}


def test_every_address_of_a_name_is_tried(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as server:
        port = server.getsockname()[1]
        tried: list[Any] = []

        async def addresses(host: str, _: int) -> list[Any]:
            assert host == "db.example"
            return [(socket.AF_INET, (HERE, free_port())), (socket.AF_INET, (HERE, port))]

        original = resolver._try

        async def recording(family: int, address: Any, keepalive_sec: int) -> int:
            tried.append(address)
            return await original(family, address, keepalive_sec)

        monkeypatch.setattr(resolver, "_addresses", addresses)
        monkeypatch.setattr(resolver, "_try", recording)
        os.close(run(connect("db.example", port)))
        assert len(tried) == 2


def test_a_name_without_addresses(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: object) -> list[Any]:
        return []

    monkeypatch.setattr(resolver, "_addresses", none)
    with pytest.raises(ConnectError, match="the name has no address"):
        run(connect("db.example", 3306))


def test_who_gives_up_leaves_no_descriptor(run: Run) -> None:
    """A full queue does not answer: the caller's deadline ends the attempt."""

    async def work(port: int) -> None:
        waiting = []
        try:
            while True:
                async with asyncio.timeout(0.1):
                    waiting.append(await connect(HERE, port))
        except TimeoutError:
            pass
        finally:
            for fd in waiting:
                os.close(fd)

    with socket.create_server((HERE, 0), backlog=0) as server:
        run(work(server.getsockname()[1]))
