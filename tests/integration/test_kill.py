# SPDX-License-Identifier: Apache-2.0
"""KILL of the id a client knows from its greeting, in every way it can be said."""

from __future__ import annotations

import struct
from time import monotonic

import pytest

from hproxy.protocols.mysql.constants import Capability, Command
from tests.integration.conftest import Fleet, direct
from tests.integration.route import Route
from tests.support.recording_client import COMMON, DEADLINE_S, Login, RecordingClient
from tests.support.server import Server

ERR = 0xFF
INTERRUPTED = 1317
KILLED = 1927


def number(packet: bytes) -> int:
    return int.from_bytes(packet[1:3], "little") if packet[0] == ERR else 0


def sleeping(route: Route, login: Login) -> RecordingClient:
    """A client whose query runs, as the server itself says."""
    client = route.raw(login)
    client.query("SET @a = 1")
    row = client.query("SELECT CONNECTION_ID()")[-2]
    client.send(client.query_packet("SELECT SLEEP(60) + 5"))
    running = (
        "SELECT COUNT(*) FROM information_schema.processlist "
        f"WHERE id = {row[1:].decode()} AND info LIKE 'SELECT SLEEP%'"
    )
    end = monotonic() + DEADLINE_S
    while direct(route.server, running) != [(1,)]:
        assert monotonic() < end, "the query does not start"
    return client


@pytest.mark.parametrize(
    "statement",
    [
        "KILL QUERY {}",
        "kill query {}",
        "  KILL /* why */ QUERY\n{} ;",
        "/* first */ kill query {}",
        "-- first\nKILL QUERY {}",
        "# first\nKILL QUERY {}",
    ],
)
@pytest.mark.parametrize(
    "extra", [Capability(0), Capability.QUERY_ATTRIBUTES], ids=["plain", "attributes"]
)
def test_kill_query(route: Route, statement: str, extra: Capability) -> None:
    login = Login(capabilities=COMMON | extra)
    with sleeping(route, login) as victim, route.raw(login) as killer:
        text = statement.format(victim.greeting.thread_id)
        assert number(killer.query(text)[0]) == 0
        answer = victim.answer(Command.QUERY)
        # SLEEP itself may say 1 to an interruption; what follows it then does not matter.
        assert number(answer[-1]) == INTERRUPTED or answer[-2] == b"\x016"
        assert victim.query("SELECT @a")[-2] == b"\x011"


@pytest.mark.parametrize("statement", ["KILL {}", "KILL CONNECTION {}", "kill\t{}"])
def test_kill_connection(route: Route, statement: str) -> None:
    with sleeping(route, Login()) as victim, route.raw() as killer:
        assert number(killer.query(statement.format(victim.greeting.thread_id))[0]) == 0
        victim.rest()
        assert killer.query("SELECT 1")[-2] == b"\x011"


def test_command_process_kill(route: Route) -> None:
    with sleeping(route, Login()) as victim, route.raw() as killer:
        wanted = struct.pack("<I", victim.greeting.thread_id)
        (answer,) = killer.command(bytes([Command.PROCESS_KILL]) + wanted)
        # Between sessions that have no connection it is ours to answer, even if the server is
        # a MySQL 9, which does not know the command any more.
        assert answer[:1] == (b"\0" if route.multiplexed else kill_directly(route)[:1])
        if number(answer):
            killer.query(f"KILL {victim.greeting.thread_id}")
        victim.rest()


def kill_directly(route: Route) -> bytes:
    """What the server answers without a proxy: MySQL 9 may not know the command any more."""
    with route.raw_direct() as victim, route.raw_direct() as killer:
        wanted = struct.pack("<I", victim.greeting.thread_id)
        return killer.command(bytes([Command.PROCESS_KILL]) + wanted)[0]


def test_suicide(route: Route) -> None:
    told = []
    for make in (route.raw, route.raw_direct):
        with make() as client:
            mine = client.greeting.thread_id
            told.append([client.query(f"KILL QUERY {mine}")[0], client.query("SELECT 1")[-2]])
            told[-1].append(client.query(f"KILL {mine}")[0])
            client.rest()
    assert told[0] == told[1]
    assert (number(told[0][0]), number(told[0][2])) == (
        INTERRUPTED, KILLED if route.is_mariadb else INTERRUPTED
    )  # fmt: skip


def test_a_query_that_waits_for_a_connection(fleet: Fleet, server: Server) -> None:
    row = {"hostname": server.host, "port": server.port, "max_connections": 1}
    route = Route(server, "multiplex", fleet.get(server, "multiplex", mysql_servers=[row]))
    with route.raw() as holder, route.raw() as victim, route.raw() as killer:
        holder.query("BEGIN")
        victim.send(victim.query_packet("SELECT 2"))
        # The killer needs no connection, and the victim has its own command before that one.
        for _ in range(2):
            assert number(killer.query(f"KILL QUERY {victim.greeting.thread_id}")[0]) == 0
        assert number(victim.answer(Command.QUERY)[0]) == INTERRUPTED
        holder.query("COMMIT")
        assert victim.query("SELECT 3")[-2] == b"\x013"


def test_others_may_not(route: Route) -> None:
    user = "native" if route.is_mariadb else "sha2"
    with (
        route.raw() as victim,
        route.raw(Login(user=user, password=user)) as stranger,
    ):
        assert number(stranger.query(f"KILL {victim.greeting.thread_id}")[0]) == 1095
        assert victim.query("SELECT 1")[-2] == b"\x011"


def test_things_that_only_look_like_a_kill(route: Route) -> None:
    statements = (
        "SELECT 'kill 5'",
        "KILL USER nobody_at_all",
        "kill",
        "killing",
        "KILL 'a'",
        "KILL 99999999999999999999",
        "/* kill 5 */ SELECT 1",
    )
    for statement in statements:
        told = []
        for make in (route.raw, route.raw_direct):
            with make() as client:
                client.take()
                client.query(statement)
                told.append(client.take())
        assert told[0] == told[1], statement
