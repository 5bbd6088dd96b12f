# SPDX-License-Identifier: Apache-2.0
"""stats_mysql_global: one number per name, summed up when it is asked for.

    sessions alive ─┐  those gone: Totals      native: commands by byte, servers, groups
    counters ───────┼─> metrics(runtime) ──> stats_mysql_global, Prometheus, history
    other rooms ────┘  (services.sources.metrics replace what they know)

NOT_OURS names what has no meaning in this proxy: it is there, and 0. docs/operations/stats.md
says of each what it counts.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import apsw

from hproxy.runtime.tables.prepared import prepared
from hproxy.runtime.tables.sizes import pool_bytes, session_bytes
from hproxy.telemetry.buffers import buffered_bytes

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["NOT_OURS", "metrics", "rows"]

INIT_DB, QUERY, CHANGE_USER, PREPARE, EXECUTE, CLOSE, RESET, BULK = (
    0x02, 0x03, 0x11, 0x16, 0x17, 0x19, 0x1F, 0xFA,
)  # fmt: skip

_NOT_OURS = """
Client_Connections_connected_addl_pass Client_Connections_hostgroup_locked Com_autocommit_filtered
Com_commit_filtered Com_rollback_filtered GTID_consistent_queries GTID_session_collected
ConnPool_get_conn_latency_awareness get_aws_aurora_replicas_skipped_during_query
hostgroup_locked_set_cmds hostgroup_locked_queries mysql_unexpected_frontend_com_quit
mysql_unexpected_frontend_com_ping mysql_unexpected_frontend_packets
queries_with_max_lag_ms__total_wait_time_us
automatic_detected_sql_injection mysql_whitelisted_sqli_fingerprint
mysql_set_wait_timeout_commands new_req_conns_count Mirror_concurrency Mirror_queue_length
Selects_for_update__autocommit0 MySQL_Monitor_Workers MySQL_Monitor_Workers_Aux
MySQL_Monitor_Workers_Started MySQL_Monitor_connect_check_OK MySQL_Monitor_connect_check_ERR
MySQL_Monitor_ping_check_OK MySQL_Monitor_ping_check_ERR MySQL_Monitor_read_only_check_OK
MySQL_Monitor_read_only_check_ERR MySQL_Monitor_replication_lag_check_OK
MySQL_Monitor_replication_lag_check_ERR MySQL_Monitor_dns_cache_queried
MySQL_Monitor_dns_cache_lookup_success MySQL_Monitor_dns_cache_record_updated
Query_Cache_Memory_bytes Query_Cache_count_GET Query_Cache_count_GET_OK Query_Cache_count_SET
Query_Cache_bytes_IN Query_Cache_bytes_OUT Query_Cache_Purged Query_Cache_Entries
mysql_listener_paused
"""
NOT_OURS = tuple(_NOT_OURS.split())
"""0 unless a room says otherwise through `services.sources.metrics`."""


def metrics(runtime: Runtime) -> dict[str, int]:
    """All names and their values of now."""
    found = dict.fromkeys(NOT_OURS, 0)
    found |= _sessions(runtime)
    found |= _statements(runtime)
    found |= _backends(runtime)
    found |= _prepared(runtime)
    found |= _slow_lane(runtime)
    for source in runtime.services.sources.metrics:
        found |= source()
    return found


def rows(runtime: Runtime) -> list[tuple[Any, ...]]:
    """(name, value), as texts."""
    return [(name, str(value)) for name, value in metrics(runtime).items()]


def _sessions(runtime: Runtime) -> dict[str, int]:
    """Clients: those that are here, added to those that are gone."""
    registry = runtime.services.registry
    totals = registry.totals
    received, sent = totals.bytes_from_clients, totals.bytes_to_clients
    active = transactions = logged_in = 0
    for connection in registry:
        session = connection.session
        if session is None:
            continue
        logged_in += 1
        received += session.client.bytes_in
        sent += session.client.bytes_out
        active += session.state != "idle"
        transactions += bool(session.in_transaction)
    return {
        "ProxySQL_Uptime": int(monotonic() - runtime.started_at),
        "Active_Transactions": transactions,
        "Client_Connections_aborted": totals.logins_failed + totals.aborted_clients,
        "Client_Connections_connected": len(registry),
        "Client_Connections_connected_prim_pass": logged_in,
        "Client_Connections_created": totals.accepted,
        "Client_Connections_sha2cached": sum(
            account.credential is not None for account in runtime.services.users
        ),
        "Client_Connections_non_idle": active + len(registry) - logged_in,
        "mysql_frontend_buffers_bytes": buffered_bytes(),
        "mysql_backend_buffers_bytes": 0,
        "mysql_session_internal_bytes": session_bytes(runtime),
        "Queries_frontends_bytes_recv": received,
        "Queries_frontends_bytes_sent": sent,
    }


def _statements(runtime: Runtime) -> dict[str, int]:
    """What clients asked for, and what became of it."""
    services = runtime.services
    counters = services.counters
    asked, sent = services.reactor.commands()
    own = counters.asked_backends
    shared = services.multiplex
    rows: Mapping[str, Any] = shared.commands.rows if shared is not None else {}

    def of(name: str) -> int:
        return rows[name].count if rows else 0

    def client(*commands: int) -> int:
        return sum(asked.get(command, 0) for command in commands)

    def backend(*commands: int) -> int:
        return sum(sent.get(command, 0) + own[command] for command in commands)

    return {
        "Questions": client(QUERY, PREPARE, EXECUTE, BULK),
        "Slow_queries": shared.watch.slow if shared is not None else 0,
        "Backend_query_time_nsec": shared.commands.sum_ns if shared is not None else 0,
        "Query_Processor_time_nsec": counters.deciding_ns,
        "Com_autocommit": counters.autocommits,
        "Com_commit": of("COMMIT"),
        "Com_rollback": of("ROLLBACK"),
        "Com_backend_change_user": backend(CHANGE_USER, RESET),
        "Com_backend_init_db": backend(INIT_DB),
        "Com_backend_set_names": counters.names_asked,
        "Com_backend_stmt_prepare": backend(PREPARE),
        "Com_backend_stmt_execute": backend(EXECUTE, BULK),
        "Com_backend_stmt_close": backend(CLOSE),
        "Com_frontend_init_db": client(INIT_DB),
        "Com_frontend_set_names": counters.names,
        "Com_frontend_use_db": of("USE"),
        "Com_frontend_stmt_prepare": client(PREPARE),
        "Com_frontend_stmt_execute": client(EXECUTE, BULK),
        "Com_frontend_stmt_close": client(CLOSE),
    }


def _backends(runtime: Runtime) -> dict[str, int]:
    """Connections to servers, and the pool that gives them out."""
    services = runtime.services
    totals, counters = services.registry.totals, services.counters
    shared = services.multiplex
    opened = failed = sent = received = 0
    for done in counters.dedicated.values():
        opened += done.opened
        failed += done.failed
        sent += done.bytes_sent
        received += done.bytes_received
    connected = sum(services.topology.connections.values())
    pooled = 0
    got = waited = released = destroyed = delayed = waiting = 0
    if shared is None:
        for connection in services.registry:
            if connection.session is not None:
                sent += connection.session.backend.bytes_out
                received += connection.session.backend.bytes_in
    else:
        delayed = shared.pools.delayed
        gone = shared.pools.gone
        sent, received = sent + gone.bytes_sent, received + gone.bytes_received
        for count in (gone, *shared.pools.counts.values()):
            pooled += count.opened
            failed += count.failed
            destroyed += count.closed
        for server in shared.pools.servers.values():
            sent += server.bytes_sent
            received += server.bytes_received
        for bucket in shared.pools:
            connected += bucket.opened
        for group in shared.pools.groups.values():
            waiting += group.waiting
        for did in (*shared.pools.groups.values(), *shared.pools.given.values()):
            got += did.acquired
            waited += did.waited
            released += did.released
    vain = counters.waits_in_vain
    return {
        "Server_Connections_aborted": failed + totals.aborted_backends,
        "Server_Connections_connected": connected,
        "Server_Connections_created": opened + pooled,
        "Server_Connections_delayed": delayed,
        "Queries_backends_bytes_recv": received,
        "Queries_backends_bytes_sent": sent,
        "ConnPool_get_conn_immediate": max(0, got - max(0, waited - vain - waiting)),
        "ConnPool_get_conn_success": got,
        "ConnPool_get_conn_failure": vain,
        "MyHGM_myconnpoll_get": got + vain,
        "MyHGM_myconnpoll_get_ok": got,
        "MyHGM_myconnpoll_push": max(0, released - pooled),  # new ones come the same way
        "MyHGM_myconnpoll_destroy": destroyed,
        "MyHGM_myconnpoll_reset": counters.resets,
        "ConnPool_memory_bytes": pool_bytes(runtime),
    }


def _prepared(runtime: Runtime) -> dict[str, int]:
    shared = runtime.services.multiplex
    counts = prepared(runtime)
    known = shared.statements.entries() if shared is not None else []
    return {
        "Stmt_Client_Active_Total": counts.clients.total(),
        "Stmt_Client_Active_Unique": len(counts.clients),
        "Stmt_Server_Active_Total": counts.servers.total(),
        "Stmt_Server_Active_Unique": len(counts.servers),
        "Stmt_Max_Stmt_id": max((statement.number for statement in known), default=0),
        "Stmt_Cached": len(known),
    }


def _slow_lane(runtime: Runtime) -> dict[str, int]:
    counters = runtime.services.counters
    return {
        "mysql_killed_backend_connections": counters.killed_connections,
        "mysql_killed_backend_queries": counters.killed_queries,
        "backend_lagging_during_query": counters.lagging_during_query,
        "backend_offline_during_query": counters.offline_during_query,
        "queries_with_max_lag_ms": counters.lag_limited,
        "queries_with_max_lag_ms__delayed": counters.lag_delayed,
        "max_connect_timeouts": counters.connect_timeouts,
        "generated_error_packets": counters.errors_made,
        "client_host_error_killed_connections": counters.hosts_turned_away,
        "mysql_timeout_terminated_connections": counters.idle_timeouts,
        "Access_Denied_Wrong_Password": counters.denied_password,
        "Access_Denied_Max_Connections": counters.denied_limit,
        "Access_Denied_Max_User_Connections": counters.denied_user_limit,
        "Servers_table_version": counters.servers_version,
        "MySQL_Thread_Workers": 1,
        "OpenSSL_Version_Num": ssl.OPENSSL_VERSION_NUMBER,
        "SQLite3_memory_bytes": apsw.memory_used(),
    }
