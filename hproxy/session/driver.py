# SPDX-License-Identifier: Apache-2.0
"""The slow points of a running session: what happens when the native relay asks Python.

    slow_command   KILL of an id of ours, COM_CHANGE_USER; anything else is forwarded
    client_lost    end; a query still running on the backend is killed there
    backend_lost   the client is told where the protocol allows it, then closed
    *_fault        somebody broke the protocol: told, logged, closed
    timed_out      idle for too long

Each method gets the session; `session.tag` is its Connection. Nothing here runs for an
ordinary command.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from hproxy.errors import (
    BackendLost,
    BackendProtocolError,
    ClientError,
    HProxyError,
    PoolTimeout,
)
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import ChangeUser, Kill, Side
from hproxy.session.connect import Connector
from hproxy.session.converse import Refusal
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Driver"]

KILL_TIMEOUT = 5.0


class Driver:
    """Implements the native session's slow points for all sessions of a worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.connector = Connector(services, self)

    # -- commands ----------------------------------------------------------------

    def slow_command(self, session: Any, payload: bytes) -> None:
        """Answer a command the fast lane does not judge."""
        connection: Connection = session.tag
        assert connection.login is not None
        match self._services.protocol.interpret(payload, connection.login):
            case Kill() as kill:
                self._kill(session, connection, kill, payload)
            case ChangeUser(packet):
                work = partial(self._change_user, packet=packet)
                self._spawn(session, connection, "change", work)
            case _:
                session.forward(payload)

    def _spawn(
        self,
        session: Any,
        connection: Connection,
        name: str,
        work: Callable[[Any, Connection], Awaitable[None]],
    ) -> None:
        """Do `work` in the background; the session is then busy with it."""

        async def guarded() -> None:
            try:
                await work(session, connection)
            except Exception:
                # A mistake of ours ends the session: nobody else would ever answer its client.
                session.close("internal error")
                raise

        connection.busy = self._services.tasks.spawn(guarded(), f"{name} {connection.id}")

    def _kill(self, session: Any, connection: Connection, kill: Kill, payload: bytes) -> None:
        """KILL: our ids are translated; ids of the backend's own pass through as they are."""
        target = self._services.registry.find(kill.target)
        if target is None or target.backend is None or target.backend_login is None:
            session.forward(payload)
        elif target.backend == connection.backend:
            # The backend itself checks who may kill whom.
            session.forward(kill.rewrite(target.backend_login.backend_id))
        else:
            work = partial(self._kill_elsewhere, target=target, kill=kill)
            self._spawn(session, connection, "kill", work)

    async def _kill_elsewhere(
        self, session: Any, connection: Connection, target: Connection, kill: Kill
    ) -> None:
        """The target lives on another backend: kill it there in its own user's name."""
        protocol = self._services.protocol
        assert connection.login is not None
        assert target.login is not None
        try:
            if connection.login.user != target.login.user:
                raise ClientError("", code="kill_owner", id=kill.target)
            if not kill.alone:
                raise ClientError(
                    "it lives on another backend: send the KILL by itself",
                    code="kill_other",
                    id=kill.target,
                )
            if not kill.query_only:
                if target.session is not None:
                    target.session.close("killed")
            elif not await self._kill_query(target):
                raise ClientError(
                    "it runs on another backend, for which no password is known; "
                    "set proxy.monitor_username",
                    code="kill_other",
                    id=kill.target,
                )
            answer = protocol.ok_packet(connection.login)
        except Refusal as refusal:
            answer = protocol.error_packet(refusal.error)
        except (HProxyError, TimeoutError) as error:
            known = error if isinstance(error, HProxyError) else PoolTimeout()
            answer = protocol.error_packet(known)
        if session.state == "slow":
            session.reply([answer])

    async def _change_user(self, session: Any, connection: Connection, packet: bytes) -> None:
        """COM_CHANGE_USER: the login exchange once more, on the same two sockets."""
        services = self._services
        protocol, settings = services.protocol, services.settings
        client, backend = session.suspend(settings.max_login_packet)
        assert connection.backend is not None
        assert connection.login is not None
        assert connection.backend_login is not None
        options = self.connector.options(connection, connection.backend)
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
                    login = await self.connector.converse(machine, channels)
                    connection.login = connection.backend_login = login
                else:
                    await self._change_in_table(connection, options, channels, packet)
        except (Refusal, HProxyError, TimeoutError) as failure:
            self._refuse_change(session, connection, client, failure)
            return
        client.detach()
        backend.detach()
        session.resume()

    async def _change_in_table(
        self, connection: Connection, options: Any, channels: dict[Side, Any], packet: bytes
    ) -> None:
        services = self._services
        protocol = services.protocol
        assert connection.login is not None
        assert connection.backend_login is not None
        machine = protocol.client_change(options, connection.login, packet)
        wanted: LoginResult = await self.connector.converse(machine, channels)
        services.users.enter(wanted.account)
        try:
            if not wanted.database and wanted.account.default_schema:
                wanted = replace(wanted, database=wanted.account.default_schema)
            channels[Side.BACKEND].seq = 0
            change = protocol.backend_change(options, connection.backend_login, wanted)
            done = await self.connector.converse(change, channels)
        except BaseException:
            services.users.leave(wanted.account)
            raise
        if connection.account is not None:
            services.users.leave(connection.account)
        connection.account = wanted.account
        connection.login, connection.backend_login = wanted, done
        channels[Side.CLIENT].write_packet(done.reply)

    def _refuse_change(
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
        client.write_packet(packet or self._services.protocol.error_packet(error))
        client.detach()
        session.close(f"change of user failed: {error.full_code}")

    # -- losses ------------------------------------------------------------------

    def client_lost(self, session: Any, error: int) -> None:
        """The client is gone; nobody waits for its query any more."""
        connection: Connection = session.tag
        state = session.state
        if state == "idle":
            session.close("client left")
            return
        self._services.registry.totals.aborted_clients += 1
        running = state in ("response", "infile")
        connection.log.info(
            "client gone during a command",
            code="client.gone",
            state=state,
            reason=os.strerror(error) if error else "closed by client",
        )
        if running and self._services.settings.kill_on_disconnect:
            self._services.tasks.spawn(self._kill_orphan(connection), f"orphan {connection.id}")
        session.close("client gone during a command")

    def backend_lost(self, session: Any, error: int) -> None:
        """The backend closed or reset the connection."""
        connection: Connection = session.tag
        state = session.state
        reason = os.strerror(error) if error else "closed by backend"
        if session.farewell or connection.killed:
            connection.log.info(
                "backend ended the session",
                code="backend.farewell",
                backend=str(connection.backend),
                state=state,
                reason="it said why" if session.farewell else "killed",
            )
            session.close("backend ended the session")
            return
        self._services.registry.totals.aborted_backends += 1
        lost = BackendLost(reason, phase=state)
        connection.log.warning(
            "backend lost",
            code=lost.full_code,
            backend=str(connection.backend),
            state=state,
            reason=reason,
        )
        if state == "idle":
            session.close("backend lost while idle")
        else:
            session.fail(self._services.protocol.error_packet(lost), "backend lost")

    def client_fault(self, session: Any, reason: str) -> None:
        """The client broke the protocol."""
        error = ClientError(reason, code="sequence")
        session.tag.log.warning("client broke the protocol", code=error.full_code, reason=reason)
        session.fail(self._services.protocol.error_packet(error), "client broke the protocol")

    def backend_fault(self, session: Any, reason: str) -> None:
        """The backend's bytes make no sense."""
        error = BackendProtocolError(reason)
        session.tag.log.error(
            "backend broke the protocol",
            code=error.full_code,
            backend=str(session.tag.backend),
            command=session.command,
            reason=reason,
        )
        session.fail(self._services.protocol.error_packet(error), "backend broke the protocol")

    def timed_out(self, session: Any) -> None:
        """Nothing came from the client for longer than proxy.idle_timeout_sec."""
        session.tag.log.info("idle timeout", code="client.idle", state=session.state)
        session.close("idle timeout")

    def broken(self, session: Any, error: BaseException) -> None:
        """A mistake of ours: this session pays, the others never notice."""
        session.tag.log.error("internal error", code="internal", exc_info=error)
        session.close("internal error")

    def closed(self, session: Any, reason: str) -> None:
        """Both sockets were given up."""
        connection: Connection = session.tag
        services = self._services
        if connection.busy is not None:
            connection.busy()
        connection.log.debug("session ended", reason=reason, commands=session.commands)
        if connection.backend is not None:
            services.topology.release(connection.backend)
        if connection.account is not None:
            services.users.leave(connection.account)
        services.registry.leave(connection)
        connection.session = None  # the two refer to each other: do not wait for the collector

    # -- side connections ----------------------------------------------------------

    async def _kill_orphan(self, connection: Connection) -> None:
        """End the query of a client that is gone."""
        try:
            killed = await self._kill_query(connection)
        except (HProxyError, Refusal, TimeoutError) as error:
            connection.log.warning("orphaned query not killed", reason=str(error))
            return
        if killed:
            connection.log.info("orphaned query killed", backend=str(connection.backend))
        else:
            connection.log.info(
                "orphaned query left to the backend: no password is known to kill it with",
                hint="set proxy.monitor_username and proxy.monitor_password",
            )

    async def _kill_query(self, target: Connection) -> bool:
        """Kill what `target` runs, over a connection of our own; False without a password.

        Raises ConnectError, Refusal, BackendError.
        """
        services = self._services
        settings, protocol = services.settings, services.protocol
        assert target.backend_login is not None
        assert target.login is not None
        wanted = protocol.side_login(
            target.login,
            None
            if not settings.monitor_user
            else (settings.monitor_user, settings.monitor_password),
        )
        if wanted is None:
            return False
        backend_id = target.backend_login.backend_id

        async def kill(backend: Any, channel: Any) -> None:
            await self.connector.log_in(target, backend, channel, wanted)
            channel.seq = 0
            channel.write_packet(protocol.kill_command(backend_id, True))
            answer = await channel.read_packet()
            number, text = protocol.read_error(answer)
            # 1094: it has ended meanwhile, which is what was wanted.
            if number not in (0, 1094):
                raise ClientError(text, code="kill_other", id=target.id)
            channel.seq = 0
            channel.write_packet(b"\x01")

        async with asyncio.timeout(KILL_TIMEOUT):
            opened = await self.connector.open_backend(target, kill, only=target.backend)
        opened.channel.finish()
        return True
