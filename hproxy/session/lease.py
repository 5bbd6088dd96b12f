# SPDX-License-Identifier: Apache-2.0
"""A backend connection in a session's hands, set as the session is.

    take       borrowed from the pool, settings replayed       for work in the session's name
    converse   the same, and a conversation on it              begun again elsewhere when it is lost
    align      the connection in hand has other settings       a slow point of the native session
    replay     the steps from one connection's settings to others

A connection that was lost, or refused what was replayed, is given up: how far it got is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar

from hproxy.errors import BackendLost, HProxyError, PoolTimeout
from hproxy.session.follow import Follower
from hproxy.session.opening import Conversation, StepRefused
from hproxy.session.registry import Connection
from hproxy.session.services import Multiplexing, Services

__all__ = ["Leases", "log_refused_replay", "read_insert_id"]

Result = TypeVar("Result")

MOST_TRIES = 3


class Leases:
    """Gives sessions connections outside of the native fast lane."""

    def __init__(self, services: Services, follower: Follower) -> None:
        self._services = services
        self._follower = follower

    @property
    def _shared(self) -> Multiplexing:
        return self._services.sharing

    async def take(self, session: Any, connection: Connection, decision: Any) -> None:
        """A connection for work in the session's name, which holds none.

        One that is lost while it is set up is replaced, in the time a statement may wait.
        Raises StepRefused, PoolTimeout, BackendError."""
        group = session.target(decision)
        limit = self._services.settings.connect_timeout_max
        tries = self._shared.pools.settings.query_retries_on_failure
        begun = monotonic()
        try:
            async with asyncio.timeout(limit):
                while True:
                    try:
                        await self._set_up(session, group)
                        return
                    except BackendLost as lost:
                        if not tries:
                            raise
                        tries -= 1
                        connection.log.info("backend lost while aligned", reason=str(lost))
                        session.give_up()
        except StepRefused as refused:
            log_refused_replay(connection.log, refused, session.held)
            session.give_up()
            raise
        except HProxyError:
            session.give_up()
            raise
        except TimeoutError:
            session.give_up()
            waited = round((monotonic() - begun) * 1000)
            self._services.counters.waits_in_vain += 1
            self._services.counters.connect_timeouts += 1
            raise PoolTimeout(hostgroup=group.key.hostgroup, waited_ms=waited) from None

    async def _set_up(self, session: Any, group: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        pooled = await self._shared.pools.borrow(group, session.settings, future, limited=True)
        session.hold(pooled)
        if pooled.settings is not session.settings:
            await self._replay(session, pooled)

    async def converse(
        self,
        session: Any,
        connection: Connection,
        decision: Any,
        work: Callable[[Conversation], Awaitable[Result]],
    ) -> Result:
        """What `work` says, which must be safe to do twice, on the session's connection.

        Of a session that nothing ties to the one that was lost it is done again on another.
        Raises StepRefused, PoolTimeout, BackendError; after BackendLost the session is as if new
        if it was tied."""
        limit = self._services.settings.connect_timeout_max
        tries = self._shared.pools.settings.query_retries_on_failure
        while True:
            if session.held is None:
                await self.take(session, connection, decision)
            bound = session.in_transaction or session.pins
            try:
                async with asyncio.timeout(limit), self._shared.opening.talk(session.held) as talk:
                    return await work(talk)
            except (BackendLost, TimeoutError) as error:
                lost = error if isinstance(error, BackendLost) else BackendLost("no answer")
                session.give_up()
                if bound:
                    self._follower.forget(session, connection)
                if bound or not tries:
                    raise lost from None
                tries -= 1
                connection.log.info("backend lost, tried on another", reason=str(lost))

    async def align(self, session: Any, connection: Connection) -> None:
        """The connection in hand gets the session's settings; then its command goes on."""
        pooled = session.held
        services = self._services
        try:
            async with asyncio.timeout(services.settings.connect_timeout_max):
                await self._replay(session, pooled)
        except StepRefused as refused:
            log_refused_replay(connection.log, refused, pooled)
            session.give_up()
            session.refuse(refused.packet)
            return
        except (HProxyError, TimeoutError) as error:
            connection.log.info("backend lost while aligned", reason=str(error))
            bound = session.in_transaction or session.pins
            session.give_up()
            if bound or connection.tries >= MOST_TRIES:
                connection.tries = 0
                lost = BackendLost(str(error), phase="aligning")
                self._follower.forget(session, connection)
                session.refuse(services.protocol.error_packet(lost))
            else:
                connection.tries += 1
                session.aligned()
            return
        connection.tries = 0
        session.aligned()

    async def _replay(self, session: Any, pooled: Any) -> None:
        """Make the connection's settings those of the session."""
        needed = session.needs_insert_id
        if needed and session.insert_id_open:
            async with self._shared.opening.talk(pooled) as talk:
                needed = not session.know_insert_id(await read_insert_id(talk))
        insert_id = session.last_insert_id if needed else None
        await self.replay(pooled, session.settings, insert_id, keeps=bool(session.status & 1))
        if needed:
            pooled.insert_owner = session.serial
            pooled.insert_id = session.last_insert_id

    def detour(self, pooled: Any, context: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Steps that make a text mean on the connection what it means in `context`, and back."""
        opening = self._shared.opening
        multiplexing = self._services.protocol.multiplexing
        facts = opening.facts[pooled.bucket.server.backend]
        hostgroup = pooled.bucket.group.key.hostgroup
        here = opening.carried(hostgroup, pooled.settings)
        there = opening.carried(hostgroup, pooled.settings.reading(context))
        out = multiplexing.replay(here, there, facts.tracking)
        back = multiplexing.replay(there, here, facts.tracking)
        if out is None or back is None:
            return (), ()
        if any(step.payload == multiplexing.RESET for step in (*out, *back)):
            return (), ()  # it would forget what the session has here
        return out, back

    async def replay(
        self, pooled: Any, settings: Any, insert_id: int | None = None, keeps: bool = False
    ) -> None:
        """Make the connection's settings `settings`; `keeps`: it is in a transaction.

        Raises StepRefused, BackendError."""
        opening = self._shared.opening
        multiplexing = self._services.protocol.multiplexing
        facts = opening.facts[pooled.bucket.server.backend]
        wanted = opening.carried(pooled.bucket.group.key.hostgroup, settings)
        steps = multiplexing.replay(pooled.settings, wanted, facts.tracking)
        if steps is None:
            raise BackendLost("the schema of the connection cannot be left for none")
        if keeps and any(step.payload == multiplexing.RESET for step in steps):
            raise BackendLost("a reset of the connection would end its transaction")
        if insert_id is not None:
            steps = (*steps, multiplexing.insert_id_step(insert_id))
        async with opening.talk(pooled) as talk:
            await talk.perform(opening.with_init(pooled, steps))
        if any(step.payload == multiplexing.RESET for step in steps):
            pooled.statements.clear()
            pooled.insert_owner = pooled.insert_id = 0
        pooled.settings = settings


def log_refused_replay(log: Any, refused: StepRefused, pooled: Any, **facts: Any) -> None:
    """The client reads the server's error for a statement it did not send: say for which."""
    if pooled is not None:
        facts["backend"] = str(pooled.bucket.server.backend)
    log.warning(
        "session state refused by backend",
        code="pool.replay",
        replayed=refused.step.text[:200],
        reason=refused.reason,
        **facts,
    )


async def read_insert_id(talk: Conversation) -> int:
    """LAST_INSERT_ID() of the connection."""
    rows = await talk.ask(b"SELECT LAST_INSERT_ID()")
    return int(rows[0][0] or b"0")
