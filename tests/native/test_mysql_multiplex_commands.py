# SPDX-License-Identifier: Apache-2.0
"""What a client may send: long commands, statements, files, and what the driver is shown."""

from __future__ import annotations

import pytest

from hproxy._native.mysql_multiplex import Multiplexed
from tests.native.multiplex_rig import FULL, SLOW, Pooled
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import BAD_CLIENT, LOST, packet
from tests.native.test_mysql_prepared import exchange, execute
from tests.support.chopper import Chop

SELECT = b"\x03SELECT 1"
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
OK = framed([ok()])
TRANSACTION = framed([ok(status=3)])
MIB = 1 << 20
# Frame bytes at which commands are treated differently, and their neighbours.
SIZES = (49152 - 1, 49152, 49152 + 1, 65536, 200_000, MIB, MIB + 1, 2 * MIB)


def query(frame_bytes: int) -> bytes:
    """A COM_QUERY whose frame has that many bytes."""
    return packet(b"\x03SELECT '" + b"x" * (frame_bytes - 4 - 9 - 1) + b"'")


@pytest.mark.parametrize("size", SIZES)
def test_a_long_command_arrives_as_it_was_sent(size: int) -> None:
    rig = Pooled()
    ann, command = rig.login(), query(size)
    assert len(command) == size
    assert ann.pour(command, rig.backends[0].peer) == command
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS
    # One receive may bring more than is waited for.
    kind = "decide" if size <= 65536 else "statement" if size <= MIB else "decide long"
    assert [what for what, _ in rig.slow.told if what != "finished"] == [kind]
    assert (ann.state, ann.session.commands, ann.held()) == ("idle", 1, None)
    assert rig.conserved()


def test_a_command_that_is_gathered_takes_no_connection() -> None:
    rig = Pooled()
    ann, command = rig.login(), query(200_000)
    ann.send(command[:100_000])
    assert (ann.state, ann.held()) == ("gather", None)
    ann.send(command[100_000:] + packet(SELECT))
    assert (ann.state, rig.backends[0].heard()) == ("response", command)
    rig.backends[0].say(ROWS)
    assert rig.backends[0].heard() == packet(SELECT)


def test_a_connection_lost_while_a_command_is_gathered() -> None:
    rig = Pooled()
    ann, command = rig.login(), query(200_000)
    exchange(ann, rig.backends[0], b"\x03BEGIN", TRANSACTION)
    ann.send(command[:100_000])
    rig.backends[0].say(framed([err(4031)], 0))
    assert rig.slow.about("backend lost") == ["gather"]
    assert (ann.held(), rig.server.opened) == (None, 0)
    assert rig.over()


def test_a_streamed_command_may_be_refused_half_way() -> None:
    rig = Pooled()
    ann, command = rig.login(), query(2 * MIB)
    sent = 0
    while rig.slow.count("decide long") == 0 or sent < MIB:
        sent += ann.peer.send_some(memoryview(command)[sent : sent + 100_000])
        rig.settle()
        rig.backends[0].peer.receive()
    rig.backends[0].say(framed([err(1153)]))
    assert ann.heard() == framed([err(1153)])
    assert (ann.state, ann.held()) == ("command", rig.backends[0].connection)
    ann.pour(command[sent:], rig.backends[0].peer)
    assert ann.state == "idle"
    ann.ask(SELECT)
    assert rig.backends[0].heard() == packet(SELECT)


@pytest.mark.parametrize("size", [200, 49152, 200_000, 2 * MIB])
def test_a_command_is_refused_whatever_its_length(size: int) -> None:
    rig = Pooled(queue_limit=0)
    bob, ann = rig.login(), rig.login()
    bob.ask(SELECT)
    rig.backends[0].heard()
    command = query(size)
    assert ann.pour(command, rig.backends[0].peer) == b""
    assert ann.heard() == framed([FULL])
    assert ann.state == "idle"
    ann.ask(b"\x0e")
    assert ann.heard() == OK
    assert ann.session.max_packet == 1 << 30


def test_a_refusal_does_not_wait_for_the_rest_of_its_command() -> None:
    rig = Pooled(queue_limit=0)
    bob, ann = rig.login(), rig.login()
    bob.ask(SELECT)
    command = query(2 * MIB)
    ann.send(command[:100_000])
    assert ann.heard() == framed([FULL])
    assert ann.state == "command"
    ann.pour(command[100_000:], rig.backends[0].peer)
    assert ann.state == "idle"
    assert rig.conserved()


def test_a_long_command_waits_for_a_connection_too() -> None:
    rig = Pooled()
    bob, ann = rig.login(), rig.login()
    bob.ask(SELECT)
    assert rig.backends[0].heard() == packet(SELECT)
    command = query(2 * MIB)
    sent = 0
    for _ in range(100):
        sent += ann.peer.send_some(memoryview(command)[sent:])
        rig.settle()
    assert ann.state == "waiting"
    assert sent < len(command)
    rig.backends[0].say(ROWS)
    parts = [rig.backends[0].heard()]
    assert b"".join([*parts, ann.pour(command[sent:], rig.backends[0].peer)]) == command
    rig.backends[0].say(ROWS)
    assert ann.heard() == ROWS


def test_a_slow_backend_that_answers_early_leaves_the_client_running() -> None:
    """The client was paused for a connection that is of no use any more."""
    rig = Pooled(2, backend_buffer=4096)
    ann, command = rig.login(), query(600_000)
    sent = 0
    for _ in range(100):
        sent += ann.peer.send_some(memoryview(command)[sent:])
        rig.settle()
    assert (ann.state, sent) == ("response", len(command))
    rig.backends[1].say(OK)
    assert ann.heard() == OK
    assert (ann.held(), rig.server.opened) == (None, 1)
    assert exchange(ann, rig.backends[0], SELECT, ROWS) == packet(SELECT)


@pytest.mark.parametrize("length", [0xFFFFFF - 1, 0xFFFFFF, 0xFFFFFF + 5])
def test_a_command_of_several_frames(length: int) -> None:
    rig = Pooled()
    ann = rig.login()
    command = packet(b"\x03" + b"x" * (length - 1))
    assert ann.pour(command, rig.backends[0].peer) == command
    assert ann.state == "response"
    answer = framed([ok()], 1 + length // 0xFFFFFF)
    rig.backends[0].say(answer)
    assert ann.heard() == answer
    assert (ann.state, ann.held()) == ("idle", None)


def test_frames_out_of_order_end_the_session() -> None:
    rig = Pooled()
    ann = rig.login()
    command = packet(b"\x03" + b"x" * (0xFFFFFF + 5))
    broken = command[: 0xFFFFFF + 4 + 3] + b"\x07" + command[0xFFFFFF + 8 :]
    ann.pour(broken, rig.backends[0].peer)
    assert ann.heard().endswith(framed([BAD_CLIENT])[4:])
    assert (ann.state, rig.server.opened) == ("closed", 0)


def test_the_driver_submits_another_command_instead(chop: Chop) -> None:
    rig = Pooled()
    rig.slow.on_statement = lambda session, payload, decision: session.submit(
        b"\x03SET ours", decision or rig.slow.decision(payload[1:])
    )
    ann = rig.login()
    for piece in chop(packet(b"\x03SET theirs") + packet(SELECT)):
        ann.send(piece)
    assert rig.backends[0].heard() == packet(b"\x03SET ours")
    rig.backends[0].say(OK)
    assert ann.heard() == OK
    assert rig.backends[0].heard() == packet(SELECT)
    assert ann.session.commands == 2


def test_the_driver_answers_by_itself() -> None:
    rig = Pooled()
    rig.slow.on_statement = lambda session, payload, decision: session.reply([ok(3), err()])
    ann = rig.login()
    ann.ask(b"\x03SET x", b"\x0e")
    assert ann.heard() == framed([ok(3), err()]) + OK
    assert (ann.state, rig.backends[0].free) == ("idle", True)


def test_the_driver_takes_its_time_before_and_after() -> None:
    rig = Pooled()
    seen: list[tuple[Multiplexed, bytes]] = []
    rig.slow.on_statement = lambda session, payload, decision: seen.append((session, payload))
    rig.slow.on_finished = lambda session: None
    ann, backend = rig.login(), rig.backends[0]
    ann.ask(b"\x03SET x", SELECT)
    assert ann.state == "slow"
    session, payload = seen.pop()
    session.submit(payload, rig.slow.decision(payload[1:]))
    assert backend.heard() == packet(payload)
    backend.say(OK)
    assert (ann.heard(), ann.state, ann.held()) == (OK, "slow", backend.connection)
    assert backend.heard() == b""
    session.settled()
    assert backend.heard() == packet(SELECT)


def test_without_the_fast_lane_the_driver_sees_everything() -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.fast_lane = False
    assert exchange(ann, rig.backends[0], SELECT, ROWS) == packet(SELECT)
    assert rig.slow.about("statement") == [SELECT]
    assert rig.slow.count("finished") == 1


@pytest.mark.parametrize("command", [b"", b"\x02shop", b"\x1f", b"\x16SELECT ?", b"\xee"])
def test_other_commands_are_the_drivers(command: bytes, chop: Chop) -> None:
    rig = Pooled()
    rig.slow.on_statement = lambda session, payload, decision: session.reply([ok()])
    ann = rig.login()
    for piece in chop(packet(command)):
        ann.send(piece)
    assert ann.heard() == OK
    assert rig.slow.told == [("statement", command)]


def test_submitting_is_for_commands_the_driver_holds() -> None:
    rig = Pooled()
    ann = rig.login()
    with pytest.raises(ValueError, match="in state idle"):
        ann.session.submit(SELECT, rig.slow.decision(b""))
    with pytest.raises(ValueError, match="in state idle"):
        ann.session.reply([ok()])
    rig.slow.on_statement = lambda session, payload, decision: None
    ann.ask(b"\x03SET x")
    with pytest.raises(ValueError, match="one frame"):
        ann.session.submit(b"", rig.slow.decision(b""))


def test_a_driver_that_raises_ends_one_session() -> None:
    rig = Pooled()
    ann, bob = rig.login(), rig.login()

    def fail(text: bytes) -> None:
        raise ZeroDivisionError(text)

    rig.slow.on_decide = fail
    ann.ask(SELECT)
    assert ann.heard() == framed([b"\xff\x51\x04#HY000internal"])
    rig.slow.on_decide = lambda text: None
    assert exchange(bob, rig.backends[0], SELECT, ROWS) == packet(SELECT)
    assert (ann.state, bob.state) == ("closed", "idle")


def test_query_attributes_are_skipped_or_the_drivers() -> None:
    rig = Pooled()
    ann = rig.login(query_attributes=True)
    exchange(ann, rig.backends[0], b"\x03\x00\x01SELECT 1", ROWS)
    assert rig.slow.told == [("decide", b"SELECT 1")]
    rig.slow.on_statement = lambda session, payload, decision: session.reply([ok()])
    for strange in (b"\x03", b"\x03\x00", b"\x03\x01\x01\x00\x01\xfe\x00\x01a\x01bSELECT 1"):
        ann.ask(strange)
        assert ann.heard() == OK
        assert rig.slow.told[-1] == ("statement", strange)


@pytest.mark.parametrize("warnings", [False, True])
def test_what_the_driver_concluded_is_what_can_be_asked_for(warnings: bool) -> None:
    rig = Pooled()
    ann = rig.login()
    ann.session.concluded(warnings)
    assert (ann.session.pins, ann.session.context_kept) == (0, False)


def test_statements_with_effects_are_the_drivers() -> None:
    rig = Pooled()
    rig.slow.on_statement = lambda session, payload, decision: session.reply([ok(9)])
    ann = rig.login()
    ann.prepared(flags=SLOW)
    ann.ask(execute())
    assert ann.heard() == framed([ok(9)])


def test_a_file_is_passed_on_and_the_connection_given_back(chop: Chop) -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    ann.ask(b"\x03LOAD DATA LOCAL INFILE 'name' INTO TABLE t")
    backend.heard()
    backend.say(framed([b"\xfbname"]))
    assert (ann.heard(), ann.state) == (framed([b"\xfbname"]), "infile")
    file = packet(b"1\n2\n", 2) + packet(b"3\n", 3) + packet(b"", 4)
    heard = b""
    for piece in chop(file + packet(SELECT)):
        ann.send(piece)
        heard += backend.heard()
    assert heard == file
    verdict = framed([ok(3, status=2)], 5)
    backend.say(verdict)
    assert ann.heard() == verdict
    assert backend.heard() == packet(SELECT)


def test_a_file_may_be_refused_while_it_is_sent() -> None:
    rig = Pooled()
    ann, bob, backend = rig.login(), rig.login(), rig.backends[0]
    ann.ask(b"\x03LOAD DATA LOCAL INFILE 'name' INTO TABLE t")
    bob.ask(SELECT)
    backend.heard()
    backend.say(framed([b"\xfbname"]))
    ann.heard()
    ann.send(packet(b"1\n2\n", 2))
    backend.say(framed([err(1366)], 4))
    assert ann.heard() == b""
    ann.send(packet(b"", 3) + packet(SELECT))
    assert ann.heard() == framed([err(1366)], 4)
    assert backend.heard().endswith(packet(SELECT))
    backend.say(ROWS)
    assert (ann.heard(), bob.state) == (ROWS, "response")


@pytest.mark.parametrize("who", ["client", "backend"])
def test_somebody_leaves_while_a_file_is_sent(who: str) -> None:
    rig = Pooled()
    ann, backend = rig.login(), rig.backends[0]
    ann.ask(b"\x03LOAD DATA LOCAL INFILE 'name' INTO TABLE t")
    backend.heard()
    backend.say(framed([b"\xfbname"]))
    ann.heard()
    ann.send(packet(b"1\n", 2))
    (ann if who == "client" else backend).end()
    assert (ann.state, rig.server.opened) == ("closed", 0)
    if who == "backend":
        assert ann.heard() == framed([LOST], 3)
    assert rig.over()
