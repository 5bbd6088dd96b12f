# SPDX-License-Identifier: Apache-2.0
"""Behind a statement: what its answer did not say is asked before the connection serves another.

    questions        state that only the server knows now (SET NAMES, user variables, locks)
    read_insert_id   what LAST_INSERT_ID() is
    relieve          others wait: warnings are read and kept, the connection goes back
    move_on          the next statement keeps the warnings (MariaDB), but runs in another hostgroup
    commit           BEGIN in a transaction commits it: here, where the server takes no new ones,
                     so that the next is elsewhere. Else who never says COMMIT stays for ever

Whoever loses the connection meanwhile has lost state that nobody knows: error 2013 for the next
statement, and a clean session.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hproxy.errors import BackendLost, HProxyError
from hproxy.session.diagnostics import COUNTS, FOUND_ROWS, LISTS, Diagnostics, recounted
from hproxy.session.follow import Follower
from hproxy.session.lease import read_insert_id
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Settling"]

COMMIT = b"COMMIT AND NO CHAIN NO RELEASE"


class Settling:
    """The conversations that leave a session without secrets on its connection."""

    def __init__(self, services: Services, follower: Follower) -> None:
        self._services = services
        self._follower = follower

    async def ask(self, session: Any, connection: Connection, questions: Any) -> None:
        """What the answer did not say; the connection serves nobody until it is known."""
        try:
            async with self._limit(), self._talk(session) as talk:
                await self._follower.ask(session, connection, talk, questions)
        except (HProxyError, TimeoutError) as error:
            self._lost(session, connection, str(error))
        session.settled()

    async def insert_id(self, session: Any, connection: Connection) -> None:
        """LAST_INSERT_ID() before the connection goes to somebody else."""
        try:
            async with self._limit(), self._talk(session) as talk:
                session.know_insert_id(await read_insert_id(talk))
        except (HProxyError, TimeoutError) as error:
            connection.log.info("insert id not read", reason=str(error))
            session.give_up()
        session.settled()

    async def relieve(self, session: Any, connection: Connection) -> None:
        """Ask what the client might, then give the connection back."""
        await self.read(session, connection)
        session.settled()

    async def move_on(self, session: Any, connection: Connection) -> None:
        """The same before a statement that keeps the warnings, but runs elsewhere."""
        await self.read(session, connection)
        session.moved()

    async def commit(self, session: Any, connection: Connection) -> bool:
        """End the open transaction, as the BEGIN that waits would; False: its client reads why
        that is not possible."""
        services, pin = self._services, self._services.protocol.multiplexing.Pin
        lost = None
        if session.pins & (pin.WARNINGS | pin.FOUND_ROWS):
            await self.read(session, connection)
        try:
            if session.held is None:
                raise BackendLost("lost with an open transaction", phase="settling")
            async with self._limit(), self._talk(session) as talk:
                if session.insert_id_open:
                    session.know_insert_id(await read_insert_id(talk))
                (packet, *_) = await talk.packets(COMMIT)
        except (HProxyError, TimeoutError) as error:
            lost = BackendLost(str(error), phase="settling")
            connection.log.warning("backend lost", code=lost.full_code, reason=str(error))
            packet = services.protocol.error_packet(lost)
        if not services.protocol.read_error(packet)[0]:
            session.transaction_over()
            return True
        session.give_up()
        if lost is not None:
            self._follower.forget(session, connection)
        session.refuse(packet)
        return False

    async def read(self, session: Any, connection: Connection) -> None:
        """Warnings and counts are kept here, so that the connection is not needed for them."""
        state = connection.follow.state
        try:
            async with self._limit(), self._talk(session) as talk:
                answers, found_rows = await self._asked(session, connection, talk)
                session.end_yield(found_rows)
                connection.diagnostics = Diagnostics(session.context_serial, answers)
                await self._follower.ask(session, connection, talk, state.settle())
        except (HProxyError, TimeoutError) as error:
            if state.waiting:
                self._lost(session, connection, str(error))
            else:
                session.end_yield(0)
                session.give_up()

    async def _asked(
        self, session: Any, connection: Connection, talk: Any
    ) -> tuple[dict[bytes, list[bytes]], int]:
        """Answers to LISTS and COUNTS, and FOUND_ROWS() where it is wanted. Each question spoils
        some of the others."""
        wanted = session.pins & self._services.protocol.multiplexing.Pin.FOUND_ROWS
        mysql, found = connection.follow.facts.mysql, 0
        if wanted and not mysql:
            found = _number(await talk.ask(FOUND_ROWS))
        answers = {question: await talk.packets(question) for question in LISTS}
        if wanted and mysql:
            found = _number(await talk.ask(FOUND_ROWS))
        for count, listed in zip(COUNTS, LISTS, strict=True):
            answers[count] = await talk.packets(count)
            if wanted and mysql:
                answers[count] = recounted(answers[count], answers[listed])
        return answers, found

    def _limit(self) -> asyncio.Timeout:
        return asyncio.timeout(self._services.settings.connect_timeout_max)

    def _talk(self, session: Any) -> Any:
        return self._services.sharing.opening.talk(session.held)

    def _lost(self, session: Any, connection: Connection, reason: str) -> None:
        """The connection died with state of the session that nobody knows now."""
        lost = BackendLost(reason, phase="settling")
        connection.log.warning("backend lost", code=lost.full_code, reason=reason)
        session.give_up()
        self._follower.forget(session, connection)
        session.refuse_next(self._services.protocol.error_packet(lost))


def _number(rows: list[tuple[bytes | None, ...]]) -> int:
    return int(rows[0][0] or b"0")
