# SPDX-License-Identifier: Apache-2.0
"""The fast lane's logins say, byte for byte, what the slow lane's would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from hashlib import sha1, sha256
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy.net.resolver import connect
from hproxy.protocols.model import Side
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import (
    AUTH_SWITCH,
    AuthSwitchRequest,
    Greeting,
    HandshakeResponse,
)
from hproxy.protocols.mysql.scramble import native_response, sha2_response
from hproxy.runtime import Runtime
from hproxy.session.registry import Connection
from tests.support.pooled import client, pooled
from tests.support.server import Server
from tests.support.worker import HERE, Journal

NATIVE, SHA2, ED = b"mysql_native_password", b"caching_sha2_password", b"client_ed25519"
NATIVE_HASH = "*" + sha1(sha1(b"pw").digest()).hexdigest()
USERS = [
    {"username": "hproxy", "password": "hproxy"},
    {"username": "clear", "password": "pw"},
    {"username": "hashed", "password": NATIVE_HASH},
    {"username": "empty", "password": ""},
    {
        "username": "bound",
        "password": "pw",
        "attributes": '{"auth_plugin": "mysql_native_password"}',
    },
]
NAMES = ["clear", "hashed", "empty", "bound", "stranger"]
BASE = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.TRANSACTIONS
    | Capability.CONNECT_ATTRS
)


def proof(plugin: bytes, password: bytes, scramble: bytes) -> bytes:
    if not password or plugin == ED:
        return b""
    if plugin == SHA2:
        return sha2_response(sha256(password).digest(), scramble)
    return native_response(sha1(password).digest(), scramble)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 (what is waited for knows no events)
            await asyncio.sleep(0.002)


def go(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def learn(runtime: Runtime) -> None:
    """One client who makes known what the servers are like."""
    (await client(runtime)).close()
    await until(lambda: not len(runtime.services.registry))


async def dialogue(runtime: Runtime, user: str, plugin: bytes, password: bytes) -> list[Any]:
    """What is said to a client, with the chance taken out; a ping follows a login."""
    fd = await connect(HERE, runtime.listener.port)
    channel = Channel(Endpoint(runtime.services.reactor, fd), Side.BACKEND.value, 1 << 20)
    said: list[Any] = []
    try:
        greeting = Greeting.parse(await channel.read_packet())
        said.append((greeting.server_version, greeting.capabilities, greeting.plugin))
        answer = proof(plugin, password, greeting.scramble)
        response = HandshakeResponse(
            BASE, user.encode(), answer, plugin=plugin, attributes=((b"_pid", b"1"),)
        )
        channel.write_packet(response.build())
        while True:
            packet = await channel.read_packet()
            if packet[0] == AUTH_SWITCH:
                switch = AuthSwitchRequest.parse(packet)
                said.append((switch.plugin, len(switch.scramble)))
                channel.write_packet(proof(switch.plugin, password, switch.scramble))
                continue
            said.append((channel.seq, packet))
            if packet[0] == 0xFF or packet == b"\x01\x04":
                break
            if packet[0] == 0:
                channel.seq = 0
                channel.write_packet(b"\x0e")
                said.append(await channel.read_packet())
                break
    finally:
        channel.close()
    await until(lambda: not len(runtime.services.registry))
    return said


@pytest.mark.parametrize("default", ["mysql_native_password", "caching_sha2_password"])
def test_both_lanes_say_the_same(server: Server, tmp_path: Path, default: str) -> None:
    cases = [
        (user, plugin, password)
        for user in NAMES
        for plugin in (NATIVE, SHA2, ED, b"unheard_of")
        for password in (b"pw", b"", b"wrong")
    ]

    async def all_of(*, fast: bool) -> tuple[list[Any], list[Any], int]:
        journal = Journal()
        proxy = {"default_auth_plugin": default}
        async with pooled(
            tmp_path,
            {"hostname": server.host, "port": server.port},
            users=USERS,
            journal=journal,
            proxy=proxy,
        ) as runtime:
            await learn(runtime)
            reception: Any = runtime._driver.reception  # type: ignore[attr-defined]
            if not fast:
                reception.greet = lambda fd, connection: False
            # The second and third time, what can be known is known.
            said = [[await dialogue(runtime, *case) for case in cases] for _ in range(3)]
            counts = runtime.services.registry.totals
            told = [(level, event, facts.get("code")) for level, event, facts in journal.entries
                    if event in ("login failed", "logged in")]  # fmt: skip
            return said, [told, counts.logins, counts.logins_failed], known(reception)

    def known(reception: Any) -> int:
        count: int = reception._greeter.remembered
        return count

    slow, fast = go(all_of(fast=False)), go(all_of(fast=True))
    for case, *both in zip(cases * 3, chain(*slow[0]), chain(*fast[0]), strict=True):
        assert both[0] == both[1], case
    assert slow[1] == fast[1]
    assert slow[2] == 0
    assert fast[2] >= 6


def test_a_session_of_either_lane_is_the_same(server: Server, tmp_path: Path) -> None:
    """Every attribute of the native session, and what its record knows when it is asked."""

    async def work() -> None:
        async with pooled(
            tmp_path, {"hostname": server.host, "port": server.port}, users=USERS
        ) as runtime:
            await learn(runtime)
            channels, seen = [], []
            for _ in range(2):
                fd = await connect(HERE, runtime.listener.port)
                channel = Channel(
                    Endpoint(runtime.services.reactor, fd), Side.BACKEND.value, 1 << 20
                )
                channels.append(channel)
                greeting = Greeting.parse(await channel.read_packet())
                answer = proof(NATIVE, b"pw", greeting.scramble)
                attributes = ((b"_pid", b"1"),)
                channel.write_packet(
                    HandshakeResponse(
                        BASE, b"clear", answer, plugin=NATIVE, attributes=attributes
                    ).build()
                )
                while (await channel.read_packet())[0] != 0:
                    pass
                connection = next(
                    c for c in runtime.services.registry if c.id == greeting.thread_id
                )
                await until(partial(has_session, connection))
                seen.append((connection, greeting.scramble))
            slow, fast = (connection for connection, _ in seen)
            assert (slow.fill, slow.admission) == (None, None)
            assert fast.fill is not None  # nobody has asked yet
            assert shown(slow.session) == shown(fast.session)
            for connection, scramble in seen:
                assert connection.login is not None
                assert connection.login.scramble == scramble
                assert connection.login.attributes == ((b"_pid", b"1"),)
                assert connection.follow.state.settings is connection.session.settings
            assert slow.login is not None
            assert fast.login is not None
            assert fast.account is not None
            assert slow.login.capabilities == fast.login.capabilities
            assert (slow.kind, slow.pooled, slow.account) == (fast.kind, True, fast.account)
            assert fast.account.sessions == 2
            for channel in channels:
                channel.write_packet(b"\x01")
                channel.close()
            await until(lambda: not len(runtime.services.registry))
            assert fast.account.sessions == 0

    go(work())


def has_session(connection: Connection) -> bool:
    return connection.session is not None


OWN = {"serial", "client", "scanner", "tag", "commands"}


def shown(session: Any) -> dict[str, Any]:
    names = [name for name in dir(session) if not name.startswith("_") and name not in OWN]
    found = {name: getattr(session, name) for name in names}
    return {name: value for name, value in found.items() if not callable(value)}


def test_a_client_still_to_log_in_is_not_waited_for(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(
            tmp_path, {"hostname": server.host, "port": server.port}, users=USERS
        ) as runtime:
            await learn(runtime)
            fd = await connect(HERE, runtime.listener.port)
            channel = Channel(Endpoint(runtime.services.reactor, fd), Side.BACKEND.value, 1 << 20)
            await channel.read_packet()
            assert len(runtime.services.registry) == 1
            async with asyncio.timeout(5):
                assert await runtime.drain(3.0)
            channel.close()

    go(work())
