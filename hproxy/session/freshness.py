# SPDX-License-Identifier: Apache-2.0
"""Hints about which connection: `max_lag_ms`, `min_epoch_ms`, `create_new_connection`.

    a read that is not to see what is older ── servers of its hostgroup, as they were last measured:
        ├── none is farther behind ──> any of them
        ├── some are ──> one of the others: an idle connection, or a new one
        └── all are, or the others are full ──> in the hostgroup of its account
    a statement that wants a connection of its own ──> a new one; none may be opened ──> any

Monitors measure in whole seconds, of servers with a max_replication_lag; others count as 0. Inside
a transaction, and beside what else holds a connection, statements stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Any

from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.telemetry.clock import unix_time
from hproxy.topology import Backend

__all__ = ["Freshness"]

Run = Callable[[Any], None]


class Freshness:
    """Finds statements a connection that is good for them."""

    def __init__(
        self, services: Services, driver: Any, clock: Callable[[], float] = unix_time
    ) -> None:
        self._services = services
        self._driver = driver
        self._clock = clock

    def place(self, session: Any, connection: Connection, decision: Any, run: Run) -> None:
        """Go on with `run(decision)`, at once or on the connection it is to have."""
        verdict = decision.verdict
        if session.held is not None or connection.account is None:
            run(decision)
            return
        group = session.target(decision)
        limit = self.limit_of(verdict)
        chosen = None
        if limit is not None:
            chosen = self._fresh_enough(group, limit)
            self._services.counters.lag_limited += 1
            self._services.counters.lag_delayed += chosen is not None
        if verdict.create_new_connection or chosen:
            work = partial(self._on_its_own, decision=decision, group=group, chosen=chosen, run=run)
            self._driver.spawn(session, connection, "connection for a hint", work)
        elif chosen is None:
            run(decision)
        else:
            run(self._at_home(session, connection, decision))

    def _fresh_enough(self, group: Any, limit: int) -> Collection[Backend] | None:
        """The servers that are; None: all that serve there."""
        topology = self._services.topology
        if not topology.lags(group.hostgroup, limit):
            return None
        return topology.within(group.hostgroup, limit)

    async def _on_its_own(
        self,
        session: Any,
        connection: Connection,
        decision: Any,
        group: Any,
        chosen: Collection[Backend] | None,
        run: Run,
    ) -> None:
        pools = self._services.sharing.pools
        found = None
        if chosen is not None and not decision.verdict.create_new_connection:
            found = pools.idle_on(group, session.settings, chosen)
        if found is None:
            found = await pools.fresh(group, session.settings, chosen)
        if session.state != "slow":  # the client has gone meanwhile
            if found is not None:
                group.give(found, used=False)
            return
        if found is not None:
            session.hold(found)
        elif chosen is not None:
            decision = self._at_home(session, connection, decision)
        run(decision)

    def _at_home(self, session: Any, connection: Connection, decision: Any) -> Any:
        assert connection.account is not None
        home = connection.account.hostgroup
        return self._driver.decider.decision(
            session,
            connection,
            decision.traits,
            decision.text,
            verdict=replace(decision.verdict, destination_hostgroup=home),
        )

    def limit_of(self, verdict: Any) -> int | None:
        """Milliseconds it may be behind; None: any."""
        found = [] if verdict.max_lag_ms is None else [verdict.max_lag_ms]
        if verdict.min_epoch_ms is not None:
            age = int(self._clock() * 1000) - verdict.min_epoch_ms
            if age > 0:  # a moment still to come is no limit
                found.append(age)
        return min(found, default=None)
