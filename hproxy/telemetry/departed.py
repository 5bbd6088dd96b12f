# SPDX-License-Identifier: Apache-2.0
"""What processes had counted that are gone: sums over those that are left must not fall.

    reading of a worker ── last ──┬─ another worker in its place ──> gone: its counters stay in sums
                                  └─ it does not answer ───────────> its counters as they were last

A sum that fell would look like a restart of the service, and a rate over it like a burst. What a
worker counted after it was read last is lost with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hproxy.telemetry.metrics_table import TOTALS
from hproxy.telemetry.reading import Reading
from hproxy.telemetry.summing import summed

__all__ = ["Departed"]

COUNTERS = frozenset(total.source for total in TOTALS if total.kind == "counter")


class Departed:
    """Of one view: what it has shown once, it goes on to show."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[object, Reading]] = {}
        self._gone: Reading | None = None

    def beside(self, now: Mapping[int, tuple[object, Reading]]) -> list[Reading]:
        """What is to be added to the readings of `now`: by slot, who was read, and the reading."""
        for slot, (who, reading) in now.items():
            before = self._last.get(slot)
            if before is not None and before[0] is not who:
                left = _counters(before[1])
                self._gone = left if self._gone is None else summed([self._gone, left])
            self._last[slot] = who, reading
        found = [_counters(r) for slot, (_, r) in self._last.items() if slot not in now]
        if self._gone is not None:
            found.append(self._gone)
        return [_only(each, [reading for _, reading in now.values()]) for each in found]


def _counters(reading: Reading) -> Reading:
    """Only what never goes down."""
    return replace(
        reading,
        totals={name: value for name, value in reading.totals.items() if name in COUNTERS},
        memory={},
        servers=tuple(
            replace(row, status="ONLINE", used=0, free=0, latency_us=0) for row in reading.servers
        ),
        hostgroups=tuple(replace(row, waiters=0) for row in reading.hostgroups),
        pins={},
        max_connections=0,
        wait_timeout_ms=0,
        processes=(),
    )


def _only(gone: Reading, now: list[Reading]) -> Reading:
    """Without servers and hostgroups that nobody has any more."""
    servers = {(row.hostgroup, row.endpoint) for reading in now for row in reading.servers}
    hostgroups = {row.hostgroup for reading in now for row in reading.hostgroups}
    return replace(
        gone,
        servers=tuple(r for r in gone.servers if (r.hostgroup, r.endpoint) in servers),
        hostgroups=tuple(r for r in gone.hostgroups if r.hostgroup in hostgroups),
    )
