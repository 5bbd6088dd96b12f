# SPDX-License-Identifier: Apache-2.0
"""Builds responses packet by packet, and strategies that make them up."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

from hproxy.protocols.mysql.wire import join, lenenc, lenenc_string, u8, u16, u32
from tests.support.chopper import Chop, bytewise, whole
from tests.support.garbage import garbage

__all__ = [
    "CUT",
    "FRAME_MAX",
    "MORE",
    "binary_row",
    "broken_responses",
    "columns",
    "eof",
    "err",
    "framed",
    "ok",
    "responses",
    "rows_of",
]

FRAME_MAX = 0xFFFFFF
MORE = 0x0008
CURSOR = 0x0040
COMMANDS = (0x03, 0x17, 0x16, 0x1C, 0x04, 0x0E, 0x09, 0x12)


def large(data: bytes) -> Iterator[bytes]:
    """As a busy socket gives it: what one recv takes."""
    for at in range(0, len(data), 131072):
        yield data[at : at + 131072]


CUT: dict[str, Chop] = {"whole": whole, "large": large}


def framed(packets: list[bytes], sequence: int = 1) -> bytes:
    return join(packets, sequence)[0]


def ok(
    affected: int = 0,
    insert_id: int = 0,
    status: int = 2,
    warnings: int = 0,
    info: bytes = b"",
    header: int = 0,
) -> bytes:
    return u8(header) + lenenc(affected) + lenenc(insert_id) + u16(status) + u16(warnings) + info


def eof(deprecate_eof: bool, status: int = 2, warnings: int = 0) -> list[bytes]:
    """What ends rows."""
    if deprecate_eof:
        return [ok(status=status, warnings=warnings, header=0xFE)]
    return [b"\xfe" + u16(warnings) + u16(status)]


def err(number: int = 1064) -> bytes:
    return b"\xff" + u16(number) + b"#HY000said so"


def definition(name: bytes = b"c") -> bytes:
    strings = b"".join(map(lenenc_string, (b"def", b"", b"t", b"t", name, name)))
    return strings + b"\x0c" + b"\x2d\x00" + u32(255) + b"\xfd" + u16(0) + b"\x00\x00\x00"


def columns(count: int, deprecate_eof: bool, status: int = 2) -> list[bytes]:
    closing = [] if deprecate_eof else eof(False, status)
    return [lenenc(count), *([definition()] * count), *closing]


def rows_of(rows: list[bytes]) -> list[bytes]:
    return rows


def binary_row(values: bytes) -> bytes:
    return b"\x00\x00" + values


statuses = st.sampled_from((0, 2, 3, 0x22, 0x4002, 0x1002))
errors = st.integers(1, 0xFFFE).map(err)
numbers = st.sampled_from((0, 1, 250, 251, 65535, 65536, 2**24, 2**40))
progress = st.just(b"\xff\xff\xff\x01\x01\x02\x00\x00\x00\x01x")
text_rows = st.lists(
    st.one_of(st.just(b"\xfb"), st.binary(max_size=40).map(lenenc_string)), min_size=1, max_size=4
).map(b"".join)
binary_rows = st.binary(max_size=40).map(binary_row)


@st.composite
def result(draw: st.DrawFn, deprecate_eof: bool, more: int) -> list[bytes]:
    """One result of perhaps several; `more` is put into its last status."""
    status = draw(statuses) | more
    kind = draw(st.sampled_from(("ok", "rows", "rows", "rows", "bare", "cursor", "reported")))
    if kind == "ok":
        info = draw(st.binary(max_size=30))
        return [ok(draw(numbers), draw(numbers), status, draw(st.integers(0, 9)), info)]
    before = draw(st.lists(progress, max_size=2)) if kind == "reported" else []
    count = draw(st.sampled_from((1, 2, 5, 251)))
    head = columns(count, deprecate_eof, draw(statuses))
    if kind == "bare":
        head = [head[0] + b"\x00", *([] if deprecate_eof else head[-1:])]
    elif draw(st.booleans()):
        head[0] += b"\x01"  # metadata follows
    if kind == "cursor" and not more:
        if deprecate_eof:
            return head + eof(True, CURSOR | 2)
        return head[:-1] + eof(False, CURSOR | 2)
    rows = draw(st.lists(st.one_of(text_rows, binary_rows), max_size=6))
    end = eof(deprecate_eof, status, draw(st.integers(0, 9)))
    if not more and draw(st.integers(0, 5)) == 0:
        end = [draw(errors)]
    return before + head + rows + end


@st.composite
def results(draw: st.DrawFn, deprecate_eof: bool) -> list[bytes]:
    units = draw(st.integers(0, 3))
    packets = [packet for _ in range(units) for packet in draw(result(deprecate_eof, MORE))]
    last = draw(st.sampled_from(("result", "result", "error", "file")))
    if last == "error":
        return [*packets, draw(errors)]
    if last == "file":
        return [*packets, b"\xfb" + draw(st.binary(max_size=60))]
    return packets + draw(result(deprecate_eof, 0))


@st.composite
def prepared(draw: st.DrawFn, deprecate_eof: bool) -> list[bytes]:
    parameters, count = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    bare = draw(st.sampled_from((b"", b"\x00", b"\x01")))
    packets = [b"\x00" + u32(7) + u16(count) + u16(parameters) + b"\x00" + u16(3) + bare]
    for number in (parameters, count):
        if number:
            packets += [] if bare == b"\x00" else [definition(b"?")] * number
            packets += [] if deprecate_eof else eof(False)
    return packets


@st.composite
def responses(draw: st.DrawFn) -> tuple[int, bytes, bool]:
    """(command, whole response, DEPRECATE_EOF)."""
    command = draw(st.sampled_from(COMMANDS))
    deprecate_eof = draw(st.booleans())
    if command in (0x03, 0x17):
        packets = draw(results(deprecate_eof))
    elif command == 0x16:
        packets = draw(st.one_of(prepared(deprecate_eof), errors.map(lambda packet: [packet])))
    elif command == 0x1C:
        packets = draw(st.lists(binary_rows, max_size=6)) + eof(deprecate_eof, draw(statuses))
    elif command == 0x04:
        count = draw(st.integers(0, 3))
        packets = [definition()] * count + draw(st.sampled_from((eof(deprecate_eof), [err(1146)])))
    elif command == 0x12:
        events = st.binary(max_size=60).map(lambda event: b"\x00" + event)
        packets = [*draw(st.lists(events, max_size=5)), *eof(False)]
    else:
        packets = [draw(st.sampled_from((ok(), err(1064), b"Uptime: 1", eof(False)[0])))]
    return command, framed(packets), deprecate_eof


@st.composite
def broken_responses(draw: st.DrawFn) -> tuple[int, bytes, bool]:
    """The same with some bytes changed, put in, removed, cut off; or no response at all."""
    command, data, deprecate_eof = draw(responses())
    return command, draw(garbage(data)), deprecate_eof


# Byte by byte is part of every comparison, too.
CUT["bytewise"] = bytewise
