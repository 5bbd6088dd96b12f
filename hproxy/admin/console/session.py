# SPDX-License-Identifier: Apache-2.0
"""One client's session on the console: a command, or SQL in a thread and within limits.

    text ── find(collapsed) ──> a command's own function
         └─ nothing found ────> SQLite, in a thread: time budget, result limit, authorizer

Answers are text in every column, as ProxySQL's are. BEGIN, COMMIT and the like do nothing there
and here: each statement stands for itself, so none holds a lock while its client thinks.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import apsw

from hproxy.admin.console import sql
from hproxy.admin.console.account import Role
from hproxy.admin.console.authorizer import Authorizer
from hproxy.admin.console.commands import find
from hproxy.admin.console.failure import expired, interrupted, of_config, of_sqlite, refuse
from hproxy.admin.lexer import Kind, Statement, Token
from hproxy.admin.model import Answer, Client, Column, Done, Rows, Value
from hproxy.errors import AdminError, ConfigError, HProxyError
from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.database import ConsoleDatabase

__all__ = ["ConsoleSession", "Warned"]

MAX_STATEMENT = 16 << 20
SHORT = 32_768  # taken apart at once; longer ones in a thread, the loop has others to serve
TOLD_CHARACTERS = 4096
MAX_RESULT_BYTES = 64 << 20
"""As held for a client that may be slow to read it; the packets made of it are as much again."""
ROW_BYTES = 64  # what a row costs beside its texts, roughly
CELL_BYTES = 40
PRESS_SEC = 0.05
MAX_WARNINGS = 1000
CHANGES = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"})
STATUS = ServerStatus.AUTOCOMMIT | ServerStatus.NO_BACKSLASH_ESCAPES
PARAMETER = Token(Kind.PARAMETER, "?", "?", 0, 0)
Result = TypeVar("Result")


class Warned(NamedTuple):
    """A row of SHOW WARNINGS."""

    level: str
    code: int
    message: str


class Text(Statement):
    """A statement that nobody has taken apart; its tokens only count the "?"."""

    __slots__ = ()

    @property
    def source(self) -> str:
        return self.text


def _parsed(text: str) -> list[Statement]:
    if len(text) > MAX_STATEMENT:
        raise refuse(f"the statement is longer than {MAX_STATEMENT >> 20} MiB")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refuse("the statement is not valid UTF-8") from None
    if "\0" in text:
        raise refuse("the statement has a NUL character")
    found = sql.statements(text)
    if len(found) > 1:
        raise refuse("one statement at a time: nothing was run")
    return [Text(one, (PARAMETER,) * sql.parameters(one)) for one in found]


def _heard(job: asyncio.Future[Any]) -> None:
    """Nobody may be left to hear how it ended: the client has gone."""
    if not job.cancelled():
        job.exception()


class ConsoleSession:
    """Implements `hproxy.admin.model.Session`."""

    status = STATUS
    database = "main"

    def __init__(
        self, console: ConsoleDatabase, client: Client, role: Role, stop: threading.Event
    ) -> None:
        self.console: ConsoleDatabase = console
        self.client: Client = client
        self.role = role
        self.warnings: list[Warned] = []
        self.snapshot = console.snapshot()
        self._stop = stop
        self._authorizer = Authorizer(read_only=False)
        self._connection: apsw.Connection | None = None
        self._job: asyncio.Future[Any] | None = None
        self._expired = False

    @property
    def sees_configuration(self) -> bool:
        """Whether main is the configuration, and not the stats user's own."""
        return self.role is Role.ADMIN

    async def open(self) -> None:
        """Connect. Raises AdminError."""
        self._connection = await self.thread(
            self.console.connect, self.snapshot, self._stop, self.role is Role.STATS
        )
        self._connection.authorizer = self._authorizer

    # -- what the server asks ----------------------------------------------------------

    async def parse(self, text: str) -> list[Statement]:
        """The one statement of `text`; none when it is empty. Raises AdminError."""
        if len(text) <= SHORT:
            return _parsed(text)
        return await self.console.in_thread(_parsed, text)

    async def query(self, statement: Statement, values: Sequence[Value] = ()) -> Answer:
        """Run one statement. Raises AdminError."""
        text = statement.text
        self.console.told(self.client, sql.redact(text[:TOLD_CHARACTERS]))
        command = find(text)
        if command is None or not command.match[0].upper().startswith("SHOW WARNINGS"):
            self.warnings = []
        try:
            if command is None:
                answer = await self.sql(text, values)
            elif command.changes and self.role is Role.STATS:
                raise refuse("this session may only read")
            elif command.changes and self.console.read_only and not command.always:
                raise refuse("admin-read_only is true, PROXYSQL READWRITE ends that")
            else:
                answer = await command.run(self)
        except ConfigError as error:
            raise of_config(error) from error
        except AdminError as error:
            # What the port refuses has a code of ours; clients know ProxySQL's number.
            error.facts.setdefault("number", 1045)
            error.facts.setdefault("sqlstate", b"28000" if error.facts["number"] == 1045 else None)
            raise
        except HProxyError as error:  # a worker that has just ended is no reason to hang up
            raise refuse(str(error)) from error
        return self._counted(answer)

    async def describe(self, statement: Statement) -> Sequence[Column]:
        """The columns it would give; nothing for a command: those say it when they run."""
        if find(statement.text) is not None:
            return ()
        names = await self.thread(self._describe, sql.dialect(statement.text))
        return [column(name) for name in names]

    async def columns(self, table: str) -> Sequence[Column]:
        """The columns of a table. Raises AdminError."""
        quoted = table.replace('"', '""')
        names = await self.thread(self._describe, f'SELECT * FROM "{quoted}"')
        return [column(name, table=table) for name in names]

    async def use(self, database: str) -> None:
        """Accepted for any name: names resolve across all databases."""

    async def reset(self, client: Client) -> None:
        """As a new session of `client`. Raises AdminError."""
        role = self.console.accounts.role(client)
        self.client, self.warnings = client, []
        if role is not self.role:
            old, self.role = self._connection, role
            await self.open()
            if old is not None:
                await self.thread(old.close)

    def interrupt(self) -> None:
        """End what runs now."""
        if self._job is not None:
            self._press(self._job)

    async def close(self) -> None:
        """Close the connection."""
        self.interrupt()
        if self._job is not None:
            await asyncio.wait([self._job])
        if self._connection is not None:
            await self.console.in_thread(self._connection.close)

    # -- what commands use -------------------------------------------------------------

    def warn(self, message: str, code: int = 1105, level: str = "Warning") -> None:
        """Add to what SHOW WARNINGS says of this statement."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(Warned(level, code, message))

    async def sql(self, text: str, values: Sequence[Value] = ()) -> Answer:
        """Run SQL with this session's rights. Raises AdminError."""
        self._authorizer.read_only = self.role is Role.STATS or self.console.read_only
        self._authorizer.lifted = False
        return await self.thread(self._run, sql.dialect(text), values)

    async def own(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run `work(connection, ...)` in a thread with the console's rights. Raises AdminError."""
        self._authorizer.lifted = True
        try:
            return await self.thread(work, self._connection, *arguments)
        finally:
            self._authorizer.lifted = False

    async def thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run `work` in a thread, within the time budget. Raises AdminError."""
        loop = asyncio.get_running_loop()
        self._stop.clear()
        self._expired = False
        self._authorizer.denied = ""
        self.snapshot.forget()
        self._job = job = self.console.in_thread(self._bounded, work, *arguments)
        job.add_done_callback(_heard)
        budget = loop.call_later(self.console.budget_sec, self._expire)
        try:
            return await asyncio.shield(job)
        except apsw.AuthError as error:
            raise refuse(f"not authorized: {self._authorizer.denied or error}") from error
        except apsw.Error as error:
            raise self._ended() or of_sqlite(error) from error
        except AdminError as error:
            raise self._ended() or error from error
        finally:
            budget.cancel()

    # -- in the thread -----------------------------------------------------------------

    def _bounded(self, work: Callable[..., Result], *arguments: Any) -> Result:
        if self._stop.is_set():  # while it waited for a thread
            raise interrupted()
        try:
            return work(*arguments)
        finally:
            self.snapshot.forget()

    def _run(self, text: str, values: Sequence[Value]) -> Answer:
        assert self._connection is not None
        names: list[str] = []

        def started(cursor: apsw.Cursor, _: str, __: Any) -> bool:
            names.extend(name for name, *_ in cursor.get_description())
            return True

        cursor = self._connection.cursor()
        cursor.exec_trace = started
        cursor.execute(text, tuple(values))
        if not names:
            changed = sql.first_word(text) in CHANGES
            return Done(self._connection.changes() if changed else 0)
        rows, size = [], 0
        for row in cursor:
            size += ROW_BYTES + sum(
                CELL_BYTES + len(v) if isinstance(v, str | bytes) else CELL_BYTES for v in row
            )
            if size > MAX_RESULT_BYTES:
                raise refuse(f"the result is larger than {MAX_RESULT_BYTES >> 20} MiB")
            rows.append(row)
        return Rows([column(name) for name in names], rows)

    def _describe(self, text: str) -> list[str]:
        assert self._connection is not None
        names: list[str] = []

        def started(cursor: apsw.Cursor, _: str, __: Any) -> bool:
            names.extend(name for name, *_ in cursor.get_description())
            return False  # compiled, and not run

        cursor = self._connection.cursor()
        cursor.exec_trace = started
        with contextlib.suppress(apsw.ExecTraceAbort):
            cursor.execute(text, (None,) * sql.parameters(text))
        return names

    # -- ends and counts ---------------------------------------------------------------

    def _expire(self) -> None:
        self._expired = True
        self.interrupt()

    def _ended(self) -> AdminError | None:
        if self._expired:
            return expired(self.console.budget_sec)
        return interrupted() if self._stop.is_set() else None

    def _press(self, job: asyncio.Future[Any]) -> None:
        if job.done():
            return
        self._stop.set()
        self.snapshot.cancel()
        if self._connection is not None:
            self._connection.interrupt()
        # Between two statements nothing listens to an interrupt: press until it has ended.
        asyncio.get_running_loop().call_later(PRESS_SEC, self._press, job)

    def _counted(self, answer: Answer) -> Answer:
        count = min(len(self.warnings), 0xFFFF)
        if not count:
            return answer
        if isinstance(answer, Rows):
            return Rows(answer.columns, answer.rows, count)
        return Done(answer.affected_rows, answer.insert_id, answer.info, count)
