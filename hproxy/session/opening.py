# SPDX-License-Identifier: Apache-2.0
"""Conversations with pooled backend connections: open, set up, ask, ping, reset.

    open ─> connect ─> log in ─> facts of this server known? ── no ──> ask QUESTIONS, once
                                   └ replay(nothing, wanted settings) ─> init_connect ─> pooled

`perform` sends all steps at once and reads the answers in order: one round trip.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from hproxy.errors import (
    BackendError,
    BackendLost,
    BackendProtocolError,
    ConnectError,
    HProxyError,
)
from hproxy.net.resolver import connect
from hproxy.pool.pools import GroupKey
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import Side
from hproxy.session.backends import Backends
from hproxy.session.failing import note_unreachable
from hproxy.session.introduction import announce
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend

__all__ = ["Conversation", "Opening", "StepRefused"]

RESULT_LIMIT = 16 << 20
UNREADABLE = (ValueError, IndexError)
"""What comes of packets that cannot be read, and of answers of another shape than was asked for."""


class StepRefused(Exception):
    """The backend answered a command of ours with an ERR."""

    def __init__(self, step: Any, number: int, reason: str, packet: bytes) -> None:
        super().__init__(f"{step.text}: {reason}")
        self.step = step
        self.number = number
        self.reason = reason
        self.packet = packet


class Conversation:
    """Commands and answers on one backend connection that nobody else uses meanwhile."""

    def __init__(self, services: Services, channel: Any, login: LoginResult) -> None:
        self._protocol = services.protocol
        self._counters = services.counters
        self._channel = channel
        self._login = login

    async def perform(self, steps: Sequence[Any]) -> None:
        """Run `steps`. Raises StepRefused for the first that fails, BackendLost."""
        channel = self._channel
        for step in steps:
            self._counters.asked_backends[step.payload[0]] += 1
            self._counters.names_asked += step.text.startswith("SET NAMES")
            channel.seq = 0
            channel.write_packet(self._with_head(step.payload))
        refused: StepRefused | None = None
        for step in steps:
            channel.seq = 1
            packet = await channel.read_packet()
            if step.payload[:1] == b"\x03":
                result = self._protocol.multiplexing.text_result(self._login)
                while not result.take(packet):
                    packet = await channel.read_packet()
            number, reason = self._protocol.read_error(packet)
            if number and refused is None:
                refused = StepRefused(step, number, reason, packet)
        if refused is not None:
            raise refused

    def _with_head(self, payload: bytes) -> bytes:
        framed: bytes = self._protocol.multiplexing.with_attributes(payload, self._login)
        return framed

    async def prepare(self, payload: bytes) -> tuple[list[bytes], int]:
        """COM_STMT_PREPARE: the packets of its answer and the id in it. Raises StepRefused."""
        channel = self._channel
        self._counters.asked_backends[payload[0]] += 1
        channel.seq = 0
        channel.write_packet(payload)
        answer = self._protocol.multiplexing.PrepareAnswer(self._login)
        while not answer.take(packet := await channel.read_packet()):
            pass
        number, reason = self._protocol.read_error(packet)
        if number:
            step = self._protocol.multiplexing.Step(payload, "COM_STMT_PREPARE")
            raise StepRefused(step, number, reason, packet)
        return answer.packets, answer.number

    async def packets(self, sql: bytes) -> list[bytes]:
        """The packets of the answer to one statement, as they come. Raises BackendLost."""
        channel = self._channel
        channel.seq = 0
        channel.write_packet(self._with_head(b"\x03" + sql))
        result = self._protocol.multiplexing.text_result(self._login)
        found: list[bytes] = []
        while True:
            packet = await channel.read_packet()
            found.append(packet)
            if result.take(packet):
                return found

    async def discard(self, sql: bytes) -> int:
        """Run one statement; the number of its error, 0 without. Raises BackendLost."""
        channel = self._channel
        channel.seq = 0
        channel.write_packet(self._with_head(b"\x03" + sql))
        result = self._protocol.multiplexing.text_result(self._login, False)
        while not result.take(await channel.read_packet()):
            pass
        return result.error.number if result.error is not None else 0

    async def ask(self, sql: bytes) -> list[tuple[bytes | None, ...]]:
        """The rows of one statement. Raises BackendError, BackendLost."""
        channel = self._channel
        channel.seq = 0
        channel.write_packet(self._with_head(b"\x03" + sql))
        result = self._protocol.multiplexing.text_result(self._login)
        while not result.take(await channel.read_packet()):
            pass
        if result.error is not None:
            raise BackendError(
                result.error.message.decode("utf-8", "replace"), number=result.error.number
            )
        rows: list[tuple[bytes | None, ...]] = result.rows
        return rows


class Opening:
    """Opens and keeps up pooled connections; what `Pools` asks for."""

    def __init__(self, services: Services, backends: Backends) -> None:
        self._services = services
        self._backends = backends
        self._asking = Connection(0, "", services.log)
        self.facts: dict[Backend, Any] = {}
        """What was learned of each server."""

    def forget(self, backend: Backend) -> None:
        """It is gone; whoever has its address next may be another server."""
        self.facts.pop(backend, None)

    async def open(self, key: GroupKey, bucket: Any, settings: Any) -> Any:
        """A connection for `key`, set to `settings`. Raises HProxyError, Refusal, StepRefused."""
        services = self._services
        protocol, options = services.protocol, services.settings
        backend: Backend = bucket.server.backend
        channel: Any = None
        try:
            async with asyncio.timeout(options.connect_timeout):
                fd = await connect(
                    backend.host,
                    backend.port,
                    path=backend.path,
                    keepalive_sec=options.keepalive_sec,
                )
                try:
                    announce(services, fd, key.hostgroup, self._asking)
                except BaseException:
                    os.close(fd)
                    raise
                channel = protocol.channel(services.reactor, fd, Side.BACKEND.value, RESULT_LIMIT)
                wanted = LoginResult(
                    user=key.account.username,
                    capabilities=protocol.multiplexing.capabilities_of(
                        key.kind, services.profiles.get(backend)
                    ),
                    charset=protocol.multiplexing.CHARSET_UTF8MB4,
                    credential=key.account.credential,
                )
                login = await self._backends.log_in(self._asking, backend, channel, wanted)
                talk = Conversation(services, channel, login)
                facts = await self._learn(talk, backend, login)
                carried = self.carried(key.hostgroup, settings)
                steps = protocol.multiplexing.replay(None, carried, facts.tracking)
                # A session's own settings go over those all connections begin with.
                init = self._init(key.hostgroup)
                await talk.perform((*init, *steps))
                if not channel.clean:
                    raise BackendLost("closed after login")
        except BaseException as error:
            if channel is not None:
                channel.close()
            if isinstance(error, UNREADABLE):
                raise self._failure(backend, BackendProtocolError(str(error))) from error
            if isinstance(error, ConnectError | BackendError | TimeoutError | OSError):
                raise self._failure(backend, error) from error
            raise
        limit = services.sharing.pools.settings.max_stmts_per_connection
        return protocol.multiplexing.connection(channel, bucket, login, settings, limit)

    def carried(self, hostgroup: int, settings: Any) -> Any:
        """What of `settings` is brought to connections of the hostgroup.

        They count as set to all of it, so that what is left out is never a reason to align."""
        ignored = self._services.sharing.pools.attributes[hostgroup].ignored_variables
        return settings.without(ignored) if ignored else settings

    def _init(self, hostgroup: int) -> tuple[Any, ...]:
        """The step that is init_connect, where there is one."""
        multiplexing = self._services.protocol.multiplexing
        sql = self._services.sharing.pools.attributes[hostgroup].init_connect
        return (multiplexing.Step(b"\x03" + sql.encode(), sql),) if sql else ()

    def with_init(self, connection: Any, steps: Sequence[Any]) -> list[Any]:
        """`steps` with init_connect wherever they make the connection a new one."""
        init = self._init(connection.bucket.group.key.hostgroup)
        reset = self._services.protocol.multiplexing.RESET
        found: list[Any] = []
        for step in steps:
            found.append(step)
            if step.payload == reset:
                found.extend(init)
        return found

    def _failure(self, backend: Backend, error: BaseException) -> HProxyError:
        failure: HProxyError
        if isinstance(error, HProxyError):
            failure = error
        elif isinstance(error, TimeoutError):
            seconds = self._services.settings.connect_timeout
            failure = ConnectError(f"no answer within {seconds:g} s", code="timeout")
        else:
            failure = ConnectError(str(error), code="local")
        self._services.registry.totals.backend_connect_errors += 1
        note_unreachable(self._services, backend, None, failure)
        if failure.full_code != "pool.connect.local":
            self._services.topology.failed(backend, str(failure), monotonic())
        self._services.log.warning(
            "backend not reachable",
            backend=str(backend),
            code=failure.full_code,
            reason=str(failure),
        )
        return failure

    async def _learn(self, talk: Conversation, backend: Backend, login: LoginResult) -> Any:
        """Facts of this server, asked for once."""
        if backend in self.facts:
            return self.facts[backend]
        protocol = self._services.protocol
        answers: list[Any] = []
        for question in protocol.multiplexing.Facts.QUESTIONS:
            try:
                answers.append(await talk.ask(question))
            except BackendLost:
                raise
            except BackendError:
                answers.append(None)
        wanted = self._services.sharing.pools.settings.session_tracking
        tracked = wanted and protocol.multiplexing.tracks(login)
        facts = protocol.multiplexing.Facts.learn(answers, tracked)
        self.facts[backend] = facts
        return facts

    @asynccontextmanager
    async def talk(self, connection: Any) -> AsyncIterator[Conversation]:
        """A conversation on a pooled connection; its socket goes back to who has it."""
        services = self._services
        channel = services.protocol.multiplexing.talk(connection, RESULT_LIMIT)
        try:
            yield Conversation(services, channel, connection.login)
        except UNREADABLE as error:
            raise BackendProtocolError(str(error)) from error
        finally:
            clean = channel.clean
            channel.detach()
            if not clean:  # an end nobody has read is told to nobody else
                connection.endpoint.close()
            connection.touch()
            connection.own()

    async def ping(self, connection: Any) -> bool:
        """Whether it answers a COM_PING in time."""
        backend = connection.bucket.server.backend
        begun = monotonic()
        try:
            async with (
                asyncio.timeout(self._services.sharing.pools.settings.ping_timeout),
                self.talk(connection) as talk,
            ):
                await talk.perform([self._services.protocol.multiplexing.PING])
        except (StepRefused, HProxyError, TimeoutError):
            return False
        where = (backend.path, 0) if backend.path else (backend.host, backend.port)
        took = round((monotonic() - begun) * 1_000_000)
        self._services.sources.latencies[where] = took
        return True

    async def reset(self, connection: Any) -> bool:
        """COM_RESET_CONNECTION, and what a fresh connection is set to."""
        services = self._services
        backend = connection.bucket.server.backend
        settings = connection.base
        if connection.settings.schema:  # a reset does not leave it
            settings = settings.with_schema(connection.settings.schema)
        # Nor does it take back COM_SET_OPTION.
        settings = settings.with_multi_statements(connection.settings.multi_statements)
        carried = self.carried(connection.bucket.group.key.hostgroup, settings)
        steps = services.protocol.multiplexing.reset_steps(carried, self.facts[backend].tracking)
        try:
            async with (
                asyncio.timeout(services.settings.connect_timeout),
                self.talk(connection) as talk,
            ):
                await talk.perform(self.with_init(connection, steps))
        except (StepRefused, HProxyError, TimeoutError) as error:
            services.log.info("reset failed", backend=str(backend), reason=str(error))
            return False
        services.counters.resets += 1
        connection.settings = settings
        connection.insert_owner = connection.insert_id = 0
        connection.statements.clear()
        return True
