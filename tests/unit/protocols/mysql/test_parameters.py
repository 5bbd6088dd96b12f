# SPDX-License-Identifier: Apache-2.0
"""Parameters of prepared statements and query attributes, captured and written by hand."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.constants import Capability, FieldType
from hproxy.protocols.mysql.handshake import HandshakeResponse
from hproxy.protocols.mysql.parameters import (
    Parameter,
    parse_execute,
    parse_long_data,
    parse_query,
)
from hproxy.protocols.mysql.results import Value
from hproxy.protocols.mysql.wire import (
    MalformedPacket,
    lenenc,
    lenenc_string,
    u8,
    u16,
    u32,
    u64,
)
from tests.captures.reading import Conversation, conversations, load
from tests.support.garbage import garbage

PLAIN = Capability.PROTOCOL_41
NAMED = PLAIN | Capability.QUERY_ATTRIBUTES
UNSIGNED = 0x8000


def agreed(conversation: Conversation) -> Capability:
    return HandshakeResponse.parse(conversation.frames[1].payload).capabilities


def execute(
    count: int, bitmap: bytes, types: list[int] | None, values: bytes, flags: int = 0
) -> bytes:
    head = b"\x17" + u32(7) + u8(flags) + u32(1)
    if not count:
        return head
    if types is None:
        return head + bitmap + b"\0" + values
    return head + bitmap + b"\1" + b"".join(map(u16, types)) + values


def one(wire_type: int, value: bytes) -> Value:
    """What a single parameter reads as, and that nothing but the whole of it does."""
    payload = execute(1, b"\0", [wire_type], value)
    for cut in range(len(payload)):
        with pytest.raises(MalformedPacket):
            parse_execute(payload[:cut], 1, PLAIN)
    return parse_execute(payload, 1, PLAIN).values[0]


@pytest.mark.parametrize("server", ["mariadb-10.11", "mariadb-11.8", "mysql-9.7"])
def test_captured_executions(server: str) -> None:
    """mysql-connector-python binds 1, -1.5, "text", b"\\0\\xff"; then NULL, 2**40, "", NULL."""
    conversation = load(f"mysql/{server}/prepared")
    capabilities = agreed(conversation)
    payloads = [f.payload for f in conversation.frames if f.remark == "COM_STMT_EXECUTE"]
    first, second = (parse_execute(payload, 4, capabilities) for payload in payloads)
    assert first.values == (1, -1.5, b"text", b"\0\xff")
    assert second.values == (None, 2**40, b"", None)
    assert first.attributes == second.attributes == ()
    assert first.statement_id == second.statement_id


def test_captured_query_attributes() -> None:
    conversation = load("mysql/mysql-9.7/query_attributes")
    capabilities = agreed(conversation)
    assert Capability.QUERY_ATTRIBUTES in capabilities
    payloads = [f.payload for f in conversation.frames if f.remark == "COM_QUERY"]
    queries = [parse_query(payload, capabilities) for payload in payloads]
    with_attributes = [query for query in queries if query.attributes]
    assert with_attributes == [
        (
            b"SELECT 1",
            (
                Parameter(FieldType.STRING, b"42", b"trace"),
                Parameter(FieldType.STRING, b"two", b"second"),
            ),
        )
    ]
    assert queries[-1] == (b"SELECT 2", ())


def test_captured_queries_without_attributes() -> None:
    conversation = load("mysql/mariadb-10.11/session_state")
    payloads = [f.payload for f in conversation.frames if f.remark == "COM_QUERY"]
    for payload in payloads:
        assert parse_query(payload, agreed(conversation)) == (payload[1:], ())


@pytest.mark.parametrize(
    ("wire_type", "value", "expected"),
    [
        (FieldType.TINY, "ff", -1),
        (FieldType.TINY | UNSIGNED, "ff", 255),
        (FieldType.SHORT, "0080", -32768),
        (FieldType.SHORT | UNSIGNED, "0080", 32768),
        (FieldType.YEAR, "e807", 2024),
        (FieldType.LONG, "ffffff7f", 2**31 - 1),
        (FieldType.LONG, "00000080", -(2**31)),
        (FieldType.INT24 | UNSIGNED, "ffffffff", 2**32 - 1),
        (FieldType.LONGLONG, "ffffffffffffffff", -1),
        (FieldType.LONGLONG | UNSIGNED, "ffffffffffffffff", 2**64 - 1),
        (FieldType.DOUBLE, "000000000000f8bf", -1.5),
        (FieldType.FLOAT, "0000003f", 0.5),
        (FieldType.VAR_STRING, "0474657874", b"text"),
        (FieldType.STRING, "00", b""),
        (FieldType.BLOB, "0200ff", b"\x00\xff"),
        (FieldType.NEWDECIMAL, "03312e35", b"1.5"),
        (FieldType.JSON, "027b7d", b"{}"),
        (FieldType.DATE, "00", "0000-00-00"),
        (FieldType.DATE, "04e807021d", "2024-02-29"),
        (FieldType.DATE, "07e807021d0c0d0e", "2024-02-29"),
        (FieldType.DATETIME, "00", "0000-00-00 00:00:00"),
        (FieldType.DATETIME, "04e807021d", "2024-02-29 00:00:00"),
        (FieldType.DATETIME, "07e807021d0c0d0e", "2024-02-29 12:13:14"),
        (FieldType.TIMESTAMP, "0be807021d0c0d0e01000000", "2024-02-29 12:13:14.000001"),
        (FieldType.TIME, "00", "00:00:00"),
        (FieldType.TIME, "080001000000020304", "26:03:04"),
        (FieldType.TIME, "0c01220000001616173f420f00", "-838:22:23.999999"),
    ],
)
def test_one_value_of_each_type(wire_type: int, value: str, expected: Value) -> None:
    found = one(wire_type, bytes.fromhex(value))
    assert found == expected
    assert type(found) is type(expected)


def test_a_null_by_type_takes_no_bytes() -> None:
    payload = execute(2, b"\0", [FieldType.NULL, FieldType.TINY], b"\x05")
    assert parse_execute(payload, 2, PLAIN).values == (None, 5)


@pytest.mark.parametrize(
    ("wire_type", "value"),
    [
        (21, "00"),  # between the known types
        (241, "00"),
        (FieldType.TINY | 0x0100, "00"),
        (FieldType.DATE, "05e807021d00"),
        (FieldType.TIME, "0700010000000203"),
        (FieldType.STRING, "fb"),
        (FieldType.STRING, "ff"),
        (FieldType.STRING, "feffffffffffffffff"),
    ],
)
def test_values_that_make_no_sense(wire_type: int, value: str) -> None:
    with pytest.raises(MalformedPacket):
        parse_execute(execute(1, b"\0", [wire_type], bytes.fromhex(value)), 1, PLAIN)


def test_nulls_come_from_the_bitmap() -> None:
    types: list[int] = [FieldType.TINY] * 10
    payload = execute(10, b"\x55\x01", types, b"\x01\x03\x05\x07\x09")
    assert parse_execute(payload, 10, PLAIN).values == (
        None, 1, None, 3, None, 5, None, 7, None, 9,
    )  # fmt: skip


def test_types_are_remembered_by_the_caller() -> None:
    first = parse_execute(execute(2, b"\0", [1, 253], b"\x05\x01a"), 2, PLAIN)
    assert first.types == (1, 253)
    again = parse_execute(execute(2, b"\2", None, b"\x06"), 2, PLAIN, types=first.types)
    assert again.values == (6, None)
    assert again.types == first.types
    with pytest.raises(MalformedPacket, match="no types"):
        parse_execute(execute(2, b"\2", None, b"\x06"), 2, PLAIN)


def test_long_data_replaces_what_would_be_inline() -> None:
    payload = execute(3, b"\x04", [FieldType.TINY, FieldType.BLOB, FieldType.BLOB], b"\x05")
    found = parse_execute(payload, 3, PLAIN, long_data={1: b"long", 2: b"despite NULL"})
    assert found.values == (5, b"long", b"despite NULL")


def test_a_statement_without_parameters() -> None:
    found = parse_execute(execute(0, b"", None, b""), 0, PLAIN)
    assert (found.statement_id, found.flags, found.values) == (7, 0, ())
    assert parse_execute(execute(0, b"", None, b""), 0, NAMED).values == ()


def test_attributes_follow_the_parameters() -> None:
    types = u16(FieldType.TINY) + b"\0" + u16(FieldType.STRING) + lenenc_string(b"trace")
    body = lenenc(2) + b"\0" + b"\1" + types + b"\x05" + lenenc_string(b"on")
    payload = b"\x17" + u32(7) + u8(8) + u32(1) + body
    found = parse_execute(payload, 1, NAMED)
    assert found.values == (5,)
    assert found.attributes == (Parameter(FieldType.STRING, b"on", b"trace"),)
    assert found.types == (FieldType.TINY,)
    only = parse_execute(payload, 0, NAMED)
    assert only.values == ()
    assert len(only.attributes) == 2


def test_fewer_parameters_than_the_statement_has() -> None:
    payload = b"\x17" + u32(7) + u8(8) + u32(1) + lenenc(1) + b"\0\1\1\0\0\5"
    with pytest.raises(MalformedPacket, match="1 parameters for 2"):
        parse_execute(payload, 2, NAMED)


@pytest.mark.parametrize("count", [2**24, 2**40, 2**63, 2**64 - 1])
def test_a_giant_count_is_refused_before_memory_is_taken(count: int) -> None:
    with pytest.raises(MalformedPacket):
        parse_query(b"\x03" + lenenc(count) + b"\1" + bytes(50), NAMED)
    payload = b"\x17" + u32(7) + u8(8) + u32(1) + lenenc(count) + bytes(50)
    with pytest.raises(MalformedPacket):
        parse_execute(payload, 1, NAMED)


def test_query_forms() -> None:
    assert parse_query(b"\x03SELECT 1", PLAIN) == (b"SELECT 1", ())
    assert parse_query(b"\x03\0\1SELECT 1", NAMED) == (b"SELECT 1", ())
    assert parse_query(b"\x03", PLAIN) == (b"", ())
    for payload in (b"", b"\x04SELECT 1", b"\x03", b"\x03\0\2SELECT"):
        with pytest.raises(MalformedPacket, match="query"):
            parse_query(payload, NAMED)


def test_long_data() -> None:
    assert parse_long_data(b"\x18" + u32(7) + u16(2) + b"piece") == (7, 2, b"piece")
    for payload in (b"", b"\x17" + u32(7) + u16(2), b"\x18" + u32(7) + b"\1"):
        with pytest.raises(MalformedPacket, match="long data"):
            parse_long_data(payload)


values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=300),
)


def wire_form(value: Value) -> tuple[int, bytes]:
    if value is None:
        return FieldType.NULL, b""
    if isinstance(value, int):
        return FieldType.LONGLONG, u64(value & (2**64 - 1))
    if isinstance(value, float):
        return FieldType.DOUBLE, struct.pack("<d", value)
    assert isinstance(value, bytes)
    return FieldType.BLOB, lenenc_string(value)


@given(st.lists(values, min_size=1, max_size=20))
def test_what_is_sent_is_read(sent: list[Value]) -> None:
    bitmap = bytearray((len(sent) + 7) // 8)
    types, body = [], b""
    for i, value in enumerate(sent):
        wire_type, data = wire_form(value)
        types.append(wire_type)
        body += data
        if value is None:
            bitmap[i // 8] |= 1 << i % 8
    payload = execute(len(sent), bytes(bitmap), types, body)
    assert list(parse_execute(payload, len(sent), PLAIN).values) == sent


SEEDS = [
    frame.payload
    for conversation in conversations("mysql")
    for frame in conversation.frames
    if frame.remark in ("COM_STMT_EXECUTE", "COM_QUERY")
]


@given(garbage(*SEEDS), st.integers(0, 5), st.sampled_from([PLAIN, NAMED]))
def test_garbage_is_a_value_or_malformed(data: bytes, count: int, capabilities: Capability) -> None:
    with suppress(MalformedPacket):
        parse_execute(data, count, capabilities, types=(1, 253), long_data={0: b"long"})
    with suppress(MalformedPacket):
        parse_query(data, capabilities)
    with suppress(MalformedPacket):
        parse_long_data(data)


@given(garbage(), st.integers(0, 0xFFFF), st.integers(1, 3))
def test_garbage_values_are_values_or_malformed(data: bytes, wire_type: int, count: int) -> None:
    with suppress(MalformedPacket):
        parse_execute(execute(count, b"\0", [wire_type] * count, data), count, PLAIN)
