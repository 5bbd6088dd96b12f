# SPDX-License-Identifier: Apache-2.0
"""What is done for pools once a second, and more often while sessions wait.

servers that may be used again ── shares ── what workers lend ── who waits grows
idle connections: as many as are kept warm, too many and too old ones closed, silent ones asked
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hproxy._native.pool import BackendConnection, Bucket, Group
from hproxy.pool import lending
from hproxy.pool.change import drop_gone
from hproxy.pool.opening import MOST_AT_ONCE, allowed
from hproxy.pool.sharing import look, share

if TYPE_CHECKING:
    from hproxy.pool.pools import Pools

__all__ = ["tick"]

IDLE_SPARE_SEC = 10.0
"""How long an idle connection beyond the share that is kept stays for a next burst."""


def tick(pools: Pools) -> None:
    """Once a second, and while sessions wait more often."""
    now = pools.clock()
    drop_gone(pools)
    for server in pools.servers.values():
        # Its own backend, not the key: that is as it was when the server was first met.
        server.online = pools.topology.fit(server.backend, now)
    for group in pools.groups.values():
        look(group, now)
    share(list(pools), list(pools.groups.values()), now)
    lending.tick(pools)
    for group in list(pools.groups.values()):
        if group.waiting:
            pools.grow(group)
        _warm(pools, group)
    for bucket in list(pools):
        _prune(pools, bucket, now)


def _warm(pools: Pools, group: Group) -> None:
    attributes = pools.attributes[group.key.hostgroup]
    if not attributes.connection_warming or group.key.failures:
        return
    for bucket in group.buckets:
        wanted = pools.shares.part(attributes.idle_limit(bucket.server.limit))
        server = bucket.server
        # Of all groups together, as they are pruned: else one undoes what the other did.
        while server.opened - server.leaving < wanted and server.online and server.room:
            if bucket.connecting >= MOST_AT_ONCE or not allowed(pools, group):
                return
            if not pools.begin(group, bucket):
                break


def _prune(pools: Pools, bucket: Bucket, now: float) -> None:
    """Too many idle, too old, or silent for long enough to be asked."""
    server = bucket.server
    attributes = pools.attributes[bucket.group.key.hostgroup]
    keep = pools.shares.part(attributes.idle_limit(server.limit))
    idle = bucket.connections()
    for connection in reversed(idle):
        if pools.settings.expired(now - connection.opened_at) or (
            server.idle > keep and now - connection.used_at >= IDLE_SPARE_SEC
        ):
            pools.retire(connection)
        elif (
            pools.settings.ping_due(now - max(connection.used_at, connection.asked_at))
            and connection.reserve()
        ):
            connection.asked_at = now
            pools.spawn(_ping(pools, connection), f"ping of {server.backend}")


async def _ping(pools: Pools, connection: BackendConnection) -> None:
    if await pools.opener.ping(connection):
        connection.bucket.group.give(connection, used=False)
    else:
        pools.log.info(
            "idle connection does not answer", backend=str(connection.bucket.server.backend)
        )
        pools.retire(connection, polite=False)
