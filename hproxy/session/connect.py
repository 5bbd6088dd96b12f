# SPDX-License-Identifier: Apache-2.0
"""From an accepted socket to a running session: performs what login machines ask for.

    serve ─ relay ─> backends.open (first greeting wins) ─> run_login(RelayLogin) ──────┐
          └ table ─> profile ─> run_login(ClientLogin) ─> backends.open(log_in) ─> start

Holds no rules: machines decide, this awaits. Every wait has a deadline. A backend that
refuses or does not answer is passed over before the client notices.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import AuthError, ClientError, ConnectError, HProxyError, PoolTimeout
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import PacketArrived, Side
from hproxy.session.backends import Backends, Opened
from hproxy.session.login import login_options, run_login
from hproxy.session.opening import StepRefused
from hproxy.session.reception import Begun, resumed
from hproxy.session.registry import Connection
from hproxy.session.ruling import Ruling
from hproxy.session.services import Services
from hproxy.telemetry.clock import unix_time
from hproxy.topology import Backend

__all__ = ["Connector"]

PASSWORD_WRONG = ("auth", "auth.rsa", "auth.backend")


class Connector:
    """Logs clients in."""

    def __init__(self, services: Services, backends: Backends, driver: Any) -> None:
        self._services = services
        self._backends = backends
        self._driver = driver

    async def serve(self, fd: int, connection: Connection) -> None:
        """Bring one accepted client to the command phase, or refuse it with a reason."""
        services = self._services
        limit = services.settings.max_login_packet
        try:
            client = services.protocol.channel(services.reactor, fd, Side.CLIENT.value, limit)
        except OSError as error:
            connection.log.error("cannot watch the socket", error=str(error))
            services.registry.leave(connection)
            return
        await self.log_in(client, connection)

    async def log_in(self, client: Any, connection: Connection, begun: Begun | None = None) -> None:
        """The same on a channel; `begun` tells of a login that compiled code began."""
        services = self._services
        settings = services.settings
        login = self._relay if settings.auth_mode == "relay" else self._table
        if self._driver.shares:
            login = partial(self._multiplexed, begun=begun)
        started = False
        try:
            await login(client, connection)
            started = True
        except Refusal as refusal:
            self._refuse(client, connection, refusal.error, refusal.packet)
        except HProxyError as error:
            self._refuse(client, connection, error, None)
        except TimeoutError:
            late = ClientError("login took too long", code="timeout")
            self._refuse(client, connection, late, None)
        finally:
            if not started:
                client.finish()
                self._leave(connection)

    def _refuse(
        self, client: Any, connection: Connection, error: HProxyError, packet: bytes | None
    ) -> None:
        services = self._services
        services.registry.totals.logins_failed += 1
        services.hosts.failed(connection.host, unix_time())
        counters = services.counters
        counters.denied_password += error.full_code in PASSWORD_WRONG
        counters.denied_user_limit += error.full_code == "client.user_limit"
        gone = error.full_code == "client.gone"
        # Health checks of load balancers connect and leave: not worth a line by default.
        say = connection.debug if gone else connection.log.warning
        say("login failed", code=error.full_code, reason=str(error))
        self._services.recorder.refused(connection, error)
        if not gone:
            client.write_packet(packet or services.protocol.error_packet(error))

    def _leave(self, connection: Connection) -> None:
        """Undo what a login took, in reverse."""
        services = self._services
        if connection.backend is not None:
            services.topology.leave(connection.backend)
            connection.backend = None
        if connection.account is not None:
            services.users.leave(connection.account)
            connection.account = None
        services.registry.leave(connection)

    async def _relay(self, client: Any, connection: Connection) -> None:
        services = self._services

        async def greeted(backend: Backend, channel: Any) -> Any:
            packet: bytes = await channel.read_packet()
            self._backends.judge(packet)
            return packet

        opened = await self._backends.open(connection, greeted)
        try:
            machine = services.protocol.relay_login(
                login_options(services, connection, opened.backend)
            )
            channels = {Side.CLIENT: client, Side.BACKEND: opened.channel}
            async with asyncio.timeout(services.settings.login_timeout):
                login = await run_login(
                    services,
                    machine,
                    channels,
                    first=PacketArrived(Side.BACKEND, opened.outcome),
                    backend=opened.backend,
                )
        except BaseException:
            opened.channel.close()
            raise
        self._start(connection, client, opened, login, login)

    async def _client_login(
        self, client: Any, connection: Connection, begun: Begun | None = None
    ) -> tuple[LoginResult, Any]:
        """The client proves who it is, to us; how that was checked, for others like it."""
        services = self._services
        options = resumed(login_options(services, connection, None), begun)
        profile = begun.profile if begun is not None else await self._backends.profile()
        machine: Any = services.protocol.client_login(options, profile)
        left = begun.seconds if begun is not None else services.settings.login_timeout
        async with asyncio.timeout(left):
            login = await run_login(services, machine, {Side.CLIENT: client}, host=connection.host)
        account = login.account
        services.users.enter(account)
        connection.account = account
        connection.client_secure = client.endpoint.secured
        if not login.database and account.default_schema:
            login = replace(login, database=account.default_schema)
        return login, machine.shortcut

    async def _multiplexed(
        self, client: Any, connection: Connection, begun: Begun | None = None
    ) -> None:
        """Logged in here; a backend is asked only for what nobody has asked it before."""
        services = self._services
        shared, mysql = services.multiplex, services.protocol.multiplexing
        assert shared is not None
        login, shortcut = await self._client_login(client, connection, begun)
        account = login.account
        if account.fast_forward:
            await self._direct(client, connection, login)
            return
        connection.login = login
        connection.kind = mysql.kind_of(login.capabilities)
        facts, settings = await self.first_settings(connection, login)
        ok = services.protocol.vouch(login, mysql.login_ok(login))
        client.write_packet(ok)
        if login.compression is not None:
            client.start_compression(login.compression)
        session = self.session_of(connection, client, login, settings)
        connection.busy = None
        self._driver.follower.begin(session, connection, facts)
        if begun is not None and settings.charset.speakable:
            self._driver.reception.remember(begun, shortcut, connection, facts, ok)
        services.registry.totals.logins += 1
        services.hosts.succeeded(connection.host)
        services.recorder.came(connection)
        connection.debug("logged in", user=login.user.decode("utf-8", "replace"))
        session.start()

    def session_of(
        self, connection: Connection, client: Any, login: LoginResult, settings: Any
    ) -> Any:
        """A session on the client's channel that shares backend connections, not started."""
        services = self._services
        shared = services.sharing
        session = services.protocol.multiplexing.session(
            client, self._driver, shared.digester, shared.decisions, settings, login,
            services.settings.idle_timeout,
        )  # fmt: skip
        session.tag = connection
        session.max_packet = services.settings.max_packet
        session.exact_insert_ids = login.account.asks_insert_id
        session.watch = shared.watch
        session.fast_lane = shared.pools.settings.fast_lane
        session.hold_seconds = shared.pools.settings.read_your_writes
        session.wait_limit = services.settings.connect_timeout_max
        connection.session = session
        connection.pooled = True
        return session

    async def first_settings(
        self, connection: Connection, login: LoginResult, changes: bool = False
    ) -> tuple[Any, Any]:
        """What is known of the servers of this account, and what a session begins with there.

        Raises Refusal, HProxyError."""
        services = self._services
        shared = services.multiplex
        assert shared is not None
        account = login.account
        facts = await self.facts_for(connection, account)
        settings = facts.first_settings(login, changes)
        if account.isolation:
            settings = facts.isolated(settings, account.isolation)
        hostgroup = Ruling(services).home(connection, account, login.database)
        known = (account.username, hostgroup, login.database)
        unheard = login.database and known not in shared.known_schemas
        if unheard or not settings.charset.speakable:
            group = shared.pools.group(hostgroup, account, connection.kind, settings)
            await self._try_schema(group, settings)
            shared.known_schemas.add(known)
        return facts, settings

    async def facts_for(self, connection: Connection, account: Any) -> Any:
        """What is known of the servers this account goes to; opens a connection to learn it."""
        services = self._services
        shared = services.multiplex
        assert shared is not None
        for backend in services.topology.members(account.hostgroup):
            if backend in shared.opening.facts:
                return shared.opening.facts[backend]
        mysql = services.protocol.multiplexing
        settings = mysql.Settings.make()
        group = shared.pools.group(account.hostgroup, account, connection.kind, settings)
        pooled = await self._borrow(group, settings)
        facts = shared.opening.facts[pooled.bucket.server.backend]
        group.give(pooled)
        return facts

    async def _borrow(self, group: Any, settings: Any) -> Any:
        services = self._services
        assert services.multiplex is not None
        future = asyncio.get_running_loop().create_future()
        limit = services.settings.connect_timeout_max
        try:
            async with asyncio.timeout(limit):
                return await services.multiplex.pools.borrow(group, settings, future)
        except TimeoutError:
            failure = group.key.last_error
            if isinstance(failure, HProxyError) and not group.has_connections:
                raise ConnectError(
                    failure.reason, hostgroup=group.key.hostgroup, tried=group.key.failures
                ) from None
            raise PoolTimeout(
                hostgroup=group.key.hostgroup, waited_ms=round(limit * 1000)
            ) from None

    async def _try_schema(self, group: Any, settings: Any) -> None:
        """What the client named must exist and be allowed. Raises Refusal."""
        shared = self._services.multiplex
        assert shared is not None
        try:
            pooled = await self._borrow(group, settings)
            try:
                if pooled.settings is not settings:
                    await self._driver.leases.replay(pooled, settings)
            except BaseException:
                shared.pools.retire(pooled, polite=False)
                raise
        except StepRefused as refused:
            error = AuthError(refused.reason, code="schema", number=refused.number)
            raise Refusal(error, refused.packet) from None
        group.give(pooled)

    async def _table(self, client: Any, connection: Connection) -> None:
        login, _ = await self._client_login(client, connection)
        await self._direct(client, connection, login)

    async def _direct(self, client: Any, connection: Connection, login: LoginResult) -> None:
        """With a backend connection of its own, and nothing in between."""
        services = self._services
        account = login.account

        async def logged_in(backend: Backend, channel: Any) -> Any:
            return await self._backends.log_in(connection, backend, channel, login)

        opened = await self._backends.open(connection, logged_in, account.hostgroup)
        try:
            client.write_packet(services.protocol.vouch(login, opened.outcome.reply))
            if login.compression is not None:
                client.start_compression(login.compression)
        except BaseException:
            opened.channel.close()
            raise
        self._start(connection, client, opened, login, opened.outcome)

    def _start(
        self,
        connection: Connection,
        client: Any,
        opened: Opened,
        login: LoginResult,
        backend_login: LoginResult,
    ) -> None:
        services = self._services
        services.counters.at(opened.backend).opened += 1
        connection.login = login
        connection.backend_login = backend_login
        connection.client_secure = client.endpoint.secured
        session = services.protocol.session(
            client,
            opened.channel,
            self._driver.direct,
            backend_login,
            services.settings.idle_timeout,
        )
        session.tag = connection
        session.max_packet = services.settings.max_packet
        connection.session = session
        connection.busy = None
        services.registry.totals.logins += 1
        services.hosts.succeeded(connection.host)
        services.recorder.came(connection)
        services.recorder.noting.begin(connection)
        connection.debug(
            "logged in",
            user=login.user.decode("utf-8", "replace"),
            backend=str(opened.backend),
            backend_id=backend_login.backend_id,
        )
        session.start()
