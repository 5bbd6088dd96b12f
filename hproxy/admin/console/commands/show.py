# SPDX-License-Identifier: Apache-2.0
"""SHOW, and DESC as an extension.

statement                                   answered from
DATABASES, TABLES, CREATE TABLE, FIELDS     the catalogue, and the session's own tables
VARIABLES, STATUS, USERS, SERVERS           the tables they are about, by SQL
PROCESSLIST                                 stats_mysql_processlist
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hproxy.admin.console.commands import server
from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.failure import refuse
from hproxy.admin.console.layer import CATALOGUE, COLLATIONS, SCHEMAS
from hproxy.admin.console.sql import quoted, unquoted
from hproxy.admin.model import Answer, Rows
from hproxy.config.proxysql.table import Table
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

INFO_CHARACTERS = 100
NAME_VALUE = ("Variable_name", "Value")
FIELDS = ("Field", "Type", "Null", "Key", "Default", "Extra")
STATUS = (
    "Name", "Engine", "Version", "Row_format", "Rows", "Avg_row_length", "Data_length",
    "Max_data_length", "Index_length", "Data_free", "Auto_increment", "Create_time",
    "Update_time", "Check_time", "Collation", "Checksum", "Create_options", "Comment",
)  # fmt: skip


async def databases(session: ConsoleSession, _: Found) -> Answer:
    """SHOW DATABASES: seq, name, file."""
    paths = session.console.paths
    # SQLite's number 1 is for temporary tables.
    numbers = (0, 2, 3, 4, 5)
    rows = [(i, name, paths.get(name, "")) for i, name in zip(numbers, SCHEMAS, strict=True)]
    return Rows([column(name) for name in ("seq", "name", "file")], rows)


async def tables(session: ConsoleSession, found: Found) -> Answer:
    """SHOW TABLES [FROM | IN schema] [LIKE pattern]: one column named `tables`."""
    schema = unquoted(found.group("schema")).lower() or "main"
    if schema not in SCHEMAS:
        raise refuse(f"unknown database {schema}")
    like = f" AND name LIKE {quoted(unquoted(found.group('like')))}" if found.group("like") else ""
    return await session.sql(
        f"SELECT name AS tables FROM {schema}.sqlite_master WHERE type IN ('table', 'view')"
        f" AND name NOT LIKE 'sqlite_%' AND name <> 'hproxy_config_content'{like} ORDER BY name"
    )


async def create_table(session: ConsoleSession, found: Found) -> Answer:
    """SHOW CREATE TABLE [schema.]table."""
    schema, name = _named(found)
    made = _find(schema, name)
    ddl = made.ddl if made is not None else (await _own(session, schema, name))[1]
    return Rows([column("table"), column("Create Table")], [(name, ddl)])


async def fields(session: ConsoleSession, found: Found) -> Answer:
    """SHOW FIELDS | COLUMNS FROM [schema.]table, DESC table."""
    schema, name = _named(found)
    made = _find(schema, name)
    if made is None:
        await _own(session, schema, name)
        return await session.sql(
            "SELECT name AS Field, type AS Type, CASE \"notnull\" WHEN 1 THEN 'NO' ELSE 'YES' END"
            " AS `Null`, CASE pk WHEN 0 THEN '' ELSE 'PRI' END AS `Key`, dflt_value AS `Default`,"
            f" '' AS Extra FROM pragma_table_info({quoted(name)})"
        )
    rows = [
        (
            c.name,
            c.type.lower(),
            "NO" if c.not_null else "YES",
            "PRI" if c.name in made.primary_key else "",
            None if c.initial is None else str(c.initial),
            "auto_increment" if "AUTOINCREMENT" in c.text else "",
        )
        for c in made.columns
    ]
    return Rows([column(name) for name in FIELDS], rows)


async def table_status(session: ConsoleSession, found: Found) -> Answer:
    """SHOW TABLE STATUS [FROM schema] [LIKE pattern]."""
    listed = await tables(session, found)
    assert isinstance(listed, Rows)
    rest = (None,) * (len(STATUS) - 2)
    return Rows([column(name) for name in STATUS], [(n, "SQLite", *rest) for (n,) in listed.rows])


async def variables(session: ConsoleSession, found: Found) -> Answer:
    """SHOW [GLOBAL | ALL | SESSION | MYSQL | ADMIN] VARIABLES [LIKE | WHERE]."""
    prefix = {"MYSQL": "mysql-", "ADMIN": "admin-"}.get(found.group("kind").upper(), "")
    source = (
        "SELECT variable_name AS Variable_name, variable_value AS Value FROM "
        f"{_variables_table(session)} WHERE variable_name LIKE '{prefix}%'"
    )
    if not prefix and (found.group("like") or found.group("where")):
        rows = server.variables(session)
        rows["read_only"] = "ON" if session.console.read_only else "OFF"
        given = ", ".join(f"({quoted(name)}, {quoted(value)})" for name, value in rows.items())
        source += f" UNION ALL SELECT column1, column2 FROM (VALUES {given})"
    return await session.sql(f"SELECT * FROM ({source}){_filter(found)} ORDER BY Variable_name")


def _variables_table(session: ConsoleSession) -> str:
    return "main.global_variables" if session.sees_configuration else f"({EMPTY})"


EMPTY = "SELECT NULL AS variable_name, NULL AS variable_value WHERE 0"


async def status(session: ConsoleSession, found: Found) -> Answer:
    """SHOW [GLOBAL | SESSION | MYSQL] STATUS [LIKE | WHERE]."""
    return await session.sql(
        "SELECT * FROM (SELECT Variable_Name AS Variable_name, Variable_Value AS Value"
        f" FROM stats.stats_mysql_global){_filter(found)} ORDER BY Variable_name"
    )


async def users(session: ConsoleSession, _: Found) -> Answer:
    """SHOW MYSQL USERS."""
    return await session.sql("SELECT * FROM main.mysql_users ORDER BY username")


async def servers(session: ConsoleSession, _: Found) -> Answer:
    """SHOW MYSQL SERVERS."""
    return await session.sql(
        "SELECT * FROM main.mysql_servers ORDER BY hostgroup_id, hostname, port"
    )


async def processes(session: ConsoleSession, found: Found) -> Answer:
    """SHOW [FULL] PROCESSLIST."""
    info = "info" if found.group("full") else f"SUBSTR(info, 1, {INFO_CHARACTERS}) AS info"
    return await session.sql(
        f"SELECT SessionID, user, db, hostgroup, command, time_ms, {info}"
        " FROM stats.stats_mysql_processlist"
    )


async def charsets(_: ConsoleSession, __: Found) -> Answer:
    """SHOW CHARSET."""
    names = [column(name) for name in ("Charset", "Default collation")]
    return Rows(names, sorted((c, name) for _, name, c, default in COLLATIONS if default))


async def collations(_: ConsoleSession, __: Found) -> Answer:
    """SHOW COLLATION."""
    names = ("Collation", "Charset", "Id", "Default", "Compiled", "Sortlen")
    rows = sorted((name, c, i, default, "Yes", 1) for i, name, c, default in COLLATIONS)
    return Rows([column(name) for name in names], rows)


async def metrics(session: ConsoleSession, _: Found) -> Answer:
    """SHOW PROMETHEUS METRICS."""
    return Rows([column("Data")], [(await session.console.prometheus(),)])


async def warnings(session: ConsoleSession, _: Found) -> Answer:
    """SHOW WARNINGS: what the statement before has to say."""
    return Rows([column(name) for name in ("Level", "Code", "Message")], list(session.warnings))


async def engines(_: ConsoleSession, __: Found) -> Answer:
    """SHOW ENGINES, TRIGGERS, ... : asked by tools, and there are none."""
    return Rows([column("Name")], [])


def _named(found: Found) -> tuple[str, str]:
    schema, name = found.group("schema"), found.group("table")
    return unquoted(schema).lower(), unquoted(name)


def _find(schema: str, name: str) -> Table | None:
    for candidate in (schema,) if schema else SCHEMAS:
        made = CATALOGUE.get(candidate, {}).get(name.lower())
        if made is not None:
            return made
    return None


async def _own(session: ConsoleSession, schema: str, name: str) -> tuple[str, str]:
    """A table that the operator has made: its name and SQL. Raises AdminError (1146)."""
    for candidate in (schema,) if schema in SCHEMAS else ("main", "disk"):
        answer = await session.sql(
            f"SELECT name, sql FROM {candidate}.sqlite_master WHERE lower(name) = ?",
            (name.lower(),),
        )
        assert isinstance(answer, Rows)
        for row in answer.rows:
            return str(row[0]), str(row[1])
    raise refuse(f"table '{name}' doesn't exist", 1146, b"42S02")


def _filter(found: Found) -> str:
    if found.group("like"):
        return f" WHERE Variable_name LIKE {quoted(unquoted(found.group('like')))}"
    return f" WHERE ({found.group('where')})" if found.group("where") else ""


_WORD = r"(?:'[^']*'|\"[^\"]*\"|`[^`]*`|\S+)"
_LIKE = r"(?: LIKE (?P<like>'[^']*'|\"[^\"]*\"|\S+))?"
_WHERE = rf"(?:{_LIKE}| WHERE (?P<where>.+))"
_FROM = rf"(?: (?:FROM|IN) (?P<schema>{_WORD}))?"
_TABLE = r"(?:(?P<schema>`?\w+`?)\.)?(?P<table>`[^`]+`|'[^']+'|\"[^\"]+\"|[\w]+)"

COMMANDS = (
    Command("SHOW", r"SHOW (?:DATABASES|SCHEMAS)", databases),
    Command("SHOW", rf"SHOW (?:FULL )?TABLES{_FROM}{_LIKE}", tables),
    Command("SHOW", rf"SHOW TABLE STATUS{_FROM}{_LIKE}", table_status),
    Command("SHOW", rf"SHOW CREATE TABLE {_TABLE}", create_table),
    Command("SHOW", rf"SHOW (?:FULL )?(?:FIELDS|COLUMNS) (?:FROM|IN) {_TABLE}", fields),
    Command("DESC DESCRIBE", rf"DESC(?:RIBE)? {_TABLE}", fields),
    Command(
        "SHOW",
        rf"SHOW (?:(?P<kind>GLOBAL|ALL|SESSION|LOCAL|MYSQL|ADMIN) )?VARIABLES{_WHERE}",
        variables,
    ),
    Command("SHOW", rf"SHOW (?:(?:GLOBAL|SESSION|MYSQL) )?STATUS{_WHERE}", status),
    Command("SHOW", r"SHOW MYSQL USERS", users, changes=True, always=True),
    Command("SHOW", r"SHOW MYSQL SERVERS", servers),
    Command("SHOW", r"SHOW (?P<full>FULL )?PROCESSLIST", processes),
    Command("SHOW", r"SHOW (?:CHARSET|CHARACTER SET)", charsets),
    Command("SHOW", r"SHOW COLLATION", collations),
    Command("SHOW", r"SHOW PROMETHEUS METRICS", metrics),
    Command("SHOW", r"SHOW WARNINGS(?: LIMIT \d+)?", warnings),
    Command("SHOW", r"SHOW (?:STORAGE )?(?:ENGINES|TRIGGERS|PLUGINS|EVENTS)(?: .*)?", engines),
)
