# SPDX-License-Identifier: Apache-2.0
"""A session is taken from its reactor and goes on in another, at the boundary of two commands."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_handover import (
    arrive,
    at_rest,
    close_there,
    depart,
    prepared_there,
    recall_statements,
    recall_there,
    statements_of,
    tie,
    tied,
    untie,
    untied,
    wake,
)
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.pool import BackendConnection
from tests.native.multiplex_rig import Client, Pooled
from tests.native.responses import binary_row, columns, eof, framed, ok
from tests.native.rig import packet
from tests.native.test_mysql_prepared import execute
from tests.support.socket_pair import Peer

SELECT = b"\x03SELECT 1"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
BINARY = framed([*columns(1, True), binary_row(b"\x011"), *eof(True)])
BEGUN = framed([ok(status=3)])


def carried(ann: Client, rig: Pooled) -> Client:
    """The same client, whose session `rig` has from here on."""
    table = statements_of(ann.session)
    fd, memory = depart(ann.session)
    there = Client.__new__(Client)
    there.rig, there.peer = rig, ann.peer
    there.session = Multiplexed(
        Endpoint(rig.reactor, fd), rig.slow, rig.digester, rig.decisions, rig.settings,
        deprecate_eof=True,
    )  # fmt: skip
    arrive(there.session, memory)
    next_id, latest, entries = table
    again = [
        (entry.statement, entry.client_id, entry.asked, types, shape, mixed)
        for entry, types, shape, mixed in entries
    ]
    recall_statements(there.session, next_id, latest, again)
    there.session.start()
    rig.settle()
    return there


def served(client: Client, command: bytes = SELECT, answer: bytes = ROWS) -> None:
    client.ask(command)
    backend = next(b for b in client.rig.backends if not b.free)
    assert backend.heard()
    backend.say(answer)
    assert client.heard() == answer


def test_it_goes_on() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    served(ann)
    ann.session.row_count = 7
    there = carried(ann, new)
    assert old.reactor.size == 1  # the backend's
    assert ann.state == "closed"
    assert old.slow.about("closed") == []
    assert (there.session.row_count, there.session.found_rows) == (7, 1)
    assert there.session.began == ann.session.began > 0
    served(there)


def test_statements_keep_their_numbers() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    first, second, third = (ann.prepared() for _ in range(3))
    assert ann.session.statements is not None
    ann.session.statements.remove(second.client_id)
    there = carried(ann, new)
    table = there.session.statements
    assert table is not None
    assert (table.count, table.next_id) == (2, 4)
    assert table.latest is table.find(third.client_id)
    assert table.find(second.client_id) is None
    there.ask(execute(first.client_id))
    assert new.backends[0].heard() == packet(execute(1001))
    assert new.slow.about("decide again") == [first.statement.text]


def test_types_are_remembered() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    one = ann.prepared(params=1)
    bound = execute(one.client_id, b"\0\1\x08\0" + bytes(8))
    served(ann, bound, BINARY)
    there = carried(ann, new)
    unbound = execute(one.client_id, b"\0\0" + bytes(8))
    there.ask(unbound)
    assert new.backends[0].heard() == packet(execute(1001, b"\0\1\x08\0" + bytes(8)))


def test_a_transaction_keeps_it() -> None:
    rig = Pooled()
    ann = rig.login()
    served(ann, b"\x03BEGIN", BEGUN)
    assert not at_rest(ann.session)
    with pytest.raises(ValueError, match="does not leave in state idle"):
        depart(ann.session)
    assert ann.state == "idle"
    served(ann, b"\x03COMMIT", framed([ok()]))
    assert at_rest(ann.session)


def test_a_command_under_way_keeps_it() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    assert not at_rest(ann.session)
    rig.backends[0].say(ROWS)
    assert at_rest(ann.session)


@pytest.mark.parametrize("split", range(1, len(packet(SELECT))))
def test_what_was_read_goes_along(split: int) -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    ann.send(packet(SELECT)[:split])
    there = carried(ann, new)
    assert new.backends[0].heard() == b""
    there.send(packet(SELECT)[split:])
    assert new.backends[0].heard() == packet(SELECT)


def test_leaving_takes_no_more_commands() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    ann.session.leaving = True
    ann.ask(SELECT, SELECT)
    assert old.slow.about("departs") == [None]
    assert old.backends[0].heard() == b""
    assert at_rest(ann.session)
    there = carried(ann, new)
    assert new.backends[0].heard() == packet(SELECT)
    new.backends[0].say(ROWS)
    assert there.heard() == ROWS
    assert new.backends[0].heard() == packet(SELECT)


def test_leaving_takes_a_transaction_along() -> None:
    rig = Pooled()
    ann = rig.login()
    served(ann, b"\x03BEGIN", BEGUN)
    ann.session.leaving = True
    ann.ask(SELECT)
    assert rig.slow.about("departs") == [None]
    assert rig.backends[0].heard() == b""
    assert not at_rest(ann.session)
    assert tied(ann.session)


def with_connection(ann: Client, rig: Pooled) -> tuple[Client, Peer]:
    """The same client in `rig`, with the connection it has, and that one's far end."""
    there = next(b for b in ann.rig.backends if b.connection is ann.held())
    next_id, latest, entries = statements_of(ann.session)
    prepared, others = prepared_there(ann.session)
    open_ones = [(entry.client_id, entry.cursor_open, entry.long_data) for entry, *_ in entries]
    fd, memory, backend, known = untie(ann.session)
    found = Client.__new__(Client)
    found.rig, found.peer = rig, ann.peer
    found.session = Multiplexed(
        Endpoint(rig.reactor, fd), rig.slow, rig.digester, rig.decisions, rig.settings,
        deprecate_eof=True,
    )  # fmt: skip
    arrive(found.session, memory)
    again = [
        (entry.statement, entry.client_id, entry.asked, types, shape, mixed)
        for entry, types, shape, mixed in entries
    ]
    recall_statements(found.session, next_id, latest, again)
    rig.bucket.adopt()
    end = Endpoint(rig.reactor, backend)
    connection = BackendConnection(end, rig.bucket, None, rig.settings, 20)
    tie(found.session, connection, known)
    gone = recall_there(found.session, prepared, open_ones)
    found.session.start()
    close_there(found.session, gone + others)
    wake(found.session)
    rig.settle()
    return found, there.peer


def counted(rig: Pooled) -> tuple[int, int, int]:
    return rig.server.opened, rig.bucket.opened, rig.server.used


def test_a_transaction_goes_on_on_its_connection() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    served(ann, b"\x03BEGIN", BEGUN)
    assert counted(old) == (1, 1, 1)
    since = ann.session.transaction_since
    there, backend = with_connection(ann, new)
    assert (counted(old), counted(new)) == ((0, 0, 0), (2, 2, 1))
    assert old.reactor.size == 0
    assert there.session.in_transaction
    assert there.session.transaction_since == since
    there.ask(SELECT)
    assert new.all_to(backend) == packet(SELECT)
    backend.send(framed([ok()]))
    new.settle()
    assert there.heard() == framed([ok()])
    assert counted(new) == (2, 2, 0)  # it is one of the pool's now


def test_statements_there_are_found_and_others_closed() -> None:
    old, new = Pooled(), Pooled()
    bob, ann = old.login(), old.login()
    served(bob, execute(bob.prepared().client_id), BINARY)
    one = ann.prepared(params=1)
    bound = execute(one.client_id, b"\0\1\x08\0" + bytes(8))
    in_transaction = framed([*columns(1, True), binary_row(b"\x011"), *eof(True, 3)])
    served(ann, bound, in_transaction)
    there, backend = with_connection(ann, new)
    assert new.all_to(backend) == packet(b"\x19" + (1001).to_bytes(4, "little"))
    unbound = execute(one.client_id, b"\0\0" + bytes(8))
    there.ask(unbound)
    assert new.all_to(backend) == packet(execute(1002, b"\0\0" + bytes(8)))
    assert new.slow.about("prepare on") == []


def test_what_does_not_begin_is_counted_no_more() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    served(ann, b"\x03BEGIN", BEGUN)
    there, backend = with_connection(ann, new)
    held = untied(there.session)
    assert held is not None
    assert held.closed
    assert counted(new) == (1, 1, 0)
    assert new.all_to(backend) == b""  # not even QUIT
    assert untied(there.session) is None


def test_an_answer_under_way_keeps_both() -> None:
    rig = Pooled()
    ann = rig.login()
    served(ann, b"\x03BEGIN", BEGUN)
    assert tied(ann.session)
    ann.ask(SELECT)
    assert not tied(ann.session)
    with pytest.raises(ValueError, match="do not leave in state response"):
        untie(ann.session)
    assert counted(rig) == (1, 1, 1)


def test_warnings_are_read_before_the_next_command() -> None:
    old, new = Pooled(), Pooled()
    ann = old.login()
    served(ann, b"\x03INSERT", framed([ok(warnings=1)]))
    assert ann.held() is not None
    ann.session.leaving = True
    ann.ask(SELECT)
    assert old.slow.about("departs") == [None]
    assert old.backends[0].heard() == b""
    assert ann.session.yieldable()
    ann.session.begin_yield()  # the driver asks for them, and keeps them
    ann.session.end_yield(0)
    ann.session.settled()
    assert old.slow.about("departs") == [None, None]
    carried(ann, new)
    assert new.backends[0].heard() == packet(SELECT)


def test_staying_takes_what_waits() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.leaving = True
    ann.ask(SELECT)
    ann.session.stay()
    assert rig.backends[0].heard() == packet(SELECT)


def test_quitting_is_no_reason_to_go() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.leaving = True
    ann.ask(b"\x01")
    assert ann.state == "closed"


@pytest.mark.parametrize(
    "entry",
    [
        {"number": 0},
        {"wire": b"\x08"},
        {"shape": b"\x01\x01"},
    ],
)
def test_memories_that_make_no_sense(entry: dict[str, Any]) -> None:
    rig = Pooled()
    ann = rig.login()
    one = ann.prepared(params=1)
    given = {"number": 5, "asked": None, "wire": None, "shape": None, "mixed": False} | entry
    with pytest.raises(ValueError, match="shape"):
        recall_statements(ann.session, 6, None, [(one.statement, *given.values())])
    assert ann.session.statements is not None
    assert ann.session.statements.find(1) is one
