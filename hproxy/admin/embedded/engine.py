# SPDX-License-Identifier: Apache-2.0
"""Runs one statement after another on a SQLite connection, as a MySQL server would.

Used in whichever thread its session picks, one at a time. What SQLite or its Python module
raises goes out as it is: the session decides whether to try again or to refuse.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from hproxy.admin.embedded.assignment import assign
from hproxy.admin.embedded.ddl import table_body
from hproxy.admin.embedded.dialect import Rendered, render
from hproxy.admin.embedded.show import Catalogue
from hproxy.admin.embedded.table import columns_of, definition, result_columns
from hproxy.admin.embedded.variables import Variables
from hproxy.admin.lexer import Statement, Token, syntax_error
from hproxy.admin.model import Answer, Client, Column, Done, Rows, Value
from hproxy.errors import AdminError

__all__ = ["Engine"]

MAX_RESULT_BYTES = 64 << 20
ROW_BYTES = 64  # what a row costs beside its texts, roughly
WRITES = ("INSERT", "REPLACE", "UPDATE", "DELETE", "TRUNCATE")
READS = ("SELECT", "WITH", "VALUES")


class Engine:
    """One session's connection and what it remembers between statements."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        schema: str,
        variables: Variables,
        client: Client,
        status: Callable[[], list[tuple[str, str]]],
    ) -> None:
        self.connection = connection
        self.schema = schema
        self.variables = variables
        self.client = client
        self.database = ""
        self.stop = threading.Event()
        """Set when what runs shall end; SLEEP() looks at nothing else."""
        self._catalogue = Catalogue(connection, schema, variables, status)
        self._row_count = -1

    @property
    def autocommit(self) -> bool:
        return bool(self.variables.get("autocommit"))

    @property
    def lock_wait_sec(self) -> float:
        found = self.variables.get("innodb_lock_wait_timeout")
        return float(found) if isinstance(found, int | float) else 0.0

    def functions(self) -> dict[str, Callable[..., Any]]:
        """SQL functions that know this session."""
        who = ("user", "current_user", "session_user", "system_user")
        return dict.fromkeys(who, lambda: f"{self.client.user}@{self.client.host}") | {
            "database": lambda: self.database or None,
            "schema": lambda: self.database or None,
            "version": lambda: self.variables.get("version"),
            "connection_id": lambda: self.client.id,
            "last_insert_id": lambda *_: self.variables.get("last_insert_id"),
            "row_count": lambda: self._row_count,
            "found_rows": lambda: max(0, self._row_count),
            "sleep": lambda seconds: int(self.stop.wait(max(0.0, float(seconds or 0)))),
            "get_lock": lambda *_: 1,
            "release_lock": lambda *_: 1,
        }

    def use(self, name: str) -> None:
        """Choose the default schema. Raises AdminError (1049)."""
        if name.lower() not in (self.schema.lower(), "information_schema"):
            raise AdminError(f"Unknown database '{name}'", number=1049, sqlstate=b"42000")
        self.database = name

    def reset(self) -> None:
        """As at the start: no transaction, no temporary table, no variable set."""
        self.connection.rollback()
        for (name,) in self._execute("SELECT name FROM sqlite_temp_schema WHERE type = 'table'"):
            quoted = name.replace('"', '""')
            self._execute(f'DROP TABLE temp."{quoted}"')
        self.variables.clear()
        self.database = ""
        self._row_count = -1

    def columns(self, table: str) -> list[Column]:
        """The columns of a table. Raises AdminError (1146)."""
        found = columns_of(self.connection, table, self.schema)
        return [definition(column, table) for column in found]

    def run(self, statement: Statement, values: Sequence[Value]) -> Answer:
        """Run one statement. Raises AdminError, and what SQLite raises."""
        verb = self.VERBS.get(statement.word(0))
        if verb is None:
            raise syntax_error(statement.source)
        return verb(self, statement, values)

    def describe(self, statement: Statement) -> list[Column]:
        """The columns it would give, as far as known ahead. Raises like `run`."""
        verb = statement.word(0)
        if verb not in self.VERBS:
            raise syntax_error(statement.source)
        if verb in ("SHOW", "DESCRIBE", "DESC"):
            return list(self._catalogue.show(statement).columns)
        if verb not in (*READS, *WRITES):
            return []
        rendered = self._render(statement)
        nothing = [None] * statement.parameters
        if verb in READS:
            sql = f"SELECT * FROM ({rendered.sql}\n) LIMIT 0"
            return result_columns(self._names(self._execute(sql, nothing), rendered), [])
        self._execute(f"EXPLAIN {rendered.sql}", nothing).close()  # compiles, runs nothing
        return []

    # -- on SQLite -----------------------------------------------------------------------

    def _render(self, statement: Statement) -> Rendered:
        return render(statement, self.schema, self.variables.look_up)

    def _execute(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Cursor:
        return self.connection.execute(sql, values)

    @staticmethod
    def _names(cursor: sqlite3.Cursor, rendered: Rendered) -> list[str]:
        found = [str(column[0]) for column in cursor.description]
        return [rendered.names.get(name, name) for name in found]

    def _rows(self, cursor: sqlite3.Cursor, rendered: Rendered) -> Rows:
        rows, size = [], 0
        for row in cursor:
            size += ROW_BYTES + sum(len(v) for v in row if isinstance(v, str | bytes))
            if size > MAX_RESULT_BYTES:
                cursor.close()
                raise AdminError("The result is too large", number=1104, sqlstate=b"42000")
            rows.append(row)
        return Rows(result_columns(self._names(cursor, rendered), rows), rows)

    def _read(self, statement: Statement, values: Sequence[Value]) -> Answer:
        rendered = self._render(statement)
        found = self._rows(self._execute(rendered.sql, values), rendered)
        self._row_count = len(found.rows)
        return found

    def _write(self, statement: Statement, values: Sequence[Value]) -> Answer:
        # With autocommit off only a write opens the transaction: a read that did would hold
        # its snapshot, and fail the write that comes after somebody else's.
        if not self.autocommit and not self.connection.in_transaction:
            self._execute("BEGIN")
        rendered = self._render(statement)
        cursor = self._execute(rendered.sql, values)
        if cursor.description is not None:
            return self._rows(cursor, rendered)
        self._row_count = count = max(0, cursor.rowcount)
        verb, info, first = statement.word(0), "", 0
        if verb in ("INSERT", "REPLACE") and count:
            last = cursor.lastrowid or 0
            # MySQL names the first id of several.
            first = max(0, last - count + 1)
            self.variables.set("last_insert_id", first)
            info = f"Records: {count}  Duplicates: 0  Warnings: 0" if count > 1 else ""
        elif verb == "UPDATE":
            info = f"Rows matched: {count}  Changed: {count}  Warnings: 0"
        return Done(count, first, info)

    def _define(self, statement: Statement, values: Sequence[Value]) -> Answer:
        what = [statement.word(i) for i in range(1, 4)]
        if what[0] in ("DATABASE", "SCHEMA"):
            raise AdminError("Access denied: there is one database", number=1044)
        # TRIGGER, VIRTUAL TABLE and the like reach further than a guest should.
        kind = what[1] if what[0] in ("TEMPORARY", "UNIQUE") else what[0]
        if kind not in ("TABLE", "INDEX", "VIEW"):
            raise syntax_error(statement.source)
        if statement.word(len(statement.tokens) - 1) == "KEYS":
            return Done()  # ALTER TABLE ... DISABLE KEYS: only ever about speed
        if self.connection.in_transaction:
            self._execute("COMMIT")  # as on a server: a definition ends the transaction
        if statement.word(0) == "CREATE" and kind == "TABLE":
            tokens = tuple(table_body(statement.tokens, statement.text))
            statement = Statement(statement.text, tokens)
        self._execute(self._render(statement).sql, values)
        return Done()

    def _transaction(self, statement: Statement, _: Sequence[Value]) -> Answer:
        inside = self.connection.in_transaction
        match statement.word(0):
            case "BEGIN" | "START":
                if inside:
                    self._execute("COMMIT")
                self._execute("BEGIN")
            case "COMMIT" if inside:
                self._execute("COMMIT")
            case "ROLLBACK" if inside and "TO" not in (statement.word(1), statement.word(2)):
                self._execute("ROLLBACK")
            case "ROLLBACK" | "SAVEPOINT" | "RELEASE" if inside:
                self._execute(self._render(statement).sql)
        return Done()

    def _set(self, statement: Statement, _: Sequence[Value]) -> Answer:
        def evaluate(tokens: Sequence[Token]) -> Value:
            rendered = self._render(Statement(statement.text, tuple(tokens)))
            value: Value = self._execute(f"SELECT {rendered.sql}").fetchone()[0]
            return value

        assign(statement, self.variables, evaluate)
        if (
            self.autocommit
            and self.connection.in_transaction
            and "autocommit" in (statement.source.lower())
        ):
            self._execute("COMMIT")
        return Done()

    def _use(self, statement: Statement, _: Sequence[Value]) -> Answer:
        self.use(statement.name(1))
        return Done()

    def _show(self, statement: Statement, _: Sequence[Value]) -> Answer:
        return self._catalogue.show(statement)

    def _explain(self, statement: Statement, values: Sequence[Value]) -> Answer:
        if statement.word(1) not in (*READS, *WRITES):
            return self._show(statement, values)  # EXPLAIN table is DESCRIBE table
        rendered = self._render(Statement(statement.text, statement.tokens[1:]))
        return self._rows(self._execute(f"EXPLAIN QUERY PLAN {rendered.sql}", values), rendered)

    def _nothing(self, *_: object) -> Answer:
        return Done()

    VERBS: ClassVar[Mapping[str, Callable[[Engine, Statement, Sequence[Value]], Answer]]] = {
        **dict.fromkeys(READS, _read),
        **dict.fromkeys(WRITES, _write),
        **dict.fromkeys(("CREATE", "DROP", "ALTER"), _define),
        **dict.fromkeys(
            ("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"), _transaction
        ),
        **dict.fromkeys(("SHOW", "DESCRIBE", "DESC"), _show),
        **dict.fromkeys(("LOCK", "UNLOCK", "FLUSH", "ANALYZE"), _nothing),
        "EXPLAIN": _explain,
        "SET": _set,
        "USE": _use,
    }
