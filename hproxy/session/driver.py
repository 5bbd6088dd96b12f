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

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from hproxy.errors import BackendLost, BackendProtocolError, ClientError
from hproxy.protocols.model import ChangeUser, Kill
from hproxy.session.backends import Backends
from hproxy.session.change import UserChange
from hproxy.session.connect import Connector
from hproxy.session.kill import Killer
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.topology import Backend, Status

__all__ = ["Driver"]


class Driver:
    """Implements the native session's slow points for all sessions of a worker."""

    shares = False
    """Its sessions borrow backend connections."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.direct: Driver = self
        """For sessions with a backend connection of their own."""
        self.backends = Backends(services)
        self.connector = Connector(services, self.backends, self)
        self.killer = Killer(services, self.backends)
        self.change = UserChange(services, self.backends)

    def greet(self, fd: int, connection: Connection) -> bool:
        """Begin the login of a client that was accepted; False: Connector.serve is to do it.

        Raises OSError; the descriptor is closed then."""
        return False

    def forget_logins(self) -> None:
        """What was remembered of logins holds no more."""

    # -- commands ----------------------------------------------------------------

    def slow_command(self, session: Any, payload: bytes) -> None:
        """Answer a command the fast lane does not judge."""
        connection: Connection = session.tag
        assert connection.login is not None
        match self._services.protocol.interpret(payload, connection.login):
            case Kill() as kill:
                self._kill(session, connection, kill, payload)
            case ChangeUser(packet):
                work = partial(self.change.run, packet=packet)
                self.spawn(session, connection, "change", work)
            case _:
                session.forward(payload)

    def spawn(
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
            except MemoryError as error:
                self.broken(session, error)
            except Exception:
                # A mistake of ours ends the session: nobody else would ever answer its client.
                session.close("internal error")
                raise
            finally:
                if connection.busy is cancel:
                    connection.busy = None

        cancel = self._services.tasks.spawn(guarded(), f"{name} {connection.id}")
        connection.busy = cancel

    def _kill(self, session: Any, connection: Connection, kill: Kill, payload: bytes) -> None:
        """KILL: our ids are translated; ids of the backend's own pass through as they are."""
        if self.killer.foreign(kill):
            work = partial(self.killer.abroad, kill=kill)
            self.spawn(session, connection, "kill", work)
            return
        target = self._services.registry.find(kill.target)
        backend, login = (None, None) if target is None else target.where()
        if target is None or (login is None and not target.pooled):
            session.forward(payload)
        elif login is not None and backend == connection.backend:
            # The backend itself checks who may kill whom.
            counters = self._services.counters
            counters.killed_queries += kill.query_only
            counters.killed_connections += not kill.query_only
            session.forward(kill.rewrite(login.backend_id))
        else:
            work = partial(self.killer.elsewhere, target=target, kill=kill)
            self.spawn(session, connection, "kill", work)

    # -- backends that are taken away ----------------------------------------------

    def status_changed(self, backend: Backend, _: Status, new: Status) -> None:
        """Of a backend taken offline at once nobody keeps a connection."""
        if new is Status.OFFLINE_HARD:
            self.sever(backend)

    def sever(self, backend: Backend) -> None:
        """Cut what is open to it, as if it had gone away."""
        for connection in self._services.registry:
            session = connection.session
            if session is None or connection.pooled or connection.backend != backend:
                continue
            if session.state == "idle":
                session.close("backend taken offline")
                continue
            lost = BackendLost("taken offline", phase=session.state)
            session.fail(self._services.protocol.error_packet(lost), "backend taken offline")

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
            self._services.tasks.spawn(self.killer.orphan(connection), f"orphan {connection.id}")
        session.close("client gone during a command")

    def backend_lost(self, session: Any, error: int) -> None:
        """The backend closed or reset the connection."""
        connection: Connection = session.tag
        state = session.state
        reason = os.strerror(error) if error else "closed by backend"
        if session.farewell:
            connection.log.info(
                "backend ended the session",
                code="backend.farewell",
                backend=str(connection.backend),
                state=state,
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

    def client_fault(self, session: Any, reason: str, code: str = "sequence") -> None:
        """The client broke the protocol, or sent more than proxy.max_allowed_packet."""
        error = ClientError(reason, code=code)
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
        self._services.counters.idle_timeouts += 1
        session.tag.log.info("idle timeout", code="client.idle", state=session.state)
        session.close("idle timeout")

    def noted(self, session: Any, payload: bytes, ns: int) -> None:
        """A statement that is to go on record was answered."""
        self._services.recorder.noting.noted(session, payload, ns)

    def broken(self, session: Any, error: BaseException) -> None:
        """A mistake of ours, or no memory: this session pays, the others never notice."""
        if isinstance(error, MemoryError):
            session.tag.log.error("out of memory", code="memory", state=session.state)
            session.close("out of memory")
            return
        session.tag.log.error("internal error", code="internal", exc_info=error)
        session.close("internal error")

    def closed(self, session: Any, reason: str) -> None:
        """Both sockets were given up."""
        connection: Connection = session.tag
        services = self._services
        if connection.busy is not None:
            connection.busy()
        connection.debug("session ended", reason=reason, commands=session.commands)
        services.recorder.went(connection, reason)
        if connection.backend is not None and not connection.pooled:
            services.topology.leave(connection.backend)
            done = services.counters.at(connection.backend)
            done.commands += session.commands
            done.bytes_sent += session.backend.bytes_out
            done.bytes_received += session.backend.bytes_in
        if connection.account is not None:
            services.users.leave(connection.account)
        services.registry.leave(connection)
        connection.session = None  # the two refer to each other: do not wait for the collector
