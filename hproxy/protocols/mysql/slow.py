# SPDX-License-Identifier: Apache-2.0
"""Commands that the native session hands to the slow lane, and what they mean."""

from __future__ import annotations

from dataclasses import replace

from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import ChangeUser, Kill, Plain, SlowCommand
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.commands import parse_kill, rewrite_kill
from hproxy.protocols.mysql.constants import Command
from hproxy.protocols.mysql.parameters import parse_query
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.replies import OkPacket
from hproxy.protocols.mysql.wire import MalformedPacket, u8, u32

__all__ = ["interpret", "kill_command", "ok_packet", "side_login", "vouch"]


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
    agreed, _ = split(login.capabilities)
    try:
        statement = parse_query(payload, agreed).sql
    except MalformedPacket:
        return Plain()  # the backend will say what it thinks of it
    kill = parse_kill(statement)
    if kill is None:
        return Plain()
    head = payload[: len(payload) - len(statement)]
    return Kill(
        kill.id,
        kill.query_only,
        lambda number: head + rewrite_kill(statement, number),
        alone=kill.alone,
    )


def vouch(login: LoginResult, reply: bytes) -> bytes:
    """The backend's OK to a login, with the proof that our certificate is ours."""
    if not login.proof:
        return reply
    agreed, _ = split(login.capabilities)
    return replace(OkPacket.parse(reply, agreed), info=login.proof).build(agreed)


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
