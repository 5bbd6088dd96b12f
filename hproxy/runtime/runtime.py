# SPDX-License-Identifier: Apache-2.0
"""One worker at work: reactor, listener, sessions, from start to drained.

start ─> serving ── drain ─> no new clients, idle ones closed ── all gone, or deadline ─> stop
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hproxy.auth import UserTable
from hproxy.auth.guard import Buckets
from hproxy.config.proxysql.rows import variables_of
from hproxy.config.proxysql.values import Values
from hproxy.config.schema import Config
from hproxy.errors import HProxyError
from hproxy.net.listener import Listener
from hproxy.net.loop import ReactorLoop
from hproxy.net.tasks import TaskSet
from hproxy.pool.pools import Pools
from hproxy.pool.shares import Shares
from hproxy.protocols.base import Protocol, load_protocol
from hproxy.routing import Router
from hproxy.runtime import settings as build
from hproxy.runtime.apply import on_replace
from hproxy.runtime.balance import Balance
from hproxy.runtime.control import Control
from hproxy.runtime.counting import follow_values
from hproxy.runtime.door import Door
from hproxy.runtime.listeners import Listeners, NoListeners
from hproxy.runtime.machine import check_descriptors, state_folder
from hproxy.runtime.port import Port
from hproxy.runtime.secure import Secured
from hproxy.runtime.sources import connect as connect_sources
from hproxy.session.driver import Driver
from hproxy.session.kill import Killer
from hproxy.session.limits import TransactionLimits
from hproxy.session.mirroring import MirrorCounts
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.opening import Opening
from hproxy.session.pins import pin_rows
from hproxy.session.recording import Recorder
from hproxy.session.registry import Registry
from hproxy.session.services import Multiplexing, Services
from hproxy.telemetry.clock import unix_time
from hproxy.telemetry.counters import Counters
from hproxy.telemetry.numbered_file import Share
from hproxy.topology import Backend, Topology

__all__ = ["Runtime"]

DRAIN_POLL_SEC = 0.05
UPKEEP_SEC = 1.0
LEARNERS = 32
"""Backends that are asked at a time what they can do."""
BUSY_UPKEEP_SEC = 0.1
DESCRIPTORS_PER_CLIENT = 2
SPARE_DESCRIPTORS = 64


class Runtime:
    """Everything one worker process owns. Use within a running event loop."""

    def __init__(
        self,
        config: Config,
        log: Any,
        shares: Shares | None = None,
        *,
        slot: int | None = None,
        generation: int = 0,
        share: Share = Share.ALONE,
        serves: bool = True,
        guesses: Buckets | None = None,
    ) -> None:
        """Raises ConfigError for certificates and keys that cannot be used.

        `shares`: of what the workers of a service have together; without, it is the only one.
        `slot`: of one of several workers, after `generation` others. `share`: with whom its
        journals are. One that does not serve only knows what those that do were told. `guesses`:
        failed logins, of all workers."""
        self.config = config
        self.guesses = guesses
        self._serves = serves
        self.log = log
        self.certificate: Path | None = None
        self.certificates_loaded_at = 0
        protocol = counted(load_protocol(config.proxy.mode), counters := Counters())
        self.started_at = time.monotonic()
        self._loop = ReactorLoop()
        self.services = Services(
            protocol=protocol,
            reactor=self._loop.reactor,
            settings=build.settings(config),
            topology=Topology(
                build.backends(config),
                recovery_sec=config.proxy.shun_recovery_time_sec,
                tolerated=build.tolerated(config),
                health=build.health(config),
            ),
            users=UserTable(build.users(config, protocol)),
            registry=Registry(),
            tasks=TaskSet(self._task_failed),
            log=log,
            counters=counters,
            variables=Values(variables_of(config)),
            keep_deadlines=self._loop.within,
            guard=build.guard(config, guesses),
            firewall=build.firewall(config),
        )
        if slot is not None:
            self.services.registry.number(slot, generation)
        self.shares = shares or Shares()
        self.services.topology.places = self.shares.backend
        self.services.users.share(self.shares.sessions)
        self.services.registry.row = self.shares.clients()
        self.services.topology.max_latency_ms = build.max_latency(config)
        self.services.topology.returns_everywhere = build.returns_everywhere(config)
        self.recorder = self.services.recorder = Recorder(self.services, share)
        self.folder, self._temporary = state_folder(config, log)
        self.secure(Secured.of(config, self.folder, protocol))
        self.port = Port(
            self.services.topology, clock=time.monotonic, pools=self._pool_rows,
            pins=self._pin_rows, digests=self._digest_rows, control=Control(self),
        )  # fmt: skip
        self._learning = asyncio.Semaphore(LEARNERS)
        self._drivers: dict[bool, Driver] = {}
        self._driver = self._relaying()
        self.choose_driver()
        if self.services.multiplex is None:
            self.recorder.noting.use(build.rules(config))
        self.recorder.configure(build.journal(config, self.folder))
        follow_values(self.services, self.services.variables)
        self.services.topology.on_replace.append(partial(on_replace, self))
        self.door = door = Door(self.services, lambda: self._driver)
        self.listeners = (
            Listeners(
                door.accepted,
                config.proxy.tcp_keepalive_sec,
                door.paused,
                fastopen=config.server.tcp_fastopen,
            )
            if serves
            else NoListeners()
        )
        connect_sources(self)
        self._limits = TransactionLimits(self.services, self.killer.orphan)
        self.started = False
        self.draining = False
        self.applied: list[Callable[[Config], object]] = []
        """Called with the configuration it has become."""

    def join(self, balance: Balance, mailbox: int) -> None:
        """Share clients with other workers; `mailbox` is the descriptor that ours come through."""
        self.door.balance = balance
        balance.open(mailbox, self._passed_on, self._nudged)

    def _passed_on(self, fd: int, peer: str, address: str) -> None:
        self.door.accepted(self.listeners.at(address), fd, peer, passed_on=True)

    def _nudged(self, name: str) -> None:
        row, shared = self.shares.row(name), self.services.multiplex
        if row is not None and shared is not None and not shared.pools.closed:
            shared.pools.nudged(row)

    def secure(self, secured: Secured) -> None:
        """Show and accept these from now on."""
        secured.enter(self.services)
        self.certificate = secured.shown
        self.certificates_loaded_at = int(unix_time())

    @property
    def listener(self) -> Listener:
        """The first one."""
        return self.listeners.first

    def choose_driver(self) -> None:
        """Sessions that begin from now on share backend connections, or keep one each."""
        sharing = self.config.session_mode == "multiplex"
        self._driver = self._sharing() if sharing else self._relaying()

    def _relaying(self) -> Driver:
        if False not in self._drivers:
            driver = self._drivers[False] = Driver(self.services)
            self.services.topology.on_change.append(driver.status_changed)
        return self._drivers[False]

    def _sharing(self) -> Driver:
        if True not in self._drivers:
            self._drivers[True] = self._make_sharing()
        return self._drivers[True]

    def _make_sharing(self) -> MultiplexDriver:
        config, services = self.config, self.services
        settings = build.pool(config)
        mysql = services.protocol.multiplexing
        driver = MultiplexDriver(services)
        opening = Opening(services, driver.backends)
        pools = Pools(
            topology=services.topology,
            settings=settings,
            attributes=build.hostgroups(config),
            user_limits=build.user_limits(config),
            clock=time.monotonic,
            spawn=services.tasks.spawn,
            opener=opening,
            failed=driver.connect_failed,
            log=self.log,
            shares=self.shares,
        )
        services.multiplex = Multiplexing(
            pools=pools,
            opening=opening,
            router=Router.split(build.pairs(config), settings.read_your_writes),
            digester=mysql.Digester(),
            decisions=mysql.DecisionCache(settings.decisions_max),
            digests=mysql.DigestTable(settings.digests_max),
            commands=mysql.CommandTable((*mysql.COMMAND_NAMES, "")),
            unlisted=mysql.DigestCounters(),
            statements=mysql.StatementCache(
                settings.max_stmts_cache, settings.max_stmts_cache_bytes
            ),
            routines=mysql.RoutineBook(),
            watch=mysql.Watch(),
            rules=build.rules(config),
        )
        self.recorder.attend()
        services.multiplex.on_decide_anew.append(driver.reception.forget)
        services.topology.on_change.append(driver.status_changed)  # pools have heard of it first
        services.topology.on_forget.append(opening.forget)
        if self._serves:
            services.tasks.spawn(self._upkeep(driver), "upkeep of pools")
        return driver

    @property
    def driver(self) -> Driver:
        """Of sessions that begin now."""
        return self._driver

    @property
    def killer(self) -> Killer:
        """Ends sessions and what they run."""
        return self._driver.killer

    def sever(self, backend: Backend) -> None:
        """Cut what is open to it: it does not answer."""
        for driver in self._drivers.values():
            driver.sever(backend)

    @property
    def mirror_counts(self) -> MirrorCounts:
        """What was mirrored."""
        driver = self._drivers.get(True)
        return driver.mirroring.counts if isinstance(driver, MultiplexDriver) else MirrorCounts()

    def forget_logins(self) -> None:
        """What logins were like before need not be so any more."""
        for driver in self._drivers.values():
            driver.forget_logins()

    def learn(self, backend: Backend) -> None:
        """Ask what it can do, so that clients are greeted with it."""
        if not self._serves:
            return
        self.services.tasks.spawn(self._learn(backend), f"profile of {backend}")

    async def _learn(self, backend: Backend) -> None:
        async with self._learning:  # a thousand new backends are no reason to stall for
            await self._driver.backends.learn(backend)

    def _pool_rows(self) -> list[dict[str, Any]]:
        shared = self.services.multiplex
        return shared.pools.rows() if shared is not None else []

    def _pin_rows(self) -> list[dict[str, Any]]:
        return pin_rows(self.services)

    def _digest_rows(self) -> list[Any]:
        shared = self.services.multiplex
        return list(shared.digests.snapshot()) if shared is not None else []

    @property
    def counters(self) -> Counters:
        """What happened so far that is not counted per statement."""
        return self.services.counters

    # -- start -------------------------------------------------------------------

    def start(self, told: str = "serving") -> None:
        """Listen, and say so as `told`. Raises ConfigError when the address cannot be had."""
        self.listeners.become(self.config.server.listens)
        check_descriptors(self.config, self.log)
        self.recorder.journal.proxy_addr = self.listener.address
        self._limits.start()
        self.started = True
        if self.config.auth_mode == "table":
            for backend in self.services.topology.backends:
                self.learn(backend)
        self.log.info(
            told,
            address=";".join(self.listeners.addresses),
            mode=self.config.proxy.mode,
            auth=self.config.auth_mode,
            backends=[str(b) for b in self.services.topology.backends],
        )

    async def _upkeep(self, driver: MultiplexDriver) -> None:
        """Pools are looked after once a second, and more often while sessions wait."""
        shared = self.services.sharing
        looked = time.monotonic()
        waiting = False
        while True:
            await asyncio.sleep(BUSY_UPKEEP_SEC)
            waited = waiting  # what it asked other workers for is not wanted any more
            waiting = any(group.waiting for group in shared.pools.groups.values())
            try:
                if waiting or waited or time.monotonic() - looked >= UPKEEP_SEC:
                    looked = time.monotonic()
                    shared.pools.tick()
                if waiting:
                    driver.relieve()
                    self._miss_writers()
            except Exception as error:  # without upkeep nobody who waits would be served again
                self._task_failed("upkeep of pools", error)
                await asyncio.sleep(UPKEEP_SEC)

    def _miss_writers(self) -> None:
        """Tell who follows roles where sessions wait and no server serves them."""
        roles = self.services.roles
        if roles is None:
            return
        for group in self.services.sharing.pools.groups.values():
            if group.waiting and not any(bucket.server.online for bucket in group.buckets):
                roles.wanted(group.key.hostgroup)

    def _task_failed(self, name: str, error: BaseException) -> None:
        if isinstance(error, MemoryError):
            self.log.error("out of memory", code="memory", task=name)
            return
        self.log.error("internal error", code="internal", task=name, exc_info=error)

    # -- end ---------------------------------------------------------------------

    def close_idle(self) -> None:
        """Send away whose work is done: no command, no transaction, or not logged in yet."""
        for connection in self.services.registry:
            session = connection.session
            if session is not None:
                if session.state == "idle" and not session.in_transaction:
                    session.close("shutdown")
            elif connection.busy is not None:
                connection.busy()

    async def drain(self, deadline_sec: float, *, gentle: bool = False) -> bool:
        """Stop accepting, close idle clients, let commands and transactions finish.

        `gentle`: who is idle may stay until the deadline. True if all went in time."""
        self.draining = True
        if self.door.balance is not None:
            self.door.balance.refuse()
        self.listeners.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_sec
        while len(self.services.registry) and loop.time() < end:
            if not gentle:
                self.close_idle()
            await asyncio.sleep(DRAIN_POLL_SEC)
        return not len(self.services.registry)

    async def stop(self) -> None:
        """End everything now; clients in a command are told why."""
        self._limits.stop()
        self.listeners.close()
        if self.door.balance is not None:
            self.door.balance.close()
        await self.services.tasks.cancel_all()
        if self.services.multiplex is not None:
            self.services.multiplex.pools.close()
        packet = self.services.protocol.error_packet(_Shutdown())
        for connection in self.services.registry:
            if connection.session is not None:
                connection.session.fail(packet, "shutdown")
            elif connection.busy is not None:
                connection.busy()
        self.services.reactor.poll()
        self.recorder.journal.close()
        self._loop.close()
        if self._temporary is not None:
            self._temporary.cleanup()


def counted(protocol: Protocol, counters: Counters) -> Protocol:
    """The same protocol; error packets of ours are counted."""
    make = protocol.error_packet

    def error_packet(error: HProxyError) -> bytes:
        counters.errors_made += 1
        return make(error)

    return replace(protocol, error_packet=error_packet)


class _Shutdown(HProxyError):
    code = "shutdown"
    summary = "shutting down"
