# SPDX-License-Identifier: Apache-2.0
"""Result sets we wrote are read back; what is none is refused."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.results import Value, column, err, ok, text_resultset
from hproxy.protocols.mysql.rows import TextResult
from hproxy.protocols.mysql.wire import MalformedPacket

MODERN = Capability.PROTOCOL_41 | Capability.DEPRECATE_EOF
OLD = Capability.PROTOCOL_41

ROWS: list[tuple[Value, ...]] = [(1, "a"), (None, ""), (2, "\u00fc" * 300)]


def read(payloads: list[bytes], capabilities: Capability) -> TextResult:
    result = TextResult(capabilities)
    ends = [result.take(payload) for payload in payloads]
    assert ends == [False] * (len(payloads) - 1) + [True]
    return result


@pytest.mark.parametrize("capabilities", [MODERN, OLD])
def test_result_set(capabilities: Capability) -> None:
    columns = [column("id", int), column("name")]
    result = read(text_resultset(columns, ROWS, capabilities), capabilities)
    assert result.names == [b"id", b"name"]
    assert result.rows == [(b"1", b"a"), (None, b""), (b"2", ("\u00fc" * 300).encode())]
    assert result.error is None


@pytest.mark.parametrize("capabilities", [MODERN, OLD])
def test_no_rows(capabilities: Capability) -> None:
    result = read(text_resultset([column("id", int)], [], capabilities), capabilities)
    assert result.names == [b"id"]
    assert result.rows == []


def test_ok_is_an_answer_without_rows() -> None:
    result = read([ok(3)], MODERN)
    assert (result.names, result.rows, result.error) == ([], [], None)


def test_error_instead_of_rows() -> None:
    result = read([err(1064, "no")], MODERN)
    assert result.error is not None
    assert (result.error.number, result.error.message) == (1064, b"no")


def test_error_after_rows() -> None:
    payloads = text_resultset([column("id", int)], [(1,)], MODERN)
    result = read([*payloads[:-1], err(1317, "killed")], MODERN)
    assert result.rows == [(b"1",)]
    assert result.error is not None
    assert result.error.number == 1317


@pytest.mark.parametrize(
    "payloads",
    [
        [b""],
        [b"\xfbfile"],
        [b"\x01", b"\x03def"],
        [b"\x01", column("a").build(), b"\x05ab"],
        [b"\x01", column("a").build(), b"\x01a\x01b"],
    ],
    ids=["empty", "infile", "short definition", "short row", "long row"],
)
def test_malformed(payloads: list[bytes]) -> None:
    result = TextResult(MODERN)
    for payload in payloads[:-1]:
        assert not result.take(payload)
    with pytest.raises(MalformedPacket):
        result.take(payloads[-1])


def test_definitions_without_end_are_malformed_for_an_old_client() -> None:
    result = TextResult(OLD)
    assert not result.take(b"\x01")
    assert not result.take(column("a").build())
    with pytest.raises(MalformedPacket):
        result.take(b"\x01a")


@pytest.mark.parametrize("capabilities", [MODERN, OLD])
def test_definitions_may_be_left_out(capabilities: Capability) -> None:
    columns = [column("id", int), column("name")]
    count, _, _, *behind = text_resultset(columns, ROWS, capabilities)
    assert read([count + b"\0", *behind], capabilities).rows[1] == (None, b"")
    whole = text_resultset(columns, ROWS, capabilities)
    assert read([count + b"\1", *whole[1:]], capabilities).names == [b"id", b"name"]
