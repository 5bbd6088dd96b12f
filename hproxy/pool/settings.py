# SPDX-License-Identifier: Apache-2.0
"""The options that pools of backend connections and the sessions on them act on; pure.

Where a hostgroup has attributes of its own, `topology.HostgroupAttributes` holds the values for
it; what is the same for all of them stands here only.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolSettings"]


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Swapped as a whole on reload. Times in seconds, 0 for those that never come."""

    session_mode: str = "multiplex"
    """`multiplex`, or `session`: one backend connection per client session."""
    fast_lane: bool = True
    session_tracking: bool = True
    """Ask backends that can to report changes of session state."""
    read_your_writes: float = 1.0
    """A session stays on the writer for this long after a write of its own."""

    connect_timeout: float = 3.0
    """One try to open a connection."""
    connect_timeout_max: float = 10.0
    """A statement's wait for a connection, tries to open one included."""
    queue_limit: int = 10_000
    """Waiting sessions per hostgroup and user; 0 is no limit."""
    query_retries_on_failure: int = 1

    connection_max_age: float = 0.0
    ping_interval: float = 10.0
    """Silence after which an idle connection is pinged."""
    ping_timeout: float = 0.2

    max_stmts_per_connection: int = 200
    max_stmts_per_session: int = 16_382
    max_stmts_cache: int = 10_000
    max_stmts_cache_bytes: int = 64 << 20
    decisions_max: int = 20_000
    digests_max: int = 5000

    def expired(self, age: float) -> bool:
        """Whether an idle connection of this age is to be closed."""
        return 0 < self.connection_max_age <= age

    def ping_due(self, silence: float) -> bool:
        """Whether an idle connection that was silent for so long is to be pinged."""
        return 0 < self.ping_interval <= silence

    def queue_full(self, waiting: int) -> bool:
        """Whether one more session may not wait behind `waiting` others."""
        return 0 < self.queue_limit <= waiting
