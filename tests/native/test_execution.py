# SPDX-License-Identifier: Apache-2.0
"""Where the types of an execution are, and putting them where they are missing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.execution import ParameterTypes, find_types, put_types
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.parameters import parse_execute
from tests.native.execution_reference import reference_types
from tests.native.recorded import Exchange, exchanges

FOUND, MORE, MALFORMED = 1, 0, -1
PREPARE, EXECUTE, BULK = 0x16, 0x17, 0xFA
STRING, LONG, NULL = 253, 3, 6


def wire(*types: int) -> bytes:
    return b"".join(struct.pack("<H", kind) for kind in types)


def execution(
    types: list[int] | None,
    values: bytes = b"",
    *,
    nulls: bytes = b"\0",
    names: list[bytes] | None = None,
    count: int | None = None,
    flags: int = 0,
) -> bytes:
    """A COM_STMT_EXECUTE; with `names` or `count` as where query attributes were agreed."""
    head = b"\x17\x07\0\0\0" + bytes([flags]) + b"\1\0\0\0"
    if names is not None:
        count = len(names)
    if count is not None:
        head += bytes([count])
    if types is None:
        return head + nulls + b"\0" + values
    listed = b""
    for i, kind in enumerate(types):
        listed += wire(kind)
        if names is not None:
            listed += bytes([len(names[i])]) + names[i]
    return head + nulls + b"\1" + listed + values


def test_no_parameters() -> None:
    head = b"\x17\x07\0\0\0\0\1\0\0\0"
    for attributes in (False, True):
        found, layout = find_types(head, 0, attributes)
        assert found == FOUND
        assert layout is not None
        assert (layout["count"], layout["bound"], layout["types_at"]) == (0, False, -1)


def test_plain_types() -> None:
    payload = execution([LONG, STRING], b"\1\0\0\0\3abc")
    found, layout = find_types(payload, 2)
    assert found == FOUND
    assert layout is not None
    assert layout == {
        "bitmap_at": 10,
        "bound_at": 11,
        "types_at": 12,
        "types_end": 16,
        "count": 2,
        "flags": 0,
        "bound": True,
        "named": False,
        "bulk": False,
    }


def test_attributes_have_names_and_a_count() -> None:
    payload = execution([LONG, STRING], b"\1\0\0\0\3abc", names=[b"", b"trace"], flags=8)
    found, layout = find_types(payload, 1, attributes=True)
    assert found == FOUND
    assert layout is not None
    assert layout["count"] == 2
    assert payload[layout["types_at"] : layout["types_end"]] == b"\3\0\0\xfd\0\5trace"


@pytest.mark.parametrize(
    ("payload", "params", "attributes"),
    [
        (b"", 0, False),
        (b"\x16\0\0\0\0\0\0\0\0\0", 0, False),
        (b"\x17\0\0\0\0\0\0\0\0", 0, False),  # cut short
        (execution(None)[:-1], 1, False),  # no flag
        (execution(None, count=1), 2, True),  # fewer than the statement has
        (b"\x17\7\0\0\0\x08\1\0\0\0", 0, True),  # a count is announced and missing
        (b"\x17\7\0\0\0\x08\1\0\0\0\xfb", 1, True),  # no number begins so
        (b"\x17\7\0\0\0\0\1\0\0\0\xfe" + b"\xff" * 8, 1, True),  # 2**64 - 1 parameters
        (b"\x17\7\0\0\0\0\1\0\0\0\xfe" + b"\xff" * 7 + b"\x7f", 1, True),
        (execution([LONG, STRING])[:-1], 2, False),  # half a type
        (execution([LONG], names=[b"n"])[:-1], 1, True),  # a name cut short
        (execution([LONG], names=[b"n"])[:-2] + b"\xfe" + b"\xff" * 8, 1, True),
        (b"\xfa\7\0\0\0\x80", 1, False),
        (b"\xfa\7\0\0\0\x80\0\3", 1, False),
    ],
)
def test_malformed(payload: bytes, params: int, attributes: bool) -> None:
    assert find_types(payload, params, attributes) == (MALFORMED, None)
    assert reference_types(payload, params, attributes) is None


@pytest.mark.parametrize("attributes", [False, True])
def test_a_beginning_is_enough_or_asks_for_more(attributes: bool) -> None:
    names = [b"", b"n" * 20] if attributes else None
    payload = execution([LONG, STRING], b"\1\0\0\0\3abc", names=names)
    found, layout = find_types(payload, 2, attributes)
    assert found == FOUND
    assert layout is not None
    for have in range(len(payload)):
        answer = find_types(payload[:have], 2, attributes, total=len(payload))
        assert answer == ((FOUND, layout) if have >= layout["types_end"] else (MORE, None))


def test_more_than_there_can_be_is_malformed_at_once() -> None:
    """What cannot fit into the packet is not waited for."""
    beginning = b"\x17\7\0\0\0\0\1\0\0\0\xfd\xff\xff\xff"
    assert find_types(beginning, 1, True, total=1000)[0] == MALFORMED
    assert find_types(beginning, 1, True, total=0xFFFFFFFF)[0] == MORE
    assert find_types(b"\x17", 1, total=9)[0] == MALFORMED
    assert find_types(b"\x17\0", 1, total=1)[0] == MALFORMED


def prepared(seen: list[Exchange], conversation: str) -> dict[bytes, int]:
    """Id as on the wire -> parameters, for the statements of one recording."""
    return {
        exchange.response[5:9]: int.from_bytes(exchange.response[11:13], "little")
        for exchange in seen
        if exchange.code == PREPARE
        and exchange.name.rsplit(" ", 1)[0] == conversation
        and exchange.response[4] == 0
    }


def test_recorded_executions() -> None:
    """Of every server and of clients with and without query attributes."""
    seen = exchanges()
    plain, named, bulk = 0, 0, 0
    for exchange in seen:
        if exchange.code not in (EXECUTE, BULK):
            continue
        payload = exchange.command[4:]
        statements = prepared(seen, exchange.name.rsplit(" ", 1)[0])
        if (params := statements.get(payload[1:5])) is None:
            continue  # one that never was: the server says so
        found, layout = find_types(payload, params, exchange.query_attributes)
        assert found == FOUND, exchange.name
        assert layout is not None
        assert layout == reference_types(payload, params, exchange.query_attributes)
        if not layout["bound"]:
            continue
        bulk += layout["bulk"]
        named += layout["named"]
        plain += not layout["named"]
        # Without its types, and with them put back, it says what it said.
        stripped = bytearray(payload)
        del stripped[layout["types_at"] : layout["types_end"]]
        stripped[layout["bound_at"]] = 0
        types = payload[layout["types_at"] : layout["types_end"]]
        if layout["named"]:
            assert types[2::3] == bytes(params), "recorded without attributes"
            types = b"".join(types[i : i + 2] for i in range(0, len(types), 3))
        restored = put_types(stripped, params, ParameterTypes(types), exchange.query_attributes)
        assert restored == payload, exchange.name
    assert min(plain, named, bulk) > 0


parameter = st.one_of(
    st.tuples(st.just(LONG), st.integers(-(2**31), 2**31 - 1).map(lambda n: struct.pack("<i", n))),
    st.tuples(st.just(STRING), st.binary(max_size=20).map(lambda s: bytes([len(s)]) + s)),
    st.tuples(st.sampled_from([LONG, STRING, NULL]), st.none()),
)


@given(parameters=st.lists(parameter, min_size=1, max_size=20), attributes=st.booleans())
def test_types_put_in_are_types_sent(
    parameters: list[tuple[int, bytes | None]], attributes: bool
) -> None:
    count = len(parameters)
    bits = sum((value is None) << i for i, (_, value) in enumerate(parameters))
    nulls = bits.to_bytes((count + 7) // 8, "little")
    values = b"".join(value or b"" for _, value in parameters)
    types = [kind for kind, _ in parameters]
    bare = execution(None, values, nulls=nulls, count=count if attributes else None)
    made = put_types(bare, count, ParameterTypes(wire(*types)), attributes)
    capabilities = Capability.PROTOCOL_41
    if attributes:
        capabilities |= Capability.QUERY_ATTRIBUTES
    before = parse_execute(bare, count, capabilities, types=types)
    assert parse_execute(made, count, capabilities) == before
    assert find_types(made, count, attributes)[0] == FOUND


def test_types_have_a_place_once() -> None:
    types = ParameterTypes(wire(LONG))
    for payload in (execution([LONG], b"\1\0\0\0"), b"\x17\7\0\0\0\0\1\0\0\0", b"\x16"):
        with pytest.raises(ValueError, match="execution"):
            put_types(payload, int(len(payload) > 10), types)
    with pytest.raises(ValueError, match="no place"):
        put_types(execution(None), 1, ParameterTypes(wire(LONG, LONG)))


def test_attributes_beyond_the_parameters_are_null() -> None:
    bare = execution(None, b"\1\0\0\0", count=2, nulls=b"\2", flags=8)
    made = put_types(bare, 1, ParameterTypes(wire(LONG)), attributes=True)
    capabilities = Capability.PROTOCOL_41 | Capability.QUERY_ATTRIBUTES
    read = parse_execute(made, 1, capabilities)
    assert read.values == (1,)
    assert [attribute.value for attribute in read.attributes] == [None]


def test_bulk_types_are_flagged() -> None:
    bare = b"\xfa\7\0\0\0\x40\1\0\1\0\0\0"
    made = put_types(bare, 1, ParameterTypes(wire(LONG)))
    assert made == b"\xfa\7\0\0\0\xc0\1\3\0\0\1\0\0\0"


def test_shape() -> None:
    kinds = [1, 2, 3, 8, 9, 13, 0, 246, 4, 5, 10, 7, 12, 11, NULL, STRING, 252, 245, 255]
    shape = [1] * 6 + [3, 3, 4, 4, 5, 6, 6, 7, 0] + [8] * 4
    assert list(ParameterTypes(wire(*kinds)).shape) == shape
    unsigned = [kind | 0x8000 for kind in kinds]
    assert list(ParameterTypes(wire(*unsigned)).shape) == [2] * 6 + shape[6:]
    with pytest.raises(ValueError, match="two bytes"):
        ParameterTypes(b"\3")
