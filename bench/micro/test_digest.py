# SPDX-License-Identifier: Apache-2.0
"""The digest of sysbench's statements, of a mapper's and of long ones.

The first line, a statement without a byte, is the price of the call from Python, which the fast
lane does not pay: take it from the others.
"""

from __future__ import annotations

import random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.micro.test_parsers import per_unit
from hproxy._native.digest import Digester
from hproxy.protocols.mysql.lexer import tokens

chance = random.Random(1)


def number(limit: int) -> bytes:
    return b"%d" % chance.randrange(limit)


def groups(count: int) -> bytes:
    """sysbench's columns: groups of eleven digits."""
    return b"-".join(b"%011d" % chance.randrange(10**11) for _ in range(count))


COLUMNS = [b"id", b"password", b"last_login", b"is_superuser", b"username", b"first_name", b"email"]

STATEMENTS = {
    "nothing": b"",
    "point_select": b"SELECT c FROM sbtest1 WHERE id=5046",
    "range": b"SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 5046 AND 5145 ORDER BY c",
    "update": b"UPDATE sbtest1 SET c='%s' WHERE id=5046" % groups(10),
    "ten_rows": b"INSERT INTO sbtest1(k, c, pad) VALUES"
    + b", ".join(b"(%s, '%s', '%s')" % (number(9999), groups(10), groups(5)) for _ in range(10)),
    "list_of_4_KiB": b"SELECT c FROM sbtest1 WHERE id IN (%s)"
    % b",".join(number(100_000) for _ in range(690)),
    "mapper": b"SELECT %s FROM `auth_user` WHERE (`auth_user`.`id` = 1) LIMIT 21"
    % b", ".join(b"`auth_user`.`%s`" % column for column in COLUMNS),
    "escaped": b"INSERT INTO t VALUES ('%s')" % (b"it\\'s ''quoted'' " * 250),
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_digest(benchmark: BenchmarkFixture, kind: str) -> None:
    digester, sql = Digester(), STATEMENTS[kind]
    benchmark(digester.read, sql)
    assert digester.total == len(digester.read(sql))
    per_unit(benchmark, "byte", len(sql) or 1)


def test_lexer(benchmark: BenchmarkFixture) -> None:
    """What a cache miss pays."""
    assert len(benchmark(tokens, STATEMENTS["point_select"])) == 8
