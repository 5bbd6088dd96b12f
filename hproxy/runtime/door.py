# SPDX-License-Identifier: Apache-2.0
"""Where clients come in: counted, looked at, greeted or turned away.

accepted ── another worker has fewer clients ──> its mailbox
         ── host blocked, full ──> told why, closed
         └ a balancer's PROXY header first (introduce) ──> greet: native, or a login task
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from hproxy.errors import ClientError
from hproxy.net.listener import Listener
from hproxy.runtime.balance import Balance
from hproxy.session.driver import Driver
from hproxy.session.introduction import introduce
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Door"]

NO_MEMORY = (errno.ENOMEM, errno.ENOBUFS)


class Door:
    """Of one worker; `driver` is the one for sessions that begin now."""

    def __init__(self, services: Services, driver: Callable[[], Driver]) -> None:
        self._services = services
        self._driver = driver
        self.balance: Balance | None = None
        """Where there are other workers, who may have fewer clients."""

    def accepted(self, listener: Listener, fd: int, peer: str, *, passed_on: bool = False) -> None:
        """A client has connected: its descriptor is ours from here on.

        `passed_on`: another worker has accepted it, and it stays here."""
        services = self._services
        registry = services.registry
        if not passed_on and self.balance is not None and self.balance.pass_on(fd, peer, listener):
            return
        registry.totals.accepted += 1
        connection = registry.enter(peer, services.log)
        connection.listener = listener
        if services.hosts.blocked(connection.host):
            services.counters.hosts_turned_away += 1
            blocked = ClientError(code="host", host=connection.host)
            connection.log.warning("host turned away", code=blocked.full_code)
            self._turn_away(fd, services.protocol.error_packet(blocked))
            registry.leave(connection)
            return
        if not registry.place(connection, services.settings.max_connections):
            registry.totals.refused += 1
            services.counters.denied_limit += 1
            error = ClientError(code="limit", limit=services.settings.max_connections)
            connection.log.warning("too many connections", code=error.full_code)
            services.recorder.refused(connection, error)
            self._turn_away(fd, services.protocol.error_packet(error))
            registry.leave(connection)
            return
        if not introduce(services, fd, connection, self._greet):
            self._greet(fd, connection)

    def _greet(self, fd: int, connection: Connection) -> None:
        services = self._services
        registry = services.registry
        try:
            if self._driver().greet(fd, connection):
                return
        except (OSError, MemoryError) as error:
            registry.leave(connection)
            connection.log.error("cannot watch the socket", error=str(error))
            return
        login = self._driver().connector.serve(fd, connection)
        connection.busy = services.tasks.spawn(login, f"login {connection.id}", begins=True)

    def _turn_away(self, fd: int, packet: bytes) -> None:
        """Say why and close at once: whoever is beyond the limit shall hold no descriptor.

        Nothing was read, so nothing unread turns our close into a reset.
        """
        services = self._services
        try:
            channel = services.protocol.channel(services.reactor, fd, "client", 1024)
        except OSError as error:
            services.log.error("cannot watch the socket", error=str(error))
            return
        channel.write_packet(packet)
        channel.close()

    def paused(self, error: OSError) -> None:
        """There are no descriptors, or no memory, for more clients."""
        log = self._services.log
        facts = {"reason": error.strerror, "connections": len(self._services.registry)}
        if error.errno in NO_MEMORY:
            log.error("accepting paused", code="client.memory", **facts)
        else:
            log.error("accepting paused", code="client.descriptors", **facts)
