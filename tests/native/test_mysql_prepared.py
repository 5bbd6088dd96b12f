# SPDX-License-Identifier: Apache-2.0
"""Commands that name a prepared statement, whose number is another on each connection."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.wire import u32
from tests.native.multiplex_rig import Backend, Client, Pooled
from tests.native.responses import binary_row, columns, eof, err, framed, ok
from tests.native.rig import packet
from tests.support.chopper import Chop

PIN_OPEN_CURSOR, PIN_LONG_DATA = 16, 32

SELECT = b"\x03SELECT 1"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
BINARY = framed([*columns(1, True), binary_row(b"\x011"), *eof(True)])
OK = framed([ok()])
CURSOR = framed([*columns(1, True), *eof(True, 0x42)])
LAST_ROW = framed([binary_row(b"\x011"), *eof(True, 0x82)])
MIB = 1 << 20


def execute(number: int = 1, values: bytes = b"", cursor: bool = False) -> bytes:
    return b"\x17" + u32(number) + bytes([cursor]) + u32(1) + values


def fetch(number: int = 1) -> bytes:
    return b"\x1c" + u32(number) + u32(1)


def long_data(number: int = 1, data: bytes = b"data") -> bytes:
    return b"\x18" + u32(number) + b"\0\0" + data


def close(number: int = 1) -> bytes:
    return b"\x19" + u32(number)


def reset(number: int = 1) -> bytes:
    return b"\x1a" + u32(number)


def exchange(client: Client, backend: Backend, command: bytes, answer: bytes) -> bytes:
    """What the backend is sent of a command; the client must be shown the whole answer."""
    client.ask(command)
    heard = backend.heard()
    backend.say(answer)
    assert client.heard() == answer
    return heard


def test_a_statement_is_prepared_where_it_is_executed() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.prepared()
    assert exchange(ann, rig.backends[1], execute(), BINARY) == packet(execute(1001))
    assert exchange(ann, rig.backends[1], execute(), BINARY) == packet(execute(1001))
    assert rig.slow.about("prepare on") == [1]
    bob = rig.login()
    bob.ask(SELECT)  # takes that connection
    assert exchange(ann, rig.backends[0], execute(), BINARY) == packet(execute(1001))
    assert rig.slow.about("prepare on") == [1, 1]
    assert rig.slow.count("decide") == 1


def test_what_waits_for_a_statement_goes_on_when_it_is_there(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared()
    for piece in chop(packet(execute()) + packet(SELECT)):
        ann.send(piece)
    assert rig.backends[0].heard() == packet(execute(1001))
    rig.backends[0].say(BINARY)
    assert rig.backends[0].heard() == packet(SELECT)


def test_types_are_sent_to_a_connection_that_has_not_seen_them() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.prepared(params=1)
    bound = b"\x00\x01\x08\x00" + bytes(8)
    again = b"\x00\x00" + bytes(8)
    assert exchange(ann, rig.backends[1], execute(1, bound), BINARY) == packet(execute(1001, bound))
    assert exchange(ann, rig.backends[1], execute(1, again), BINARY) == packet(execute(1001, again))
    bob = rig.login()
    bob.ask(SELECT)
    assert exchange(ann, rig.backends[0], execute(1, again), BINARY) == packet(execute(1001, bound))
    assert ann.session.commands == 3
    assert rig.conserved()


@pytest.mark.parametrize("values", [b"", b"\x00", b"\x00\x00" + bytes(8), b"\x00\x01\x08"])
def test_an_execution_that_cannot_be_read_is_refused(values: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared(params=1)
    ann.ask(execute(1, values), b"\x0e")
    assert ann.heard() == framed([b"\xff\xba\x04#HY000unreadable"]) + OK
    assert rig.slow.count("unreadable execute") == 1
    assert rig.backends[0].heard() == b""
    assert rig.conserved()


@pytest.mark.parametrize("number", [1615, 1243])
def test_a_statement_the_server_has_forgotten_is_prepared_again(number: int) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared()
    exchange(ann, rig.backends[0], execute(), BINARY)
    ann.ask(execute())
    for tries in (1, 2, 3):
        assert rig.backends[0].heard() == packet(execute(1001))
        assert rig.slow.about("forget statement") == [1] * (tries - 1)
        rig.backends[0].say(framed([err(number)]))
    assert ann.heard() == framed([err(number)])  # it does not help: the client is told
    assert rig.slow.about("prepare on") == [1, 1, 1]
    assert ann.session.commands == 2
    assert rig.conserved()


def test_a_cursor_keeps_the_connection() -> None:
    rig = Pooled()
    ann = rig.login()
    statement = ann.prepared()
    exchange(ann, rig.backends[0], execute(cursor=True), CURSOR)
    assert (ann.session.pins, statement.cursor_open) == (PIN_OPEN_CURSOR, True)
    assert ann.held() is rig.backends[0].connection
    exchange(ann, rig.backends[0], fetch(), framed([binary_row(b"\x011"), *eof(True, 0x42)]))
    assert ann.session.pins == PIN_OPEN_CURSOR
    assert exchange(ann, rig.backends[0], fetch(), LAST_ROW) == packet(fetch(1001))
    assert (ann.session.pins, statement.cursor_open, ann.held()) == (0, False, None)


@pytest.mark.parametrize("how", ["close", "reset", "execute", "error"])
def test_a_cursor_ends(how: str) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared()
    backend = rig.backends[0]
    exchange(ann, backend, execute(cursor=True), CURSOR)
    if how == "close":
        ann.ask(close())
        assert backend.heard() == packet(close(1001))
        assert backend.connection.statements.count == 0
    elif how == "reset":
        assert exchange(ann, backend, reset(), OK) == packet(reset(1001))
    elif how == "execute":
        exchange(ann, backend, execute(), BINARY)
    else:
        exchange(ann, backend, fetch(), framed([err(1421)]))
        assert ann.session.pins == 128
        exchange(ann, backend, SELECT, ROWS)
    assert (ann.session.pins, ann.held(), backend.free) == (0, None, True)


def test_a_statement_that_had_a_cursor_serves_nobody_else_on_mysql() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared(sticky=True)
    backend = rig.backends[0]
    exchange(ann, backend, execute(cursor=True), CURSOR)
    assert exchange(ann, backend, fetch(), LAST_ROW) == packet(fetch(1001))
    assert backend.heard() == packet(close(1001))
    assert backend.connection.statements.count == 0


def test_long_data_keeps_the_connection_until_it_is_used() -> None:
    rig = Pooled()
    ann = rig.login()
    statement = ann.prepared(params=1)
    backend = rig.backends[0]
    ann.ask(long_data(), long_data(1, b"more"))
    assert backend.heard() == packet(long_data(1001)) + packet(long_data(1001, b"more"))
    assert (ann.state, ann.session.pins, statement.long_data) == ("idle", PIN_LONG_DATA, True)
    bound = b"\x00\x01\xfc\x00"
    assert exchange(ann, backend, execute(1, bound), BINARY) == packet(execute(1001, bound))
    assert (ann.session.pins, ann.held()) == (0, None)


def test_long_data_is_given_up_with_its_statement() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared(params=1)
    ann.ask(long_data(), close())
    assert rig.backends[0].heard() == packet(long_data(1001)) + packet(close(1001))
    assert (ann.session.pins, ann.held(), rig.backends[0].free) == (0, None, True)


def test_long_data_of_more_than_a_mebibyte() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared(params=1)
    ann.ask(long_data())
    rig.backends[0].heard()
    sent = packet(long_data(1, b"x" * (2 * MIB)))
    heard = ann.pour(sent, rig.backends[0].peer)
    assert heard == packet(long_data(1001, b"x" * (2 * MIB)))
    assert ann.state == "idle"


def test_long_data_too_short_to_be_any_ends_the_session() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared(params=1)
    ann.ask(b"\x18" + u32(1))
    assert rig.slow.count("client fault") == 1
    assert (ann.state, rig.backends[0].heard()) == ("closed", b"")
    assert rig.over()


def test_an_idle_statement_is_reset_and_closed_by_us() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared()
    exchange(ann, rig.backends[0], execute(), BINARY)
    ann.ask(reset(), close(), close())
    assert ann.heard() == OK
    assert rig.backends[0].heard() == b""
    assert rig.backends[0].connection.statements.count == 1  # for whoever comes next
    assert ann.session.statements is not None
    assert ann.session.statements.count == 0


@pytest.mark.parametrize("command", [execute(7), fetch(7), reset(7), long_data(7), b"\x17\x01"])
def test_a_statement_that_is_none_is_the_drivers(command: bytes) -> None:
    rig = Pooled()
    rig.slow.on_statement = lambda session, payload, decision: session.reply([err(1243)])
    ann = rig.login()
    ann.prepared()
    ann.ask(command)
    assert rig.slow.told == [("statement", command)]
    assert ann.heard() == framed([err(1243)])


@pytest.mark.parametrize(
    "command",
    [b"\x19", b"\x19\x01\x00\x00", close() + bytes(70_000), b"\x18\x01\x00\x00\x00\x00"],
    ids=["no id", "half an id", "no end", "no parameter"],
)
def test_an_unanswered_command_cut_short_ends_the_session(command: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(command)
    assert (ann.state, rig.slow.count("client fault")) == ("closed", 1)


def test_bytes_behind_the_id_of_a_close_are_nobodys() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared()
    ann.ask(close() + b"more")
    assert (ann.state, ann.session.prepare_statements().count) == ("idle", 0)


def test_half_an_execution_may_hold_a_connection_that_is_lost() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.prepared(params=1)
    command = packet(execute(1, b"\x00\x01\x08\x00" + bytes(8)))
    ann.send(command[:14])
    ann.end()
    assert rig.over()
