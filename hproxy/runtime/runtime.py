# SPDX-License-Identifier: Apache-2.0
"""One worker at work: reactor, listener, sessions, from start to drained.

start ─> serving ── drain ─> no new clients, idle ones closed ── all gone, or deadline ─> stop
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from hproxy.config.schema import Config
from hproxy.errors import ClientError, ConfigError, HProxyError
from hproxy.net.listener import Listener
from hproxy.net.loop import ReactorLoop
from hproxy.net.tasks import TaskSet
from hproxy.net.tls import backend_context, client_context, ensure_certificate, fingerprint
from hproxy.pool.pools import Pools
from hproxy.protocols.base import load_protocol
from hproxy.routing import Router
from hproxy.runtime import settings as build
from hproxy.runtime.port import Port
from hproxy.session.driver import Driver
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.opening import Opening
from hproxy.session.pins import pin_rows
from hproxy.session.registry import Registry
from hproxy.session.services import Multiplexing, Services
from hproxy.topology import Topology

__all__ = ["Runtime"]

DRAIN_POLL_SEC = 0.05
UPKEEP_SEC = 1.0
BUSY_UPKEEP_SEC = 0.1
DESCRIPTORS_PER_CLIENT = 2
SPARE_DESCRIPTORS = 64


class Runtime:
    """Everything one worker process owns. Use within a running event loop."""

    def __init__(self, config: Config, log: Any) -> None:
        """Raises ConfigError for certificates and keys that cannot be used."""
        self.config = config
        self.log = log
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        protocol = load_protocol(config.proxy.mode)
        self._loop = ReactorLoop()
        self.services = Services(
            protocol=protocol,
            reactor=self._loop.reactor,
            settings=build.settings(config),
            topology=Topology(
                build.backends(config),
                recovery_sec=config.proxy.shun_recovery_time_sec,
                health=build.health(config),
            ),
            users=build.users(config, protocol),
            registry=Registry(),
            tasks=TaskSet(self._task_failed),
            log=log,
        )
        self._secure()
        self.port = Port(
            self.services.topology, clock=time.monotonic, pools=self._pool_rows,
            pins=self._pin_rows, digests=self._digest_rows,
        )  # fmt: skip
        self._driver = self._make_driver()
        self.listener = Listener(
            self._accepted,
            keepalive_sec=config.proxy.tcp_keepalive_sec,
            paused=self._accept_paused,
        )
        self.draining = False

    def _make_driver(self) -> Driver:
        """Sessions that share backend connections, or keep one each."""
        config, services = self.config, self.services
        if config.session_mode != "multiplex":
            return Driver(services)
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
        )
        services.multiplex = Multiplexing(
            pools=pools,
            opening=opening,
            router=Router.split(build.pairs(config), settings.read_your_writes),
            digester=mysql.Digester(),
            decisions=mysql.DecisionCache(settings.decisions_max),
            digests=mysql.DigestTable(settings.digests_max),
            statements=mysql.StatementCache(
                settings.max_stmts_cache, settings.max_stmts_cache_bytes
            ),
            routines=mysql.RoutineBook(),
        )
        services.topology.on_change.append(driver.status_changed)  # pools have heard of it first
        return driver

    def _pool_rows(self) -> list[dict[str, Any]]:
        shared = self.services.multiplex
        return shared.pools.rows() if shared is not None else []

    def _pin_rows(self) -> list[dict[str, Any]]:
        return pin_rows(self.services)

    def _digest_rows(self) -> list[Any]:
        shared = self.services.multiplex
        return list(shared.digests.snapshot()) if shared is not None else []

    # -- start -------------------------------------------------------------------

    def start(self) -> None:
        """Listen. Raises ConfigError when the address cannot be had."""
        listen = self.config.server.listen
        try:
            self.listener.open(listen.host, listen.port, listen.path)
        except OSError as error:
            raise ConfigError(
                f"cannot listen: {error.strerror or error}",
                key="server.listen_addr",
                value=str(listen),
                hint="is another process listening there?",
            ) from error
        self._check_descriptors()
        if self.config.auth_mode == "table":
            for backend in self.services.topology.backends:
                self.services.tasks.spawn(
                    self._driver.backends.learn(backend), f"profile of {backend}"
                )
        if self.services.multiplex is not None:
            self.services.tasks.spawn(self._upkeep(), "upkeep of pools")
        self.log.info(
            "serving",
            address=self.listener.address,
            mode=self.config.proxy.mode,
            auth=self.config.auth_mode,
            backends=[str(b) for b in self.services.topology.backends],
        )

    async def _upkeep(self) -> None:
        """Pools are looked after once a second, and more often while sessions wait."""
        shared = self.services.multiplex
        assert shared is not None
        looked = time.monotonic()
        while True:
            await asyncio.sleep(BUSY_UPKEEP_SEC)
            waiting = any(group.waiting for group in shared.pools.groups.values())
            if waiting or time.monotonic() - looked >= UPKEEP_SEC:
                looked = time.monotonic()
                shared.pools.tick()
            if waiting and isinstance(self._driver, MultiplexDriver):
                self._driver.relieve()

    def _secure(self) -> None:
        """TLS contexts and the RSA key, generated where none is configured."""
        config, services = self.config, self.services
        folder = self._state_folder()
        tls = config.tls
        if tls.client != "off":
            cert, key = tls.cert, tls.key
            if cert is None:
                cert, key = ensure_certificate(folder)
            services.client_tls = client_context(cert, key, tls.ca, tls.min_version)
            services.certificate = fingerprint(cert)
        mode = tls.backend
        if mode == "off" and any(b.use_tls for b in services.topology.backends):
            mode = "required"
        services.backend_tls = backend_context(
            mode,
            ca=tls.backend_ca,
            cert=tls.backend_cert,
            key=tls.backend_key,
            min_version=tls.min_version,
        )
        services.rsa_key = build.rsa_key(folder, services.protocol)

    def _state_folder(self) -> Path:
        """The data directory; a temporary one when the default cannot be written."""
        folder = self.config.server.state_dir
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            if self.config.server.data_dir is not None:
                raise ConfigError(
                    f"cannot write: {error.strerror}",
                    key="server.data_dir",
                    value=str(folder),
                    hint="name a folder hproxy may write to",
                ) from error
            self._temporary = tempfile.TemporaryDirectory(prefix="hproxy-")
            self.log.warning(
                "keys are not kept over a restart: the data directory cannot be written",
                folder=str(folder),
                reason=error.strerror,
                hint="set server.data_dir",
            )
            return Path(self._temporary.name)

    def _check_descriptors(self) -> None:
        """Raise the soft limit as far as allowed, and say so when it is too low."""
        wanted = self.config.server.max_connections * DESCRIPTORS_PER_CLIENT + SPARE_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            reach = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reach), hard))
            soft = max(soft, reach)
        if soft < wanted:
            self.log.warning(
                "too few file descriptors for server.max_connections",
                limit=soft,
                wanted=wanted,
                hint="raise RLIMIT_NOFILE (ulimit -n)",
            )

    # -- clients -----------------------------------------------------------------

    def _accepted(self, fd: int, peer: str) -> None:
        services = self.services
        registry = services.registry
        registry.totals.accepted += 1
        full = len(registry) >= services.settings.max_connections
        connection = registry.enter(peer, self.log)
        if full:
            registry.totals.refused += 1
            error = ClientError(code="limit", limit=services.settings.max_connections)
            connection.log.warning("too many connections", code=error.full_code)
            self._turn_away(fd, services.protocol.error_packet(error))
            registry.leave(connection)
            return
        try:
            if self._driver.greet(fd, connection):
                return
        except OSError as error:
            connection.log.error("cannot watch the socket", error=str(error))
            registry.leave(connection)
            return
        login = self._driver.connector.serve(fd, connection)
        connection.busy = services.tasks.spawn(login, f"login {connection.id}", begins=True)

    def _turn_away(self, fd: int, packet: bytes) -> None:
        """Say why and close at once: whoever is beyond the limit shall hold no descriptor.

        Nothing was read, so nothing unread turns our close into a reset.
        """
        services = self.services
        try:
            channel = services.protocol.channel(services.reactor, fd, "client", 1024)
        except OSError as error:
            self.log.error("cannot watch the socket", error=str(error))
            return
        channel.write_packet(packet)
        channel.close()

    def _accept_paused(self, error: OSError) -> None:
        self.log.error(
            "accepting paused",
            code="client.descriptors",
            reason=error.strerror,
            connections=len(self.services.registry),
        )

    def _task_failed(self, name: str, error: BaseException) -> None:
        self.log.error("internal error", code="internal", task=name, exc_info=error)

    # -- end ---------------------------------------------------------------------

    async def drain(self, deadline_sec: float) -> bool:
        """Stop accepting, close idle clients, let commands and transactions finish.

        True if all went in time."""
        self.draining = True
        self.listener.close()
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_sec
        while len(self.services.registry) and loop.time() < end:
            for connection in self.services.registry:
                session = connection.session
                if session is not None:
                    if session.state == "idle" and not session.in_transaction:
                        session.close("shutdown")
                elif connection.busy is not None:
                    connection.busy()  # not logged in yet: nobody's work is lost
            await asyncio.sleep(DRAIN_POLL_SEC)
        return not len(self.services.registry)

    async def stop(self) -> None:
        """End everything now; clients in a command are told why."""
        self.listener.close()
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
        self._loop.close()
        if self._temporary is not None:
            self._temporary.cleanup()


class _Shutdown(HProxyError):
    code = "shutdown"
    summary = "shutting down"
