# SPDX-License-Identifier: Apache-2.0
"""Prepared statements of sessions that share connections.

    COM_STMT_PREPARE ── known, and fresh ──> answered from the cache
       └ prepared on a connection now ──> remembered there and in the cache ──> answered
    COM_STMT_EXECUTE on a connection without it ──> prepare_on, unseen ──> goes on

A client's id is its own; each connection has one of its own for the same text. What the client
closes stays prepared for the next who asks, until it is evicted.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from hproxy.errors import BackendLost, ClientError, HProxyError
from hproxy.session.failing import note_error
from hproxy.session.opening import StepRefused
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Preparer"]

FRESH_SEC = 1.0
"""How long the definitions of columns are believed without asking: others may alter tables."""


class Preparer:
    """Prepares, and answers from what was prepared."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._driver = driver
        self._mysql = services.protocol.multiplexing

    def find(self, session: Any, payload: bytes) -> Any:
        """The client's statement that a command names, or None."""
        if session.statements is None or len(payload) < 5:
            return None
        return session.statements.find(int.from_bytes(payload[1:5], "little"))

    async def prepare(self, session: Any, connection: Connection, payload: bytes) -> None:
        """COM_STMT_PREPARE."""
        services = self._services
        asked = text = payload[1:]
        limits, mine = services.sharing.pools.settings, session.prepare_statements()
        if not mine.room(len(text), limits.max_stmts_per_session, limits.max_stmts_cache_bytes):
            error = ClientError(
                f"{len(mine)} prepared statements are open", code="statements", limit=len(mine)
            )
            connection.log.warning(
                "too many prepared statements",
                code=error.full_code,
                statements=len(mine),
                text_bytes=mine.memory,
            )
            if not connection.follow.state.waiting:  # what waits is asked on this connection
                session.concluded(False)
            session.reply([services.protocol.error_packet(error)])
            return
        decision = self._driver.decider.decide_prepared(session, text)
        session.noted(decision, False)
        refusal = self._driver.decider.screening.refusal(decision)
        if refusal is not None:
            if not connection.follow.state.waiting:
                session.concluded(False)
            session.reply([refusal])
            return
        verdict, traits = decision.verdict, decision.traits
        if verdict is not None:
            if verdict.OK_msg is None and self._driver.orders.answer(session, connection, decision):
                return  # what has an OK_msg is prepared: an OK is no answer to that
            if verdict.text is not None:
                text = verdict.text
                payload = payload[:1] + text
        assert connection.account is not None
        key = (
            connection.account.username, connection.kind, session.settings.context, session.modes,
            text,
        )  # fmt: skip
        statement = services.sharing.statements.get(key)
        # What it shows of user variables or temporary tables is this session's alone.
        shared = not (traits.effects & self._mysql.OWN_METADATA or session.pins)
        waiting = session.held is not None and connection.follow.state.waiting
        waiting = waiting and not session.pins & self._mysql.NEXT_TRANSACTION
        # A preparation that keeps the warnings keeps the connection, too.
        ends = not (session.keeps_warnings and traits.traits & self._mysql.Trait.NO_TABLE)
        if waiting and ends and not await self._ask_first(session, connection):
            return
        if statement is not None and shared and self._is_fresh(statement):
            session.concluded(False, decision.flags)
        else:
            statement = await self._anew(session, connection, payload, key, decision)
        if connection.follow.facts.mysql and not session.pins & self._mysql.Pin.FOUND_ROWS:
            session.restated = True  # what was before is as it was, but not on its connection
        if statement is None:
            return
        client = mine.add(statement)
        client.decision = decision
        client.salt = session.salt
        client.asked = None if asked is text else asked
        packets = self._mysql.prepared_packets(
            statement, client.client_id, session.status, connection.login
        )
        session.reply(packets)

    async def _ask_first(self, session: Any, connection: Connection) -> bool:
        """What waited for the client to read its warnings, which are gone now; False: in vain."""
        try:
            limit = self._services.settings.connect_timeout_max
            async with (
                asyncio.timeout(limit),
                self._services.sharing.opening.talk(session.held) as talk,
            ):
                questions = connection.follow.state.settle()
                await self._driver.follower.ask(session, connection, talk, questions)
        except (HProxyError, TimeoutError) as error:
            session.give_up()
            self._driver.follower.forget(session, connection)
            lost = BackendLost(str(error), phase="preparing")
            session.reply([self._services.protocol.error_packet(lost)])
            return False
        return True

    def _is_fresh(self, statement: Any) -> bool:
        current: bool = statement.epoch == self._services.sharing.schema_epoch
        return current and monotonic() - statement.seen_at < FRESH_SEC

    async def _anew(
        self, session: Any, connection: Connection, payload: bytes, key: Any, decision: Any
    ) -> Any:
        services, text = self._services, payload[1:]
        epoch = services.sharing.schema_epoch
        try:
            packets, number = await self._driver.leases.converse(
                session, connection, decision, lambda talk: talk.prepare(payload)
            )
        except StepRefused as refused:
            note_error(
                services, session.held.bucket.server.backend, connection,
                session.settings.schema, refused.number, refused.reason,
            )  # fmt: skip
            session.concluded(True)
            session.row_count = -1
            session.reply([refused.packet])
            return None
        except HProxyError as error:
            connection.log.warning("statement not prepared", reason=str(error))
            if session.held is not None:
                session.give_up()
                self._driver.follower.forget(session, connection)
            session.reply([services.protocol.error_packet(error)])
            return None
        pooled = session.held
        status = self._mysql.prepare_status(packets)
        if status is not None:  # an ERR before it may have ended a transaction unseen
            session.status = status
        facts = services.sharing.opening.facts[pooled.bucket.server.backend]
        statement = self._mysql.statement(key, text, packets, decision, facts.mysql)
        services.sharing.statements.put(statement)
        known = services.sharing.statements.get(key) or statement
        await self._remember(pooled, known, number)
        warnings = self._mysql.prepare_warnings(packets)
        session.concluded(warnings, decision.flags)
        if decision.traits.effects & self._mysql.Effect.USER_VARIABLES:
            try:
                await self._driver.follow_prepare(session, connection, text, warnings)
            except (HProxyError, TimeoutError) as error:
                session.give_up()
                self._driver.follower.forget(session, connection)
                lost = BackendLost(str(error), phase="preparing")
                session.reply([services.protocol.error_packet(lost)])
                return None
        elif not warnings and not session.pins:  # they are told only where it was prepared
            known.epoch, known.seen_at = epoch, monotonic()
        return known

    async def _remember(self, pooled: Any, statement: Any, number: int) -> None:
        evicted = pooled.statements.put(statement, number)
        for old in evicted:
            pooled.send(b"\x05\x00\x00\x00\x19" + old.to_bytes(4, "little"))

    async def prepare_on(self, session: Any, connection: Connection, statement: Any) -> None:
        """The connection in hand lacks it: prepare it there, then the command goes on."""
        services = self._services
        pooled = session.held
        payload = b"\x16" + statement.statement.text
        try:
            async with (
                asyncio.timeout(services.settings.connect_timeout_max),
                services.sharing.opening.talk(pooled) as talk,
            ):
                # Where the client prepared it, it had perhaps another schema or sql_mode.
                context = self._mysql.context_of(statement.statement)
                state = connection.follow.state
                if state.waiting and context != session.settings.context:
                    # To come back here, all of it has to be known.
                    await self._driver.follower.ask(session, connection, talk, state.settle())
                out, back = self._driver.leases.detour(pooled, context)
                try:
                    await talk.perform(out)
                    _, number = await talk.prepare(payload)
                except StepRefused:
                    await talk.perform(back)
                    raise
                await talk.perform(back)
                # MariaDB runs assignments in the text when it prepares it.
                for sql in self._driver.follower.restore(connection, statement.statement):
                    await talk.ask(sql)
        except StepRefused as refused:
            session.refuse(refused.packet)
            return
        except (HProxyError, TimeoutError) as error:
            connection.log.info("backend lost while preparing", reason=str(error))
            if session.in_transaction or session.pins or connection.tries >= MOST_TRIES:
                session.give_up()
                self._driver.follower.forget(session, connection)
                connection.tries = 0
                lost = BackendLost(str(error), phase="preparing")
                session.refuse(services.protocol.error_packet(lost))
                return
            connection.tries += 1
            session.give_up()
            session.aligned()
            return
        connection.tries = 0
        await self._remember(pooled, statement.statement, number)
        session.aligned()


MOST_TRIES = 3
