# SPDX-License-Identifier: Apache-2.0
"""SELECT GLOBAL_CHECKSUM() and CHECKSUM [DISK | MEMORY | MEM] <table>."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from hproxy.admin.console import layer
from hproxy.admin.console.checksum import checksum
from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.model import Answer, Rows
from hproxy.config.proxysql.module import Module
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

# As the command spells it -> table, prefix of the rows.
TABLES = {
    "MYSQL SERVERS": ("mysql_servers", ""),
    "MYSQL USERS": ("mysql_users", ""),
    "MYSQL QUERY RULES": ("mysql_query_rules", ""),
    "MYSQL VARIABLES": ("global_variables", "mysql-"),
    "MYSQL REPLICATION HOSTGROUPS": ("mysql_replication_hostgroups", ""),
    "MYSQL GROUP REPLICATION HOSTGROUPS": ("mysql_group_replication_hostgroups", ""),
    "MYSQL GALERA HOSTGROUPS": ("mysql_galera_hostgroups", ""),
    "MYSQL AURORA HOSTGROUPS": ("mysql_aws_aurora_hostgroups", ""),
    "MYSQL HOSTGROUP ATTRIBUTES": ("mysql_hostgroup_attributes", ""),
    "MYSQL SERVERS SSL PARAMS": ("mysql_servers_ssl_params", ""),
}


async def overall(session: ConsoleSession, _: Found) -> Answer:
    """SELECT GLOBAL_CHECKSUM(): one number for everything that runs."""
    return Rows([column("CHECKSUM")], [(session.console.checksums.overall,)])


async def of_table(session: ConsoleSession, found: Found) -> Answer:
    """CHECKSUM of a table of the memory layer, or of what is saved."""
    table, prefix = TABLES[found.group("table").upper()]
    schema = "disk" if found.group("place").upper() == "DISK" else "main"
    value = await session.own(_checksum, schema, Module(table, "", (table,), prefix))
    return Rows([column("table"), column("checksum")], [(table, value)])


def _checksum(connection: apsw.Connection, schema: str, module: Module) -> str:
    return checksum(layer.read(connection, schema, module))


COMMANDS = (
    Command("SELECT", r"SELECT GLOBAL_CHECKSUM ?\( ?\)", overall),
    Command(
        "CHECKSUM",
        rf"CHECKSUM (?:(?P<place>DISK|MEMORY|MEM) )?(?P<table>{'|'.join(TABLES)})",
        of_table,
        changes=True,
        always=True,
    ),
)
