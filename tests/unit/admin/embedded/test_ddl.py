# SPDX-License-Identifier: Apache-2.0
"""CREATE TABLE as MySQL writes it runs on SQLite."""

from __future__ import annotations

import sqlite3

import pytest

from hproxy.admin.embedded.ddl import table_body
from hproxy.admin.embedded.dialect import render
from hproxy.admin.lexer import Statement, parse
from hproxy.errors import AdminError


def sqlite(text: str) -> str:
    (statement,) = parse(text)
    tokens = tuple(table_body(statement.tokens, statement.text))
    return render(Statement(statement.text, tokens), "demo", lambda _: None).sql


def columns(text: str) -> list[tuple[str, str, int, str | None, int]]:
    connection = sqlite3.connect(":memory:")
    connection.execute(sqlite(text))
    found = connection.execute(
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('t')"
    ).fetchall()
    connection.close()
    return found


def test_a_table_as_sysbench_makes_it() -> None:
    text = """CREATE TABLE t(
        id INTEGER NOT NULL AUTO_INCREMENT,
        k INTEGER DEFAULT '0' NOT NULL,
        c CHAR(120) DEFAULT '' NOT NULL,
        PRIMARY KEY (id)) /*! ENGINE = innodb */ """
    assert columns(text) == [
        ("id", "INTEGER", 1, None, 1),
        ("k", "INTEGER", 1, "'0'", 0),
        ("c", "CHAR(120)", 1, "''", 0),
    ]


def test_attributes_and_keys_that_mean_nothing_here() -> None:
    text = """CREATE TABLE IF NOT EXISTS demo.t (
        `id` BIGINT(20) UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'the, key',
        kind ENUM('a', 'b') CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'a',
        price DECIMAL(10, 2) UNSIGNED ZEROFILL,
        changed DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP(6),
        UNIQUE KEY by_kind (kind, price),
        KEY by_price (price), FULLTEXT INDEX words (kind),
        CONSTRAINT c CHECK (price > 0)
    ) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COMMENT='x'"""
    assert [(name, kind) for name, kind, *_ in columns(text)] == [
        ("id", "INTEGER"),
        ("kind", "TEXT"),
        ("price", "DECIMAL(10, 2)"),
        ("changed", "DATETIME"),
    ]
    assert "UNIQUE (kind, price)" in sqlite(text)


def test_create_as_select_stays() -> None:
    assert sqlite("CREATE TABLE t AS SELECT (1) AS a") == "CREATE TABLE t AS SELECT (1) AS a"


def test_unclosed() -> None:
    with pytest.raises(AdminError) as caught:
        sqlite("CREATE TABLE t (a INT")
    assert caught.value.facts["number"] == 1064
