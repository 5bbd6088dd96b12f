# SPDX-License-Identifier: Apache-2.0
"""The admin database: what all sessions share, and the door to the running proxy.

ConsoleDatabase ── open(client) ──> ConsoleSession (a connection of its own)
    port        what runs: reading, load, order, explaining, variables
    places      main, disk, stats, monitor, stats_history
    checksums   runtime_checksums_values        history   hproxy_config_history
    nodes       peers that read from here
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import apsw

from hproxy.admin.console import layer
from hproxy.admin.console.account import Accounts
from hproxy.admin.console.check import CheckRegex, Checks, accept_any, triggers
from hproxy.admin.console.checksum import Checksums, checksum
from hproxy.admin.console.connection import connect
from hproxy.admin.console.failure import locked, of_sqlite
from hproxy.admin.console.history import NOBODY, History
from hproxy.admin.console.layer import Row, Tables
from hproxy.admin.console.nodes import Nodes
from hproxy.admin.console.session import ConsoleSession
from hproxy.admin.console.vtab import Snapshot
from hproxy.admin.embedded.database import CAPABILITIES
from hproxy.admin.model import Client, Value
from hproxy.auth import Account
from hproxy.config.proxysql.cluster import shared
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.values import Values
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.config.store import Store
from hproxy.protocols.mysql.constants import Charset, MariadbCapability, ServerStatus
from hproxy.protocols.mysql.profile import Profile

__all__ = ["ConfigFile", "ConsoleDatabase", "LoadReport", "Port"]

# Statements at once; each waits for nobody but its own thread.
THREADS = 64
BUDGET_SEC = 30.0
LOCK_WAIT_SEC = 5.0
MAX_HEAP_BYTES = 512 << 20
"""Of SQLite in this process: a sort without end, of somebody who may only read, took gigabytes."""
# Said by the greeting when mysql-server_version is empty: ProxySQL's default.
SERVER_VERSION = "8.0.11"
# What runs of these is what was loaded: monitors move servers, and orders set variables.
UNMOVED = ("mysql_query_rules", "mysql_users")
NOTHING: Mapping[str, Any] = MappingProxyType({})
Result = TypeVar("Result")


async def _nothing() -> str:
    return ""


class LoadReport(Protocol):
    """What a LOAD has done."""

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def changed(self) -> int: ...


class Port(Protocol):
    """What the console asks of the running proxy, on the event loop unless it says otherwise."""

    @property
    def variables(self) -> Values:
        """The live values."""

    async def reading(self, table: str) -> Sequence[Sequence[Value]]:
        """Rows of a runtime_*, stats_* or monitor table, columns as in the catalogue."""

    def anywhere(self, table: str) -> bool:
        """Whether `look` gives this table, too, and in any thread."""

    def look(self, table: str) -> Iterable[Sequence[Value]]:
        """The same rows, without waiting for anybody."""

    async def load(self, module: str, tables: Tables, *, dry_run: bool = False) -> LoadReport:
        """Make these rows act. Raises ConfigError before anything has changed."""

    def rows(self, module: str) -> Mapping[str, Sequence[Row]]:
        """The rows that act, all columns; in any thread."""

    async def order(self, name: str, *arguments: str) -> str:
        """Do something; the text goes to the client. Raises AdminError."""

    async def explaining(self, sql: str, user: str, schema: str) -> Sequence[Sequence[str]]:
        """Where a statement would go, and why."""


class ConfigFile(Protocol):
    """The configuration file, read and written in threads."""

    def read(self) -> Tables:
        """Its rows, of every table it speaks of. Raises ConfigError."""

    def text(self, tables: Tables) -> str:
        """These rows as a file."""


class ConsoleDatabase:
    """Implements `hproxy.admin.model.Database`; `start` it, and `close` it after its server."""

    def __init__(
        self,
        port: Port,
        store: Store | None = None,
        *,
        history_path: Path | None = None,
        config_file: ConfigFile | None = None,
        check_regex: CheckRegex = accept_any,
        prometheus: Callable[[], Awaitable[str]] = _nothing,
        told: Callable[[Client, str], None] = lambda client, statement: None,
        clock: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
        budget_sec: float = BUDGET_SEC,
        lock_wait_sec: float = LOCK_WAIT_SEC,
    ) -> None:
        """Without a `store` what is saved goes with the process. `history_path` is the file of
        stats_history; without one it is empty. `told` hears of every statement before it runs,
        without passwords. The store is the console's alone from here on, and closed with it."""
        self.port = port
        self.values = port.variables
        self.accounts = Accounts(self.values)
        self.checks = Checks(self.values, check_regex)
        self.config_file = config_file
        self.prometheus = prometheus
        self.told = told
        self.budget_sec = budget_sec
        self.checksums = Checksums(clock)
        self.nodes = Nodes(clock)
        self._loaded: dict[str, Tables] = {}
        self._moving = asyncio.Lock()
        self._clock = clock
        self._lock_wait_sec = lock_wait_sec
        self._folder: TemporaryDirectory[str] | None = None
        if store is None:
            self._folder = TemporaryDirectory(prefix="hproxy-console-")
            store = Store.open(Path(self._folder.name) / "hproxy.db")
        self._store = store
        self.paths = {
            "disk": "" if self._folder else str(store.path),
            "stats_history": "" if history_path is None else str(history_path),
        }
        """The files behind the schemas."""
        self._history_path = history_path
        self._places = layer.places(store.path, history_path)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="console")
        self._stop = threading.Event()
        self._keeper: apsw.Connection | None = None
        self.history = History(store, clock)
        """The versions of the configuration."""
        self._readers: dict[str, Callable[[], Sequence[Sequence[Value]]]] = {
            "runtime_checksums_values": lambda: [
                row for row in self.checksums.rows() if self._checksummed(row[0])
            ],
            "runtime_global_variables": lambda: list(self.values.items()),
            "hproxy_config_history": lambda: self.history.rows,
            "stats_proxysql_servers_clients_status": self.nodes.rows,
        }

    # -- from start to end -------------------------------------------------------------

    async def start(
        self, memory: Mapping[str, Tables] = NOTHING, origins: Mapping[str, str] = NOTHING
    ) -> list[str]:
        """Make the layers; the memory layer begins as `memory`, by module, or as what runs. The
        history tells of `origins`, by module. What of the memory could not be kept is returned.

        A file of stats_history that is damaged is left alone and told of: samples are no reason
        to be without an admin port."""
        if self._history_path is not None and (error := layer.damage(self._history_path)):
            message = f"{self._history_path} is not used for stats_history"
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": message, "exception": error})
            self._places = layer.places(self._store.path)
            self.paths["stats_history"] = ""
        return await self.in_thread(self._start, self.snapshot(), memory, origins)

    def _start(
        self, snapshot: Snapshot, memory: Mapping[str, Tables], origins: Mapping[str, str]
    ) -> list[str]:
        apsw.hard_heap_limit(MAX_HEAP_BYTES)
        running: dict[str, Tables] = {name: dict(self.port.rows(name)) for name in MODULES}
        self._keeper = keeper = connect(self._places, snapshot, self.checks, self._stop)
        layer.create(keeper)
        notes: list[str] = []
        for name, module in MODULES.items():
            notes += layer.restore(keeper, module, memory.get(name, running[name]))
            self.stamp(name, running[name])
        for statement in triggers():
            keeper.execute(statement)
        self.history.begin(running, origins)
        return notes

    async def memory(self) -> dict[str, Tables]:
        """The memory layer, by module. Raises AdminError when somebody has it locked."""
        return await self.in_thread(self._memory)

    def _memory(self) -> dict[str, Tables]:
        assert self._keeper is not None
        try:
            return {n: layer.read(self._keeper, "main", module) for n, module in MODULES.items()}
        except apsw.Error as error:
            raise of_sqlite(error) from error

    async def renewed(self, modules: Sequence[str], statement: str) -> None:
        """These run otherwise since the file was read anew: the memory layer begins as they run,
        and a version of each is kept. The caller has its `turn`. Raises ConfigError."""
        await self.in_thread(self._renew, modules, statement)

    def _renew(self, modules: Sequence[str], statement: str) -> None:
        assert self._keeper is not None
        for name in modules:
            rows = dict(self.port.rows(name))
            layer.replace(self._keeper, "main", MODULES[name], rows)
            self.stamp(name, rows)
            self.history.load(NOBODY, name, statement, rows, "reload")

    def stamp(self, module: str, tables: Tables) -> None:
        """The module was loaded with these rows; in any thread."""
        seen = {name: shared(name, rows) for name, rows in tables.items()}
        self.checksums.stamp(module, checksum(seen))
        if module not in UNMOVED:
            self._loaded[module] = seen

    def shared(self, module: str) -> Tables:
        """The module's rows as peers see them, those its checksum is of; in any thread."""
        found = self._loaded.get(module)
        if found is None:
            found = {name: shared(name, rows) for name, rows in self.port.rows(module).items()}
        return found

    def close(self) -> None:
        """Give up threads and connections; call it when no session is left."""
        self._stop.set()
        self._executor.shutdown(wait=True)
        if self._keeper is not None:
            self._keeper.close()
        self._store.close()
        if self._folder is not None:
            self._folder.cleanup()

    def _checksummed(self, name: str) -> bool:
        """As admin-checksum_* say."""
        variable = f"admin-checksum_{name.removesuffix('_v2')}"
        return variable not in VARIABLES or self.values.flag(variable)

    # -- for the server ----------------------------------------------------------------

    @property
    def profile(self) -> Profile:
        """What the greeting says."""
        return Profile(
            self.server_version.encode(),
            CAPABILITIES,
            MariadbCapability(0),
            Charset.UTF8MB4,
            ServerStatus.AUTOCOMMIT | ServerStatus.NO_BACKSLASH_ESCAPES,
        )

    def find(self, user: bytes) -> Account | None:
        """The account of this name."""
        return self.accounts.find(user)

    async def open(self, client: Client) -> ConsoleSession:
        """A session of its own connection. Raises AdminError (1040)."""
        role = self.accounts.role(client)
        session = ConsoleSession(self, client, role, threading.Event())
        await session.open()
        return session

    # -- for sessions ------------------------------------------------------------------

    @property
    def read_only(self) -> bool:
        """admin-read_only."""
        return self.values.flag("admin-read_only")

    @property
    def server_version(self) -> str:
        """mysql-server_version: what the greeting says."""
        return self.values.text("mysql-server_version") or SERVER_VERSION

    @property
    def version(self) -> str:
        """admin-version: what SELECT version() says."""
        return self.values.text("admin-version")

    def snapshot(self) -> Snapshot:
        """What a session's virtual tables read through."""
        return Snapshot(asyncio.get_running_loop(), self.read, self._anywhere)

    def read(self, table: str) -> Iterable[Sequence[Value]] | Awaitable[Iterable[Sequence[Value]]]:
        """Rows of a virtual table, on the loop; in a thread those that may be read anywhere."""
        own = self._readers.get(table)
        if own is not None:
            return own()
        return self.port.look(table) if self.port.anywhere(table) else self.port.reading(table)

    def own(self, table: str) -> Iterable[Sequence[Value]] | None:
        """Rows of a table that is kept here; None of any other."""
        found = self._readers.get(table)
        return None if found is None else found()

    def _anywhere(self, table: str) -> bool:
        return table not in self._readers and self.port.anywhere(table)

    def connect(
        self, snapshot: Snapshot, stop: threading.Event, stats_only: bool
    ) -> apsw.Connection:
        """A connection for a session, in a thread."""
        return connect(
            self._places,
            snapshot,
            self.checks,
            stop,
            stats_only=stats_only,
            lock_wait_sec=self._lock_wait_sec,
        )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Held while a configuration moves to or from the proxy: one after the other.

        Raises AdminError (1205) when others take too long."""
        try:
            async with asyncio.timeout(self._lock_wait_sec):
                await self._moving.acquire()
        except TimeoutError:
            raise locked() from None
        try:
            yield
        finally:
            self._moving.release()

    def in_thread(self, work: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Run it in one of the console's threads."""
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
