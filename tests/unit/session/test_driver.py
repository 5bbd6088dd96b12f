# SPDX-License-Identifier: Apache-2.0
"""Slow points of running sessions: changes of user, kills, losses and broken frames."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.auth import NATIVE, PLUGINS, Credential
from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.handshake import AuthSwitchRequest, ChangeUser
from hproxy.protocols.mysql.refusal import read_error
from hproxy.runtime import Runtime
from tests.support.fake_backend import Connection, FakeBackend, frame, result
from tests.support.worker import Caller, Journal, call, configuration, working
from tests.unit.conftest import Run, until

USERS = [
    {"username": name, "password": f"{name} pw", "max_connections": 1} for name in ("ann", "bob")
]
AGREED = Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH
OK = b"\0\0\0\x02\0\0\0"
MALFORMED = [b"\x11", b"\x11bob", b"\x11bob\0\xffshort"]


def versatile(connection: Connection) -> None:
    """Answers queries and changes of user; `hold` is never answered, `drop` ends it."""
    connection.log_in()
    while (packet := connection.read_packet()) != b"\x01":
        if packet[0] == Command.CHANGE_USER:
            connection.send(frame(OK, 1))
        elif packet[1:] == b"hold":
            connection.silence()
        elif packet[1:] == b"drop":
            connection.reset()
            return
        elif packet[1:] == b"nonsense":
            connection.send(frame(b"\x01", 77))
            connection.silence()
        else:
            connection.send(result(packet[1:].decode()))


def change(user: str, password: str, login: LoginResult) -> bytes:
    """COM_CHANGE_USER with a proof under mysql_native_password."""
    answer = PLUGINS[NATIVE].respond(Credential(password.encode()), login.scramble, False)
    return ChangeUser(user.encode(), answer or b"", b"", 45, NATIVE).build(AGREED)


async def changed(caller: Caller, user: str, password: str) -> bytes:
    """The verdict on a change of user, after the switch if one is asked for."""
    packet = await caller.ask(change(user, password, caller.login))
    while packet[0] == 0xFE:
        switch = AuthSwitchRequest.parse(packet)
        credential = Credential(password.encode())
        caller.channel.write_packet(
            PLUGINS[switch.plugin].respond(credential, switch.scramble, False) or b""
        )
        packet = await caller.channel.read_packet()
    if packet[:2] == b"\x01\x03":
        packet = await caller.channel.read_packet()
    return packet


async def gone(runtime: Runtime) -> None:
    await until(lambda: not len(runtime.services.registry))


# -- change of user -----------------------------------------------------------


def test_change_of_user_relayed(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            caller = await call(runtime)
            for user in ("bob", "eve"):
                assert await changed(caller, user, "any") == OK
                (connection,) = runtime.services.registry
                assert connection.login is not None
                assert connection.login.user == user.encode()
                assert await caller.query("hello") == [b"\x05hello"]
            caller.close()
            await gone(runtime)

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


def test_change_of_user_among_our_accounts(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        config = configuration(tmp_path, address, mysql_users=USERS)
        async with working(config) as runtime:
            ann, bob = (runtime.services.users.find(name) for name in (b"ann", b"bob"))
            assert ann is not None
            assert bob is not None
            caller = await call(runtime, "ann", "ann pw")
            assert await changed(caller, "bob", "bob pw") == OK
            assert (ann.sessions, bob.sessions) == (0, 1)
            assert await caller.query("hello") == [b"\x05hello"]
            assert await changed(caller, "bob", "bob pw") == OK  # its own place is enough
            assert await changed(caller, "ann", "wrong") != OK
            assert (await caller.ending())[0] == 0
            caller.close()
            await gone(runtime)
            assert (ann.sessions, bob.sessions) == (0, 0)

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


@pytest.mark.parametrize("users", [[], USERS], ids=["relay", "table"])
@pytest.mark.parametrize("payload", MALFORMED)
def test_a_change_of_user_that_cannot_be_read(
    run: Run, tmp_path: Path, users: list[Any], payload: bytes
) -> None:
    """The client is told and let go: it waited for ever once."""

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address, mysql_users=users)) as runtime:
            caller = await call(runtime, "ann", "ann pw")
            assert read_error(await caller.ask(payload))[0] == 1043
            assert (await caller.ending())[0] == 0
            caller.close()
            await gone(runtime)

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


def test_a_mistake_of_ours_ends_the_session(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    journal = Journal()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            monkeypatch.setattr(runtime._driver.change, "run", broken)
            caller = await call(runtime)
            caller.channel.seq = 0
            caller.channel.write_packet(change("bob", "x", caller.login))
            assert (await caller.ending())[0] == 0
            caller.close()
            await gone(runtime)
            (told,) = journal.told("internal error")
            assert isinstance(told["exc_info"], ZeroDivisionError)
            journal.entries.clear()

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


# -- kills --------------------------------------------------------------------


def test_kill_of_one_of_our_ids_is_translated(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            first, second = await call(runtime), await call(runtime)
            target = runtime.services.registry.find(first.login.backend_id)
            assert target is not None
            assert target.backend_login is not None
            theirs = f"KILL QUERY {target.backend_login.backend_id}"
            (row,) = await second.query(f"KILL QUERY {target.id}")
            assert row[1:].decode() == theirs
            (row,) = await second.query("KILL QUERY 5")  # not ours: as it is
            assert row[1:].decode() == "KILL QUERY 5"
            for caller in (first, second):
                caller.close()
            await gone(runtime)

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


def test_the_query_of_a_client_that_is_gone_is_killed(run: Run, tmp_path: Path) -> None:
    killed: list[bytes] = []

    def script(connection: Connection) -> None:
        connection.log_in()
        while (packet := connection.read_packet()) != b"\x01":
            if packet[1:] == b"hold":
                # One row of several: the response has begun.
                connection.send(result("part")[:-9])
                connection.silence()
            killed.append(packet[1:])
            connection.send(frame(OK, 1))

    journal = Journal()

    async def work(address: str) -> None:
        proxy = {"monitor_username": "watch", "monitor_password": "dog"}
        async with working(configuration(tmp_path, address, proxy=proxy), journal) as runtime:
            caller = await call(runtime)
            (connection,) = runtime.services.registry
            assert connection.backend_login is not None
            wanted = f"KILL QUERY {connection.backend_login.backend_id}".encode()
            assert await caller.ask(b"\x03hold") == b"\x01"
            caller.close()
            await until(lambda: killed == [wanted])
            await gone(runtime)
            await until(lambda: not len(runtime.services.tasks))
        assert len(journal.told("orphaned query killed")) == 1

    with FakeBackend(script) as backend:
        run(work(backend.address))


# -- losses -------------------------------------------------------------------


def test_a_backend_lost_during_a_command(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            caller = await call(runtime)
            assert read_error(await caller.ask(b"\x03drop"))[0] == 2013
            assert (await caller.ending())[0] == 0
            caller.close()
            await gone(runtime)
            assert runtime.services.registry.totals.aborted_backends == 1
        assert [facts["code"] for facts in journal.told("backend lost")] == ["backend.lost"]

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


def test_a_backend_lost_while_idle(run: Run, tmp_path: Path) -> None:
    async def work(backend: FakeBackend) -> None:
        async with working(configuration(tmp_path, backend.address)) as runtime:
            caller = await call(runtime)
            await asyncio.to_thread(backend.cut)
            assert (await caller.ending())[0] == 0
            caller.close()
            await gone(runtime)

    with FakeBackend(versatile) as backend:
        run(work(backend))


def test_a_backend_that_breaks_the_protocol(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            caller = await call(runtime)
            assert read_error(await caller.ask(b"\x03nonsense"))[0] == 2027
            caller.close()
            await gone(runtime)
        assert len(journal.told("backend broke the protocol")) == 1

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


def test_a_client_that_breaks_the_protocol(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            caller = await call(runtime)
            caller.channel.seq = 9
            caller.channel.write_packet(b"\x03SELECT 1")
            await caller.ending()
            caller.close()
            await gone(runtime)
        assert len(journal.told("client broke the protocol")) == 1

    with FakeBackend(versatile) as backend:
        run(work(backend.address))


def test_idle_for_too_long(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hproxy.net.loop.SWEEP_SEC", 0.02)
    journal = Journal()

    async def work(address: str) -> None:
        proxy = {"idle_timeout_sec": 1}
        async with working(configuration(tmp_path, address, proxy=proxy), journal) as runtime:
            caller = await call(runtime)
            assert await caller.query("hello") == [b"\x05hello"]
            assert (await caller.ending())[0] == 0
            caller.close()
            await gone(runtime)
        assert len(journal.told("idle timeout")) == 1

    with FakeBackend(versatile) as backend:
        run(work(backend.address))
