# SPDX-License-Identifier: Apache-2.0
"""What is measured at one moment, as plain numbers: of one process, or of all that serve.

    worker: read ─┐
    worker: read ─┼─ summed ──> Reading ──> metrics.exposition
    head:   read ─┘

Counters only grow, also when a worker is replaced: see telemetry.departed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CELLS", "HostgroupReading", "ProcessReading", "Reading", "ServerReading", "Times"]

CELLS = 20
"""Those of _native/c/cells.h."""


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One server in one hostgroup."""

    hostgroup: int
    endpoint: str
    """host:port"""
    status: str
    used: int
    free: int
    ok: int
    failed: int
    queries: int
    sent: int
    received: int
    latency_us: int


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, each time since the start."""

    cells: tuple[int, ...] = (0,) * CELLS
    """By the time it took: up to 10 us, 20, 50, 100 .. 10 s, and longer."""
    seconds: float = 0.0
    """All of it."""

    def __add__(self, other: Times) -> Times:
        return Times(
            tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)),
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process of the service."""

    role: str
    """head, or worker"""
    slot: int
    """Which worker; 0 for the head."""
    resident: int
    """Bytes in memory."""
    virtual: int
    """Bytes of address space."""
    cpu_seconds: float
    """User and system, since its start."""
    descriptors: int
    """Open ones."""
    restarts: int = 0
    """Times that its place was taken by a new one."""


@dataclass(frozen=True, slots=True)
class HostgroupReading:
    """One hostgroup."""

    hostgroup: int
    acquired: int
    waits: int
    wait_seconds: float
    waiters: int
    phases: Mapping[str, Times] = field(default_factory=dict)
    """By queue, connect, first_byte, answer, total."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that is shown, as it was at one moment."""

    totals: Mapping[str, int]
    """Names of stats_mysql_global."""
    memory: Mapping[str, int]
    """Names of stats_memory_metrics."""
    version: str
    servers: tuple[ServerReading, ...] = ()
    hostgroups: tuple[HostgroupReading, ...] = ()
    errors: Mapping[tuple[int, str, int, int], int] = field(default_factory=dict)
    """By hostgroup, host, port and number."""
    pins: Mapping[str, int] = field(default_factory=dict)
    """Sessions that keep their connection, by reason."""
    retries: int = 0
    max_connections: int = 0
    wait_timeout_ms: int = 0
    commands: Mapping[int, Times] = field(default_factory=dict)
    """From a command's arrival to the end of its answer, by the command's byte."""
    processes: tuple[ProcessReading, ...] = ()
    """Those that these numbers come from."""

    @property
    def descriptors(self) -> int:
        """Open in all of them."""
        return sum(process.descriptors for process in self.processes)
