# SPDX-License-Identifier: Apache-2.0
"""Commands of the slow lane: which are a KILL, a change of user, or nothing of ours."""

from __future__ import annotations

import pytest
from hypothesis import given

from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import ChangeUser, Kill, Plain
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.handshake import OkPacket
from hproxy.protocols.mysql.slow import interpret, kill_command, ok_packet, side_login, vouch
from hproxy.protocols.mysql.wire import lenenc_string, u8, u32
from tests.support.garbage import garbage
from tests.support.logins import OK, OURS

PLAIN = LoginResult(user=b"ann", capabilities=int(OURS))
ATTRIBUTES = LoginResult(user=b"ann", capabilities=int(OURS | Capability.QUERY_ATTRIBUTES))
QUERY = u8(Command.QUERY)
NO_ATTRIBUTES = b"\x00\x01"
# One string attribute called "kill 5": two counts, NULL bits, new-parameters, type, name, value.
KILL_NAMED = b"\x01\x01\x00\x01\xfd\x00" + lenenc_string(b"kill 5") + lenenc_string(b"kill 6")


@pytest.mark.parametrize(
    ("sql", "target", "query_only", "after"),
    [
        (b"KILL 7", 7, False, b"KILL 9"),
        (b"kill query 7", 7, True, b"kill query 9"),
        (b"Kill Connection 7 ;", 7, False, b"Kill Connection 9 ;"),
        (b"/* c */ KILL 7", 7, False, b"/* c */ KILL 9"),
    ],
)
def test_kill_statements(sql: bytes, target: int, query_only: bool, after: bytes) -> None:
    for login, head in (
        (PLAIN, QUERY),
        (ATTRIBUTES, QUERY + NO_ATTRIBUTES),
        (ATTRIBUTES, QUERY + KILL_NAMED),
    ):
        kill = interpret(head + sql, login)
        assert isinstance(kill, Kill)
        assert (kill.target, kill.query_only) == (target, query_only)
        assert kill.rewrite(9) == head + after


@pytest.mark.parametrize(
    "payload",
    [
        QUERY + b"SELECT 1",
        QUERY + b"SELECT 'kill 5'",
        QUERY + b"",
        QUERY + b"KILL",
        QUERY + b"KILL abc",
        u8(Command.PING),
        u8(Command.PROCESS_KILL) + b"\x01\x02",
    ],
)
def test_anything_else_is_plain(payload: bytes) -> None:
    assert interpret(payload, PLAIN) == Plain()


def test_attributes_that_look_like_a_kill_are_not() -> None:
    assert interpret(QUERY + KILL_NAMED + b"SELECT 1", ATTRIBUTES) == Plain()


def test_process_kill() -> None:
    kill = interpret(u8(Command.PROCESS_KILL) + u32(7) + b"rest", PLAIN)
    assert isinstance(kill, Kill)
    assert (kill.target, kill.query_only) == (7, False)
    assert kill.rewrite(9) == u8(Command.PROCESS_KILL) + u32(9) + b"rest"


def test_change_of_user() -> None:
    payload = u8(Command.CHANGE_USER) + b"bob\0"
    assert interpret(payload, PLAIN) == ChangeUser(payload)


@given(garbage(QUERY + b"KILL 7", QUERY + KILL_NAMED + b"KILL QUERY 7", b"\x0c\x07\0\0\0"))
def test_any_bytes(payload: bytes) -> None:
    for login in (PLAIN, ATTRIBUTES):
        for command in (Command.QUERY, Command.PROCESS_KILL, Command.CHANGE_USER):
            meaning = interpret(u8(command) + payload[1:], login)
            if isinstance(meaning, Kill) and meaning.target < 1 << 32:
                again = interpret(meaning.rewrite(meaning.target), login)
                assert isinstance(again, Kill)
                assert again.target == meaning.target


def test_an_ok_of_ours() -> None:
    for login in (PLAIN, ATTRIBUTES):
        assert OkPacket.parse(ok_packet(login), OURS) == OkPacket()


def test_vouching() -> None:
    proof = b"0123456789"
    assert vouch(PLAIN, OK) is OK
    vouched = vouch(LoginResult(user=b"ann", capabilities=int(OURS), proof=proof), OK)
    assert OkPacket.parse(vouched, OURS).info == proof


def test_who_to_be_on_a_side_connection() -> None:
    """The monitor account first; else the user, whose password a relay does not know."""
    monitor = side_login(PLAIN, (b"watch", b"dog"))
    assert monitor is not None
    assert (monitor.user, monitor.credential) == (b"watch", Credential(b"dog"))
    assert side_login(PLAIN, None) is None
    known = LoginResult(user=b"ann", database=b"shop", credential=Credential(b"pw"))
    own = side_login(known, None)
    assert own is not None
    assert (own.user, own.database, own.credential) == (b"ann", b"", Credential(b"pw"))


def test_kill_commands_of_ours() -> None:
    assert kill_command(7, True) == QUERY + b"KILL QUERY 7"
    assert kill_command(7, False) == QUERY + b"KILL CONNECTION 7"
    assert interpret(kill_command(7, True), PLAIN) is not None
