# SPDX-License-Identifier: Apache-2.0
"""Slow, obvious twins of the native modules: what hypothesis compares the fast ones with."""

from __future__ import annotations

__all__ = ["ReferenceCursor", "ShortRead", "reference_lenenc", "reference_try_lenenc"]

WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


class ShortRead(ValueError):
    """The twin of CursorError."""


def reference_lenenc(value: int) -> bytes:
    """The shortest length-encoded form of `value`."""
    if value < 0xFB:
        return bytes([value])
    for first, width in WIDTHS.items():
        if value < 256**width:
            return bytes([first]) + value.to_bytes(width, "little")
    raise OverflowError(value)


def reference_try_lenenc(data: bytes) -> tuple[int, int]:
    """(bytes consumed, value); consumed 0 = need more, -1 = cannot be a number."""
    if not data:
        return 0, 0
    if data[0] < 0xFB:
        return 1, data[0]
    if data[0] not in WIDTHS:
        return -1, 0
    width = WIDTHS[data[0]]
    if len(data) < 1 + width:
        return 0, 0
    return 1 + width, int.from_bytes(data[1 : 1 + width], "little")


class ReferenceCursor:
    """Cursor with slices: a read that cannot be served raises and moves nothing."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    @property
    def remaining(self) -> int:
        return len(self.data) - self.pos

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.remaining:
            raise ShortRead(count)
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def skip(self, count: int) -> None:
        self.take(count)

    def rest(self) -> bytes:
        return self.take(self.remaining)

    def peek(self) -> int:
        if not self.remaining:
            raise ShortRead("nothing to peek at")
        return self.data[self.pos]

    def u8(self) -> int:
        return int.from_bytes(self.take(1), "little")

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u24(self) -> int:
        return int.from_bytes(self.take(3), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u48(self) -> int:
        return int.from_bytes(self.take(6), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def lenenc_int(self) -> int:
        used, value = reference_try_lenenc(self.data[self.pos :])
        if used <= 0:
            raise ShortRead("no number")
        self.pos += used
        return value

    def lenenc_bytes(self) -> bytes:
        start = self.pos
        try:
            return self.take(self.lenenc_int())
        except ShortRead:
            self.pos = start
            raise

    def nul_bytes(self) -> bytes:
        length = self.data.find(b"\0", self.pos) - self.pos
        if length < 0:
            raise ShortRead("no NUL")
        found = self.take(length)
        self.pos += 1
        return found
