# SPDX-License-Identifier: Apache-2.0
"""What the statement before has left is asked for, and its connection has it no more.

    restated           ROW_COUNT() and FOUND_ROWS() as numbers in the text
    execute_restated   an execution: such a text is prepared for this once
    with_no_warnings   those of another session are taken away first

Only `SHOW WARNINGS` of a session that was relieved of its connection is answered without one
(diagnostics.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hproxy.errors import BackendError, BackendLost, HProxyError
from hproxy.session.follow import Follower
from hproxy.session.lease import Leases
from hproxy.session.opening import StepRefused
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Context", "refusal"]

# It reads a table, so that MariaDB forgets its warnings, and none there is.
NO_WARNINGS = b"SELECT 1 FROM (SELECT 1) AS t"


class Context:
    """Puts a session's own counts and warnings where its statement looks for them."""

    def __init__(self, services: Services, follower: Follower, leases: Leases) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self._follower = follower
        self._leases = leases

    def restated(self, session: Any, text: bytes) -> bytes:
        """The statement with the session's counts in it, which no connection has."""
        session.restated = True
        restated: bytes = self._mysql.restate(
            text, session.row_count, session.found_rows, session.modes
        )
        return restated

    async def with_no_warnings(
        self,
        session: Any,
        connection: Connection,
        decision: Any,
        again: Callable[[], None],
        recalled: bytes | None = None,
    ) -> None:
        """The statement may show warnings, and those of another session would be there.

        `recalled` makes as many as there were, for one that only counts them."""

        async def work(talk: Any) -> None:
            if recalled is None and not session.held.warned_by:
                return
            try:
                await talk.ask(recalled or NO_WARNINGS)
            except BackendLost:
                raise
            except BackendError:
                if recalled is None:
                    raise

        try:
            await self._leases.converse(session, connection, decision, work)
        except (StepRefused, HProxyError) as error:
            session.give_up()
            session.reply([refusal(self._services, error)])
            return
        if recalled is None:
            session.held.warned_by = 0
        again()

    async def execute_restated(
        self, session: Any, connection: Connection, payload: bytes, client: Any, text: bytes
    ) -> None:
        """An execution of the client's statement with the session's counts in its text."""
        statement, decision = client.statement, client.decision

        async def work(talk: Any) -> Any:
            out, back = self._leases.detour(session.held, self._mysql.context_of(statement))
            await talk.perform(out)
            _, number = await talk.prepare(b"\x16" + text)
            await talk.perform(back)
            return number

        try:
            number = await self._leases.converse(session, connection, decision, work)
        except (StepRefused, HProxyError) as error:
            connection.log.warning("statement not restated", reason=str(error))
            session.give_up()
            self._follower.forget(session, connection)
            lost = BackendLost(str(error), phase="preparing")
            session.reply([self._services.protocol.error_packet(lost)])
            return
        connection.follow.restated = session.held, number
        self._follower.plan(session, connection, statement.text, decision.traits)
        # On another connection the number is another statement's, whosever.
        session.hold_until_answered()
        there = payload[:1] + number.to_bytes(4, "little") + payload[5:]
        session.submit(there, decision, None, True)

    def close_restated(self, session: Any, connection: Connection) -> None:
        """It was executed: nobody else has a use for it."""
        follow = connection.follow
        if follow.restated is None:
            return
        pooled, number = follow.restated
        follow.restated = None
        if session.held is pooled:
            pooled.send(b"\x05\x00\x00\x00\x19" + number.to_bytes(4, "little"))


def refusal(services: Services, error: StepRefused | HProxyError) -> bytes:
    """What the client reads instead of an answer: the server's own words if there are some."""
    if isinstance(error, StepRefused):
        return error.packet
    packet: bytes = services.protocol.error_packet(error)
    return packet
