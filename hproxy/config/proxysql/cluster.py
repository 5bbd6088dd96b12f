# SPDX-License-Identifier: Apache-2.0
"""What peers of a cluster have in common: modules, rows, and how one asks the other for them; pure.

    runtime_checksums_values       module               tables
    mysql_servers_v2         ───>  mysql_servers  ───>  PULLS: one statement for each
    rows that act ── shared() ──>  as peers see them: what a node has for itself is left out

ProxySQL tells these statements by their whole text, and so do we: peers get the rows that were
loaded, passwords included, and not what runtime_* tables show of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.module import MODULES

__all__ = ["OWN_VARIABLES", "PULLS", "SYNCED", "Pull", "shared"]

Row = Mapping[str, Any]

# The name whose checksum is compared -> the module that is pulled.
SYNCED = {
    "mysql_query_rules": "mysql_query_rules",
    "mysql_servers_v2": "mysql_servers",
    "mysql_users": "mysql_users",
    "proxysql_servers": "proxysql_servers",
    "mysql_variables": "mysql_variables",
    "admin_variables": "admin_variables",
}
# Each node has its own: peers do not copy these.
OWN_VARIABLES = frozenset(
    {
        "admin-mysql_ifaces", "admin-restapi_port", "admin-telnet_admin_ifaces",
        "admin-telnet_stats_ifaces", "admin-web_port", "admin-version",
        "mysql-interfaces", "mysql-server_version", "mysql-threads",
    }
)  # fmt: skip
# Only rows that act are running, so that nobody asks for the column.
ONLY_ACTIVE = ("mysql_users", "mysql_query_rules")


class Pull(NamedTuple):
    """One statement, and the table and columns it is about."""

    statement: str
    table: str
    columns: tuple[str, ...]


def _pull(table: str, prefix: str) -> Pull:
    made = CONFIG_TABLES[table]
    names = tuple(name for name in made.names if name != "active" or table not in ONLY_ACTIVE)
    source, rest = f"runtime_{table}", f" ORDER BY {', '.join(made.order_by)}"
    if table == "mysql_servers":
        source = "mysql_servers_v2"
        rest = " WHERE status<>'OFFLINE_HARD' ORDER BY hostgroup_id, hostname, port"
    elif table == "mysql_users":
        rest = ""
    elif prefix:
        rest = f" WHERE variable_name LIKE '{prefix}%'{rest}"
    return Pull(f"PROXY_SELECT {', '.join(names)} FROM {source}{rest}", table, names)


PULLS: dict[str, tuple[Pull, ...]] = {
    name: tuple(_pull(table, MODULES[name].prefix) for table in MODULES[name].tables)
    for name in SYNCED.values()
}


def shared(table: str, rows: Iterable[Row]) -> list[Row]:
    """Rows that act as peers see them: SHUNNED is a matter of the moment, OFFLINE_HARD is gone."""
    if table == "global_variables":
        return [row for row in rows if row["variable_name"] not in OWN_VARIABLES]
    if table in ONLY_ACTIVE:
        return [row for row in rows if row["active"]]
    if table == "mysql_servers":
        kept = [row for row in rows if str(row["status"]).upper() != "OFFLINE_HARD"]
        return [
            {**row, "status": "ONLINE"} if str(row["status"]).upper() == "SHUNNED" else row
            for row in kept
        ]
    return list(rows)
