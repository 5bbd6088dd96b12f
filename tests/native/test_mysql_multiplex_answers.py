# SPDX-License-Identifier: Apache-2.0
"""What an answer says beside its rows: session state, warnings, ids; and where it is about us."""

from __future__ import annotations

import socket

import pytest

from hproxy.protocols.mysql.wire import lenenc_string
from tests.native.multiplex_rig import Client, Pooled
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import LOST, packet
from tests.support.chopper import Chop

SELECT = b"\x03SELECT 1"
INSERT = b"\x03INSERT INTO t VALUES (1)"
BEGIN = b"\x03BEGIN"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])
CHANGED = 0x4000

# Session state as both servers send it.
STARTED = b"\x05\x09\x08T_______" + b"\x04\x13\x12START TRANSACTION;"
ENDED = b"\x05\x09\x08________" + b"\x04\x01\x00"
NEXT = b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED;"
NEXT_STATE = b"\x04" + lenenc_string(lenenc_string(NEXT))
USED_UP = b"\x04\x01\x00"
VARIABLE = b"\x00\x0f\x0aautocommit\x03OFF"
SCHEMA = b"\x01\x05\x04shop"

PIN_FOUND_ROWS, PIN_WARNINGS, PIN_NEXT_TRANSACTION = 64, 128, 512


def tracked(state: bytes, status: int = 2, info: bytes = b"", **given: int) -> bytes:
    """An OK with session state."""
    return ok(status=status | CHANGED, info=lenenc_string(info) + lenenc_string(state), **given)


def plain(status: int = 2, info: bytes = b"", **given: int) -> bytes:
    """The same as the client is to see it."""
    return ok(status=status, info=lenenc_string(info) if info else b"", **given)


def answered(rig: Pooled, client: Client, command: bytes, answer: bytes) -> bytes:
    client.ask(command)
    rig.backends[0].heard()
    rig.backends[0].say(answer)
    return client.heard()


# -- session state ----------------------------------------------------------------------


@pytest.mark.parametrize("info", [b"", b"Rows matched: 1"])
@pytest.mark.parametrize("state", [STARTED, ENDED, USED_UP, b""])
def test_transaction_state_is_for_us(chop: Chop, state: bytes, info: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(BEGIN)
    for piece in chop(framed([tracked(state, 3, info)])):
        rig.backends[0].say(piece)
    assert ann.heard() == framed([plain(3, info)])
    assert ann.session.in_transaction
    assert rig.slow.count("tracked") == 0


@pytest.mark.parametrize("info", [b"", b"x"])
def test_at_the_end_of_rows(chop: Chop, info: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    rows = [*columns(1, True), b"\x011", b"\x012"]
    for piece in chop(framed([*rows, tracked(STARTED, 3, info, header=0xFE)])):
        rig.backends[0].say(piece)
    assert ann.heard() == framed([*rows, plain(3, info, header=0xFE)])
    assert (ann.state, ann.session.in_transaction) == ("idle", True)


def test_in_every_one_of_several_results(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    rows = [*columns(2, True), b"\x011\x012"]
    given = [
        tracked(STARTED, 0x0A), *rows, tracked(USED_UP, 0x0B, header=0xFE),
        tracked(STARTED, 0x0A, b"info"), ok(status=8), *rows, tracked(ENDED, 2, header=0xFE),
    ]  # fmt: skip
    shown = [
        plain(0x0A), *rows, plain(0x0B, header=0xFE),
        plain(0x0A, b"info"), ok(status=8), *rows, plain(2, header=0xFE),
    ]  # fmt: skip
    for piece in chop(framed(given)):
        rig.backends[0].say(piece)
    assert ann.heard() == framed(shown)
    assert (ann.state, ann.held()) == ("idle", None)


def test_without_deprecate_eof_only_the_flag_is_there(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login(deprecate_eof=False)
    ann.ask(SELECT)
    given = [*columns(1, False, 3 | CHANGED), b"\x011", *eof(False, 3 | CHANGED)]
    for piece in chop(framed(given)):
        rig.backends[0].say(piece)
    assert ann.heard() == framed([*columns(1, False, 3), b"\x011", *eof(False, 3)])
    assert ann.session.in_transaction


@pytest.mark.parametrize("state", [VARIABLE, SCHEMA, STARTED + VARIABLE, b"\x02\x01\x311"[:4]])
def test_the_driver_is_told_of_everything_else(state: bytes) -> None:
    rig = Pooled()
    rig.slow.on_tracked = lambda session, payload: ok(affected=1)
    ann = rig.login()
    given = tracked(state, affected=1)
    assert answered(rig, ann, SELECT, framed([given])) == framed([ok(affected=1)])
    assert rig.slow.about("tracked") == [given]


def test_what_the_driver_shows_may_be_all_of_it(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    given = framed([tracked(VARIABLE, 0x0A), tracked(SCHEMA)])
    for piece in chop(given):
        rig.backends[0].say(piece)
    assert ann.heard() == given


def test_what_the_driver_shows_may_not_be_longer() -> None:
    rig = Pooled()
    rig.slow.on_tracked = lambda session, payload: payload + b"!"
    ann = rig.login()
    assert answered(rig, ann, SELECT, framed([tracked(VARIABLE)])) == b""
    assert [type(error) for error in rig.slow.about("broken")] == [ValueError]
    assert (ann.state, rig.server.opened) == ("closed", 0)


def test_a_watched_statement_shows_the_driver_all_state() -> None:
    rig = Pooled()
    ann = rig.login()
    given = tracked(STARTED, 3)
    answered(rig, ann, b"\x03SET x = 1", framed([given]))
    assert rig.slow.about("tracked") == [given]
    assert rig.slow.count("finished") == 1


def test_a_client_with_tracking_of_its_own_is_the_drivers() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.shows_state = True
    given = framed([tracked(ENDED)])
    assert answered(rig, ann, SELECT, given) == given
    assert rig.slow.count("tracked") == 1


@pytest.mark.parametrize("shown", [False, True])
def test_rows_end_with_the_flag_of_state_only_for_who_asked(shown: bool) -> None:
    """What sets it in an EOF need not be what a client with tracking of its own asked for."""
    rig = Pooled()
    ann = rig.login(deprecate_eof=False)
    ann.session.shows_state, ann.session.shows_in_eof = True, shown
    rows = framed([b"\1", b"\3def\0\0\0\1a\0\x0c?\0\1\0\0\0\3\0\0\0\0\0"])
    eof = b"\5\0\0\3\xfe\0\0\x02\x40\5\0\0\4\xfe\0\0\x02\x40"
    got = answered(rig, ann, SELECT, rows + eof)
    assert got == rows + (eof if shown else eof.replace(b"\x40", b"\0"))


def test_state_for_the_next_transaction_keeps_the_connection() -> None:
    rig = Pooled()
    ann = rig.login()
    answered(rig, ann, b"\x03DO 1", framed([tracked(NEXT_STATE)]))
    assert ann.session.pins == PIN_NEXT_TRANSACTION
    assert ann.held() is rig.backends[0].connection
    # START TRANSACTION repeats it while the transaction lasts: it is not for another one.
    answered(rig, ann, BEGIN, framed([tracked(NEXT_STATE + STARTED, 3)]))
    assert ann.session.pins == 0
    answered(rig, ann, b"\x03COMMIT", framed([tracked(ENDED)]))
    assert ann.held() is None
    answered(rig, ann, b"\x03DO 1", framed([tracked(NEXT_STATE)]))
    answered(rig, ann, SELECT, framed([*columns(1, True), tracked(USED_UP, header=0xFE)]))
    assert (ann.session.pins, ann.held()) == (0, None)


def test_state_too_long_to_be_held_passes_and_the_driver_knows(chop: Chop) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    long = b"\x00" + lenenc_string(lenenc_string(b"wsrep") + lenenc_string(b"x" * 60_000))
    given = framed([tracked(long)])
    heard = b""
    for piece in chop(given) if chop.__name__ != "bytewise" else [given[:9], given[9:]]:
        rig.backends[0].say(piece)
        heard += ann.heard()
    assert heard == given
    assert rig.slow.told[1:] == [("unseen", None)]
    assert ann.state == "idle"


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"\x00",
        b"\xff",
        b"\x05ab",
        b"\x00\x09\x05",
        b"\x00\x02\x05\x09",
        b"\x00\xfc\xff",
        b"\x00\xfe" + b"\xff" * 8,
        b"\x00\x03\x05\xfe\xff",
        b"\x00\x04\x05\xfd\xff\xff",
        b"\xfe" + b"\xff" * 8 + b"\x01",
        b"\x00\x0a\x04\xfe" + b"\xff" * 8,
    ],
)
def test_state_that_cannot_be_read_is_passed_on(chop: Chop, tail: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.shows_transactions = True
    ann.ask(SELECT)
    given = framed([ok(status=2 | CHANGED, info=tail)])
    for piece in chop(given):
        rig.backends[0].say(piece)
    heard = ann.heard()
    assert heard in (given, framed([ok()]))
    assert ann.state == "idle"


# -- what a statement leaves behind ---------------------------------------------------


def test_warnings_keep_the_connection_until_nobody_can_ask_for_them() -> None:
    rig = Pooled()
    ann = rig.login()
    answered(rig, ann, INSERT, framed([ok(warnings=2)]))
    assert (ann.session.pins, ann.session.yieldable()) == (PIN_WARNINGS, True)
    answered(rig, ann, b"\x03SHOW WARNINGS", ROWS)
    assert ann.session.pins == PIN_WARNINGS
    answered(rig, ann, SELECT, ROWS)
    assert (ann.session.pins, ann.held()) == (0, None)


def test_an_error_is_a_warning_that_can_be_asked_for() -> None:
    rig = Pooled()
    ann = rig.login()
    assert answered(rig, ann, SELECT, framed([err(1064)])) == framed([err(1064)])
    assert ann.session.pins == PIN_WARNINGS
    assert ann.session.row_count == -1
    assert ann.session.answered_decision is not None
    assert ann.session.answered_decision.counters.errors == 1


def test_found_rows_keep_the_connection() -> None:
    rig = Pooled()
    ann = rig.login()
    answered(rig, ann, b"\x03SELECT SQL_CALC_FOUND_ROWS 1 FROM t LIMIT 0", ROWS)
    assert (ann.session.pins, ann.session.found_rows) == (PIN_FOUND_ROWS, 1)
    answered(rig, ann, SELECT, ROWS)
    assert ann.held() is None


def test_the_context_of_a_statement_is_asked_for_on_its_connection() -> None:
    rig = Pooled(2)
    ann, bob = rig.login(), rig.login()
    ann.ask(SELECT)
    bob.ask(SELECT)
    rig.backends[1].say(ROWS)
    rig.backends[0].say(ROWS)  # used last
    assert ann.session.last is rig.backends[1].connection
    ann.ask(b"\x03SHOW WARNINGS")
    assert ann.held() is rig.backends[1].connection
    assert rig.slow.count("statement") == 0


def test_the_driver_is_asked_when_its_connection_served_others() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    for client in (ann, bob):
        client.ask(SELECT)
        rig.backends[0].say(ROWS)
        client.heard()
    assert not ann.session.context_kept
    ann.ask(b"\x03SHOW WARNINGS")
    assert rig.slow.about("statement") == [b"\x03SHOW WARNINGS"]


def test_a_row_count_is_remembered() -> None:
    rig = Pooled()
    ann = rig.login()
    answered(rig, ann, INSERT, framed([ok(7, 12)]))
    assert (ann.session.row_count, ann.session.last_insert_id) == (7, 12)
    answered(rig, ann, SELECT, ROWS)
    assert (ann.session.row_count, ann.session.found_rows) == (-1, 1)


def test_an_insert_id_is_taken_to_the_connection_that_is_asked() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    answered(rig, ann, INSERT, framed([ok(1, 12)]))
    assert ann.session.last_insert_id == 12
    answered(rig, bob, INSERT, framed([ok(1, 13)]))
    ann.ask(b"\x03SELECT LAST_INSERT_ID()")
    assert rig.slow.count("align") == 1
    assert rig.backends[0].connection.insert_owner == ann.session.serial
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS


def test_an_insert_id_is_read_before_the_connection_is_given_back() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.exact_insert_ids = True
    answered(rig, ann, INSERT, framed([ok(1, 12)]))
    assert rig.slow.count("read insert id") == 1
    answered(rig, ann, SELECT, ROWS)
    assert rig.slow.count("read insert id") == 1
    assert rig.conserved()


# -- an error about our connection ----------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [framed([err(1053)], 0), framed([err(4031)], 0), *(framed([err(n)]) for n in (1053, 1927))],
    ids=["0/1053", "0/4031", "1053", "1927"],
)
def test_a_read_is_repeated_elsewhere(chop: Chop, refusal: bytes) -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(SELECT)
    assert rig.backends[1].heard() == packet(SELECT)
    for piece in chop(refusal):
        rig.backends[1].say(piece)
    assert rig.backends[0].heard() == packet(SELECT)
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS
    assert (ann.session.commands, rig.server.opened) == (1, 1)
    assert rig.conserved()


def test_a_write_is_repeated_when_it_was_not_read() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(INSERT)
    rig.backends[1].say(framed([err(4031)], 0))
    assert rig.backends[0].heard() == packet(INSERT)
    ann.session.give_up()
    rig.backends[0].end()


def test_a_write_that_may_have_run_is_not_repeated() -> None:
    rig = Pooled(2)
    ann = rig.login()
    refusal = framed([err(1927)])
    ann.ask(INSERT)
    rig.backends[1].say(refusal)
    assert ann.heard() == refusal
    assert rig.backends[0].heard() == b""
    ann.ask(SELECT)
    rig.backends[1].say(ROWS)
    assert rig.server.opened == 1  # it is not lent to anybody again


def test_a_statement_is_repeated_so_often_and_not_more() -> None:
    rig = Pooled(3)
    ann = rig.login()
    refusal = framed([err(1053)], 0)
    ann.ask(SELECT)
    rig.backends[2].say(refusal)
    rig.backends[1].say(refusal)
    assert ann.heard() == refusal
    assert (ann.state, rig.server.opened) == ("idle", 2)
    assert rig.backends[0].heard() == b""


def test_in_a_transaction_nothing_is_repeated() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(BEGIN)
    rig.backends[1].say(framed([ok(status=3)]))
    ann.heard()
    ann.ask(SELECT)
    refusal = framed([err(1053)], 0)
    rig.backends[1].say(refusal)
    assert ann.heard() == refusal
    rig.backends[1].end()
    assert ("backend lost", "idle") in rig.slow.told
    ann.ask(SELECT, SELECT)
    assert ann.heard() == framed([LOST])
    assert rig.backends[0].heard() == packet(SELECT)


def test_the_loss_is_told_to_the_first_command_that_has_an_answer() -> None:
    rig = Pooled()
    ann = rig.login()
    statement = ann.prepared()
    ann.session.refuse_next(LOST)
    long_data = b"\x18\x01\x00\x00\x00\x00\x00data"
    close = b"\x19\x01\x00\x00\x00"
    ann.ask(long_data, close, b"\x0e", b"\x0e")
    assert ann.heard() == framed([LOST]) + OK
    assert ann.session.statements is not None
    assert (ann.session.statements.count, statement.long_data) == (0, False)
    assert rig.backends[0].heard() == b""


def test_a_status_that_is_over_does_not_come_back() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(BEGIN)
    rig.backends[1].say(framed([ok(status=3)]))
    ann.heard()
    rig.backends[1].end()
    assert not ann.session.in_transaction
    ann.ask(b"\x0e", b"\x09")  # refused, and COM_STATISTICS, which tells no status
    rig.backends[0].say(framed([b"Uptime: 1"]))
    assert ann.heard() == framed([LOST]) + framed([b"Uptime: 1"])
    assert (ann.session.in_transaction, ann.held()) == (False, None)


# -- the backend is lost --------------------------------------------------------------


def test_an_idle_connection_that_is_lost_is_nobodys_affair() -> None:
    rig = Pooled(2)
    ann = rig.login()
    rig.backends[1].say(framed([err(4031)], 0))
    rig.backends[0].end()
    assert (rig.server.opened, rig.bucket.idle) == (0, 0)
    assert rig.slow.count("idle lost") == 2
    assert ann.state == "idle"


def test_a_read_is_sent_again_when_nothing_of_its_answer_came() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(SELECT)
    rig.backends[1].say(ROWS[:3])  # half a head: nobody was shown it
    rig.backends[1].end()
    assert rig.backends[0].heard() == packet(SELECT)
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"", framed([LOST])),
        (OK[:6], framed([LOST])),
        (ROWS[:20], ROWS[:5] + framed([LOST], 2)),  # of a packet's head nobody is shown a part
        (ROWS[:34], ROWS[:34]),
    ],
)
def test_a_write_is_not_sent_again(said: bytes, shown: bytes) -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(INSERT)
    rig.backends[1].say(said)
    rig.backends[1].end()
    assert ann.heard() == shown
    assert ann.state == ("closed" if shown == said else "idle")
    assert rig.backends[0].heard() == b""
    assert rig.conserved()


def test_rows_are_broken_off_where_a_packet_ends() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(SELECT)
    rows = framed([*columns(1, True), b"\x011"])
    rig.backends[1].say(rows)
    rig.backends[1].end()
    assert ann.heard() == rows + framed([LOST], 4)
    assert ann.state == "idle"
    ann.ask(SELECT)
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS


def test_rows_broken_off_inside_a_packet_end_the_session() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    cut = framed([*columns(1, True), b"\x05hello"])[:-2]
    rig.backends[0].say(cut)
    rig.backends[0].end()
    assert ann.heard() == cut
    assert (ann.state, rig.server.opened) == ("closed", 0)


def test_a_lost_transaction_is_told_with_the_next_command() -> None:
    rig = Pooled(2)
    ann = rig.login()
    ann.ask(BEGIN)
    rig.backends[1].say(framed([ok(status=3)]))
    assert ann.heard() == framed([ok(status=3)])
    rig.backends[1].end()
    assert ann.heard() == b""
    assert not ann.session.in_transaction
    ann.ask(SELECT)
    assert ann.heard() == framed([LOST])


def test_bytes_nobody_asked_for_cost_the_connection() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(BEGIN)
    rig.backends[0].say(framed([ok(status=3)]))
    rig.backends[0].say(ROWS)
    assert rig.slow.about("backend lost") == ["idle"]
    assert (ann.held(), rig.server.opened) == (None, 0)
    assert ann.heard() == framed([ok(status=3)])


def test_bytes_behind_an_answer_cost_the_connection_and_reach_nobody() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()
    ann.ask(SELECT)
    bob.ask(SELECT)
    rig.backends[0].say(ROWS + ROWS)
    assert ann.heard() == ROWS
    assert bob.heard() == b""
    assert (ann.state, bob.state, rig.server.opened) == ("idle", "waiting", 0)
    assert rig.backends[0].heard() == packet(SELECT)


def test_bytes_behind_a_pinning_answer_cost_the_connection_later() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(BEGIN)
    rig.backends[0].say(framed([ok(status=3)]) + OK[:3])
    assert ann.session.in_transaction
    ann.ask(b"\x03COMMIT")
    rig.backends[0].say(OK)
    assert rig.server.opened == 0


@pytest.mark.parametrize(
    "answer", [b"\x01\x00\x00\x07\x00", b"\x00\x00\x00\x01", framed([b"\x00\x01"])]
)
def test_an_answer_that_makes_no_sense_ends_session_and_connection(answer: bytes) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.ask(SELECT)
    rig.backends[0].say(answer)
    assert (ann.state, rig.server.opened) == ("closed", 0)
    assert rig.slow.count("backend fault") == 1
    assert rig.over()


# -- slow readers -----------------------------------------------------------------------


def test_a_connection_is_not_given_back_paused() -> None:
    rig = Pooled()
    ann, bob = rig.login(buffer=4096), rig.login()
    ann.ask(SELECT)
    bob.ask(SELECT)
    rig.backends[0].peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    answer = framed([*columns(1, True), lenenc_string(b"x" * 200_000), *eof(True)])
    rig.backends[0].say(answer)
    assert (ann.state, bob.state) == ("idle", "response")
    assert ann.session.client.send_queue() > 131072
    rig.backends[0].say(ROWS)  # heard although ann has not read hers
    assert bob.heard() == ROWS
    assert ann.heard() == answer
    assert rig.conserved()


def test_a_slow_reader_stops_its_backend() -> None:
    rig = Pooled()
    ann = rig.login(buffer=4096)
    ann.ask(SELECT)
    row = framed([lenenc_string(b"x" * 16_000)] * 250, 3)
    given = framed(columns(1, True)) + row
    sent = 0
    for _ in range(200):
        sent += rig.backends[0].peer.send_some(memoryview(given)[sent:])
        rig.settle()
    assert sent < len(given)
    assert ann.session.client.send_queue() < 131072 + 262144
    heard = b""
    while len(heard) < len(given):
        sent += rig.backends[0].peer.send_some(memoryview(given)[sent:])
        rig.settle()
        heard += ann.peer.receive()
    assert heard == given
