# SPDX-License-Identifier: Apache-2.0
"""A console for tests: behind a server on loopback, over a port that remembers what it is told."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pymysql

from hproxy.admin import Server
from hproxy.admin.console import ConsoleDatabase
from hproxy.config.proxysql.catalogue import CONFIG_TABLES, find
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.values import Values
from hproxy.errors import AdminError, ConfigError, ConfigFinding
from hproxy.net.loop import ReactorLoop
from hproxy.telemetry.log import get_logger
from tests.support.aside import aside

Row = Mapping[str, Any]
ORDERS = frozenset(
    {
        "start", "stop", "pause", "resume", "restart", "shutdown", "shutdown_slow", "kill",
        "flush_logs", "flush_query_cache", "flush_client_hosts", "reload_tls", "readonly",
        "readwrite", "kill_connection", "kill_query", "logentry",
        "save_digests",
    }
)  # fmt: skip


@dataclass
class Report:
    warnings: list[str] = field(default_factory=list)
    changed: int = 0


def row(table: str, **values: Any) -> dict[str, Any]:
    """A row of a configuration table, defaults for what is not given."""
    return {column.name: column.initial for column in CONFIG_TABLES[table].columns} | values


class FakePort:
    """What runs is what was loaded; statistics are what the test puts into `tables`."""

    def __init__(self) -> None:
        self.variables = Values()
        self.tables: dict[str, list[tuple[Any, ...]]] = {}
        self.loaded: dict[str, list[Row]] = {name: [] for name in CONFIG_TABLES}
        self.loads: list[tuple[str, bool]] = []
        self.orders: list[tuple[str, ...]] = []
        self.reads: list[str] = []
        self.refuse = ""
        self.warn: list[str] = []
        self.thread: int | None = None

    def read(self, table: str) -> Sequence[Sequence[Any]]:
        self.reads.append(table)
        self.thread = threading.get_ident()
        if table in self.tables:
            return self.tables[table]
        if table.endswith("_reset"):
            return self.tables.pop(table.removesuffix("_reset"), [])
        if table.startswith("runtime_"):
            name = table.removeprefix("runtime_")
            return [tuple(r[c] for c in find(name).names) for r in self.loaded[name]]
        return []

    look = read

    async def reading(self, table: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.read(table)]

    def anywhere(self, _: str) -> bool:
        return False

    async def load(
        self, module: str, tables: Mapping[str, Sequence[Row]], *, dry_run: bool = False
    ) -> Report:
        if self.refuse:
            raise ConfigError(findings=[ConfigFinding("", module, self.refuse)])
        self.loads.append((module, dry_run))
        if not dry_run:
            if MODULES[module].prefix:
                rows = tables["global_variables"]
                self.variables.update({r["variable_name"]: r["variable_value"] for r in rows})
            else:
                self.loaded.update({name: list(rows) for name, rows in tables.items()})
        return Report(list(self.warn))

    def rows(self, module: str) -> dict[str, list[Row]]:
        if prefix := MODULES[module].prefix:
            pairs = self.variables.items(prefix)
            rows: list[Row] = [{"variable_name": n, "variable_value": v} for n, v in pairs]
            return {"global_variables": rows}
        return {name: list(self.loaded[name]) for name in MODULES[module].tables}

    async def order(self, name: str, *arguments: str) -> str:
        if name not in ORDERS:
            raise AdminError(f"no such order: {name}", code="order")
        if (name,) in self.orders and name == "pause":
            raise AdminError(
                "ProxySQL MySQL module is already paused, impossible to pause", code="paused"
            )
        self.orders.append((name, *arguments))
        return f"{name} done"

    async def explaining(self, sql: str, user: str, schema: str) -> list[tuple[str, ...]]:
        return [("statement", sql, f"{user}@{schema}"), ("decision", "hostgroup 1", "rule 7")]


class FakeFile:
    """A configuration file that is not there."""

    def __init__(self) -> None:
        self.rows: Any = {}

    def read(self) -> Any:
        return self.rows

    def text(self, tables: Any) -> str:
        return "\n".join(f"{name}: {len(rows)}" for name, rows in sorted(tables.items()))


def check_regex(pattern: str, modifiers: str) -> None:
    re.compile(pattern, re.IGNORECASE if "CASELESS" in modifiers else 0)


@dataclass
class Served:
    """A console that synchronous clients can talk to."""

    console: ConsoleDatabase
    port: FakePort
    server: Server
    number: int
    loop: asyncio.AbstractEventLoop

    def connect(self, user: str = "admin", password: str = "admin", **options: Any) -> Any:
        options = {"autocommit": None, "ssl_disabled": True} | options
        return pymysql.connect(
            host="127.0.0.1", port=self.number, user=user, password=password, **options
        )

    @contextmanager
    def admin(self, user: str = "admin", password: str = "admin") -> Iterator[Admin]:
        connection = self.connect(user, password)
        try:
            yield Admin(connection)
        finally:
            connection.close()


@dataclass
class Admin:
    """One logged-in client; errors are pymysql's."""

    connection: Any
    names: tuple[str, ...] = ()
    affected: int = 0
    info: str = ""

    def __call__(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            self.affected = cursor.execute(sql, values or None)
            self.names = tuple(c[0] for c in cursor.description or ())
            result = cursor._result
            # PyMySQL leaves the length before the text.
            self.info = (result.message or b"")[1:].decode() if result is not None else ""
            return list(cursor.fetchall())

    def one(self, sql: str, *values: Any) -> Any:
        (found,) = self(sql, *values)
        return found[0]

    def refused(self, sql: str) -> tuple[int, str]:
        try:
            self(sql)
        except pymysql.err.MySQLError as error:
            return error.args[0], error.args[1]
        raise AssertionError(f"accepted: {sql}")

    def warnings(self) -> list[str]:
        return [str(message) for _, _, message in self("SHOW WARNINGS")]


@contextmanager
def serving(
    port: FakePort | None = None,
    prepare: Callable[[ConsoleDatabase], None] = lambda console: None,
    guard: Any = None,
    path: str | None = None,
    tls: Any = None,
    **options: Any,
) -> Iterator[Served]:
    """A console in a thread of its own; on a Unix socket if a `path` is given."""
    made = FakePort() if port is None else port

    async def make() -> AsyncIterator[Served]:
        reactor_loop = ReactorLoop()
        console = ConsoleDatabase(made, **({"check_regex": check_regex} | options))
        await console.start()
        prepare(console)
        server = Server(console, reactor_loop.reactor, get_logger("console"), tls=tls, guard=guard)
        server.open(path=path)
        try:
            yield Served(console, made, server, server.port, asyncio.get_running_loop())
        finally:
            await server.close()
            console.close()
            reactor_loop.close()

    with aside(make, "console") as served:
        yield served
