# SPDX-License-Identifier: Apache-2.0
"""Rows of several workers as those of one: what is counted is added, who is listed is listed.

    Same("stats_mysql_users")     key: rows with equal values in these columns are one
                                  its other columns are added, unless `least`, `most`, `first` say
                                  otherwise
    LISTED                        rows stay as they are, one worker's after another's

Pure. A worker is a number: what ProxySQL calls the thread of a session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hproxy.config.proxysql.catalogue import STATS_TABLES
from hproxy.telemetry import summing

__all__ = ["merged"]

Rows = Sequence[Sequence[Any]]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Same:
    """How rows of one table become one; columns by name, as the catalogue has them."""

    key: tuple[str, ...]
    first: tuple[str, ...] = ()
    least: tuple[str, ...] = ()
    most: tuple[str, ...] = ()
    order: Callable[[Row], Any] | None = None
    """By what the whole is sorted; None: as they came."""


POOL = Same(("hostgroup", "srv_host", "srv_port"), first=("status",), most=("Latency_us",))
ERRORS = Same(
    ("hostgroup", "hostname", "port", "username", "client_address", "schemaname", "errno"),
    least=("first_seen",), most=("last_seen",), first=("last_error",),
)  # fmt: skip
DIGESTS = Same(
    ("hostgroup", "schemaname", "username", "client_address", "digest"),
    first=("digest_text",),
    least=("first_seen", "min_time"),
    most=("last_seen", "max_time"),
    order=lambda row: -row[9],
)
SAME: dict[str, Same] = {
    "stats_mysql_connection_pool": POOL,
    "stats_mysql_hostgroup_connection_pool": Same(("hostgroup",), order=lambda row: row[0]),
    "stats_mysql_users": Same(
        ("username",), most=("frontend_max_connections",), order=lambda row: row[0]
    ),
    "stats_mysql_query_digest": DIGESTS,
    "stats_mysql_commands_counters": Same(("Command",)),
    "stats_mysql_query_rules": Same(("rule_id",), order=lambda row: row[0]),
    "stats_mysql_errors": ERRORS,
    "stats_mysql_client_host_cache": Same(("client_address",), most=("last_updated",)),
    "stats_mysql_gtid_executed": Same(
        ("hostname", "port"), first=("gtid_executed",), most=("events",)
    ),
    "stats_mysql_prepared_statements_info": Same(
        ("schemaname", "username", "digest", "query"),
        first=("global_stmt_id", "num_columns", "num_params"),
    ),
    "stats_hproxy_decisions": Same(
        (
            "username", "schemaname", "digest", "digest_text", "hostgroup", "reader_hostgroup",
            "rule_ids", "actions",
        ),
    ),
}  # fmt: skip
COLUMNS = {name: made.names for name, made in STATS_TABLES.items()}
SPECIAL: dict[str, tuple[Same, tuple[str, ...]]] = {
    "pool_totals": (POOL, COLUMNS["stats_mysql_connection_pool"]),
}


def merged(table: str, parts: Mapping[int, Rows]) -> list[Row]:
    """The rows of `table`, by worker, as one table."""
    if table in ("stats_mysql_global", "stats_memory_metrics"):
        numbers = ({name: int(n) for name, n in rows} for rows in parts.values())
        sums = summing.added(numbers, summing.SAME)
        return [(name, str(value)) for name, value in sums.items()]
    if table in ("process_cpu", "process_heap"):
        return [
            tuple(map(sum, zip(*(row for rows in parts.values() for row in rows), strict=True)))
        ]
    if table == "stats_mysql_processlist":
        listed = [(slot, *row[1:]) for slot, rows in parts.items() for row in rows]
        return sorted(listed, key=lambda row: int(row[1]))
    found = [tuple(row) for rows in parts.values() for row in rows]
    same, columns = SPECIAL.get(table) or (
        SAME.get(table.removesuffix("_reset")),
        COLUMNS.get(table, ()),
    )
    if same is None:
        return found
    rows = _one(same, columns, found)
    if table == "stats_mysql_prepared_statements_info":
        rows = [(number, *row[1:]) for number, row in enumerate(rows, 1)]
    return rows


def _one(same: Same, columns: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    key = [columns.index(name) for name in same.key]
    ways: list[Callable[[Any, Any], Any] | None] = [_way(same, name) for name in columns]
    found: dict[Row, list[Any]] = {}
    for row in rows:
        at = tuple(row[i] for i in key)
        before = found.get(at)
        if before is None:
            found[at] = list(row)
            continue
        for i, way in enumerate(ways):
            if way is not None:
                before[i] = way(before[i], row[i])
    made = [tuple(row) for row in found.values()]
    return made if same.order is None else sorted(made, key=same.order)


def _way(same: Same, name: str) -> Callable[[Any, Any], Any] | None:
    if name in same.key or name in same.first:
        return None
    if name in same.least:
        return min
    return max if name in same.most else _sum


def _sum(one: Any, other: Any) -> Any:
    return one + other
