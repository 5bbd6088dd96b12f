# SPDX-License-Identifier: Apache-2.0
"""Answers we give when we are the server: OK, ERR, result sets, prepared statements.

Each function returns payloads, in order, without frames (wire.join makes those). Where an
answer differs by what the client can do it takes the agreed capabilities:

    count, definitions, (EOF), rows, EOF            a result set
    count, definitions,        rows, OK (0xFE)      the same with DEPRECATE_EOF
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hproxy.protocols.mysql.constants import (
    SQLSTATE,
    Capability,
    Charset,
    ColumnFlag,
    FieldType,
    ServerStatus,
)
from hproxy.protocols.mysql.replies import EOF_HEADER, EofPacket, ErrPacket, OkPacket
from hproxy.protocols.mysql.wire import lenenc, lenenc_string, u8, u16, u32

__all__ = [
    "Column",
    "Value",
    "binary_resultset",
    "column",
    "eof",
    "err",
    "ok",
    "prepare_ok",
    "text_resultset",
]

Value = int | float | str | bytes | None

NULL_IN_TEXT = b"\xfb"
# The NULL bitmap of a binary row starts with two bits that are never used.
BITMAP_OFFSET = 2

NO_FLAGS = ColumnFlag(0)
BASE = Capability.PROTOCOL_41
IDLE = ServerStatus.AUTOCOMMIT

INTEGER_BYTES = {
    FieldType.TINY: 1,
    FieldType.SHORT: 2,
    FieldType.YEAR: 2,
    FieldType.LONG: 4,
    FieldType.INT24: 4,
    FieldType.LONGLONG: 8,
}
REAL_FORMAT = {FieldType.FLOAT: "<f", FieldType.DOUBLE: "<d"}
# Sent in binary rows as what they are called: dates and times have a form of their own there,
# which nothing we serve from produces.
STRINGS = frozenset(
    {
        FieldType.VARCHAR,
        FieldType.VAR_STRING,
        FieldType.STRING,
        FieldType.TINY_BLOB,
        FieldType.MEDIUM_BLOB,
        FieldType.LONG_BLOB,
        FieldType.BLOB,
        FieldType.JSON,
        FieldType.NEWDECIMAL,
        FieldType.ENUM,
        FieldType.SET,
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column definition; `column` makes the usual ones."""

    name: str
    type: FieldType = FieldType.VAR_STRING
    charset: int = Charset.UTF8MB4
    length: int = 4 * 255
    flags: ColumnFlag = NO_FLAGS
    decimals: int = 0
    table: str = ""
    schema: str = ""

    def build(self) -> bytes:
        """The payload. Spec: MySQL "Protocol::ColumnDefinition41"."""
        # An expression has no table and no name behind its alias.
        original = self.name if self.table else ""
        names = ("def", self.schema, self.table, self.table, self.name, original)
        fixed = (
            u16(self.charset) + u32(self.length) + u8(self.type) + u16(self.flags)
            + u8(self.decimals) + b"\0\0"
        )  # fmt: skip
        return b"".join(lenenc_string(name.encode()) for name in names) + u8(len(fixed)) + fixed


def column(name: str, kind: type[int | float | str | bytes] = str, table: str = "") -> Column:
    """The definition that makes clients return `kind`."""
    binary = Charset.BINARY
    if kind is int:
        flags = ColumnFlag.BINARY | ColumnFlag.NUMERIC
        return Column(name, FieldType.LONGLONG, binary, 20, flags, table=table)
    if kind is float:
        flags = ColumnFlag.BINARY | ColumnFlag.NUMERIC
        return Column(name, FieldType.DOUBLE, binary, 22, flags, 31, table=table)
    if kind is bytes:
        flags = ColumnFlag.BINARY | ColumnFlag.BLOB
        return Column(name, FieldType.BLOB, binary, 2**32 - 1, flags, table=table)
    return Column(name, table=table)


def ok(
    affected_rows: int = 0,
    insert_id: int = 0,
    *,
    info: str = "",
    status: ServerStatus = IDLE,
    warnings: int = 0,
    capabilities: Capability = BASE,
) -> bytes:
    """An OK packet."""
    packet = OkPacket(affected_rows, insert_id, status, warnings, info.encode())
    return packet.build(capabilities)


def err(number: int, message: str, sqlstate: bytes | None = None) -> bytes:
    """An ERR packet, with the SQLSTATE that belongs to `number` unless told."""
    state = SQLSTATE.get(number, b"HY000") if sqlstate is None else sqlstate
    return ErrPacket(number, message.encode(), state).build()


def eof(status: ServerStatus = IDLE, warnings: int = 0) -> bytes:
    """An EOF packet, for clients without DEPRECATE_EOF."""
    return EofPacket(status, warnings).build()


def text_resultset(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Value]],
    capabilities: Capability,
    status: ServerStatus = IDLE,
    warnings: int = 0,
) -> list[bytes]:
    """The answer to COM_QUERY. Raises ValueError for a row of another width."""
    return resultset(columns, rows, text_row, capabilities, status, warnings)


def binary_resultset(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Value]],
    capabilities: Capability,
    status: ServerStatus = IDLE,
    warnings: int = 0,
) -> list[bytes]:
    """The answer to COM_STMT_EXECUTE.

    Raises ValueError for a row of another width, a value its column's type cannot hold, and
    types whose binary form we do not write (dates and times).
    """
    return resultset(columns, rows, binary_row, capabilities, status, warnings)


def resultset(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Value]],
    write_row: Callable[[Sequence[Column], Sequence[Value]], bytes],
    capabilities: Capability,
    status: ServerStatus,
    warnings: int,
) -> list[bytes]:
    out = [lenenc(len(columns))]
    out.extend(definitions(columns, capabilities, status))
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} values under {len(columns)} columns")
        out.append(write_row(columns, row))
    if Capability.DEPRECATE_EOF in capabilities:
        last = OkPacket(status=status, warnings=warnings, header=EOF_HEADER)
        out.append(last.build(capabilities))
    else:
        out.append(eof(status, warnings))
    return out


def definitions(
    columns: Sequence[Column], capabilities: Capability, status: ServerStatus
) -> list[bytes]:
    """Column definitions, and the EOF that closes them where there is one."""
    out = [column.build() for column in columns]
    if Capability.DEPRECATE_EOF not in capabilities:
        out.append(eof(status))
    return out


def prepare_ok(
    statement_id: int,
    parameter_count: int,
    columns: Sequence[Column],
    capabilities: Capability,
    warnings: int = 0,
) -> list[bytes]:
    """The answer to COM_STMT_PREPARE. Spec: MySQL "COM_STMT_PREPARE Response"."""
    out = [
        u8(0) + u32(statement_id) + u16(len(columns)) + u16(parameter_count) + u8(0) + u16(warnings)
    ]
    if parameter_count:
        unnamed = Column("?", charset=Charset.BINARY, length=0, flags=ColumnFlag.BINARY)
        out.extend(definitions([unnamed] * parameter_count, capabilities, IDLE))
    if columns:
        out.extend(definitions(columns, capabilities, IDLE))
    return out


def text_row(columns: Sequence[Column], row: Sequence[Value]) -> bytes:
    return b"".join(
        NULL_IN_TEXT if value is None else lenenc_string(text_value(value)) for value in row
    )


def text_value(value: int | float | str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    # int() because a bool must read 1, not True; repr() because it loses no digit.
    return (str(int(value)) if isinstance(value, int) else repr(value)).encode()


def binary_row(columns: Sequence[Column], row: Sequence[Value]) -> bytes:
    bitmap = bytearray((len(row) + 7 + BITMAP_OFFSET) // 8)
    values = []
    for i, (definition, value) in enumerate(zip(columns, row, strict=True)):
        if value is None:
            place = i + BITMAP_OFFSET
            bitmap[place // 8] |= 1 << place % 8
        else:
            values.append(binary_value(definition, value))
    return u8(0) + bytes(bitmap) + b"".join(values)


def binary_value(definition: Column, value: int | float | str | bytes) -> bytes:
    kind = definition.type
    try:
        if kind in INTEGER_BYTES:
            signed = ColumnFlag.UNSIGNED not in definition.flags
            return int(value).to_bytes(INTEGER_BYTES[kind], "little", signed=signed)
        if kind in REAL_FORMAT:
            return struct.pack(REAL_FORMAT[kind], float(value))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{value!r} in column {definition.name!r}: {error}") from None
    if kind in STRINGS:
        return lenenc_string(text_value(value))
    raise ValueError(f"column {definition.name!r}: no binary form for {kind.name}")
