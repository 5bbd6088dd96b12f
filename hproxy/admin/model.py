# SPDX-License-Identifier: Apache-2.0
"""What a server of ours asks of the thing it serves: a `Database`, and a `Session` per client.

A refused statement is an AdminError with the fact `number` (1064, 1146, ...); its reason is
what the client reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hproxy.admin.lexer import Statement
from hproxy.auth import Account
from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.profile import Profile
from hproxy.protocols.mysql.results import Column, Value

__all__ = ["Answer", "Client", "Column", "Database", "Done", "Rows", "Session", "Value"]


@dataclass(frozen=True, slots=True)
class Rows:
    """A result set."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]] = ()
    warnings: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """Done, and there is nothing to show."""

    affected_rows: int = 0
    insert_id: int = 0
    info: str = ""
    warnings: int = 0


Answer = Rows | Done


@dataclass(frozen=True, slots=True)
class Client:
    """Who has logged in."""

    id: int
    user: str
    host: str
    port: int = 0
    """Its own; 0 over a Unix socket."""


class Session(Protocol):
    """One client's use of a database. The server asks for one thing at a time."""

    @property
    def status(self) -> ServerStatus:
        """Flags for the end of an answer: in a transaction, autocommit, ..."""

    @property
    def database(self) -> str:
        """The default schema; "" when none is chosen."""

    async def parse(self, text: str) -> list[Statement]:
        """The statements of what a client has sent. Raises AdminError."""

    async def query(self, statement: Statement, values: Sequence[Value] = ()) -> Answer:
        """Run one statement, `values` in place of its "?". Raises AdminError."""

    async def describe(self, statement: Statement) -> Sequence[Column]:
        """The columns it would give, as far as can be known ahead. Raises AdminError."""

    async def columns(self, table: str) -> Sequence[Column]:
        """The columns of a table. Raises AdminError."""

    async def use(self, database: str) -> None:
        """Choose the default schema. Raises AdminError."""

    async def reset(self, client: Client) -> None:
        """Forget everything, as a new session of `client`."""

    def interrupt(self) -> None:
        """End what runs now, from another task; nothing if nothing runs."""

    async def close(self) -> None:
        """The client is gone; an open transaction is rolled back."""


class Database(Protocol):
    """What is served, to any number of clients."""

    @property
    def profile(self) -> Profile:
        """What the greeting says."""

    def find(self, user: bytes) -> Account | None:
        """The account of this name."""

    async def open(self, client: Client) -> Session:
        """A session for a client that has logged in. Raises AdminError."""
