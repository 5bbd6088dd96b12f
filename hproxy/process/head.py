# SPDX-License-Identifier: Apache-2.0
"""What a process has beside its worker: admin port, HTTP API, store, monitors, peers, scheduler.

    operators ── Server ── ConsoleDatabase ──┐
    programs ─── Http ──── Door ─────────────┤
    monitors ── Watched ─────────────────────┼──> Port ──> worker
    cluster ─── Door                         │
    scheduler, samples ── applied(config) <──┘

None of it is in the way of a client; what fails here is told and the worker goes on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from hproxy.admin.console import ConsoleDatabase, File
from hproxy.admin.console.door import Door
from hproxy.admin.console.session import MAX_STATEMENT
from hproxy.admin.model import Client
from hproxy.admin.server import Server
from hproxy.auth.guard import Guard
from hproxy.config.proxysql.module import MODULES
from hproxy.config.schema import Config
from hproxy.config.store import Store, Tables
from hproxy.control.cluster import TABLES as PEER_TABLES
from hproxy.control.cluster import Cluster
from hproxy.control.rest import Rest
from hproxy.control.server import Http
from hproxy.dial.probe import Dialler, Limits
from hproxy.errors import AdminError
from hproxy.health import Monitor, NameCache
from hproxy.health.journal import TABLES as PROBE_TABLES
from hproxy.net.tls_params import TlsParams, make_context
from hproxy.process.estate import Estate
from hproxy.process.inheriting import Inherited
from hproxy.process.origin import Origin
from hproxy.process.reloading import Reloaded, Reloading
from hproxy.process.scheduler import Scheduler
from hproxy.process.verdicts import Told, told
from hproxy.routing.rules import check_regex
from hproxy.runtime.roles import Roles
from hproxy.runtime.runtime import Runtime
from hproxy.runtime.sampling import FILE, Sampling
from hproxy.runtime.settings import statuses as configured
from hproxy.runtime.watched import Watched
from hproxy.telemetry.metrics import exposition
from hproxy.topology import Status

__all__ = ["Head", "Origin"]

PACKET_SPARE = 1024
"""A statement's packet has more than its text; what is longer still is not even read."""


RELOAD_SEC = 10.0
"""How long the end waits for a file that is being read anew."""
PEER = Limits(packet=MAX_STATEMENT, rows=200_000, size=256 << 20)
"""A configuration of ten thousand rules and as many users is much less."""


class Head:
    """Of one process that serves; `start` it when the worker does."""

    def __init__(
        self,
        runtime: Runtime,
        store: Store | None,
        origin: Origin,
        log: Any,
        *,
        watched: Watched | None = None,
    ) -> None:
        """`watched` is what monitors see and do; by default this one worker."""
        self._runtime = runtime
        self._log = log
        self._listens: tuple[Any, ...] = ()
        self._failures = -1
        self._held = AsyncExitStack()
        """What operators wait for while another head may take over."""
        self.scheduler = Scheduler(log)
        values = runtime.services.variables
        names = NameCache(values)
        watched = watched or Watched(runtime)
        dial = Dialler(
            runtime.services.protocol, runtime.services.reactor, self._tls, names.resolve
        )
        self.monitor = Monitor(
            watched.view, watched, dial, values, names=names, pinged=watched.answered
        )
        self._roles = Roles(runtime, self.monitor, monotonic)
        self.sampling: Sampling | None = None
        self.console: ConsoleDatabase | None = None
        self.server: Server | None = None
        self.http: Http | None = None
        if runtime.config.operated:
            history = runtime.folder / FILE
            self.sampling = Sampling(runtime.port, history, log)
            self.console = ConsoleDatabase(
                runtime.port,
                store,
                history_path=history,
                config_file=File(origin.path, origin.flags, os.environ),
                check_regex=self._check_regex,
                prometheus=self._metrics,
                told=self._audit,
            )
        self._reloading = Reloading(runtime, self.console, origin, log)
        self.cluster: Cluster | None = None
        self.rest: Rest | None = None
        if self.console is not None:
            self.rest = Rest(
                runtime.config.http, runtime.port, lambda: runtime.config.restapi_routes, values,
                log.bind(port="rest"),
            )  # fmt: skip
            door = Door(self.console)
            ask = Dialler(
                runtime.services.protocol, runtime.services.reactor, self._tls, names.resolve,
                unasked="preferred", limits=PEER,
            )  # fmt: skip
            self.cluster = Cluster(ask, door, values, log, clock=monotonic, wall=_wall)
            if runtime.config.http_listens:
                self.http = Http(runtime.config, runtime.port, door, log.bind(port="http"))
        if self.console is not None and runtime.config.admin.listens:
            self.server = Server(
                self.console,
                runtime.services.reactor,
                log.bind(port="admin"),
                tls=runtime.services.client_tls,
                rsa_key=runtime.services.rsa_key,
                max_packet=MAX_STATEMENT + PACKET_SPARE,
            )

    async def start(self, inherited: Inherited | None = None) -> tuple[str, ...]:
        """Open what operators need; what of `inherited` is not as it was, and why.

        Raises ConfigError when its address cannot be had."""
        runtime = self._runtime
        control = runtime.port.control
        for table in PROBE_TABLES:
            control.readers[table] = _reader(self.monitor, table)
        if self.cluster is not None:
            for table in PEER_TABLES:
                control.readers[f"stats_proxysql_servers_{table}"] = _reader(self.cluster, table)
        runtime.services.sources.metrics.append(self.monitor.counters)
        control.first.append(self._listen)
        runtime.applied.append(self._applied)
        control.arranged = self._roles.arranged
        control.process["reload"] = self._reloading.order
        notes = () if inherited is None else inherited.notes
        await self._reloading.begin(None if inherited is None else inherited.file)
        runtime.services.roles = self._roles
        if self.sampling is not None:
            control.process["save_digests"] = self._save_digests
            self.sampling.start()
            await self.sampling.begun()  # the console opens the file, too: not both make it
        if self.console is not None:
            given = inherited or Inherited(runtime.config)
            notes += tuple(await self.console.start(given.memory, given.origins))
        self._applied(runtime.config)
        self.monitor.start()
        if self.server is not None:
            self._log.info("admin port open", address=";".join(self.server.listeners.addresses))
        if self.http is not None:
            self.http.start()
        if self.rest is not None:
            self.rest.start()
        for part in (self.server, self.http):
            if part is not None and part.listeners.given is not None:
                part.listeners.given.disown()
        return notes

    async def release(self, *, keep: bool) -> tuple[Estate, dict[str, int]]:
        """The head of the next version does our work. What it starts on, and the sockets it goes
        on with, by use and address; they stay ours. Without `keep` they are closed: that one
        opens its own. Who is connected stays; who connects waits; what is LOADed waits, too."""
        sockets = {
            f"{use}:{address}": fd
            for use, found in (
                ("admin", self.server.listeners.rest() if self.server is not None else {}),
                ("http", self.http.rest() if self.http is not None else {}),
            )
            for address, fd in found.items()
        }
        if not keep:
            sockets = {}
            for part in (self.http, self.server):
                if part is not None:
                    part.listeners.close()
        await self._reloading.rest()
        if self.console is not None:
            await self._held.enter_async_context(self.console.turn())
        await self._alone()
        await self.scheduler.stop()
        await self.monitor.stop()
        return await self._estate(), sockets

    async def _alone(self) -> None:
        """No peer is asked, and no program of ours answers any more."""
        if self.cluster is not None:
            await self.cluster.stop()
        if self.rest is not None:
            await self.rest.stop()

    async def resume(self) -> None:
        """There is no next version: as before `release`."""
        await self._held.aclose()
        self._reloading.wake()
        if self.server is not None:
            self.server.listeners.wake()
        if self.http is not None:
            self.http.wake()
        self.monitor.start()
        if self.rest is not None:
            self.rest.start()
        self._applied(self._runtime.config)

    async def _estate(self) -> Estate:
        control = self._runtime.port.control
        running = {name: control.rows(name) for name in MODULES}
        memory: Mapping[str, Tables] = {}
        if self.console is not None:
            try:
                memory = await self.console.memory()
            except AdminError as error:
                reason = str(error)
                self._log.warning("what is not loaded yet is not handed over", reason=reason)
        return Estate(running, memory, self._reloading.file, tuple(self._unlike_rows()))

    def _unlike_rows(self) -> Iterator[Told]:
        """Servers whose status is not that of their rows. Who lags is found anew soon enough."""
        rows = configured(self._runtime.config)
        for backend, (health, _) in self._runtime.services.topology.snapshot().items():
            if health.status not in (rows.get(backend), Status.SHUNNED_REPLICATION_LAG):
                yield told(backend, health)

    async def stop(self) -> None:
        """End it all, operators' connections included."""
        if self.http is not None:
            await self.http.stop()
        if self.server is not None:
            await self.server.close()
        with suppress(TimeoutError):  # a disk that hangs keeps nobody from ending
            async with asyncio.timeout(RELOAD_SEC):
                await self._reloading.rest()
        await self._alone()  # now: what operators loaded until then may have named peers
        self._runtime.services.roles = None
        await self.monitor.stop()
        await self.scheduler.stop()
        if self.sampling is not None:
            await self.sampling.stop()
        if self.console is not None:
            await asyncio.to_thread(self.console.close)

    async def reload(self) -> Reloaded:
        """Run on what the file says now, certificates included.

        Raises ConfigError, AdminError; then nothing has changed."""
        return await self._reloading.reload()

    # -- the worker became another configuration ---------------------------------------

    def _applied(self, config: Config) -> None:
        self.scheduler.load([row.model_dump() for row in config.scheduler])
        if self.cluster is not None:
            self.cluster.load([row.model_dump() for row in config.proxysql_servers])
        self.monitor.refresh()
        if self.server is None:
            return
        services = self._runtime.services
        self.server.tls, self.server.rsa_key = services.client_tls, services.rsa_key
        if config.admin.login_failures_per_host != self._failures:
            self._failures = config.admin.login_failures_per_host
            self.server.guard = Guard(monotonic, per_host=self._failures)
        self._listen(config)

    def _listen(self, config: Config) -> None:
        """At a LOAD before the worker changes: an address that cannot be had is a refusal."""
        if self.server is not None and config.admin.listens != self._listens:
            self.server.listeners.become(config.admin.listens)
            self._listens = config.admin.listens

    # -- for those parts ---------------------------------------------------------------

    def _tls(self, host: str, port: int, user: str) -> Any:
        """As sessions connect there; unverified where only use_ssl asks for TLS."""
        return self._runtime.services.tls_at(host, port, user) or make_context(TlsParams())

    def _check_regex(self, pattern: str, modifiers: str) -> None:
        """Raises for one that the engine of now does not take."""
        values = self._runtime.services.variables
        reason = check_regex(pattern, modifiers, values.number("mysql-query_processor_regex"))
        if reason:
            raise ValueError(reason)

    def _audit(self, client: Client, statement: str) -> None:
        journal = self._runtime.recorder.journal
        if journal.auditing:
            journal.admin_statement(statement, username=client.user, client_addr=client.host)

    async def _metrics(self) -> str:
        return exposition(await self._runtime.port.measured())

    async def _save_digests(self) -> str:
        assert self.sampling is not None
        return str(await self.sampling.save_digests() or "")


def _reader(source: Monitor | Cluster, table: str) -> Any:
    def rows(_: Runtime) -> Sequence[tuple[Any, ...]]:
        return list(source.rows(table))

    return rows


def _wall() -> float:
    return datetime.now(UTC).timestamp()
