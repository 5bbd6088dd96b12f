# SPDX-License-Identifier: Apache-2.0
"""Pools with a clock and an opener by hand, and sessions that wish for connections."""

from __future__ import annotations

from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from hproxy._native.pool import Applicant, BackendConnection, Bucket, Group
from hproxy._native.reactor import Reactor
from hproxy.pool import PoolSettings
from hproxy.pool.pools import GroupKey, Pools
from hproxy.pool.shares import Shares
from hproxy.topology import Backend, HostgroupAttributes, Topology
from tests.support.socket_pair import Peer, pair, settle

QUIT = b"\x01\x00\x00\x00\x01"


class Settings:
    """As much of them as pools look at."""

    def __init__(self, schema: bytes = b"") -> None:
        self.schema = schema


NO_SCHEMA, SHOP = Settings(), Settings(b"shop")


class Wish:
    """Somebody who wants a connection."""

    def __init__(self, world: World, group: Group, settings: Any = NO_SCHEMA) -> None:
        self.world, self.group, self.settings = world, group, settings
        self.got: BackendConnection | None = None
        self.applicant = Applicant(self)
        found = self.applicant.apply(group, settings)
        if found is not None:
            self.got = found
        else:
            world.pools.grow(group)

    def done(self) -> bool:
        return self.got is not None

    def set_result(self, connection: BackendConnection) -> None:
        self.got = connection

    def back(self) -> None:
        assert self.got is not None
        connection, self.got = self.got, None
        self.group.give(connection)


class World:
    """Backends of hostgroup 0, time, and tasks that run when the test says so."""

    def __init__(
        self,
        *limits: int,
        settings: PoolSettings | None = None,
        user_limits: dict[bytes, int] | None = None,
        shares: Shares | None = None,
        **attributes: Any,
    ) -> None:
        self.reactor = Reactor()
        self.offset = 0.0
        self.tasks: list[Coroutine[Any, Any, None]] = []
        self.failures: list[BaseException] = []
        self.pings = True
        self.resets = True
        self.refusal: Exception | None = None
        self.peers: dict[BackendConnection, Peer] = {}
        self.wanted: list[Any] = []
        self.backends = tuple(
            Backend(f"db{number}", 3306, max_connections=limit)
            for number, limit in enumerate(limits)
        )
        self.topology = Topology(self.backends)
        nothing = SimpleNamespace(debug=lambda *a, **k: None, info=lambda *a, **k: None)
        self.pools = Pools(
            self.topology,
            settings or PoolSettings(ping_interval=0.0),
            {0: HostgroupAttributes(**attributes)},
            user_limits or {},
            self.now,
            lambda task, name: self.tasks.append(task),
            self,
            self.failed,
            nothing,
            shares or Shares(),
        )

    def now(self) -> float:
        self.reactor.sweep()
        return self.reactor.now + self.offset

    def failed(self, group: Group, error: BaseException, who: Any) -> bool:
        self.failures.append(error)
        return False

    def run(self) -> int:
        """Run what was spawned to its end; how many there were."""
        ran = 0
        while self.tasks:
            task = self.tasks.pop(0)
            with pytest.raises(StopIteration):
                task.send(None)
            ran += 1
        settle(self.reactor)
        return ran

    def group(self, user: bytes = b"ann", settings: Any = NO_SCHEMA) -> Group:
        return self.pools.group(0, SimpleNamespace(username=user), 1, settings)

    def wishes(self, group: Group, count: int) -> list[Wish]:
        return [Wish(self, group) for _ in range(count)]

    # -- the opener ----------------------------------------------------------------

    async def open(self, key: GroupKey, bucket: Bucket, settings: Any) -> BackendConnection:
        if self.refusal is not None:
            raise self.refusal
        self.wanted.append(settings)
        peer, end = pair(self.reactor)
        connection = BackendConnection(end, bucket, None, settings, 10)
        self.peers[connection] = peer
        return connection

    async def ping(self, connection: BackendConnection) -> bool:
        return self.pings

    async def reset(self, connection: BackendConnection) -> bool:
        return self.resets

    def depart(self) -> int:
        """Servers close the connections that said goodbye; how many."""
        left = [peer for peer in self.peers.values() if peer in Peer.open]
        gone = 0
        for peer in left:
            if peer.receive().endswith(QUIT):
                peer.close()
                gone += 1
        settle(self.reactor)
        return gone

    @property
    def used(self) -> list[int]:
        return [server.opened for server in self.pools.servers.values()]


def idle(world: World, group: Group, count: int) -> None:
    """`count` idle connections."""
    wishes = world.wishes(group, count)
    world.run()
    for wish in wishes:
        wish.back()
