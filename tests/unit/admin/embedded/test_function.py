# SPDX-License-Identifier: Apache-2.0
"""MySQL's functions inside SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from hproxy.admin.embedded.function import register
from hproxy.admin.model import Value


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    register(made, {"mine": lambda: "own"})
    yield made
    made.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("concat('a', 1, x'62')", "a1b"),
        ("concat('a', NULL)", None),
        ("concat_ws('-', 'a', NULL, 'b')", "a-b"),
        ("if(1 > 2, 'yes', 'no')", "no"),
        ("mysql_left('abc', 2) || mysql_right('abc', 2)", "abbc"),
        ("mysql_right('abc', 0)", ""),
        ("mysql_left(NULL, 2)", None),
        ("mysql_mod(7, 3)", 1.0),
        ("mysql_mod(7, 0)", None),
        ("locate('B', 'abc')", 2),
        ("locate('a', 'abca', 2)", 4),
        ("repeat('ab', 2)", "abab"),
        ("reverse('abc')", "cba"),
        ("char_length('ü')", 1),
        ("ucase('a') || lcase('B')", "Ab"),
        ("truncate(1.239, 2)", 1.23),
        ("greatest(1, 3, 2) - least(1, 3, 2)", 2),
        ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("sha2('a', 256)", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("length(now())", 19),
        ("length(uuid())", 36),
        ("unix_timestamp('1970-01-02 00:00:00')", 86400),
        ("rand() BETWEEN 0 AND 1", 1),
        ("mine()", "own"),
    ],
)
def test_function(connection: sqlite3.Connection, expression: str, value: Value) -> None:
    assert connection.execute(f"SELECT {expression}").fetchone() == (value,)


@pytest.mark.parametrize("expression", ["repeat('x', 1 << 40)", "sha2('a', 5)"])
def test_refused(connection: sqlite3.Connection, expression: str) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connection.execute(f"SELECT {expression}").fetchone()
