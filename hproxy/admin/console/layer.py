# SPDX-License-Identifier: Apache-2.0
"""The databases behind every session, and rows moved between them.

    schema          where                                       holds
    main            memory, shared by all sessions              the memory layer; runtime_* virtual
    disk            the store's file                            what is saved
    stats, monitor  memory, virtual tables only                 what is read from the proxy
    stats_history   a file, or memory without one               samples over time

Functions take a connection that has all of them attached; one that writes does so as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import apsw

from hproxy.config.proxysql.catalogue import (
    CONFIG_TABLES,
    DISK_TABLES,
    HISTORY_TABLES,
    MAIN_TABLES,
    MONITOR_TABLES,
    RUNTIME_TABLES,
    STATS_TABLES,
)
from hproxy.config.proxysql.module import Module
from hproxy.config.proxysql.rows import place_of
from hproxy.config.proxysql.table import Table

__all__ = [
    "CATALOGUE", "COLLATIONS", "SCHEMAS", "Row", "Tables", "copy", "create", "damage", "merge",
    "places", "read", "replace", "restore",
]  # fmt: skip

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

SCHEMAS = ("main", "disk", "stats", "monitor", "stats_history")
MODULE = "hproxy"
STORED = {"main": CONFIG_TABLES, "disk": CONFIG_TABLES | DISK_TABLES,
          "stats_history": HISTORY_TABLES}  # fmt: skip
VIRTUAL = {
    "main": RUNTIME_TABLES | {n: t for n, t in MAIN_TABLES.items() if n != "mysql_collations"},
    "stats": STATS_TABLES,
    "monitor": MONITOR_TABLES,
}
# What each schema has, in the order SHOW TABLES would sort it.
CATALOGUE: dict[str, dict[str, Table]] = {
    schema: STORED.get(schema, {}) | VIRTUAL.get(schema, {}) for schema in SCHEMAS
}
CATALOGUE["main"]["mysql_collations"] = MAIN_TABLES["mysql_collations"]

COLLATIONS = (
    (5, "latin1_german1_ci", "latin1", ""),
    (8, "latin1_swedish_ci", "latin1", "Yes"),
    (11, "ascii_general_ci", "ascii", "Yes"),
    (33, "utf8_general_ci", "utf8", "Yes"),
    (45, "utf8mb4_general_ci", "utf8mb4", "Yes"),
    (46, "utf8mb4_bin", "utf8mb4", ""),
    (47, "latin1_bin", "latin1", ""),
    (63, "binary", "binary", "Yes"),
    (65, "ascii_bin", "ascii", ""),
    (83, "utf8_bin", "utf8", ""),
    (192, "utf8_unicode_ci", "utf8", ""),
    (224, "utf8mb4_unicode_ci", "utf8mb4", ""),
    (246, "utf8mb4_unicode_520_ci", "utf8mb4", ""),
    (255, "utf8mb4_0900_ai_ci", "utf8mb4", ""),
)


def places(disk: Path, history: Path | None = None) -> dict[str, str]:
    """Where each schema lives, as URIs; those in memory belong to this call alone."""
    name = uuid4().hex
    found = {schema: f"file:/hproxy-{name}-{schema}?vfs=memdb" for schema in SCHEMAS}
    for schema, path in (("disk", disk), ("stats_history", history)):
        if path is not None:
            # Named, or ATTACH would take that of the main database: memory.
            found[schema] = f"file:{quote(str(path))}?vfs={apsw.vfs_names()[0]}"
    return found


def damage(path: Path) -> apsw.Error | None:
    """Why the file is no database; None for one that is, or is not there yet."""
    if not path.exists():
        return None
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        finally:
            connection.close()
    except apsw.Error as error:
        return error
    return None


def create(connection: apsw.Connection) -> None:
    """Make every table that is not there."""
    # What is read first and written then is refused, and not waited for, when somebody else has
    # written in between: samples begin at the same moment.
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        for schema, tables in STORED.items():
            for table in tables.values():
                connection.execute(_ddl(table, schema))
        connection.execute(_ddl(MAIN_TABLES["mysql_collations"], "main"))
        connection.executemany("INSERT INTO main.mysql_collations VALUES (?,?,?,?)", COLLATIONS)
        for schema, tables in VIRTUAL.items():
            for name in tables:
                connection.execute(f"CREATE VIRTUAL TABLE {schema}.{name} USING {MODULE}")
    connection.execute("COMMIT")


def _ddl(table: Table, schema: str) -> str:
    start = f"CREATE TABLE {table.name}"
    return table.ddl.replace(start, f"CREATE TABLE IF NOT EXISTS {schema}.{table.name}", 1)


def read(connection: apsw.Connection, schema: str, module: Module) -> dict[str, list[Row]]:
    """The rows of a module in one layer, ordered by key."""
    found: dict[str, list[Row]] = {}
    for name in module.tables:
        table = CONFIG_TABLES[name]
        order = ", ".join(f"`{column}`" for column in table.order_by)
        rows = connection.execute(
            f"SELECT {_columns(table)} FROM {schema}.{name}{_only(module)} ORDER BY {order}"
        )
        found[name] = [dict(zip(table.names, row, strict=True)) for row in rows]
    return found


def copy(connection: apsw.Connection, source: str, target: str, module: Module) -> int:
    """The module's rows of one layer instead of those of another; how many there were."""
    before = connection.total_changes()
    with connection:
        for name in module.tables:
            columns = _columns(CONFIG_TABLES[name])
            connection.execute(f"DELETE FROM {target}.{name}{_only(module)}")
            before = connection.total_changes() if name == module.tables[0] else before
            connection.execute(
                f"INSERT INTO {target}.{name} ({columns}) "
                f"SELECT {columns} FROM {source}.{name}{_only(module)}"
            )
    return connection.total_changes() - before


def replace(connection: apsw.Connection, schema: str, module: Module, tables: Tables) -> int:
    """These rows instead of the module's; how many there are."""
    with connection:
        for name in module.tables:
            connection.execute(f"DELETE FROM {schema}.{name}{_only(module)}")
        merge(connection, schema, module, tables)
    return sum(len(tables.get(name, ())) for name in module.tables)


def merge(connection: apsw.Connection, schema: str, module: Module, tables: Tables) -> int:
    """These rows beside those that are there, instead of those with their keys; how many."""
    count = 0
    with connection:
        for name in module.tables:
            rows = tables.get(name, ())
            for columns, values in _grouped(rows):
                names = ", ".join(f"`{column}`" for column in columns)
                marks = ", ".join("?" * len(columns))
                connection.executemany(
                    f"REPLACE INTO {schema}.{name} ({names}) VALUES ({marks})", values
                )
            count += len(rows)
    return count


def restore(connection: apsw.Connection, module: Module, tables: Tables) -> list[str]:
    """These rows instead of the module's in memory; which of them it would not take, and why.

    Another version wrote them: its tables may have had other checks."""
    try:
        replace(connection, "main", module, tables)
    except apsw.Error:
        return list(_each(connection, module, tables))
    return []


def _each(connection: apsw.Connection, module: Module, tables: Tables) -> Iterator[str]:
    replace(connection, "main", module, {})
    for name, rows in tables.items():
        for row in rows:
            try:
                merge(connection, "main", module, {name: [row]})
            except apsw.Error as error:
                yield f"memory: {place_of(name, row)}: {error}: left out"


def _grouped(rows: Iterable[Row]) -> Iterable[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
    """Rows that name the same columns together: the others take their defaults."""
    found: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(tuple(row), []).append(tuple(row.values()))
    return found.items()


def _columns(table: Table) -> str:
    return ", ".join(f"`{name}`" for name in table.names)


def _only(module: Module) -> str:
    return f" WHERE variable_name LIKE '{module.prefix}%'" if module.prefix else ""
