# SPDX-License-Identifier: Apache-2.0
"""Targets over socketpairs: a channel, and a session between two peers that both lie."""

from __future__ import annotations

from hproxy._native.channel import Channel
from hproxy._native.reactor import Reactor
from hproxy.errors import HProxyError
from tests.fuzz.mutation import Mutator
from tests.fuzz.parsers import COMMAND_FRAMES, EXCHANGES, RESPONSE_FRAMES, cut_frames
from tests.native.rig import INTERNAL, LOST, MALFORMED, QUIT, Rig
from tests.support.socket_pair import emptied, pair, settle

__all__ = ["channel", "session"]

REACTOR = Reactor()
OURS = (LOST, MALFORMED, INTERNAL)
WHOLE = [
    (each.deprecate_eof, [cut_frames(each.command), *(cut_frames(data) for _, data in each.turns)])
    for each in EXCHANGES
    if each.turns
]


def channel(mutator: Mutator) -> None:
    """Packets that may be broken anywhere: payloads, an error, or a wait for more."""
    rng = mutator.rng
    frames = COMMAND_FRAMES if rng.random() < 0.5 else [each for _, _, each in RESPONSE_FRAMES]
    data = mutator.frames(frames[int(rng.random() * len(frames))])
    peer, end = pair(REACTOR)
    reader = Channel(end, "client" if rng.random() < 0.5 else "backend", 100_000)
    reader.seq = data[3] if len(data) > 3 and rng.random() < 0.9 else 0
    heard = 0
    for piece in mutator.pieces(data):
        peer.send(piece)
        REACTOR.poll()
        while True:
            reading = reader.read_packet()
            try:
                reading.send(None)
            except StopIteration as packet:
                heard += 4 + len(packet.value)
                continue
            except HProxyError:
                pass
            except RuntimeError as error:  # it would wait, and there is no loop
                if "no running event loop" not in str(error):
                    raise
            break
    assert heard <= len(data)
    if rng.random() < 0.5:
        peer.close()
        settle(REACTOR)
    reader.close()
    peer.close()
    assert REACTOR.size == 0


def session(mutator: Mutator) -> None:
    """Both sides send recorded conversations, broken; what arrives is what was sent.

    Perhaps an ERR of ours stands at its end, or the COM_QUIT with which we leave the backend.
    """
    rng = mutator.rng
    deprecate_eof, turns = WHOLE[int(rng.random() * len(WHOLE))]
    rig = Rig(
        reactor=REACTOR, deprecate_eof=deprecate_eof, query_attributes=rng.random() < 0.3
    ).start()
    if rng.random() < 0.1:
        rig.driver.on_slow = lambda session, _: None
    sent = {True: b"", False: b""}
    for number, frames in enumerate(turns):
        client = number % 2 == 0
        if rng.random() < 0.05:
            client = not client
        data = mutator.frames(frames) if rng.random() < 0.6 else b"".join(frames)
        for piece in mutator.pieces(data):
            try:
                (rig.client if client else rig.backend).send(piece)
            except (BrokenPipeError, ConnectionResetError):
                break  # we have hung up
            sent[client] += piece
            REACTOR.poll()
    to_client, to_backend = rig.to_client(), rig.to_backend()
    first, second = (rig.client, rig.backend) if rng.random() < 0.5 else (rig.backend, rig.client)
    first.close()
    settle(REACTOR)
    to_client += rig.client.receive() if second is rig.client else b""
    to_backend += rig.backend.receive() if second is rig.backend else b""
    second.close()
    assert emptied(REACTOR)
    assert rig.state == "closed"
    assert rig.driver.count("closed") == 1
    assert rig.driver.count("broken") == 0
    assert sent[True].startswith(to_backend.removesuffix(QUIT)) or sent[True].startswith(to_backend)
    told = sent[False].startswith(to_client)
    ours = any(
        to_client.endswith(words) and sent[False].startswith(to_client[: -4 - len(words)])
        for words in (*OURS, b"\xff\x84\x04#08S01out of order")
    )
    assert told or ours
