# SPDX-License-Identifier: Apache-2.0
"""Pools under a new configuration, with connections open.

reconfigure   settings, attributes of hostgroups, limits of users
adopt         accounts: what opens backends may be another password
replaced      backends came, went, or have other settings: told by the topology
drop_gone     backends, and groups of accounts, that went, once nothing of them is open
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hproxy._native.pool import Group, Server
from hproxy.pool.settings import PoolSettings
from hproxy.topology import Backend, HostgroupAttributes, Replacement

if TYPE_CHECKING:
    from hproxy.pool.pools import Pools

__all__ = ["adopt", "drop_gone", "reconfigure", "replaced"]


def reconfigure(
    pools: Pools,
    settings: PoolSettings,
    attributes: Mapping[int, HostgroupAttributes],
    user_limits: Mapping[bytes, int],
) -> None:
    """These hold from now on, for connections that are open as well."""
    pools.settings, pools.attributes, pools.user_limits = settings, attributes, user_limits
    for group in pools.groups.values():
        group.queue_limit = settings.queue_limit or 1 << 40
        group.sticky = not attributes[group.key.hostgroup].multiplex
        group.limit = user_limits.get(group.key.account.username, 1 << 40)


def adopt(pools: Pools, accounts: Mapping[bytes, Any]) -> None:
    """Accounts by name from now on; connections of one that is gone are closed."""
    pools.accounts = accounts
    for group in pools.groups.values():
        key = group.key
        account = accounts.get(key.account.username)
        if account is None:
            for connection in [c for bucket in group.buckets for c in bucket.connections()]:
                pools.part(connection)
        elif account is not key.account:
            key.account = account
            key.failures, key.last_error = 0, None


def replaced(pools: Pools, change: Replacement) -> None:
    """Backends came, went, or have other settings."""
    for backend in change.removed:
        if backend in pools.servers:
            pools.topology.reserve(backend)  # remembered until nothing is open to it
            pools.leaving.add(backend)
    for before, backend in change.changed:
        server = pools.servers.get(before)
        if server is not None:
            _set(pools, server, backend)
            if not backend.speaks_as(before):
                _renew(pools, server)
    for backend in change.added:
        if backend in pools.leaving:  # it had not gone yet
            pools.leaving.discard(backend)
            pools.topology.release(backend)
            _set(pools, pools.servers[backend], backend)
        for group in pools.groups.values():
            members = [bucket.server.backend for bucket in group.buckets]
            if group.key.hostgroup == backend.hostgroup and backend not in members:
                group.add(pools.server(backend))
                pools.grow(group)


def _set(pools: Pools, server: Server, backend: Backend) -> None:
    server.backend, server.weight = backend, backend.weight
    server.limit = pools.shares.limit(backend.max_connections, server.row)


def _renew(pools: Pools, server: Server) -> None:
    """Connections opened until now go back to nobody: others are opened otherwise."""
    server.renewed_at = pools.clock()
    for bucket in pools:
        if bucket.server is server:
            for connection in bucket.connections():
                pools.part(connection)


def drop_gone(pools: Pools) -> None:
    """Servers the topology knows no more, once nothing is open to them; groups of accounts that
    are no more: where accounts come and go every hour, groups would become ever more."""
    if pools.accounts:
        for key, group in list(pools.groups.items()):
            account = group.key.account
            if account.username not in pools.accounts and not account.sessions and _rests(group):
                for bucket in list(group.buckets):
                    group.drop(bucket)
                pools.given[group.hostgroup].take(group)
                del pools.groups[key]
    for backend in list(pools.leaving):
        server = pools.servers[backend]
        if server.opened:
            continue
        for group in pools.groups.values():
            for bucket in [b for b in group.buckets if b.server is server]:
                group.drop(bucket)
        pools.gone.take(pools.counts.pop(backend), pools.servers.pop(backend))
        pools.leaving.discard(backend)
        pools.topology.release(backend)


def _rests(group: Group) -> bool:
    """Nobody waits in it, and nothing is open."""
    return not group.waiting and not any(
        bucket.opened or bucket.connecting or bucket.leaving for bucket in group.buckets
    )
