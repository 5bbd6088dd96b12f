# SPDX-License-Identifier: Apache-2.0
"""How commands are found: which, which not, and that no text takes long to be told."""

from __future__ import annotations

import time

import pytest

from hproxy.admin.console.commands import find

BLANKS = " " * 300_000


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT @@version FROM t",
        "INSERT INTO t VALUES ('LOAD MYSQL SERVERS TO RUNTIME')",
        "SELECT 'PROXYSQL KILL'",
        "UPDATE t SET a = 'SHOW TABLES'",
        "EXPLAIN SELECT 1",
        "EXPLAIN QUERY PLAN SELECT 1",
        "REPLACE INTO t VALUES (1)",
        "DESCRIBE",
        "VALUES (1)",
    ],
)
def test_sql_is_no_command(text: str) -> None:
    assert find(text) is None


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("PROXYSQL KILL", True),
        ("load mysql servers to runtime", True),
        ("SAVE CONFIG TO FILE /x", True),
        ("SET mysql-x = 1", True),
        ("SET NAMES utf8", False),
        ("SHOW TABLES", False),
        ("SELECT CONFIG FILE", True),
        ("KILL 1", True),
        ("ROLLBACK", False),
        ("ROLLBACK CONFIG TO 1", True),
        ("EXPLAIN ROUTE SELECT 1", False),
    ],
)
def test_what_changes_something_is_known(text: str, changes: bool) -> None:
    found = find(text)
    assert found is not None
    assert found.changes is changes


@pytest.mark.parametrize(
    "text",
    [
        f"EXPLAIN ROUTE {BLANKS}x",
        "EXPLAIN ROUTE " + "AS a " * 60_000,
        f"SET{BLANKS}",
        f"SET mysql-x{BLANKS}= {BLANKS}",
        "SELECT " + "@@a," * 60_000,
        "SELECT " + "@@a AS b, " * 30_000 + "!",
        "LOAD " + "a " * 100_000,
        "SHOW TABLES LIKE " + "'" * 200_001,
        "SHOW VARIABLES WHERE " + "(" * 200_000,
        "KILL " + "1" * 200_000,
        "/*!" + "*" * 200_000,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    began = time.process_time()
    find(text)
    assert time.process_time() - began < 2
