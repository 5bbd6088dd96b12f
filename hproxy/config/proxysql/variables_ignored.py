# SPDX-License-Identifier: Apache-2.0
"""Variables that are accepted and kept, so that tools and files may set them, without an effect.

Each group says why. Defaults are ProxySQL's.
"""

from __future__ import annotations

from dataclasses import replace

from hproxy import __version__
from hproxy.config.proxysql.variable import Variable, flag, number, text

__all__ = ["IGNORED", "VERSION"]

MAX = 2**31 - 1
# Tools take three numbers off the front, and peers compare the whole.
VERSION = f"3.0.2-hproxy-{__version__}"

_GROUPS: dict[str, tuple[Variable, ...]] = {
    "rules look at any length, in linear time; what is cached and mirrored has limits of its own": (
        number("mysql-threshold_query_length", 524_288, 1024, 1 << 30, ""),
    ),
    "results are always streamed; one of more than 4 MiB is not cached": (
        number("mysql-threshold_resultset_size", 4_194_304, 1024, 1 << 30, ""),
    ),
    "single statements are kept in files only (eventslog_filename), not in memory": (
        number("mysql-eventslog_buffer_history_size", 0, 0, 8_388_608, ""),
        number("mysql-eventslog_buffer_max_query_length", 32_768, 128, 33_554_432, ""),
    ),
    "there are no such threads; server.worker_threads says how many processes work": (
        number("mysql-threads", 4, 1, 255, ""),
        number("mysql-stacksize", 1048576, 262144, 4194304, ""),
        number("mysql-monitor_threads_min", 8, 2, 256, ""),
        number("mysql-monitor_threads_queue_maxsize", 128, 16, 1024, ""),
    ),
    "connects are tried again until connect_timeout_server_max, on other backends first": (
        number("mysql-connect_retries_on_failure", 10, 0, 1000, ""),
        number("mysql-connect_retries_delay", 1, 0, 10_000, ""),
    ),
    "LAST_INSERT_ID() and all other state is carried to the connection that serves next": (
        number("mysql-auto_increment_delay_multiplex", 5, 0, 1_000_000, ""),
        number("mysql-auto_increment_delay_multiplex_timeout_ms", 10_000, 0, 3_600_000, ""),
        number("mysql-connection_delay_multiplex_ms", 0, 0, 300_000, ""),
    ),
    "backends are drawn by weight; default_max_latency_ms avoids slow ones": (
        number("mysql-min_num_servers_lantency_awareness", 1000, 0, 10_000, ""),
    ),
    "sockets are waited for with epoll, without a timeout": (
        number("mysql-poll_timeout", 2000, 10, 20000, ""),
        number("mysql-poll_timeout_on_failure", 100, 10, 20000, ""),
        number("mysql-session_idle_ms", 1, 1, 3600000, ""),
        flag("mysql-sessions_sort", True, ""),
    ),
    "negotiated with each side as it can, whatever is set": (
        flag("mysql-enable_client_deprecate_eof", True, ""),
        flag("mysql-enable_server_deprecate_eof", True, ""),
        number("mysql-server_capabilities", 0, 0, 4294967295, ""),
        flag("mysql-client_multi_statements", True, ""),
        flag("mysql-client_found_rows", True, ""),
    ),
    "state changes are tracked exactly (proxy.session_tracking)": (
        flag("mysql-client_session_track_gtid", True, ""),
        text("mysql-default_session_track_gtids", "OFF", ""),
        number("mysql-set_parser_algorithm", 2, 1, 2, ""),
        number("mysql-user_variable_tracking", 0, 0, MAX, ""),
        flag("mysql-ignore_min_gtid_annotations", False, ""),
    ),
    "a session is held to a connection only while its state needs it; stats_hproxy_pins says why": (
        text("mysql-keep_multiplexing_variables", "tx_isolation,transaction_isolation,version", ""),
        number("mysql-set_query_lock_on_hostgroup", 1, 0, 1, ""),
        flag("mysql-autocommit_false_not_reusable", False, ""),
        flag("mysql-autocommit_false_is_transaction", False, ""),
        flag("mysql-enforce_autocommit_on_reads", False, ""),
        number("mysql-handle_warnings", 1, 0, 1, ""),
    ),
    "connections are reset with COM_RESET_CONNECTION at once, without a queue": (
        number("mysql-reset_connection_algorithm", 2, 1, 2, ""),
        number("mysql-connpoll_reset_queue_length", 50, 0, 10000, ""),
        flag("mysql-default_reconnect", True, ""),
    ),
    "a client that names no schema has none, as on a server": (
        text("mysql-default_schema", "information_schema", ""),
    ),
    "the backend answers for a character set it does not know": (
        number("mysql-handle_unknown_charset", 1, 0, 2, ""),
    ),
    "a slow client holds its backend by back-pressure; rates are not limited": (
        number("mysql-throttle_max_bytes_per_second_to_client", 0, 0, MAX, ""),
        number("mysql-throttle_ratio_server_to_client", 0, 0, 100, ""),
    ),
    "always counted; it costs nothing here": (
        flag("mysql-servers_stats", True, ""),
        flag("mysql-stats_time_backend_query", False, ""),
        flag("mysql-stats_time_query_processor", False, ""),
    ),
    "decisions are cached by the digest, so its form is fixed (ProxySQL's by default)": (
        flag("mysql-query_digests_normalize_digest_text", False, ""),
        flag("mysql-query_digests_keep_comment", False, ""),
        number("mysql-query_digests_grouping_limit", 3, 1, 2089, ""),
        number("mysql-query_digests_groups_grouping_limit", 10, 0, 2089, ""),
        number("mysql-query_digests_max_query_length", 65000, 16, 1048576, ""),
    ),
    "lookups do not depend on it": (
        number("mysql-query_rules_fast_routing_algorithm", 1, 1, 2, ""),
        number("mysql-query_processor_parser", 0, 0, MAX, ""),
    ),
    "logging.level says what is logged": (
        flag("mysql-log_mysql_warnings_enabled", False, ""),
        flag("mysql-log_unhealthy_connections", True, ""),
        flag("mysql-verbose_query_error", False, ""),
        number("mysql-hostgroup_manager_verbose", 1, 0, 3, ""),
        flag("mysql-parse_failure_logs_digest", False, ""),
        flag("mysql-session_debug", True, ""),
    ),
    "parameters may be secrets and are not logged": (
        number("mysql-eventslog_stmt_parameters", 0, 0, MAX, ""),
    ),
    "the log is written by one thread of its own": (
        number("mysql-eventslog_table_memory_size", 10000, 0, MAX, ""),
        number("mysql-eventslog_buffer_history_sync_interval", 0, 0, MAX, ""),
    ),
    "no history of packets is kept": (number("mysql-data_packets_history_size", 0, 0, MAX, ""),),
    "the lag of a replica outlives a LOAD as it is": (
        number("mysql-evaluate_replication_lag_on_servers_load", 1, 0, 1, ""),
    ),
    "the TLS library's own choice holds; tls.min_version narrows it": (
        text("mysql-ssl_p2s_cipher", "", ""),
        text("mysql-ssl_p2s_crl", "", ""),
        text("mysql-ssl_p2s_crlpath", "", ""),
    ),
    "mysql-ssl_p2s_ca takes a folder too": (text("mysql-ssl_p2s_capath", "", ""),),
    "binary logs are not read; proxy.read_your_writes_ms keeps reads after writes on the writer": (
        number("mysql-binlog_reader_connect_retry_msec", 3000, 0, MAX, ""),
    ),
    "Amazon Aurora and RDS topologies are not monitored": (
        number("mysql-aurora_max_lag_ms_only_read_from_replicas", 2, 0, 100, ""),
        number("mysql-monitor_aws_rds_topology_discovery_interval", 0, 0, 100000, ""),
    ),
    "a server is asked once, in however many hostgroups it is": (
        flag("mysql-monitor_replication_lag_group_by_host", False, ""),
    ),
    "names are looked up one at a time": (
        number("mysql-monitor_local_dns_resolver_queue_maxsize", 128, 16, 1024, ""),
    ),
    "no probe runs a statement of its own": (
        number("mysql-monitor_query_interval", 60000, 100, 604800000, ""),
        number("mysql-monitor_query_timeout", 100, 100, 600000, ""),
    ),
    "LDAP is not spoken": (
        text("mysql-ldap_user_variable", "", ""),
        text("mysql-add_ldap_user_comment", "", ""),
        flag("admin-checksum_ldap_variables", True, ""),
        number("admin-cluster_ldap_variables_diffs_before_sync", 3, 0, 1000, ""),
        flag("admin-cluster_ldap_variables_save_to_disk", True, ""),
    ),
    "PostgreSQL is not spoken": (text("admin-pgsql_ifaces", "0.0.0.0:6132", ""),),
    "the telnet server never existed in ProxySQL either": (
        text("admin-telnet_admin_ifaces", "", ""),
        text("admin-telnet_stats_ifaces", "", ""),
    ),
    "tables are read when a statement asks for them": (
        number("admin-refresh_interval", 2000, 0, MAX, ""),
        number("admin-prometheus_memory_metrics_interval", 61, 0, MAX, ""),
    ),
    "samples that are too old are deleted one by one, their file is never rewritten": (
        flag("admin-vacuum_stats", True, ""),
    ),
    "the HTTP API is where the section [http] says": (
        flag("admin-web_enabled", False, ""),
        number("admin-web_port", 6080, 0, MAX, ""),
        number("admin-web_verbosity", 0, 0, MAX, ""),
    ),
    "no core file is written on purpose": (
        number("admin-coredump_generation_interval_ms", 30000, 0, MAX, ""),
        number("admin-coredump_generation_threshold", 10, 0, MAX, ""),
    ),
    "keys of sessions are not written down": (text("admin-ssl_keylog_file", "", ""),),
    "deprecated in ProxySQL: passwords are kept as written": (
        flag("admin-hash_passwords", True, ""),
    ),
    "peers copy what was loaded, whatever monitors made of it": (
        number("admin-cluster_mysql_servers_sync_algorithm", 1, 0, MAX, ""),
    ),
    "no detector of SQL injection is kept; true is refused, the firewall's whitelist stops them": (
        text("mysql-automatic_detect_sqli", "false", "", form="no_detector"),
    ),
    "it is the version, and cannot be set": (text("admin-version", VERSION, "", form="fixed"),),
}

IGNORED: tuple[Variable, ...] = tuple(
    replace(variable, acts="ignored", why=why)
    for why, variables in _GROUPS.items()
    for variable in variables
)
