# SPDX-License-Identifier: Apache-2.0
"""The tables of the databases monitor (logs of probes) and stats_history (samples over time)."""

from __future__ import annotations

from hproxy.config.proxysql.catalogue_stats import STATS_TABLES
from hproxy.config.proxysql.table import Table, table

__all__ = ["HISTORY_TABLES", "MONITOR_TABLES"]

_PROBE = """
hostname VARCHAR NOT NULL
port INT NOT NULL DEFAULT 3306
time_start_us INT NOT NULL DEFAULT 0
{}
PRIMARY KEY (hostname, port, time_start_us)
"""

# What each kind of probe notes besides the server and when it began.
_PROBES = {
    "mysql_server_connect_log": """
connect_success_time_us INT DEFAULT 0
connect_error VARCHAR
""",
    "mysql_server_ping_log": """
ping_success_time_us INT DEFAULT 0
ping_error VARCHAR
""",
    "mysql_server_read_only_log": """
success_time_us INT DEFAULT 0
read_only INT DEFAULT 1
error VARCHAR
""",
    "mysql_server_replication_lag_log": """
success_time_us INT DEFAULT 0
repl_lag INT DEFAULT 0
error VARCHAR
""",
    "mysql_server_group_replication_log": """
success_time_us INT DEFAULT 0
viable_candidate VARCHAR NOT NULL DEFAULT 'NO'
read_only VARCHAR NOT NULL DEFAULT 'YES'
transactions_behind INT DEFAULT 0
error VARCHAR
""",
    "mysql_server_galera_log": """
success_time_us INT DEFAULT 0
primary_partition VARCHAR NOT NULL DEFAULT 'NO'
read_only VARCHAR NOT NULL DEFAULT 'YES'
wsrep_local_recv_queue INT DEFAULT 0
wsrep_local_state INT DEFAULT 0
wsrep_desync VARCHAR NOT NULL DEFAULT 'NO'
wsrep_reject_queries VARCHAR NOT NULL DEFAULT 'NO'
wsrep_sst_donor_rejects_queries VARCHAR NOT NULL DEFAULT 'NO'
pxc_maint_mode VARCHAR NOT NULL DEFAULT 'DISABLED'
error VARCHAR
""",
    "mysql_server_aws_aurora_log": """
success_time_us INT DEFAULT 0
error VARCHAR
SERVER_ID VARCHAR NOT NULL DEFAULT ''
SESSION_ID VARCHAR
LAST_UPDATE_TIMESTAMP VARCHAR
replica_lag_in_milliseconds INT NOT NULL DEFAULT 0
estimated_lag_ms INT NOT NULL DEFAULT 0
CPU INT NOT NULL DEFAULT 0
""",
}

_AURORA = {
    "mysql_server_aws_aurora_check_status": """
writer_hostgroup INT NOT NULL
hostname VARCHAR NOT NULL
port INT NOT NULL DEFAULT 3306
last_checked_at VARCHAR
checks_tot INT NOT NULL DEFAULT 0
checks_ok INT NOT NULL DEFAULT 0
last_error VARCHAR
PRIMARY KEY (writer_hostgroup, hostname, port)
""",
    "mysql_server_aws_aurora_failovers": """
writer_hostgroup INT NOT NULL
hostname VARCHAR NOT NULL
inserted_at VARCHAR NOT NULL
""",
}

MONITOR_TABLES: dict[str, Table] = {
    name: table("monitor", name, _PROBE.format(text.strip())) for name, text in _PROBES.items()
} | {name: table("monitor", name, text) for name, text in _AURORA.items()}

# Samples: a row a minute, then one an hour and one a day made of them.
_SAMPLES = {
    "mysql_connections": (
        "Client_Connections_aborted",
        "Client_Connections_connected",
        "Client_Connections_created",
        "Server_Connections_aborted",
        "Server_Connections_connected",
        "Server_Connections_created",
        "ConnPool_get_conn_failure",
        "ConnPool_get_conn_immediate",
        "ConnPool_get_conn_success",
        "Questions",
        "Slow_queries",
        "GTID_consistent_queries",
    ),
    "myhgm_connections": (
        "MyHGM_myconnpoll_destroy",
        "MyHGM_myconnpoll_get",
        "MyHGM_myconnpoll_get_ok",
        "MyHGM_myconnpoll_push",
        "MyHGM_myconnpoll_reset",
    ),
    "mysql_query_cache": (
        "count_GET",
        "count_GET_OK",
        "count_SET",
        "bytes_IN",
        "bytes_OUT",
        "Entries_Purged",
        "Entries_In_Cache",
        "Memory_Bytes",
    ),
    "system_cpu": ("tms_utime", "tms_stime"),
    "system_memory": ("allocated", "resident", "active", "mapped", "metadata", "retained"),
}

_OTHERS = {
    "history_mysql_status_variables": """
timestamp INT NOT NULL
variable_id INT NOT NULL
variable_value VARCHAR NOT NULL
PRIMARY KEY (timestamp, variable_id)
""",
    "history_mysql_status_variables_lookup": """
variable_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL
variable_name VARCHAR NOT NULL
UNIQUE (variable_name)
""",
}


def _sample(name: str, columns: tuple[str, ...]) -> Table:
    lines = ("timestamp INT NOT NULL", *(f"{column} INT NOT NULL" for column in columns))
    return table("stats_history", name, "\n".join((*lines, "PRIMARY KEY (timestamp)")))


def _copy(name: str, source: str, moment: str, keys: tuple[str, ...]) -> Table:
    """A stats table kept over time: when, and its columns."""
    columns = (column.text for column in STATS_TABLES[source].columns)
    return table("stats_history", name, "\n".join((f"{moment} INT NOT NULL", *columns, *keys)))


_POOL_KEY = "PRIMARY KEY (timestamp, hostgroup, srv_host, srv_port)"
_COPIES = (
    _copy("history_mysql_query_digest", "stats_mysql_query_digest", "dump_time", ()),
    _copy(
        "history_stats_mysql_connection_pool",
        "stats_mysql_connection_pool",
        "timestamp",
        (_POOL_KEY,),
    ),
    STATS_TABLES["stats_mysql_query_events"].renamed("history_mysql_query_events", "stats_history"),
    # What is current, once more: tools ask for it in this database as well.
    STATS_TABLES["stats_mysql_query_digest"].renamed("stats_mysql_query_digest", "stats_history"),
)

HISTORY_TABLES: dict[str, Table] = (
    {
        f"{name}{span}": _sample(f"{name}{span}", columns)
        for name, columns in _SAMPLES.items()
        for span in ("", "_hour", "_day")
    }
    | {name: table("stats_history", name, text) for name, text in _OTHERS.items()}
    | {made.name: made for made in _COPIES}
)
