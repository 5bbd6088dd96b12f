# SPDX-License-Identifier: Apache-2.0
"""Whether one more backend connection is opened, on which server, and what comes of it.

allowed ── throttled, or the account has all it may have ──> no
choose ─── no server has room ──> no
enter ──── other workers were quicker ──> no
   └──> on its way: opened ──> counted, the server is back
                       └ failed: its place is free, the group rests for RETRY_SEC
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from hproxy._native.pool import BackendConnection, Bucket, Group
from hproxy.pool.sharing import same_account
from hproxy.topology import Backend, Status

if TYPE_CHECKING:
    from hproxy.pool.pools import GroupKey, Pools

__all__ = ["MOST_AT_ONCE", "allowed", "choose", "enter", "opened"]

UNTHROTTLED = 1_000_000
"""Connections per second: the default, at which nobody needs to ask the other workers."""
MOST_AT_ONCE = 64
"""Logins under way for one group: sessions are served meanwhile, and need no connection then."""
RETRY_SEC = 0.2
"""Between two tries to open a connection, while they fail."""


def allowed(pools: Pools, group: Group) -> bool:
    """Whether throttling and the account's own limit let one more be opened."""
    hostgroup: int = group.key.hostgroup
    second = int(pools.clock())
    at, count = pools.opened_in_second.get(hostgroup, (second, 0))
    if at == second and count >= pools.attributes[hostgroup].throttle_connections_per_sec:
        return False
    limit = pools.user_limits.get(group.key.account.username)
    if limit is None:
        return True
    if group.row is not None and not group.row.has_room(limit):
        return False
    own = [b for b in pools if same_account(b.group, group)]
    if sum(b.opened + b.connecting + b.leaving for b in own) < limit:
        return True
    if not any(b.leaving for b in own):
        others = [b for b in own if b.group is not group]
        pools.close_idle(group, others)
    return False


def choose(pools: Pools, group: Group, servers: Collection[Backend] | None = None) -> Bucket | None:
    """The server with the least connections for its weight, among those with room."""
    members = [b for b in group.buckets if b.server.weight > 0]
    if servers is not None:
        members = [b for b in members if b.server.backend in servers]
    if not any(b.server.online for b in members):
        # As a last resort those that failed are tried again, who failed first before others.
        health = pools.topology.health
        shunned = [b for b in members if _shunned(pools, b) and b.server.room]
        return min(shunned, key=lambda b: health[b.server.backend].shunned_until, default=None)
    fit = [b for b in members if b.server.online and b.server.room]
    return min(fit, key=lambda b: (b.opened + b.connecting + 1) / b.server.weight, default=None)


def _shunned(pools: Pools, bucket: Bucket) -> bool:
    return pools.topology.status(bucket.server.backend) is Status.SHUNNED


def enter(pools: Pools, group: Group, bucket: Bucket) -> bool:
    """Whether there was a place for one more connection, which is on its way now."""
    if not _in_time(pools, group.key.hostgroup) or not bucket.enter():
        return False
    group.key.grew_at = now = pools.clock()
    second = int(now)
    at, count = pools.opened_in_second.get(group.key.hostgroup, (second, 0))
    pools.opened_in_second[group.key.hostgroup] = (second, count + 1 if at == second else 1)
    bucket.connecting += 1
    return True


def _in_time(pools: Pools, hostgroup: int) -> bool:
    """Whether throttling lets one more be opened, of all workers together."""
    limit = pools.attributes[hostgroup].throttle_connections_per_sec
    row = pools.shares.hostgroup(hostgroup) if limit < UNTHROTTLED else None
    return row is None or row.passes(int(pools.clock()), limit)


async def opened(
    pools: Pools, group: Group, bucket: Bucket, settings: Any, who: Any
) -> BackendConnection | None:
    """A connection in the place that was entered; None, and all is told, when it fails."""
    key: GroupKey = group.key
    backend = bucket.server.backend
    begun = pools.clock()
    try:
        connection = await pools.opener.open(key, bucket, settings)
    except BaseException as error:
        bucket.connecting -= 1
        bucket.leave()
        pools.shares.freed(bucket.server.row)
        pools.shares.freed(group.row)
        if not isinstance(error, Exception):
            raise
        pools.counts[backend].failed += 1
        blameless = pools.failed(group, error, who) and who is not None
        if not blameless:
            key.failures += 1
            key.last_error = error
            key.retry_at = pools.clock()
            if bucket.server.online or not any(b.server.online for b in group.buckets):
                key.retry_at += RETRY_SEC  # by tick
        return None
    bucket.connecting -= 1
    bucket.opened += 1
    key.failures = 0
    key.last_error = None
    if pools.settings.connection_max_age:
        connection.retire_at = connection.opened_at + pools.settings.connection_max_age
    pools.counts[backend].opened += 1
    if group.times is not None:
        group.times.connected(round((pools.clock() - begun) * 1e9))
    pools.topology.opened(backend)
    return connection
