# SPDX-License-Identifier: Apache-2.0
"""KILL as people and drivers write it, and what must not be taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.commands import (
    KillKind,
    command_name,
    parse_kill,
    rewrite_kill,
)
from tests.support.garbage import garbage

CONNECTION, QUERY = KillKind.CONNECTION, KillKind.QUERY

KILLS = [
    (b"KILL 5", CONNECTION, 5, None),
    (b"kill 5", CONNECTION, 5, None),
    (b"KILL CONNECTION 12345", CONNECTION, 12345, None),
    (b"KILL QUERY 7", QUERY, 7, None),
    (b"Kill\tQuery\n7 ;", QUERY, 7, None),
    (b"  \r\n KILL 007;;", CONNECTION, 7, None),
    (b"/* who? */ KILL /**/ QUERY /* * / */ 18446744073709551615", QUERY, 2**64 - 1, None),
    (b"KILL/**/5", CONNECTION, 5, None),
    (b"-- first\n# second\nKILL 5 -- last", CONNECTION, 5, None),
    (b"--\nKILL 5 --", CONNECTION, 5, None),
    (b"KILL 5 # done", CONNECTION, 5, None),
    (b"KILL 5\0", CONNECTION, 5, None),
    (b"KILL HARD 5", CONNECTION, 5, "hard"),
    (b"KILL SOFT CONNECTION 5", CONNECTION, 5, "soft"),
    (b"kill hard query 5;", QUERY, 5, "hard"),
]

OTHERS = [
    b"",
    b"KILL",
    b"KILL ",
    b"KILL5",
    b"KILLER 5",
    b"SKILL 5",
    b"KILL QUERY",
    b"KILL QUERY5",
    b"KILL QUERY ID 5",  # MariaDB: the number of a query
    b"KILL HARD QUERY ID 5",
    b"KILL USER joe",
    b"KILL HARD USER 'joe'@'%'",
    b"KILL CONNECTION USER joe",
    b"KILL @id",
    b"KILL ?",
    b"KILL CONNECTION_ID()",
    b"KILL (5)",
    b"KILL -5",
    b"KILL 5 + 1",
    b"KILL 5a",
    b"KILL 0x10",
    b"KILL 5.0",
    b"KILL 5, 6",
    b"KILL 123456789012345678901",
    b"KILL /*!QUERY*/ 5",  # code for servers, so not ours to skip
    b"/*!50000 KILL */ 5",
    b"KILL /*M! QUERY */ 5",
    b"/* KILL 5",
    b"-- KILL 5",
    b"--KILL 5",
    b"# KILL 5",
    b"SELECT 1; KILL 5",
    b"SELECT 'KILL 5'",
    b"EXPLAIN KILL 5",
    b"KILL --5",
]


@pytest.mark.parametrize(("sql", "kind", "number", "force"), KILLS)
def test_kills(sql: bytes, kind: KillKind, number: int, force: str | None) -> None:
    kill = parse_kill(sql)
    assert kill is not None
    assert (kill.kind, kill.id, kill.force, kill.alone) == (kind, number, force, True)
    assert kill.query_only is (kind is QUERY)
    assert int(sql[slice(*kill.span)]) == number


@pytest.mark.parametrize("sql", OTHERS)
def test_what_is_not_mapped(sql: bytes) -> None:
    assert parse_kill(sql) is None
    with pytest.raises(ValueError, match="not a KILL"):
        rewrite_kill(sql, 1)


@pytest.mark.parametrize(("sql", "kind", "number", "force"), KILLS)
def test_only_the_number_is_replaced(
    sql: bytes, kind: KillKind, number: int, force: str | None
) -> None:
    rewritten = rewrite_kill(sql, 424242)
    before, after = parse_kill(sql), parse_kill(rewritten)
    assert before is not None
    assert after is not None
    assert after.id == 424242
    assert (after.kind, after.force) == (before.kind, before.force)
    start, end = before.span
    assert rewritten == sql[:start] + b"424242" + sql[end:]


def test_what_follows_stays() -> None:
    kill = parse_kill(b"KILL 5; SELECT 1")
    assert kill is not None
    assert not kill.alone
    assert rewrite_kill(b"KILL 5; SELECT 1", 6) == b"KILL 6; SELECT 1"
    alone = parse_kill(b"KILL 5; -- done\n ; /* really */")
    assert alone is not None
    assert alone.alone


def test_latin_1_and_utf_8_around_do_not_matter() -> None:
    for text in ("/* größer */ KILL 5 # ü".encode(), "/* größer */ KILL 5".encode("latin-1")):
        kill = parse_kill(text)
        assert kill is not None
        assert kill.id == 5


@pytest.mark.parametrize(
    "sql",
    [
        b"/*" * 500_000,
        b"/* " + b"*" * 1_000_000,
        b" " * 1_000_000,
        b"/**/" * 250_000,
        b"KILL " + b"#\n" * 500_000,
        b"--\n" * 330_000,
        b"KILL 1" + b"/*" * 500_000,
        b"KILL 1;" + b"/**/ " * 200_000 + b"x",
        b"KILL " + b"1" * 1_000_000,
    ],
)
@pytest.mark.timeout(5)
def test_hostile_texts_take_linear_time(sql: bytes) -> None:
    parse_kill(sql)


@given(garbage(*(sql for sql, *_ in KILLS), *OTHERS))
def test_garbage_is_a_kill_or_none(sql: bytes) -> None:
    kill = parse_kill(sql)
    if kill is not None:
        assert parse_kill(rewrite_kill(sql, kill.id)) is not None


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from(KillKind))
def test_any_id(number: int, other: int, kind: KillKind) -> None:
    sql = f"KILL {kind.name} {number}".encode()
    kill = parse_kill(sql)
    assert kill is not None
    assert kill[:2] == (kind, number)
    assert rewrite_kill(sql, other) == f"KILL {kind.name} {other}".encode()


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0x03, "COM_QUERY"),
        (0x1F, "COM_RESET_CONNECTION"),
        (0xFA, "COM_STMT_BULK_EXECUTE"),
        (0x2A, "COM_0x2a"),
        (0xFF, "COM_0xff"),
    ],
)
def test_names_of_commands(number: int, name: str) -> None:
    assert command_name(number) == name
