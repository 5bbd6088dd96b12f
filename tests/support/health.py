# SPDX-License-Identifier: Apache-2.0
"""What monitors need of the outside, without a network: variables, a runtime, servers.

world = World(servers, replication=(...))      keeps memberships, records what was asked of it
fakes = Fakes(); fakes[address].hush()  servers that answer, or do not
async with monitoring(world, fakes.dial) as monitor: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from hproxy.errors import BackendError, BackendLost, ConnectError
from hproxy.health import (
    Add,
    Address,
    Change,
    ClusterHostgroups,
    Dial,
    Monitor,
    Remove,
    ReplicationHostgroups,
    Server,
    View,
)
from hproxy.health.model import Row

__all__ = [
    "FakeServer",
    "FakeValues",
    "Fakes",
    "World",
    "answers",
    "apply",
    "monitoring",
    "show",
    "until",
]

WAIT_S = 20.0

DEFAULTS = {
    "monitor_enabled": "true",
    "monitor_username": "monitor",
    "monitor_password": "monitor",
    "monitor_history": "7200000",
    "monitor_connect_interval": "120000",
    "monitor_connect_timeout": "600",
    "monitor_ping_interval": "8000",
    "monitor_ping_timeout": "1000",
    "monitor_ping_max_failures": "3",
    "monitor_read_only_interval": "1000",
    "monitor_read_only_timeout": "800",
    "monitor_read_only_max_timeout_count": "3",
    "monitor_replication_lag_interval": "10000",
    "monitor_replication_lag_timeout": "1000",
    "monitor_replication_lag_count": "1",
    "monitor_replication_lag_use_percona_heartbeat": "",
    "monitor_slave_lag_when_null": "60",
    "monitor_groupreplication_healthcheck_interval": "5000",
    "monitor_groupreplication_healthcheck_timeout": "800",
    "monitor_groupreplication_healthcheck_max_timeout_count": "3",
    "monitor_groupreplication_max_transactions_behind_count": "3",
    "monitor_groupreplication_max_transactions_behind_for_read_only": "1",
    "monitor_galera_healthcheck_interval": "5000",
    "monitor_galera_healthcheck_timeout": "800",
    "monitor_galera_healthcheck_max_timeout_count": "3",
    "monitor_threads_max": "128",
    "monitor_local_dns_cache_ttl": "300000",
    "monitor_local_dns_cache_refresh_interval": "60000",
    "monitor_wait_timeout": "true",
    "monitor_writer_is_also_reader": "true",
}


class FakeValues:
    """The variables, as ProxySQL has them at first, and as `set` changes them."""

    def __init__(self, **given: object) -> None:
        self._texts = {f"mysql-{name}": text for name, text in DEFAULTS.items()}
        self.on_change: list[Callable[[set[str]], Any]] = []
        self.set(**given)

    def set(self, **given: object) -> None:
        """`set(monitor_ping_interval=50)`."""
        changed = set()
        for short, value in given.items():
            name, text = f"mysql-{short}", str(value)
            assert name in self._texts, name
            if self._texts[name] != text:
                self._texts[name] = text
                changed.add(name)
        if changed:
            for listener in self.on_change:
                listener(changed)

    def text(self, name: str, /) -> str:
        return self._texts[name]

    def number(self, name: str, /) -> int:
        return int(self._texts[name])

    def flag(self, name: str, /) -> bool:
        return self._texts[name].lower() in ("true", "1")


class World:
    """A runtime: does what monitors ask for, and remembers that they did."""

    def __init__(
        self,
        servers: Sequence[Server],
        replication: Sequence[ReplicationHostgroups] = (),
        group_replication: Sequence[ClusterHostgroups] = (),
        galera: Sequence[ClusterHostgroups] = (),
    ) -> None:
        self.servers = list(servers)
        self.replication = tuple(replication)
        self.group_replication = tuple(group_replication)
        self.galera = tuple(galera)
        self.events: list[tuple[Any, ...]] = []
        self.shunned: set[Address] = set()
        self.late: set[tuple[int, Address]] = set()
        self.lags: dict[tuple[int, Address], int] = {}
        self.moved_at = 0.0

    def view(self) -> View:
        return View(tuple(self.servers), self.replication, self.group_replication, self.galera)

    def members(self, hostgroup: int) -> set[Address]:
        return {s.address for s in self.servers if s.hostgroup == hostgroup}

    def shun(self, host: str, port: int, reason: str) -> None:
        self.events.append(("shun", Address(host, port), reason))
        self.shunned.add(Address(host, port))

    def back(self, host: str, port: int) -> None:
        self.events.append(("back", Address(host, port)))
        self.shunned.discard(Address(host, port))

    def lagging(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        self.events.append(("lagging", hostgroup, Address(host, port), lag))
        self.late.add((hostgroup, Address(host, port)))

    def caught_up(self, hostgroup: int, host: str, port: int) -> None:
        self.events.append(("caught_up", hostgroup, Address(host, port)))
        self.late.discard((hostgroup, Address(host, port)))

    def measured(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        self.lags[hostgroup, Address(host, port)] = lag

    def place(self, changes: Sequence[Change]) -> None:
        self.events.append(("place", tuple(changes)))
        self.moved_at = monotonic()
        self.servers = apply(self.servers, changes)


def apply(servers: Sequence[Server], changes: Sequence[Change]) -> list[Server]:
    """The memberships after `changes`."""
    found = list(servers)
    for change in changes:
        match change:
            case Remove(server):
                found.remove(server)
            case Add(hostgroup, like):
                added = replace(like, hostgroup=hostgroup)
                assert (hostgroup, added.address) not in {(s.hostgroup, s.address) for s in found}
                found.append(added)
    return found


@dataclass
class FakeServer:
    """One server: set what it does."""

    gone: bool = False
    password: str = "monitor"
    answers: dict[str, list[Row] | Exception] = field(default_factory=dict)
    """By the beginning of the statement."""
    connections: list[FakeConnection] = field(default_factory=list)
    dials: int = 0
    asked: list[str] = field(default_factory=list)
    waiting: int = 0
    """Probes that wait for it now."""
    most_waiting: int = 0
    _talks: asyncio.Event | None = None

    def hush(self) -> None:
        """Say nothing from now on, as a stopped process does."""
        self._talks = asyncio.Event()

    def wake(self) -> None:
        """Go on."""
        if self._talks is not None:
            self._talks.set()
            self._talks = None

    async def speak(self) -> None:
        """Return when the server would have spoken."""
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            if self._talks is not None:
                await self._talks.wait()
        finally:
            self.waiting -= 1

    def die(self) -> None:
        """The process is killed: its connections end."""
        self.gone = True
        for connection in self.connections:
            connection.lost = True


class FakeConnection:
    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.lost = False
        self.clean = True
        server.connections.append(self)

    async def ask(self, sql: str) -> list[Row]:
        self.server.asked.append(sql)
        await self.server.speak()
        if self.lost:
            self.clean = False
            raise BackendLost("end of stream")
        for begin, answer in self.server.answers.items():
            if sql.startswith(begin):
                if isinstance(answer, Exception):
                    raise answer
                return answer
        if sql.startswith("SET "):
            return []
        raise BackendError(f"syntax: {sql}", number=1064)

    async def ping(self) -> None:
        await self.server.speak()
        if self.lost:
            self.clean = False
            raise BackendLost("end of stream")

    def close(self) -> None:
        self.server.connections.remove(self)

    cut = close


class Fakes(dict[Address, FakeServer]):
    """Servers by address, made when they are first named."""

    def __missing__(self, address: Address) -> FakeServer:
        server = self[address] = FakeServer()
        return server

    async def dial(
        self, host: str, port: int, use_ssl: bool, user: str, password: str
    ) -> FakeConnection:
        server = self[Address(host, port)]
        server.dials += 1
        if server.gone:
            raise ConnectError("Connection refused")
        await server.speak()
        if password != server.password:
            raise ConnectError(f"Access denied for user '{user}'", code="refused", number=1045)
        return FakeConnection(server)


@asynccontextmanager
async def monitoring(
    world: World, dial: Dial, values: FakeValues | None = None, **options: Any
) -> AsyncIterator[Monitor]:
    """A running monitor."""
    monitor = Monitor(world.view, world, dial, values or FakeValues(), **options)
    monitor.start()
    try:
        yield monitor
    finally:
        await monitor.stop()


async def until(condition: Callable[[], object], what: str = "", seconds: float = WAIT_S) -> float:
    """Wait for `condition`; how long it took, in seconds."""
    began = monotonic()
    while not condition():
        if monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        await asyncio.sleep(0.002)
    return monotonic() - began


def answers(**values: object) -> list[Row]:
    """One row."""
    return [{name: str(value) for name, value in values.items()}]


def show(values: Mapping[str, object]) -> list[Row]:
    """The two columns of SHOW STATUS."""
    return [{"Variable_name": name, "Value": str(value)} for name, value in values.items()]
