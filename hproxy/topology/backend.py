# SPDX-License-Identifier: Apache-2.0
"""A database server we connect to, and the rules by which its status changes.

    ONLINE ── connects failed ──> SHUNNED ── shun_recovery_sec passed, connected ──> ONLINE
       │ ├─── pings unanswered ──> SHUNNED ── a ping was answered, or connected ───────> ONLINE
       │ └─── too far behind ──> SHUNNED_REPLICATION_LAG ── caught up ─────────────────> ONLINE
    any ── operator ──> any; OFFLINE_SOFT (drains) and OFFLINE_HARD (cut) by nobody else.

Pure: time comes in as an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf

__all__ = [
    "Backend",
    "Health",
    "Status",
    "after_answer",
    "after_catching_up",
    "after_failure",
    "after_lag",
    "after_operator",
    "after_silence",
    "after_success",
    "usable",
]

BURST_SEC = 1.0
"""Failures further apart than this are not counted together."""


class Status(Enum):
    """ProxySQL's states of a backend; an operator sets the four without lag."""

    ONLINE = "ONLINE"
    SHUNNED = "SHUNNED"
    SHUNNED_REPLICATION_LAG = "SHUNNED_REPLICATION_LAG"
    OFFLINE_SOFT = "OFFLINE_SOFT"
    OFFLINE_HARD = "OFFLINE_HARD"


@dataclass(frozen=True, slots=True)
class Backend:
    """Identity and settings of one server as a member of one hostgroup.

    A server in two hostgroups (a writer that also reads) is two of them, with one address. Two
    are equal when hostgroup and address are, whatever their settings: those change live. What is
    known of its health is a `Health`."""

    host: str
    port: int
    path: str | None = None
    """Unix socket; host and port are then empty."""
    hostgroup: int = 0
    weight: int = field(default=1, compare=False)
    max_connections: int = field(default=1000, compare=False)
    use_tls: bool = field(default=False, compare=False)
    compression: tuple[str, ...] = field(default=(), compare=False)
    """Algorithms to compress connections to it with, the best first."""
    max_replication_lag: int = field(default=0, compare=False)
    """Seconds; 0 is any."""
    max_latency_ms: int = field(default=0, compare=False)
    """Pings slower than this take it out; 0 is as the proxy's default says."""

    def speaks_as(self, other: Backend) -> bool:
        """Whether connections to either may be used as if opened to the other."""
        return (self.use_tls, self.compression) == (other.use_tls, other.compression)

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Health:
    """What traffic and monitors have seen of a backend."""

    status: Status = Status.ONLINE
    shunned_until: float = 0.0
    failures: int = 0
    """Connect failures since the last success."""
    last_error: str = ""
    burst: int = field(default=0, compare=False)
    """Of the failures, the last that came within a second of each other."""
    failed_at: float = field(default=-inf, compare=False)
    lag: int | None = None
    """Seconds behind, when that is why it is shunned."""


def after_failure(
    health: Health, error: str, now: float, recovery_sec: float, tolerated: int = 0
) -> Health:
    """A connect attempt failed: shun for `recovery_sec`, unless the operator holds it offline.

    `tolerated`: failures within a second that have no consequence yet."""
    burst = health.burst + 1 if now - health.failed_at <= BURST_SEC else 1
    failed = replace(
        health, failures=health.failures + 1, burst=burst, failed_at=now, last_error=error
    )
    if burst <= tolerated and health.status is not Status.SHUNNED:
        return failed
    status = Status.SHUNNED if health.status is Status.ONLINE else health.status
    until = max(health.shunned_until, now + recovery_sec)
    return replace(failed, status=status, shunned_until=until)


def after_silence(health: Health, error: str) -> Health:
    """Pings were not answered: shunned until one is."""
    if health.status not in (Status.ONLINE, Status.SHUNNED):
        return replace(health, last_error=error)
    return replace(health, status=Status.SHUNNED, shunned_until=inf, last_error=error)


def after_answer(health: Health) -> Health:
    """A ping was answered, of one that was shunned because others were not."""
    silent = health.status is Status.SHUNNED and health.shunned_until == inf
    return Health() if silent else health


def after_lag(health: Health, lag: int) -> Health:
    """It is `lag` seconds behind, which is more than it may be."""
    shunned = (Status.ONLINE, Status.SHUNNED_REPLICATION_LAG)
    if health.status not in shunned:
        return health
    return replace(health, status=Status.SHUNNED_REPLICATION_LAG, lag=lag)


def after_catching_up(health: Health) -> Health:
    """It is not too far behind any more."""
    return Health() if health.status is Status.SHUNNED_REPLICATION_LAG else health


def after_success(health: Health) -> Health:
    """A connection was opened."""
    if health.status is Status.SHUNNED:
        return Health()
    return replace(health, failures=0, burst=0, last_error="")


def after_operator(health: Health, status: Status, now: float, recovery_sec: float) -> Health:
    """The operator decided: back online everything held against it is forgotten."""
    if status is Status.ONLINE:
        return Health()
    until = now + recovery_sec if status is Status.SHUNNED else 0.0
    return replace(health, status=status, shunned_until=until)


def usable(health: Health, now: float) -> bool:
    """Whether new connections may go there without being a last resort."""
    if health.status is Status.SHUNNED:
        return now >= health.shunned_until
    return health.status is Status.ONLINE
