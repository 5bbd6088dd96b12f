# SPDX-License-Identifier: Apache-2.0
"""Which number of stats_mysql_global or stats_memory_metrics is which metric of Prometheus.

    metric name [labels] <- number [* scale] : what it says

Names are without `proxysql_`, and those of counters without `_total`.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TOTALS", "Total"]


class Total(NamedTuple):
    """One sample: a row that shares its name with another has other labels."""

    kind: str
    """counter or gauge"""
    name: str
    source: str
    text: str
    labels: tuple[tuple[str, str], ...] = ()
    scale: float = 1.0


_COUNTERS = """
access_denied_max_connections <- Access_Denied_Max_Connections : Clients beyond max_connections.
access_denied_max_user_connections <- Access_Denied_Max_User_Connections : Beyond the account's.
access_denied_wrong_password <- Access_Denied_Wrong_Password : Wrong user or password.
automatic_detected_sql_injection <- automatic_detected_sql_injection : Statements blocked as such.
aws_aurora_replicas_skipped_during_query <- get_aws_aurora_replicas_skipped_during_query : Too late.
backend_lagging_during_query <- backend_lagging_during_query : Statements cut for replication lag.
backend_offline_during_query <- backend_offline_during_query : Cut as their server went offline.
backend_query_time_seconds <- Backend_query_time_nsec * 1e-9 : Time backends took.
client_connections [status=created] <- Client_Connections_created : Clients that came.
client_connections [status=aborted] <- Client_Connections_aborted : Clients that came.
client_host_error_killed_connections <- client_host_error_killed_connections : Hosts turned away.
com_autocommit <- Com_autocommit : SET autocommit.
com_autocommit_filtered <- Com_autocommit_filtered : Not sent on.
com_backend_change_user <- Com_backend_change_user : Connections made new, COM_CHANGE_USER.
com_backend_init_db <- Com_backend_init_db : COM_INIT_DB to backends.
com_backend_set_names <- Com_backend_set_names : SET NAMES to backends.
com_backend_stmt [op=prepare] <- Com_backend_stmt_prepare : Prepared statements at backends.
com_backend_stmt [op=execute] <- Com_backend_stmt_execute : Prepared statements at backends.
com_backend_stmt [op=close] <- Com_backend_stmt_close : Prepared statements at backends.
com_commit_cnt <- Com_commit : COMMIT.
com_commit_filtered <- Com_commit_filtered : Not sent on.
com_frontend_init_db <- Com_frontend_init_db : COM_INIT_DB of clients.
com_frontend_set_names <- Com_frontend_set_names : SET NAMES of clients.
com_frontend_stmt [op=prepare] <- Com_frontend_stmt_prepare : Prepared statements of clients.
com_frontend_stmt [op=execute] <- Com_frontend_stmt_execute : Prepared statements of clients.
com_frontend_stmt [op=close] <- Com_frontend_stmt_close : Prepared statements of clients.
com_frontend_use_db <- Com_frontend_use_db : USE of clients.
com_rollback <- Com_rollback : ROLLBACK.
com_rollback_filtered <- Com_rollback_filtered : Not sent on.
connpool_get_conn_failure <- ConnPool_get_conn_failure : Statements that got no connection.
connpool_get_conn_latency_awareness <- ConnPool_get_conn_latency_awareness : Chosen by latency.
connpool_get_conn_success <- ConnPool_get_conn_success : Connections given out.
connpool_get_conn_success_immediate <- ConnPool_get_conn_immediate : Without a wait.
connpool_get_conn_success_latency_awareness <- ConnPool_get_conn_latency_awareness : By latency.
generated_error_packets <- generated_error_packets : Errors of our own.
gtid_consistent_queries <- GTID_consistent_queries : Sent where a GTID had arrived.
gtid_session_collected <- GTID_session_collected : GTIDs of sessions.
hostgroup_locked_queries <- hostgroup_locked_queries : Refused as locked to a hostgroup.
hostgroup_locked_set_cmds <- hostgroup_locked_set_cmds : SETs that locked.
max_connect_timeouts <- max_connect_timeouts : Waits for a connection that took too long.
myhgm_myconnpool_destroy <- MyHGM_myconnpoll_destroy : Connections closed.
myhgm_myconnpool_get <- MyHGM_myconnpoll_get : Connections asked for.
myhgm_myconnpool_get_ok <- MyHGM_myconnpoll_get_ok : Connections given out.
myhgm_myconnpool_push <- MyHGM_myconnpoll_push : Connections given back.
myhgm_myconnpool_reset <- MyHGM_myconnpoll_reset : Connections made new.
mysql_killed_backend_connections <- mysql_killed_backend_connections : Connections killed.
mysql_killed_backend_queries <- mysql_killed_backend_queries : Statements killed.
mysql_monitor_connect_check [status=ok] <- MySQL_Monitor_connect_check_OK : Connect checks.
mysql_monitor_connect_check [status=err] <- MySQL_Monitor_connect_check_ERR : Connect checks.
mysql_monitor_ping_check [status=ok] <- MySQL_Monitor_ping_check_OK : Ping checks.
mysql_monitor_ping_check [status=err] <- MySQL_Monitor_ping_check_ERR : Ping checks.
mysql_monitor_read_only_check [status=ok] <- MySQL_Monitor_read_only_check_OK : read_only checks.
mysql_monitor_read_only_check [status=err] <- MySQL_Monitor_read_only_check_ERR : read_only checks.
mysql_monitor_replication_lag_check [status=ok] <- MySQL_Monitor_replication_lag_check_OK : Lag.
mysql_monitor_replication_lag_check [status=err] <- MySQL_Monitor_replication_lag_check_ERR : Lag.
mysql_monitor_workers_started <- MySQL_Monitor_Workers_Started : Workers of the monitor.
mysql_unexpected_frontend_com_quit <- mysql_unexpected_frontend_com_quit : COM_QUIT out of place.
mysql_unexpected_frontend_packets <- mysql_unexpected_frontend_packets : Packets out of place.
mysql_whitelisted_sqli_fingerprint <- mysql_whitelisted_sqli_fingerprint : Let through as known.
queries_backends_bytes [traffic_flow=recv] <- Queries_backends_bytes_recv : Bytes of statements.
queries_backends_bytes [traffic_flow=sent] <- Queries_backends_bytes_sent : Bytes of statements.
queries_frontends_bytes [traffic_flow=recv] <- Queries_frontends_bytes_recv : Bytes of clients.
queries_frontends_bytes [traffic_flow=sent] <- Queries_frontends_bytes_sent : Bytes of clients.
queries_with_max_lag <- queries_with_max_lag_ms : Statements with max_lag_ms.
queries_with_max_lag__delayed <- queries_with_max_lag_ms__delayed : Delayed for it.
queries_with_max_lag__total_wait_time <- queries_with_max_lag_ms__total_wait_time_us : Microseconds.
query_cache_bytes [op=in] <- Query_Cache_bytes_IN : Bytes put into the query cache, and read.
query_cache_bytes [op=out] <- Query_Cache_bytes_OUT : Bytes put into the query cache, and read.
query_cache_count_get [status=ok] <- Query_Cache_count_GET_OK : Answers found in the query cache.
query_cache_count_set <- Query_Cache_count_SET : Answers put into it.
query_cache_purged <- Query_Cache_Purged : Answers that were too old.
query_processor_time_seconds <- Query_Processor_time_nsec * 1e-9 : Time spent on new statements.
questions <- Questions : Statements of clients.
selects_for_update__autocommit0 <- Selects_for_update__autocommit0 : SELECT FOR UPDATE.
server_connections [status=created] <- Server_Connections_created : Connections to backends.
server_connections [status=aborted] <- Server_Connections_aborted : Connections to backends.
server_connections [status=delayed] <- Server_Connections_delayed : Connections to backends.
servers_table_version <- Servers_table_version : How often the servers were loaded.
slow_queries <- Slow_queries : Longer than mysql-long_query_time.
uptime_seconds <- ProxySQL_Uptime : Since the start.
"""

_GAUGES = """
active_transactions <- Active_Transactions : Sessions in a transaction.
client_connections_connected <- Client_Connections_connected : Clients now.
client_connections_connected_primary <- Client_Connections_connected_prim_pass : Logged in.
client_connections_connected_additional <- Client_Connections_connected_addl_pass : By a second one.
client_connections_hostgroup_locked <- Client_Connections_hostgroup_locked : Locked to a hostgroup.
client_connections_non_idle <- Client_Connections_non_idle : Clients that wait for something.
client_connections_sha2cached <- Client_Connections_sha2cached : Accounts whose password is known.
connpool_memory_bytes <- ConnPool_memory_bytes : Of pooled connections.
jemalloc_bytes [type=allocated] <- jemalloc_allocated : What the allocator holds.
jemalloc_bytes [type=resident] <- jemalloc_resident : What the allocator holds.
jemalloc_bytes [type=active] <- jemalloc_active : What the allocator holds.
jemalloc_bytes [type=mapped] <- jemalloc_mapped : What the allocator holds.
jemalloc_bytes [type=metadata] <- jemalloc_metadata : What the allocator holds.
jemalloc_bytes [type=retained] <- jemalloc_retained : What the allocator holds.
mirror_concurrency <- Mirror_concurrency : Mirrored statements that run.
mirror_queue_lengths <- Mirror_queue_length : Mirrored statements that wait.
mysql_backend_buffers_bytes <- mysql_backend_buffers_bytes : Held for backends.
mysql_frontend_buffers_bytes <- mysql_frontend_buffers_bytes : Held for slow peers.
mysql_listener_paused <- mysql_listener_paused : 1 while no client is let in.
mysql_monitor_workers <- MySQL_Monitor_Workers : Workers of the monitor.
mysql_monitor_workers_aux <- MySQL_Monitor_Workers_Aux : More of them.
mysql_session_internal_bytes <- mysql_session_internal_bytes : Of all sessions.
mysql_thread_workers <- MySQL_Thread_Workers : Workers.
query_cache_entries <- Query_Cache_Entries : Answers in the query cache.
query_cache_memory_bytes <- Query_Cache_Memory_bytes : Bytes of them.
query_digest_memory_bytes <- mysql_query_digest_memory : Of the table of digests.
server_connections_connected <- Server_Connections_connected : Connections to backends now.
sqlite3_memory_bytes <- SQLite3_memory_bytes : Of SQLite.
stack_memory_mysql_threads_bytes <- stack_memory_mysql_threads : There are no threads.
stmt_cached <- Stmt_Cached : Prepared statements that are known.
stmt_client_active <- Stmt_Client_Active_Total : Those of clients.
stmt_client_active_unique <- Stmt_Client_Active_Unique : Different ones.
stmt_max_stmt_id <- Stmt_Max_Stmt_id : The latest number.
stmt_server_active <- Stmt_Server_Active_Total : Those of backend connections.
stmt_server_active_unique <- Stmt_Server_Active_Unique : Different ones.
"""


def _read(kind: str, lines: str) -> list[Total]:
    return [_total(kind, line) for line in lines.strip().splitlines()]


def _total(kind: str, line: str) -> Total:
    name, _, rest = line.partition(" <- ")
    source, _, text = rest.partition(" : ")
    name, _, labelled = name.partition(" [")
    labels: tuple[tuple[str, str], ...] = ()
    if labelled:
        label, _, value = labelled.rstrip("]").partition("=")
        labels = ((label, value),)
    source, _, scale = source.partition(" * ")
    return Total(kind, name, source, text, labels, float(scale or 1))


TOTALS: tuple[Total, ...] = (*_read("counter", _COUNTERS), *_read("gauge", _GAUGES))
