# SPDX-License-Identifier: Apache-2.0
"""Readings of several processes as one: what was counted is added up, what is the same stays.

counters, sizes, sessions        added
versions, limits, settings       the greatest: all have the same, or will in a moment
status of a server               the worst that anybody sees
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from hproxy.telemetry.reading import HostgroupReading, Reading, ServerReading, Times

__all__ = ["SAME", "added", "summed"]

SAME = frozenset({
    "ProxySQL_Uptime", "Servers_table_version", "Stmt_Max_Stmt_id", "mysql_listener_paused",
    "Stmt_Cached", "OpenSSL_Version_Num", "Client_Connections_sha2cached",
})  # fmt: skip
"""Of stats_mysql_global: not added, the greatest holds."""
BADNESS = ("ONLINE", "SHUNNED_REPLICATION_LAG", "SHUNNED", "OFFLINE_SOFT", "OFFLINE_HARD")

Key = TypeVar("Key")


def summed(readings: Sequence[Reading]) -> Reading:
    """One reading of all. Raises ValueError for none."""
    if not readings:
        raise ValueError("no reading to sum up")
    return replace(
        readings[0],
        totals=added((reading.totals for reading in readings), SAME),
        memory=added(reading.memory for reading in readings),
        servers=_servers(chain.from_iterable(reading.servers for reading in readings)),
        hostgroups=_hostgroups(chain.from_iterable(reading.hostgroups for reading in readings)),
        errors=added(reading.errors for reading in readings),
        pins=added(reading.pins for reading in readings),
        retries=sum(reading.retries for reading in readings),
        max_connections=max(reading.max_connections for reading in readings),
        wait_timeout_ms=max(reading.wait_timeout_ms for reading in readings),
        commands=_times(reading.commands for reading in readings),
        processes=tuple(chain.from_iterable(reading.processes for reading in readings)),
    )


def added(parts: Iterable[Mapping[Key, int]], same: frozenset[str] = frozenset()) -> dict[Key, int]:
    """By key; of those in `same` the greatest."""
    found: dict[Key, int] = {}
    for part in parts:
        for key, value in part.items():
            before = found.get(key, 0)
            found[key] = max(before, value) if key in same else before + value
    return found


def _times(parts: Iterable[Mapping[Key, Times]]) -> dict[Key, Times]:
    found: dict[Key, Times] = {}
    for part in parts:
        for key, times in part.items():
            found[key] = found[key] + times if key in found else times
    return found


def _servers(rows: Iterable[ServerReading]) -> tuple[ServerReading, ...]:
    found: dict[tuple[int, str], ServerReading] = {}
    for row in rows:
        before = found.get((row.hostgroup, row.endpoint))
        if before is not None:
            row = ServerReading(
                row.hostgroup, row.endpoint, max(before.status, row.status, key=_badness),
                before.used + row.used, before.free + row.free, before.ok + row.ok,
                before.failed + row.failed, before.queries + row.queries,
                before.sent + row.sent, before.received + row.received,
                max(before.latency_us, row.latency_us),
            )  # fmt: skip
        found[row.hostgroup, row.endpoint] = row
    return tuple(found.values())


def _badness(status: str) -> int:
    return BADNESS.index(status) if status in BADNESS else -1


def _hostgroups(rows: Iterable[HostgroupReading]) -> tuple[HostgroupReading, ...]:
    found: dict[int, HostgroupReading] = {}
    for row in rows:
        before = found.get(row.hostgroup)
        if before is not None:
            row = HostgroupReading(
                row.hostgroup, before.acquired + row.acquired, before.waits + row.waits,
                before.wait_seconds + row.wait_seconds, before.waiters + row.waiters,
                _times((before.phases, row.phases)),
            )  # fmt: skip
        found[row.hostgroup] = row
    return tuple(found[hostgroup] for hostgroup in sorted(found))
