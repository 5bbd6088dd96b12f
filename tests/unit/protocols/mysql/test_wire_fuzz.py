# SPDX-License-Identifier: Apache-2.0
"""Hundreds of thousands of damaged packets through every parser: a value or MalformedPacket.

Hypothesis (in each parser's own test) is the better finder; this is for numbers.
"""

from __future__ import annotations

import gc
import random
import resource
from collections.abc import Callable, Iterator

import pytest

from hproxy.protocols.mysql.auth import Secret
from hproxy.protocols.mysql.commands import parse_kill
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import (
    AuthMoreData,
    AuthSwitchRequest,
    ChangeUser,
    Greeting,
    HandshakeResponse,
    SslRequest,
)
from hproxy.protocols.mysql.parameters import parse_execute, parse_long_data, parse_query
from hproxy.protocols.mysql.replies import EofPacket, ErrPacket, OkPacket, parse_session_track
from hproxy.protocols.mysql.wire import MalformedPacket, try_packet
from tests.captures.reading import conversations

ROUNDS = 100_000
EVERYTHING = Capability(0xFFFFFFFF)
NOTHING = Capability(0)
TELLING = bytes((0x00, 0x01, 0x0A, 0x11, 0x17, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF))
ALLOWED_GROWTH_KIB = 8 << 10

PARSERS: list[Callable[[bytes], object]] = [
    Greeting.parse,
    HandshakeResponse.parse,
    SslRequest.parse,
    AuthSwitchRequest.parse,
    AuthMoreData.parse,
    lambda data: ChangeUser.parse(data, EVERYTHING),
    lambda data: ChangeUser.parse(data, NOTHING),
    lambda data: OkPacket.parse(data, EVERYTHING).session_changes,
    lambda data: OkPacket.parse(data, NOTHING),
    ErrPacket.parse,
    EofPacket.parse,
    parse_session_track,
    lambda data: parse_execute(data, 3, EVERYTHING, types=(1, 253, 12)),
    lambda data: parse_execute(data, 3, NOTHING, types=(1, 253, 12)),
    lambda data: parse_query(data, EVERYTHING),
    parse_long_data,
    lambda data: try_packet(data, limit_bytes=1 << 20),
    parse_kill,
    Secret.parse,
]


def damaged(chance: random.Random, seeds: list[bytes]) -> Iterator[bytes]:
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    del data[at:]
                case 1:
                    data[at : at + 1] = bytes([chance.choice(TELLING)])
                case 2:
                    data[at:at] = bytes([chance.randrange(256)])
                case 3:
                    data[at:at] = chance.randbytes(chance.randrange(12))
                case 4:
                    del data[at : at + chance.randrange(8)]
        yield bytes(data)


@pytest.mark.fuzz
@pytest.mark.timeout(300)
def test_damaged_packets() -> None:
    captured = conversations("mysql")
    seeds = list({frame.payload for talk in captured for frame in talk.frames})
    chance = random.Random(20_000)
    packets = damaged(chance, seeds)

    def feed(rounds: int) -> int:
        understood = 0
        for _ in range(rounds):
            data = next(packets)
            for parse in PARSERS:
                try:
                    parse(data)
                except MalformedPacket:
                    continue
                understood += 1
        return understood

    feed(ROUNDS // 10)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    understood = feed(ROUNDS)
    # Neither everything nor nothing: the damage is of the right size.
    assert ROUNDS < understood < ROUNDS * len(PARSERS) / 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ALLOWED_GROWTH_KIB
