# SPDX-License-Identifier: Apache-2.0
"""How sessions end: who left in which state, what the client hears, what is kept meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from hproxy._native.buffer import pool_stats
from hproxy._native.reactor import Reactor
from tests.native.responses import columns, eof, err, framed, ok
from tests.native.rig import INTERNAL, LOST, QUIT, Rig, packet
from tests.support.socket_pair import open_descriptors, pair, settle, tcp_pair

SELECT = b"\x03SELECT 1"
OK = framed([ok()])
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])
KERNEL = 1 << 21  # what two socket buffers may hold, generously
MEGABYTE = 1 << 20

Step = Callable[[Rig], object]


def idle(rig: Rig) -> None:
    pass


def command(rig: Rig) -> None:
    rig.client_says(packet(b"\x03" + b"x" * 5000)[:100])


def response(rig: Rig) -> None:
    rig.ask(SELECT)


def rows(rig: Rig) -> None:
    rig.ask(SELECT)
    rig.say(framed([*columns(1, True), b"\x01a"]))


def half_a_row(rig: Rig) -> None:
    rows(rig)
    rig.say(b"\x05\x00\x00\x04\x04ab")


def half_a_head(rig: Rig) -> None:
    rows(rig)
    rig.say(b"\x05\x00\x00")


def infile(rig: Rig) -> None:
    rig.ask(b"\x03LOAD")
    rig.say(framed([b"\xfbname"]))


def stream(rig: Rig) -> None:
    rig.ask(b"\x12" + bytes(10))
    rig.say(framed([b"\x00event"]))


def slow(rig: Rig) -> None:
    rig.driver.on_slow = lambda session, _: None
    rig.ask(b"\x03KILL 5")


def answered(rig: Rig) -> None:
    command(rig)
    rig.say(framed([err(1153)]))


def farewell(rig: Rig) -> None:
    rig.say(framed([err(4031)], 0))


# how to get there, state, where an ERR of ours would stand (None: nowhere)
STATES: list[tuple[Step, str, int | None]] = [
    (idle, "idle", 1),
    (command, "command", 1),
    (response, "response", 1),
    (rows, "response", 4),
    (half_a_row, "response", None),
    (half_a_head, "response", None),
    (infile, "infile", 2),
    (stream, "stream", 2),
    (slow, "slow", 1),
    (answered, "command", None),
    (farewell, "idle", None),
]
NAMES = [step.__name__ for step, _, _ in STATES]


@pytest.mark.parametrize(("reach", "state", "number"), STATES, ids=NAMES)
def test_a_lost_backend_is_told_where_the_protocol_allows(
    reach: Step, state: str, number: int | None
) -> None:
    rig = Rig().start()
    reach(rig)
    assert rig.state == state
    rig.backend.close()
    heard = rig.to_client()
    assert rig.driver.told[-2:] == [("backend lost", state), ("closed", "backend lost")]
    assert heard == (b"" if number is None else packet(LOST, number))
    assert rig.over()


@pytest.mark.parametrize(("reach", "state", "_"), STATES, ids=NAMES)
def test_a_client_that_leaves_ends_its_session(reach: Step, state: str, _: object) -> None:
    rig = Rig().start()
    reach(rig)
    rig.backend.receive()
    rig.client.close()
    settle(rig.reactor)
    assert rig.driver.told[-2:] == [("client lost", state), ("closed", "client lost")]
    heard = rig.backend.receive()
    if state == "idle":
        assert heard == QUIT
        rig.backend.close()
    else:
        assert heard == b""
        assert rig.backend.ended
    settle(rig.reactor)
    assert rig.reactor.size == 0


@pytest.mark.parametrize(("reach", "state", "_"), STATES, ids=NAMES)
def test_a_reset_is_an_end_too(reach: Step, state: str, _: object) -> None:
    for side in ("client", "backend"):
        rig = Rig(connect=tcp_pair).start()
        reach(rig)
        assert rig.state == state
        getattr(rig, side).reset()
        settle(rig.reactor)
        assert rig.state == "closed"
        assert (f"{side} lost", state) in rig.driver.told
        for peer in (rig.client, rig.backend):
            peer.close()
        settle(rig.reactor)
        assert rig.reactor.size == 0


@pytest.mark.parametrize(("reach", "state", "number"), STATES, ids=NAMES)
def test_fail_and_close_from_any_state(reach: Step, state: str, number: int | None) -> None:
    rig = Rig().start()
    reach(rig)
    rig.session.fail(INTERNAL, "for a test")
    assert rig.to_client() == (b"" if number is None else packet(INTERNAL, number))
    assert rig.over()

    rig = Rig().start()
    reach(rig)
    rig.session.close("for a test")
    assert rig.to_client() == b""
    assert rig.over()
    rig.session.close("again")
    rig.session.fail(INTERNAL, "again")
    assert rig.driver.count("closed") == 1


def test_the_client_has_pipelined_quit_and_gone() -> None:
    rig = Rig().start()
    rig.client.send(packet(b"\x19\1\0\0\0") + QUIT)
    rig.client.close()
    settle(rig.reactor)
    assert rig.to_backend() == packet(b"\x19\1\0\0\0") + QUIT
    assert rig.driver.told == [("closed", "quit")]


def test_last_words_of_a_backend_are_heard_before_its_end() -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    rig.backend.send(ROWS + framed([err(1053)], 0))
    rig.backend.close()
    assert rig.to_client() == ROWS + framed([err(1053)], 0)
    assert rig.over()


# -- deadlines --------------------------------------------------------------------------


def expire(rig: Rig) -> int:
    """Let the deadlines that are set be over, and see who is told."""
    for end in (rig.session.client, rig.session.backend):
        if end.deadline:
            end.deadline = 1e-9
    return rig.reactor.sweep()


@pytest.mark.parametrize(("reach", "state", "_"), STATES, ids=NAMES)
def test_a_client_may_be_silent_for_so_long_between_commands(
    reach: Step, state: str, _: object
) -> None:
    rig = Rig(idle_timeout=30.0).start()
    reach(rig)
    # Only a client is waited for: an answer may take its time.
    told = state in ("idle", "command")
    assert expire(rig) == told
    assert (("timed out", state) in rig.driver.told) == told


def test_each_command_gives_the_client_its_time_again() -> None:
    rig = Rig(idle_timeout=30.0).start()
    end = rig.session.client
    for ask, say in ((SELECT, OK), (b"\x19\1\0\0\0", b""), (b"\x18\1\0\0\0\0\0x", b"")):
        end.deadline = 1.0
        rig.ask(ask)
        if say:
            assert end.deadline == 0
            rig.say(say)
        assert end.deadline == pytest.approx(rig.reactor.now + 30.0, abs=5.0)
    rig.driver.on_slow = lambda session, _: session.reply([ok()])
    end.deadline = 1.0
    rig.ask(b"\x03KILL 5")
    assert end.deadline == pytest.approx(rig.reactor.now + 30.0, abs=5.0)


def test_without_a_timeout_nobody_is_told() -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    rig.say(OK)
    assert expire(rig) == 0


# -- back-pressure ----------------------------------------------------------------------


def test_a_slow_client_holds_its_backend_back() -> None:
    used, _ = pool_stats()
    rig = Rig(client_buffer=8192).start()
    rig.ask(SELECT)
    row = b"\xfd\x00\x00\x04" + b"r" * 0x40000
    data = framed([*columns(1, True), *([row] * 40), *eof(True)])
    sent, heard = 0, b""
    view = memoryview(data)
    while sent < len(data):
        now = rig.backend.send_some(view[sent:])
        sent += now
        rig.reactor.poll()
        # The client reads nothing: at some point nothing is taken any more.
        if not now and not rig.reactor.poll():
            break
    assert sent < len(data)
    assert sent < KERNEL
    assert rig.session.client.send_queue() < 2 * 131072 + 16
    # The client reads on: everything comes, in order.
    while len(heard) < len(data):
        heard += rig.client.receive(100_000)
        sent += rig.backend.send_some(view[sent:])
        rig.reactor.poll()
        assert rig.session.client.send_queue() < 2 * 131072 + 16
    assert heard == data
    assert rig.state == "idle"
    assert pool_stats()[0] == used
    assert rig.ask(SELECT) == packet(SELECT)


def test_a_slow_backend_holds_its_client_back() -> None:
    used, _ = pool_stats()
    rig = Rig(backend_buffer=8192).start()
    data = packet(b"\x03" + b"q" * 8 * MEGABYTE)
    sent, heard = 0, b""
    while True:
        now = rig.client.send_some(data[sent:])
        sent += now
        if not rig.reactor.poll() and not now:
            break
    assert sent < KERNEL
    assert rig.session.backend.send_queue() < 2 * 131072 + 16
    while len(heard) < len(data):
        heard += rig.backend.receive(100_000)
        sent += rig.client.send_some(data[sent:])
        rig.reactor.poll()
    assert heard == data
    assert pool_stats()[0] == used
    assert rig.state == "response"


def test_a_backend_that_talks_on_after_its_farewell_is_held_back() -> None:
    rig = Rig(client_buffer=8192).start()
    farewell(rig)
    sent = 0
    for _ in range(200):
        sent += rig.backend.send_some(b"noise" * 20_000)
        rig.reactor.poll()
    assert sent < KERNEL
    assert rig.session.client.send_queue() < 2 * 131072 + 16
    rig.session.close("enough")


def test_what_a_client_sends_ahead_waits_in_its_socket() -> None:
    rig = Rig().start()
    rig.ask(SELECT)
    sent, quiet = 0, 0
    while quiet < 3:
        now = rig.client.send_some(packet(SELECT) * 1000)
        quiet = 0 if now else quiet + 1
        sent += now
        rig.reactor.poll()
    assert sent < KERNEL
    rig.client.close()
    rig.backend.close()
    settle(rig.reactor)
    assert rig.state == "closed"


def test_a_slow_client_still_hears_its_backends_last_words() -> None:
    """finish(): what is queued goes out before FIN, even while the client talks on."""
    rig = Rig(client_buffer=8192).start()
    rig.ask(SELECT)
    data = framed([*columns(1, True), b"\xfd\x00\x00\x02" + b"r" * 0x20000])
    rig.backend.send(data)
    rig.backend.close()
    settle(rig.reactor)
    assert rig.state == "closed"
    heard = b""
    while not rig.client.ended:
        rig.client.send_some(packet(SELECT) * 50)
        heard += rig.client.receive(3000)
        rig.reactor.poll()
    assert heard == data + packet(LOST, 4)


def test_a_client_that_never_reads_is_cut_after_a_while() -> None:
    rig = Rig(client_buffer=8192).start()
    rig.ask(SELECT)
    rig.backend.send(framed([*columns(1, True), b"\xfd\x00\x00\x02" + b"r" * 0x20000]))
    rig.backend.close()
    settle(rig.reactor)
    end = rig.session.client
    assert end.fd >= 0
    assert end.deadline == pytest.approx(rig.reactor.now + 5.0, abs=2.0)
    end.deadline = 1e-9
    rig.reactor.sweep()
    assert end.closed
    assert end.send_queue() == 0


# -- many -------------------------------------------------------------------------------


def test_nothing_is_left_of_thousands_of_sessions() -> None:
    def run(count: int) -> None:
        for number in range(count):
            rig = Rig(connect=pair).start()
            STATES[number % len(STATES)][0](rig)
            (rig.client if number % 2 else rig.backend).close()
            settle(rig.reactor)
            rig.client.close()
            rig.backend.close()
            settle(rig.reactor)
            assert rig.reactor.size == 0

    run(50)
    gc.collect()
    descriptors, chunks, objects = open_descriptors(), pool_stats()[0], len(gc.get_objects())
    run(1000)
    gc.collect()
    assert open_descriptors() == descriptors
    assert pool_stats()[0] == chunks
    assert len(gc.get_objects()) < objects + 200


def test_sessions_share_a_reactor_without_noticing() -> None:
    reactor = Reactor()
    rigs = []
    for _ in range(300):
        rigs.append(Rig(reactor=reactor))
        rigs[-1].session.start()
    assert reactor.size == 600
    for rig in rigs:
        rig.client.send(packet(SELECT))
    settle(reactor)
    for rig in rigs:
        assert rig.backend.receive() == packet(SELECT)
        rig.backend.send(ROWS)
    # Two in three die in the batch that serves the others.
    for number, rig in enumerate(rigs):
        if number % 3:
            rig.client.close()
    settle(reactor)
    for number, rig in enumerate(rigs):
        assert rig.state == ("closed" if number % 3 else "idle")
        if number % 3 == 0:
            assert rig.client.receive() == ROWS
