# SPDX-License-Identifier: Apache-2.0
"""SHOW and DESCRIBE over SQLite's catalogue, in the columns of a MySQL server."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from hproxy.admin.embedded.table import HIDDEN, columns_of, no_table
from hproxy.admin.embedded.variables import COLLATION, Variables
from hproxy.admin.lexer import Kind, Statement, Token, syntax_error
from hproxy.admin.model import Rows, Value
from hproxy.protocols.mysql.results import column

__all__ = ["Catalogue"]

NOISE = frozenset({"FULL", "GLOBAL", "SESSION", "LOCAL", "EXTENDED"})
KINDS = {"table": "BASE TABLE", "view": "VIEW"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A SHOW taken apart: SHOW [FULL] topic [FROM name] [LIKE pattern | WHERE column = value]."""

    topic: str
    full: bool
    rest: Sequence[Token]  # after the topic's first word

    def after(self, *words: str) -> str:
        """The name or string that follows one of `words`; "" if none does."""
        for i, token in enumerate(self.rest[:-1]):
            if token.kind is Kind.WORD and token.value in words:
                found = self.rest[i + 1]
                return found.text if found.kind is Kind.WORD else found.value
        return ""

    @property
    def last_name(self) -> str:
        """The table in SHOW CREATE TABLE [schema.]table."""
        token = self.rest[-1]
        return token.text if token.kind is Kind.WORD else token.value

    def rows(self, names: Sequence[str], found: Iterable[Sequence[Value]]) -> Rows:
        """`found` under `names`, as far as LIKE or WHERE let it through."""
        rows = list(found)
        if pattern := self.after("LIKE"):
            like = _like(pattern)
            rows = [row for row in rows if like.fullmatch(str(row[0]))]
        if wanted := self.after("WHERE"):
            at = next((i for i, name in enumerate(names) if name.lower() == wanted.lower()), 0)
            values = {t.value for t in self.rest if t.kind in (Kind.STRING, Kind.NUMBER)}
            rows = [row for row in rows if str(row[at]) in values]
        return listed(names, rows)


def listed(names: Sequence[str], rows: Sequence[Sequence[Value]]) -> Rows:
    """Rows whose columns are integers where every value is one."""
    kinds = [
        int if rows and all(isinstance(row[i], int) for row in rows) else str
        for i in range(len(names))
    ]
    return Rows([column(name, kind) for name, kind in zip(names, kinds, strict=True)], rows)


def _like(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\\.|%|_)", pattern)
    wild = {"%": ".*", "_": "."}
    text = "".join(wild.get(part) or re.escape(part.removeprefix("\\")) for part in parts if part)
    return re.compile(text, re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What SHOW is asked about; used in the thread that runs the session's statements."""

    connection: sqlite3.Connection
    schema: str
    variables: Variables
    status: Callable[[], Iterable[tuple[str, str]]]

    def show(self, statement: Statement) -> Rows:
        """The answer to a SHOW, DESCRIBE or DESC. Raises AdminError."""
        if not statement.starts("SHOW"):
            return self._describe(statement.name(len(statement.tokens) - 1))
        tokens = list(statement.tokens[1:])
        full = False
        while tokens and tokens[0].value in NOISE:
            full |= tokens.pop(0).value == "FULL"
        words = [token.value for token in tokens[:2]] + ["", ""]
        known = self.TOPICS.get(f"{words[0]} {words[1]}") or self.TOPICS.get(words[0])
        if known is None:
            raise syntax_error(statement.text, tokens[0].start if tokens else len(statement.text))
        return known(self, Asked(words[0], full, tokens[1:]))

    def tables(self) -> list[tuple[str, str, str]]:
        """(name, table or view, SQL) of each."""
        rows = self.connection.execute(
            "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('table', 'view') "
            "AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        return [row for row in rows if not row[0].startswith(HIDDEN)]

    # -- topics ----------------------------------------------------------------------

    def _databases(self, asked: Asked) -> Rows:
        return asked.rows(["Database"], [("information_schema",), (self.schema,)])

    def _tables(self, asked: Asked) -> Rows:
        name = f"Tables_in_{self.schema}"
        rows = [(table, KINDS[kind]) for table, kind, _ in self.tables()]
        if asked.full:
            return asked.rows([name, "Table_type"], rows)
        return asked.rows([name], [row[:1] for row in rows])

    def _table_status(self, asked: Asked) -> Rows:
        rows = []
        for table, kind, _ in self.tables():
            quoted = table.replace("`", "``")
            count = self.connection.execute(f"SELECT count(*) FROM `{quoted}`").fetchone()[0]
            rows.append((table, "SQLite" if kind == "table" else None, count, COLLATION))
        return asked.rows(["Name", "Engine", "Rows", "Collation"], rows)

    def _columns(self, asked: Asked) -> Rows:
        found = self._describe(asked.after("FROM", "IN"))
        names = [c.name for c in found.columns]
        if not asked.full:
            return asked.rows(names, found.rows)
        wide = [(*row[:2], COLLATION, *row[2:], "select,insert,update", "") for row in found.rows]
        return asked.rows([*names[:2], "Collation", *names[2:], "Privileges", "Comment"], wide)

    def _describe(self, table: str) -> Rows:
        names = ["Field", "Type", "Null", "Key", "Default", "Extra"]
        rows = [
            (c.name, c.type, "NO" if c.needed else "YES", "PRI" if c.key else "", c.default, "")
            for c in columns_of(self.connection, table, self.schema)
        ]
        return listed(names, rows)

    def _index(self, asked: Asked) -> Rows:
        table = asked.after("FROM", "IN")
        names = ["Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name"]
        found = columns_of(self.connection, table, self.schema)
        return listed(names, [(table, 0, "PRIMARY", c.key, c.name) for c in found if c.key])

    def _create_table(self, asked: Asked) -> Rows:
        wanted = asked.last_name
        for table, kind, sql in self.tables():
            if table.lower() == wanted.lower():
                title = kind.capitalize()
                return listed([title, f"Create {title}"], [(table, sql)])
        raise no_table(self.schema, wanted)

    def _create_database(self, _: Asked) -> Rows:
        made = f"CREATE DATABASE `{self.schema}` /*!40100 DEFAULT CHARACTER SET utf8mb4 */"
        return listed(["Database", "Create Database"], [(self.schema, made)])

    def _variables(self, asked: Asked) -> Rows:
        return asked.rows(["Variable_name", "Value"], self.variables.listing())

    def _status(self, asked: Asked) -> Rows:
        return asked.rows(["Variable_name", "Value"], self.status())

    def _nothing(self, asked: Asked) -> Rows:
        return listed(self.EMPTY[asked.topic], [])

    def _engines(self, _: Asked) -> Rows:
        row = ("SQLite", "DEFAULT", "A small database inside hproxy", "YES")
        return listed(["Engine", "Support", "Comment", "Transactions"], [row])

    def _charsets(self, asked: Asked) -> Rows:
        row = ("utf8mb4", "UTF-8 Unicode", COLLATION, 4)
        return asked.rows(["Charset", "Description", "Default collation", "Maxlen"], [row])

    def _collations(self, asked: Asked) -> Rows:
        row = (COLLATION, "utf8mb4", 45, "Yes", "Yes", 1)
        names = ["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen"]
        return asked.rows(names, [row])

    def _grants(self, _: Asked) -> Rows:
        return listed(["Grants"], [(f"GRANT ALL PRIVILEGES ON `{self.schema}`.* TO CURRENT_USER",)])

    EMPTY: ClassVar[Mapping[str, Sequence[str]]] = {
        "WARNINGS": ("Level", "Code", "Message"),
        "ERRORS": ("Level", "Code", "Message"),
        "TRIGGERS": ("Trigger", "Event", "Table", "Statement", "Timing"),
        "EVENTS": ("Db", "Name", "Definer", "Type"),
        "PLUGINS": ("Name", "Status", "Type", "Library", "License"),
        "FUNCTION": ("Db", "Name", "Type"),
        "PROCEDURE": ("Db", "Name", "Type"),
    }
    TOPICS: ClassVar[Mapping[str, Callable[[Catalogue, Asked], Rows]]] = {
        "DATABASES": _databases,
        "SCHEMAS": _databases,
        "TABLES": _tables,
        "TABLE STATUS": _table_status,
        "COLUMNS": _columns,
        "FIELDS": _columns,
        "INDEX": _index,
        "INDEXES": _index,
        "KEYS": _index,
        "CREATE TABLE": _create_table,
        "CREATE VIEW": _create_table,
        "CREATE DATABASE": _create_database,
        "CREATE SCHEMA": _create_database,
        "VARIABLES": _variables,
        "STATUS": _status,
        "ENGINES": _engines,
        "STORAGE ENGINES": _engines,
        "CHARACTER SET": _charsets,
        "CHARSET": _charsets,
        "COLLATION": _collations,
        "GRANTS": _grants,
        **dict.fromkeys(EMPTY, _nothing),
    }
