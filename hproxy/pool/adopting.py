# SPDX-License-Identifier: Apache-2.0
"""Connections that go to another process with their sessions, and those that come.

    keep_place   its place here stays taken when it parts, until free_place
    gave_away    its place here is free, for who waits
    bucket_for   where it belongs in this process, if its server is known here
    meet         nobody has been to that server yet: one more connection is, and stays
    adopt        it is counted, whatever the limits: it is open already, and was counted there

It counts once: natively its place is given back when it parts, and taken when it is adopted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hproxy._native.pool import BackendConnection, Bucket
from hproxy.pool.pools import Pools
from hproxy.topology import Status

__all__ = [
    "adopt", "bucket_for", "free_place", "gave_away", "keep_place", "meet", "place_of",
]  # fmt: skip


def keep_place(connection: BackendConnection) -> None:
    """It counts once more: when it parts it still counts."""
    connection.bucket.adopt()


def free_place(connection: BackendConnection) -> None:
    """It counts no more."""
    connection.bucket.opened -= 1
    connection.bucket.leave()


def gave_away(pools: Pools, connection: BackendConnection) -> None:
    """Another process has it, or nobody."""
    pools.counts[connection.bucket.server.backend].closed += 1
    pools.departed(connection)


def place_of(connection: BackendConnection) -> dict[str, Any]:
    """Where it belongs, as plain data."""
    backend = connection.bucket.server.backend
    return {
        "hostgroup": connection.bucket.group.key.hostgroup,
        "address": [backend.host, backend.port, backend.path],
    }


def bucket_for(
    pools: Pools, place: Mapping[str, Any], account: Any, kind: int, settings: Any
) -> Bucket | None:
    """None: the server is not in that hostgroup here, or nobody is to be connected to it."""
    hostgroup = place["hostgroup"]
    backend = pools.topology.find(hostgroup, *place["address"])
    if backend is None or pools.topology.status(backend) is Status.OFFLINE_HARD:
        return None
    group = pools.group(hostgroup, account, kind, settings)
    return next((each for each in group.buckets if each.server.backend == backend), None)


async def meet(pools: Pools, bucket: Bucket) -> None:
    """Open a connection, from which all is learned of its server; whoever looks sees whether it
    was."""
    if bucket.enter():
        bucket.connecting += 1
        await pools.open_in(bucket.group, bucket)


def adopt(pools: Pools, bucket: Bucket) -> None:
    """A connection to the bucket's server has come."""
    bucket.adopt()
    pools.counts[bucket.server.backend].opened += 1
