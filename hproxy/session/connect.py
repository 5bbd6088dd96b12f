# SPDX-License-Identifier: Apache-2.0
"""From an accepted socket to a running session: performs what login machines ask for.

    serve ─ relay ─> open_backend (first greeting wins) ─> converse(RelayLogin) ──────┐
          └ table ─> profile ─> converse(ClientLogin) ─> open_backend(BackendLogin) ─> start

Holds no rules: machines decide, this awaits. Every wait has a deadline. A backend that
refuses or does not answer is passed over before the client notices.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from hproxy.errors import (
    BackendError,
    ClientError,
    ConnectError,
    HProxyError,
    PoolTimeout,
)
from hproxy.net.resolver import connect
from hproxy.protocols.base import LoginOptions, LoginResult
from hproxy.protocols.model import Event, Login, PacketArrived, Side
from hproxy.session.converse import Channels, Refusal, converse
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend

__all__ = ["Connector", "Opened"]


@dataclass(slots=True)
class Opened:
    """A backend connection whose first packet, or whole login, has succeeded."""

    backend: Backend
    channel: Any
    outcome: Any


class Connector:
    """Logs clients in and opens backends in their name."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._driver = driver

    # -- a client ----------------------------------------------------------------

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
        async def greeted(backend: Backend, channel: Any) -> Any:
            packet: bytes = await channel.read_packet()
            self._judge(packet)
            return packet

        opened = await self.open_backend(connection, greeted)
        try:
            machine = self._services.protocol.relay_login(self.options(connection, opened.backend))
            channels = {Side.CLIENT: client, Side.BACKEND: opened.channel}
            async with asyncio.timeout(self._services.settings.login_timeout):
                login = await self.converse(
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
        profile = await self._profile(connection)
        machine = services.protocol.client_login(self.options(connection, None), profile)
        async with asyncio.timeout(services.settings.login_timeout):
            login = await self.converse(machine, {Side.CLIENT: client})
        account = login.account
        services.users.enter(account)
        connection.account = account
        connection.client_secure = client.endpoint.secured
        if not login.database and account.default_schema:
            login = replace(login, database=account.default_schema)

        async def logged_in(backend: Backend, channel: Any) -> Any:
            return await self.log_in(connection, backend, channel, login)

        opened = await self.open_backend(connection, logged_in, account.hostgroup)
        client.write_packet(services.protocol.vouch(login, opened.outcome.reply))
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

    # -- backends ----------------------------------------------------------------

    async def open_backend(
        self,
        connection: Connection,
        use: Callable[[Backend, Any], Awaitable[Any]],
        hostgroup: int | None = None,
        only: Backend | None = None,
    ) -> Opened:
        """Try backends in turn until `use(backend, channel)` succeeds.

        The reserved place is recorded in `connection.backend`; with `only` nothing is
        reserved (side connections). Raises PoolTimeout, ConnectError, Refusal.
        """
        services = self._services
        settings, topology = services.settings, services.topology
        group = settings.hostgroup if hostgroup is None else hostgroup
        begun = monotonic()
        candidates = (only,) if only else topology.order(group, begun, random.random)
        failure: HProxyError | None = None
        for backend in candidates:
            left = settings.connect_timeout_max - (monotonic() - begun)
            if left <= 0:
                break
            if only is None:
                topology.reserve(backend)
            channel: Any = None
            try:
                async with asyncio.timeout(min(left, settings.connect_timeout)):
                    fd = await connect(
                        backend.host,
                        backend.port,
                        path=backend.path,
                        keepalive_sec=settings.keepalive_sec,
                    )
                    # Logins are short on both sides; commands never pass through a channel.
                    channel = services.protocol.channel(
                        services.reactor, fd, Side.BACKEND.value, settings.max_login_packet
                    )
                    outcome = await use(backend, channel)
            except (ConnectError, BackendError, TimeoutError, OSError) as error:
                failure = self._failed(connection, backend, error)
            except BaseException:
                if channel is not None:
                    channel.close()
                if only is None:
                    topology.release(backend)
                raise
            else:
                if only is None:
                    topology.opened(backend)
                    connection.backend = backend
                return Opened(backend, channel, outcome)
            if channel is not None:
                channel.close()
            if only is None:
                topology.release(backend)
        raise self._unreachable(group, failure, monotonic() - begun, len(candidates))

    def _failed(
        self, connection: Connection, backend: Backend, error: BaseException
    ) -> HProxyError:
        services = self._services
        ours = False
        if isinstance(error, HProxyError):
            failure = error
        elif isinstance(error, TimeoutError):
            seconds = services.settings.connect_timeout
            failure = ConnectError(f"no answer within {seconds:g} s", code="timeout")
        else:
            # No descriptor or memory for a socket: no reason to shun anybody.
            failure, ours = ConnectError(str(error), code="local"), True
        services.registry.totals.backend_connect_errors += 1
        if not ours:
            services.topology.failed(backend, str(failure), monotonic())
        connection.log.warning(
            "backend not reachable",
            backend=str(backend),
            code=failure.full_code,
            reason=str(failure),
        )
        return failure

    def _unreachable(
        self, group: int, failure: HProxyError | None, waited: float, tried: int
    ) -> Exception:
        packet = failure.facts.get("packet") if failure is not None else None
        if isinstance(packet, bytes) and tried == 1:
            return Refusal(failure or ConnectError(), packet)  # its own words say it best
        if waited >= self._services.settings.connect_timeout_max:
            return PoolTimeout(hostgroup=group, waited_ms=round(waited * 1000))
        reason = (
            failure.reason
            if failure is not None
            else "no backend is online with connections left below its max_connections"
        )
        return ConnectError(reason, hostgroup=group, tried=tried)

    async def log_in(
        self, connection: Connection, backend: Backend, channel: Any, wanted: LoginResult
    ) -> LoginResult:
        """Log in to `backend` as `wanted`. Raises ConnectError when another may do better."""
        services = self._services
        machine = services.protocol.backend_login(self.options(connection, backend), wanted)
        try:
            return await self.converse(machine, {Side.BACKEND: channel}, backend=backend)
        except Refusal as refusal:
            if refusal.error.full_code == "pool.connect.capabilities":
                services.tasks.spawn(self.learn(backend), f"profile of {backend}")
            number = refusal.error.facts.get("number")
            if refusal.packet is None and isinstance(refusal.error, ConnectError):
                raise refusal.error from None
            if isinstance(number, int) and services.protocol.retryable(number):
                raise ConnectError(
                    refusal.error.reason, code="refused", number=number, packet=refusal.packet
                ) from None
            raise

    async def _profile(self, connection: Connection) -> Any:
        """What all backends heard of can do; asks one when none was heard of."""
        services = self._services
        known = services.profiles
        if not known:
            opened = await self.open_backend(connection, self._greeting)
            known[opened.backend] = opened.outcome
            services.topology.release(opened.backend)
            connection.backend = None
            opened.channel.close()
        return services.protocol.meet(list(known.values()))

    async def learn(self, backend: Backend) -> None:
        """Ask `backend` for its greeting, so that clients are greeted with what it can do."""
        services = self._services
        asking = Connection(0, "", "", services.log.bind(conn=0))
        try:
            opened = await self.open_backend(asking, self._greeting, only=backend)
        except (HProxyError, Refusal):
            return  # logged; it will be asked by the first client that comes
        services.profiles[backend] = opened.outcome
        opened.channel.close()

    async def _greeting(self, _: Backend, channel: Any) -> Any:
        return self._judge(await channel.read_packet())

    def _judge(self, packet: bytes) -> Any:
        """The profile in a greeting. Raises ConnectError for an ERR, which is never about a user,
        and BackendProtocolError for anything else: both mean "try the next one"."""
        number, text = self._services.protocol.read_error(packet)
        if number:
            raise ConnectError(text, code="refused", number=number, packet=packet)
        return self._services.protocol.profile(packet)

    # -- machines ----------------------------------------------------------------

    def options(self, connection: Connection, backend: Backend | None) -> LoginOptions:
        """What a login machine must know."""
        services = self._services
        settings = services.settings
        tls = settings.backend_tls
        if backend is not None and backend.use_tls and tls == "off":
            tls = "required"
        return LoginOptions(
            connection_id=connection.id,
            client_host=connection.host,
            client_tls=settings.client_tls if services.client_tls is not None else "off",
            client_secure=connection.peer == "unix" or connection.client_secure,
            backend_tls="off" if backend is not None and backend.path is not None else tls,
            backend_secure=backend is not None and backend.path is not None,
            default_plugin=settings.default_plugin,
            server_version=settings.server_version,
            rsa_key=services.rsa_key,
            certificate=services.certificate,
            attributes=settings.attributes,
        )

    async def converse(
        self,
        machine: Login,
        channels: Channels,
        *,
        first: Event | None = None,
        backend: Backend | None = None,
    ) -> LoginResult:
        """Run `machine` to its end. Raises Refusal, ClientError, BackendError."""
        services = self._services

        async def secure(side: Side, channel: Any) -> None:
            if side is Side.CLIENT:
                await channel.start_tls(services.client_tls, server_side=True)
                return
            name = services.settings.backend_server_name or (backend.host if backend else None)
            await channel.start_tls(
                services.backend_tls, server_side=False, server_hostname=name or None
            )

        return await converse(
            machine, channels, find=services.users.find, secure=secure, first=first
        )
