# SPDX-License-Identifier: Apache-2.0
"""Writer or reader: the questions, the answers, the moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.health.model import Add, Address, Remove, ReplicationHostgroups, Row, Server
from hproxy.health.outcome import Failure, Kind
from hproxy.health.read_only import (
    CHECK_TYPES,
    ReadOnly,
    is_on,
    place,
    read_only_of,
    read_only_sql,
)
from tests.support.health import apply

PAIR = ReplicationHostgroups(writer=10, reader=20)
A = Address("a", 3306)


def server(hostgroup: int, status: str = "ONLINE", host: str = "a") -> Server:
    return Server(hostgroup, host, 3306, status=status, weight=7)


@pytest.mark.parametrize("check_type", CHECK_TYPES)
def test_the_question_asks_for_what_the_answer_needs(check_type: str) -> None:
    for name in CHECK_TYPES[check_type]:
        assert f"@@global.{name} AS {name}" in read_only_sql(check_type.upper())


@pytest.mark.parametrize(
    ("check_type", "values", "expected"),
    [
        ("read_only", {"read_only": "1"}, True),
        ("read_only", {"read_only": "0"}, False),
        ("READ_ONLY", {"read_only": "ON"}, True),
        ("super_read_only", {"super_read_only": "OFF"}, False),
        ("innodb_read_only", {"innodb_read_only": "1"}, True),
        ("read_only|innodb_read_only", {"read_only": "0", "innodb_read_only": "1"}, True),
        ("read_only|innodb_read_only", {"read_only": "0", "innodb_read_only": "0"}, False),
        ("read_only&innodb_read_only", {"read_only": "1", "innodb_read_only": "0"}, False),
        ("read_only&innodb_read_only", {"read_only": "1", "innodb_read_only": "1"}, True),
        ("read_only", {"read_only": None}, None),
    ],
)
def test_the_answer(check_type: str, values: Row, expected: bool | None) -> None:
    assert read_only_of(check_type, [values]) is expected


def test_no_row_is_no_answer() -> None:
    assert read_only_of("read_only", []) is None


@pytest.mark.parametrize(("value", "on"), [("NO_LOCK", True), ("no", False), (None, False)])
def test_flags_of_all_servers(value: str | None, on: bool) -> None:
    assert is_on(value) is on


def test_silence_counts_as_read_only_in_the_end() -> None:
    known, silence = ReadOnly(), Failure(Kind.SILENT, "timeout")
    assert [known.take(silence, 3) for _ in range(4)] == [None, None, True, True]
    assert known.take(False, 3) is False
    assert known.take(Failure(Kind.DOWN, "refused"), 3) is None


def test_who_refuses_to_tell_is_not_silent() -> None:
    known = ReadOnly()
    for kind in (Kind.SILENT, Kind.SILENT, Kind.DENIED, Kind.SILENT, Kind.SILENT, Kind.OURS):
        assert known.take(Failure(kind, ""), 3) is None
    assert known.take(Failure(Kind.SILENT, ""), 3) is True


def test_a_writer_that_never_tells_is_one_again_when_it_answers() -> None:
    known, silence, denied = ReadOnly(), Failure(Kind.SILENT, ""), Failure(Kind.DENIED, "")
    assert known.take(denied, 1) is None
    assert known.take(silence, 1) is True
    assert known.take(denied, 1) is None  # a reader it was, and stays
    assert known.take(silence, 1) is True
    known.fallen = True
    assert known.take(denied, 1) is False
    assert known.last is False
    assert known.take(denied, 1) is None


def test_one_that_has_told_is_not_made_a_writer_by_a_refusal() -> None:
    """Meanwhile another may have been promoted."""
    known = ReadOnly()
    assert known.take(False, 1) is False
    assert known.take(Failure(Kind.SILENT, ""), 1) is True
    known.fallen = True
    assert known.take(Failure(Kind.DENIED, ""), 1) is None
    assert known.take(False, 1) is False
    assert not known.fallen


@pytest.mark.parametrize(
    ("before", "read_only", "both", "after"),
    [
        ({10}, True, True, {20}),
        ({10}, True, False, {20}),
        ({20}, True, True, {20}),
        ({10, 20}, True, True, {20}),
        ({20}, False, True, {10, 20}),
        ({20}, False, False, {10}),
        ({10}, False, True, {10}),
        ({10, 20}, False, True, {10, 20}),
        ({10, 20}, False, False, {10, 20}),  # as the operator configured it
        ({30}, False, True, {30}),
    ],
)
def test_moves(before: set[int], read_only: bool, both: bool, after: set[int]) -> None:
    servers = [server(hostgroup) for hostgroup in sorted(before)]
    changes = place([PAIR], servers, A, read_only, both)
    found = apply(servers, changes)
    assert {s.hostgroup for s in found} == after
    assert all(s.weight == 7 for s in found)
    assert place([PAIR], found, A, read_only, both) == []


def test_a_move_names_the_row_it_copies() -> None:
    writer = server(10)
    assert place([PAIR], [writer], A, True, True) == [Remove(writer), Add(20, writer)]


def test_what_the_operator_holds_offline_stays() -> None:
    assert place([PAIR], [server(10, "OFFLINE_SOFT")], A, True, True) == []
    assert place([PAIR], [server(10), server(20, "OFFLINE_HARD")], A, True, True) == []


def test_each_pair_by_itself() -> None:
    other = ReplicationHostgroups(writer=30, reader=40)
    servers = [server(10), server(30), server(40)]
    found = apply(servers, place([PAIR, other], servers, A, True, True))
    assert {s.hostgroup for s in found} == {20, 40}


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_pairs_that_share_hostgroups_lose_no_server(read_only: bool, both: bool) -> None:
    """Each the other's readers: a mistake that is warned of, and not one to lose servers by."""
    around = ReplicationHostgroups(PAIR.reader, PAIR.writer)
    servers = [server(10), server(20)]
    for _ in range(4):
        servers = apply(servers, place([PAIR, around], servers, A, read_only, both))
        assert servers


@given(
    st.sets(st.tuples(st.sampled_from([10, 20, 30]), st.sampled_from("ab"))),
    st.booleans(),
    st.booleans(),
)
def test_one_server_moves_and_settles(
    rows: set[tuple[int, str]], read_only: bool, both: bool
) -> None:
    servers = [server(hostgroup, host=host) for hostgroup, host in sorted(rows)]
    changes = place([PAIR], servers, A, read_only, both)
    found = apply(servers, changes)
    in_pair = {s.hostgroup for s in found if s.address == A} & {10, 20}
    assert bool(in_pair) == any(s.address == A and s.hostgroup in (10, 20) for s in servers)
    if in_pair:
        assert (10 in in_pair) is not read_only
    assert [s for s in found if s.host == "b"] == [s for s in servers if s.host == "b"]
    assert place([PAIR], found, A, read_only, both) == []
