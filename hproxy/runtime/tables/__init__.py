# SPDX-License-Identifier: Apache-2.0
"""What the tables of the database stats read: a function per table, rows in its columns' order.

    READERS[name](runtime) ──> rows        a `_reset` twin sets to zero what it has read

One module per theme. Other rooms give rows of their own through `services.sources.tables`
(query rules, peers, monitors) and numbers through `services.sources.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from hproxy.runtime.tables import (
    certificates,
    configured,
    connections,
    digests,
    elsewhere,
    failures,
    memory,
    prepared,
    process,
    sessions,
    totals,
)

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["ANY_THREAD", "READERS", "READ_LATER", "Reader"]

Reader = Callable[["Runtime"], Iterable[tuple[Any, ...]]]

ANY_THREAD = configured.ANY_THREAD
"""Those that need not be read on the worker's loop."""
READ_LATER = {"stats_mysql_query_digest", "stats_mysql_query_digest_reset"}
"""Those whose rows hold what was true when the reader was called, wherever they are made."""
READERS: dict[str, Reader] = (
    configured.CONFIGURED
    | {
        "stats_mysql_global": totals.rows,
        "stats_memory_metrics": memory.rows,
        "stats_mysql_connection_pool": connections.pool,
        "stats_mysql_connection_pool_reset": connections.pool_reset,
        "stats_mysql_hostgroup_connection_pool": connections.hostgroups,
        "stats_mysql_hostgroup_connection_pool_reset": connections.hostgroups_reset,
        "stats_mysql_free_connections": connections.free,
        "stats_mysql_processlist": sessions.processlist,
        "stats_mysql_users": sessions.users,
        "stats_hproxy_pins": sessions.pins,
        "stats_mysql_query_digest": digests.rows,
        "stats_mysql_query_digest_reset": digests.rows_reset,
        "stats_mysql_commands_counters": digests.commands,
        "stats_mysql_prepared_statements_info": prepared.rows,
        "stats_mysql_errors": failures.errors,
        "stats_mysql_errors_reset": failures.errors_reset,
        "stats_mysql_client_host_cache": failures.hosts,
        "stats_mysql_client_host_cache_reset": failures.hosts_reset,
        "stats_tls_certificates": certificates.rows,
    }
    # Read like these and shown by no table: samples over time are made of them.
    | {
        "pool_totals": partial(connections.pool, since_reset=False),
        "process_cpu": process.cpu,
        "process_heap": process.heap,
    }
    | {name: elsewhere.reader(name) for name in elsewhere.TABLES}
)
