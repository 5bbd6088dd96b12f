# SPDX-License-Identifier: Apache-2.0
"""Places that workers of a service lend to one another: on a server, or of an account; pure.

    ask     sessions wait here, and all places are taken ──> others are told how many
    nudged  others wait: idle connections give way, those of ours that are busy as they come back
            others have left a place: who waits here may open a connection there
    tick    what is asked for is brought up to date, and what is owed

Who has none of the places gets one, and who starves; else a worker gives to one with at least two
fewer. Idle connections go to whoever waits, however many are left then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hproxy._native.pool import BackendConnection, Bucket, Group, Server
from hproxy.pool.sharing import IDLE_GRACE_SEC, starves

if TYPE_CHECKING:
    from hproxy.pool.pools import Pools
    from hproxy.pool.shares import Row

__all__ = ["ask", "ask_for_account", "nudged", "tick"]


def ask(pools: Pools, group: Group) -> None:
    """Sessions of `group` wait, and there is no room on any of its servers."""
    for bucket in group.buckets:
        server = bucket.server
        if server.row is not None and server.online:
            missing = _missing(pools, server)
            if server.asked:  # others know; how many there are now they see
                server.row.want = missing
            else:
                server.asked = True
                pools.shares.want(server.row, missing)


def ask_for_account(pools: Pools, group: Group) -> None:
    """Sessions of `group` wait, and its account has all the connections it may have."""
    if group.row is not None and not group.row.want:
        pools.shares.want(group.row, group.waiting)


def tick(pools: Pools) -> None:
    """Ask for what is needed now, and give what others need."""
    now = pools.clock()
    hungry = {bucket.server for bucket in pools if starves(bucket.group, now)}
    for server in pools.servers.values():
        if server.row is None:
            continue
        server.asked = False
        full = server.online and server.waiting and not server.room
        missing = _missing(pools, server) if full else 0
        pools.shares.want(server.row, missing, server in hungry)
        _lend_on(pools, server)
    for group in pools.groups.values():
        if group.row is not None:
            full = group.waiting and not group.row.has_room(group.limit)
            pools.shares.want(group.row, group.waiting if full else 0, starves(group, now))
            _lend_of(pools, group)


def nudged(pools: Pools, row: Row) -> None:
    """A place of `row` was left, or is waited for, elsewhere."""
    for server in pools.servers.values():
        if server.row is row:
            _lend_on(pools, server)
            if server.waiting:
                pools.serve(server)
            else:
                row.want = 0
    for group in list(pools.groups.values()):
        if group.row is row:
            _lend_of(pools, group)
            group.full = False
            if group.waiting:
                pools.grow(group)
            else:
                row.want = 0


def _missing(pools: Pools, server: Server) -> int:
    """Sessions that wait for `server`, connections on their way to them left out."""
    on_their_way = sum(bucket.connecting for bucket in pools if bucket.server is server)
    return max(0, server.waiting - on_their_way)


def _lend_on(pools: Pools, server: Server) -> None:
    row = server.row
    if row is not None and row.wanted:
        mine = [bucket for bucket in pools if bucket.server is server]
        _lend(pools, row, server.limit, mine, bool(server.waiting))


def _lend_of(pools: Pools, group: Group) -> None:
    row = group.row
    if row is not None and row.wanted:
        mine = [bucket for bucket in pools if bucket.group.row is row]
        _lend(pools, row, group.limit, mine, any(bucket.group.waiting for bucket in mine))


def _lend(pools: Pools, row: Row, limit: int, mine: list[Bucket], waiting: bool) -> None:
    """Give up what others wait for: idle ones now, busy ones as they come back."""
    coming = max(0, limit - row.taken) + sum(bucket.leaving + bucket.owed for bucket in mine)
    # While sessions wait here as well, no more than makes both even.
    fair = row.owed - coming
    missing = fair if waiting else row.wanted - coming
    for connection in _idle(mine, pools.clock(), missing):
        pools.part(connection, polite=True)
        fair -= 1
    for _ in range(fair):
        rich = [bucket for bucket in mine if bucket.opened > bucket.owed]
        giver = max(rich, key=lambda b: (b.group.key.moves, b.opened - b.owed), default=None)
        if giver is None:
            return
        giver.owed += 1


def _idle(mine: Iterable[Bucket], now: float, count: int) -> list[BackendConnection]:
    """Up to `count` connections, idle longest, that are not in use again in a moment."""
    if count <= 0:
        return []
    idle = [c for bucket in mine for c in bucket.connections()]
    spare = [c for c in idle if now - c.used_at >= IDLE_GRACE_SEC]
    return sorted(spare, key=lambda c: c.used_at)[:count]
