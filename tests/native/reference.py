# SPDX-License-Identifier: Apache-2.0
"""Slow, obvious twins of the native modules: what hypothesis compares the fast ones with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "Outcome",
    "ReferenceCursor",
    "ShortRead",
    "reference_frame_packet",
    "reference_lenenc",
    "reference_scan",
    "reference_try_lenenc",
]

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


# -- where a response ends -------------------------------------------------------------

FRAME_MAX = 0xFFFFFF
JUDGED = 24  # payload bytes that must be there before a frame is judged
MORE_RESULTS = 0x0008
CURSOR_EXISTS = 0x0040
PS_OUT_PARAMS = 0x1000  # MySQL forgets MORE_RESULTS in the EOF behind such a row

SINGLE = frozenset(
    (*range(0x05, 0x0A), *range(0x0B, 0x11), 0x00, 0x02, 0x14, 0x15, 0x1A, 0x1B, 0x1D, 0x1F)
)
UNANSWERED = frozenset((0x01, 0x11, 0x18, 0x19))  # quit, change user, long data, close
STREAMS = frozenset((0x12, 0x13, 0x1E))


class NeedMore(Exception):
    """The data ends inside the response."""


class Broken(Exception):
    """No server says this."""


class Over(Exception):
    """The response ended: an ERR did it."""


class WantsFile(Exception):
    """The server awaits the client's file."""


@dataclass
class Outcome:
    """What is known after looking at `data`; `rows` counts whole ones."""

    used: int = 0
    done: bool = False
    wants_file: bool = False
    fault: bool = False
    rows: int = 0
    status: int = 0
    warnings: int = 0
    error: int = 0


class Packet(NamedTuple):
    head: bytes  # of its first frame
    length: int  # of its first frame

    @property
    def is_eof(self) -> bool:
        return self.head[0] == 0xFE and self.length < 9

    @property
    def is_last_of_rows(self) -> bool:
        """The same where DEPRECATE_EOF put an OK packet into EOF's place."""
        return self.head[0] == 0xFE and self.length < FRAME_MAX


class ReferenceScanner:
    """Reads a response as the documentation tells it: packet after packet, top down."""

    def __init__(self, data: bytes, deprecate_eof: bool, sequence: int) -> None:
        self.data = data
        self.deprecate_eof = deprecate_eof
        self.sequence = sequence
        self.numbered = True
        self.seen_any = False
        self.pos = 0
        self.out = Outcome()

    def frame(self) -> tuple[bytes, int]:
        """Head and length of the next frame; `pos` is then behind its header."""
        header = self.data[self.pos : self.pos + 4]
        if len(header) < 4:
            raise NeedMore
        length = int.from_bytes(header[:3], "little")
        head = self.data[self.pos + 4 : self.pos + 4 + min(length, JUDGED)]
        if len(head) < min(length, JUDGED):
            raise NeedMore
        early_error = not self.seen_any and header[3] == 0 and length >= 3 and head[0] == 0xFF
        if self.numbered and header[3] != self.sequence and not early_error:
            raise Broken
        self.seen_any = True
        self.sequence = (header[3] + 1) % 256
        self.pos += 4
        return head, length

    def body(self, length: int) -> None:
        """Step over the payload that was announced, and over frames that continue it."""
        while True:
            if len(self.data) - self.pos < length:
                raise NeedMore
            self.pos += length
            if length < FRAME_MAX:
                return
            _, length = self.frame()

    def packet(self) -> Packet:
        """The next packet's beginning; `body` must follow. ERR packets are dealt with here."""
        while True:
            start = self.pos
            head, length = self.frame()
            if length == 0:
                self.pos = start
                raise Broken
            if head[0] != 0xFF:
                return Packet(head, length)
            if length < 3:
                self.pos = start
                raise Broken
            number = int.from_bytes(head[1:3], "little")
            if number != 0xFFFF:  # else a progress report
                self.out.error = number
                self.out.status &= ~MORE_RESULTS
                self.body(length)
                raise Over
            self.body(length)

    def refuse(self) -> None:
        self.pos -= 4
        raise Broken

    def ok(self, packet: Packet) -> None:
        """Read status and warnings of an OK packet."""
        cursor = ReferenceCursor(packet.head)
        try:
            cursor.skip(1)
            cursor.lenenc_int()
            cursor.lenenc_int()
            self.out.status = cursor.u16()
        except ShortRead:
            self.refuse()
        if cursor.remaining >= 2:
            self.out.warnings = cursor.u16()

    def eof(self, packet: Packet, *, after_rows: bool = False) -> None:
        before = self.out.status
        if packet.length >= 7 and self.deprecate_eof:
            self.ok(packet)
        elif packet.length >= 5:
            self.out.warnings = int.from_bytes(packet.head[1:3], "little")
            self.out.status = int.from_bytes(packet.head[3:5], "little")
            if after_rows and before & PS_OUT_PARAMS:
                self.out.status |= before & MORE_RESULTS
        else:
            self.out.status &= ~MORE_RESULTS  # of old: one byte

    def rows(self) -> None:
        while True:
            packet = self.packet()
            last = packet.is_last_of_rows if self.deprecate_eof else packet.is_eof
            if last:
                self.eof(packet, after_rows=True)
                return self.body(packet.length)
            self.body(packet.length)
            self.out.rows += 1

    def definitions(self, count: int) -> None:
        for _ in range(count):
            self.body(self.packet().length)

    def results(self) -> None:
        while True:
            packet = self.packet()
            first = packet.head[0]
            if first == 0xFB:
                self.body(packet.length)
                raise WantsFile
            if first == 0xFE and packet.length < 9:
                self.eof(packet)
                self.body(packet.length)
            elif first in (0x00, 0xFE):
                self.ok(packet)
                self.body(packet.length)
            elif not self.one_result(packet):
                return
            if not self.out.status & MORE_RESULTS:
                return

    def one_result(self, packet: Packet) -> bool:
        """Definitions and rows; False when the rows wait for COM_STMT_FETCH."""
        used, count = reference_try_lenenc(packet.head)
        if used <= 0 or count == 0:
            self.refuse()
        left_out = packet.length > used and packet.head[used] == 0
        self.body(packet.length)
        if not left_out:
            self.definitions(count)
        if not self.deprecate_eof:
            between = self.packet()
            if not between.is_eof:
                self.refuse()
            if between.length >= 5:
                self.eof(between)
            self.body(between.length)
            if between.length >= 5 and self.out.status & CURSOR_EXISTS:
                return False
        self.rows()
        return True

    def prepared(self) -> None:
        packet = self.packet()
        if packet.head[0] != 0 or packet.length < 12:
            self.refuse()
        columns = int.from_bytes(packet.head[5:7], "little")
        parameters = int.from_bytes(packet.head[7:9], "little")
        self.out.warnings = int.from_bytes(packet.head[10:12], "little")
        left_out = packet.length > 12 and packet.head[12] == 0
        self.body(packet.length)
        for count in (parameters, columns):
            if count and not left_out:
                self.definitions(count)
            if count and not self.deprecate_eof:
                closing = self.packet()
                if closing.head[0] != 0xFE:
                    self.refuse()
                self.body(closing.length)

    def single(self) -> None:
        if self.data[:4] == bytes((0, 0, 0, self.sequence)):
            self.pos = 4
            return
        packet = self.packet()
        if packet.head[0] == 0:
            start = self.pos
            try:
                self.ok(packet)
            except Broken:
                self.pos = start  # COM_STATISTICS answers text
        self.body(packet.length)

    def until(self, *, short_eof: bool) -> None:
        """Anything up to an EOF."""
        while True:
            packet = self.packet()
            self.body(packet.length)
            if packet.is_eof or (packet.head[0] == 0xFE and not short_eof):
                return

    def respond(self, command: int) -> None:
        if command in UNANSWERED:
            return
        if command in SINGLE:
            self.single()
        elif command == 0x04:
            self.until(short_eof=False)
        elif command in STREAMS:
            self.numbered = False
            self.until(short_eof=True)
        elif command == 0x16:
            self.prepared()
        elif command == 0x1C:
            self.rows()
        else:
            self.results()


def reference_scan(
    command: int, data: bytes, *, deprecate_eof: bool = False, sequence: int = 1, status: int = 0
) -> Outcome:
    """What the response to `command` in `data` comes to; `status` is what was known before."""
    scanner = ReferenceScanner(data, deprecate_eof, sequence)
    out = scanner.out
    out.status = status
    try:
        scanner.respond(command)
        out.done = True
    except Over:
        out.done = True
    except WantsFile:
        out.wants_file = True
    except Broken:
        out.fault = True
    except NeedMore:
        scanner.pos = len(data)
    out.used = scanner.pos
    return out


def reference_frame_packet(data: bytes, sequence: int = 0) -> tuple[int, bool, bool]:
    """(bytes of the packet in `data`, whether it is complete, whether its numbers are wrong)."""
    pos = 0
    while len(data) - pos >= 4:
        length = int.from_bytes(data[pos : pos + 3], "little")
        if data[pos + 3] != sequence:
            return pos + 4, False, True
        sequence = (sequence + 1) % 256
        pos += 4 + length
        if pos > len(data):
            break
        if length < FRAME_MAX:
            return pos, True, False
    return len(data), False, False
