# SPDX-License-Identifier: Apache-2.0
"""Probes against servers that answer, refuse, lie, hang up and fall silent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from hproxy.dial.probe import LIMITS, Dialler, Limits, Probe
from hproxy.errors import (
    BackendError,
    BackendLost,
    BackendProtocolError,
    ConnectError,
    HProxyError,
)
from hproxy.net.loop import ReactorLoop
from hproxy.protocols.base import load_protocol
from hproxy.protocols.mysql.results import err, ok
from tests.support.fake_backend import Connection, FakeBackend, Script, frame, result, serving
from tests.support.health import until


def no_tls(host: str, port: int, user: str) -> ssl.SSLContext:
    raise AssertionError("nobody asked for TLS")


def play(script: Script, scene: Callable[[Probe], Awaitable[None]], use_ssl: bool = False) -> None:
    """Log in to a server that runs `script`, then run `scene`."""
    with FakeBackend(script) as backend:
        uvloop.run(_play(backend.port, scene, use_ssl))


async def _play(
    port: int,
    scene: Callable[[Probe], Awaitable[None]],
    use_ssl: bool,
    limits: Limits = LIMITS,
    unasked: str = "off",
) -> None:
    reactor = ReactorLoop()
    dial = Dialler(load_protocol("mysql"), reactor.reactor, no_tls, unasked=unasked, limits=limits)
    try:
        async with asyncio.timeout(20):
            probe = await dial("127.0.0.1", port, use_ssl, "monitor", "monitor")
            try:
                await scene(probe)
            finally:
                probe.close()
    finally:
        reactor.close()


async def nothing(_: Probe) -> None:
    raise AssertionError("logged in")


def answers(*packets: bytes) -> Script:
    """Each command is answered by the next of `packets`, whole frames."""

    def script(connection: Connection) -> None:
        connection.log_in()
        for packet in packets:
            connection.read_packet()
            connection.send(packet)
        connection.silence()

    return script


def test_asks_and_pings() -> None:
    async def scene(probe: Probe) -> None:
        assert await probe.ask("SELECT 1 AS v") == [{"v": "fine"}]
        await probe.ping()
        assert await probe.ask("SET x = 1") == []
        assert probe.clean

    play(answers(result("fine"), frame(ok(), 1), frame(ok(), 1)), scene)


def test_a_refused_statement_leaves_the_connection_good() -> None:
    async def scene(probe: Probe) -> None:
        with pytest.raises(BackendError) as caught:
            await probe.ask("nonsense")
        assert caught.value.facts["number"] == 1064
        assert probe.clean
        assert await probe.ask("SELECT 1") == [{"v": "fine"}]

    play(answers(frame(err(1064, "no"), 1), result("fine")), scene)


def test_a_refused_ping() -> None:
    async def scene(probe: Probe) -> None:
        with pytest.raises(BackendError, match="busy"):
            await probe.ping()

    play(answers(frame(err(1040, "busy"), 1)), scene)


def test_garbage_is_a_malformed_answer() -> None:
    async def scene(probe: Probe) -> None:
        with pytest.raises(BackendProtocolError):
            await probe.ask("SELECT 1")

    play(answers(frame(b"\x01", 1) + frame(b"\xfc", 2)), scene)


def test_an_endless_answer_has_an_end() -> None:
    def script(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()
        head = result("fine")
        row = frame(b"\x04fine", 1)
        connection.send(head[: head.index(row[4:]) - 4])
        number = 4
        while True:
            batch = b"".join(frame(b"\x04fine", number + n) for n in range(256))
            number += 256
            connection.send(batch)

    async def scene(probe: Probe) -> None:
        with pytest.raises(BackendProtocolError, match="more rows"):
            await probe.ask("SELECT 1")

    play(script, scene)


def test_lost_in_the_middle() -> None:
    def script(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()

    async def scene(probe: Probe) -> None:
        with pytest.raises(BackendLost):
            await probe.ask("SELECT 1")
        assert not probe.clean

    play(script, scene)


def test_an_idle_end_is_noticed() -> None:
    def script(connection: Connection) -> None:
        connection.log_in()
        connection.send(frame(err(4031, "disconnected by the server because of inactivity"), 0))

    async def scene(probe: Probe) -> None:
        await until(lambda: not probe.clean)

    play(script, scene)


def wrong_password(connection: Connection) -> None:
    connection.greet()
    connection.read_packet()
    connection.send(frame(err(1045, "Access denied for user 'monitor'"), 2))


def host_blocked(connection: Connection) -> None:
    connection.send(frame(err(1129, "Host is blocked"), 0))


def hangs_up(connection: Connection) -> None:
    connection.greet()
    connection.read_packet()


def talks_nonsense(connection: Connection) -> None:
    connection.send(frame(b"HTTP/1.1 400 Bad Request", 0))


@pytest.mark.parametrize(
    ("script", "kind", "number"),
    [
        (wrong_password, ConnectError, 1045),
        (host_blocked, ConnectError, 1129),
        (hangs_up, BackendLost, None),
        (talks_nonsense, BackendProtocolError, None),
    ],
)
def test_no_login(script: Script, kind: type[HProxyError], number: int | None) -> None:
    with pytest.raises(kind) as caught:
        play(script, nothing)
    assert caught.value.facts.get("number") == number


def test_tls_is_not_given_up_for() -> None:
    with pytest.raises(ConnectError) as caught:
        play(serving, nothing, use_ssl=True)
    assert caught.value.full_code == "pool.connect.tls"


def test_tls_is_given_up_for_where_it_is_only_preferred() -> None:
    async def scene(probe: Probe) -> None:
        await probe.ping()

    with FakeBackend(answers(frame(ok(), 1))) as backend:
        uvloop.run(_play(backend.port, scene, False, unasked="preferred"))


@pytest.mark.parametrize("limits", [Limits(rows=3), Limits(size=100)])
def test_more_than_may_be_answered(limits: Limits) -> None:
    async def scene(probe: Probe) -> None:
        with pytest.raises(BackendProtocolError, match="more rows"):
            await probe.ask("SELECT v")

    with FakeBackend(answers(result(*["x" * 30] * 10))) as backend:
        uvloop.run(_play(backend.port, scene, False, limits=limits))


def test_the_caller_bounds_the_time() -> None:
    def script(connection: Connection) -> None:
        connection.silence()

    async def impatient(port: int) -> None:
        reactor = ReactorLoop()
        dial = Dialler(load_protocol("mysql"), reactor.reactor, no_tls)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await dial("127.0.0.1", port, False, "monitor", "monitor")
            assert reactor.reactor.size == 0
        finally:
            reactor.close()

    with FakeBackend(script) as backend:
        uvloop.run(impatient(backend.port))


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError, match="refused"):
            uvloop.run(_play(unused.getsockname()[1], nothing, False))


def test_names_are_resolved_by_whoever_is_asked() -> None:
    asked: list[str] = []

    async def resolve(name: str) -> str:
        asked.append(name)
        return "127.0.0.1"

    async def run(port: int) -> None:
        reactor = ReactorLoop()
        dial = Dialler(load_protocol("mysql"), reactor.reactor, no_tls, resolve)
        try:
            (await dial("db.internal", port, False, "monitor", "monitor")).close()
        finally:
            reactor.close()

    with FakeBackend() as backend:
        uvloop.run(run(backend.port))
    assert asked == ["db.internal"]
