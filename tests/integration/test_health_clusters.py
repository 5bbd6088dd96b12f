# SPDX-License-Identifier: Apache-2.0
"""Monitors in front of a real group of MySQL 9 and a real Galera node, one member each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from hproxy.dial.probe import Dialler
from hproxy.health import Address, ClusterHostgroups, Server
from hproxy.net.loop import ReactorLoop
from hproxy.net.tls_params import TlsParams, make_context
from hproxy.protocols.base import load_protocol
from tests.conftest import running
from tests.integration.conftest import direct
from tests.support.health import FakeValues, World, monitoring, until
from tests.support.server import Server as Database

WRITER, BACKUP, READER, OFFLINE = 1, 2, 3, 4
ROW = ClusterHostgroups(WRITER, BACKUP, READER, OFFLINE)
BRISK = {
    "monitor_groupreplication_healthcheck_interval": 100,
    "monitor_galera_healthcheck_interval": 100,
    "monitor_ping_interval": 200,
}


@pytest.fixture
def group() -> Database:
    return running("group")


@pytest.fixture
def galera() -> Database:
    return running("galera")


def watch(
    world: World, scene: Callable[[Any], Coroutine[Any, Any, None]], **values: object
) -> None:
    async def run() -> None:
        reactor = ReactorLoop()
        context = make_context(TlsParams())
        dial = Dialler(load_protocol("mysql"), reactor.reactor, lambda *_: context)
        try:
            async with (
                asyncio.timeout(90),
                monitoring(world, dial, FakeValues(**BRISK | values)) as monitor,
            ):
                await scene(monitor)
        finally:
            reactor.close()

    uvloop.run(run())


async def aside(database: Database, *statements: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, lambda: direct(database, *statements))


def where(world: World, address: Address) -> set[int]:
    return {server.hostgroup for server in world.servers if server.address == address}


def test_group_replication(group: Database) -> None:
    address = Address(group.host, group.port)
    world = World([Server(OFFLINE, *address)], group_replication=[ROW])
    table = "mysql_server_group_replication_log"

    async def scene(monitor: Any) -> None:
        await until(lambda: where(world, address) == {WRITER}, "primary")
        assert monitor.rows(table)[0][4:] == ("YES", "NO", 0, None)
        await aside(group, "SET GLOBAL read_only = ON")
        await until(lambda: where(world, address) == {READER}, "read only")
        await aside(group, "SET GLOBAL read_only = OFF")
        await until(lambda: where(world, address) == {WRITER}, "primary again")
        await aside(group, "STOP GROUP_REPLICATION")
        try:
            await until(lambda: where(world, address) == {OFFLINE}, "stopped")
            # The row of a check that timed out says nothing: the group is slow while it ends.
            await until(lambda: monitor.rows(table)[-1][4] == "NO", "told so")
        finally:
            await aside(group, "START GROUP_REPLICATION")
        await until(lambda: where(world, address) == {WRITER}, "started")
        assert world.shunned == set()

    watch(world, scene)


def test_a_server_in_no_group_is_offline(mysql9: Database) -> None:
    address = Address(mysql9.host, mysql9.port)
    world = World([Server(WRITER, *address)], group_replication=[ROW])

    async def scene(monitor: Any) -> None:
        await until(lambda: where(world, address) == {OFFLINE})

    watch(world, scene, monitor_username="hproxy", monitor_password="hproxy")


def test_galera(galera: Database) -> None:
    address = Address(galera.host, galera.port)
    world = World([Server(OFFLINE, *address)], galera=[ROW])
    table = "mysql_server_galera_log"
    off = ["wsrep_desync = OFF", "wsrep_reject_queries = NONE", "read_only = OFF"]
    on = [("wsrep_desync = ON", OFFLINE), ("wsrep_reject_queries = ALL", OFFLINE)]

    async def scene(monitor: Any) -> None:
        await until(lambda: where(world, address) == {WRITER}, "synced")
        assert monitor.rows(table)[0][4:] == (
            *("YES", "NO", 0, 4, "NO", "NO", "NO", "DISABLED", None),
        )
        try:
            for change, hostgroup in [*on, ("read_only = ON", READER)]:
                await aside(galera, f"SET GLOBAL {change}")
                await until(lambda: where(world, address) == {hostgroup}, change)  # noqa: B023
                await aside(galera, *(f"SET GLOBAL {back}" for back in off))
                await until(lambda: where(world, address) == {WRITER}, f"after {change}")
        finally:
            await aside(galera, *(f"SET GLOBAL {back}" for back in off))
        assert world.shunned == set()

    watch(world, scene)


def test_a_server_without_galera_is_offline(mariadb: Database) -> None:
    address = Address(mariadb.host, mariadb.port)
    world = World([Server(WRITER, *address)], galera=[ROW])

    async def scene(monitor: Any) -> None:
        await until(lambda: where(world, address) == {OFFLINE})

    watch(world, scene, monitor_username="hproxy", monitor_password="hproxy")
