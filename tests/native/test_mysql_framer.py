# SPDX-License-Identifier: Apache-2.0
"""Where a client's packet ends, against the slow twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.mysql import CommandFramer
from hproxy.protocols.mysql.wire import frames
from tests.native.recorded import exchanges
from tests.native.reference import reference_frame_packet
from tests.support.chopper import Chop, bytewise, cuts, whole
from tests.support.garbage import garbage

FRAME_MAX = 0xFFFFFF


def feed(framer: CommandFramer, pieces: Chop, data: bytes) -> tuple[int, bool]:
    used = 0
    for piece in pieces(data):
        took, complete = framer.scan(piece)
        assert 0 <= took <= len(piece)
        used += took
        if complete or took < len(piece):
            return used, complete
    return used, False


def test_recorded_commands_end_where_they_end(chop: Chop) -> None:
    for exchange in exchanges():
        framer = CommandFramer()
        framer.start()
        data = exchange.command + b"\x01\x00\x00\x00\x0e"
        assert feed(framer, chop, data) == (len(exchange.command), True)
        assert framer.fault is None


def test_a_recorded_file_is_one_packet_after_the_other(chop: Chop) -> None:
    sent = [data for each in exchanges() for client, data in each.turns if client]
    assert sent
    for data in sent:
        framer = CommandFramer()
        packets = 0
        sequence = data[3]
        while data:
            framer.start(sequence)
            used, complete = feed(framer, chop, data)
            assert complete
            data, packets, sequence = data[used:], packets + 1, sequence + 1
        assert packets >= 1


@pytest.mark.parametrize(
    "length", [0, 1, FRAME_MAX - 1, FRAME_MAX, FRAME_MAX + 1, 2 * FRAME_MAX, 2 * FRAME_MAX + 7]
)
@pytest.mark.parametrize("sequence", [0, 255])
def test_packets_over_several_frames(length: int, sequence: int) -> None:
    data = b"".join(frames(bytes(length), sequence))
    for size in (len(data) or 1, 131072, 65537):
        framer = CommandFramer()
        framer.start(sequence)
        used, complete = 0, False
        for at in range(0, len(data), size):
            assert not complete
            took, complete = framer.scan(
                data[at : at + size] + (b"x" if at + size >= len(data) else b"")
            )
            used += took
        assert (used, complete, framer.fault) == (len(data), True, None)


@pytest.mark.parametrize("sequence", [1, 7, 255])
def test_the_first_frame_has_the_number_expected(sequence: int, chop: Chop) -> None:
    framer = CommandFramer()
    framer.start(3)
    assert feed(framer, chop, b"\x01\x00\x00" + bytes([sequence]) + b"x") == (4, False)
    assert framer.fault == "packets out of order"
    assert framer.fault_code != 0
    framer.start(sequence)
    assert framer.fault is None


def test_after_a_fault_nothing_is_taken_for_good() -> None:
    framer = CommandFramer()
    framer.start()
    for _ in range(100):
        framer.scan(b"\x01\x00\x00\x09")
        assert framer.fault is not None


def test_nothing_is_no_packet() -> None:
    framer = CommandFramer()
    framer.start()
    assert framer.scan(b"") == (0, False)


packets = st.one_of(
    st.binary(max_size=60).map(lambda payload: b"".join(frames(payload))),
    garbage(b"\x05\x00\x00\x00\x03abcd", b"\x00\x00\x00\x00"),
)


@given(packets, st.integers(0, 255), st.randoms(use_true_random=False))
def test_framer_equals_the_reference(data: bytes, sequence: int, rng: object) -> None:
    expected = reference_frame_packet(data, sequence)
    for pieces in (whole, bytewise, lambda piece: cuts(piece, rng)):  # type: ignore[arg-type]
        framer = CommandFramer()
        framer.start(sequence)
        used, complete = feed(framer, pieces, data)
        if expected[2]:
            assert framer.fault is not None
            assert not complete
        else:
            assert (used, complete, framer.fault is not None) == expected
