# SPDX-License-Identifier: Apache-2.0
"""COM_CHANGE_USER: the login exchange once more, within a running session.

relay     client and backend speak, we listen
table     the client proves to us who it is now; its backend connection changes user, or hostgroup
pooled    the same, and the session goes on without any of the connections it had
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import ClientError, HProxyError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import Side
from hproxy.session.backends import Backends
from hproxy.session.login import login_options, run_login
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend

__all__ = ["UserChange"]


class UserChange:
    """Suspends a session, runs the login machines over its channels, resumes it."""

    def __init__(self, services: Services, backends: Backends) -> None:
        self._services = services
        self._backends = backends

    async def run(self, session: Any, connection: Connection, packet: bytes) -> None:
        """COM_CHANGE_USER: the login exchange once more, on the same two sockets."""
        services = self._services
        protocol, settings = services.protocol, services.settings
        client, backend = session.suspend(settings.max_login_packet)
        assert connection.backend is not None
        assert connection.login is not None
        assert connection.backend_login is not None
        options = login_options(services, connection, connection.backend)
        options = replace(
            options,
            client_secure=options.client_secure or client.endpoint.secured,
            backend_secure=options.backend_secure or backend.endpoint.secured,
        )
        channels = {Side.CLIENT: client, Side.BACKEND: backend}
        try:
            async with asyncio.timeout(settings.login_timeout):
                if settings.auth_mode == "relay":
                    machine = protocol.relay_change(options, connection.login, packet)
                    login = await run_login(services, machine, channels)
                    connection.login = connection.backend_login = login
                    services.recorder.noting.changed(connection)
                else:
                    await self._in_table(connection, options, channels, packet)
                    backend = channels[Side.BACKEND]
        except (Refusal, HProxyError, TimeoutError) as failure:
            self._refuse(session, connection, client, failure)
            return
        services.recorder.changed(connection)
        client.detach()
        session.resume(backend.detach())

    async def pooled(
        self, session: Any, connection: Connection, packet: bytes, driver: Any
    ) -> None:
        """The session becomes a new one of another account; what it left behind is reset."""
        services = self._services
        shared, mysql = services.multiplex, services.protocol.multiplexing
        assert shared is not None
        assert connection.login is not None
        before = session.part()
        if before is not None:
            shared.pools.recycle(before)
        client = session.converse(services.settings.max_login_packet)
        options = login_options(services, connection, None)
        options = replace(options, client_secure=options.client_secure or client.endpoint.secured)
        try:
            async with asyncio.timeout(services.settings.login_timeout):
                machine = services.protocol.client_change(options, connection.login, packet)
                login: LoginResult = await run_login(
                    services, machine, {Side.CLIENT: client}, host=connection.host
                )
                self._enter(connection, login)
                if not login.database and login.account.default_schema:
                    login = replace(login, database=login.account.default_schema)
                facts, settings = await driver.connector.first_settings(
                    connection, login, changes=True
                )
        except (Refusal, HProxyError, TimeoutError) as failure:
            self._refuse(session, connection, client, failure)
            return
        # COM_SET_OPTION outlives the change.
        settings = settings.with_multi_statements(session.settings.multi_statements)
        connection.login = login
        session.exact_insert_ids = login.account.asks_insert_id
        driver.follower.restart(session, connection, facts, settings)
        services.recorder.changed(connection)
        client.write_packet(mysql.login_ok(login))
        client.detach()
        session.start()

    def _enter(self, connection: Connection, login: LoginResult) -> None:
        """Count the session among those of its new account. Raises HProxyError."""
        users, before = self._services.users, connection.account
        if login.account is before:
            return
        users.enter(login.account)
        if before is not None:
            users.leave(before)
        connection.account = login.account

    async def _in_table(
        self, connection: Connection, options: Any, channels: dict[Side, Any], packet: bytes
    ) -> None:
        services = self._services
        protocol = services.protocol
        assert connection.login is not None
        assert connection.backend is not None
        assert connection.backend_login is not None
        machine = protocol.client_change(options, connection.login, packet)
        wanted: LoginResult = await run_login(services, machine, channels, host=connection.host)
        before, moves = connection.account, wanted.account is not connection.account
        if moves:
            services.users.enter(wanted.account)
        try:
            if not wanted.database and wanted.account.default_schema:
                wanted = replace(wanted, database=wanted.account.default_schema)
            if wanted.account.hostgroup == connection.backend.hostgroup:
                channels[Side.BACKEND].seq = 0
                change = protocol.backend_change(options, connection.backend_login, wanted)
                done = await run_login(services, change, channels)
            else:
                done = await self._move(connection, channels, wanted)
        except BaseException:
            if moves:
                services.users.leave(wanted.account)
            raise
        if moves and before is not None:
            services.users.leave(before)
        connection.account = wanted.account
        connection.login, connection.backend_login = wanted, done
        services.recorder.noting.changed(connection)
        channels[Side.CLIENT].write_packet(done.reply)

    async def _move(
        self, connection: Connection, channels: dict[Side, Any], wanted: LoginResult
    ) -> LoginResult:
        """The new account lives in another hostgroup: log in there, leave the old backend."""
        old, left = channels[Side.BACKEND], connection.backend
        assert left is not None

        async def logged_in(backend: Backend, channel: Any) -> Any:
            return await self._backends.log_in(connection, backend, channel, wanted)

        opened = await self._backends.open(connection, logged_in, wanted.account.hostgroup)
        self._services.topology.leave(left)
        channels[Side.BACKEND] = opened.channel
        old.seq = 0
        old.write_packet(self._services.protocol.quit_command)
        old.finish()
        done: LoginResult = opened.outcome
        return done

    def _refuse(
        self, session: Any, connection: Connection, client: Any, failure: BaseException
    ) -> None:
        """A failed change ends the session, as it does on the servers."""
        packet: bytes | None = None
        if isinstance(failure, Refusal):
            error, packet = failure.error, failure.packet
        elif isinstance(failure, HProxyError):
            error = failure
        else:
            error = ClientError("COM_CHANGE_USER took too long", code="timeout")
        connection.log.warning("change of user failed", code=error.full_code, reason=str(error))
        self._services.recorder.changed(connection, error)
        client.write_packet(packet or self._services.protocol.error_packet(error))
        client.detach()
        session.close(f"change of user failed: {error.full_code}")
