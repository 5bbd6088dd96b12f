# SPDX-License-Identifier: Apache-2.0
"""What is told of pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hproxy._native.pool import Bucket, Group, Server
from hproxy.topology import Backend

__all__ = ["Count", "Given", "rows"]


@dataclass(slots=True)
class Count:
    """What a backend's pool did so far."""

    opened: int = 0
    closed: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    """These two of servers that are gone only: the native Server has those of others."""

    def take(self, other: Count, server: Server) -> None:
        """Add what a server did that is gone."""
        self.opened += other.opened
        self.closed += other.closed
        self.failed += other.failed
        self.bytes_sent += server.bytes_sent
        self.bytes_received += server.bytes_received


@dataclass(slots=True)
class Given:
    """What groups of a hostgroup gave out that are no more."""

    acquired: int = 0
    waited: int = 0
    wait_seconds: float = 0.0
    released: int = 0

    def take(self, group: Group) -> None:
        """Add what a group did that goes."""
        self.acquired += group.acquired
        self.waited += group.waited
        self.wait_seconds += group.wait_seconds
        self.released += group.released


def rows(buckets: Iterable[Bucket], counts: Mapping[Backend, Count]) -> list[dict[str, Any]]:
    """One row per hostgroup, backend and user, for reports."""
    found: dict[tuple[int, Backend, bytes], dict[str, Any]] = {}
    for bucket in buckets:
        key = bucket.group.key
        backend = bucket.server.backend
        row = found.setdefault(
            (key.hostgroup, backend, key.account.username),
            {
                "hostgroup": key.hostgroup,
                "backend": backend,
                "user": key.account.username,
                "used": 0,
                "free": 0,
                "connecting": 0,
                "waiting": 0,
                "opened": counts[backend].opened,
                "closed": counts[backend].closed,
            },
        )
        row["used"] += bucket.opened - bucket.idle
        row["free"] += bucket.idle
        row["connecting"] += bucket.connecting
        row["waiting"] += bucket.group.waiting
    return list(found.values())
