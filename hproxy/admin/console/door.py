# SPDX-License-Identifier: Apache-2.0
"""One change at a time, for who speaks no SQL: checked, told, and kept as those of the console.

    change(who, module, edit, told)
        what runs ── edit ──> checked ── LOAD ──> runtime, checksums, a version of the history
                                                └─ the same rows in memory ── save? ──> disk

What is in memory and not loaded yet stays there and does not act: only rows that this change is
about are touched. admin-read_only refuses here what it refuses there, but for `adopt`: what a peer
of the cluster runs with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from hproxy.admin.console import layer, sql
from hproxy.admin.console.account import Role
from hproxy.admin.console.checksum import checksum
from hproxy.admin.console.commands.move import load
from hproxy.admin.console.diff import Change, diff
from hproxy.admin.console.layer import Row, Tables
from hproxy.admin.console.session import PARAMETER, ConsoleSession, Text
from hproxy.admin.model import Client
from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.proxysql.cluster import OWN_VARIABLES
from hproxy.config.proxysql.module import MODULES, Module
from hproxy.errors import AdminError, ConfigError, ConfigFinding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hproxy.admin.console.database import ConsoleDatabase

__all__ = ["Door", "Outcome"]

Edit = Callable[[Tables], Tables]
LAYERS = {"runtime": "", "memory": "main", "disk": "disk"}
REFUSED = 1045
CLUSTER = "cluster"
"""Who changes it, as the audit log says, where a peer did."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a change."""

    changes: Sequence[Mapping[str, Any]] = ()
    """As DRY RUN shows them, without passwords."""
    warnings: tuple[str, ...] = ()
    version: int = 0
    """Of the history; 0 when nothing runs that did not before."""
    saved: bool = False


class Door:
    """Of one console; use it on the event loop."""

    def __init__(self, console: ConsoleDatabase) -> None:
        self._console = console

    async def change(
        self, user: str, host: str, module: str, edit: Edit, told: str,
        *, dry_run: bool = False, save: bool = False, always: bool = False,
    ) -> Outcome:  # fmt: skip
        """Run with what `edit` makes of the module's rows. `told`, without passwords, is what
        the audit log and the history say of it. `always`: although admin-read_only is set.

        Raises ConfigError and AdminError, and whatever `edit` does; then nothing has changed."""
        description = MODULES[module]
        async with self._session(user, host, told, always=always) as session:
            console = self._console
            async with console.turn():
                before = await console.in_thread(console.port.rows, module)
                after = await console.in_thread(edit, before)
                await console.in_thread(self._check, description, before, after)
                changes = await console.in_thread(diff, before, after)
                await _tried(session, description, before, after)
                if dry_run:
                    report = await console.port.load(module, after, dry_run=True)
                    return Outcome(_shown(changes), tuple(report.warnings))
                if changes:
                    await load(session, description, after, told)
                    await session.own(_follow, description, before, after)
                if save:
                    rows = await session.own(layer.read, "main", description)
                    await console.in_thread(
                        console.history.save, session.client, module, told, rows
                    )
            warnings = tuple(warning.message for warning in session.warnings)
            return Outcome(_shown(changes), warnings, self.version if changes else 0, save)

    async def adopt(
        self, peer: str, module: str, rows: Tables, value: str, epoch: int, *, save: bool
    ) -> Outcome:
        """Run with the `rows` that a peer runs with since `epoch`, if `value` is their checksum.

        Raises ConfigError and AdminError; then nothing has changed."""
        told = f"LOAD {MODULES[module].spelling} FROM PEER {peer}"

        def edit(before: Tables) -> Tables:
            if (found := checksum(rows)) != value:
                raise AdminError(
                    "its rows are not those of its checksum",
                    code="checksum", rows=found, checksum=value,
                )  # fmt: skip
            return {name: [*_own(name, before), *rows[name]] for name in MODULES[module].tables}

        host = peer.rpartition(":")[0]
        outcome = await self.change(CLUSTER, host, module, edit, told, save=save, always=True)
        self.age(module, value, epoch)
        return outcome

    def age(self, module: str, value: str, epoch: int) -> None:
        """The module, if this is still its checksum, is as old as it is at a peer."""
        self._console.checksums.age(module, value, epoch)

    async def order(self, user: str, host: str, told: str, name: str, *arguments: str) -> str:
        """What the port does at this order; its text. Raises AdminError."""
        self._begin(Client(0, user, host), told)
        return await self._console.port.order(name, *arguments)

    async def statement(self, user: str, host: str, text: str) -> Outcome:
        """Run a command of the console that changes something. Raises AdminError."""
        self._allowed()
        async with self._session(user, host, "") as session:
            marks = (PARAMETER,) * sql.parameters(text)
            await session.query(Text(text, marks))
            return Outcome((), tuple(w.message for w in session.warnings), self.version)

    async def rows(self, module: str, place: str) -> Tables:
        """The module's rows in "runtime", "memory" or "disk", with passwords."""
        console = self._console
        if place == "runtime":
            return await console.in_thread(console.port.rows, module)
        async with self._session("", "", "") as session:
            return await session.own(layer.read, LAYERS[place], MODULES[module])

    def own(self, table: str) -> Iterable[Sequence[Any]] | None:
        """Rows of a table the console keeps: versions, checksums, values; None of any other."""
        return self._console.own(table)

    @property
    def version(self) -> int:
        """The newest of the history."""
        rows = self._console.history.rows
        return int(rows[-1][0]) if rows else 0

    @asynccontextmanager
    async def _session(
        self, user: str, host: str, told: str, *, always: bool = False
    ) -> AsyncIterator[ConsoleSession]:
        client = Client(0, user, host)
        if told and always:
            self._console.told(client, told)
        elif told:
            self._begin(client, told)
        session = ConsoleSession(self._console, client, Role.ADMIN, threading.Event())
        await session.open()
        try:
            yield session
        finally:
            await session.close()

    def _begin(self, client: Client, told: str) -> None:
        self._console.told(client, told)
        self._allowed()

    def _allowed(self) -> None:
        if self._console.read_only:
            raise AdminError(
                "admin-read_only is true", code="read_only", hint="PROXYSQL READWRITE ends that"
            )

    def _check(self, module: Module, before: Tables, after: Tables) -> None:
        """What triggers refuse when rows are written, of those that differ."""
        findings = []
        for name in module.tables:
            known = {tuple(row.items()) for row in before.get(name, ())}
            for row in after.get(name, ()):
                if tuple(row.items()) in known:
                    continue
                for key, reason in _reasons(name, row, self._console.checks):
                    findings.append(ConfigFinding(f"{name} ({_named(name, row)})", key, reason))
        if findings:
            raise ConfigError(findings=findings)


def _own(table: str, before: Tables) -> Iterator[Row]:
    """The rows that no peer has a say in."""
    if table == "global_variables":
        for row in before[table]:
            if row["variable_name"] in OWN_VARIABLES:
                yield row


def _reasons(table: str, row: Row, checks: Any) -> Iterator[tuple[str, str]]:
    for column in CONFIG_TABLES[table].columns:
        value = row.get(column.name)
        if column.numeric and value is not None and type(value) is not int:
            yield column.name, "must be a whole number"
    if table == "mysql_query_rules":
        for name in ("match_digest", "match_pattern"):
            reason = checks.regex(row.get(name), row.get("re_modifiers"))
            if reason:
                yield name, reason


def _named(table: str, row: Row) -> str:
    return ", ".join(str(row.get(column, "")) for column in CONFIG_TABLES[table].order_by)


def _follow(connection: apsw.Connection, module: Module, before: Tables, after: Tables) -> None:
    """The rows that differ, in memory too."""
    with connection:
        for name in module.tables:
            keys = CONFIG_TABLES[name].order_by
            old, new = (_by_key(keys, tables.get(name, ())) for tables in (before, after))
            where = " AND ".join(f"`{key}` IS ?" for key in keys)
            gone = [key for key in old if key not in new]
            connection.executemany(f"DELETE FROM main.{name} WHERE {where}", gone)
            changed = [row for key, row in new.items() if old.get(key) != row]
            layer.merge(connection, "main", module, {name: changed})


async def _tried(session: ConsoleSession, module: Module, before: Tables, after: Tables) -> None:
    """Tables have checks of their own, which must not refuse what runs already."""
    try:
        await session.own(_try, module, before, after)
    except AdminError as error:
        if error.facts.get("number") != REFUSED:
            raise
        raise AdminError(error.reason, code="request") from error


def _try(connection: apsw.Connection, module: Module, before: Tables, after: Tables) -> None:
    """Whether memory would take them."""
    connection.execute("SAVEPOINT hproxy_try")
    try:
        _follow(connection, module, before, after)
    finally:
        connection.execute("ROLLBACK TO hproxy_try; RELEASE hproxy_try")


def _by_key(keys: Sequence[str], rows: Iterable[Row]) -> dict[tuple[Any, ...], Row]:
    return {tuple(row.get(key) for key in keys): row for row in rows}


def _shown(changes: Iterable[Change]) -> tuple[dict[str, Any], ...]:
    return tuple(change._asdict() for change in changes)
