# SPDX-License-Identifier: Apache-2.0
"""Values a client sends in binary: parameters of COM_STMT_EXECUTE and query attributes.

Both have one shape: NULL bitmap, "types follow" flag, types (with names where query
attributes were agreed), values. Numbers come out as numbers, dates and times as the text SQL
writes them (so that a zero date survives), everything else as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hproxy._native.cursor import Cursor
from hproxy.protocols.mysql.constants import Capability, Command, FieldType
from hproxy.protocols.mysql.results import INTEGER_BYTES, REAL_FORMAT, Value
from hproxy.protocols.mysql.wire import MalformedPacket, reading

__all__ = [
    "Execute",
    "LongData",
    "Parameter",
    "Query",
    "parse_execute",
    "parse_long_data",
    "parse_query",
]

# Flags of COM_STMT_EXECUTE: the low bits ask for a cursor.
PARAMETER_COUNT_AVAILABLE = 0x08
UNSIGNED = 0x8000
TYPES = frozenset(FieldType)
DATE_LENGTHS = (0, 4, 7, 11)
TIME_LENGTHS = (0, 8, 12)


class Parameter(NamedTuple):
    """One value; `name` is b"" for a "?" of the statement."""

    type: int
    value: Value
    name: bytes = b""


@dataclass(frozen=True, slots=True)
class Execute:
    """COM_STMT_EXECUTE. Remember `types` per statement: the next one may leave them out."""

    statement_id: int
    flags: int
    parameters: tuple[Parameter, ...]
    attributes: tuple[Parameter, ...]
    types: tuple[int, ...]

    @property
    def values(self) -> tuple[Value, ...]:
        """What the "?" stand for."""
        return tuple(parameter.value for parameter in self.parameters)


class LongData(NamedTuple):
    """COM_STMT_SEND_LONG_DATA: one more piece of a parameter; nothing answers it."""

    statement_id: int
    parameter: int
    data: bytes


class Query(NamedTuple):
    """COM_QUERY, its attributes apart."""

    sql: bytes
    attributes: tuple[Parameter, ...] = ()


def parse_execute(
    payload: bytes,
    parameter_count: int,
    capabilities: Capability,
    *,
    types: Sequence[int] = (),
    long_data: Mapping[int, bytes] | None = None,
) -> Execute:
    """Read a COM_STMT_EXECUTE for a statement with `parameter_count` "?".

    `types` are those of its last execution, `long_data` what was sent ahead, by index. Raises
    MalformedPacket. Spec: MySQL "COM_STMT_EXECUTE".
    """
    with reading("statement execution"):
        cursor = Cursor(payload)
        expect(cursor, Command.STMT_EXECUTE, "statement execution")
        statement_id = cursor.u32()
        flags = cursor.u8()
        cursor.skip(4)  # iterations: always 1
        # With attributes agreed the count and the names are there, whatever the flag says, if
        # there is a "?" (captures/mysql/mysql-9.7/prepared); without one the flag decides.
        named = Capability.QUERY_ATTRIBUTES in capabilities
        count = parameter_count
        if named and (parameter_count or flags & PARAMETER_COUNT_AVAILABLE):
            count = cursor.lenenc_int()
        if count < parameter_count:
            raise MalformedPacket(
                "statement execution", f"{count} parameters for {parameter_count}", cursor.pos
            )
        found = read_parameters(cursor, count, named, types, long_data or {})
    return Execute(
        statement_id,
        flags,
        found[:parameter_count],
        found[parameter_count:],
        tuple(parameter.type for parameter in found[:parameter_count]),
    )


def parse_long_data(payload: bytes) -> LongData:
    """Read a COM_STMT_SEND_LONG_DATA. Raises MalformedPacket."""
    with reading("long data"):
        cursor = Cursor(payload)
        expect(cursor, Command.STMT_SEND_LONG_DATA, "long data")
        return LongData(cursor.u32(), cursor.u16(), cursor.rest())


def parse_query(payload: bytes, capabilities: Capability) -> Query:
    """Read a COM_QUERY, with or without attributes. Raises MalformedPacket."""
    with reading("query"):
        cursor = Cursor(payload)
        expect(cursor, Command.QUERY, "query")
        if Capability.QUERY_ATTRIBUTES not in capabilities:
            return Query(cursor.rest())
        count = cursor.lenenc_int()
        if cursor.lenenc_int() != 1:
            raise MalformedPacket("query", "more than one set of attributes", cursor.pos)
        attributes = read_parameters(cursor, count, True, (), {})
        return Query(cursor.rest(), attributes)


def expect(cursor: Cursor, command: Command, what: str) -> None:
    if (found := cursor.u8()) != command:
        raise MalformedPacket(what, f"begins with {found:#04x}", 0)


def read_parameters(
    cursor: Cursor,
    count: int,
    named: bool,
    types: Sequence[int],
    long_data: Mapping[int, bytes],
) -> tuple[Parameter, ...]:
    if not count:
        return ()
    # Taken before anything is allocated by count: the bitmap is an eighth of it.
    bitmap = cursor.take((count + 7) // 8)
    names = [b""] * count
    if cursor.u8():
        types = []
        for i in range(count):
            types.append(cursor.u16())
            if named:
                names[i] = cursor.lenenc_bytes()
    if len(types) < count:
        raise MalformedPacket("parameters", "no types given, now or before", cursor.pos)
    found = []
    for i in range(count):
        if (long := long_data.get(i)) is not None:
            value: Value = long
        elif bitmap[i // 8] >> i % 8 & 1:
            value = None
        else:
            value = read_value(cursor, types[i])
        found.append(Parameter(types[i], value, names[i]))
    return tuple(found)


def read_value(cursor: Cursor, wire_type: int) -> Value:
    """One value of `wire_type`, whose top bit says unsigned."""
    if wire_type & 0xFF not in TYPES or wire_type & 0x7F00:
        raise MalformedPacket("parameters", f"unknown type {wire_type:#06x}", cursor.pos)
    kind = FieldType(wire_type & 0xFF)
    if kind in INTEGER_BYTES:
        signed = not wire_type & UNSIGNED
        return int.from_bytes(cursor.take(INTEGER_BYTES[kind]), "little", signed=signed)
    if kind in REAL_FORMAT:
        layout = REAL_FORMAT[kind]
        real: float = struct.unpack(layout, cursor.take(struct.calcsize(layout)))[0]
        return real
    if kind is FieldType.NULL:
        return None
    if kind is FieldType.TIME:
        return read_time(cursor)
    if kind in (FieldType.DATE, FieldType.DATETIME, FieldType.TIMESTAMP):
        return read_date(cursor, with_time=kind is not FieldType.DATE)
    return cursor.lenenc_bytes()


def read_date(cursor: Cursor, with_time: bool) -> str:
    """ "2024-02-29", or with the time behind it; parts left out are zero."""
    length = cursor.u8()
    if length not in DATE_LENGTHS:
        raise MalformedPacket("parameters", f"a date of {length} bytes", cursor.pos)
    part = Cursor(cursor.take(length).ljust(DATE_LENGTHS[-1], b"\0"))
    year, month, day = part.u16(), part.u8(), part.u8()
    text = f"{year:04}-{month:02}-{day:02}"
    if not with_time:
        return text
    text += f" {part.u8():02}:{part.u8():02}:{part.u8():02}"
    return text + fraction(part.u32())


def read_time(cursor: Cursor) -> str:
    """ "-838:59:59.000001"; days are counted in hours, as SQL writes them."""
    length = cursor.u8()
    if length not in TIME_LENGTHS:
        raise MalformedPacket("parameters", f"a time of {length} bytes", cursor.pos)
    part = Cursor(cursor.take(length).ljust(TIME_LENGTHS[-1], b"\0"))
    sign = "-" if part.u8() else ""
    hours = part.u32() * 24 + part.u8()
    return f"{sign}{hours:02}:{part.u8():02}:{part.u8():02}" + fraction(part.u32())


def fraction(micros: int) -> str:
    return f".{micros:06}" if micros else ""
