# SPDX-License-Identifier: Apache-2.0
"""Steady state costs no Python: sessions take turns on connections without a function called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hproxy._native.pool import Group, Server
from hproxy.protocols.mysql.wire import u32
from tests.native.multiplex_rig import Client, Pooled
from tests.native.profile import Profile
from tests.native.responses import binary_row, columns, eof, framed, ok
from tests.native.rig import packet
from tests.native.test_mysql_tracked import ENDED, STARTED, tracked

ROUNDS = 10_000
WARM_UP = 10
QUERY = packet(b"\x03SELECT c FROM sbtest1 WHERE id = 4711")
WRITE = packet(b"\x03INSERT INTO t VALUES (4711)")
BEGIN = packet(b"\x03BEGIN")
COMMIT = packet(b"\x03COMMIT")
VALUES = b"\x00\x01\x08\x00" + bytes(8)
TEXT = framed([*columns(1, True), b"\x0a0123456789", *eof(True)])
BINARY = framed([*columns(1, True), binary_row(b"\x0a0123456789"), *eof(True)])
WRITTEN = framed([ok(1, 4712)])


def execute(number: int) -> bytes:
    return packet(b"\x17" + u32(number) + b"\x00" + u32(1) + VALUES)


@dataclass(frozen=True)
class Step:
    """A command, what the backend is sent of it, what it says, and what the client hears."""

    command: bytes
    sent: bytes
    answer: bytes
    heard: bytes

    @classmethod
    def plain(cls, command: bytes, answer: bytes) -> Step:
        return cls(command, command, answer, answer)


def began(state: bytes, status: int) -> bytes:
    return framed([tracked(state, status)])


def rows_inside() -> bytes:
    return framed([*columns(1, True), b"\x0a0123456789", *eof(True, 3)])


STEPS: dict[str, list[Step]] = {
    "query": [Step.plain(QUERY, TEXT)],
    "execute": [Step(execute(1), execute(1001), BINARY, BINARY)],
    "write": [Step.plain(WRITE, WRITTEN)],
    "transaction": [
        Step(BEGIN, BEGIN, began(STARTED, 3), framed([ok(status=3)])),
        Step.plain(QUERY, rows_inside()),
        Step(COMMIT, COMMIT, began(ENDED, 2), framed([ok()])),
    ],
}


def share_statement(rig: Pooled) -> None:
    """One statement, prepared by every session and on every connection."""
    first, *others = rig.clients
    statement = first.prepared(params=1).statement
    for client in others:
        client.session.prepare_statements().add(statement)
    for backend in rig.backends:
        backend.connection.statements.put(statement, 1001)


def alone(rig: Pooled, client: Client, steps: list[Step], rounds: int) -> dict[str, int]:
    """One session, one step after the other; what was called."""
    poll = rig.reactor.poll
    ask, hear = client.peer.socket.send, client.peer.socket.recv
    take, say = rig.backends[0].peer.socket.recv, rig.backends[0].peer.socket.send
    good = 0
    with Profile() as profile:
        for _ in range(rounds):
            for step in steps:
                ask(step.command)
                poll()
                good += take(1000) == step.sent
                say(step.answer)
                poll()
                good += hear(1000) == step.heard
    assert good == 2 * rounds * len(steps)
    return profile.by_name()


def in_turns(rig: Pooled, clients: list[Client], step: Step, rounds: int) -> dict[str, int]:
    """All sessions ask at once; each waits until the one before it has its answer."""
    poll = rig.reactor.poll
    sockets = [client.peer.socket for client in clients]
    backends = [backend.peer.socket for backend in rig.backends]
    half = len(clients) // 2
    good = 0
    with Profile() as profile:
        for _ in range(rounds):
            for sock in sockets:
                sock.send(step.command)
                poll()
            for _ in range(half):
                for backend in backends:
                    good += backend.recv(1000) == step.sent
                    backend.send(step.answer)
                    poll()
            for sock in sockets:
                good += sock.recv(1000) == step.heard
    assert good == 2 * rounds * len(clients)
    return profile.by_name()


@pytest.mark.parametrize("name", STEPS)
def test_no_python_runs_for_a_statement(name: str) -> None:
    rig = Pooled()
    client = rig.login(idle_timeout=600.0)
    share_statement(rig)
    steps = STEPS[name]
    alone(rig, client, steps, WARM_UP)
    rounds = ROUNDS // len(steps)
    before, told = client.session.commands, len(rig.slow.told)
    called = alone(rig, client, steps, rounds)
    assert client.session.commands - before == rounds * len(steps)
    # What this test itself calls; the profiler would show anything below poll() as well.
    each = 2 * rounds * len(steps)
    assert called == {"socket.send": each, "socket.recv": each}
    assert rig.slow.told[told:] == []
    assert rig.conserved()


@pytest.mark.parametrize("name", ["query", "execute"])
def test_no_python_runs_while_sessions_wait_for_each_other(name: str) -> None:
    rig = Pooled(2)
    clients = [rig.login(idle_timeout=600.0) for _ in range(8)]
    share_statement(rig)
    (step,) = STEPS[name]
    in_turns(rig, clients, step, WARM_UP)
    rounds = ROUNDS // len(clients)
    waited, told = rig.group.waited, len(rig.slow.told)
    called = in_turns(rig, clients, step, rounds)
    assert rig.group.waited - waited == rounds * (len(clients) - 2)
    each = 2 * rounds * len(clients)
    assert called == {"socket.send": each, "socket.recv": each}
    assert rig.slow.told[told:] == []
    assert rig.conserved()


def test_no_python_runs_for_reads_and_writes_that_are_split() -> None:
    rig = Pooled()
    rig.slow.reader = Group("readers", rig.slow, 10)
    reader = rig.connect(rig.slow.reader.add(Server("db2", 1)))
    client = rig.login(idle_timeout=600.0)
    ask, hear = client.peer.socket.send, client.peer.socket.recv
    turns = (
        (QUERY, TEXT, reader.peer.socket),
        (WRITE, WRITTEN, rig.backends[0].peer.socket),
    )

    def run(rounds: int, poll: Callable[[], int]) -> dict[str, int]:
        good = 0
        with Profile() as profile:
            for _ in range(rounds):
                for command, answer, backend in turns:
                    ask(command)
                    poll()
                    good += backend.recv(1000) == command
                    backend.send(answer)
                    poll()
                    good += hear(1000) == answer
        assert good == 4 * rounds
        return profile.by_name()

    run(WARM_UP, rig.reactor.poll)
    told = len(rig.slow.told)
    called = run(ROUNDS // 2, rig.reactor.poll)
    assert called == {"socket.send": 2 * ROUNDS, "socket.recv": 2 * ROUNDS}
    assert rig.slow.told[told:] == []
    rig.backends.append(reader)


def test_a_statement_wakes_the_reactor_twice() -> None:
    """One event for the command and one for its answer; nothing spins, nothing is armed anew."""
    rig = Pooled()
    client = rig.login()
    alone(rig, client, STEPS["query"], WARM_UP)
    wakeups, events = rig.reactor.wakeups, rig.reactor.events
    alone(rig, client, STEPS["query"], 1000)
    assert rig.reactor.wakeups - wakeups == 2000
    assert rig.reactor.events - events == 2000


def test_the_profiler_would_see_the_driver() -> None:
    """The counterpart: a SET does come up to Python, and this way of looking shows it."""
    rig = Pooled()
    client = rig.login()
    step = Step.plain(packet(b"\x03SET x = 1"), framed([ok()]))
    called = alone(rig, client, [step], 1)
    assert called["Slow.statement"] == called["Slow.finished"] == 1
