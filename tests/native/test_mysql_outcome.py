# SPDX-License-Identifier: Apache-2.0
"""What an answer leaves in the session, and what becomes of one that is lost or no answer."""

from __future__ import annotations

import socket

import pytest

from hproxy.protocols.mysql.wire import lenenc_string
from tests.native.multiplex_rig import Pooled
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import LOST, packet
from tests.native.test_mysql_tracked import answered
from tests.support.chopper import Chop

PIN_FOUND_ROWS, PIN_WARNINGS = 64, 128

SELECT = b"\x03SELECT 1"
INSERT = b"\x03INSERT INTO t VALUES (1)"
BEGIN = b"\x03BEGIN"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])


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


@pytest.mark.parametrize("number", [1290, 1836])
def test_a_write_a_reader_refused_is_held(chop: Chop, number: int) -> None:
    rig = Pooled(2)
    rig.slow.holds = True
    ann = rig.login()
    ann.ask(INSERT)
    refusal = framed([err(number)])
    for piece in chop(refusal):
        rig.backends[1].say(piece)
    assert rig.slow.about("demoted") == [refusal[4:]]
    assert (ann.heard(), ann.session.state, ann.session.held) == (b"", "slow", None)
    assert rig.slow.errors == []
    ann.session.aligned()
    assert rig.backends[0].heard() == packet(INSERT)
    rig.backends[0].say(framed([ok(1)]))
    assert ann.heard() == framed([ok(1)])
    assert ann.session.commands == 1
    assert rig.conserved()


def test_a_write_that_is_held_in_vain_is_refused() -> None:
    rig = Pooled(2)
    rig.slow.holds = True
    ann = rig.login()
    ann.ask(INSERT)
    rig.backends[1].say(framed([err(1290)]))
    ann.session.refuse(err(1290))
    assert ann.heard() == framed([err(1290)])
    answered(rig, ann, SELECT, ROWS)
    assert ann.session.commands == 2
    assert rig.conserved()


def test_a_client_leaves_while_its_write_is_held() -> None:
    rig = Pooled(2)
    rig.slow.holds = True
    ann = rig.login()
    ann.ask(INSERT)
    rig.backends[1].say(framed([err(1290)]))
    ann.session.close("test")
    ann.session.aligned()
    assert rig.backends[0].heard() == b""


@pytest.mark.parametrize("how", ["a read", "in a transaction", "behind rows", "not held"])
def test_what_may_have_done_more_is_not_held(how: str) -> None:
    rig = Pooled(1)
    rig.slow.holds = how != "not held"
    ann = rig.login()
    refusal = framed([err(1290)])
    if how == "in a transaction":
        answered(rig, ann, INSERT, framed([ok(status=3)]))
    ann.ask(SELECT if how == "a read" else INSERT)
    if how == "behind rows":
        refusal = framed([ok(status=10), err(1290)])
    rig.backends[0].say(refusal)
    assert ann.heard() == refusal
    assert rig.slow.count("demoted") == (how == "not held")
    assert rig.slow.errors[-1][0] == 1290


def test_a_transaction_is_timed() -> None:
    rig = Pooled(1)
    ann = rig.login()
    answered(rig, ann, INSERT, framed([ok()]))
    assert ann.session.transaction_since == 0
    answered(rig, ann, INSERT, framed([ok(status=3)]))
    began = ann.session.transaction_since
    assert 0 < began <= rig.reactor.now
    answered(rig, ann, INSERT, framed([ok(status=3)]))
    assert ann.session.transaction_since == began
    answered(rig, ann, INSERT, framed([ok(status=2)]))
    assert ann.session.transaction_since == 0
    answered(rig, ann, INSERT, framed([ok(status=3)]))
    ann.session.give_up()
    assert ann.session.transaction_since == 0, "the transaction went with its connection"


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
