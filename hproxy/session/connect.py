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
from typing import Any

from hproxy.errors import ClientError, HProxyError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import PacketArrived, Side
from hproxy.session.backends import Backends, Opened
from hproxy.session.converse import Refusal
from hproxy.session.login import login_options, run_login
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend

__all__ = ["Connector"]


class Connector:
    """Logs clients in."""

    def __init__(self, services: Services, backends: Backends, driver: Any) -> None:
        self._services = services
        self._backends = backends
        self._driver = driver

    async def serve(self, fd: int, connection: Connection) -> None:
        """Bring one accepted client to the command phase, or refuse it with a reason."""
        services = self._services
        settings = services.settings
        try:
            client = services.protocol.channel(
                services.reactor, fd, Side.CLIENT.value, settings.max_login_packet
            )
        except OSError as error:
            connection.log.error("cannot watch the socket", error=str(error))
            services.registry.leave(connection)
            return
        login = self._relay if settings.auth_mode == "relay" else self._table
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
        self._services.registry.totals.logins_failed += 1
        gone = error.full_code == "client.gone"
        # Health checks of load balancers connect and leave: not worth a line by default.
        say = connection.log.debug if gone else connection.log.warning
        say("login failed", code=error.full_code, reason=str(error))
        if not gone:
            client.write_packet(packet or self._services.protocol.error_packet(error))

    def _leave(self, connection: Connection) -> None:
        """Undo what a login took, in reverse."""
        services = self._services
        if connection.backend is not None:
            services.topology.release(connection.backend)
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

    async def _table(self, client: Any, connection: Connection) -> None:
        services = self._services
        profile = await self._backends.profile(connection)
        machine = services.protocol.client_login(login_options(services, connection, None), profile)
        async with asyncio.timeout(services.settings.login_timeout):
            login = await run_login(services, machine, {Side.CLIENT: client})
        account = login.account
        services.users.enter(account)
        connection.account = account
        connection.client_secure = client.endpoint.secured
        if not login.database and account.default_schema:
            login = replace(login, database=account.default_schema)

        async def logged_in(backend: Backend, channel: Any) -> Any:
            return await self._backends.log_in(connection, backend, channel, login)

        opened = await self._backends.open(connection, logged_in, account.hostgroup)
        try:
            client.write_packet(services.protocol.vouch(login, opened.outcome.reply))
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
        connection.login = login
        connection.backend_login = backend_login
        connection.client_secure = client.endpoint.secured
        session = services.protocol.session(
            client, opened.channel, self._driver, backend_login, services.settings.idle_timeout
        )
        session.tag = connection
        session.max_packet = services.settings.max_packet
        connection.session = session
        connection.busy = None
        services.registry.totals.logins += 1
        connection.log.debug(
            "logged in",
            user=login.user.decode("utf-8", "replace"),
            backend=str(opened.backend),
            backend_id=backend_login.backend_id,
        )
        session.start()
