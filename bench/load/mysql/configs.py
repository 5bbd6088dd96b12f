# SPDX-License-Identifier: Apache-2.0
"""The configuration files of the proxies that are measured; `targets` fills them in.

All say the same: one thread, as many clients as descriptors allow, no log of connections. Those
that multiplex have the same accounts, the same pools and the same rule: the database is writer
(hostgroup 0) and reader (hostgroup 1) at once, reads outside transactions go to the reader.
"""

HAPROXY_CONFIG = """
global
    nbthread 1
    maxconn {pairs}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{port} maxconn {pairs}
    server database {host}:{database_port}
"""

# Clients log in to the backend, one connection each.
HPROXY_SESSION_CONFIG = """
[server]
max_connections = {pairs}
worker_threads = 1
[logging]
level = "error"
[admin]
address = ""
[proxy]
mode = "mysql"
[[mysql_servers]]
hostname = "{host}"
port = {database_port}
max_connections = {pairs}
"""

# Every opened connection is kept: how often pools shrink is not what is measured.
HPROXY_CONFIG = """
[server]
max_connections = {pairs}
worker_threads = 1
[logging]
level = "error"
[admin]
address = ""
[proxy]
mode = "mysql"
auth = "table"
session_mode = "multiplex"
default_auth_plugin = "{auth_plugin}"
free_connections_pct = 100
[[mysql_servers]]
hostgroup_id = 0
hostname = "{host}"
port = {database_port}
max_connections = {pool}
[[mysql_servers]]
hostgroup_id = 1
hostname = "{host}"
port = {database_port}
max_connections = {pool}
[[mysql_replication_hostgroups]]
writer_hostgroup = 0
reader_hostgroup = 1
[[mysql_users]]
username = "{user}"
password = "{password}"
default_hostgroup = 0
max_connections = {pairs}
"""


def hproxy_rules(count: int) -> str:
    """Rules as tables of the file: others' statements, and in the end all reads to the reader."""
    rules = [
        f"""
[[mysql_query_rules]]
rule_id = {number}
active = 1
match_digest = "^SELECT .* FROM orders_{number} WHERE"
destination_hostgroup = 0
apply = 1
"""
        for number in range(1, count)
    ]
    rules.append(
        f"""
[[mysql_query_rules]]
rule_id = {count}
active = 1
match_digest = "^SELECT"
destination_hostgroup = 1
apply = 1
"""
    )
    return "".join(rules)


MYSQLROUTER_CONFIG = """
[DEFAULT]
logging_folder={folder}
runtime_folder={folder}
data_folder={folder}
plugin_folder={plugins}
max_total_connections={pairs}
[logger]
level=WARNING
[io]
threads=1
[routing:bench]
bind_address=127.0.0.1
bind_port={port}
destinations={host}:{database_port}
routing_strategy=first-available
protocol=classic
client_ssl_mode=DISABLED
server_ssl_mode=DISABLED
"""

# ProxySQL tells readers from writers by its monitor, which is off here; rules do the split, as
# its users write it. Its defaults hold otherwise, digests and command counters included.
PROXYSQL_CONFIG = """
datadir="{folder}/proxysql"
errorlog="{folder}/proxysql/errors.log"
admin_variables =
{{
    admin_credentials="admin:admin"
    mysql_ifaces="127.0.0.1:{admin_port}"
}}
mysql_variables =
{{
    threads=1
    interfaces="127.0.0.1:{port}"
    max_connections={pairs}
    free_connections_pct=100
    monitor_enabled=false
    default_authentication_plugin="{auth_plugin}"
}}
pgsql_variables =
{{
    interfaces="127.0.0.1:{pgsql_port}"
    monitor_enabled=false
}}
mysql_servers =
(
    {{ address="{host}", port={database_port}, hostgroup=0, max_connections={pool} }},
    {{ address="{host}", port={database_port}, hostgroup=1, max_connections={pool} }}
)
mysql_users =
(
    {{ username="{user}", password="{password}", default_hostgroup=0, max_connections={pairs},
      active=1 }}
)
mysql_query_rules =
(
    {{ rule_id=1, active=1, match_digest="^SELECT.*FOR UPDATE", destination_hostgroup=0, apply=1 }},
    {{ rule_id=2, active=1, match_digest="^SELECT", destination_hostgroup=1, apply=1 }}
)
"""
