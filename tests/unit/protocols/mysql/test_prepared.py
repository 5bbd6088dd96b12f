# SPDX-License-Identifier: Apache-2.0
"""Answers to preparations, told again under another number."""

from __future__ import annotations

import pytest

from hproxy._native.decision import Decision
from hproxy._native.pool import Group
from hproxy._native.statistics import DigestCounters
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import prepared
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.refusal import read_error
from hproxy.protocols.mysql.results import column
from hproxy.protocols.mysql.wire import MalformedPacket

PLAIN = Capability.PROTOCOL_41 | Capability.TRANSACTIONS
MODERN = PLAIN | Capability.DEPRECATE_EOF


def login(capabilities: Capability) -> LoginResult:
    return LoginResult(b"ann", capabilities=int(capabilities))


@pytest.mark.parametrize(
    ("command", "mysql", "who"),
    [
        (0x17, True, "mysql_stmt_precheck"),
        (0x1A, True, "mysql_stmt_precheck"),
        (0x17, False, "mysqld_stmt_execute"),
        (0x1A, False, "mysqld_stmt_reset"),
        (0x1C, False, "mysqld_stmt_fetch"),
        (0xFA, False, "mysqld_stmt_bulk_execute"),
    ],
)
def test_statements_that_are_none(command: int, mysql: bool, who: str) -> None:
    packet = prepared.unknown_statement(bytes([command]) + b"\x09\x00\x00\x00", mysql)
    assert packet is not None
    number, text = read_error(packet)
    assert (number, text) == (1243, f"Unknown prepared statement handler (9) given to {who}")


@pytest.mark.parametrize("command", [0x18, 0x19])
def test_nobody_waits_for_an_answer_to_these(command: int) -> None:
    assert prepared.unknown_statement(bytes([command]) + b"\x09\x00\x00\x00", True) is None


def preparation(capabilities: Capability, status: int = 2) -> list[bytes]:
    end = [] if Capability.DEPRECATE_EOF in capabilities else [
        b"\xfe\x00\x00" + status.to_bytes(2, "little")
    ]  # fmt: skip
    head = b"\x00\x63\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00"
    parameters = [column(name).build() for name in ("?", "?")]
    return [head, *parameters, *end, column("c").build(), *end]


@pytest.mark.parametrize("capabilities", [PLAIN, MODERN])
def test_an_answer_to_a_preparation_is_kept_and_told_again(capabilities: Capability) -> None:
    given = preparation(capabilities)
    answer = prepared.PrepareAnswer(login(capabilities))
    assert [answer.take(packet) for packet in given] == [False] * (len(given) - 1) + [True]
    assert (answer.number, answer.packets) == (99, given)
    group = Group("group", None, 1)
    decision = Decision(1, group, None, DigestCounters(), None, b"")
    kept = prepared.statement("key", b"SELECT ?", answer.packets, decision, True)
    assert (kept.columns, kept.params, kept.sticky) == (1, 2, True)
    in_transaction = preparation(capabilities, 0x2003)
    in_transaction[0] = b"\x00\x05" + given[0][2:]
    # More results and cursors are about one answer: they are not told again.
    assert prepared.prepared_packets(kept, 5, 0x2003 | 0x48, login(capabilities)) == in_transaction


def test_an_answer_to_a_preparation_that_is_none() -> None:
    answer = prepared.PrepareAnswer(login(MODERN))
    with pytest.raises(MalformedPacket):
        answer.take(b"\x07what")
