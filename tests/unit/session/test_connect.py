# SPDX-License-Identifier: Apache-2.0
"""From an accepted socket to a session: which backend, which refusal, and in which time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy.net.resolver import connect
from hproxy.protocols.mysql.handshake import Greeting
from hproxy.protocols.mysql.refusal import read_error
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.runtime import Runtime
from hproxy.topology import Status
from tests.support.fake_backend import Connection, FakeBackend, frame
from tests.support.worker import HERE, Journal, all_of, call, configuration, refused, working
from tests.unit.conftest import Run, until

USERS = [{"username": "ann", "password": "pw", "max_connections": 2}]


@contextmanager
def dead() -> Iterator[str]:
    """An address nobody listens on."""
    with socket.create_server((HERE, 0)) as sock:
        port = sock.getsockname()[1]
    yield f"{HERE}:{port}"


def rows(*backends: FakeBackend, **fields: Any) -> list[dict[str, Any]]:
    """The same backends as [[mysql_servers]]."""
    return [{"hostgroup_id": 0, "hostname": HERE, "port": b.port} | fields for b in backends]


def saying(number: int, text: bytes) -> Any:
    """A script: an ERR instead of a greeting."""

    def script(connection: Connection) -> None:
        connection.send(frame(ErrPacket(number, text, None).build(), 0))

    return script


def denying(number: int, text: bytes) -> Any:
    """A script: an ERR to every login."""

    def script(connection: Connection) -> None:
        connection.greet()
        connection.read_packet()
        connection.send(frame(ErrPacket(number, text, b"HY000").build(), 2))

    return script


async def raw(runtime: Runtime) -> Channel:
    """A connection that has not said anything."""
    fd = await connect(HERE, runtime.listener.port)
    return Channel(Endpoint(runtime.services.reactor, fd), "backend", 1 << 20)


# -- which backend ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["relay", "table"])
def test_a_dead_backend_is_passed_over_and_shunned(run: Run, tmp_path: Path, mode: str) -> None:
    journal = Journal()

    async def work(alive: str, gone: str) -> None:
        users = USERS if mode == "table" else []
        many = [USERS[0] | {"max_connections": 100}] if users else []
        config = configuration(tmp_path, alive, gone, mysql_users=many)
        async with working(config, journal) as runtime:
            callers = await all_of([call(runtime) for _ in range(20)])
            health = {str(b): h for b, (h, _) in runtime.services.topology.snapshot().items()}
            assert health[alive].status is Status.ONLINE
            assert health[gone].status is Status.SHUNNED
            assert health[gone].last_error.endswith("Connection refused")
            failures = len(journal.told("backend not reachable"))
            more = await all_of([call(runtime) for _ in range(10)])
            assert len(journal.told("backend not reachable")) == failures
            for caller in [*callers, *more]:
                assert await caller.query("SELECT 1") == [b"\x04fine"]
                caller.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend, dead() as gone:
        run(work(backend.address, gone))


def test_nobody_there(run: Run, tmp_path: Path) -> None:
    async def work(*gone: str) -> None:
        async with working(configuration(tmp_path, *gone)) as runtime:
            number, text = await refused(runtime)
            assert number == 9002
            assert text == ("Max connect failure while reaching hostgroup 0: Connection refused")
            assert runtime.services.registry.totals.logins_failed == 1
            assert runtime.services.registry.totals.backend_connect_errors == 2

    with dead() as first, dead() as second:
        run(work(first, second))


def test_full_and_offline_backends_are_not_tried(run: Run, tmp_path: Path) -> None:
    async def work(backends: list[dict[str, Any]]) -> None:
        async with working(configuration(tmp_path, mysql_servers=backends)) as runtime:
            caller = await call(runtime)
            number, text = await refused(runtime)
            assert number == 9002
            assert "no backend is online" in text
            caller.close()
            await until(lambda: not len(runtime.services.registry))
            (await call(runtime)).close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend, FakeBackend() as offline:
        run(work(rows(backend, max_connections=1) + rows(offline, status="OFFLINE_SOFT")))
        assert offline.accepted == 0


@pytest.mark.parametrize("mode", ["relay", "table"])
def test_a_backend_with_too_many_connections_is_passed_over(
    run: Run, tmp_path: Path, mode: str
) -> None:
    async def work(full: FakeBackend, alive: FakeBackend) -> None:
        backends = rows(full, weight=10000) + rows(alive)
        users = USERS if mode == "table" else []
        async with working(
            configuration(tmp_path, mysql_servers=backends, mysql_users=users)
        ) as runtime:
            caller = await call(runtime)
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            caller.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend(saying(1040, b"Too many connections")) as full, FakeBackend() as alive:
        run(work(full, alive))
        assert full.accepted > 0


def test_a_single_backend_speaks_for_itself(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            assert await refused(runtime) == (1040, "Too many connections")

    with FakeBackend(saying(1040, b"Too many connections")) as backend:
        run(work(backend.address))


@pytest.mark.parametrize("mode", ["relay", "table"])
def test_a_denied_user_is_told_so_and_nobody_is_shunned(
    run: Run, tmp_path: Path, mode: str
) -> None:
    async def work(address: str) -> None:
        users = USERS if mode == "table" else []
        async with working(configuration(tmp_path, address, mysql_users=users)) as runtime:
            assert await refused(runtime) == (1049, "Unknown database")
            ((health, _),) = runtime.services.topology.snapshot().values()
            assert health.status is Status.ONLINE

    with FakeBackend(denying(1049, b"Unknown database")) as backend:
        run(work(backend.address))


@pytest.mark.parametrize("nonsense", [b"\x0a", b"\x09old\0", b"HTTP/1.1 400"])
def test_nonsense_instead_of_a_greeting(run: Run, tmp_path: Path, nonsense: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.send(frame(nonsense, 0))
        connection.silence()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            assert (await refused(runtime))[0] == 9002

    with FakeBackend(script) as backend:
        run(work(backend.address))


# -- time ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["relay", "table"])
def test_a_backend_that_says_nothing(run: Run, tmp_path: Path, mode: str) -> None:
    async def work(address: str) -> None:
        users = USERS if mode == "table" else []
        proxy = {"connect_timeout_ms": 100, "connect_timeout_max_ms": 150}
        config = configuration(tmp_path, address, proxy=proxy, mysql_users=users)
        async with working(config) as runtime:
            number, text = await refused(runtime)
            assert number in (9001, 9002)
            assert "no answer within 0.1 s" in text or "Max connect timeout" in text

    with FakeBackend(lambda connection: connection.silence()) as backend:
        run(work(backend.address))


@pytest.mark.parametrize("mode", ["relay", "table"])
def test_a_client_that_says_nothing(run: Run, tmp_path: Path, mode: str) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        users = USERS if mode == "table" else []
        proxy = {"login_timeout_ms": 100}
        config = configuration(tmp_path, address, proxy=proxy, mysql_users=users)
        async with working(config, journal) as runtime:
            silent = await raw(runtime)
            assert Greeting.parse(await silent.read_packet()).thread_id >= 1 << 30
            assert read_error(await silent.read_packet())[0] == 1159
            silent.close()
            await until(lambda: not len(runtime.services.registry))
        assert journal.loud[-1][2]["code"] == "client.timeout"

    with FakeBackend() as backend:
        run(work(backend.address))


def test_who_connects_and_leaves_is_not_worth_a_line(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            visitor = await raw(runtime)
            await visitor.read_packet()
            visitor.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend:
        run(work(backend.address))
    assert journal.loud == []
    assert [facts["code"] for facts in journal.told("login failed")] == ["client.gone"]


def test_nonsense_from_a_client(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            for nonsense, number in ((b"GET / HTTP/1.1\r\n\r\n", 1043), (b"", 1043)):
                rude = await raw(runtime)
                await rude.read_packet()
                rude.write_packet(nonsense)
                assert read_error(await rude.read_packet())[0] == number
                rude.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend:
        run(work(backend.address))


# -- accounts of our own ------------------------------------------------------


def test_accounts(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        config = configuration(tmp_path, address, mysql_users=USERS)
        async with working(config, journal) as runtime:
            denied = "Access denied for user '{}'@'127.0.0.1' (using password: {})"
            assert await refused(runtime, "ann", "no") == (1045, denied.format("ann", "YES"))
            assert await refused(runtime, "bob") == (1045, denied.format("bob", "YES"))
            assert await refused(runtime, "ann", "") == (1045, denied.format("ann", "NO"))
            first, second = await call(runtime), await call(runtime)
            number, text = await refused(runtime)
            assert (number, "max_user_connections" in text) == (1226, True)
            first.close()
            await until(lambda: len(runtime.services.registry) == 1)
            third = await call(runtime)
            assert await third.query("SELECT 1") == [b"\x04fine"]
            second.close()
            third.close()
            await until(lambda: not len(runtime.services.registry))
            ann = runtime.services.users.find(b"ann")
            assert ann is not None
            assert ann.sessions == 0

    with FakeBackend() as backend:
        run(work(backend.address))
    assert "pw" not in str([facts for facts in journal.entries if "pw" in str(facts)])


def test_an_account_in_a_hostgroup_without_backends(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        users = [USERS[0] | {"default_hostgroup": 7}]
        async with working(configuration(tmp_path, address, mysql_users=users)) as runtime:
            number, text = await refused(runtime)
            assert (number, "hostgroup 7" in text) == (9002, True)
            ann = runtime.services.users.find(b"ann")
            assert ann is not None
            assert ann.sessions == 0

    with FakeBackend() as backend:
        run(work(backend.address))


@pytest.mark.parametrize("mode", ["relay", "table"])
def test_tls_to_clients(run: Run, tmp_path: Path, mode: str) -> None:
    async def work(address: str) -> None:
        users = USERS if mode == "table" else []
        config = configuration(tmp_path, address, tls={"client": "required"}, mysql_users=users)
        async with working(config) as runtime:
            assert (await refused(runtime))[0] == 3159
            caller = await call(runtime, tls=True)
            assert caller.channel.endpoint.tls_version == "TLSv1.3"
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            caller.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_plugin_that_talks_as_it_likes(run: Run, tmp_path: Path) -> None:
    """Both sides are read until the verdict, then the session takes over what is left."""

    def script(connection: Connection) -> None:
        connection.greet()
        connection.read_packet()
        connection.send(frame(b"\xfedialog\0\x04Password: ", 2))
        assert connection.read_packet() == b"one\0"
        connection.send(frame(b"\x02Code: ", 4))
        assert connection.read_packet() == b"two\0"
        connection.send(frame(b"\0\0\0\x02\0\0\0", 6))
        connection.serve()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            client = await raw(runtime)
            await client.read_packet()
            client.write_packet(
                b"\x01\xa2\x0a\0"
                + bytes(28)
                + b"ann\0\x14"
                + b"x" * 20
                + b"mysql_native_password\0"
            )
            assert (await client.read_packet()).startswith(b"\xfedialog")
            client.write_packet(b"one\0")
            assert await client.read_packet() == b"\x02Code: "
            client.write_packet(b"two\0")
            assert (await client.read_packet())[0] == 0
            for _ in range(3):
                client.seq = 0
                client.write_packet(b"\x03SELECT 1")
                assert await client.read_packet() == b"\x01"
                for _ in range(4):
                    await client.read_packet()
            client.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend(script) as backend:
        run(work(backend.address))


def test_both_sides_leave_a_plugin_that_talks(run: Run, tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        connection.greet()
        connection.read_packet()
        connection.send(frame(b"\xfedialog\0\x04Password: ", 2))
        connection.read_some()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            for _ in range(5):
                client = await raw(runtime)
                await client.read_packet()
                client.write_packet(b"\x01\xa2\x0a\0" + bytes(28) + b"ann\0\0dialog\0")
                await client.read_packet()
                client.write_packet(b"bye\0")
                await asyncio.sleep(0)
                client.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend(script) as backend:
        run(work(backend.address))
