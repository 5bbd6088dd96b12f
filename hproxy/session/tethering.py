# SPDX-License-Identifier: Apache-2.0
"""The backend connection that a session cannot do without goes with it to another process.

    may_leave ─> pack ──> descriptors, facts ── another process ──> expect ─> give
      parted <── its answer: the place is free here ──────────────────┴ its server is met first
    what only waits to be read (warnings, counts) ties nobody: it is read first

Until that answer the connection counts here: in between nobody else may open one in its place.

Used by `Handover`, which does what sessions with and without a connection have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hproxy.errors import HandoverError
from hproxy.pool.adopting import (
    adopt,
    bucket_for,
    free_place,
    gave_away,
    keep_place,
    meet,
    place_of,
)
from hproxy.protocols.model import Side
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Tethering"]


class Tethering:
    """Of one worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tethered = services.protocol.tethered
        self._parted: dict[int, Any] = {}
        """Connections whose places are kept, by their sessions' ids."""

    # -- leaving -----------------------------------------------------------------

    def may_leave(self, connection: Connection) -> bool:
        """Whether both can go now, and have to."""
        session, state = connection.session, connection.follow.state
        if connection.killing is not None or session.yieldable(int(state.pending)):
            return False
        found: bool = self._tethered.may_leave(session, state)
        return found

    def pack(self, connection: Connection) -> tuple[tuple[int, int], Any, Any]:
        """Descriptors, what is known of the session, and of its connection. Raises ValueError."""
        session, held = connection.session, connection.session.held
        place = place_of(held)
        # First, for once it has parted, another worker may be quicker.
        self._parted[connection.id] = held
        keep_place(held)
        try:
            client, backend, taken, there = self._tethered.take(
                session, connection.login, connection.follow.state
            )
        except BaseException:
            del self._parted[connection.id]
            free_place(held)
            raise
        return (client, backend), taken, {**there, **place}

    def parted(self, number: int) -> None:
        """The other process has the connection of that session, or nobody, or it came back."""
        held = self._parted.pop(number, None)
        if held is not None:
            free_place(held)
            gave_away(self._services.sharing.pools, held)

    # -- arriving ----------------------------------------------------------------

    async def expect(self, connection: Connection, there: Mapping[str, Any]) -> tuple[Any, Any]:
        """Where its connection belongs, and what is known of the server. Raises HandoverError."""
        shared = self._services.sharing
        settings = self._tethered.connection_settings(there)
        bucket = bucket_for(shared.pools, there, connection.account, connection.kind, settings)
        if bucket is None:
            raise HandoverError("its connection is to a server that has no place", code="servers")
        backend = bucket.server.backend
        if backend not in shared.opening.facts:
            await meet(shared.pools, bucket)
        known = shared.opening.facts.get(backend)
        if known is None:
            # There was no place for a connection that asks it, or it did not answer.
            raise HandoverError(f"{backend} is not known yet", code="later")
        return bucket, known

    def give(self, connection: Connection, bucket: Any, fd: int, there: Mapping[str, Any]) -> None:
        """The connection is the session's; `fd` is its own from here on.

        Raises ValueError, TypeError, KeyError."""
        services, tethered = self._services, self._tethered
        shared = services.sharing
        channel = services.protocol.channel(
            services.reactor, fd, Side.BACKEND.value, services.settings.max_packet
        )
        try:
            login = tethered.backend_login_of(there["login"], connection.account)
            if login.compression is not None:
                channel.start_compression(login.compression)
            settings = tethered.connection_settings(there)
        except BaseException:
            channel.close()
            raise
        pooled = services.protocol.multiplexing.connection(
            channel, bucket, login, settings, shared.pools.settings.max_stmts_per_connection
        )
        adopt(shared.pools, bucket)
        try:
            connection.strangers = tethered.give(connection.session, pooled, there)
        except BaseException:
            if connection.session.held is None:
                connection.session.hold(pooled)
            self.drop(connection)
            raise

    def begin(self, connection: Connection) -> None:
        """The session has started."""
        session = connection.session
        if session is None or session.held is None:
            return
        self._tethered.close_there(session, list(connection.strangers))
        connection.strangers = ()
        self._tethered.wake(session)

    def drop(self, connection: Connection) -> None:
        """It does not begin here; the server hears nothing of it."""
        pooled = self._tethered.untied(connection.session)
        if pooled is not None:
            gave_away(self._services.sharing.pools, pooled)
