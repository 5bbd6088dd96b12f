# SPDX-License-Identifier: Apache-2.0
"""Clients that send ahead, or a byte at a time: every answer in its order."""

from __future__ import annotations

import random
import struct

from hproxy.protocols.mysql.constants import Command
from hproxy.protocols.mysql.wire import frames
from tests.integration.route import Route
from tests.support.recording_client import RecordingClient

LAST_PREPARED = 0xFFFFFFFF
QUIT = bytes([Command.QUIT])


def conversation(client: RecordingClient, pieces: list[bytes]) -> bytes:
    """What comes back when `pieces` are sent without reading in between."""
    with client:
        for piece in pieces:
            client.socket.sendall(piece)
        return client.rest()


def stream(*payloads: bytes) -> bytes:
    return b"".join(frame for payload in (*payloads, QUIT) for frame in frames(payload))


def mixed(is_mariadb: bool) -> list[bytes]:
    payloads = []
    for number in range(40):
        payloads.append(b"\x03SELECT %d, REPEAT('x', %d)" % (number, number * 500))
        payloads.append(b"\x03SELECT 1; SELECT no_such_column; SELECT 2")
        payloads.append(b"\x03SET @a = %d" % number)
        payloads.append(bytes([Command.PING]))
        payloads.append(bytes([Command.INIT_DB]) + b"test")
        # Neither of the two is answered.
        payloads.append(bytes([Command.STMT_CLOSE]) + struct.pack("<I", 77))
        payloads.append(bytes([Command.STMT_SEND_LONG_DATA]) + struct.pack("<IH", 77, 0) + b"x")
        payloads.append(bytes([Command.STMT_RESET]) + struct.pack("<I", 77))
        if is_mariadb:
            payloads.append(bytes([Command.STMT_PREPARE]) + b"SELECT @a, 5")
            payloads.append(
                bytes([Command.STMT_EXECUTE]) + struct.pack("<IBI", LAST_PREPARED, 0, 1)
            )
            payloads.append(bytes([Command.STMT_CLOSE]) + struct.pack("<I", LAST_PREPARED))
    return payloads


def masked(told: bytes, is_mariadb: bool) -> list[bytes]:
    """The frames; without the ids of statements, on which MariaDB counts on."""
    found = []
    while told:
        size = int.from_bytes(told[:3], "little")
        frame, told = told[: 4 + size], told[4 + size :]
        if is_mariadb and size == 12 and frame[4] == 0:
            frame = frame[:5] + bytes(4) + frame[9:]
        found.append(frame)
    return found


def test_everything_in_one_send(route: Route) -> None:
    data = stream(*mixed(route.is_mariadb))
    through, direct = (
        masked(conversation(client, [data]), route.is_mariadb)
        for client in (route.raw(), route.raw_direct())
    )
    assert through == direct
    assert len(through) > 400


def test_cut_anywhere(route: Route) -> None:
    data = stream(*mixed(route.is_mariadb))
    chance = random.Random(4)
    pieces = []
    at = 0
    while at < len(data):
        size = chance.choice((1, 2, 3, 4, 5, 7, 100, 1000))
        pieces.append(data[at : at + size])
        at += size
    through, direct = (
        masked(told, route.is_mariadb)
        for told in (
            conversation(route.raw(), pieces),
            conversation(route.raw_direct(), [data]),
        )
    )
    assert through == direct


def test_byte_by_byte(route: Route) -> None:
    data = stream(*mixed(route.is_mariadb)[:24])
    through, direct = (
        masked(told, route.is_mariadb)
        for told in (
            conversation(route.raw(), [data[i : i + 1] for i in range(len(data))]),
            conversation(route.raw_direct(), [data]),
        )
    )
    assert through == direct


def test_more_ahead_than_the_proxy_holds(route: Route) -> None:
    """Two megabytes of commands before the first answer is read: back-pressure, no loss."""
    many = [b"\x03SELECT %d /* %s */" % (n, b"c" * 2000) for n in range(1000)]
    with route.raw() as client:
        for payload in many:
            client.send(payload)
        for number in range(1000):
            answer = client.answer(Command.QUERY)
            text = str(number).encode()
            assert answer[-2] == bytes([len(text)]) + text
