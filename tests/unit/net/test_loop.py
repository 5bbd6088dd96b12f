# SPDX-License-Identifier: Apache-2.0
"""The native reactor in an event loop: packets arrive, deadlines pass, nothing is left."""

from __future__ import annotations

import asyncio
import socket

import pytest

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy.errors import ClientError
from hproxy.net import loop as module
from hproxy.net.loop import ReactorLoop
from tests.unit.conftest import Run, until


def test_it_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError):
        ReactorLoop()


def test_packets_arrive(run: Run) -> None:
    async def work() -> None:
        reactor = ReactorLoop()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            channel = Channel(Endpoint(reactor.reactor, ours.detach()), "client", 1024)
            theirs.sendall(b"\x05\0\0\0hel")
            theirs.sendall(b"lo")
            assert await channel.read_packet() == b"hello"
            theirs.close()
            with pytest.raises(ClientError):
                await channel.read_packet()
            channel.close()
        assert reactor.reactor.size == 0
        reactor.close()

    run(work())


def test_deadlines_pass_without_traffic(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that says farewell to a peer who does not answer is swept away."""
    monkeypatch.setattr(module, "SWEEP_SEC", 0.01)

    async def work() -> None:
        reactor = ReactorLoop()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            endpoint = Endpoint(reactor.reactor, ours.detach())
            endpoint.finish()
            assert not endpoint.closed
            endpoint.deadline = 1e-9
            await until(lambda: endpoint.closed)
        assert reactor.reactor.size == 0
        reactor.close()

    run(work())


def test_close_ends_the_sweeps(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_SEC", 0.001)

    async def work() -> None:
        ReactorLoop().close()
        await asyncio.sleep(0.01)  # a sweep of a closed reactor would be heard

    run(work())
