# SPDX-License-Identifier: Apache-2.0
"""A MySQL server of our own: listens, logs clients in, and lets them talk to a `Database`.

    Listener ── fd ──> ClientLogin (as in table mode) ──> Dialogue ── statements ──> Database

It answers about itself: KILL and SHOW PROCESSLIST. Everything else is the database's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

from hproxy.admin.dialogue import Dialogue
from hproxy.admin.lexer import Statement
from hproxy.admin.model import Answer, Client, Database, Done, Rows, Session
from hproxy.config.address import Address
from hproxy.dial.converse import Refusal, converse
from hproxy.errors import AdminError, AuthError, ClientError, HProxyError
from hproxy.net.listener import Listener
from hproxy.net.tasks import TaskSet
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Side
from hproxy.protocols.mysql import PROTOCOL, results
from hproxy.protocols.mysql.commands import parse_kill
from hproxy.protocols.mysql.profile import split
from hproxy.runtime.listeners import Listeners

__all__ = ["Counters", "Server"]

MAX_LOGIN_PACKET = 65536


@dataclass(slots=True)
class Counters:
    """What has happened since the start; open connections are added when they end."""

    connections: int = 0
    refused: int = 0
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class Server:
    """Serves `database` over the reactor given; `open` and `close` it inside the loop."""

    database: Database
    reactor: Any
    log: Any
    tls: Any = None
    rsa_key: Any = None
    max_connections: int = 1000
    max_packet: int = 64 << 20
    idle_sec: float = 28800.0
    login_sec: float = 10.0
    guard: Any = None
    """Limits guessing: `with guard.attempt(host) as attempt`, and accounts are looked for with
    `attempt.over(find)`, which refuses by an error."""
    counters: Counters = field(default_factory=Counters)
    _dialogues: dict[int, Dialogue] = field(default_factory=dict)
    _last_id: int = 0
    _open: int = 0
    _began: float = field(default_factory=monotonic)
    listeners: Listeners = field(init=False)
    _tasks: TaskSet = field(init=False)

    def __post_init__(self) -> None:
        self.listeners = Listeners(self._accepted, option="admin.address")
        self._tasks = TaskSet(self._failed)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.listeners.first.port

    @property
    def address(self) -> str:
        """Host and port."""
        return self.listeners.first.address

    def open(self, host: str = "127.0.0.1", port: int = 0, path: str | None = None) -> None:
        """Listen there and nowhere else. Raises ConfigError."""
        self.listeners.become([Address(host, port, path)])

    async def close(self) -> None:
        """Stop listening and end every connection."""
        self.listeners.close()
        for dialogue in list(self._dialogues.values()):
            dialogue.session.interrupt()
        await self._tasks.cancel_all()

    # -- a client's life -------------------------------------------------------------

    def _accepted(self, _: Listener, fd: int, peer: str) -> None:
        channel = PROTOCOL.channel(self.reactor, fd, Side.CLIENT.value, MAX_LOGIN_PACKET)
        if self._open >= self.max_connections:
            error = ClientError(code="limit", limit=self.max_connections)
            channel.write_packet(PROTOCOL.error_packet(error))
            channel.finish()
            self.counters.refused += 1
            return
        self._open += 1
        self._last_id += 1
        self._tasks.spawn(self._serve(channel, self._last_id, peer), f"client {self._last_id}")

    def _failed(self, name: str, error: BaseException) -> None:
        self.log.error("internal error", code="internal", task=name, exc_info=error)

    async def _serve(self, channel: Any, number: int, peer: str) -> None:
        log = self.log.bind(conn=number, client=peer)
        try:
            await self._converse(channel, number, peer)
        except Refusal as refusal:
            self._refuse(channel, log, refusal.error, refusal.packet)
        except HProxyError as error:
            self._refuse(channel, log, error, None)
        except TimeoutError:
            self._refuse(channel, log, ClientError("login took too long", code="timeout"), None)
        finally:
            self._open -= 1
            self.counters.bytes_in += channel.endpoint.bytes_in
            self.counters.bytes_out += channel.endpoint.bytes_out
            channel.finish()

    def _refuse(self, channel: Any, log: Any, error: HProxyError, packet: bytes | None) -> None:
        if error.full_code == "client.gone":
            return
        self.counters.refused += isinstance(error, AuthError)
        log.info("connection ended", code=error.full_code, reason=str(error))
        if packet is None and isinstance(error, AdminError):
            packet = _error(error)
        channel.write_packet(packet or PROTOCOL.error_packet(error))

    async def _converse(self, channel: Any, number: int, peer: str) -> None:
        host, _, port = peer.rpartition(":")
        host = host.strip("[]") or "localhost"
        options = LoginOptions(
            connection_id=number,
            client_host=host,
            client_tls="off" if self.tls is None else "preferred",
            client_secure=peer == "unix",
            rsa_key=self.rsa_key,
        )
        async with asyncio.timeout(self.login_sec):
            machine = PROTOCOL.client_login(options, self.database.profile)
            login = await self._log_in(machine, channel, host)
        user = login.user.decode("utf-8", "replace")
        client = Client(number, user, host, int(port) if port.isdigit() else 0)
        session = await self.database.open(client)
        try:
            await self._start(channel, login, client, session, options)
        finally:
            self._dialogues.pop(number, None)
            await session.close()

    async def _start(
        self, channel: Any, login: LoginResult, client: Client, session: Session, options: Any
    ) -> None:
        if login.database:
            await session.use(login.database.decode("utf-8", "replace"))
        dialogue = Dialogue(
            channel,
            login,
            client,
            session,
            own=self._own,
            change=lambda dialogue, payload: self._change(dialogue, options, payload),
            statistics=self._statistics,
        )
        self._dialogues[client.id] = dialogue
        self.counters.connections += 1
        agreed, _ = split(login.capabilities)
        channel.write_packet(results.ok(status=session.status, capabilities=agreed))
        channel.limit = self.max_packet
        try:
            await dialogue.run(self.idle_sec)
        finally:
            self.counters.commands += dialogue.commands

    async def _log_in(self, machine: Any, channel: Any, host: str) -> LoginResult:
        async def secure(_: Side, peer: Any) -> None:
            await peer.start_tls(self.tls, server_side=True)

        channels, find = {Side.CLIENT: channel}, self.database.find
        if self.guard is None:
            return await converse(machine, channels, find=find, secure=secure)
        with self.guard.attempt(host) as attempt:
            return await converse(machine, channels, find=attempt.over(find), secure=secure)

    async def _change(self, dialogue: Dialogue, options: LoginOptions, payload: bytes) -> None:
        """COM_CHANGE_USER. Raises Refusal, which ends the connection, as on a server."""
        channel = dialogue.channel
        options = replace(options, client_secure=options.client_secure or channel.endpoint.secured)
        async with asyncio.timeout(self.login_sec):
            machine = PROTOCOL.client_change(options, dialogue.login, payload)
            login = await self._log_in(machine, channel, options.client_host)
        user = login.user.decode("utf-8", "replace")
        dialogue.client = replace(dialogue.client, user=user)
        await dialogue.session.reset(dialogue.client)
        dialogue.adopt(login)
        if login.database:
            await dialogue.session.use(login.database.decode("utf-8", "replace"))

    # -- about the server itself -------------------------------------------------------

    def _own(self, dialogue: Dialogue, statement: Statement) -> Answer | None:
        if statement.starts("KILL"):
            return self._kill(dialogue, statement.source)
        if statement.starts("SHOW", "PROCESSLIST") or statement.starts(
            "SHOW", "FULL", "PROCESSLIST"
        ):
            return self._processes()
        return None

    def _kill(self, asking: Dialogue, text: str) -> Answer | None:
        kill = parse_kill(text.encode("utf-8", "replace"))
        if kill is None:
            return None
        target = self._dialogues.get(kill.id)
        if target is None:
            raise AdminError(f"Unknown thread id: {kill.id}", number=1094)
        if target.client.user != asking.client.user:
            raise AdminError(f"You are not owner of thread {kill.id}", number=1095)
        target.session.interrupt()
        if not kill.query_only and target is not asking:
            target.channel.finish()
        if target is asking:
            raise AdminError("Query execution was interrupted", number=1317)
        return Done()

    def _processes(self) -> Rows:
        names = ("User", "Host", "db", "Command", "Info")
        columns = [results.column("Id", int), *(results.column(name) for name in names)]
        return Rows(
            columns,
            [
                (
                    d.client.id,
                    d.client.user,
                    d.client.host,
                    d.session.database or None,
                    "Query" if d.running else "Sleep",
                    d.running or None,
                )
                for d in self._dialogues.values()
            ],
        )

    def _statistics(self) -> str:
        running = sum(d.commands for d in self._dialogues.values())
        uptime = int(monotonic() - self._began)
        questions = self.counters.commands + running
        return f"Uptime: {uptime}  Threads: {self._open}  Questions: {questions}"


def _error(error: AdminError) -> bytes:
    number, state = error.facts.get("number"), error.facts.get("sqlstate")
    return results.err(
        number if isinstance(number, int) else 1105,
        error.reason,
        state if isinstance(state, bytes) else None,
    )
