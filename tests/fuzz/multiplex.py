# SPDX-License-Identifier: Apache-2.0
"""Target: sessions that share connections, whose clients and backends all lie.

Never a crash, never a connection lost from the counts, and what goes back to the pool has
answered all it was asked: a session that takes it next hears its own answer.
"""

from __future__ import annotations

import random
from contextlib import suppress

from hproxy._native.reactor import Reactor
from hproxy.protocols.mysql.wire import u32
from tests.fuzz.mutation import Mutator
from tests.fuzz.parsers import EXCHANGES, cut_frames
from tests.native.multiplex_rig import READ, Backend, Client, Pooled
from tests.native.responses import binary_row, columns, eof, err, framed, ok
from tests.native.rig import packet

__all__ = ["multiplex"]

REACTOR = Reactor()
STEPS = 14
TRACKED = (
    b"\x05\x09\x08T_______",
    b"\x05\x09\x08________\x04\x01\x00",
    b"\x04\x13\x12START TRANSACTION;",
    b"\x00\x0f\x0aautocommit\x03OFF",
    b"\x01\x05\x04shop",
    b"\x02\x01\x31",
)
COMMANDS = [
    [packet(payload)]
    for payload in (
        b"\x03SELECT 1",
        b"\x03SELECT LAST_INSERT_ID()",
        b"\x03SELECT SQL_CALC_FOUND_ROWS 1",
        b"\x03SHOW WARNINGS",
        b"\x03INSERT INTO t VALUES (1)",
        b"\x03BEGIN",
        b"\x03SET x = 1",
        b"\x03CALL p()",
        b"\x0e",
        b"\x01",
        b"\x02shop",
        b"\x09",
        b"\x12\x04\x00\x00\x00",
        *(
            bytes([code]) + u32(number) + rest
            for number in (1, 2, 0xFFFFFFFF)
            for code, rest in (
                (0x17, b"\x00" + u32(1) + b"\x00\x01\x08\x00" + bytes(8)),
                (0x17, b"\x01" + u32(1) + b"\x00\x00" + bytes(8)),
                (0x17, b"\x00" + u32(1)),
                (0x18, b"\x00\x00data"),
                (0x19, b""),
                (0x1A, b""),
                (0x1C, u32(1)),
            )
        ),
    )
]
LONG = [[packet(b"\x03SELECT '" + b"x" * size + b"'")] for size in (49_140, 70_000, 1_100_000)]
ROWS = framed([*columns(1, True), b"\x011", *eof(True)])


def answers(status: int, state: bytes) -> list[list[bytes]]:
    """Good ones, frame by frame."""
    info = b"\x00" + bytes([len(state)]) + state if status & 0x4000 else b""
    told = ok(1, 5, status, 1, info)
    end = ok(0, 0, status, 0, info, header=0xFE)
    return [
        cut_frames(framed(each))
        for each in (
            [told],
            [*columns(1, True), b"\x011", end],
            [*columns(1, True), binary_row(b"\x011"), end],
            [ok(status=status | 8), *columns(1, True), end],
            [*columns(1, True), *eof(True, 0x42)],
            [err(1064)],
            [err(1615)],
            [err(1053)],
            [b"\xfbname"],
        )
    ] + [cut_frames(framed([err(4031)], 0))]


RECORDED = [
    [cut_frames(each.command), *(cut_frames(data) for _, data in each.turns)] for each in EXCHANGES
]


def multiplex(mutator: Mutator) -> None:
    rng = mutator.rng
    rig = Pooled(1 + int(rng.random() * 2), reactor=REACTOR, queue_limit=int(rng.random() * 4))
    play(rig, rng)
    for _ in range(1 + int(rng.random() * 3)):
        login(rig, rng)
    for _ in range(STEPS):
        step(rig, mutator)
        assert rig.conserved()
        assert rig.slow.about("broken") == []
    untouched(rig)
    rng.shuffle(rig.clients)
    for client in rig.clients:
        assert client.state != "closed" or client.held() is None
    assert rig.over()
    assert rig.slow.count("closed") == len(rig.clients)
    assert REACTOR.size == 0


def play(rig: Pooled, rng: random.Random) -> None:
    """The slow lane answers, relays, or lets things fail."""
    slow = rig.slow
    relayed, aligned, prepared = slow.on_statement, slow.on_align, slow.on_prepare
    chance = rng.random()
    if chance < 0.2:
        slow.on_statement = lambda session, payload, decision: session.reply([ok()])
    elif chance < 0.9:
        slow.on_statement = relayed
    else:
        slow.on_statement = lambda session, payload, decision: None
    slow.repeats = int(rng.random() * 3)
    slow.on_tracked = lambda session, payload: payload if rng.random() < 0.5 else ok()

    def align(session: object, pooled: object) -> None:
        if rng.random() < 0.9:
            aligned(session, pooled)  # type: ignore[arg-type]

    def prepare(session: object, pooled: object, statement: object) -> None:
        if rng.random() < 0.9:
            prepared(session, pooled, statement)  # type: ignore[arg-type]

    slow.on_align, slow.on_prepare = align, prepare


def login(rig: Pooled, rng: random.Random) -> None:
    client = rig.login(query_attributes=rng.random() < 0.2, idle_timeout=600.0)
    client.prepared(params=1, flags=READ, sticky=rng.random() < 0.5)
    if rng.random() < 0.5:
        client.prepared()
    client.session.shows_transactions = rng.random() < 0.3
    client.session.exact_insert_ids = rng.random() < 0.3
    if rng.random() < 0.3:
        client.session.settings = object()


def step(rig: Pooled, mutator: Mutator) -> None:
    """Somebody says something, comes or goes."""
    rng = mutator.rng
    chance = rng.random()
    if chance < 0.42:
        client = rng.choice(rig.clients)
        say(rig, client, command(mutator), mutator)
    elif chance < 0.9:
        busy = [each for each in rig.backends if not each.free and not each.connection.closed]
        backend = rng.choice(busy or rig.backends)
        data = answer(mutator)
        if backend.free and rng.random() < 0.9:
            return
        say(rig, backend, data, mutator)
    elif chance < 0.93:
        rng.choice(rig.clients).end()
    elif chance < 0.96:
        with suppress(OSError):
            rng.choice(rig.backends).end()
    elif chance < 0.98 and rig.server.room:
        rig.backends.append(rig.connect())
    else:
        for client in rig.clients:
            if client.state == "waiting":
                client.session.client.deadline = REACTOR.now
        REACTOR.sweep()
        rig.settle()


def command(mutator: Mutator) -> bytes:
    rng = mutator.rng
    chance = rng.random()
    if chance < 0.04:
        frames = rng.choice(LONG)
        data = frames[0]
        return data[: int(rng.random() * len(data))] if rng.random() < 0.3 else data
    frames = rng.choice(COMMANDS) if chance < 0.8 else rng.choice(RECORDED)[0]
    return mutator.frames(frames) if rng.random() < 0.3 else b"".join(frames)


def answer(mutator: Mutator) -> bytes:
    rng = mutator.rng
    if rng.random() < 0.1:
        turns = rng.choice(RECORDED)
        frames = turns[1] if len(turns) > 1 else []
    else:
        status = rng.choice((2, 3, 0, 0x4002, 0x4003, 0x4000, 0x4042, 0x82))
        frames = rng.choice(answers(status, rng.choice(TRACKED) + rng.choice((b"", *TRACKED))))
    return mutator.frames(frames) if rng.random() < 0.3 else b"".join(frames)


def say(rig: Pooled, who: Client | Backend, data: bytes, mutator: Mutator) -> None:
    for piece in mutator.pieces(data):
        try:
            rest = memoryview(piece)
            while rest:
                sent = who.peer.send_some(rest)
                rig.settle()
                listen(rig)
                rest = rest[sent:]
                if not sent:
                    return
        except OSError:
            return  # we have hung up, or it has


def listen(rig: Pooled) -> None:
    """Everybody reads what has come."""
    for peer in [each.peer for each in rig.clients] + [each.peer for each in rig.backends]:
        with suppress(OSError):
            peer.receive()
    rig.settle()


def untouched(rig: Pooled) -> None:
    """Connections that are idle now serve somebody new as if nothing had been."""
    by_connection = {id(each.connection): each for each in rig.backends}
    for connection in rig.bucket.connections():
        listen(rig)  # what waited may have been served, too
        if not connection.free:
            continue
        client = rig.login()
        client.session.settings = connection.settings
        client.ask(b"\x03SELECT 4711")
        held = client.held()
        if held is not None and client.state == "response":
            backend = by_connection[id(held)]
            heard = backend.heard()
            assert heard == packet(b"\x03SELECT 4711"), heard
            backend.say(ROWS)
            assert client.heard() == ROWS
        client.end()
