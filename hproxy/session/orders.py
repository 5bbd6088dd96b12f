# SPDX-License-Identifier: Apache-2.0
"""What query rules order beside a route: answers of their own, delays, time limits.

    answer      error_msg, OK_msg: no backend is asked
    delay       the statement waits before it looks for a connection
    time_up     the answer has taken too long: killed on its backend, 1907 for the client
    settle      the KILL is over before the connection serves another statement

A KILL that comes late must not hit what runs next, so the connection of a statement that was
killed goes back to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import HProxyError
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Orders"]


class Orders:
    """Carries out what a verdict says."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self._driver = driver

    def answer(self, session: Any, connection: Connection, decision: Any) -> bool:
        """Answer a statement that no backend is asked about; False: one is."""
        verdict = decision.verdict
        if not verdict.answered:
            return False
        if verdict.refusal is not None:
            packet = verdict.refusal
        elif verdict.OK_msg is not None:
            packet = self._mysql.rule_ok(verdict.OK_msg, session.status, connection.login)
        else:
            packet = self._mysql.rule_error(verdict.error_msg)
        error = verdict.OK_msg is None
        now = asyncio.get_running_loop().time()
        decision.counters.record(0, 0, 0, 0, len(packet), error, now)
        session.reply([packet])
        return True

    def delay(
        self, session: Any, connection: Connection, decision: Any, again: Callable[[], None]
    ) -> bool:
        """Go on with `again` after a while; False: at once, which is up to the caller."""
        milliseconds = decision.verdict.delay
        if not milliseconds:
            return False

        async def work(session: Any, connection: Connection) -> None:
            await asyncio.sleep(milliseconds / 1000)
            if session.state == "slow":
                again()

        self._driver.spawn(session, connection, "delay", work)
        return True

    # -- time limits -------------------------------------------------------------------

    def time_up(self, session: Any) -> None:
        """The answer has not come in time."""
        connection: Connection = session.tag
        held = session.held
        session.expired = True
        session.watched = True  # its end is waited for
        held.retired = True
        connection.log.warning(
            "query timeout",
            code="backend.query_timeout",
            backend=str(held.bucket.server.backend),
            digest=session.decision.text.decode("utf-8", "replace"),
            limit_s=session.decision.time_limit,
        )
        self._services.counts.killed_queries += 1
        done = asyncio.Event()
        connection.killing = done

        async def kill() -> None:
            killed = False
            try:
                killed = await self._driver.killer.query(connection)
            except (HProxyError, Refusal, TimeoutError) as error:
                connection.log.warning("query not killed", reason=str(error))
            finally:
                done.set()
                connection.killing = None
            if not killed and session.expired and session.state == "response":
                # Nobody can end it there: the client at least need not wait for it.
                if not session.break_off(self._mysql.TIMED_OUT):
                    session.fail(self._mysql.TIMED_OUT, "query timeout")
                else:
                    self._driver.follower.forget(session, connection)

        self._services.tasks.spawn(kill(), f"timeout of {connection.id}")

    def settle(self, session: Any, connection: Connection) -> bool:
        """Whether the driver is to wait for a KILL that is on its way; it is waited for here."""
        done = connection.killing
        if done is None:
            return False

        async def work(session: Any, connection: Connection) -> None:
            await done.wait()
            self._driver.finished(session)

        self._driver.spawn(session, connection, "kill under way", work)
        return True
