# SPDX-License-Identifier: Apache-2.0
"""What happened in a worker that is not counted per statement: plain numbers, added to in place.

    slow lane ── counters.x += 1 ──┐
    other rooms ── sources.metrics ┼──> runtime/tables ──> stats_*, Prometheus, history
    native, per statement ─────────┘    (CommandTable, Server, Group, Reactor.commands)

Nothing here runs for a statement that the fast lane serves by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Counters", "Dedicated", "Sources"]


@dataclass(slots=True)
class Dedicated:
    """What sessions that kept a connection of their own did on one backend, and are gone."""

    opened: int = 0
    failed: int = 0
    commands: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(slots=True)
class Counters:
    """Since the start of the worker."""

    # logins
    denied_password: int = 0
    denied_limit: int = 0
    denied_user_limit: int = 0
    hosts_turned_away: int = 0
    """Clients refused because their host had failed too often."""

    # pools
    waits_in_vain: int = 0
    """Statements that got no connection: the queue was full, or it took too long."""
    connect_timeouts: int = 0
    """Of these, those that took too long."""
    resets: int = 0
    """Connections made as good as new when their session was over."""

    # statements
    retries: int = 0
    """Sent again, unseen by the client, because a connection was lost."""
    errors_made: int = 0
    """Error packets of our own."""
    killed_connections: int = 0
    killed_queries: int = 0
    offline_during_query: int = 0
    lagging_during_query: int = 0
    lag_limited: int = 0
    """Statements with `max_lag_ms` or `min_epoch_ms`."""
    lag_delayed: int = 0
    """Of these, sent elsewhere for it."""
    idle_timeouts: int = 0
    deciding_ns: int = 0
    """Time spent on statements that were not seen before."""
    autocommits: int = 0
    """SET autocommit."""
    names: int = 0
    """SET NAMES."""
    asked_backends: Counter[int] = field(default_factory=Counter)
    """Commands of our own to backends, by their first byte."""
    names_asked: int = 0
    """SET NAMES and the like among them."""
    dedicated: dict[Any, Dedicated] = field(default_factory=dict)
    """By backend."""
    servers_version: int = 1
    """How often the servers were loaded; whoever loads them adds one."""

    def at(self, backend: Any) -> Dedicated:
        """The numbers of `backend`, made at the first call."""
        return self.dedicated.setdefault(backend, Dedicated())


@dataclass(slots=True)
class Sources:
    """Where other rooms leave what they count, for the tables to find."""

    metrics: list[Callable[[], Mapping[str, int]]] = field(default_factory=list)
    """Each gives values for names of stats_mysql_global."""
    tables: dict[str, Callable[[], Iterable[tuple[Any, ...]]]] = field(default_factory=dict)
    """Rows of a stats table, in the order of its columns; a `_reset` twin resets as well."""
    latencies: dict[tuple[str, int], int] = field(default_factory=dict)
    """Microseconds that a server, by host and port, took to answer a ping last."""
    taken_off: dict[str, dict[Any, tuple[int, ...]]] = field(default_factory=dict)
    """What counters showed when a table was read through its `_reset` twin."""
