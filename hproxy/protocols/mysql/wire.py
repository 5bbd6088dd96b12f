# SPDX-License-Identifier: Apache-2.0
"""Bytes of the MySQL protocol: writers of its scalars, frames, and the error for bad ones.

A packet travels in frames of at most 2^24-1 bytes: 3 bytes of length, 1 of sequence id, the
payload. A frame that is exactly full says "more follows", so a packet that ends on the
boundary is followed by an empty frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from hproxy._native.cursor import CursorError, lenenc

__all__ = [
    "HEADER_BYTES",
    "MAX_FRAME_PAYLOAD",
    "MalformedPacket",
    "Packet",
    "frames",
    "join",
    "lenenc",
    "lenenc_string",
    "nul_string",
    "reading",
    "try_packet",
    "u8",
    "u16",
    "u24",
    "u32",
    "u64",
]

HEADER_BYTES = 4
MAX_FRAME_PAYLOAD = 0xFFFFFF


class MalformedPacket(ValueError):
    """Bytes that are not what they should be; whose mistake it is, the caller knows.

    `what` names the packet, `reason` the trouble, `offset` is into its payload.
    """

    def __init__(self, what: str, reason: str, offset: int | None = None) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason
        self.offset = offset


class reading:
    """Turns a cursor's complaint inside the block into MalformedPacket about `what`."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, CursorError):
            raise MalformedPacket(self.what, str(error), error.offset) from None


def u8(value: int) -> bytes:
    return value.to_bytes(1, "little")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def u24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def lenenc_string(data: bytes) -> bytes:
    """`data` after its length-encoded length."""
    return lenenc(len(data)) + data


def nul_string(data: bytes) -> bytes:
    """`data` and a NUL. Raises ValueError if it holds one: it would end there for the peer."""
    if b"\0" in data:
        raise ValueError("a NUL inside a NUL-terminated string")
    return data + b"\0"


def frames(payload: bytes, sequence: int = 0) -> Iterator[bytes]:
    """The frames that carry `payload`; the first is numbered `sequence`, modulo 256."""
    start = 0
    while True:
        part = payload[start : start + MAX_FRAME_PAYLOAD]
        yield u24(len(part)) + u8(sequence & 0xFF) + part
        if len(part) < MAX_FRAME_PAYLOAD:
            return
        start += MAX_FRAME_PAYLOAD
        sequence += 1


def join(payloads: Iterable[bytes], sequence: int = 0) -> tuple[bytes, int]:
    """All `payloads` as one run of frames, and the sequence id that comes after them."""
    out = []
    for payload in payloads:
        for frame in frames(payload, sequence):
            out.append(frame)
            sequence = (sequence + 1) & 0xFF
    return b"".join(out), sequence


class Packet(NamedTuple):
    """A payload joined from its frames."""

    payload: bytes
    sequence: int  # of its last frame
    end: int  # where the next packet begins in what was scanned


def try_packet(
    data: bytes | bytearray | memoryview, start: int = 0, *, limit_bytes: int | None = None
) -> Packet | None:
    """The packet at `start`, or None while it is incomplete.

    Raises MalformedPacket once its heads announce more than `limit_bytes`, or its frames are
    not numbered one after another. For conversations of a few packets; traffic is native.
    """
    parts: list[bytes] = []
    total = 0
    expected: int | None = None
    while len(data) - start >= HEADER_BYTES:
        length = int.from_bytes(data[start : start + 3], "little")
        sequence = data[start + 3]
        total += length
        if limit_bytes is not None and total > limit_bytes:
            raise MalformedPacket("packet", f"{total} bytes announced, {limit_bytes} allowed")
        if expected is not None and sequence != expected:
            raise MalformedPacket("packet", f"continuation numbered {sequence}, not {expected}")
        start += HEADER_BYTES
        if len(data) - start < length:
            return None
        parts.append(bytes(data[start : start + length]))
        start += length
        if length < MAX_FRAME_PAYLOAD:
            return Packet(b"".join(parts), sequence, start)
        expected = (sequence + 1) & 0xFF
    return None
