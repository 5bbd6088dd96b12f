# SPDX-License-Identifier: Apache-2.0
"""Commands counted: twelve times, slow ones, and what a session and its server add to it."""

from __future__ import annotations

import pytest

from hproxy._native.decision import Decision
from hproxy._native.pool import Group
from hproxy._native.statistics import DigestCounters
from hproxy._native.tally import CommandTable
from tests.native.multiplex_rig import Pooled
from tests.native.responses import columns, eof, err, framed, ok

ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok(affected=3)])
ERR = framed([b"\xff\x28\x04#42000You have an error"])
IN_TRANSACTION = framed([ok(status=3)])
MS = 1_000_000


@pytest.mark.parametrize(
    ("ns", "cell"),
    [
        (0, 0), (100_000, 0), (100_001, 1), (500_000, 1), (1 * MS, 2), (5 * MS, 3), (10 * MS, 4),
        (50 * MS, 5), (100 * MS, 6), (500 * MS, 7), (1000 * MS, 8), (5000 * MS, 9),
        (10_000 * MS, 10), (10_000 * MS + 1, 11), (1 << 60, 11),
    ],
)  # fmt: skip
def test_a_time_falls_into_one_cell(ns: int, cell: int) -> None:
    row = CommandTable(["SELECT"]).row("SELECT")
    row.record(ns)
    assert row.histogram == tuple(int(at == cell) for at in range(12))
    assert (row.name, row.count, row.sum_ns) == ("SELECT", 1, ns)


def test_a_table_sums_up_its_rows() -> None:
    table = CommandTable(["A", "B"])
    table.row("A").record(10)
    table.row("B").record(11)
    assert (table.count, table.sum_ns) == (2, 21)


def test_rows_are_in_the_order_given() -> None:
    table = CommandTable(["Z", "A"])
    assert list(table.rows) == ["Z", "A"]
    assert table.ensure("A") is table.row("A")
    table.ensure("M")
    assert list(table.rows) == ["Z", "A", "M"]
    with pytest.raises(KeyError):
        table.row("B")


def test_a_decision_takes_nothing_else_for_a_command() -> None:
    group = Group("group", None, 1)
    with pytest.raises(TypeError):
        Decision(0, group, None, DigestCounters(), 0, b"", command="SELECT")  # type: ignore[arg-type]


def test_a_statement_counts_for_its_command_and_its_server() -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    for command, answer in ((b"\x03SELECT 1", ROWS), (b"\x03UPDATE t", OK), (b"\x03SELECT", ERR)):
        ann.ask(command)
        backend.heard()
        backend.say(answer)
        ann.heard()
    rows = rig.slow.commands.rows
    assert {name: row.count for name, row in rows.items() if row.count} == {
        "SELECT": 2,
        "UPDATE": 1,
    }
    server = rig.server
    assert (server.queries, server.used, server.most_used) == (3, 1, 1)  # its warnings stay there
    assert server.bytes_sent == len(b"\x03SELECT 1") + len(b"\x03UPDATE t") + len(b"\x03SELECT")
    assert server.bytes_received == len(ROWS) + len(OK) + len(ERR)
    assert (rig.group.acquired, rig.group.released, rig.group.waited) == (3, 3, 0)  # 1: new
    asked, sent = rig.reactor.commands()
    assert asked == sent == {3: 3}


def test_an_error_is_told_once_it_is_the_clients() -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    ann.ask(b"\x03SELECT")
    backend.say(ERR)
    # The second comes behind a row: its words are passed on as they come, and not kept.
    ann.ask(b"\x03SELECT 1")
    backend.say(framed([*columns(1, True), b"\x011", err(1317)]))
    ann.ask(b"\x03SELECT 1")
    backend.say(ROWS)
    assert rig.slow.errors == [(1064, ERR[4:]), (1317, None)]


def test_most_used_is_what_was_used_at_once() -> None:
    rig = Pooled(connections=3)
    crowd = [rig.login() for _ in range(3)]
    for client in crowd:
        client.ask(b"\x03SELECT 1")
    assert (rig.server.used, rig.server.most_used) == (3, 3)
    for backend in rig.backends:
        backend.heard()
        backend.say(ROWS)
    assert (rig.server.used, rig.server.most_used) == (0, 3)
    rig.server.most_used = 0
    crowd[0].ask(b"\x03SELECT 1")
    crowd[0].end()
    assert (rig.server.used, rig.server.most_used) == (0, 1)


def test_a_wait_is_counted_and_timed() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    ann.ask(b"\x03SELECT 1")
    bob.ask(b"\x03SELECT 1")
    assert (rig.group.waited, rig.group.acquired) == (1, 1)
    rig.backends[0].say(ROWS)
    assert (rig.group.waited, rig.group.acquired) == (1, 2)
    assert rig.group.wait_seconds > 0
    assert bob.state == "response"


def test_what_a_reader_answers_counts_there() -> None:
    rig = Pooled()
    reader = Group("reader", rig.slow, 10)
    reader.hostgroup = 1
    bucket = reader.add(rig.server)
    rig.server.limit = 2
    rig.slow.reader = reader
    there = rig.connect(bucket)
    ann = rig.login()
    ann.ask(b"\x03SELECT 1")
    there.say(ROWS)
    # Within a transaction it stays on the writer, and counts there.
    ann.ask(b"\x03BEGIN")
    rig.backends[0].say(IN_TRANSACTION)
    ann.ask(b"\x03SELECT 1")
    rig.backends[0].say(framed([*columns(1, True), b"\x011", *eof(True, status=3)]))
    counted = {row.key[0]: row.count_star for row in rig.slow.digests.snapshot()  # type: ignore[index]
               if row.key[3] == b"SELECT 1"}  # type: ignore[index]  # fmt: skip
    assert counted == {0: 1, 1: 1}


def test_what_runs_elsewhere_than_decided_counts_there() -> None:
    """A transaction that stays on its server, say, when rules would send a statement elsewhere."""
    rig = Pooled()
    ann = rig.login()
    ann.ask(b"\x03BEGIN")
    rig.backends[0].say(IN_TRANSACTION)
    other = Group("other", rig.slow, 10)
    other.hostgroup = 7
    rig.slow.group = other
    ann.ask(b"\x03SELECT 2")
    rig.backends[0].say(ROWS)
    counted = {row.key[0] for row in rig.slow.digests.snapshot()  # type: ignore[index]
               if row.key[3] == b"SELECT 2"}  # type: ignore[index]  # fmt: skip
    assert counted == {0}


def test_a_command_is_counted_once_however_often_it_is_sent() -> None:
    rig = Pooled(connections=2)
    ann = rig.login()
    ann.ask(b"\x03SELECT 1")
    rig.backends[1].end()  # the latest that was used is taken first
    rig.backends[0].heard()
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS
    assert rig.reactor.commands() == ({3: 1}, {3: 2})
    assert ann.session.commands == 1


def test_what_the_driver_submits_is_counted_as_it_is_sent() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(b"\x03SET x = 1", b"\x0e")
    rig.backends[0].say(OK)
    assert rig.reactor.commands() == ({3: 1, 0x0E: 1}, {3: 1})


def test_the_statement_that_runs_is_told() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login(query_attributes=True)
    assert ann.session.running == b""
    ann.ask(b"\x03SELECT 4711")
    bob.ask(b"\x03\x00\x01SELECT 4712")
    # Who waits has its text in the inbox: the digest is told, here the text it was decided for.
    assert (ann.session.running, bob.session.running) == (b"SELECT 4711", b"SELECT 4711")
    assert (ann.state, bob.state) == ("response", "waiting")
    assert ann.session.began > 0
    rig.backends[0].say(ROWS)
    assert (ann.session.running, bob.session.running) == (b"", b"SELECT 4712")
