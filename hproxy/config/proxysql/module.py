# SPDX-License-Identifier: Apache-2.0
"""What LOAD and SAVE move in one go: a module and the tables it carries.

    LOAD MYSQL SERVERS TO RUNTIME   ->  MODULES["mysql_servers"].tables

Variables share the table global_variables; the prefix says whose a row is.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODULES", "Module", "module_of"]


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its name, how commands spell it, its tables, the prefix of its variables."""

    name: str
    spelling: str  # "MYSQL SERVERS"
    tables: tuple[str, ...]
    prefix: str = ""  # "mysql-" or "admin-" for variables


MODULES: dict[str, Module] = {
    module.name: module
    for module in (
        Module(
            "mysql_servers",
            "MYSQL SERVERS",
            (
                "mysql_servers",
                "mysql_replication_hostgroups",
                "mysql_group_replication_hostgroups",
                "mysql_galera_hostgroups",
                "mysql_aws_aurora_hostgroups",
                "mysql_hostgroup_attributes",
                "mysql_servers_ssl_params",
            ),
        ),
        Module("mysql_users", "MYSQL USERS", ("mysql_users",)),
        Module(
            "mysql_query_rules",
            "MYSQL QUERY RULES",
            ("mysql_query_rules", "mysql_query_rules_fast_routing"),
        ),
        Module("mysql_variables", "MYSQL VARIABLES", ("global_variables",), "mysql-"),
        Module(
            "mysql_firewall",
            "MYSQL FIREWALL",
            (
                "mysql_firewall_whitelist_users",
                "mysql_firewall_whitelist_rules",
                "mysql_firewall_whitelist_sqli_fingerprints",
            ),
        ),
        Module("admin_variables", "ADMIN VARIABLES", ("global_variables",), "admin-"),
        Module("proxysql_servers", "PROXYSQL SERVERS", ("proxysql_servers",)),
        Module("scheduler", "SCHEDULER", ("scheduler",)),
        Module("restapi", "RESTAPI", ("restapi_routes",)),
    )
}


def module_of(table: str, variable: str = "") -> Module:
    """The module a configuration table belongs to; for global_variables that of the variable.

    Raises KeyError."""
    for module in MODULES.values():
        if table in module.tables and variable.startswith(module.prefix):
            return module
    raise KeyError(table)
