# SPDX-License-Identifier: Apache-2.0
"""SET in all its forms; the scopes are those that both servers were seen to use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.lexer import ANSI_QUOTES
from hproxy.protocols.mysql.variables import Assignment, Target, Value, ValueKind, parse_set

NUMBER, STRING, WORD = ValueKind.NUMBER, ValueKind.STRING, ValueKind.WORD
DEFAULT, EXPRESSION = ValueKind.DEFAULT, ValueKind.EXPRESSION


def shape(sql: str, modes: int = 0) -> list[tuple[str, str, ValueKind, str]] | None:
    found = parse_set(sql.encode(), modes)
    if found is None:
        return None
    return [
        (target.name, name.decode(), value.kind, value.text.decode())
        for target, name, value in found
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SET autocommit=0", [("SESSION", "autocommit", NUMBER, "0")]),
        ("set AutoCommit := ON;", [("SESSION", "autocommit", WORD, "ON")]),
        ("SET SESSION sql_mode='ANSI'", [("SESSION", "sql_mode", STRING, "'ANSI'")]),
        ("SET LOCAL `sql_mode`=''", [("SESSION", "sql_mode", STRING, "''")]),
        ("SET @@sql_mode=DEFAULT", [("SESSION", "sql_mode", DEFAULT, "")]),
        ("SET @@SESSION.x=-1", [("SESSION", "x", NUMBER, "-1")]),
        ("SET @@local . x = + 2", [("SESSION", "x", NUMBER, "+2")]),
        ("SET @@global.x=1", [("GLOBAL", "x", NUMBER, "1")]),
        ("SET PERSIST x=1", [("GLOBAL", "x", NUMBER, "1")]),
        ("SET @@persist_only.x=1", [("GLOBAL", "x", NUMBER, "1")]),
        ("SET GLOBAL hot.key_buffer_size=1", [("GLOBAL", "hot.key_buffer_size", NUMBER, "1")]),
        ("SET @X=5", [("USER", "x", NUMBER, "5")]),
        ("SET @'a b'=NULL", [("USER", "a b", WORD, "NULL")]),
        ("SET @a='x' 'y'", [("USER", "a", EXPRESSION, "'x' 'y'")]),
        ("SET @a=_utf8'x'", [("USER", "a", EXPRESSION, "_utf8 'x'")]),
        ("SET @a=(SELECT 1, 2)", [("USER", "a", EXPRESSION, "( SELECT 1 , 2 )")]),
        ("SET @a=- 0x41", [("USER", "a", EXPRESSION, "- 0x41")]),
        (
            "SET @a = @b := 1",
            [("USER", "b", EXPRESSION, ""), ("USER", "a", EXPRESSION, "@b := 1")],
        ),
        ("SET NAMES utf8mb4", [("NAMES", "", WORD, "utf8mb4")]),
        ("SET NAMES 'latin1' COLLATE 'Latin1_bin'", [("NAMES", "latin1_bin", STRING, "'latin1'")]),
        ("SET NAMES DEFAULT", [("NAMES", "", DEFAULT, "")]),
        ("SET NAMES utf8mb4 COLLATE DEFAULT", [("NAMES", "", WORD, "utf8mb4")]),
        ("SET names='x'", [("SESSION", "names", STRING, "'x'")]),
        ("SET CHARSET binary", [("CHARACTER_SET", "", WORD, "binary")]),
        ("SET CHARACTER SET DEFAULT", [("CHARACTER_SET", "", DEFAULT, "")]),
        ("SET CHAR SET 'gbk'", [("CHARACTER_SET", "", STRING, "'gbk'")]),
        ("SET PASSWORD FOR a@b = 'x'", [("PASSWORD", "", EXPRESSION, "")]),
        ("SET PASSWORD = 'x'", [("PASSWORD", "", EXPRESSION, "")]),
        ("SET ROLE NONE", [("ROLE", "", EXPRESSION, "")]),
        ("SET DEFAULT ROLE ALL TO a", [("DEFAULT_ROLE", "", EXPRESSION, "")]),
        ("SET RESOURCE GROUP rg", [("RESOURCE_GROUP", "", EXPRESSION, "")]),
        (
            "SET STATEMENT max_statement_time=1, sort_buffer_size=9 FOR SELECT 1, 2",
            [
                ("STATEMENT", "max_statement_time", NUMBER, "1"),
                ("STATEMENT", "sort_buffer_size", NUMBER, "9"),
            ],
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
            [
                ("NEXT_TRANSACTION", "transaction_isolation", WORD, "READ-COMMITTED"),
                ("NEXT_TRANSACTION", "transaction_read_only", WORD, "ON"),
            ],
        ),
        (
            "SET SESSION TRANSACTION READ WRITE",
            [("SESSION", "transaction_read_only", WORD, "OFF")],
        ),
        (
            "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            [("GLOBAL", "transaction_isolation", WORD, "SERIALIZABLE")],
        ),
        ("SET @@transaction_isolation='X'",
         [("NEXT_TRANSACTION", "transaction_isolation", STRING, "'X'")]),
        ("SET @@tx_read_only=1", [("NEXT_TRANSACTION", "tx_read_only", NUMBER, "1")]),
        ("SET tx_isolation='X'", [("SESSION", "tx_isolation", STRING, "'X'")]),
        ("SET @@session.tx_isolation='X'", [("SESSION", "tx_isolation", STRING, "'X'")]),
        # Words count on; @@scope. only for its own item, and not for `@name` either.
        (
            "SET LOCAL a=0, @@session.b=1, GLOBAL c=@@sort_buffer_size, d=1, @e=2",
            [
                ("SESSION", "a", NUMBER, "0"),
                ("SESSION", "b", NUMBER, "1"),
                ("GLOBAL", "c", EXPRESSION, "@@sort_buffer_size"),
                ("GLOBAL", "d", NUMBER, "1"),
                ("USER", "e", NUMBER, "2"),
            ],
        ),
        (
            "SET @@global.a=1, b=2, NAMES latin1, c=CONCAT('x', 'y'), d=on",
            [
                ("GLOBAL", "a", NUMBER, "1"),
                ("SESSION", "b", NUMBER, "2"),
                ("NAMES", "", WORD, "latin1"),
                ("SESSION", "c", EXPRESSION, "CONCAT ( 'x' , 'y' )"),
                ("SESSION", "d", WORD, "on"),
            ],
        ),
        ("/*!40101 SET @OLD=@@SQL_MODE, SQL_MODE='X' */;",
         [("USER", "old", EXPRESSION, "@@SQL_MODE"), ("SESSION", "sql_mode", STRING, "'X'")]),
        ("SET transaction=1", None),
        ("SET x", None),
        ("SET x=", None),
        ("SET x=1,", None),
        ("SET x=1 y=2", [("SESSION", "x", EXPRESSION, "1 y = 2")]),
        ("SET x=(1", None),
        ("SET x=1; SELECT 1", None),
        ("SET", None),
        ("SET TRANSACTION", None),
        ("SET TRANSACTION ISOLATION", None),
        ("SET STATEMENT x=1", None),
        ("SET NAMES", None),
        ("SET NAMES 5", None),
        ("SET 5=5", None),
        ("SELECT 1", None),
        ("", None),
    ],
)  # fmt: skip
def test_forms(sql: str, expected: list[tuple[str, str, ValueKind, str]] | None) -> None:
    assert shape(sql) == expected


def test_quotes_depend_on_the_mode() -> None:
    assert shape('SET x="y"') == [("SESSION", "x", STRING, '"y"')]
    assert shape('SET x="y"', ANSI_QUOTES) == [("SESSION", "x", WORD, '"y"')]
    assert shape('SET "x"=1', ANSI_QUOTES) == [("SESSION", "x", NUMBER, "1")]


def test_values_are_tuples_of_text() -> None:
    assert parse_set(b"SET a=1") == (Assignment(Target.SESSION, b"a", Value(NUMBER, b"1")),)


PIECES = [
    "SET",
    "SESSION",
    "GLOBAL",
    "TRANSACTION",
    "NAMES",
    "=",
    ":=",
    ",",
    "@a",
    "@@x",
    ".",
    "(",
    ")",
    "'s'",
    "1",
    "DEFAULT",
    "STATEMENT",
    "FOR",
    "CHARACTER",
    ";",
    "x",
    "-",
]


@given(st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_nonsense_is_not_understood(rest: str) -> None:
    found = parse_set(f"SET {rest}".encode())
    assert found is None or all(isinstance(item, Assignment) for item in found)
