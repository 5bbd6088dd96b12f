# SPDX-License-Identifier: Apache-2.0
"""MySQL's statements in SQLite's words, and the names of their columns."""

from __future__ import annotations

import sqlite3

import pytest

from hproxy.admin.embedded.dialect import literal, render
from hproxy.admin.lexer import Token, parse
from hproxy.admin.model import Value


def variable(token: Token) -> Value:
    return {"a": 5, "b": None, "hostname": "writer"}[token.value]


def sqlite(text: str) -> str:
    (statement,) = parse(text)
    return render(statement, "demo", variable).sql


@pytest.mark.parametrize(
    ("mysql", "expected"),
    [
        (r"SELECT 'it\'s', \"x\"".replace('\\"', '"'), "SELECT 'it''s', 'x'"),
        ("SELECT 0x41, _binary'a'", "SELECT x'41', x'61'"),
        ("SELECT @a, @b, @@hostname", "SELECT 5, NULL, 'writer'"),
        ("SELECT a FROM demo.city c", "SELECT a FROM city c"),
        ("SELECT `demo`.`city`.`id`", "SELECT `city`.`id`"),
        ("SELECT x.demo.y", "SELECT x.demo.y"),
        ("SELECT 1 FROM DUAL", "SELECT 1"),
        ("SELECT a/b, a DIV b, a && b, a || b", "SELECT a*1.0/b, a / b, a  AND  b, a  OR  b"),
        ("SELECT LEFT(a, 1), CURRENT_USER", "SELECT mysql_left(a, 1), current_user()"),
        ("SELECT SQL_NO_CACHE a FROM t FOR UPDATE", "SELECT a FROM t"),
        ("SELECT a FROM t LOCK IN SHARE MODE", "SELECT a FROM t"),
        ("INSERT IGNORE INTO t VALUES (?)", "INSERT OR IGNORE INTO t VALUES (?)"),
        (
            "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = VALUES(b) + 1",
            "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = excluded.b + 1",
        ),
        ("TRUNCATE TABLE demo.t", "DELETE FROM t"),
        ("TRUNCATE t", "DELETE FROM t"),
        (
            "SELECT * FROM information_schema.TABLES",
            "SELECT * FROM `information_schema_tables`",
        ),
    ],
)
def test_statement(mysql: str, expected: str) -> None:
    assert sqlite(mysql) == expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT 1+1, 'x', NULL", ["1+1", "x", "NULL"]),
        ("SELECT @@hostname, @a AS a, @a b", ["@@hostname", "a", "b"]),
        ("SELECT DISTINCT concat('a', (SELECT 1)), 2", ["concat('a', (SELECT 1))", "2"]),
        ("SELECT 7/2 UNION SELECT 3", ["7/2"]),
    ],
)
def test_columns_are_named_as_they_were_written(text: str, names: list[str]) -> None:
    (statement,) = parse(text)
    rendered = render(statement, "demo", variable)
    connection = sqlite3.connect(":memory:")
    connection.create_function("concat", -1, lambda *values: "".join(map(str, values)))
    cursor = connection.execute(rendered.sql)
    found = [rendered.names.get(name, name) for name, *_ in cursor.description]
    connection.close()
    assert found == names


@pytest.mark.parametrize("value", [None, 0, -5, 1.5, "", "it's", "a\0b", "ü", b"", b"\0\xff'"])
def test_literal_means_its_value(value: Value) -> None:
    connection = sqlite3.connect(":memory:")
    assert connection.execute(f"SELECT {literal(value)}").fetchone() == (value,)
    connection.close()
