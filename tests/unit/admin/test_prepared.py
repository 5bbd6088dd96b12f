# SPDX-License-Identifier: Apache-2.0
"""Prepared statements of one connection."""

from __future__ import annotations

import struct

import pytest

from hproxy.admin.lexer import parse
from hproxy.admin.prepared import MAX_STATEMENTS, PreparedStatements
from hproxy.errors import AdminError
from hproxy.protocols.mysql.constants import Capability, FieldType

NONE = Capability(0)


def execute(number: int, types: tuple[int, ...] | None, values: bytes) -> bytes:
    head = struct.pack("<BIBI", 0x17, number, 0, 1) + b"\0"
    if types is None:
        return head + b"\0" + values
    return head + b"\1" + b"".join(struct.pack("<H", kind) for kind in types) + values


def made(sql: str) -> PreparedStatements:
    statements = PreparedStatements()
    statements.add(parse(sql)[0], [])
    return statements


def test_text_becomes_text_and_bytes_stay_bytes() -> None:
    statements = made("select ?, ?")
    types = (FieldType.VAR_STRING, FieldType.BLOB)
    _, values = statements.execution(execute(1, types, b"\2\xc3\xbc\2\xc3\xbc"), NONE)
    assert values == ("ü", b"\xc3\xbc")


def test_types_are_remembered() -> None:
    statements = made("select ?")
    first = execute(1, (FieldType.LONGLONG,), struct.pack("<q", -5))
    assert statements.execution(first, NONE)[1] == (-5,)
    assert statements.execution(execute(1, None, struct.pack("<q", 7)), NONE)[1] == (7,)


def test_long_data_comes_in_pieces_and_counts_once() -> None:
    statements = made("select ?")
    for piece in (b"ab", b"cd"):
        statements.append(struct.pack("<BIH", 0x18, 1, 0) + piece)
    types = (FieldType.VAR_STRING,)
    assert statements.execution(execute(1, types, b""), NONE)[1] == ("abcd",)
    assert statements.execution(execute(1, types, b"\1x"), NONE)[1] == ("x",)
    statements.append(struct.pack("<BIH", 0x18, 1, 0) + b"gone")
    statements.reset(1)
    assert statements.execution(execute(1, types, b"\1y"), NONE)[1] == ("y",)
    statements.append(struct.pack("<BIH", 0x18, 99, 0) + b"for nobody")


@pytest.mark.parametrize("after", ["close", "clear"])
def test_unknown_statement(after: str) -> None:
    statements = made("select 1")
    if after == "close":
        statements.close(1)
    else:
        statements.clear()
    assert len(statements) == 0
    with pytest.raises(AdminError) as caught:
        statements.execution(execute(1, (), b""), NONE)
    assert caught.value.facts["number"] == 1243


def test_limit() -> None:
    statements = PreparedStatements()
    (statement,) = parse("select 1")
    for _ in range(MAX_STATEMENTS):
        statements.add(statement, [])
    with pytest.raises(AdminError) as caught:
        statements.add(statement, [])
    assert caught.value.facts["number"] == 1461
