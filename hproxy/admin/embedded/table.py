# SPDX-License-Identifier: Apache-2.0
"""Tables of a SQLite database as MySQL describes them: columns, types, information_schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from hproxy.admin.model import Column, Value
from hproxy.errors import AdminError
from hproxy.protocols.mysql.results import column

__all__ = ["HIDDEN", "TableColumn", "columns_of", "definition", "no_table", "result_columns",
           "schema_views"]  # fmt: skip

# Prefix of the views that stand for information_schema; the dialect renames its tables so.
HIDDEN = "information_schema_"


class TableColumn(NamedTuple):
    """One column of a table; `key` is its place in the primary key, 0 outside of it."""

    name: str
    type: str
    needed: bool
    default: str | None
    key: int


def no_table(schema: str, table: str) -> AdminError:
    """What a server says of a table that is not there."""
    return AdminError(f"Table '{schema}.{table}' doesn't exist", number=1146, sqlstate=b"42S02")


def columns_of(connection: sqlite3.Connection, table: str, schema: str) -> list[TableColumn]:
    """The columns of `table`. Raises AdminError (1146)."""
    rows = connection.execute(
        'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (table,)
    )
    found = [
        TableColumn(name, kind.lower() or "text", bool(needed or key), default, key)
        for name, kind, needed, default, key in rows
    ]
    if not found:
        raise no_table(schema, table)
    return found


def definition(found: TableColumn, table: str) -> Column:
    """The column as a result set would define it."""
    declared = found.type
    if "int" in declared:
        return column(found.name, int, table)
    if any(word in declared for word in ("real", "float", "double")):
        return column(found.name, float, table)
    if "blob" in declared or "binary" in declared:
        return column(found.name, bytes, table)
    return column(found.name, str, table)


def result_columns(names: Sequence[str], rows: Sequence[Sequence[Value]]) -> list[Column]:
    """Columns that suit every value below them; a mixture is text, or bytes if some are."""
    columns = []
    for i, name in enumerate(names):
        kinds = {type(row[i]) for row in rows} - {type(None)}
        if kinds == {int}:
            columns.append(column(name, int))
        elif kinds and kinds <= {int, float}:
            columns.append(column(name, float))
        else:
            columns.append(column(name, bytes if bytes in kinds else str))
    return columns


def schema_views(schema: str) -> list[str]:
    """CREATE VIEW for the parts of information_schema that clients ask for."""
    tables = f"""
        SELECT 'def' AS TABLE_CATALOG, '{schema}' AS TABLE_SCHEMA, name AS TABLE_NAME,
            CASE type WHEN 'view' THEN 'VIEW' ELSE 'BASE TABLE' END AS TABLE_TYPE,
            'SQLite' AS ENGINE, NULL AS TABLE_ROWS, NULL AS AUTO_INCREMENT,
            'utf8mb4_general_ci' AS TABLE_COLLATION, '' AS TABLE_COMMENT
        FROM sqlite_schema
        WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
            AND name NOT LIKE '{HIDDEN.replace("_", chr(92) + "_")}%' ESCAPE '\\'"""
    columns = f"""
        SELECT t.TABLE_CATALOG, t.TABLE_SCHEMA, t.TABLE_NAME, c.name AS COLUMN_NAME,
            c.cid + 1 AS ORDINAL_POSITION, c.dflt_value AS COLUMN_DEFAULT,
            CASE WHEN c."notnull" OR c.pk THEN 'NO' ELSE 'YES' END AS IS_NULLABLE,
            lower(c.type) AS DATA_TYPE, lower(c.type) AS COLUMN_TYPE,
            CASE WHEN c.pk THEN 'PRI' ELSE '' END AS COLUMN_KEY, '' AS EXTRA,
            '' AS COLUMN_COMMENT, '' AS GENERATION_EXPRESSION
        FROM {HIDDEN}tables AS t JOIN pragma_table_info(t.TABLE_NAME) AS c"""
    schemata = f"""
        SELECT 'def' AS CATALOG_NAME, column1 AS SCHEMA_NAME,
            'utf8mb4' AS DEFAULT_CHARACTER_SET_NAME,
            'utf8mb4_general_ci' AS DEFAULT_COLLATION_NAME
        FROM (VALUES ('information_schema'), ('{schema}'))"""
    # Empty, but asked for by mysqldump: tablespaces first of all.
    empty = {
        "files": "FILE_NAME FILE_TYPE TABLESPACE_NAME LOGFILE_GROUP_NAME ENGINE TOTAL_EXTENTS "
        "EXTENT_SIZE INITIAL_SIZE EXTRA",
        "triggers": "TRIGGER_SCHEMA TRIGGER_NAME EVENT_OBJECT_SCHEMA EVENT_OBJECT_TABLE",
        "routines": "ROUTINE_SCHEMA ROUTINE_NAME ROUTINE_TYPE",
        "key_column_usage": "CONSTRAINT_NAME TABLE_SCHEMA TABLE_NAME COLUMN_NAME "
        "REFERENCED_TABLE_NAME REFERENCED_COLUMN_NAME",
    }
    views = {"tables": tables, "columns": columns, "schemata": schemata}
    for name, columns_of_it in empty.items():
        nulls = ", ".join(f"NULL AS {column}" for column in columns_of_it.split())
        views[name] = f"SELECT {nulls} WHERE 0"
    return [f"CREATE VIEW {HIDDEN}{name} AS {query}" for name, query in views.items()]
