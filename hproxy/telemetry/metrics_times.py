# SPDX-License-Identifier: Apache-2.0
"""Histograms of where the time of statements goes.

    hproxy_phase_duration_seconds{hostgroup,phase}   queue, connect, first_byte, total
    hproxy_query_duration_seconds{hostgroup}         from sending a statement to its answer's end
    proxy_com_latency{proxy_com,node_name}           haentgl's: milliseconds, by command

Bounds are 1-2-5 from 10 us to 10 s. Whoever found an idle connection waited for none: those are
in the first cell of `queue`, so that its count is that of all connections given out.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from prometheus_client.core import HistogramMetricFamily, Metric

from hproxy.telemetry.reading import CELLS, HostgroupReading, Reading, Times

__all__ = ["BOUNDS", "COMMANDS", "PHASES", "families"]

BOUNDS = (
    "1e-05", "2e-05", "5e-05", "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01",
    "0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0",
)  # fmt: skip
"""Seconds."""
MILLISECONDS = (
    "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "20.0", "50.0",
    "100.0", "200.0", "500.0", "1000.0", "2000.0", "5000.0", "10000.0",
)  # fmt: skip
PHASES = ("queue", "connect", "first_byte", "total")
_NAMES = """
Sleep Quit InitDB Query FieldList CreateDB DropDB Refresh Shutdown Statistics ProcessInfo Connect
ProcessKill Debug Ping Time DelayedInsert ChangeUser BinlogDump TableDump ConnectOut RegisterSlave
StmtPrepare StmtExecute StmtSendLongData StmtClose StmtReset SetOption StmtFetch Daemon
BinlogDumpGtid ResetConnection End
"""
COMMANDS = tuple(f"Com{name}" for name in _NAMES.split())
"""By their byte, as haentgl names them."""


def families(reading: Reading) -> Iterator[Metric]:
    """Every histogram."""
    phases = HistogramMetricFamily(
        "hproxy_phase_duration_seconds",
        "Where the time goes: queue (a connection is waited for), connect (one is opened and set"
        " up), first_byte (sent, until the answer begins), total (received, until it ended).",
        labels=["hostgroup", "phase"],
    )
    answers = HistogramMetricFamily(
        "hproxy_query_duration_seconds",
        "From sending a statement to the end of its answer.",
        labels=["hostgroup"],
    )
    for row in reading.hostgroups:
        for phase in PHASES:
            _add(phases, [str(row.hostgroup), phase], _phase(row, phase))
        _add(answers, [str(row.hostgroup)], row.phases.get("answer", Times()))
    commands = HistogramMetricFamily(
        "proxy_com_latency",
        "Milliseconds from a command to the end of its answer, if a backend answered it.",
        labels=["proxy_com", "node_name"],
    )
    node = socket.gethostname()
    for byte, times in sorted(reading.commands.items()):
        _add(commands, [COMMANDS[byte], node], times, MILLISECONDS, 1000.0)
    yield from (phases, answers, commands)


def _phase(row: HostgroupReading, phase: str) -> Times:
    found = row.phases.get(phase, Times())
    if phase != "queue":
        return found
    at_once = max(row.acquired - sum(found.cells), 0)
    return found + Times((at_once, *(0,) * (CELLS - 1)))


def _add(
    family: HistogramMetricFamily,
    labels: list[str],
    times: Times,
    bounds: tuple[str, ...] = BOUNDS,
    scale: float = 1.0,
) -> None:
    cumulated: list[tuple[str, float]] = []
    seen = 0
    for bound, count in zip((*bounds, "+Inf"), times.cells, strict=True):
        seen += count
        cumulated.append((bound, seen))
    family.add_metric(labels, cumulated, sum_value=times.seconds * scale)
