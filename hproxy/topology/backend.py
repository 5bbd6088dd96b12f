# SPDX-License-Identifier: Apache-2.0
"""A database server we connect to, and the rules by which its status changes.

    ONLINE ── connect failed ──> SHUNNED ── shun_recovery_sec passed, connected ──> ONLINE
    any ── operator ──> any; OFFLINE_SOFT (drains) and OFFLINE_HARD (cut) by nobody else.

Pure: time comes in as an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

__all__ = [
    "Backend",
    "Health",
    "Status",
    "after_failure",
    "after_operator",
    "after_success",
    "usable",
]


class Status(Enum):
    """ProxySQL's four states of a backend."""

    ONLINE = "ONLINE"
    SHUNNED = "SHUNNED"
    OFFLINE_SOFT = "OFFLINE_SOFT"
    OFFLINE_HARD = "OFFLINE_HARD"


@dataclass(frozen=True, slots=True)
class Backend:
    """Identity and settings of one server as a member of one hostgroup.

    A server in two hostgroups (a writer that also reads) is two of them, with one address. What
    is known of its health is a `Health`."""

    host: str
    port: int
    path: str | None = None
    """Unix socket; host and port are then empty."""
    hostgroup: int = 0
    weight: int = 1
    max_connections: int = 1000
    use_tls: bool = False
    compression: tuple[str, ...] = ()
    """Algorithms to compress connections to it with, the best first."""

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


def after_failure(health: Health, error: str, now: float, recovery_sec: float) -> Health:
    """A connect attempt failed: shun for `recovery_sec`, unless the operator holds it offline."""
    status = Status.SHUNNED if health.status in (Status.ONLINE, Status.SHUNNED) else health.status
    return replace(
        health,
        status=status,
        shunned_until=now + recovery_sec,
        failures=health.failures + 1,
        last_error=error,
    )


def after_success(health: Health) -> Health:
    """A connection was opened."""
    if health.status is Status.SHUNNED:
        return Health()
    return replace(health, failures=0, last_error="")


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
