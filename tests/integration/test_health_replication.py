# SPDX-License-Identifier: Apache-2.0
"""Monitors in front of a real primary and two replicas: roles, lag, death, wrong passwords."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest
import uvloop

from hproxy.dial.probe import Dialler
from hproxy.health import Monitor, ReplicationHostgroups, Server
from hproxy.net.loop import ReactorLoop
from hproxy.net.tls_params import TlsParams, make_context
from hproxy.protocols.base import load_protocol
from tests.conftest import running
from tests.support.health import FakeValues, World, monitoring, until
from tests.support.trio import Trio

WRITER, READER = 10, 20
PAIR = ReplicationHostgroups(WRITER, READER)
READ_ONLY, LAG, PING = (
    f"mysql_server_{name}_log" for name in ("read_only", "replication_lag", "ping")
)
# The interval of read_only is ProxySQL's own; the others are shorter than there.
BRISK = {
    "monitor_ping_interval": 500,
    "monitor_replication_lag_interval": 500,
    "monitor_connect_interval": 1000,
}
# A server that sees the change of a variable, and two busy cores.
GRACE_S = 0.5


@pytest.fixture(scope="module")
def trio() -> Trio:
    return Trio({name: running(name) for name in ("primary", "replica1", "replica2")})


@pytest.fixture(autouse=True)
def restored(trio: Trio) -> Iterator[None]:
    trio.restore()
    yield
    trio.restore()


def world_of(trio: Trio, max_lag: int = 0) -> World:
    servers = [
        Server(READER if number else WRITER, *node.address, max_replication_lag=max_lag)
        for number, node in enumerate(trio.nodes.values())
    ]
    return World(servers, replication=[PAIR])


@asynccontextmanager
async def watching(world: World, **values: object) -> AsyncIterator[tuple[Monitor, FakeValues]]:
    reactor = ReactorLoop()
    dial = Dialler(load_protocol("mysql"), reactor.reactor, lambda *_: make_context(TlsParams()))
    given = FakeValues(**BRISK | values)
    try:
        async with monitoring(world, dial, given) as monitor:
            await until(lambda: len({row[:2] for row in monitor.rows(READ_ONLY)}) == 3)
            yield monitor, given
        await until(lambda: reactor.reactor.size == 0, "all connections closed", 5)
    finally:
        reactor.close()


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await scene()

    uvloop.run(bounded())


async def aside(function: Callable[..., Any], *arguments: Any) -> Any:
    """A blocking call, with the monitor going on."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def test_read_only_moves_within_an_interval(trio: Trio) -> None:
    world = world_of(trio)
    primary, replica = trio.primary, trio.replica1

    async def scene() -> None:
        async with watching(world):
            assert world.members(WRITER) == {primary.address}
            for _ in range(3):
                began = monotonic()
                await aside(primary.read_only, True)
                await until(lambda: world.members(WRITER) == set())
                await aside(replica.read_only, False)
                await until(lambda: world.members(WRITER) == {replica.address})
                assert monotonic() - began < 2 * (1 + GRACE_S)
                assert world.members(READER) == {n.address for n in trio.nodes.values()}
                await aside(replica.read_only, True)
                await until(lambda: world.members(WRITER) == set(), seconds=1 + GRACE_S)
                await aside(primary.read_only, False)
                await until(lambda: world.members(WRITER) == {primary.address}, seconds=1 + GRACE_S)

    play(scene)


def test_promotion(trio: Trio) -> None:
    world = world_of(trio)

    async def scene() -> None:
        async with watching(world, monitor_writer_is_also_reader="false") as (monitor, _):
            await aside(trio.promote, "replica1")
            others = {trio.primary.address, trio.replica2.address}
            await until(lambda: world.members(WRITER) == {trio.replica1.address})
            await until(lambda: world.members(READER) == others)
            assert world.shunned == set()
            assert monitor.counters()["MySQL_Monitor_read_only_check_ERR"] == 0

    play(scene)


def test_stopped_replication_leaves_and_returns(trio: Trio) -> None:
    world = world_of(trio, max_lag=10)
    late = (READER, trio.replica1.address)

    async def scene() -> None:
        async with watching(world) as (monitor, _):
            await until(lambda: len({row[:2] for row in monitor.rows(LAG)}) == 3)
            assert not world.late
            # The primary replicates from nobody: no number, no error.
            found = {row[:2]: row[4:] for row in monitor.rows(LAG)}
            assert found[trio.primary.address] == (None, None)
            assert found[trio.replica1.address] == (0, None)
            await aside(trio.replica1.ask, "STOP SLAVE SQL_THREAD")
            await until(lambda: late in world.late)
            assert world.lags[late] == 60
            assert ("lagging", *late, 60) in world.events  # NULL, by monitor_slave_lag_when_null
            await aside(trio.replica1.ask, "START SLAVE SQL_THREAD")
            await until(lambda: late not in world.late)
            assert {event[2] for event in world.events} == {trio.replica1.address}

    play(scene)


def test_delayed_replica_leaves_and_returns(trio: Trio) -> None:
    world = world_of(trio, max_lag=1)
    table = f"test.lag_{secrets.token_hex(4)}"
    late = (READER, trio.replica2.address)

    async def scene() -> None:
        async with watching(world):
            await aside(
                trio.replica2.ask,
                "STOP SLAVE",
                "CHANGE MASTER TO master_delay = 6",
                "START SLAVE",
            )
            await until(lambda: late not in world.late)
            world.events.clear()
            await aside(trio.primary.ask, f"CREATE TABLE {table} (a INT)", f"DROP TABLE {table}")
            await until(lambda: late in world.late)
            lags = [event[3] for event in world.events if event[0] == "lagging"]
            assert min(lags) >= 2
            assert max(lags) <= 7
            await until(lambda: late not in world.late)

    play(scene)


def test_stopped_process(trio: Trio) -> None:
    world = world_of(trio)
    node = trio.replica1

    async def scene() -> None:
        async with watching(world, monitor_ping_timeout=300) as (monitor, _):
            pid = node.pid
            os.kill(pid, signal.SIGSTOP)
            try:
                took = await until(lambda: node.address in world.shunned)
                # Each of three pings: its interval, its time, and the check before it.
                assert took < 3 * (0.5 + 0.3 + 0.8) + GRACE_S
                failed = [r for r in monitor.rows(PING) if r[:2] == node.address and r[4]]
                assert len(failed) >= 3
                assert "timeout" in str(failed[-1][4])
                assert world.shunned == {node.address}
            finally:
                os.kill(pid, signal.SIGCONT)
            await until(lambda: node.address not in world.shunned)

    play(scene)


def test_killed_primary_returns_as_writer(trio: Trio) -> None:
    world = world_of(trio)
    node = trio.primary

    async def scene() -> None:
        async with watching(world) as (monitor, _):
            os.kill(node.pid, signal.SIGKILL)
            await until(lambda: node.address in world.shunned)
            reasons = [event[2] for event in world.events if event[0] == "shun"]
            assert "Connection refused" in reasons[-1]
            await aside(node.start)
            await until(lambda: node.address not in world.shunned)
            await until(lambda: world.members(WRITER) == {node.address})
            assert trio.replica1.address not in world.shunned
            assert monitor.counters()["MySQL_Monitor_ping_check_ERR"] >= 3

    play(scene)


def test_wrong_password_shuns_nobody(trio: Trio) -> None:
    world = world_of(trio)

    async def scene() -> None:
        async with watching(world, monitor_password="wrong") as (monitor, values):
            await until(lambda: len(monitor.rows(PING)) >= 12)
            assert all("Access denied" in str(row[4]) for row in monitor.rows(PING))
            assert world.events == []
            values.set(monitor_password="monitor")
            await until(lambda: monitor.rows(READ_ONLY)[-1][5] is None, seconds=2)

    play(scene)


def test_missing_privilege_is_said(trio: Trio) -> None:
    world = world_of(trio, max_lag=10)

    async def scene() -> None:
        account = {"monitor_username": "app", "monitor_password": "app"}
        async with watching(world, **account) as (monitor, _):
            await until(lambda: any(row[5] for row in monitor.rows(LAG)))
            assert "SLAVE MONITOR" in str(monitor.rows(LAG)[-1][5])
            assert world.events == []

    play(scene)
