# SPDX-License-Identifier: Apache-2.0
"""The command phase when we are the server: one client's commands, answered in turn.

    command ── COMMANDS table ──> method ── Session (the database) ──> payloads ──> channel

An AdminError becomes the ERR its number says and the dialogue goes on; a packet that cannot be
read is answered with 1835 and goes on too: its frame was whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

from hproxy.admin.lexer import Statement, syntax_error
from hproxy.admin.model import Answer, Client, Column, Done, Rows, Session
from hproxy.admin.prepared import PreparedStatements
from hproxy.errors import AdminError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql import results
from hproxy.protocols.mysql.constants import Capability, Command, ServerStatus
from hproxy.protocols.mysql.parameters import parse_query
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.replies import EOF_HEADER, OkPacket
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = ["Dialogue"]

# Payloads written at once, before waiting for the client to take them.
BATCH = 512
LOOK_SEC = 0.5
"""How often it is looked whether the client of a statement that runs is still there."""
NO_STATUS = ServerStatus(0)
NOTHING = Done()


class Dialogue:
    """One logged-in client; `own` answers statements about the server itself, or None."""

    def __init__(
        self,
        channel: Any,
        login: LoginResult,
        client: Client,
        session: Session,
        *,
        own: Callable[[Dialogue, Statement], Answer | None],
        change: Callable[[Dialogue, bytes], Awaitable[None]],
        statistics: Callable[[], str],
    ) -> None:
        self.channel = channel
        self.login = login
        self.client = client
        self.session = session
        self.commands = 0
        self.running = ""
        self.prepared = PreparedStatements()
        self._own = own
        self._change = change
        self._statistics = statistics
        self.adopt(login)

    def adopt(self, login: LoginResult) -> None:
        """A login, or a change of user, has succeeded."""
        self.login = login
        self.capabilities, _ = split(login.capabilities)

    async def run(self, idle_sec: float) -> None:
        """Answer until the client leaves or is silent for too long. Raises ClientError."""
        channel = self.channel
        while True:
            channel.seq = 0
            try:
                async with asyncio.timeout(idle_sec):
                    payload = await channel.read_packet()
            except TimeoutError:
                return
            self.commands += 1
            kind = payload[0] if payload else -1
            if kind == Command.QUIT:
                return
            looking = asyncio.get_running_loop().create_task(self._look())
            try:
                answer = self.COMMANDS.get(kind, Dialogue._unknown)
                await answer(self, payload)
            except AdminError as error:
                self._refuse(error)
            except MalformedPacket as error:
                self._refuse(AdminError(f"Malformed communication packet: {error}", number=1835))
            finally:
                self.running = ""
                looking.cancel()
            await channel.drain()

    async def _look(self) -> None:
        """Nobody is left to hear the answer of a statement that runs long: end it."""
        while True:
            await asyncio.sleep(LOOK_SEC)
            if self.channel.gone:
                self.session.interrupt()

    # -- what goes out -------------------------------------------------------------

    def _refuse(self, error: AdminError) -> None:
        number = error.facts.get("number")
        state = error.facts.get("sqlstate")
        self.channel.write_packet(
            results.err(
                number if isinstance(number, int) else 1105,
                error.reason,
                state if isinstance(state, bytes) else None,
            )
        )

    def _ok(self, done: Done = NOTHING, more: ServerStatus = NO_STATUS) -> bytes:
        return results.ok(
            done.affected_rows,
            done.insert_id,
            info=done.info,
            status=self.session.status | more,
            warnings=done.warnings,
            capabilities=self.capabilities,
        )

    def _end(self) -> bytes:
        """What is an EOF packet to some clients and an OK with its header to others."""
        if Capability.DEPRECATE_EOF in self.capabilities:
            return OkPacket(status=self.session.status, header=EOF_HEADER).build(self.capabilities)
        return results.eof(self.session.status)

    async def _send(self, payloads: Sequence[bytes]) -> None:
        for start in range(0, len(payloads), BATCH):
            self.channel.write_packets(list(payloads[start : start + BATCH]))
            await self.channel.drain()

    async def _answer(self, answer: Answer, *, binary: bool, more: ServerStatus) -> None:
        if isinstance(answer, Done):
            self.channel.write_packet(self._ok(answer, more))
            return
        build = results.binary_resultset if binary else results.text_resultset
        status = self.session.status | more
        arguments = (answer.columns, answer.rows, self.capabilities, status, answer.warnings)
        if len(answer.rows) <= BATCH:
            await self._send(build(*arguments))
            return
        # In a thread: the loop may have others to serve than this client.
        await self._send(await asyncio.get_running_loop().run_in_executor(None, build, *arguments))

    # -- commands ------------------------------------------------------------------

    async def _query(self, payload: bytes) -> None:
        text = parse_query(payload, self.capabilities).sql.decode("utf-8", "surrogateescape")
        self.running = text
        statements = await self.session.parse(text)
        if not statements:
            raise AdminError("Query was empty", number=1065, sqlstate=b"42000")
        if len(statements) > 1 and Capability.MULTI_STATEMENTS not in self.capabilities:
            raise syntax_error(text, statements[1].tokens[0].start)
        for i, statement in enumerate(statements):
            if statement.parameters:
                raise syntax_error(text, text.index("?"))
            last = i == len(statements) - 1
            more = NO_STATUS if last else ServerStatus.MORE_RESULTS_EXISTS
            await self._answer(await self._run(statement), binary=False, more=more)

    async def _run(self, statement: Statement) -> Answer:
        own = self._own(self, statement)
        return await self.session.query(statement) if own is None else own

    async def _ping(self, _: bytes) -> None:
        self.channel.write_packet(self._ok())

    async def _init_db(self, payload: bytes) -> None:
        await self.session.use(payload[1:].decode("utf-8", "replace"))
        self.channel.write_packet(self._ok())

    async def _field_list(self, payload: bytes) -> None:
        table, _, pattern = payload[1:].decode("utf-8", "replace").partition("\0")
        columns: Sequence[Column] = await self.session.columns(table)
        wanted = pattern.rstrip("\0").replace("%", "")
        # Each definition is followed by the column's default, here always NULL.
        found = [c.build() + b"\xfb" for c in columns if wanted in c.name]
        await self._send([*found, self._end()])

    async def _statistics_text(self, _: bytes) -> None:
        self.channel.write_packet(self._statistics().encode())

    async def _prepare(self, payload: bytes) -> None:
        text = payload[1:].decode("utf-8", "surrogateescape")
        statements = await self.session.parse(text)
        if not statements:
            raise AdminError("Query was empty", number=1065, sqlstate=b"42000")
        if len(statements) > 1:
            raise syntax_error(text, statements[1].tokens[0].start)
        columns = await self.session.describe(statements[0])
        prepared = self.prepared.add(statements[0], columns)
        await self._send(
            results.prepare_ok(
                prepared.id, prepared.parameter_count, prepared.columns, self.capabilities
            )
        )

    async def _execute(self, payload: bytes) -> None:
        prepared, values = self.prepared.execution(payload, self.capabilities)
        self.running = prepared.statement.source
        own = self._own(self, prepared.statement)
        answer = await self.session.query(prepared.statement, values) if own is None else own
        if isinstance(answer, Rows) and not answer.columns:
            answer = Done()
        await self._answer(answer, binary=True, more=NO_STATUS)

    async def _long_data(self, payload: bytes) -> None:
        self.prepared.append(payload)

    async def _close_statement(self, payload: bytes) -> None:
        self.prepared.close(int.from_bytes(payload[1:5], "little"))

    async def _reset_statement(self, payload: bytes) -> None:
        self.prepared.reset(int.from_bytes(payload[1:5], "little"))
        self.channel.write_packet(self._ok())

    async def _set_option(self, payload: bytes) -> None:
        option = int.from_bytes(payload[1:3], "little")
        if len(payload) != 3 or option > 1:
            raise AdminError("Unknown command", number=1047)
        if option:
            self.capabilities &= ~Capability.MULTI_STATEMENTS
        else:
            self.capabilities |= Capability.MULTI_STATEMENTS
        self.channel.write_packet(self._end())

    async def _reset(self, _: bytes) -> None:
        self.prepared.clear()
        await self.session.reset(self.client)
        self.channel.write_packet(self._ok())

    async def _change_user(self, payload: bytes) -> None:
        await self._change(self, payload)
        self.prepared.clear()
        self.channel.write_packet(self._ok())

    async def _unknown(self, _: bytes) -> None:
        raise AdminError("Unknown command", number=1047)

    COMMANDS: ClassVar[dict[int, Callable[[Dialogue, bytes], Awaitable[None]]]] = {
        Command.QUERY: _query,
        Command.PING: _ping,
        Command.INIT_DB: _init_db,
        Command.FIELD_LIST: _field_list,
        Command.STATISTICS: _statistics_text,
        Command.STMT_PREPARE: _prepare,
        Command.STMT_EXECUTE: _execute,
        Command.STMT_SEND_LONG_DATA: _long_data,
        Command.STMT_CLOSE: _close_statement,
        Command.STMT_RESET: _reset_statement,
        Command.SET_OPTION: _set_option,
        Command.RESET_CONNECTION: _reset,
        Command.CHANGE_USER: _change_user,
    }
