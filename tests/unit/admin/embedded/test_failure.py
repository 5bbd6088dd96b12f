# SPDX-License-Identifier: Apache-2.0
"""SQLite's complaints, provoked for real, in MySQL's numbers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hproxy.admin.embedded.failure import is_busy, refusal

SCHEMA = """
    CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL, c INT UNIQUE CHECK (c > 0));
    CREATE TABLE child (a INT REFERENCES t (a));
    INSERT INTO t VALUES (1, 'x', 1);
    PRAGMA foreign_keys = ON;
"""


@pytest.mark.parametrize(
    ("sql", "number", "sqlstate", "words"),
    [
        ("SELECT 1 FORM t", 1064, b"42000", "'t'"),
        ("SELECT (", 1064, b"42000", "syntax"),
        ("SELECT $", 1064, b"42000", "syntax"),
        ("SELECT * FROM nope", 1146, b"42S02", "'demo.nope'"),
        ("SELECT nope FROM t", 1054, b"42S22", "'nope'"),
        ("INSERT INTO t (nope) VALUES (1)", 1054, b"42S22", "'nope'"),
        ("SELECT a FROM t JOIN child", 1052, b"23000", "'a'"),
        ("INSERT INTO t VALUES (1, 'x', 2)", 1062, b"23000", "'t.a'"),
        ("INSERT INTO t VALUES (2, NULL, 2)", 1048, b"23000", "'b'"),
        ("INSERT INTO t VALUES (2, 'x', 0)", 3819, b"HY000", "violated"),
        ("INSERT INTO child VALUES (9)", 1452, b"23000", "foreign key"),
        ("INSERT INTO t VALUES (1)", 1136, b"21S01", "count"),
        ("INSERT INTO t (a) VALUES (1, 2)", 1136, b"21S01", "count"),
        ("CREATE TABLE t (a)", 1050, b"42S01", "'t'"),
        ("CREATE TABLE u (a, a)", 1060, b"42S21", "'a'"),
        ("SELECT nofunction(1)", 1305, b"42000", "nofunction"),
        ("SELECT substr()", 1582, b"42000", "substr"),
        ("SELECT a FROM t WHERE count(*) > 1", 1111, b"HY000", "group"),
        ("SELECT 1 UNION SELECT 1, 2", 1222, b"21000", "columns"),
        ("SELECT (SELECT 1, 2)", 1241, b"21000", "1 column"),
        ("DROP INDEX nope", 1091, b"42000", "'nope'"),
        ("RELEASE nope", 1305, b"42000", "nope"),
        ("SELECT abs(-9223372036854775807 - 1)", 1105, b"HY000", "overflow"),
    ],
)
def test_refusal(sql: str, number: int, sqlstate: bytes, words: str) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(sql).fetchall()
    connection.close()
    error = refusal(caught.value, "demo")
    assert (error.facts["number"], error.facts["sqlstate"]) == (number, sqlstate)
    assert words in error.reason


@pytest.mark.parametrize(
    ("value", "number"), [(2**63, 1264), ("\udcff", 1300)], ids=["overflow", "no UTF-8"]
)
def test_values_that_cannot_be_bound(value: int | str, number: int) -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises((OverflowError, UnicodeError)) as caught:
        connection.execute("SELECT ?", (value,))
    connection.close()
    assert refusal(caught.value, "demo").facts["number"] == number


def test_locks(tmp_path: Path) -> None:
    first, second = (
        sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0) for _ in range(2)
    )
    first.execute("PRAGMA journal_mode = WAL")
    first.execute("CREATE TABLE t (a)")
    second.execute("BEGIN")
    second.execute("SELECT * FROM t").fetchall()
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as held:
        second.execute("INSERT INTO t VALUES (1)")
    first.execute("INSERT INTO t VALUES (2)")
    first.execute("COMMIT")
    with pytest.raises(sqlite3.OperationalError) as stale:
        second.execute("INSERT INTO t VALUES (1)")
    first.close()
    second.close()
    assert is_busy(held.value)
    assert refusal(held.value, "demo").facts["number"] == 1205
    # No waiting helps a snapshot that is older than somebody else's write.
    assert not is_busy(stale.value)
    assert refusal(stale.value, "demo").facts["number"] == 1213
