# SPDX-License-Identifier: Apache-2.0
"""What once crossed from one multiplexed session to another, or ended the worker."""

from __future__ import annotations

import pytest

from hproxy._native.decision import Decision
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.pool import Group, Server
from hproxy.protocols.mysql.wire import u32
from tests.native.multiplex_rig import TOO_LONG, Client, Pooled
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import packet

MIB = 1 << 20
WHOLE_LIMIT = 49152
PIN_TRANSACTION = 1
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])


def nothing_came(rig: Pooled) -> bool:
    """The backends read not a byte, and their connections wait for whoever comes."""
    return all(backend.heard() == b"" and backend.free for backend in rig.backends)


@pytest.mark.parametrize(
    ("head", "answered"),
    [
        (b"\x17" + u32(7) + b"\0" + u32(1), True),  # an execution of nobody's statement
        (b"\x1a" + u32(7), True),
        (b"\x1f", True),  # a reset with padding: the server would run it
        (b"\x1b\0\0", True),
        (b"\x18" + u32(7) + b"\0\0", False),  # long data for nobody's statement: not answered
    ],
    ids=["execute", "statement reset", "reset", "set option", "long data"],
)
def test_a_long_command_that_is_no_query_reaches_nobody(head: bytes, answered: bool) -> None:
    rig = Pooled()
    client = rig.login()
    command = packet(head + b"x" * (MIB + 7))
    assert client.pour(command, rig.backends[0].peer) == b""
    assert client.heard() == (framed([TOO_LONG]) if answered else b"")
    assert nothing_came(rig)
    # The session goes on.
    client.ask(b"\x03SELECT 1")
    assert rig.backends[0].heard() == packet(b"\x03SELECT 1")
    rig.backends[0].say(ROWS)
    assert client.heard() == ROWS
    assert rig.conserved()


def test_a_long_prepare_is_read_whole() -> None:
    rig = Pooled()
    client = rig.login()
    text = b"\x16INSERT INTO t VALUES " + b"(1)," * (MIB // 2) + b"(1)"
    client.pour(packet(text), rig.backends[0].peer)
    assert [payload for payload in rig.slow.about("statement") if payload == text]


def test_a_transaction_that_an_error_follows_keeps_its_connection() -> None:
    """BEGIN; INSERT; a duplicate, in one text: the OKs told of it, the ERR says nothing."""
    rig = Pooled()
    rig.slow.reader = Group("readers", rig.slow, 10)
    rig.connect(rig.slow.reader.add(Server("db2", 1)))
    writer = rig.backends[0]
    client = rig.login()
    client.ask(b"\x03INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)")
    writer.heard()
    writer.say(framed([ok(status=0x0B), err(1062)]))
    assert client.session.in_transaction
    client.ask(b"\x03SELECT 1")
    assert writer.heard() == packet(b"\x03SELECT 1")


def test_after_an_error_without_autocommit_the_next_answer_tells() -> None:
    rig = Pooled()
    client = rig.login()
    client.ask(b"\x03INSERT INTO t VALUES (1)")
    rig.backends[0].heard()
    rig.backends[0].say(framed([ok(status=0)]))
    client.ask(b"\x03INSERT INTO t VALUES (1)")
    rig.backends[0].heard()
    rig.backends[0].say(framed([err(1062)]))
    assert client.session.pins & PIN_TRANSACTION
    client.ask(b"\x03UPDATE t SET a = 1")
    rig.backends[0].heard()
    rig.backends[0].say(framed([ok(status=0)]))
    assert not client.session.pins & PIN_TRANSACTION


def test_questions_that_wait_are_asked_where_their_statement_ran() -> None:
    """A read for another hostgroup does not take the session there before they were asked."""
    rig = Pooled()
    rig.slow.reader = Group("readers", rig.slow, 10)
    rig.connect(rig.slow.reader.add(Server("db2", 1)))
    writer = rig.backends[0]
    client = rig.login()
    client.ask(b"\x03INSERT INTO t VALUES (1)")
    writer.heard()
    writer.say(framed([ok(warnings=1)]))
    client.session.watch_next = True
    client.ask(b"\x03SELECT 1")
    assert writer.heard() == packet(b"\x03SELECT 1")


def test_a_piece_of_a_command_takes_no_connection() -> None:
    rig = Pooled()
    client = rig.login()
    statement = client.prepared(params=1)
    whole = packet(b"\x17" + u32(statement.client_id) + b"\0" + u32(1) + b"\0\1\x08\0" + bytes(8))
    client.send(whole[:9])
    assert client.session.held is None
    assert rig.backends[0].free
    other = rig.login()
    other.ask(b"\x03SELECT 1")
    assert rig.backends[0].heard() == packet(b"\x03SELECT 1")


def test_a_count_of_attribute_sets_that_is_not_one_is_read_by_the_driver() -> None:
    """Written in three bytes it hid the text behind it from the digest, not from the server."""
    rig = Pooled()
    client = rig.login(query_attributes=True)
    client.ask(b"\x03\0\xfc\1\0SET @x = 1")
    assert rig.slow.count("decide") == 0
    assert rig.slow.count("statement") == 1


def test_types_are_put_into_a_long_execution() -> None:
    """Bound once, executed again on a connection that has other types: its head is rewritten."""
    rig = Pooled()
    client, other = rig.login(), rig.login()
    statement = client.prepared(params=1)
    twin = other.session.prepare_statements().add(statement.statement)
    backend = rig.backends[0]
    backend.connection.statements.put(statement.statement, 1001)

    def execution(number: int, types: bytes, value: bytes) -> bytes:
        return packet(b"\x17" + u32(number) + b"\0" + u32(1) + b"\0" + types + value)

    bound = execution(statement.client_id, b"\1\xfc\0", b"\1a")
    client.send(bound)
    assert backend.heard() == execution(1001, b"\1\xfc\0", b"\1a")
    backend.say(OK)
    other.send(execution(twin.client_id, b"\1\x08\0", bytes(8)))
    backend.heard()
    backend.say(OK)
    blob = b"\xfd" + (4 * WHOLE_LIMIT).to_bytes(3, "little") + b"b" * (4 * WHOLE_LIMIT)
    sent = client.pour(execution(statement.client_id, b"\0", blob), backend.peer)
    assert sent == execution(1001, b"\1\xfc\0", blob)
    client.heard()
    other.heard()
    backend.say(OK)
    assert client.heard() == OK


def by_number(hold: bool) -> tuple[Pooled, Client]:
    """A command of the driver's that names a statement of its connection; it was not run there."""
    rig = Pooled(connections=2)
    client = rig.login()

    def submit(session: Multiplexed, payload: bytes, decision: Decision | None) -> None:
        if hold:
            session.hold_until_answered()
        session.submit(b"\x17" + u32(1001) + b"\0" + u32(1), rig.slow.decision(b"SELECT 1"))

    # As in the product: it holds a connection by then, for it was prepared there.
    rig.slow.on_statement = submit
    client.ask(b"\x03SET @a = 1")
    used = next(backend for backend in rig.backends if backend.heard())
    used.say(packet(b"\xff\xbf\x0f#HY000idle for too long"))
    return rig, client


def test_what_names_a_statement_of_its_connection_is_not_sent_to_another() -> None:
    """A farewell in place of the answer: it did not run, and its number is another's elsewhere."""
    rig, client = by_number(hold=True)
    assert [backend.heard() for backend in rig.backends] == [b"", b""]
    assert rig.slow.count("may repeat") == 0
    assert client.heard() != b""


def test_other_commands_are_sent_again_after_a_farewell() -> None:
    rig, _ = by_number(hold=False)
    assert rig.slow.count("may repeat") == 1
    assert any(backend.heard() for backend in rig.backends)
