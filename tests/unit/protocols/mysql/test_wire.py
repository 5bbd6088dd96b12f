# SPDX-License-Identifier: Apache-2.0
"""Scalars and frames: the 16 MiB rule above all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.cursor import Cursor
from hproxy.protocols.mysql.wire import (
    MAX_FRAME_PAYLOAD,
    MalformedPacket,
    frames,
    join,
    lenenc_string,
    nul_string,
    reading,
    try_packet,
    u8,
    u16,
    u24,
    u32,
    u64,
)
from tests.captures.reading import conversations
from tests.support.garbage import garbage


def test_scalars_are_little_endian() -> None:
    written = u8(1) + u16(0x0302) + u24(0x060504) + u32(0x0A090807) + u64(0x1211100F0E0D0C0B)
    assert written == bytes(range(1, 19))


@pytest.mark.parametrize(
    ("write", "value"), [(u8, 256), (u16, 1 << 16), (u24, 1 << 24), (u32, 1 << 32), (u32, -1)]
)
def test_scalars_refuse_what_does_not_fit(write: object, value: int) -> None:
    assert callable(write)
    with pytest.raises(OverflowError):
        write(value)


def test_strings() -> None:
    assert lenenc_string(b"abc") == b"\x03abc"
    assert lenenc_string(b"x" * 300)[:3] == b"\xfc\x2c\x01"
    assert nul_string(b"abc") == b"abc\0"
    with pytest.raises(ValueError, match="NUL"):
        nul_string(b"a\0bc")


@pytest.mark.parametrize(
    ("length", "sizes"),
    [
        (0, [0]),
        (1, [1]),
        (MAX_FRAME_PAYLOAD - 1, [MAX_FRAME_PAYLOAD - 1]),
        (MAX_FRAME_PAYLOAD, [MAX_FRAME_PAYLOAD, 0]),
        (MAX_FRAME_PAYLOAD + 1, [MAX_FRAME_PAYLOAD, 1]),
        (2 * MAX_FRAME_PAYLOAD, [MAX_FRAME_PAYLOAD, MAX_FRAME_PAYLOAD, 0]),
    ],
)
def test_a_full_frame_is_followed_by_another(length: int, sizes: list[int]) -> None:
    payload = bytes([7]) * length
    made = list(frames(payload, 255))
    assert [int.from_bytes(frame[:3], "little") for frame in made] == sizes
    assert [len(frame) - 4 for frame in made] == sizes
    assert [frame[3] for frame in made] == [(255 + i) & 0xFF for i in range(len(sizes))]
    whole = b"".join(made)
    packet = try_packet(whole)
    assert packet is not None
    assert packet.payload == payload
    assert (packet.sequence, packet.end) == (made[-1][3], len(whole))
    assert try_packet(whole[:-1]) is None


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 255))
def test_join_and_take_apart(payloads: list[bytes], sequence: int) -> None:
    data, after = join(payloads, sequence)
    assert after == (sequence + len(payloads)) & 0xFF
    at = 0
    for i, payload in enumerate(payloads):
        packet = try_packet(data, at)
        assert packet is not None
        assert packet.payload == payload
        assert packet.sequence == (sequence + i) & 0xFF
        for cut in range(at, packet.end):
            assert try_packet(data[:cut], at) is None
        at = packet.end
    assert at == len(data)
    assert try_packet(data, at) is None


def test_a_limit_holds_before_the_bytes_are_there() -> None:
    head = u24(1000) + u8(0)
    assert try_packet(head, limit_bytes=1000) is None
    with pytest.raises(MalformedPacket, match="1000 bytes announced, 999 allowed"):
        try_packet(head, limit_bytes=999)


def test_a_limit_holds_for_all_frames_together() -> None:
    first = u24(MAX_FRAME_PAYLOAD) + u8(0) + bytes(MAX_FRAME_PAYLOAD)
    assert try_packet(first + u24(1) + u8(1), limit_bytes=MAX_FRAME_PAYLOAD + 1) is None
    with pytest.raises(MalformedPacket, match="announced"):
        try_packet(first + u24(2) + u8(1), limit_bytes=MAX_FRAME_PAYLOAD + 1)


def test_a_continuation_out_of_order_is_refused() -> None:
    first = u24(MAX_FRAME_PAYLOAD) + u8(255) + bytes(MAX_FRAME_PAYLOAD)
    assert try_packet(first + u24(0) + u8(0)) is not None
    with pytest.raises(MalformedPacket, match="numbered 1, not 0"):
        try_packet(first + u24(0) + u8(1))


@given(garbage())
def test_any_bytes_are_a_packet_or_wait_for_more(data: bytes) -> None:
    packet = try_packet(data)
    if packet is not None:
        assert data[4 : packet.end] == packet.payload


def test_every_captured_frame_is_what_we_would_write() -> None:
    for conversation in conversations("mysql"):
        for frame in conversation.frames:
            assert join([frame.payload], frame.data[3])[0] == frame.data


def test_reading_turns_the_cursor_s_complaint_into_a_malformed_packet() -> None:
    complaint = "greeting: 2 bytes wanted, 1 left at byte 0"
    with pytest.raises(MalformedPacket, match=complaint) as caught, reading("greeting"):
        Cursor(b"a").u16()
    assert (caught.value.what, caught.value.offset) == ("greeting", 0)
    with pytest.raises(ZeroDivisionError), reading("greeting"):
        raise ZeroDivisionError
