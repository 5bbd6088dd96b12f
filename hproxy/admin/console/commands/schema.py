# SPDX-License-Identifier: Apache-2.0
"""information_schema, as far as dumps ask for it: one table's kind, one table's columns.

SELECT engine, ... FROM information_schema.tables  WHERE table_schema = DATABASE() AND
SELECT column_name FROM information_schema.columns   table_name = 'mysql_servers'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.layer import CATALOGUE
from hproxy.admin.model import Answer, Rows
from hproxy.config.proxysql.table import Table
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]


async def facts(session: ConsoleSession, found: Found) -> Answer:
    """Of one table of the session's main database; a name that is not known here is NULL."""
    known = CATALOGUE["main" if session.sees_configuration else "stats"]
    table = known.get(found.group("name"))
    asked = found.group("names").replace(" ", "").split(",")
    of = _columns if found.group("what").lower() == "columns" else _table
    rows = [] if table is None else of(table)
    return Rows(
        [column(name) for name in asked],
        [tuple(row.get(name.lower()) for name in asked) for row in rows],
    )


def _table(table: Table) -> list[dict[str, str]]:
    return [{"table_name": table.name, "engine": "SQLite", "table_type": "BASE TABLE"}]


def _columns(table: Table) -> list[dict[str, str]]:
    return [
        {
            "column_name": made.name,
            "data_type": made.type.lower(),
            "is_nullable": "NO" if made.not_null else "YES",
            "column_key": "PRI" if made.name in table.primary_key else "",
            "extra": "",
            "generation_expression": "",
        }
        for made in table.columns
    ]


COMMANDS = (
    Command(
        "SELECT",
        r"SELECT (?P<names>\w+(?: ?, ?\w+)*) FROM information_schema\.(?P<what>tables|columns)"
        r" WHERE table_schema ?= ?DATABASE\(\) AND table_name ?= ?'(?P<name>\w+)'"
        r"(?: ORDER BY ordinal_position)?",
        facts,
    ),
)
