# SPDX-License-Identifier: Apache-2.0
"""The tables of the `monitor` schema: what was checked, when, how long it took, what came of it.

add(table, host, port, began, took, ...) ──> ring per table ── rows(table), oldest first
                                                └ older than monitor_history, or too many: gone
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["TABLES", "Journal"]

TABLES: dict[str, tuple[str, ...]] = {
    "mysql_server_connect_log": ("connect_success_time_us", "connect_error"),
    "mysql_server_ping_log": ("ping_success_time_us", "ping_error"),
    "mysql_server_read_only_log": ("success_time_us", "read_only", "error"),
    "mysql_server_replication_lag_log": ("success_time_us", "repl_lag", "error"),
    "mysql_server_group_replication_log": (
        "success_time_us",
        "viable_candidate",
        "read_only",
        "transactions_behind",
        "error",
    ),
    "mysql_server_galera_log": (
        "success_time_us",
        "primary_partition",
        "read_only",
        "wsrep_local_recv_queue",
        "wsrep_local_state",
        "wsrep_desync",
        "wsrep_reject_queries",
        "wsrep_sst_donor_rejects_queries",
        "pxc_maint_mode",
        "error",
    ),
}
"""The columns behind hostname, port and time_start_us."""

LIMIT = 100_000
"""Rows per table: 1,000 servers checked each second would keep 7 million in two hours."""

Value = str | int | None


class Journal:
    """What monitors have seen lately."""

    def __init__(self, history_us: Callable[[], int], limit: int = LIMIT) -> None:
        """`history_us` says how long rows are kept, in microseconds."""
        self._history_us = history_us
        self._rings: dict[str, deque[tuple[Value, ...]]] = {
            name: deque(maxlen=limit) for name in TABLES
        }
        self._latest = 0

    def add(
        self, table: str, host: str, port: int, began_us: int, took_us: int, *rest: Value
    ) -> None:
        """One check; `took_us` is 0 when it failed, `rest` are the columns behind it."""
        # Part of the primary key: no two rows of one clock tick, nor after it was set back.
        self._latest = began_us = max(began_us, self._latest + 1)
        ring = self._rings[table]
        ring.append((host, port, began_us, took_us, *rest))
        oldest = began_us - self._history_us()
        while int(ring[0][2] or 0) < oldest:
            ring.popleft()

    def rows(self, table: str) -> list[tuple[Value, ...]]:
        """The rows of one table in the order of its columns. Raises KeyError."""
        return list(self._rings[table])

    def clear(self) -> None:
        """Forget everything."""
        for ring in self._rings.values():
            ring.clear()
