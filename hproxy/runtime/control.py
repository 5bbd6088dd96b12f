# SPDX-License-Identifier: Apache-2.0
"""What an operator may do to a running worker, by name.

    load     rows of a module ──> configuration ──> apply      refused as a whole, or done
    order    "pause", "kill_query" 7, ...          ORDERS below; those of the process come from it

Names are those of ProxySQL's commands: PROXYSQL PAUSE is "pause". What it answers is shown to
the operator.
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from hproxy import __version__
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import rows_in, with_rows, with_variables
from hproxy.config.proxysql.values import Values
from hproxy.config.schema import Config
from hproxy.errors import AdminError
from hproxy.runtime import heap
from hproxy.runtime.apply import Prepared, prepare, reload_tls, swap
from hproxy.runtime.exposition import read
from hproxy.runtime.tables import ANY_THREAD, READ_LATER, READERS, Reader
from hproxy.session.caching import flush_results
from hproxy.session.explaining import explain, scene_of
from hproxy.session.registry import Connection
from hproxy.telemetry import log as logs
from hproxy.telemetry.reading import Reading
from hproxy.telemetry.stacks import stacks

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["Control", "LoadReport", "Rows"]

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""By table."""
Order = Callable[..., Awaitable[str] | str]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How a LOAD ... TO RUNTIME went."""

    warnings: tuple[str, ...] = ()
    changed: int = 0
    """Rows, or variables, that are not as they were."""


class Control:
    """Over one worker, on its loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.process: dict[str, Order] = {}
        """Orders to the process: shutdown, restart, ...; set by whoever runs it."""
        self.readers: dict[str, Reader] = {}
        """Tables that others keep: logs of monitors."""
        self.first: list[Callable[[Config], object]] = []
        """Others who become what a configuration says before the worker does; they may refuse,
        with ConfigError, and are called with the old one when somebody after them does."""
        self.arranged: Callable[[Config], Config] = lambda config: config
        """What monitors make of the servers an operator names: writers, readers."""
        self.commit: Callable[[Prepared], Awaitable[tuple[str, ...]]] = self._commit
        """Makes it act; a service of several workers has its own."""
        self.version = 0
        """How many configurations it has become, monitors' moves included."""
        self._turn = asyncio.Lock()

    @property
    def variables(self) -> Values:
        """mysql-* and admin-* as they are now."""
        return self._runtime.services.variables

    def read(self, table: str) -> list[tuple[Any, ...]]:
        """Rows of a table. Raises AdminError."""
        return list(self.look(table))

    def look(self, table: str) -> Iterable[tuple[Any, ...]]:
        """Rows of a table as it is now; what is left to do for them is done in any thread."""
        reader = self.readers.get(table) or READERS.get(table)
        if reader is None:
            raise AdminError(f"no such table: {table}", code="table")
        found = reader(self._runtime)
        return found if table in READ_LATER else list(found)

    def anywhere(self, table: str) -> bool:
        """Whether `read` gives it in any thread: traffic need not wait for ten thousand rows."""
        return table in ANY_THREAD and table not in self.readers

    def explain(self, sql: str, user: str, schema: str) -> list[tuple[str, str]]:
        """Step by step, where a statement of that user would go. Raises AdminError."""
        return explain(scene_of(self._runtime.services), sql, user, schema)

    def measured(self) -> Reading:
        """Every number of now."""
        return read(self._runtime)

    def status(self) -> dict[str, Any]:
        """Whether it serves, and since when."""
        runtime = self._runtime
        uptime = round(monotonic() - runtime.started_at, 3)
        reasons = {
            "starting": not runtime.started,
            "draining": runtime.draining,
            "paused": runtime.listeners.paused,
        }
        found = [reason for reason, holds in reasons.items() if holds]
        return {
            "ready": not found,
            "reasons": found,
            "started": runtime.started,
            "draining": runtime.draining,
            "paused": runtime.listeners.paused,
            "version": __version__,
            "config_version": self.version,
            "uptime_sec": uptime,
            "sessions": len(runtime.services.registry),
            "processes": [
                {
                    "role": "single",
                    "slot": 0,
                    "pid": os.getpid(),
                    "state": "serving" if runtime.started else "starting",
                    "since_sec": uptime,
                    "restarts": 0,
                    "beat_age_sec": 0.0,
                    "rss_kib": _resident_kib(),
                }
            ],
        }

    # -- the configuration ---------------------------------------------------------

    def rows(self, module: str) -> dict[str, list[dict[str, Any]]]:
        """What it runs on, per table of the module, all columns; in any thread."""
        return _of_module(self._runtime.config, module)

    async def load(self, module: str, tables: Rows, *, dry_run: bool = False) -> LoadReport:
        """Run on these rows from now on. Raises ConfigError before anything has changed.

        What takes time with many rows is done in a thread: no statement waits for it."""

        def change(before: Config) -> Config:
            return with_rows(before, module, tables)

        async with self._turn:
            ready, changed = await self._ready(change, (module,))
            warnings = tuple(_doubts(self._runtime.config, ready.config, (module,)))
            if not dry_run:
                restart = await self.commit(ready)
                warnings += tuple(f"{key} acts after a restart" for key in restart)
        return LoadReport(warnings, changed)

    async def become(self, change: Callable[[Config], Config]) -> LoadReport:
        """Run on what `change` makes of the configuration of now. Raises ConfigError as `load`.

        It is called in a thread, and once more when monitors have moved a server meanwhile."""
        modules = tuple(MODULES)
        async with self._turn:
            ready, changed = await self._ready(change, modules)
            warnings = tuple(_doubts(self._runtime.config, ready.config, modules))
            restart = await self.commit(ready)
            warnings += tuple(f"{key} acts after a restart" for key in restart)
        return LoadReport(warnings, changed)

    async def take(self, config: Config, version: int) -> tuple[str, ...]:
        """Run on what another process made of the same servers; what of it takes a restart.

        Raises ConfigError before anything has changed."""
        async with self._turn:
            while True:
                before = self._runtime.config
                ready = await asyncio.to_thread(prepare, self._runtime, before, config)
                if self._runtime.config is before:
                    found = self.swap(ready)
                    self.version = version
                    return found

    async def _ready(
        self, change: Callable[[Config], Config], modules: Sequence[str]
    ) -> tuple[Prepared, int]:
        """The change, ready to act; how many rows of the modules differ."""

        def work(before: Config, config: Config) -> tuple[Prepared, int]:
            ready = prepare(self._runtime, before, config)
            return ready, sum(_changed(before, ready.config, module) for module in modules)

        while True:
            before = self._runtime.config
            config = await asyncio.to_thread(change, before)
            # What monitors know is read where they run.
            found = await asyncio.to_thread(work, before, self.arranged(config))
            if self._runtime.config is before:  # else monitors have moved a server meanwhile
                return found

    async def _commit(self, ready: Prepared) -> tuple[str, ...]:
        return self.swap(ready)

    def swap(self, ready: Prepared) -> tuple[str, ...]:
        """This worker, and those who become it first. Raises ConfigError; nothing has changed."""
        with self.ahead(ready):
            found = swap(self._runtime, ready)
        self.version += 1
        return found

    @contextmanager
    def ahead(self, ready: Prepared) -> Iterator[None]:
        """Others become what it says; and what they were, if what is done then is refused."""
        done: list[Callable[[Config], object]] = []
        try:
            for become in self.first:
                become(ready.config)
                done.append(become)
            yield
        except BaseException:
            for become in done:
                become(ready.before)
            raise

    # -- orders ----------------------------------------------------------------------

    async def order(self, name: str, *arguments: str) -> str:
        """Do it; what there is to say of it. Raises AdminError."""
        found = self.process.get(name) or getattr(self, f"_{name}", None)
        if found is None or name not in {*ORDERS, *self.process}:
            raise AdminError(f"no such order: {name}", code="order")
        answer = found(*arguments)
        return answer if isinstance(answer, str) else await answer

    def _pause(self) -> str:
        self._runtime.listeners.pause()
        return "no new clients until PROXYSQL RESUME"

    def _resume(self) -> str:
        self._runtime.listeners.resume()
        return ""

    def _stop(self) -> str:
        """As PAUSE, and those who do nothing are sent away; the admin port stays."""
        runtime = self._runtime
        if not runtime.listeners.paused:
            runtime.listeners.pause()
        runtime.close_idle()
        return "no new clients until PROXYSQL START"

    def _start(self) -> str:
        if not self._runtime.listeners.paused:
            raise AdminError("ProxySQL already started", code="paused")
        self._runtime.listeners.resume()
        return ""

    def _flush_logs(self) -> str:
        logs.reopen()
        return ""

    def _flush_query_cache(self) -> str:
        if self._runtime.services.multiplex is None:
            return ""
        return f"{flush_results(self._runtime.services)} results dropped"

    def _flush_client_hosts(self) -> str:
        self._runtime.services.hosts.flush()
        return ""

    async def _readonly(self) -> str:
        return await self._become({"admin-read_only": "true"})

    async def _readwrite(self) -> str:
        return await self._become({"admin-read_only": "false"})

    async def _become(self, variables: Mapping[str, str]) -> str:
        async with self._turn:
            ready, _ = await self._ready(lambda c: with_variables(c, variables), ())
            await self.commit(ready)
        return ""

    def _logentry(self, text: str) -> str:
        self._runtime.log.info("log entry", text=text)
        return ""

    def _reload_tls(self) -> str:
        reload_tls(self._runtime)
        return ""

    async def _heap(self) -> str:
        return await heap.report()

    def _trace_heap(self, frames: str) -> str:
        return heap.trace(int(frames) if frames.isdigit() else 0)

    def _stacks(self) -> str:
        return stacks()

    def _kill_connection(self, number: str) -> str:
        self._runtime.killer.connection(self._session(number))
        return ""

    async def _kill_query(self, number: str) -> str:
        await self._runtime.killer.running(self._session(number))
        return ""

    def _session(self, number: str) -> Connection:
        found = self._runtime.services.registry.find(int(number)) if number.isdigit() else None
        if found is None:
            raise AdminError(f"Unknown thread id: {number}", number=1094, code="session")
        return found


ORDERS = (
    "pause",
    "resume",
    "start",
    "stop",
    "flush_logs",
    "flush_query_cache",
    "flush_client_hosts",
    "readonly",
    "readwrite",
    "logentry",
    "reload_tls",
    "kill_connection",
    "kill_query",
    "heap",
    "trace_heap",
    "stacks",
)


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _of_module(config: Config, module: str) -> dict[str, list[dict[str, Any]]]:
    """The module's rows; of variables only its own."""
    prefix = MODULES[module].prefix
    found = {name: rows_in(config, name) for name in MODULES[module].tables}
    if not prefix:
        return found
    return {
        name: [row for row in rows if row["variable_name"].startswith(prefix)]
        for name, rows in found.items()
    }


def _changed(before: Config, after: Config, module: str) -> int:
    """How many rows of the module differ, new and gone ones included."""
    count = 0
    for name in MODULES[module].tables:
        old, new = (
            Counter(tuple(row.values()) for row in rows_in(config, name))
            for config in (before, after)
        )
        count += max((new - old).total(), (old - new).total())
    return count


def _doubts(before: Config, after: Config, modules: Iterable[str]) -> list[str]:
    """What is allowed and most likely not meant: in rows of the modules, or since they changed."""
    known = before.warnings()
    tables = {table for module in modules for table in MODULES[module].tables}
    found = [
        str(finding)
        for finding in after.warnings()
        if finding.key != "proxy.backends"  # told below, and for good
        and (finding not in known or finding.key.partition("[")[0] in tables)
    ]
    if before.servers and not after.servers:
        found.append("no backend is left: every statement will wait and fail")
    if before.server.listens and not after.server.listens:
        found.append("no interface is left: no client can come in")
    if before.admin.listens and not after.admin.listens:
        found.append("no admin port is left: keep this session, or restart with --admin")
    return found
