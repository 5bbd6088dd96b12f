# SPDX-License-Identifier: Apache-2.0
"""The command phase: every state of the drawing in mysql_session.pyx, bytes in and bytes out."""

from __future__ import annotations

import pytest

from tests.native.recorded import Exchange, exchanges
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import BAD_CLIENT, LOST, MALFORMED, QUIT, Rig, packet
from tests.support.chopper import Chop

SELECT = b"\x03SELECT 1"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])
FILE_REQUEST = framed([b"\xfbname"])
RECORDED = exchanges()


# -- IDLE, COMMAND, RESPONSE ------------------------------------------------------------


def test_a_query_goes_there_and_its_rows_come_back(chop: Chop) -> None:
    rig = Rig().start()
    assert rig.state == "idle"
    for piece in chop(packet(SELECT)):
        rig.client.send(piece)
        rig.settle()
    assert rig.state == "response"
    assert rig.to_backend() == packet(SELECT)
    heard = b""
    for piece in chop(ROWS):
        assert rig.state == "response"
        heard += rig.say(piece)
    assert heard == ROWS
    assert rig.state == "idle"
    assert (rig.session.command, rig.session.commands, rig.session.scanner.rows) == (3, 1, 1)
    assert rig.driver.told == []


@pytest.mark.parametrize("exchange", RECORDED, ids=[each.name for each in RECORDED])
def test_recorded_exchanges_pass_unchanged(exchange: Exchange, chop: Chop) -> None:
    rig = Rig(
        deprecate_eof=exchange.deprecate_eof, query_attributes=exchange.query_attributes
    ).start()
    for client, data in [(True, exchange.command), *exchange.turns]:
        pass_on = rig.client_says if client else rig.say
        assert b"".join(pass_on(piece) for piece in chop(data)) == data
    assert rig.state == ("closed" if exchange.code == 1 else "idle")


def test_a_command_passes_on_before_it_is_complete() -> None:
    rig = Rig().start()
    command = packet(b"\x03SELECT '" + b"x" * 100_000 + b"'")
    assert rig.client_says(command[:50_000]) == command[:50_000]
    assert rig.state == "command"
    assert rig.client_says(command[50_000:]) == command[50_000:]
    assert rig.state == "response"
    assert rig.say(OK) == OK


@pytest.mark.parametrize("length", [0xFFFFFF - 1, 0xFFFFFF, 0xFFFFFF + 5, 2 * 0xFFFFFF])
def test_a_response_continues_the_numbers_of_a_long_command(length: int) -> None:
    rig = Rig().start()
    command = packet(b"\x03" + b"x" * (length - 1))
    heard = b""
    sent = 0
    while len(heard) < len(command):
        sent += rig.client.send_some(command[sent:])
        rig.settle()
        heard += rig.backend.receive()
    assert heard == command
    assert rig.state == "response"
    answer = framed([ok()], 1 + length // 0xFFFFFF)
    assert rig.say(answer) == answer
    assert rig.state == "idle"


def test_an_early_error_to_a_long_command_has_the_number_reached() -> None:
    """Servers refuse what is too long while it is still being sent."""
    rig = Rig().start()
    command = packet(b"\x03" + b"x" * (0xFFFFFF + 500_000))
    sent, heard = 0, 0
    while heard < 0xFFFFFF + 4 + 100:
        sent += rig.client.send_some(command[sent : sent + 100_000])
        rig.settle()
        heard += len(rig.backend.receive())
    refusal = framed([err(1153)], 2)
    assert rig.say(refusal) == refusal
    assert rig.state == "command"
    while sent < len(command):
        sent += rig.client.send_some(command[sent:])
        rig.settle()
        rig.backend.receive()
    assert rig.state == "idle"


@pytest.mark.parametrize("command", [0x18, 0x19])
def test_commands_without_an_answer_leave_the_session_idle(command: int) -> None:
    rig = Rig().start()
    payload = bytes([command]) + b"\x01\x00\x00\x00\x00\x00data"
    assert rig.ask(payload) == packet(payload)
    assert rig.state == "idle"
    assert rig.ask(payload, payload, SELECT) == packet(payload) * 2 + packet(SELECT)
    assert rig.state == "response"


def test_an_empty_packet_is_a_command_the_server_refuses() -> None:
    rig = Rig().start()
    assert rig.client_says(b"\x00\x00\x00\x00") == b"\x00\x00\x00\x00"
    assert rig.say(framed([err(1047)])) == framed([err(1047)])
    assert rig.state == "idle"


def test_a_backend_may_answer_before_the_command_was_sent() -> None:
    rig = Rig().start()
    command = packet(b"\x03" + b"x" * 5000)
    rig.client_says(command[:1000])
    assert rig.say(framed([err(1153)])) == framed([err(1153)])
    assert rig.state == "command"
    assert rig.client_says(command[1000:]) == command[1000:]
    assert rig.state == "idle"
    assert rig.ask(SELECT) == packet(SELECT)
    assert rig.say(ROWS) == ROWS
    assert rig.driver.told == []


def test_a_backend_may_begin_to_answer_before_the_command_was_sent() -> None:
    rig = Rig().start()
    command = packet(b"\x03" + b"x" * 5000)
    rig.client_says(command[:1000])
    first, rest = ROWS[:40], ROWS[40:]
    assert rig.say(first) == first
    assert rig.client_says(command[1000:]) == command[1000:]
    assert rig.state == "response"
    assert rig.say(rest) == rest
    assert rig.state == "idle"


# -- pipelining -------------------------------------------------------------------------


def test_pipelined_commands_are_served_one_at_a_time(chop: Chop) -> None:
    rig = Rig().start()
    commands = [b"\x03SELECT %d" % number for number in range(5)]
    for piece in chop(b"".join(map(packet, commands))):
        rig.client.send(piece)
        rig.settle()
    for command in commands:
        assert rig.to_backend() == packet(command)
        assert rig.say(ROWS) == ROWS
    assert rig.state == "idle"
    assert rig.session.commands == 5


def test_pipelined_commands_end_with_quit() -> None:
    rig = Rig().start()
    assert rig.ask(SELECT, b"\x01") == packet(SELECT)
    assert rig.say(ROWS) == ROWS
    assert rig.to_backend() == QUIT
    rig.backend.close()
    assert ("closed", "quit") in rig.driver.told


def test_a_long_pipeline_waits_in_the_socket_and_is_served_to_its_end() -> None:
    rig = Rig().start()
    command = packet(b"\x03SELECT '" + b"x" * 990 + b"'")
    total, sent, heard = 600 * len(command), 0, 0
    stream = command * 600
    answered = 0
    while answered < 600:
        sent += rig.client.send_some(stream[sent:])
        rig.settle()
        heard += len(rig.backend.receive())
        if heard == (answered + 1) * len(command):
            assert rig.say(OK) == OK
            answered += 1
    assert heard == total
    assert rig.state == "idle"


# -- COM_QUIT ---------------------------------------------------------------------------


def test_quit_is_passed_on_and_both_sides_close() -> None:
    rig = Rig().start()
    assert rig.ask(b"\x01") == QUIT
    rig.backend.shut()  # servers close when they hear it
    assert rig.over()
    assert rig.driver.told == [("closed", "quit")]


# -- INFILE -----------------------------------------------------------------------------


def test_a_file_is_passed_on_until_its_empty_packet(chop: Chop) -> None:
    rig = Rig().start()
    rig.ask(b"\x03LOAD DATA LOCAL INFILE 'name' INTO TABLE t")
    assert rig.say(FILE_REQUEST) == FILE_REQUEST
    assert rig.state == "infile"
    content = packet(b"1,2\n" * 300, 2) + packet(b"x" * 4_000, 3) + packet(b"", 4)
    heard = b""
    for piece in chop(content):
        assert rig.state == "infile"
        heard += rig.client_says(piece)
    assert heard == content
    assert rig.state == "response"
    assert rig.say(framed([ok(5)], 5)) == framed([ok(5)], 5)
    assert rig.state == "idle"


def test_a_file_may_come_in_full_frames() -> None:
    rig = Rig().start()
    rig.ask(b"\x03LOAD")
    rig.say(FILE_REQUEST)
    content = packet(b"y" * 0xFFFFFF, 2) + packet(b"", 4)  # the first closes with an empty frame
    sent = heard = 0
    while heard < len(content):
        sent += rig.client.send_some(content[sent:])
        rig.settle()
        heard += len(rig.backend.receive())
    assert rig.state == "response"
    assert rig.say(framed([ok()], 5)) == framed([ok()], 5)
    assert rig.state == "idle"


def test_a_file_sent_before_it_was_asked_for_waits() -> None:
    rig = Rig().start()
    rig.client_says(packet(b"\x03LOAD") + packet(b"data", 2) + packet(b"", 3))
    rig.say(FILE_REQUEST)
    assert rig.to_backend() == packet(b"data", 2) + packet(b"", 3)
    assert rig.state == "response"


def test_a_backend_that_speaks_during_the_file_is_heard_after_it() -> None:
    rig = Rig().start()
    rig.ask(b"\x03LOAD")
    rig.say(FILE_REQUEST)
    verdict = framed([err(1062)], 4)
    assert rig.say(verdict) == b""
    rig.client_says(packet(b"data", 2) + packet(b"", 3))
    assert rig.to_client() == verdict
    assert rig.state == "idle"


def test_a_file_out_of_order_is_the_clients_fault() -> None:
    rig = Rig().start()
    rig.ask(b"\x03LOAD")
    rig.say(FILE_REQUEST)
    rig.client_says(packet(b"data", 9))
    assert rig.driver.told[0] == ("client fault", "packets out of order")
    assert rig.to_client()[4:] == BAD_CLIENT


def test_more_results_follow_a_file() -> None:
    rig = Rig().start()
    rig.ask(b"\x03LOAD; SELECT 1")
    rig.say(FILE_REQUEST)
    rig.client_says(packet(b"", 2))
    rest = framed([ok(status=10), *columns(1, True), b"\x01x", *eof(True)], 3)
    assert rig.say(rest) == rest
    assert rig.state == "idle"


# -- STREAM -----------------------------------------------------------------------------


def test_a_binlog_flows_and_the_replica_may_speak() -> None:
    rig = Rig().start()
    rig.ask(b"\x12\x04\x00\x00\x00\x00\x00\x01\x00\x00\x00binlog.000001")
    assert rig.state == "stream"
    for number in (1, 2, 3):
        event = packet(b"\x00" + b"event" * 100, number)
        assert rig.say(event) == event
    acknowledgement = packet(b"\xefposition", 0)
    assert rig.client_says(acknowledgement) == acknowledgement
    assert rig.state == "stream"
    assert rig.say(packet(b"\xfe", 4)) == packet(b"\xfe", 4)
    assert rig.state == "idle"


def test_a_binlog_ends_with_an_error() -> None:
    rig = Rig().start()
    rig.ask(b"\x1e" + bytes(30))
    assert rig.say(framed([err(1236)])) == framed([err(1236)])
    assert rig.state == "idle"


def test_a_clone_is_raw_both_ways_until_it_closes() -> None:
    rig = Rig().start()
    rig.ask(b"\x20")
    for _ in range(3):
        assert rig.say(b"anything at all") == b"anything at all"
        assert rig.client_says(b"\xff\xfe\x00") == b"\xff\xfe\x00"
    assert rig.state == "stream"
    rig.backend.close()
    rig.settle()
    assert rig.to_client() == b""  # nothing of ours may stand in a stranger's protocol
    assert rig.client.ended


# -- broken protocol --------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 255])
def test_a_command_begins_with_number_zero(number: int) -> None:
    rig = Rig().start()
    assert rig.client_says(packet(SELECT, number)) == QUIT
    assert rig.driver.told[0][0] == "client fault"
    assert rig.to_client() == packet(BAD_CLIENT, 1)
    assert rig.over()


def test_continuations_are_numbered() -> None:
    rig = Rig().start()
    sent = rig.client.send_some
    head = b"\xff\xff\xff\x00\x03"
    body = bytes(0xFFFFFF - 1)
    wrong = b"\x01\x00\x00\x07x"
    data = head + body + wrong
    at = 0
    while at < len(data) and rig.state != "closed":
        at += sent(data[at:])
        rig.settle()
        rig.backend.receive()
    assert rig.driver.told[0] == ("client fault", "packets out of order")


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n",
        b"\x00" * 64,
        framed([b""]),
        framed([ok()], 9),
        b"\xff" * 40,
    ],
)
def test_garbage_for_an_answer_is_told_to_the_client(garbage: bytes) -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    heard = rig.say(garbage)
    assert rig.driver.told[0][0] == "backend fault"
    assert heard == packet(MALFORMED, 1)
    assert rig.over()


def test_garbage_after_rows_is_told_under_the_next_number() -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    begun = framed([*columns(1, True), b"\x01a"])
    assert rig.say(begun) == begun
    assert rig.say(packet(b"", 4)) == packet(MALFORMED, 4)


def test_bytes_behind_an_answer_are_judged_at_once() -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    rig.say(ROWS + b"\x01\x00\x00\x05\x00")
    assert ("backend fault", "data without a command") in rig.driver.told


def test_a_few_bytes_behind_an_answer_do_not_stop_the_pipeline() -> None:
    rig = Rig().start()
    rig.ask(SELECT, SELECT)
    assert rig.say(ROWS + b"\x01") == ROWS
    assert rig.to_backend() == packet(SELECT)


def test_data_nobody_asked_for_is_the_backends_fault() -> None:
    rig = Rig().start()
    rig.say(OK)
    assert rig.driver.told[0] == ("backend fault", "data without a command")
    assert rig.over()


def test_an_error_nobody_asked_for_is_passed_on(chop: Chop) -> None:
    rig = Rig().start()
    farewell = framed([err(4031)], 0)
    for piece in chop(farewell):
        rig.backend.send(piece)
        rig.settle()
    assert rig.to_client() == farewell
    assert rig.session.farewell
    rig.backend.close()
    rig.settle()
    assert rig.to_client() == b""  # it has heard why already
    assert rig.driver.told == [("backend lost", "idle"), ("closed", "backend lost")]


def test_an_error_nobody_asked_for_meets_a_command() -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    farewell = framed([err(4031)], 0)
    assert rig.say(farewell) == farewell
    rig.backend.close()
    rig.settle()
    assert rig.to_client() == packet(LOST, 1) or rig.client.ended


# -- max_allowed_packet -----------------------------------------------------------------


@pytest.mark.parametrize("limit", [4999, 5000])
def test_a_command_longer_than_allowed_is_refused_by_its_head(limit: int, chop: Chop) -> None:
    rig = Rig().start()
    rig.session.max_packet = limit
    command = packet(b"\x03" + b"x" * 4999)
    for piece in chop(command):
        if rig.state != "closed":
            rig.client.send(piece)
            rig.to_backend()
    if limit == 5000:
        assert rig.state == "response"
        return
    assert rig.driver.told[0] == (
        "client fault", "packet of 5000 bytes or more, limit is 4999",
    )  # fmt: skip
    assert rig.to_client() == packet(BAD_CLIENT, 1)
    assert rig.over()
