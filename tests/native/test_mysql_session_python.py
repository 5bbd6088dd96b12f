# SPDX-License-Identifier: Apache-2.0
"""An ordinary command costs no Python: no function of ours or of anybody's is called for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hproxy._native.notes import Notes
from tests.native.profile import Profile
from tests.native.responses import binary_row, columns, eof, framed
from tests.native.rig import Rig, packet

ROUNDS = 10_000
WARM_UP = 10
QUERY = packet(b"\x03SELECT c FROM sbtest1 WHERE id = 4711")
EXECUTE = packet(b"\x17\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01\x08\x00" + bytes(8))
TEXT = framed([*columns(1, True), b"\x0a0123456789", *eof(True)])
BINARY = framed([*columns(1, True), binary_row(b"\x0a0123456789"), *eof(True)])


def run(
    rig: Rig, command: bytes, answer: bytes, rounds: int, poll: Callable[[], int]
) -> dict[str, int]:
    """Round trips with nothing but builtins between; what was called, by name, with `poll`."""
    client, backend = rig.client.socket, rig.backend.socket
    ask, hear, take, say = client.send, client.recv, backend.recv, backend.send
    good = 0
    with Profile() as profile:
        for _ in range(rounds):
            ask(command)
            poll()
            good += take(1000) == command
            say(answer)
            poll()
            good += hear(1000) == answer
    assert good == 2 * rounds
    return profile.by_name()


@pytest.mark.parametrize(
    ("command", "answer"), [(QUERY, TEXT), (EXECUTE, BINARY)], ids=["query", "execute"]
)
def test_no_python_runs_for_an_ordinary_command(command: bytes, answer: bytes) -> None:
    rig = Rig(idle_timeout=600.0).start()
    run(rig, command, answer, WARM_UP, rig.reactor.poll)
    called = run(rig, command, answer, ROUNDS, rig.reactor.poll)
    assert rig.session.commands == WARM_UP + ROUNDS
    # What this test itself calls; the profiler would show anything below poll() as well.
    assert called == {"socket.send": 2 * ROUNDS, "socket.recv": 2 * ROUNDS}
    assert rig.driver.told == []


def test_none_runs_for_one_that_might_have_been_slow() -> None:
    rig = Rig().start()
    rig.session.notes = Notes(False, 3600 * 10**9)
    called = run(rig, QUERY, TEXT, ROUNDS, rig.reactor.poll)
    assert called == {"socket.send": 2 * ROUNDS, "socket.recv": 2 * ROUNDS}


def test_the_profiler_would_see_a_slow_command() -> None:
    """The counterpart: a KILL does come up to Python, and this way of looking shows it."""
    rig = Rig().start()
    called = run(rig, packet(b"\x03KILL 5"), TEXT, 1, rig.reactor.poll)
    assert "Driver.slow_command" in called


def test_a_command_wakes_the_reactor_twice() -> None:
    """One event for the command and one for its answer; nothing spins, nothing is armed anew."""
    rig = Rig().start()
    run(rig, QUERY, TEXT, WARM_UP, rig.reactor.poll)
    wakeups, events = rig.reactor.wakeups, rig.reactor.events
    run(rig, QUERY, TEXT, 1000, rig.reactor.poll)
    assert rig.reactor.wakeups - wakeups == 2000
    assert rig.reactor.events - events == 2000
