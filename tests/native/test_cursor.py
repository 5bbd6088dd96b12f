# SPDX-License-Identifier: Apache-2.0
"""The cursor and the length-encoded number, against vectors and against the slow twin."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.cursor import Cursor, CursorError, lenenc, try_lenenc
from tests.native.reference import (
    ReferenceCursor,
    ShortRead,
    reference_lenenc,
    reference_try_lenenc,
)

VECTORS = [
    (0, "00"),
    (1, "01"),
    (250, "fa"),
    (251, "fcfb00"),
    (252, "fcfc00"),
    (255, "fcff00"),
    (256, "fc0001"),
    (0xFFFF, "fcffff"),
    (0x10000, "fd000001"),
    (0xFFFFFF, "fdffffff"),
    (0x1000000, "fe0000000100000000"),
    (2**32, "fe0000000001000000"),
    (2**64 - 1, "feffffffffffffffff"),
]

PLAIN_READS = (
    "u8", "u16", "u24", "u32", "u48", "u64", "lenenc_int", "lenenc_bytes", "nul_bytes", "rest",
    "peek",
)  # fmt: skip

numbers = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([value for value, _ in VECTORS]),
)
steps = st.one_of(
    st.tuples(st.sampled_from(PLAIN_READS)),
    st.tuples(st.sampled_from(("take", "skip")), st.integers(-2, 40)),
)
# Heads of numbers and NULs are rare in uniform bytes; these are the interesting ones.
payloads = st.lists(
    st.one_of(st.sampled_from([0, 1, 2, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF]), st.integers(0, 255)),
    max_size=60,
).map(bytes)


@pytest.mark.parametrize(("value", "encoded"), VECTORS)
def test_lenenc_vectors(value: int, encoded: str) -> None:
    assert lenenc(value).hex() == encoded
    assert Cursor(bytes.fromhex(encoded)).lenenc_int() == value


@given(numbers)
def test_lenenc_round_trip(value: int) -> None:
    encoded = lenenc(value)
    assert encoded == reference_lenenc(value)
    cursor = Cursor(encoded)
    assert cursor.lenenc_int() == value
    assert cursor.remaining == 0
    assert try_lenenc(encoded) == (len(encoded), value)
    for cut in range(len(encoded)):
        assert try_lenenc(encoded[:cut])[0] == 0


@pytest.mark.parametrize("value", [-1, 2**64])
def test_lenenc_refuses_what_64_bits_cannot_hold(value: int) -> None:
    with pytest.raises(OverflowError):
        lenenc(value)


@given(payloads)
def test_inline_reader_equals_reference(data: bytes) -> None:
    used, value = try_lenenc(data)
    expected_used, expected_value = reference_try_lenenc(data)
    assert used == expected_used
    if used > 0:
        assert value == expected_value


@given(payloads, st.lists(steps, max_size=12))
def test_cursor_equals_reference(data: bytes, script: list[tuple[str, ...]]) -> None:
    # The payload lies inside a larger buffer full of NULs and number heads, so that a read
    # past either end would show as a different value.
    guard = bytes(range(256)) * 2
    fast = Cursor(memoryview(guard + data + guard)[len(guard) : len(guard) + len(data)])
    slow = ReferenceCursor(data)
    for name, *arguments in script:
        try:
            expected = getattr(slow, name)(*arguments)
        except ShortRead:
            with pytest.raises(CursorError) as caught:
                getattr(fast, name)(*arguments)
            assert caught.value.offset == slow.pos
        else:
            assert getattr(fast, name)(*arguments) == expected
        assert (fast.pos, fast.remaining) == (slow.pos, slow.remaining)


@pytest.mark.parametrize("name", [name for name in PLAIN_READS if name != "rest"])
def test_every_read_refuses_an_empty_payload(name: str) -> None:
    cursor = Cursor(b"")
    with pytest.raises(CursorError):
        getattr(cursor, name)()
    assert cursor.rest() == b""


@pytest.mark.parametrize("count", [-1, 4, 2**31, 2**62, 2**63 - 1])
def test_counts_beyond_the_payload_are_refused(count: int) -> None:
    cursor = Cursor(b"abcd")
    cursor.skip(1)
    for read in (cursor.take, cursor.skip):
        with pytest.raises(CursorError):
            read(count)
    assert cursor.rest() == b"bcd"


def test_a_string_longer_than_memory_is_refused_before_any_allocation() -> None:
    with pytest.raises(CursorError, match="18446744073709551615 bytes cut short"):
        Cursor(b"\xfe" + b"\xff" * 8 + b"data").lenenc_bytes()


@pytest.mark.parametrize("first", [0xFB, 0xFF])
def test_null_and_err_heads_are_no_numbers(first: int) -> None:
    cursor = Cursor(bytes([0, first, 0, 0, 0, 0, 0, 0, 0, 0]))
    cursor.skip(1)
    with pytest.raises(CursorError, match="no number can begin so at byte 1"):
        cursor.lenenc_int()


def test_the_error_says_where() -> None:
    cursor = Cursor(b"\x01\x02\x03")
    cursor.u16()
    with pytest.raises(CursorError, match="4 bytes wanted, 1 left at byte 2") as caught:
        cursor.u32()
    assert isinstance(caught.value, ValueError)
    assert caught.value.offset == 2


def test_reads_are_little_endian() -> None:
    data = bytes(range(1, 25))
    cursor = Cursor(data)
    values = [cursor.u8(), cursor.u16(), cursor.u24(), cursor.u32(), cursor.u48(), cursor.u64()]
    assert values == [
        0x01, 0x0302, 0x060504, 0x0A090807, 0x100F0E0D0C0B, 0x1817161514131211,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_read(kind: Callable[[bytes], bytes]) -> None:
    assert Cursor(kind(b"\x03abcd\0e")).lenenc_bytes() == b"abc"


def test_a_buffer_cannot_be_resized_under_a_cursor_and_is_free_after_it() -> None:
    data = bytearray(b"abcdef")
    cursor = Cursor(data)
    with pytest.raises(BufferError):
        data.extend(b"more")
    del cursor
    gc.collect()
    data.extend(b"more")


def test_what_is_no_buffer_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Cursor("text")  # type: ignore[arg-type]
