# SPDX-License-Identifier: Apache-2.0
"""Listening sockets that come and go while the worker runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hproxy.config.address import Address
from hproxy.errors import AdminError, ConfigError
from hproxy.net.listener import Listener
from hproxy.runtime.listeners import GivenSockets, Listeners
from tests.unit.conftest import Run, until

HERE = "127.0.0.1"


class Guests(list[tuple[Listener, int, str]]):
    """Who came, and through which door; they are shown out at once."""

    def __call__(self, listener: Listener, fd: int, peer: str) -> None:
        self.append((listener, fd, peer))
        socket.socket(fileno=fd).close()


def build(guests: Guests) -> Listeners:
    return Listeners(guests, 0, lambda error: None)


def reachable(port: int) -> bool:
    try:
        socket.create_connection((HERE, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_port_that_was_chosen_is_the_same_after_a_pause(run: Run) -> None:
    async def work() -> None:
        listeners = build(Guests())
        listeners.become([Address(HERE, 0)])
        before = listeners.addresses
        for _ in range(2):
            listeners.pause()
            listeners.resume()
            assert listeners.addresses == before
        listeners.become([Address(HERE, 0)])
        assert listeners.addresses == before
        listeners.close()

    run(work())


def test_opened_and_closed_as_told(run: Run, tmp_path: Path) -> None:
    guests = Guests()
    path = tmp_path / "sock"

    async def work() -> None:
        listeners = build(guests)
        listeners.become([Address(HERE, 0)])
        first = listeners.first
        listeners.become([Address("", 0, str(path)), Address(HERE, first.port)])
        assert listeners.addresses == (first.address, str(path)), "the same one, by its real port"
        assert reachable(first.port)
        await until(lambda: len(guests) == 1)
        assert guests[0][0] is first
        port = first.port
        listeners.become([Address("", 0, str(path))])
        assert not reachable(port)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            await until(lambda: len(guests) == 2)
        assert guests[1][2] == "unix"
        listeners.become([])
        assert not path.exists()
        assert listeners.first.address == "closed"

    run(work())


def test_one_that_cannot_be_had_changes_nothing(run: Run) -> None:
    async def work() -> None:
        listeners = build(Guests())
        listeners.become([Address(HERE, 0)])
        before = listeners.addresses
        with socket.socket() as taken:
            taken.bind((HERE, 0))
            taken.listen()
            number = taken.getsockname()[1]
            with pytest.raises(ConfigError, match=f"cannot listen.*{number}"):
                listeners.become([Address(HERE, 0), Address(HERE, number)])
        assert listeners.addresses == before
        listeners.close()

    run(work())


def test_pause_and_resume(run: Run) -> None:
    async def work() -> None:
        listeners = build(Guests())
        with pytest.raises(AdminError, match="is not paused, impossible to resume"):
            listeners.resume()
        listeners.become([Address(HERE, 0)])
        listeners.pause()
        assert not listeners.addresses
        with pytest.raises(AdminError, match="is already paused, impossible to pause"):
            listeners.pause()
        listeners.become([Address(HERE, 0), Address("::1", 0)])
        assert not listeners.addresses, "remembered for later"
        listeners.resume()
        opened = [*listeners.addresses]
        assert len(opened) == 2
        listeners.close()

    run(work())


def test_the_same_port_of_more_or_fewer_addresses(run: Run) -> None:
    """An operator closes a port to others, or opens it: both exclude each other."""

    async def work() -> None:
        listeners = build(Guests())
        listeners.become([Address(HERE, 0)])
        port = listeners.first.port
        for host in ("0.0.0.0", HERE):
            listeners.become([Address(host, port)])
            assert listeners.addresses == (f"{host}:{port}",)
            assert reachable(port)
        with socket.create_server((HERE, 0)) as other, pytest.raises(ConfigError):
            listeners.become([Address("0.0.0.0", port), Address(HERE, other.getsockname()[1])])
        assert listeners.addresses == (f"{HERE}:{port}",)
        assert reachable(port)
        listeners.close()

    run(work())


def test_another_process_goes_on_with_the_sockets(run: Run, tmp_path: Path) -> None:
    """Who connects while nobody accepts waits; a file stays for as long as somebody listens."""
    before, after = Guests(), Guests()
    path = tmp_path / "sock"
    wanted = [Address(HERE, 0), Address("", 0, str(path))]

    async def work() -> None:
        old, new = build(before), build(after)
        old.become(wanted)
        port = old.first.port
        sockets = {name: os.dup(fd) for name, fd in old.rest().items()}
        assert reachable(port)
        new.given = GivenSockets({}, alone=False, once=sockets | {"gone": os.dup(0)})
        new.become(wanted)
        new.given.disown()
        await until(lambda: len(after) == 1)
        old.close()
        assert path.exists()
        assert new.first.port == port
        new.close()
        assert not path.exists()
        assert not reachable(port)
        assert not before

    run(work())


def test_nobody_goes_on_with_them(run: Run, tmp_path: Path) -> None:
    guests = Guests()
    path = tmp_path / "sock"

    async def work() -> None:
        listeners = build(guests)
        listeners.become([Address(HERE, 0), Address("", 0, str(path))])
        listeners.rest()
        assert reachable(listeners.first.port)
        listeners.wake()
        await until(lambda: len(guests) == 1)
        listeners.close()
        assert not path.exists()

    run(work())
