# SPDX-License-Identifier: Apache-2.0
"""An embedded server for tests: in a thread with a loop of its own, or in the test's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from hproxy.admin import Server
from hproxy.admin.embedded import EmbeddedDatabase
from hproxy.dial.converse import converse
from hproxy.net.loop import ReactorLoop
from hproxy.net.resolver import connect
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Side
from hproxy.protocols.mysql import PROTOCOL
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.constants import Capability
from hproxy.telemetry.log import get_logger

ACCOUNTS = {"demo": "demo", "other": "secret", "empty": ""}
SCRIPT = (
    "CREATE TABLE city (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL UNIQUE,"
    " population INT, area DOUBLE, flag BLOB)",
    "INSERT INTO city VALUES (1, 'Köln', 1084831, 405.02, x'00ff')",
    "INSERT INTO city VALUES (2, 'Rome', NULL, NULL, NULL)",
)
READY_S = 10.0

Build = Callable[[], EmbeddedDatabase]


def writer() -> EmbeddedDatabase:
    return EmbeddedDatabase("writer", ACCOUNTS, SCRIPT)


def reader() -> EmbeddedDatabase:
    return EmbeddedDatabase("reader", ACCOUNTS, SCRIPT, read_only=True)


@dataclass
class Threaded:
    """A server that synchronous clients can talk to."""

    server: Server
    port: int


@asynccontextmanager
async def serving(build: Build = writer, **options: Any) -> AsyncIterator[Server]:
    """A server in the running loop."""
    reactor_loop = ReactorLoop()
    database = build()
    server = Server(database, reactor_loop.reactor, get_logger("embedded"), **options)
    server.open()
    try:
        yield server
    finally:
        await server.close()
        database.close()
        reactor_loop.close()


@contextmanager
def threaded(build: Build = writer, **options: Any) -> Iterator[Threaded]:
    """A server in a thread."""
    ready = threading.Event()
    running: list[tuple[Server, Callable[[], object]]] = []

    async def main() -> None:
        async with serving(build, **options) as server:
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            running.append((server, lambda: loop.call_soon_threadsafe(stop.set)))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: uvloop.run(main()), name="embedded server")
    thread.start()
    try:
        assert ready.wait(READY_S)
        server, _ = running[0]
        yield Threaded(server, server.port)
    finally:
        for _, stop in running:
            stop()
        thread.join()


async def log_in(
    server: Server,
    user: str = "demo",
    database: str = "",
    capabilities: Capability = Capability.DEPRECATE_EOF,
) -> tuple[Any, LoginResult]:
    """A channel on which a client has logged in, for commands written by hand."""
    fd = await connect("127.0.0.1", server.port)
    channel = PROTOCOL.channel(server.reactor, fd, Side.BACKEND.value, 1 << 24)
    wanted = LoginResult(
        user=user.encode(),
        database=database.encode(),
        capabilities=int(capabilities | Capability.LONG_PASSWORD),
        credential=Credential(ACCOUNTS[user].encode()),
    )
    machine = PROTOCOL.backend_login(LoginOptions(connection_id=0, attributes=False), wanted)
    login = await converse(machine, {Side.BACKEND: channel})
    return channel, login


async def ask(channel: Any, command: bytes) -> bytes:
    """The first packet of the answer to `command`."""
    channel.seq = 0
    channel.write_packet(command)
    answer: bytes = await channel.read_packet()
    return answer
