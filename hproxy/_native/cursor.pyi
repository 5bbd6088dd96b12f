# SPDX-License-Identifier: Apache-2.0
"""Bounds-checked little-endian reads over one payload, and the length-encoded writer."""

from typing import final

from typing_extensions import Buffer

class CursorError(ValueError):
    """A read beyond the end, or a byte that cannot begin a number; `offset` is where."""

    offset: int
    def __init__(self, reason: str, offset: int) -> None: ...

@final
class Cursor:
    """Reads forward; every method raises CursorError and leaves `pos` alone when it cannot."""

    def __new__(cls, data: Buffer) -> Cursor: ...
    @property
    def pos(self) -> int:
        """Bytes from the start of the payload."""
    @property
    def remaining(self) -> int:
        """Bytes from here to the end."""
    def u8(self) -> int: ...
    def u16(self) -> int: ...
    def u24(self) -> int: ...
    def u32(self) -> int: ...
    def u48(self) -> int: ...
    def u64(self) -> int: ...
    def lenenc_int(self) -> int:
        """A length-encoded number. Spec: MySQL "Protocol::LengthEncodedInteger"."""
    def lenenc_bytes(self) -> bytes:
        """A length-encoded string, copied."""
    def nul_bytes(self) -> bytes:
        """Up to the next NUL, which is consumed and left out."""
    def take(self, count: int, /) -> bytes:
        """The next `count` bytes, copied."""
    def rest(self) -> bytes:
        """All that remains, copied; b"" at the end."""
    def skip(self, count: int, /) -> None: ...
    def peek(self) -> int:
        """The next byte, not consumed."""

def lenenc(value: int) -> bytes:
    """`value` as a length-encoded number. Raises OverflowError outside 0..2**64-1."""

def try_lenenc(data: Buffer) -> tuple[int, int]:
    """What the scanners' inline reader sees: (bytes consumed, value).

    Consumed is 0 when more bytes are needed and -1 when none may begin a number so.
    """
