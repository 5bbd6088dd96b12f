# SPDX-License-Identifier: Apache-2.0
"""SHOW PROMETHEUS METRICS and /metrics: one reading of a worker, as text."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hproxy import __version__
from hproxy.runtime.tables import connections, memory, totals
from hproxy.telemetry import metrics
from hproxy.telemetry.reading import (
    HostgroupReading,
    ProcessReading,
    Reading,
    ServerReading,
    Times,
)

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["exposition", "read", "this_process"]


def exposition(runtime: Runtime) -> str:
    """All metrics of `runtime` in the text format of Prometheus."""
    return metrics.exposition(read(runtime))


def read(runtime: Runtime) -> Reading:
    """The numbers of now. What tables were reset to does not matter here: counters only grow."""
    services = runtime.services
    return Reading(
        totals=totals.metrics(runtime),
        memory=memory.metrics(runtime),
        version=__version__,
        servers=tuple(_server(row) for row in connections.pool(runtime, since_reset=False)),
        hostgroups=tuple(_hostgroups(runtime)),
        errors=dict(services.failures.sums),
        pins=runtime.port.pin_counts(),
        retries=services.counters.retries,
        max_connections=services.settings.max_connections,
        wait_timeout_ms=round(services.settings.idle_timeout * 1000),
        commands=_commands(runtime),
        processes=(this_process(),),
    )


def this_process(role: str = "worker", slot: int = 0) -> ProcessReading:
    """What the process that asks needs."""
    spent = os.times()
    virtual, resident = memory.sizes()
    descriptors = len(os.listdir("/proc/self/fd"))
    return ProcessReading(role, slot, resident, virtual, spent.user + spent.system, descriptors)


def _times(told: tuple[tuple[int, ...], int]) -> Times:
    cells, nanoseconds = told
    return Times(cells, nanoseconds / 1e9)


def _commands(runtime: Runtime) -> dict[int, Times]:
    shared = runtime.services.multiplex
    if shared is None:
        return {}
    return {byte: _times(told) for byte, told in shared.pools.times.read_commands().items()}


def _server(row: tuple[Any, ...]) -> ServerReading:
    (hostgroup, host, port, status, used, free, ok, failed, _, queries, _, sent, received, us) = row
    return ServerReading(
        hostgroup, f"{host}:{port}", status, used, free, ok, failed, queries, sent, received, us
    )


def _hostgroups(runtime: Runtime) -> list[HostgroupReading]:
    shared = runtime.services.multiplex
    rows = shared.pools.times.rows if shared is not None else {}
    found = []
    for hostgroup, got, waits, wait_us, waiting in connections.hostgroups(
        runtime, since_reset=False
    ):
        row = rows.get(hostgroup)
        found.append(
            HostgroupReading(
                hostgroup, got, waits, wait_us / 1e6, waiting,
                {name: _times(told) for name, told in row.read().items()} if row else {},
            )
        )  # fmt: skip
    return found
