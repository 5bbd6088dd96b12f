# SPDX-License-Identifier: Apache-2.0
"""What a statement leaves to be asked about, and how a text asks for it."""

from __future__ import annotations

import pytest

from hproxy._native.digest import digest
from hproxy.protocols.mysql.context import (
    COUNT_KEPT,
    FOUND_AFFECTED,
    FOUND_KEPT,
    FOUND_MATCHED,
    FOUND_NONE,
    FOUND_ONE,
    FOUND_THERE,
    corrected,
    counts_warnings,
    found_otherwise,
    restate,
    shows_warnings,
)
from hproxy.protocols.mysql.plan import Plan
from hproxy.protocols.mysql.traits import classify

ROW_COUNT, FOUND_ROWS = 7, 3


def plan(sql: bytes) -> Plan:
    return Plan(traits=classify(sql), digest=digest(sql))


@pytest.mark.parametrize(
    ("sql", "shows", "counts"),
    [
        (b"SHOW WARNINGS", True, False),
        (b"show count(*) errors", True, False),
        (b"GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT", True, False),
        (b"SELECT @@warning_count, @@ERROR_COUNT", True, True),
        # What the second statement shows is what the first one has left.
        (b"SELECT @@warning_count; SHOW WARNINGS", True, False),
        (b"SELECT @@warning_count; SELECT 1", True, False),
        (b"SELECT ROW_COUNT()", False, True),
    ],
)
def test_who_asks_for_warnings(sql: bytes, shows: bool, counts: bool) -> None:
    assert shows_warnings(sql) is shows
    assert counts_warnings(sql) is counts


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"SELECT 1", b"SELECT 1"),
        (b"", b""),
        (b"SELECT `ROW_COUNT`()", b"SELECT `ROW_COUNT`()"),
        (b"SELECT ROW_COUNT(1)", b"SELECT ROW_COUNT(1)"),
        (b"SET @n = FOUND_ROWS()", b"SET @n = IF(1,3,FOUND_ROWS())"),
        (b"SELECT ROW_COUNT()", b"SELECT IF(1,7,ROW_COUNT()) AS `ROW_COUNT()`"),
        (
            b"SELECT found_rows ( ), row_count() LIMIT 1",
            b"SELECT IF(1,3,found_rows ( )) AS `found_rows ( )`,"
            b" IF(1,7,row_count()) AS `row_count()` LIMIT 1",
        ),
        (
            b"SELECT @a := ROW_COUNT(), 1",
            b"SELECT @a := IF(1,7,ROW_COUNT()) AS `@a := ROW_COUNT()`, 1",
        ),
        (b"SELECT 1 + @a := ROW_COUNT()", b"SELECT 1 + @a := IF(1,7,ROW_COUNT())"),
        # The client's own name stays, and a part of an item has none.
        (b"SELECT ROW_COUNT() AS n", b"SELECT IF(1,7,ROW_COUNT()) AS n"),
        (b"SELECT ROW_COUNT() + 1", b"SELECT IF(1,7,ROW_COUNT()) + 1"),
        (b"INSERT INTO t VALUES (ROW_COUNT())", b"INSERT INTO t VALUES (IF(1,7,ROW_COUNT()))"),
        (b"SELECT 'ROW_COUNT()', row_count FROM t", b"SELECT 'ROW_COUNT()', row_count FROM t"),
        # The second statement asks about the first.
        (
            b"SELECT ROW_COUNT(); SELECT ROW_COUNT()",
            b"SELECT IF(1,7,ROW_COUNT()) AS `ROW_COUNT()`; SELECT ROW_COUNT()",
        ),
        (b"UPDATE t SET a = 1; SELECT ROW_COUNT()", b"UPDATE t SET a = 1; SELECT ROW_COUNT()"),
        (
            b"SELECT ROW_COUNT(/* ` */)",
            b"SELECT IF(1,7,ROW_COUNT(/* ` */)) AS `ROW_COUNT(/* `` */)`",
        ),
    ],
)
def test_counts_are_restated(asked: bytes, sent: bytes) -> None:
    assert restate(asked, ROW_COUNT, FOUND_ROWS, 0) == sent


@pytest.mark.parametrize(
    ("sql", "corrections"),
    [
        (b"GET DIAGNOSTICS @a = ROW_COUNT", (b"SET @a=7",)),
        (b"GET CURRENT DIAGNOSTICS @n = NUMBER, @`b c` = row_count", (b"SET @`b c`=7",)),
        (b"GET DIAGNOSTICS @a = ROW_COUNT, @b = ROW_COUNT", (b"SET @a=7,@b=7",)),
        (b"GET DIAGNOSTICS @a = NUMBER", ()),
        (b"SET @a = ROW_COUNT", ()),
    ],
)
def test_diagnostics_are_corrected(sql: bytes, corrections: tuple[bytes, ...]) -> None:
    before = plan(sql)
    after = corrected(before, sql, ROW_COUNT, 0)
    assert after.corrections == corrections
    assert (after.traits, after.digest) == (before.traits, before.digest)


@pytest.mark.parametrize(
    ("sql", "mariadb", "mysql"),
    [
        (b"SELECT a FROM t", 0, 0),
        (b"UPDATE t SET a = 1", 0, FOUND_MATCHED),
        (b"EXPLAIN SELECT 1", FOUND_KEPT | FOUND_THERE, FOUND_KEPT),
        (b"EXPLAIN t", 0, 0),
        (b"CREATE TABLE t AS SELECT 1", FOUND_KEPT | FOUND_THERE, FOUND_KEPT | FOUND_THERE),
        (b"SELECT 1 INTO @a", FOUND_NONE, FOUND_AFFECTED),
        (b"GET DIAGNOSTICS @n = NUMBER", FOUND_KEPT | COUNT_KEPT, FOUND_KEPT | COUNT_KEPT),
        (b"SET @a = (SELECT MAX(a) FROM t)", FOUND_THERE, 0),
        (b"SET @a = 1", 0, 0),
        (b"CALL p()", 0, FOUND_THERE),
        (b"DO 1", 0, FOUND_ONE),
        (b"SELECT a FROM t INTO @a", FOUND_AFFECTED, FOUND_AFFECTED),
        (b"INSERT INTO t SELECT * FROM u", FOUND_AFFECTED, FOUND_AFFECTED),
        (b"REPLACE INTO t (a) SELECT a FROM u", FOUND_AFFECTED, FOUND_AFFECTED),
        (b"INSERT INTO t VALUES (1)", 0, 0),
        (b"SHOW WARNINGS", FOUND_KEPT, FOUND_KEPT),
        (b"SHOW COUNT(*) WARNINGS", FOUND_KEPT, FOUND_KEPT),
        (b"SHOW TABLES", 0, 0),
        (b"CHECK TABLE t", FOUND_KEPT, FOUND_KEPT),
        (b"SELECT 1; SELECT 2", 0, 0),
        (b"SELECT 1; UPDATE t SET a = 1", 0, FOUND_THERE),
        (b"", 0, 0),
    ],
)
def test_found_rows_of_what_answers_with_others(sql: bytes, mariadb: int, mysql: int) -> None:
    text = digest(sql)
    assert found_otherwise(classify(sql), text, mysql=False) == mariadb
    assert found_otherwise(classify(sql), text, mysql=True) == mysql
