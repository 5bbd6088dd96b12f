# SPDX-License-Identifier: Apache-2.0
"""Hints `max_lag_ms` and `min_epoch_ms`: a read is not to see what is older than that.

    a read under such a hint ── some server of its hostgroup was farther behind when last measured?
        ├── no  ──> runs there
        └── yes ──> runs in the hostgroup of its account

Monitors measure in whole seconds, of servers with a max_replication_lag; others count as 0. Inside
a transaction statements stay where it began.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.telemetry.clock import unix_time

__all__ = ["Freshness"]


class Freshness:
    """Sends statements away from servers that are too far behind for them."""

    def __init__(
        self, services: Services, driver: Any, clock: Callable[[], float] = unix_time
    ) -> None:
        self._services = services
        self._driver = driver
        self._clock = clock

    def heed(self, session: Any, connection: Connection, decision: Any) -> Any:
        """The decision by which the statement is to be run."""
        verdict = decision.verdict
        limit = self.limit_of(verdict)
        if limit is None or session.held is not None or connection.account is None:
            return decision
        group = decision.reader or decision.writer
        home = connection.account.hostgroup
        self._services.counters.lag_limited += 1
        if group.hostgroup == home or not self._services.topology.lags(group.hostgroup, limit):
            return decision
        self._services.counters.lag_delayed += 1
        return self._driver.decider.decision(
            session,
            connection,
            decision.traits,
            decision.text,
            verdict=replace(verdict, destination_hostgroup=home),
        )

    def limit_of(self, verdict: Any) -> int | None:
        """Milliseconds it may be behind; None: any."""
        found = [] if verdict.max_lag_ms is None else [verdict.max_lag_ms]
        if verdict.min_epoch_ms is not None:
            age = int(self._clock() * 1000) - verdict.min_epoch_ms
            if age > 0:  # a moment still to come is no limit
                found.append(age)
        return min(found, default=None)
