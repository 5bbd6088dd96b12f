# SPDX-License-Identifier: Apache-2.0
"""What SQLite complains of, in the numbers and words of a MySQL server; pure."""

from __future__ import annotations

import re
import sqlite3
from typing import NamedTuple

from hproxy.errors import AdminError

__all__ = ["interrupted", "is_busy", "refusal"]


class Row(NamedTuple):
    """A pattern of SQLite's message, and what MySQL says; {0}, {1} are the groups."""

    pattern: re.Pattern[str]
    number: int
    sqlstate: bytes
    text: str


def _row(pattern: str, number: int, sqlstate: bytes, text: str) -> Row:
    return Row(re.compile(pattern, re.DOTALL), number, sqlstate, text)


# The first that matches; {sql} is the statement, {schema} the database's name.
ROWS = (
    _row(r'near "(.*)": syntax error', 1064, b"42000",
         "You have an error in your SQL syntax near '{0}'"),
    _row(r"incomplete input", 1064, b"42000", "You have an error in your SQL syntax near ''"),
    _row(r"unrecognized token: \"(.*)\"", 1064, b"42000",
         "You have an error in your SQL syntax near '{0}'"),
    _row(r"no such table: information_schema_(.*)", 1109, b"42S02",
         "Unknown table '{0}' in information_schema"),
    _row(r"no such table: (?:main\.)?(.*)", 1146, b"42S02", "Table '{schema}.{0}' doesn't exist"),
    _row(r"no such view: (.*)", 1051, b"42S02", "Unknown table '{schema}.{0}'"),
    _row(r"no such index: (.*)", 1091, b"42000",
         "Can't DROP '{0}'; check that column/key exists"),
    _row(r"no such column: (.*)", 1054, b"42S22", "Unknown column '{0}' in 'field list'"),
    _row(r"table (\S+) has no column named (.*)", 1054, b"42S22",
         "Unknown column '{1}' in 'field list'"),
    _row(r"ambiguous column name: (.*)", 1052, b"23000",
         "Column '{0}' in field list is ambiguous"),
    _row(r"no such function: (.*)", 1305, b"42000", "FUNCTION {schema}.{0} does not exist"),
    _row(r"wrong number of arguments to function (.*)\(\)", 1582, b"42000",
         "Incorrect parameter count in the call to native function '{0}'"),
    _row(r"UNIQUE constraint failed: (.*)", 1062, b"23000", "Duplicate entry for key '{0}'"),
    _row(r"NOT NULL constraint failed: (?:.*\.)?(.*)", 1048, b"23000",
         "Column '{0}' cannot be null"),
    _row(r"FOREIGN KEY constraint failed", 1452, b"23000",
         "Cannot add or update a child row: a foreign key constraint fails"),
    _row(r"CHECK constraint failed: (.*)", 3819, b"HY000", "Check constraint '{0}' is violated."),
    _row(r"table `?(.*?)`? already exists", 1050, b"42S01", "Table '{0}' already exists"),
    _row(r"index `?(.*?)`? already exists", 1061, b"42000", "Duplicate key name '{0}'"),
    _row(r"duplicate column name: (.*)", 1060, b"42S21", "Duplicate column name '{0}'"),
    _row(r"table .* has \d+ columns but \d+ values were supplied|\d+ values for \d+ columns"
         r"|all VALUES must have the same number of terms", 1136, b"21S01",
         "Column count doesn't match value count at row 1"),
    _row(r"misuse of aggregate", 1111, b"HY000", "Invalid use of group function"),
    _row(r"do not have the same number of result columns", 1222, b"21000",
         "The used SELECT statements have a different number of columns"),
    _row(r"sub-select returns \d+ columns", 1241, b"21000", "Operand should contain 1 column(s)"),
    _row(r"attempt to write a readonly database", 1290, b"HY000",
         "The MySQL server is running with the --read-only option so it cannot execute "
         "this statement"),
    _row(r"database (?:table )?is locked", 1205, b"HY000",
         "Lock wait timeout exceeded; try restarting transaction"),
    _row(r"interrupted", 1317, b"70100", "Query execution was interrupted"),
    _row(r"database or disk is full", 1114, b"HY000", "The table is full"),
    _row(r"string or blob too big", 1301, b"HY000",
         "Result was larger than max_allowed_packet: truncated"),
    _row(r"no such savepoint: (.*)", 1305, b"42000", "SAVEPOINT {0} does not exist"),
)  # fmt: skip

BUSY_SNAPSHOT = "SQLITE_BUSY_SNAPSHOT"


def interrupted() -> AdminError:
    """What the client of a killed statement reads."""
    return AdminError("Query execution was interrupted", number=1317, sqlstate=b"70100")


def is_busy(error: Exception) -> bool:
    """Whether another session holds the lock: the same statement may work in a moment."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) and name != BUSY_SNAPSHOT


def refusal(error: Exception, schema: str) -> AdminError:
    """The AdminError for what SQLite, or its Python module, raised."""
    text = str(error)
    if isinstance(error, OverflowError):
        return AdminError("Out of range value", number=1264, sqlstate=b"22003")
    if isinstance(error, UnicodeError):
        return AdminError("Invalid utf8mb4 character string", number=1300, sqlstate=b"HY000")
    if getattr(error, "sqlite_errorname", "") == BUSY_SNAPSHOT:
        return AdminError(
            "Deadlock found when trying to get lock; try restarting transaction",
            number=1213,
            sqlstate=b"40001",
        )
    if isinstance(error, sqlite3.Error):
        for row in ROWS:
            if match := row.pattern.search(text):
                reason = row.text.format(*match.groups(), schema=schema)
                return AdminError(reason, number=row.number, sqlstate=row.sqlstate)
    return AdminError(text, number=1105, sqlstate=b"HY000")
