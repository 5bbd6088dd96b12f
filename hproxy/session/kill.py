# SPDX-License-Identifier: Apache-2.0
"""KILL across backends, and the end of queries that nobody waits for any more.

A query is killed over a side connection in its own user's name, or with the monitor account
where no password is known (relay mode).
"""

from __future__ import annotations

import asyncio
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import AdminError, ClientError, HProxyError, PoolTimeout
from hproxy.protocols.model import Kill
from hproxy.session.backends import Backends
from hproxy.session.registry import FIRST_ID, Connection
from hproxy.session.services import Services

__all__ = ["Killer"]

KILL_TIMEOUT = 5.0


class Killer:
    """Kills what runs on backends, from outside the session that runs it."""

    def __init__(self, services: Services, backends: Backends) -> None:
        self._services = services
        self._backends = backends

    async def elsewhere(
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
                self.connection(target)
            elif target.session is not None and target.session.state == "waiting":
                # It has no connection yet: nothing of it runs anywhere.
                target.session.refuse(protocol.multiplexing.INTERRUPTED)
            elif not await self.query(target):
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

    async def abroad(self, session: Any, connection: Connection, kill: Kill) -> None:
        """The target may be a session of another worker."""
        protocol, elsewhere = self._services.protocol, self._services.elsewhere
        assert connection.login is not None
        assert elsewhere is not None
        try:
            if not kill.alone:
                raise ClientError(
                    "it lives in another worker: send the KILL by itself",
                    code="kill_other",
                    id=kill.target,
                )
            if not await elsewhere(kill.target, kill.query_only, connection.login.user):
                raise ClientError("there is no such session", code="kill_other", id=kill.target)
            answer = protocol.ok_packet(connection.login)
        except (HProxyError, TimeoutError) as error:
            if not isinstance(error, ClientError):
                reason = str(error) or "no answer"
                error = ClientError(reason, code="kill_other", id=kill.target)
            answer = protocol.error_packet(error)
        if session.state == "slow":
            session.reply([answer])

    def foreign(self, kill: Kill) -> bool:
        """Whether its id is one that another worker of this service may have given."""
        services = self._services
        if services.elsewhere is None or kill.target < FIRST_ID:
            return False
        return services.registry.find(kill.target) is None

    async def running(self, target: Connection) -> None:
        """An operator ends what a session runs, and not the session. Raises AdminError."""
        session = target.session
        if session is not None and session.state == "waiting":
            session.refuse(self._services.protocol.multiplexing.INTERRUPTED)
            return
        try:
            if not await self.query(target):
                raise AdminError("no password is known to kill it with", code="kill")
        except (HProxyError, Refusal, TimeoutError) as error:
            if isinstance(error, AdminError):
                raise
            raise AdminError(f"not killed: {str(error) or 'no answer'}", code="kill") from error

    def connection(self, target: Connection) -> None:
        """End a session from outside, and what it runs on its backend."""
        session = target.session
        if session is None:
            if target.busy is not None:
                target.busy()  # not logged in yet
            return
        if session.state in ("response", "infile"):
            self._services.tasks.spawn(self.orphan(target), f"orphan {target.id}")
        self._services.counters.killed_connections += 1
        session.close("killed")

    async def orphan(self, connection: Connection) -> None:
        """End the query of a client that is gone."""
        try:
            killed = await self.query(connection)
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

    async def query(self, target: Connection) -> bool:
        """Kill what `target` runs, over a connection of our own; False without a password.

        Raises ConnectError, Refusal, BackendError.
        """
        services = self._services
        settings, protocol = services.settings, services.protocol
        where, login = target.where()
        if where is None or login is None:
            return True  # nothing of it runs
        assert target.login is not None
        wanted = protocol.side_login(
            target.login,
            None
            if not settings.monitor_user
            else (settings.monitor_user, settings.monitor_password),
        )
        if wanted is None:
            return False
        backend_id = login.backend_id

        async def kill(backend: Any, channel: Any) -> None:
            await self._backends.log_in(target, backend, channel, wanted)
            channel.seq = 0
            channel.write_packet(protocol.kill_command(backend_id, True))
            answer = await channel.read_packet()
            number, text = protocol.read_error(answer)
            # 1094: it has ended meanwhile, which is what was wanted.
            if number not in (0, 1094):
                raise ClientError(text, code="kill_other", id=target.id)
            channel.seq = 0
            channel.write_packet(protocol.quit_command)

        async with asyncio.timeout(KILL_TIMEOUT):
            opened = await self._backends.open(target, kill, only=where)
        services.counters.killed_queries += 1
        opened.channel.finish()
        return True
