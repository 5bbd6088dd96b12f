# SPDX-License-Identifier: Apache-2.0
"""What the HTTP API asks of the service it is about, who asks, and what a handler is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from hproxy.config.proxysql.values import Values
from hproxy.telemetry.metrics import Reading

__all__ = ["Caller", "Context", "Door", "Edit", "Outcome", "Port", "Role", "Row", "Tables"]

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]
Edit = Callable[[Tables], Tables]


class Role(IntEnum):
    """What a token allows; each allows what those before it do."""

    NOBODY = 0
    READER = 1
    OPERATOR = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    role: Role
    host: str
    """Its address; "" over a Unix socket."""

    @property
    def user(self) -> str:
        """The name that the audit log and the history know it by."""
        return "http" if self.role is Role.OPERATOR else "http-reader"


class Port(Protocol):
    """The service, however many workers it has."""

    @property
    def variables(self) -> Values: ...

    def rows(self, module: str) -> Mapping[str, Sequence[Row]]: ...

    async def reading(self, table: str) -> list[tuple[Any, ...]]: ...

    async def explaining(self, sql: str, user: str, schema: str) -> Sequence[Sequence[str]]: ...

    async def setting_status(self, hostgroup: int | None, address: str, status: str) -> int: ...

    async def order(self, name: str, *arguments: str) -> str: ...

    async def status(self) -> dict[str, Any]: ...

    async def measured(self) -> Reading: ...


class Outcome(Protocol):
    """What came of a change."""

    @property
    def changes(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def version(self) -> int: ...

    @property
    def saved(self) -> bool: ...


class Door(Protocol):
    """Where changes go in: checked, audited and kept like those of the admin port."""

    async def change(
        self, user: str, host: str, module: str, edit: Edit, told: str,
        *, dry_run: bool = False, save: bool = False,
    ) -> Outcome:  # fmt: skip
        """Run with what `edit` makes of the module's rows. Raises HProxyError."""

    async def order(self, user: str, host: str, told: str, name: str, *arguments: str) -> str:
        """Give the service an order. Raises HProxyError."""

    async def statement(self, user: str, host: str, text: str) -> Outcome:
        """Run a command of the admin port. Raises HProxyError."""

    async def rows(self, module: str, place: str) -> Tables:
        """The module's rows in a layer, with passwords."""

    def own(self, table: str) -> Iterable[Sequence[Any]] | None:
        """Rows of a table of the admin port's own; None of any other."""


@dataclass(frozen=True, slots=True)
class Context:
    """What handlers work with: `request.app.state.context`."""

    port: Port
    door: Door
    log: Any
