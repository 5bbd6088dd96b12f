# SPDX-License-Identifier: Apache-2.0
"""Tables whose rows another room has: it leaves a function in `services.sources.tables`.

Without one the table is empty: a worker knows no peers, the head has its own; it has no rules, no
GTIDs to tell of, and it monitors no Aurora.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["TABLES", "reader"]

TABLES = (
    "stats_mysql_query_rules",
    "stats_mysql_query_events",
    "stats_hproxy_decisions",
    "stats_mysql_gtid_executed",
    "stats_proxysql_servers_checksums",
    "stats_proxysql_servers_metrics",
    "stats_proxysql_servers_status",
    "stats_proxysql_servers_clients_status",
    "stats_proxysql_message_metrics",
    "stats_proxysql_message_metrics_reset",
    "mysql_server_aws_aurora_check_status",
    "mysql_server_aws_aurora_failovers",
    "mysql_server_aws_aurora_log",
)


def reader(name: str) -> Callable[[Runtime], Iterable[tuple[Any, ...]]]:
    """Reads the table `name` from whoever has it."""

    def rows(runtime: Runtime) -> Iterable[tuple[Any, ...]]:
        source = runtime.services.sources.tables.get(name)
        return source() if source is not None else ()

    return rows
