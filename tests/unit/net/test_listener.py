# SPDX-License-Identifier: Apache-2.0
"""Accepting: who came, what a full table does, and files of Unix sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from itertools import pairwise
from pathlib import Path

import pytest

from hproxy._native.acceptor import accept as native_accept
from hproxy.net import listener as module
from hproxy.net.listener import Listener
from tests.unit.conftest import Run, until

HERE = "127.0.0.1"


class Guests:
    """Those who were accepted."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sockets: list[socket.socket] = []

    def __call__(self, fd: int, peer: str) -> None:
        self.names.append(peer)
        self.sockets.append(socket.socket(fileno=fd))

    def leave(self) -> None:
        for sock in self.sockets:
            sock.close()


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:"), ("localhost", "")]
)
def test_tcp(run: Run, host: str, shown: str) -> None:
    async def work() -> None:
        guests = Guests()
        listener = Listener(guests, keepalive_sec=30)
        assert (listener.address, listener.port) == ("closed", 0)
        listener.open(host, 0)
        assert listener.address.startswith(shown)
        assert listener.address.endswith(f":{listener.port}")
        with socket.create_connection((host, listener.port)) as client:
            await until(lambda: bool(guests.names))
            name, port = client.getsockname()[:2]
            assert guests.names == [f"[{name}]:{port}" if ":" in name else f"{name}:{port}"]
            accepted = guests.sockets[0]
            assert os.get_blocking(accepted.fileno()) is False
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        listener.close()
        assert (listener.address, listener.port) == ("closed", 0)
        listener.close()
        guests.leave()

    run(work())


def test_fast_open(run: Run) -> None:
    async def work() -> None:
        listener = Listener(Guests(), fastopen=16)
        listener.open(HERE, 0)
        sock = listener._sock
        assert sock is not None
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 16
        listener.fast_open(0)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN) == 0
        listener.close()
        listener.fast_open(5)  # for the next time

    run(work())


def test_a_port_in_use(run: Run) -> None:
    async def work() -> None:
        with socket.create_server((HERE, 0)) as other:
            listener = Listener(Guests())
            with pytest.raises(OSError, match="in use"):
                listener.open(HERE, other.getsockname()[1])
            listener.close()

    run(work())


def test_a_burst_is_taken_in_batches(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)

    async def work() -> None:
        guests = Guests()
        listener = Listener(guests)
        listener.open(HERE, 0)
        clients = [socket.create_connection((HERE, listener.port)) for _ in range(10)]
        seen = []
        while len(guests.names) < 10:
            seen.append(len(guests.names))
            await asyncio.sleep(0)
        assert all(later - sooner <= 3 for sooner, later in pairwise(seen))
        listener.close()
        guests.leave()
        for client in clients:
            client.close()

    run(work())


def test_closing_from_the_callback(run: Run) -> None:
    """The rest of the batch is not accepted, and nothing is raised into the loop."""

    async def work() -> None:
        guests = Guests()

        def last_one(fd: int, peer: str) -> None:
            guests(fd, peer)
            listener.close()

        listener = Listener(last_one)
        listener.open(HERE, 0)
        clients = [socket.create_connection((HERE, listener.port)) for _ in range(3)]
        await until(lambda: bool(guests.names))
        await asyncio.sleep(0.02)
        assert len(guests.names) == 1
        guests.leave()
        for client in clients:
            client.close()

    run(work())


def fail_first(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """The first accepts fail, as for want of descriptors."""
    failures = list(numbers)

    def accept(listening: int) -> tuple[int, str] | None:
        if failures:
            number = failures.pop(0)
            raise OSError(number, os.strerror(number))
        return native_accept(listening)

    monkeypatch.setattr(module, "accept", accept)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_descriptors_pauses(run: Run, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(module, "PAUSE_SEC", 0.02)

    async def work() -> None:
        guests, told = Guests(), list[OSError]()
        listener = Listener(guests, paused=told.append)
        listener.open(HERE, 0)
        fail_first(monkeypatch, number, number)
        with socket.create_connection((HERE, listener.port)):
            await until(lambda: bool(told))
            assert guests.names == []
            await until(lambda: bool(guests.names))
        assert [error.errno for error in told] == [number]  # one trouble, told once
        listener.close()
        guests.leave()

    run(work())


def test_closing_while_paused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SEC", 0.01)

    async def work() -> None:
        guests, told = Guests(), list[OSError]()
        listener = Listener(guests, paused=told.append)
        listener.open(HERE, 0)
        fail_first(monkeypatch, errno.EMFILE)
        with socket.create_connection((HERE, listener.port)):
            await until(lambda: bool(told))
            listener.close()
            await asyncio.sleep(0.03)
        assert guests.names == []

    run(work())


def test_a_client_that_is_gone_already(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [None]  # what ECONNABORTED is turned into
    monkeypatch.setattr(module, "accept", lambda fd: gone.pop() if gone else native_accept(fd))

    async def work() -> None:
        guests = Guests()
        listener = Listener(guests)
        listener.open(HERE, 0)
        with socket.create_connection((HERE, listener.port)):
            await until(lambda: bool(guests.names))
        listener.close()
        guests.leave()

    run(work())


# -- Unix sockets -------------------------------------------------------------


def test_a_unix_socket_and_its_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"

    async def work() -> None:
        guests = Guests()
        listener = Listener(guests)
        listener.open("", 0, str(path))
        assert (listener.address, listener.port) == (str(path), 0)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            await until(lambda: bool(guests.names))
        assert guests.names == ["unix"]
        listener.close()
        guests.leave()
        assert not path.exists()

    run(work())


def test_a_file_left_over_from_a_crash_is_replaced(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))

    async def work() -> None:
        listener = Listener(Guests())
        listener.open("", 0, str(path))
        listener.close()

    run(work())


def test_a_file_somebody_listens_on_is_theirs(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"

    async def work() -> None:
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            listener = Listener(Guests())
            with pytest.raises(OSError, match="in use"):
                listener.open("", 0, str(path))
            listener.close()
            assert path.exists()

    run(work())


def test_a_file_that_is_no_socket_is_left_alone(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    path.write_text("precious")

    async def work() -> None:
        listener = Listener(Guests())
        with pytest.raises(OSError, match="in use"):
            listener.open("", 0, str(path))
        listener.close()

    run(work())
    assert path.read_text() == "precious"
