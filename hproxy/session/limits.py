# SPDX-License-Identifier: Apache-2.0
"""Transactions that last too long, or whose client says nothing, end with their session.

    every few seconds ── sessions in a transaction ── older than max_transaction_time ──> closed
                                  └ idle, and no command since it was first seen so
                                    max_transaction_idle_time ago ──────────────────────> closed

What a transaction holds is locks: the client is told, its backend connection rolls back. Looking
costs 0.1 us for each client that is in none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any

from hproxy.errors import ClientError
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["TransactionLimits"]

SELDOM_SEC = 5.0
LOOKS = 4
"""In the time of the shorter limit: an end comes by a quarter of it too late at most."""


class TransactionLimits:
    """mysql-max_transaction_time and mysql-max_transaction_idle_time."""

    def __init__(
        self, services: Services, orphan: Callable[[Connection], Coroutine[Any, Any, None]]
    ) -> None:
        """`orphan` ends on its backend what a session runs that is about to be closed."""
        self._services = services
        self._orphan = orphan
        self._timer: asyncio.TimerHandle | None = None
        self._silent: dict[int, tuple[int, float]] = {}
        """Of sessions idle in a transaction: commands they had sent, and when that was seen."""

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return min(SELDOM_SEC, *(limit / LOOKS for limit in self._limits()))

    def start(self) -> None:
        """Look again and again, until `stop`."""
        self._timer = asyncio.get_running_loop().call_later(self.pause, self._again)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _again(self) -> None:
        self.start()
        self.look(monotonic())

    def look(self, now: float) -> None:
        """Close whose time is up; `now` is of the reactor's clock."""
        most, most_idle = self._limits()
        silent: dict[int, tuple[int, float]] = {}
        for connection in self._services.registry:
            session = connection.session
            if session is None or not session.transaction_since or not session.in_transaction:
                continue
            lasts = now - session.transaction_since
            if lasts >= most:
                error = ClientError(code="transaction_time", lasts_ms=round(lasts * 1000))
                self._end(connection, session, error, "transaction too long")
                continue
            if session.state != "idle":
                continue
            commands, since = self._silent.get(connection.id, (-1, now))
            if commands != session.commands:
                commands, since = session.commands, now  # how long the answer took does not count
            if now - since >= most_idle:
                error = ClientError(code="transaction_idle", silent_ms=round((now - since) * 1000))
                self._end(connection, session, error, "idle in a transaction")
                continue
            silent[connection.id] = commands, since
        self._silent = silent

    def _limits(self) -> tuple[float, float]:
        values = self._services.variables
        return (
            values.number("mysql-max_transaction_time") / 1000,
            values.number("mysql-max_transaction_idle_time") / 1000,
        )

    def _end(self, connection: Connection, session: Any, error: ClientError, event: str) -> None:
        services = self._services
        backend, _ = connection.where()
        connection.log.warning(
            event, code=error.full_code, backend=str(backend), state=session.state, **error.facts
        )
        services.counters.killed_connections += 1
        if session.state in ("response", "infile") and services.settings.kill_on_disconnect:
            connection.backend, connection.backend_login = connection.where()
            services.tasks.spawn(self._orphan(connection), f"orphan {connection.id}")
        session.fail(services.protocol.error_packet(error), event)
