# SPDX-License-Identifier: Apache-2.0
"""One client's session on the embedded database: its engine, in threads and within limits.

A statement runs in a thread with a time budget, so that a heavy one holds up nobody but its
client. Waiting for another session's lock is done here and not in the thread: enough waiters
would keep the holder's COMMIT from getting one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from hproxy.admin import lexer
from hproxy.admin.embedded.engine import Engine
from hproxy.admin.embedded.failure import interrupted, is_busy, refusal
from hproxy.admin.lexer import Statement
from hproxy.admin.model import Answer, Client, Column, Value
from hproxy.protocols.mysql.constants import ServerStatus

__all__ = ["EmbeddedSession"]

RETRY_SEC = 0.002
PRESS_SEC = 0.05

FAILURES = (sqlite3.Error, sqlite3.Warning, OverflowError, ValueError)
Result = TypeVar("Result")


class EmbeddedSession:
    """Implements `hproxy.admin.model.Session`."""

    def __init__(self, engine: Engine, executor: Executor, budget_sec: float) -> None:
        self._engine = engine
        self._executor = executor
        self._budget_sec = budget_sec
        self._job: asyncio.Future[Any] | None = None

    @property
    def status(self) -> ServerStatus:
        """IN_TRANS and AUTOCOMMIT."""
        engine = self._engine
        flags = ServerStatus.AUTOCOMMIT if engine.autocommit else ServerStatus(0)
        return flags | ServerStatus.IN_TRANS if engine.connection.in_transaction else flags

    @property
    def database(self) -> str:
        """The default schema."""
        return self._engine.database

    async def parse(self, text: str) -> list[Statement]:
        """The statements of `text`. Raises AdminError (1064)."""
        return lexer.parse(text)

    async def query(self, statement: Statement, values: Sequence[Value] = ()) -> Answer:
        """Run one statement. Raises AdminError."""
        return await self._in_thread(self._engine.run, statement, values)

    async def describe(self, statement: Statement) -> Sequence[Column]:
        """The columns `statement` would give. Raises AdminError."""
        return await self._in_thread(self._engine.describe, statement)

    async def columns(self, table: str) -> Sequence[Column]:
        """The columns of a table. Raises AdminError."""
        return await self._in_thread(self._engine.columns, table)

    async def use(self, database: str) -> None:
        """Choose the default schema. Raises AdminError (1049)."""
        self._engine.use(database)

    async def reset(self, client: Client) -> None:
        """As a new session of `client`."""
        await self._in_thread(self._engine.reset)
        self._engine.client = client

    def interrupt(self) -> None:
        """End what runs now."""
        if self._job is not None:
            self._press(self._job)

    def _press(self, job: asyncio.Future[Any]) -> None:
        if job.done():
            return
        self._engine.stop.set()
        self._engine.connection.interrupt()
        # Between two statements nothing listens to an interrupt: press until it has ended.
        asyncio.get_running_loop().call_later(PRESS_SEC, self._press, job)

    async def close(self) -> None:
        """Roll back and close."""
        self.interrupt()
        if self._job is not None:
            await asyncio.wait([self._job])
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._engine.connection.close)

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._engine.lock_wait_sec
        stop = self._engine.stop
        stop.clear()
        while True:
            job = loop.run_in_executor(self._executor, self._bounded, work, *arguments)
            self._job = job
            budget = loop.call_later(self._budget_sec, self.interrupt)
            try:
                return await asyncio.shield(job)
            except FAILURES as error:
                if not is_busy(error) or stop.is_set() or loop.time() > give_up:
                    raise refusal(error, self._engine.schema) from error
            finally:
                budget.cancel()
            await asyncio.sleep(RETRY_SEC)

    def _bounded(self, work: Callable[..., Result], *arguments: Any) -> Result:
        if self._engine.stop.is_set():  # while it waited for a thread
            raise interrupted()
        return work(*arguments)
