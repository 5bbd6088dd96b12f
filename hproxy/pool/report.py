# SPDX-License-Identifier: Apache-2.0
"""What is told of pools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hproxy._native.pool import Bucket
from hproxy.topology import Backend

__all__ = ["Count", "rows"]


@dataclass(slots=True)
class Count:
    """What a backend's pool did so far."""

    opened: int = 0
    closed: int = 0
    failed: int = 0


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
