# SPDX-License-Identifier: Apache-2.0
"""A text and what it executes, as one."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.effects import Effects, read, split
from hproxy.protocols.mysql.lexer import tokens
from hproxy.protocols.mysql.plan import Plan, explains, merged
from hproxy.protocols.mysql.statement import Trait
from hproxy.protocols.mysql.traits import classify


def effects(sql: bytes) -> Effects:
    (words,) = split(tokens(sql))
    return read(words)


def test_traits_of_both() -> None:
    execute, read_only = classify(b"EXECUTE s"), classify(b"SELECT SQL_CALC_FOUND_ROWS f(1)")
    found = merged([execute, read_only])
    assert found.verb == b"EXECUTE"
    assert found.routines == (b"f",)
    assert found.effects == execute.effects | read_only.effects
    assert Trait.CALC_ROWS | Trait.SLOW in found.traits


def test_only_what_is_all_reading_is_reading() -> None:
    reads, writes = classify(b"SELECT 1"), classify(b"DELETE FROM t")
    assert Trait.READ in merged([reads, reads]).traits
    assert Trait.READ not in merged([reads, writes]).traits
    assert Trait.READ not in merged([writes, reads]).traits
    assert merged([reads]) is reads


@pytest.mark.parametrize(
    ("sql", "does"),
    [
        (b"SET @a = 1", True),
        (b"SELECT @a := 1", True),
        (b"USE shop", True),
        (b"DROP DATABASE shop", True),
        (b"CREATE TEMPORARY TABLE t (a INT)", True),
        (b"DROP TABLE t", True),
        (b"RENAME TABLE a TO b", True),
        (b"PREPARE s FROM 'DO 1'", True),
        (b"DEALLOCATE PREPARE s", True),
        (b"SELECT @a", False),
        (b"INSERT INTO t VALUES (1)", False),
        (b"BEGIN", False),
    ],
)
def test_what_explains_a_change_of_state(sql: bytes, does: bool) -> None:
    assert explains(effects(sql)) is does


def test_a_plan_knows_whether_the_client_would_see_our_tracking() -> None:
    assert Plan(traits=classify(b"SHOW VARIABLES")).needs_tracking_of_client
    assert not Plan(traits=classify(b"SELECT 1")).needs_tracking_of_client
    assert not Plan().needs_tracking_of_client


def test_assignments_of_all_statements() -> None:
    plan = Plan((effects(b"SET @a = 1, b = 2"), effects(b"DO 1"), effects(b"SET c = 3")))
    assert [item.name for item in plan.assignments] == [b"a", b"b", b"c"]
