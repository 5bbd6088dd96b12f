# SPDX-License-Identifier: Apache-2.0
"""Commands that the native session hands to the slow lane, and what they mean."""

from __future__ import annotations

import re

from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import ChangeUser, Kill, Plain, SlowCommand
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.commands import parse_kill, rewrite_kill
from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.replies import OkPacket
from hproxy.protocols.mysql.wire import u8, u32

__all__ = ["interpret", "kill_command", "ok_packet", "side_login"]

_KILL = re.compile(rb"\bkill\b", re.IGNORECASE)


def interpret(payload: bytes, login: LoginResult) -> SlowCommand:
    """What the slow lane shall do about a command; `Plain` when it was a false alarm."""
    match payload[0]:
        case Command.CHANGE_USER:
            return ChangeUser(payload)
        case Command.PROCESS_KILL if len(payload) >= 5:
            target = int.from_bytes(payload[1:5], "little")
            return Kill(target, False, lambda number: payload[:1] + u32(number) + payload[5:])
        case Command.QUERY:
            return _kill_statement(payload, login)
    return Plain()


def _kill_statement(payload: bytes, login: LoginResult) -> SlowCommand:
    start = 1
    agreed, _ = split(login.capabilities)
    if Capability.QUERY_ATTRIBUTES in agreed:
        start = _statement_start(payload)
    statement = payload[start:]
    kill = parse_kill(statement)
    if kill is None:
        return Plain()
    head = payload[:start]
    return Kill(kill.id, kill.query_only, lambda number: head + rewrite_kill(statement, number))


def _statement_start(payload: bytes) -> int:
    """Where the SQL begins behind query attributes.

    Without attributes that is after their two counts. With some, the statement is the tail
    that reads as a KILL: attributes come first, and no value of theirs runs to the end.
    """
    if payload[1:2] == b"\0":
        return 3
    found = [m.start() for m in _KILL.finditer(payload, 3)]
    return next((at for at in reversed(found) if parse_kill(payload[at:]) is not None), 3)


def ok_packet(login: LoginResult) -> bytes:
    """An OK of our own, for a client that agreed on `login`."""
    agreed, _ = split(login.capabilities)
    return OkPacket().build(agreed)


def side_login(login: LoginResult, monitor: tuple[bytes, bytes] | None) -> LoginResult | None:
    """Who to be on a side connection about `login`; None when no password is known."""
    if monitor is not None:
        return LoginResult(user=monitor[0], credential=Credential(monitor[1]))
    if login.credential is None:
        return None
    return LoginResult(user=login.user, credential=login.credential)


def kill_command(target: int, query_only: bool) -> bytes:
    """A COM_QUERY payload that kills the backend connection `target`, or only its query."""
    what = "KILL QUERY" if query_only else "KILL CONNECTION"
    return u8(Command.QUERY) + f"{what} {target}".encode()
