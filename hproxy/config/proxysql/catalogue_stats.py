# SPDX-License-Identifier: Apache-2.0
"""The tables of the database stats: counters, read from the running proxy when asked for.

A table in `_RESET` has a twin that sets the counters to zero once it was read.
"""

from __future__ import annotations

from hproxy.config.proxysql.table import Table, table

__all__ = ["STATS_TABLES"]

_POOL = """
hostgroup INT
srv_host VARCHAR
srv_port INT
status VARCHAR
ConnUsed INT
ConnFree INT
ConnOK INT
ConnERR INT
MaxConnUsed INT
Queries INT
Queries_GTID_sync INT
Bytes_data_sent INT
Bytes_data_recv INT
Latency_us INT
"""

_VALUES = """
Variable_Name VARCHAR NOT NULL PRIMARY KEY
Variable_Value VARCHAR NOT NULL
"""

_TABLES = {
    "stats_mysql_global": _VALUES,
    "stats_memory_metrics": _VALUES,
    "stats_mysql_connection_pool": _POOL,
    "stats_mysql_hostgroup_connection_pool": """
hostgroup INT NOT NULL PRIMARY KEY
acquisitions_total INT NOT NULL
waits_total INT NOT NULL
wait_time_us_total INT NOT NULL
waiters INT NOT NULL
""",
    "stats_mysql_free_connections": """
fd INT NOT NULL
hostgroup INT NOT NULL
srv_host VARCHAR NOT NULL
srv_port INT NOT NULL
user VARCHAR NOT NULL
schema VARCHAR
init_connect VARCHAR
time_zone VARCHAR
sql_mode VARCHAR
autocommit VARCHAR
idle_ms INT
statistics VARCHAR
mysql_info VARCHAR
""",
    "stats_mysql_processlist": """
ThreadID INT NOT NULL
SessionID INTEGER PRIMARY KEY
user VARCHAR
db VARCHAR
cli_host VARCHAR
cli_port INT
hostgroup INT
l_srv_host VARCHAR
l_srv_port INT
srv_host VARCHAR
srv_port INT
command VARCHAR
time_ms INT NOT NULL
info VARCHAR
status_flags INT
extended_info VARCHAR
""",
    "stats_mysql_query_digest": """
hostgroup INT
schemaname VARCHAR NOT NULL
username VARCHAR NOT NULL
client_address VARCHAR NOT NULL
digest VARCHAR NOT NULL
digest_text VARCHAR NOT NULL
count_star INTEGER NOT NULL
first_seen INTEGER NOT NULL
last_seen INTEGER NOT NULL
sum_time INTEGER NOT NULL
min_time INTEGER NOT NULL
max_time INTEGER NOT NULL
sum_rows_affected INTEGER NOT NULL
sum_rows_sent INTEGER NOT NULL
PRIMARY KEY(hostgroup, schemaname, username, client_address, digest)
""",
    "stats_mysql_query_events": """
id INTEGER PRIMARY KEY AUTOINCREMENT
thread_id INTEGER
username TEXT
schemaname TEXT
start_time INTEGER
end_time INTEGER
query_digest TEXT
query TEXT
server TEXT
client TEXT
event_type INTEGER
hid INTEGER
extra_info TEXT
affected_rows INTEGER
last_insert_id INTEGER
rows_sent INTEGER
client_stmt_id INTEGER
gtid TEXT
errno INT
error TEXT
""",
    "stats_mysql_commands_counters": """
Command VARCHAR NOT NULL PRIMARY KEY
Total_Time_us INT NOT NULL
Total_cnt INT NOT NULL
cnt_100us INT NOT NULL
cnt_500us INT NOT NULL
cnt_1ms INT NOT NULL
cnt_5ms INT NOT NULL
cnt_10ms INT NOT NULL
cnt_50ms INT NOT NULL
cnt_100ms INT NOT NULL
cnt_500ms INT NOT NULL
cnt_1s INT NOT NULL
cnt_5s INT NOT NULL
cnt_10s INT NOT NULL
cnt_INFs INT
""",
    "stats_mysql_query_rules": """
rule_id INTEGER PRIMARY KEY
hits INT NOT NULL
""",
    "stats_mysql_users": """
username VARCHAR PRIMARY KEY
frontend_connections INT NOT NULL
frontend_max_connections INT NOT NULL
""",
    "stats_mysql_errors": """
hostgroup INT NOT NULL
hostname VARCHAR NOT NULL
port INT NOT NULL
username VARCHAR NOT NULL
client_address VARCHAR NOT NULL
schemaname VARCHAR NOT NULL
errno INT NOT NULL
count_star INTEGER NOT NULL
first_seen INTEGER NOT NULL
last_seen INTEGER NOT NULL
last_error VARCHAR NOT NULL DEFAULT ''
PRIMARY KEY (hostgroup, hostname, port, username, schemaname, errno)
""",
    "stats_mysql_client_host_cache": """
client_address VARCHAR NOT NULL
error_count INT NOT NULL
last_updated BIGINT NOT NULL
""",
    "stats_mysql_gtid_executed": """
hostname VARCHAR NOT NULL
port INT NOT NULL DEFAULT 3306
gtid_executed VARCHAR
events INT NOT NULL
""",
    "stats_mysql_prepared_statements_info": """
global_stmt_id INT NOT NULL
schemaname VARCHAR NOT NULL
username VARCHAR NOT NULL
digest VARCHAR NOT NULL
ref_count_client INT NOT NULL
ref_count_server INT NOT NULL
num_columns INT NOT NULL
num_params INT NOT NULL
query VARCHAR NOT NULL
""",
    "stats_proxysql_servers_checksums": """
hostname VARCHAR NOT NULL
port INT NOT NULL DEFAULT 6032
name VARCHAR NOT NULL
version INT NOT NULL
epoch INT NOT NULL
checksum VARCHAR NOT NULL
changed_at INT NOT NULL
updated_at INT NOT NULL
diff_check INT NOT NULL
PRIMARY KEY (hostname, port, name)
""",
    "stats_proxysql_servers_metrics": """
hostname VARCHAR NOT NULL
port INT NOT NULL DEFAULT 6032
weight INT CHECK (weight >= 0) NOT NULL DEFAULT 0
comment VARCHAR NOT NULL DEFAULT ''
response_time_ms INT NOT NULL
Uptime_s INT NOT NULL
last_check_ms INT NOT NULL
Queries INT NOT NULL
Client_Connections_connected INT NOT NULL
Client_Connections_created INT NOT NULL
PRIMARY KEY (hostname, port)
""",
    "stats_proxysql_servers_status": """
hostname VARCHAR NOT NULL
port INT NOT NULL DEFAULT 6032
weight INT CHECK (weight >= 0) NOT NULL DEFAULT 0
master VARCHAR NOT NULL
global_version INT NOT NULL
check_age_us INT NOT NULL
ping_time_us INT NOT NULL
checks_OK INT NOT NULL
checks_ERR INT NOT NULL
PRIMARY KEY (hostname, port)
""",
    "stats_proxysql_servers_clients_status": """
uuid VARCHAR NOT NULL
hostname VARCHAR NOT NULL
port INT NOT NULL
admin_mysql_ifaces VARCHAR NOT NULL
last_seen_at INT NOT NULL
PRIMARY KEY (uuid, hostname, port)
""",
    "stats_proxysql_message_metrics": """
message_id VARCHAR NOT NULL
filename VARCHAR NOT NULL
line INT CHECK (line >= 0) NOT NULL DEFAULT 0
func VARCHAR NOT NULL
count_star INTEGER NOT NULL
first_seen INTEGER NOT NULL
last_seen INTEGER NOT NULL
PRIMARY KEY (filename, line, func)
""",
    "stats_tls_certificates": """
cert_type VARCHAR NOT NULL
file_path VARCHAR NOT NULL
subject_cn VARCHAR
issuer_cn VARCHAR
serial_number VARCHAR
not_before VARCHAR
not_after VARCHAR
days_until_expiry INT
sha256_fingerprint VARCHAR
loaded_at INT NOT NULL DEFAULT 0
PRIMARY KEY (cert_type)
""",
    # Ours: why a session keeps its backend connection, since when, and what would free it.
    "stats_hproxy_pins": """
session INT NOT NULL
user VARCHAR NOT NULL
db VARCHAR
hostgroup INT NOT NULL
srv_host VARCHAR
srv_port INT
reason VARCHAR NOT NULL
since VARCHAR NOT NULL
since_s INT NOT NULL
statement VARCHAR NOT NULL
hint VARCHAR NOT NULL
PRIMARY KEY (session, reason)
""",
    # Ours: what the fast lane remembers, and which rules made it so.
    "stats_hproxy_decisions": """
username VARCHAR NOT NULL
schemaname VARCHAR NOT NULL
digest VARCHAR NOT NULL
digest_text VARCHAR NOT NULL
hostgroup INT NOT NULL
reader_hostgroup INT
rule_ids VARCHAR NOT NULL
actions VARCHAR NOT NULL
hits INT NOT NULL
""",
}

_RESET = (
    "stats_mysql_connection_pool",
    "stats_mysql_hostgroup_connection_pool",
    "stats_mysql_query_digest",
    "stats_mysql_errors",
    "stats_mysql_client_host_cache",
    "stats_proxysql_message_metrics",
)

_MADE = {name: table("stats", name, text) for name, text in _TABLES.items()}
STATS_TABLES: dict[str, Table] = _MADE | {
    f"{name}_reset": _MADE[name].renamed(f"{name}_reset") for name in _RESET
}
