# SPDX-License-Identifier: Apache-2.0
"""Every command of the protocol, written by hand and answered by an embedded server."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvloop

from hproxy.admin import Server
from hproxy.dial.converse import Refusal, converse
from hproxy.errors import HProxyError
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Side
from hproxy.protocols.mysql import PROTOCOL
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.constants import Capability, Command, FieldType, ServerStatus
from hproxy.protocols.mysql.replies import EOF_HEADER, ErrPacket, OkPacket, is_eof
from hproxy.protocols.mysql.rows import TextResult
from tests.support.embedded import ask, log_in, serving

MODERN = Capability.PROTOCOL_41 | Capability.DEPRECATE_EOF
OLD = Capability.PROTOCOL_41
Case = Callable[[Server, Any, LoginResult], Awaitable[None]]


def talk(case: Case, capabilities: Capability = MODERN, **options: Any) -> None:
    """Run `case` as one logged-in client."""

    async def main() -> None:
        async with serving(**options) as server:
            channel, login = await log_in(server, database="demo", capabilities=capabilities)
            await case(server, channel, login)
            channel.close()

    uvloop.run(main())


def refused(payload: bytes) -> int:
    return ErrPacket.parse(payload).number


def accepted(payload: bytes) -> OkPacket:
    return OkPacket.parse(payload, MODERN)


async def packets(channel: Any, last: Callable[[bytes], bool]) -> AsyncIterator[bytes]:
    while True:
        payload = await channel.read_packet()
        yield payload
        if last(payload):
            return


async def rows(channel: Any, sql: str, capabilities: Capability = MODERN) -> TextResult:
    result = TextResult(capabilities)
    ended = result.take(await ask(channel, bytes([Command.QUERY]) + sql.encode()))
    while not ended:
        ended = result.take(await channel.read_packet())
    return result


def test_ping_and_statistics_and_quit() -> None:
    async def case(server: Server, channel: Any, _: LoginResult) -> None:
        assert accepted(await ask(channel, bytes([Command.PING]))).status
        assert b"Threads: 1" in await ask(channel, bytes([Command.STATISTICS]))
        channel.seq = 0
        channel.write_packet(bytes([Command.QUIT]))
        with pytest.raises(HProxyError):
            await channel.read_packet()
        assert server.counters.connections == 1

    talk(case)


@pytest.mark.parametrize(
    "command",
    [Command.SLEEP, Command.BINLOG_DUMP, Command.STMT_FETCH, Command.DEBUG, 0x42, 0xFA],
)
def test_unknown_command_is_refused_and_the_connection_stays(command: int) -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        assert refused(await ask(channel, bytes([command]) + b"\0" * 20)) == 1047
        accepted(await ask(channel, bytes([Command.PING])))

    talk(case)


def test_an_empty_packet_is_no_command() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        assert refused(await ask(channel, b"")) == 1047

    talk(case)


def test_init_db() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        assert refused(await ask(channel, bytes([Command.INIT_DB]) + b"nosuch")) == 1049
        accepted(await ask(channel, bytes([Command.INIT_DB]) + b"information_schema"))
        assert (await rows(channel, "SELECT DATABASE()")).rows == [(b"information_schema",)]

    talk(case)


@pytest.mark.parametrize("capabilities", [MODERN, OLD])
def test_field_list(capabilities: Capability) -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        channel.seq = 0
        channel.write_packet(bytes([Command.FIELD_LIST]) + b"city\0")
        found = [p async for p in packets(channel, lambda p: p[0] == EOF_HEADER)]
        assert len(found) == 6
        assert b"population" in found[2]
        assert all(payload.endswith(b"\xfb") for payload in found[:-1])
        assert (
            is_eof(found[-1]) is (Capability.DEPRECATE_EOF not in capabilities)
            or len(found[-1]) >= 7
        )
        assert refused(await ask(channel, bytes([Command.FIELD_LIST]) + b"nope\0")) == 1146

    talk(case, capabilities)


def test_multi_statements_need_the_capability_or_the_option() -> None:
    text = bytes([Command.QUERY]) + b"SELECT 1; SELECT 2"

    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        assert refused(await ask(channel, text)) == 1064
        answer = await ask(channel, struct.pack("<BH", Command.SET_OPTION, 0))
        assert answer[0] == EOF_HEADER
        first = TextResult(MODERN)
        first.take(await ask(channel, text))
        while not first.take(payload := await channel.read_packet()):
            pass
        assert ServerStatus.MORE_RESULTS_EXISTS in accepted(payload).status
        second = TextResult(MODERN)
        while not second.take(payload := await channel.read_packet()):
            pass
        assert ServerStatus.MORE_RESULTS_EXISTS not in accepted(payload).status
        assert (first.rows, second.rows) == ([(b"1",)], [(b"2",)])
        await ask(channel, struct.pack("<BH", Command.SET_OPTION, 1))
        assert refused(await ask(channel, text)) == 1064
        assert refused(await ask(channel, struct.pack("<BH", Command.SET_OPTION, 7))) == 1047

    talk(case)


def test_an_error_ends_a_run_of_statements() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        text = b"SET @a = 1; SELECT * FROM nope; SET @a = 2"
        answer = await ask(channel, bytes([Command.QUERY]) + text)
        assert ServerStatus.MORE_RESULTS_EXISTS in accepted(answer).status
        assert refused(await channel.read_packet()) == 1146
        assert (await rows(channel, "SELECT @a")).rows == [(b"1",)]

    talk(case, MODERN | Capability.MULTI_STATEMENTS)


async def prepare(channel: Any, sql: str) -> tuple[int, int, int]:
    """Statement id, columns and parameters; reads what follows."""
    head = await ask(channel, bytes([Command.STMT_PREPARE]) + sql.encode())
    assert head[0] == 0, ErrPacket.parse(head)
    number, columns, parameters = struct.unpack_from("<IHH", head, 1)
    for _ in range(columns + parameters):  # no EOFs with DEPRECATE_EOF
        await channel.read_packet()
    return number, columns, parameters


def test_prepared_statement() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        number, columns, parameters = await prepare(
            channel, "SELECT id, name FROM city WHERE id = ?"
        )
        assert (columns, parameters) == (2, 1)
        run = struct.pack("<BIBI", Command.STMT_EXECUTE, number, 0, 1) + b"\0\1"
        run += struct.pack("<Hq", FieldType.LONGLONG, 1)
        assert await ask(channel, run) == b"\2"
        found = [p async for p in packets(channel, lambda p: p[0] == EOF_HEADER)]
        assert found[2] == b"\0\0" + struct.pack("<q", 1) + b"\5K\xc3\xb6ln"
        accepted(await ask(channel, struct.pack("<BI", Command.STMT_RESET, number)))
        channel.seq = 0
        channel.write_packet(struct.pack("<BI", Command.STMT_CLOSE, number))
        assert refused(await ask(channel, run)) == 1243
        assert refused(await ask(channel, struct.pack("<BI", Command.STMT_RESET, 9))) == 1243

    talk(case)


def test_prepare_refuses_what_cannot_run() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        for sql, number in (
            ("SELECT nope FROM city", 1054),
            ("INSERT INTO nope VALUES (?)", 1146),
            ("FROB 1", 1064),
            ("SELECT 1; SELECT 2", 1064),
            ("", 1065),
        ):
            answer = await ask(channel, bytes([Command.STMT_PREPARE]) + sql.encode())
            assert refused(answer) == number, sql

    talk(case)


@pytest.mark.parametrize(
    "command",
    [
        struct.pack("<BI", Command.STMT_EXECUTE, 1),
        struct.pack("<BIBI", Command.STMT_EXECUTE, 1, 0, 1) + b"\0\1\x08\0\1",
        struct.pack("<BIBI", Command.STMT_EXECUTE, 1, 0, 1) + b"\0\1\x77\x77\1",
    ],
    ids=["cut short", "value cut short", "unknown type"],
)
def test_malformed_execution_is_refused_and_the_connection_stays(command: bytes) -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        await prepare(channel, "SELECT ?")
        assert refused(await ask(channel, command)) == 1835
        accepted(await ask(channel, bytes([Command.PING])))

    talk(case)


def test_reset_connection_forgets() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        number, _columns, _parameters = await prepare(channel, "SELECT 1")
        for sql in ("SET @a = 1", "BEGIN", "INSERT INTO city (id, name) VALUES (9, 'x')"):
            assert (await rows(channel, sql)).error is None
        await ask(channel, bytes([Command.QUERY]) + b"CREATE TEMPORARY TABLE t (a INT)")
        status = accepted(await ask(channel, bytes([Command.RESET_CONNECTION]))).status
        assert ServerStatus.IN_TRANS not in status
        assert (await rows(channel, "SELECT @a")).rows == [(None,)]
        assert (await rows(channel, "SELECT * FROM t")).error is not None
        run = struct.pack("<BIBI", Command.STMT_EXECUTE, number, 0, 1)
        assert refused(await ask(channel, run)) == 1243

    talk(case)


@pytest.mark.parametrize(("user", "password"), [("other", b"secret"), ("empty", b"")])
def test_change_user(user: str, password: bytes) -> None:
    async def case(_: Server, channel: Any, login: LoginResult) -> None:
        wanted = LoginResult(user.encode(), b"demo", credential=Credential(password))
        options = LoginOptions(connection_id=0, attributes=False)
        channel.seq = 0
        machine = PROTOCOL.backend_change(options, login, wanted)
        await converse(machine, {Side.BACKEND: channel})
        found = await rows(channel, "SELECT USER(), DATABASE()")
        assert found.rows == [(f"{user}@127.0.0.1".encode(), b"demo")]

    talk(case)


def test_change_user_with_a_wrong_password_ends_the_connection() -> None:
    async def case(_: Server, channel: Any, login: LoginResult) -> None:
        wanted = LoginResult(b"other", credential=Credential(b"wrong"))
        channel.seq = 0
        machine = PROTOCOL.backend_change(LoginOptions(connection_id=0), login, wanted)
        with pytest.raises(Refusal) as caught:
            await converse(machine, {Side.BACKEND: channel})
        assert caught.value.error.facts["number"] == 1045
        with pytest.raises(HProxyError):
            await channel.read_packet()

    talk(case)


def test_silence_ends_the_connection() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        with pytest.raises(HProxyError):
            await channel.read_packet()

    talk(case, idle_sec=0.05)


def test_status_flags_follow_the_transaction() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        flags = [
            accepted(await ask(channel, bytes([Command.QUERY]) + sql)).status
            for sql in (b"BEGIN", b"COMMIT", b"SET autocommit = 0", b"SET autocommit = 1")
        ]
        inside, auto = ServerStatus.IN_TRANS, ServerStatus.AUTOCOMMIT
        assert flags == [inside | auto, auto, ServerStatus(0), auto]

    talk(case)


def test_an_oversized_command_is_an_error_of_the_client() -> None:
    async def case(_: Server, channel: Any, __: LoginResult) -> None:
        answer = await ask(channel, bytes([Command.QUERY]) + b"x" * 2000)
        assert refused(answer) == 1153

    talk(case, max_packet=1000)
