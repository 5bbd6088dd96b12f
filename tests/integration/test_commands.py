# SPDX-License-Identifier: Apache-2.0
"""Every command byte, known or not, well-formed or not: answered as the server answers it."""

from __future__ import annotations

import re

import pytest

from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.wire import frames
from tests.integration.route import Route
from tests.support.recording_client import COMMON, Login, RecordingClient

QUIT = next(frames(bytes([Command.QUIT])))
# 17, COM_CHANGE_USER, is a login and has tests of its own.
COMMANDS = [*(n for n in range(34) if n != Command.CHANGE_USER), 34, 77, 127, 128, 200]
COMMANDS += [0xF9, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF]
# Bytes behind those commands that nobody answers.
SHORTEST: dict[int, int] = {Command.STMT_SEND_LONG_DATA: 6, Command.STMT_CLOSE: 4}
# They begin with a statement's number, and MariaDB reads four bytes whatever has come.
NUMBERED = {Command.STMT_EXECUTE, Command.STMT_RESET, Command.STMT_FETCH}
ARGUMENTS = (b"", b"\0", b"\xff\xff\xff\x3f", b"\x01\0\0\0\0\x01\0\0\0", b"x" * 300)


def plain_account(route: Route, capabilities: Capability) -> Login:
    """Somebody who may not shut the server down."""
    user = "native" if route.is_mariadb else "sha2"
    return Login(user=user, password=user, capabilities=capabilities)


def conversation(client: RecordingClient, payload: bytes) -> bytes:
    """All that comes back to `payload`, a ping, and a good-bye sent in one go."""
    with client:
        ping = next(frames(bytes([Command.PING])))
        client.socket.sendall(next(frames(payload)) + ping + QUIT)
        return client.rest()


def without_number(answer: bytes) -> bytes:
    """Behind a number cut short lies what the server had received before."""
    return re.sub(rb"handler \(\d+\)", b"handler ()", answer)[3:]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("eof", [Capability(0), Capability.DEPRECATE_EOF], ids=["eof", "no-eof"])
def test_every_command_byte(route: Route, command: int, eof: Capability) -> None:
    login = plain_account(route, COMMON | eof)
    for argument in ARGUMENTS:
        if len(argument) < SHORTEST.get(command, 0):
            continue
        payload = bytes([command]) + argument
        through = conversation(route.raw(login), payload)
        direct = conversation(route.raw_direct(login), payload)
        if command in (Command.STATISTICS, Command.PROCESS_INFO):
            # Counters and other people's connections: only the kind of answer is the same.
            assert (through[3], through[4]) == (direct[3], direct[4])
        elif command == Command.QUIT:
            assert through == b""  # MariaDB resets, having unread input
        elif command in NUMBERED and len(argument) < 4:
            assert without_number(through) == without_number(direct), argument
        else:
            assert through == direct, argument


@pytest.mark.parametrize("command", SHORTEST)
def test_unanswered_commands_cut_short(route: Route, command: int) -> None:
    """MySQL answers these with an error and MariaDB not at all: the proxy ends the session."""
    since = len(route.proxy.log)
    for length in range(SHORTEST[command]):
        told = conversation(route.raw(), bytes([command]) + bytes(length))
        assert told[4] == 0xFF
        assert b"cut short" in told
    assert route.proxy.wait_for_log("client broke the protocol", since=since)


def test_an_empty_command(route: Route) -> None:
    through, direct = (conversation(client, b"") for client in (route.raw(), route.raw_direct()))
    if route.multiplexed:
        # No server was asked, none has an error to count when it is pinged.
        through, direct = through[:-2], direct[:-2]
    assert through == direct


def test_statistics_and_process_list(route: Route) -> None:
    with route.raw() as client:
        (text,) = client.command(bytes([Command.STATISTICS]))
        assert text.startswith(b"Uptime: ")
        answer = client.command(bytes([Command.PROCESS_INFO]))
        assert len(answer) > 3 or answer[0][0] == 0xFF
        assert client.command(bytes([Command.PING]))[0][0] == 0
        assert client.command(bytes([Command.DEBUG]))[0][0] in (0, 0xFE, 0xFF)
        assert client.query("SELECT 1")[0] == b"\x01"


def test_fields_of_a_wide_table(route: Route) -> None:
    with route.raw() as client:
        client.query("USE information_schema")
        answer = client.command(bytes([Command.FIELD_LIST]) + b"COLUMNS\0")
        assert len(answer) > 15 or answer[0][0] == 0xFF
        assert client.query("SELECT 1")[0] == b"\x01"
