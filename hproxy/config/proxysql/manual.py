# SPDX-License-Identifier: Apache-2.0
"""The registry and the catalogue written out for people: two pages of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hproxy.config.proxysql.binding import variables_of
from hproxy.config.proxysql.catalogue import (
    CONFIG_TABLES,
    DISK_TABLES,
    HISTORY_TABLES,
    MAIN_TABLES,
    MONITOR_TABLES,
    STATS_TABLES,
)
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.table import Table
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.config.schema import Config

__all__ = ["tables_page", "variables_page"]

VARIABLES_HEAD = """\
# Variables

<!-- Generated from hproxy/config/proxysql by `python -m ci.config_docs`. -->

Every variable that ProxySQL documents for MySQL and for its admin server, by the same name. They
are rows of `global_variables`, set on the admin port by `SET mysql-max_connections = 500` (or
`UPDATE global_variables ...`) and then `LOAD MYSQL VARIABLES TO RUNTIME`. The TOML file has them in
`[mysql_variables]` and `[admin_variables]`, `proxysql.cnf` in the groups of the same names, and the
environment as `HPROXY_MYSQL_VARIABLES__MAX_CONNECTIONS`, always without the prefix.

- **acts**: a new value has its effect when it is loaded, without a restart, sessions stay.
- **ignored**: it is accepted and kept, so that files and tools that set it work; nothing follows,
  for the reason given.
- A variable with an **option** is that option of the [configuration](config.md): they cannot
  differ, and hproxy's default holds, which may not be ProxySQL's. ProxySQL's is told then.
- Any other name is refused with what may have been meant. So is a value out of range, when it is
  written; `admin-strict = false` is ProxySQL's way: it is taken, and set back when it is loaded.
"""

TABLES_HEAD = """\
# Tables of the admin port

<!-- Generated from hproxy/config/proxysql by `python -m ci.config_docs`. -->

Five databases, as in ProxySQL; a name without one is looked for in this order. `SHOW CREATE TABLE`
gives a table's columns with their ranges; what those of the configuration mean stands in
[configuration](config.md), for a file may hold the same rows.

| database | holds |
|---|---|
| `main` | the configuration as it is edited; `runtime_` twins show the one that acts |
| `disk` | the saved configuration, in one SQLite file (`admin.store`) |
| `stats` | counters of the running proxy, read when a statement asks |
| `monitor` | logs of probes, as long as `mysql-monitor_history` says |
| `stats_history` | samples over time |

`LOAD ... TO RUNTIME` lets rows of `main` act, `SAVE ... TO DISK` keeps them. A table whose name
ends with `_reset` sets the counters to zero once it was read.

The saved configuration is written in one transaction: whoever is killed at any moment leaves the
old one or the new one, and a full disk leaves the old one. A file that is damaged, or written by a
newer version, is refused at the start and not touched: put back a copy of it, or start with
`--initial`, which moves it away and begins with the configuration file again. It holds passwords,
so only its owner may read it.

"""

# What a table is for; those of the configuration say it in `config.md`.
PURPOSES: dict[str, str] = {
    "mysql_servers": "backends, as members of hostgroups",
    "mysql_servers_ssl_params": "TLS towards single servers",
    "mysql_users": "accounts",
    "mysql_query_rules": "what happens to which statements",
    "mysql_query_rules_fast_routing": "hostgroups by user and schema",
    "mysql_replication_hostgroups": "writers and their readers, told by read_only",
    "mysql_group_replication_hostgroups": "groups of Group Replication",
    "mysql_galera_hostgroups": "Galera clusters",
    "mysql_aws_aurora_hostgroups": "kept, not monitored",
    "mysql_hostgroup_attributes": "what holds for one hostgroup alone",
    "mysql_firewall_whitelist_users": "what the firewall does for whom",
    "mysql_firewall_whitelist_rules": "statements that may pass",
    "mysql_firewall_whitelist_sqli_fingerprints": "kept; injections are not guessed at",
    "global_variables": "[variables](variables.md)",
    "proxysql_servers": "peers",
    "scheduler": "programs run again and again",
    "restapi_routes": "programs that answer HTTP requests",
    "mysql_collations": "collations and their numbers",
    "runtime_checksums_values": "checksum, version and time of each module that acts",
    "hproxy_config_history": "every change: who, when, by which statement, what differs",
    "global_settings": "settings of the file itself",
    "stats_mysql_global": "counters of the whole proxy",
    "stats_memory_metrics": "memory by use",
    "stats_mysql_connection_pool": "connections and traffic of each backend",
    "stats_mysql_hostgroup_connection_pool": "waits for a connection, by hostgroup",
    "stats_mysql_free_connections": "idle connections and their state",
    "stats_mysql_processlist": "sessions and what they run",
    "stats_mysql_query_digest": "statements by digest: how often, how long, how many rows",
    "stats_mysql_query_events": "empty: single statements are kept in files only",
    "stats_mysql_commands_counters": "statements by kind, with how long they took",
    "stats_mysql_query_rules": "how often each rule matched",
    "stats_mysql_users": "clients logged in by user, and how many may be",
    "stats_mysql_errors": "errors of backends",
    "stats_mysql_client_host_cache": "failed logins by address",
    "stats_mysql_gtid_executed": "empty: GTIDs are not collected from binary logs",
    "stats_mysql_prepared_statements_info": "prepared statements that are remembered",
    "stats_proxysql_servers_checksums": "checksums of peers",
    "stats_proxysql_servers_metrics": "counters of peers, and when they were heard of",
    "stats_proxysql_servers_status": "state of peers",
    "stats_proxysql_servers_clients_status": "peers that read from this proxy",
    "stats_proxysql_message_metrics": "lines of the log by kind",
    "stats_tls_certificates": "certificates in use and when they end",
    "stats_hproxy_pins": "why a session keeps its connection, since when, and what would free it",
    "stats_hproxy_decisions": "decisions the fast lane remembers, with the rules that made them",
    "mysql_server_connect_log": "connect probes",
    "mysql_server_ping_log": "pings",
    "mysql_server_read_only_log": "looks at read_only",
    "mysql_server_replication_lag_log": "looks at the replication lag",
    "mysql_server_group_replication_log": "looks at members of groups",
    "mysql_server_galera_log": "looks at Galera nodes",
    "mysql_server_aws_aurora_log": "empty",
    "mysql_server_aws_aurora_check_status": "empty",
    "mysql_server_aws_aurora_failovers": "empty",
    "mysql_connections": "connections and statements",
    "myhgm_connections": "connections given out and taken back",
    "mysql_query_cache": "the cache of results",
    "system_cpu": "processor time, in clock ticks",
    "system_memory": "memory, in bytes",
    "history_mysql_query_digest": "copies of stats_mysql_query_digest",
    "history_mysql_query_events": "empty, as stats_mysql_query_events is",
    "history_stats_mysql_connection_pool": "copies of stats_mysql_connection_pool",
    "history_mysql_status_variables": "copies of stats_mysql_global, by number",
    "history_mysql_status_variables_lookup": "names of those numbers",
}
SPANS = ("_hour", "_day")


def variables_page() -> str:
    """docs/operations/variables.md."""
    effective = variables_of(Config.model_validate({}, context={"live": True}))
    parts = [VARIABLES_HEAD]
    for prefix in ("mysql-", "admin-"):
        mine = [variable for name, variable in VARIABLES.items() if name.startswith(prefix)]
        acting = [variable for variable in mine if variable.acts != "ignored"]
        ignored = [variable for variable in mine if variable.acts == "ignored"]
        parts.append(f"## {prefix}*, those that act\n")
        parts.append(_lines("variable | values | default | meaning", _acting(acting, effective)))
        parts.append(f"## {prefix}*, accepted and ignored\n")
        parts.append(_lines("variable | default | why", _ignored(ignored)))
    return "\n".join(parts)


def _acting(variables: Iterable[Variable], effective: dict[str, str]) -> Iterator[str]:
    for variable in variables:
        default = effective[variable.name]
        meaning = variable.doc
        if variable.acts == "restart":
            meaning += f" Acts after a restart: {variable.why}."
        if variable.option:
            meaning += f" Option `{variable.option}`."
        if variable.default != default:
            meaning += f" ProxySQL's default is {_shown(variable.default)}."
        yield f"`{variable.name}` | {_values(variable)} | {_shown(default)} | {meaning}"


def _ignored(variables: Iterable[Variable]) -> Iterator[str]:
    for variable in variables:
        yield f"`{variable.name}` | {_shown(variable.default)} | {variable.why}"


def _values(variable: Variable) -> str:
    if variable.kind == "int":
        return f"{variable.low} to {variable.high}"
    if variable.kind == "choice":
        return ", ".join(variable.choices)
    return "true, false" if variable.kind == "bool" else variable.form or "text"


def _shown(value: str) -> str:
    return f"`{value}`" if value else "empty"


def tables_page() -> str:
    """docs/operations/tables.md."""
    module_of = {name: module for module in MODULES.values() for name in module.tables}
    parts = [TABLES_HEAD + "## main and disk: the configuration\n"]
    rows = (
        f"`{name}` | {_spelling(name, module_of[name].spelling)} | {PURPOSES[name]}"
        for name in CONFIG_TABLES
    )
    parts.append(_lines("table | module of LOAD and SAVE | what", rows))
    for title, tables in (
        ("main: others, read only", MAIN_TABLES),
        ("disk: others", DISK_TABLES),
        ("stats", STATS_TABLES),
        ("monitor", MONITOR_TABLES),
        ("stats_history", HISTORY_TABLES),
    ):
        parts.append(f"## {title}\n")
        parts.append(_lines("table | what | columns", _described(tables)))
    return "\n".join(parts)


def _spelling(name: str, spelling: str) -> str:
    return "MYSQL VARIABLES, ADMIN VARIABLES" if name == "global_variables" else spelling


def _described(tables: dict[str, Table]) -> Iterator[str]:
    for name, table in tables.items():
        if name.endswith(("_reset", *SPANS)):
            continue
        shown = f"`{name}`"
        if f"{name}_reset" in tables:
            shown += ", `_reset`"
        if f"{name}_day" in tables:
            shown += ", `_hour`, `_day`"
        yield f"{shown} | {PURPOSES[name]} | {', '.join(table.names)}"


def _lines(head: str, rows: Iterable[str]) -> str:
    line = "|".join(["", *("---" for _ in head.split(" | ")), ""])
    return "\n".join((f"| {head} |", line, *(f"| {row} |" for row in rows), ""))
