# SPDX-License-Identifier: Apache-2.0
"""A worker inside the test: its configuration, its journal, and callers on the same loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy.config.schema import Config
from hproxy.dial.converse import Refusal, converse
from hproxy.net.resolver import connect
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Side
from hproxy.protocols.mysql.auth import Credential
from hproxy.protocols.mysql.backend import BackendLogin
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.refusal import read_error
from hproxy.runtime import Runtime

__all__ = ["Caller", "Journal", "call", "configuration", "refused", "working"]

HERE = "127.0.0.1"
ASKED = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.TRANSACTIONS
    | Capability.MULTI_RESULTS
)


class Journal:
    """A log that remembers: (level, event, facts)."""

    def __init__(self, entries: list[tuple[str, str, dict[str, Any]]] | None = None, **bound: Any):
        self.entries = [] if entries is None else entries
        self._bound = bound

    def bind(self, **facts: Any) -> Journal:
        return Journal(self.entries, **self._bound | facts)

    def enabled(self, level: str) -> bool:
        return True

    def _say(self, level: str, event: str, facts: dict[str, Any]) -> None:
        self.entries.append((level, event, self._bound | facts))

    def debug(self, event: str, **facts: Any) -> None:
        self._say("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._say("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._say("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._say("error", event, facts)

    def told(self, event: str) -> list[dict[str, Any]]:
        """The facts of every line about `event`."""
        return [facts for _, said, facts in self.entries if said == event]

    @property
    def loud(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Warnings and errors."""
        return [entry for entry in self.entries if entry[0] in ("warning", "error")]


def configuration(folder: Path, *backends: str, **sections: Any) -> Config:
    """Relay to `backends` from a free port; `sections` as in the file, one dict each.

    Sessions keep one backend connection each unless told otherwise: scripted backends can tell
    whose they are.
    """
    sections["server"] = {
        "listen_addr": f"{HERE}:0",
        "data_dir": folder,
        "max_connections": 50,
    } | sections.get("server", {})
    proxy = {"mode": "mysql", "session_mode": "session"} | (
        {"backends": backends} if backends else {}
    )
    sections["proxy"] = proxy | sections.get("proxy", {})
    sections["http"] = {"address": ""} | sections.get("http", {})
    return Config(**sections)


@asynccontextmanager
async def working(
    config: Config, journal: Journal | None = None, **parts: Any
) -> AsyncIterator[Runtime]:
    """A worker that serves, and has nothing left when it is stopped; `parts` of its service."""
    log = journal or Journal()
    runtime = Runtime(config, log, **parts)
    try:
        runtime.start()
        yield runtime
    finally:
        await runtime.stop()
    services = runtime.services
    assert len(services.registry) == 0
    assert len(services.tasks) == 0
    assert not any(services.topology.connections.values())
    assert log.told("internal error") == []


class Caller:
    """A client of ours, logged in."""

    def __init__(self, channel: Channel, login: LoginResult) -> None:
        self.channel = channel
        self.login = login

    async def ask(self, payload: bytes) -> bytes:
        """The first packet of the answer to a command."""
        self.channel.seq = 0
        self.channel.write_packet(payload)
        return await self.channel.read_packet()

    async def query(self, sql: str) -> list[bytes]:
        """The rows as they come. Raises OSError for an ERR."""
        first = await self.ask(b"\x03" + sql.encode())
        number, text = read_error(first)
        if number:
            raise OSError(number, text)
        if first[0] == 0:
            return []
        rows: list[bytes] = []
        ends = 0
        while ends < 2:
            packet = await self.channel.read_packet()
            if packet[0] == 0xFE and len(packet) < 9:
                ends += 1
            elif ends:
                rows.append(packet)
        return rows

    async def ending(self) -> tuple[int, str]:
        """The ERR that comes, or (0, why nothing does)."""
        try:
            return read_error(await self.channel.read_packet())
        except Exception as error:
            return 0, str(error)

    def close(self) -> None:
        self.channel.close()


async def call(
    runtime: Runtime,
    user: str = "ann",
    password: str = "pw",
    *,
    tls: bool = False,
    database: str = "",
    more: int = 0,
) -> Caller:
    """Log in through `runtime`, with `more` capabilities than usual. Raises Refusal."""
    reactor = runtime.services.reactor
    fd = await connect(HERE, runtime.listener.port)
    channel = Channel(Endpoint(reactor, fd), Side.BACKEND.value, 1 << 20)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def secure(_: Side, secured: Any) -> None:
        await secured.start_tls(context, server_side=False)

    wanted = LoginResult(
        user=user.encode(),
        database=database.encode(),
        capabilities=int(ASKED) | more,
        credential=Credential(password.encode()),
    )
    given = LoginOptions(0, backend_tls="required" if tls else "off", attributes=False)
    machine = BackendLogin(given, wanted)
    try:
        login = await converse(machine, {Side.BACKEND: channel}, secure=secure)
    except BaseException:
        channel.close()
        raise
    return Caller(channel, login)


async def refused(runtime: Runtime, *args: Any, **kwargs: Any) -> tuple[int, str]:
    """How a login is refused: number and text."""
    try:
        caller = await call(runtime, *args, **kwargs)
    except Refusal as refusal:
        return read_error(refusal.packet or b"")
    caller.close()
    raise AssertionError("the login was accepted")


async def all_of(work: Sequence[Any]) -> list[Any]:
    """Everything at once."""
    return list(await asyncio.gather(*work))
