# SPDX-License-Identifier: Apache-2.0
"""Cluster members into hostgroups: the table, the limits, and that it settles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.health.members import Member, State, place
from hproxy.health.model import Address, ClusterHostgroups, Server
from hproxy.health.outcome import Failure, Kind
from tests.support.health import apply

WRITER, BACKUP, READER, OFFLINE = 1, 2, 3, 4
W, R, O = State.WRITABLE, State.READING, State.OFFLINE  # noqa: E741


def row(max_writers: int = 1, also: int = 0) -> ClusterHostgroups:
    return ClusterHostgroups(WRITER, BACKUP, READER, OFFLINE, max_writers, also)


def server(host: str, hostgroup: int, weight: int = 1, status: str = "ONLINE") -> Server:
    return Server(hostgroup, host, 3306, status=status, weight=weight)


def settle(
    cluster: ClusterHostgroups, servers: list[Server], states: dict[str, State]
) -> dict[str, set[int]]:
    """Where everybody is in the end."""
    known = {Address(host, 3306): state for host, state in states.items()}
    found = apply(servers, place(cluster, servers, known))
    assert place(cluster, found, known) == []
    where: dict[str, set[int]] = {}
    for member in found:
        where.setdefault(member.host, set()).add(member.hostgroup)
    return where


@pytest.mark.parametrize(
    ("also", "chosen", "spare"),
    [
        (0, {WRITER}, {BACKUP}),
        (1, {WRITER, READER}, {BACKUP, READER}),
        (2, {WRITER}, {BACKUP, READER}),
    ],
)
def test_writer_is_also_reader(also: int, chosen: set[int], spare: set[int]) -> None:
    servers = [server(host, WRITER) for host in "abcd"]
    where = settle(row(1, also), servers, {"a": W, "b": W, "c": R, "d": O})
    assert where == {"a": spare, "b": chosen, "c": {READER}, "d": {OFFLINE}}


def test_the_heaviest_write() -> None:
    servers = [server("a", READER, 10), server("b", WRITER, 5), server("c", OFFLINE, 7)]
    where = settle(row(2), servers, dict.fromkeys("abc", W))
    assert where == {"a": {WRITER}, "b": {BACKUP}, "c": {WRITER}}


def test_who_writes_goes_on_writing_among_equals() -> None:
    servers = [server("a", WRITER), server("z", OFFLINE)]
    assert settle(row(), servers, {"a": W, "z": W}) == {"a": {WRITER}, "z": {BACKUP}}


def test_the_backup_takes_over() -> None:
    servers = [server("a", WRITER), server("b", BACKUP)]
    assert settle(row(), servers, {"a": O, "b": W}) == {"a": {OFFLINE}, "b": {WRITER}}


def test_who_was_not_heard_of_keeps_its_place() -> None:
    servers = [server("a", WRITER), server("b", READER)]
    assert settle(row(), servers, {"b": W}) == {"a": {WRITER}, "b": {BACKUP}}
    assert settle(row(2), servers, {"b": W}) == {"a": {WRITER}, "b": {WRITER}}


def test_the_operator_stands_above() -> None:
    servers = [server("a", WRITER, status="OFFLINE_SOFT"), server("b", BACKUP)]
    where = settle(row(), servers, {"a": W, "b": W})
    assert where == {"a": {WRITER}, "b": {WRITER}}


def test_no_writers_wanted() -> None:
    assert settle(row(0), [server("a", WRITER)], {"a": W}) == {"a": {BACKUP}}


def test_member_is_offline_after_so_many_timeouts() -> None:
    member, silence = Member(), Failure(Kind.SILENT, "timeout")
    assert member.take(W, 3)
    assert [member.take(silence, 3) for _ in range(3)] == [False, False, True]
    assert member.state is O
    assert member.take(W, 3)
    assert member.silent == 0


@pytest.mark.parametrize(
    ("kind", "state"), [(Kind.DOWN, O), (Kind.REFUSED, O), (Kind.DENIED, W), (Kind.OURS, W)]
)
def test_member_that_gives_no_answer(kind: Kind, state: State) -> None:
    member = Member()
    member.take(W, 3)
    member.take(Failure(kind, ""), 3)
    assert member.state is state


@given(
    st.sets(st.tuples(st.sampled_from("abcde"), st.integers(1, 5)), max_size=12),
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from(State)),
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 3)),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_any_cluster_settles(
    rows: set[tuple[str, int]],
    states: dict[str, State],
    weights: dict[str, int],
    max_writers: int,
    also: int,
) -> None:
    servers = [server(host, group, weights.get(host, 1)) for host, group in sorted(rows)]
    where = settle(row(max_writers, also), servers, states)
    assert where.keys() == {host for host, _ in rows}  # nobody is lost
    members = {host for host, group in rows if group <= OFFLINE}
    known = members & states.keys()
    unknown_writers = {host for host in members - known if (host, WRITER) in rows}
    writers = {host for host in known if WRITER in where[host]}
    writable = {host for host in known if states[host] is W}
    assert len(writers) == min(len(writable), max(0, max_writers - len(unknown_writers)))
    assert writers <= writable
    for host in known:
        assert (OFFLINE in where[host]) == (states[host] is O)
        if states[host] is R:
            assert where[host] - {5} == {READER}
