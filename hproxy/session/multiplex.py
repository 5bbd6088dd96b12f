# SPDX-License-Identifier: Apache-2.0
"""The slow points of a session that borrows backend connections.

    decide          a statement nobody has seen yet: deciding.py
    statement       a command with effects on the session, or none the fast lane knows (commands.py)
      └ submit ─> answered ─> finished ─> questions on the same connection ─> settled (settling.py)
    align           a connection has other settings: replay ours on it (lease.py)
    prepare_on      it lacks a prepared statement: prepare it there (prepare.py)
    counts, warnings of the statement before, told or taken away: context.py
    read_insert_id  what LAST_INSERT_ID() is, before the connection goes to somebody else
    queue_full, timed_out, grow, retire, left      the pool's side of it (waiting.py)
    tracked, unseen      session state in an answer
    recorded        a statement that is logged, or slow, was answered: recording.py
    demoted         a write was refused by a server that is read only by now (demotion.py)
    begins_elsewhere    BEGIN in a transaction on a server that was taken out (settling.py)
    may_repeat, *_lost   what goes wrong; Driver has the rest

What the text of a statement does to its session is known to `SessionState` (pure); this has the
conversations held. Nothing here runs for a statement whose decision is cached and plain.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from hproxy.errors import BackendLost, ClientError
from hproxy.session.caching import Caching
from hproxy.session.commands import Commands
from hproxy.session.context import Context
from hproxy.session.deciding import Decider
from hproxy.session.demotion import REFUSED, Demotion
from hproxy.session.driver import Driver
from hproxy.session.failing import note_error
from hproxy.session.follow import Follower
from hproxy.session.freshness import Freshness
from hproxy.session.gtids import Gtids
from hproxy.session.lease import Leases
from hproxy.session.mirroring import Mirroring
from hproxy.session.orders import Orders
from hproxy.session.prepare import Preparer
from hproxy.session.reception import Reception
from hproxy.session.registry import Connection
from hproxy.session.services import Multiplexing, Services
from hproxy.session.settling import Settling
from hproxy.session.waiting import Waiting
from hproxy.topology import Backend, Status

__all__ = ["MultiplexDriver"]


class MultiplexDriver(Driver):
    """Implements the slow points of `Multiplexed` for all sessions of a worker."""

    shares = True

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.direct = Driver(services)  # fast_forward
        self.follower = Follower(services)
        self.decider = Decider(services)
        self.leases = Leases(services, self.follower)
        self.settling = Settling(services, self.follower)
        self._waiting = Waiting(services)
        self.reception = Reception(services, self.connector.log_in, self.follower.following)
        self.preparer = Preparer(services, self)
        self.context = Context(services, self.follower, self.leases)
        self.orders = Orders(services, self)
        self._demotion = Demotion(services, self)
        self.demoted = self._demotion.holds
        self.caching = Caching(services, self)
        self.mirroring = Mirroring(services, self)
        self.gtids = Gtids(services, self)
        self.freshness = Freshness(services, self)
        self._commands = Commands(services, self)
        # What the native session and the pools ask for by name and others answer.
        self.decide = self.decider.decide
        self.decide_text = self.decider.decide_text
        self.decide_again = self.decider.decide_again
        self.decide_long = self.decider.decide_long
        self.recorded = services.recorder.recorded
        self.on_departure: Callable[[Any], object] = lambda session: session.stay()
        """Told of a session that is `leaving` and has come to rest before a command."""
        self.queue_full = self._waiting.queue_full
        self.connect_failed = self._waiting.connect_failed

    def greet(self, fd: int, connection: Connection) -> bool:
        """Usual logins need no task of their own."""
        return self.reception.greet(fd, connection)

    def forget_logins(self) -> None:
        """Whoever comes next is looked at."""
        self.reception.forget()

    def too_long(self, session: Any, command: int) -> bytes:
        """A command other than a query that is longer than is ever read whole: the answer."""
        error = ClientError(f"command 0x{command:02X} is too long", code="oversized")
        session.tag.log.warning("command too long", code=error.full_code, command=command)
        packet: bytes = self._services.protocol.error_packet(error)
        return packet

    # -- statements with effects ---------------------------------------------------

    def statement(self, session: Any, payload: bytes, decision: Any) -> None:
        """A command the fast lane does not run by itself."""
        self._commands.take(session, session.tag, payload, decision)

    def refusal_of(self, session: Any, decision: Any) -> bytes:
        """What the client reads in the place of an answer: the firewall forbids the statement."""
        packet = self.decider.screening.refusal(decision)
        assert packet is not None
        return packet

    # -- after a statement -----------------------------------------------------------

    def tracked(self, session: Any, payload: bytes) -> bytes:
        """An OK told of session state: remember it, show the client its part."""
        return self.follower.tracked(session, payload)

    def errored(self, session: Any, number: int, packet: bytes | None) -> None:
        """The backend answered with an error; without a packet it came behind rows."""
        services = self._services
        text = services.protocol.read_error(packet)[1] if packet else ""
        backend = session.held.bucket.server.backend
        if number in REFUSED:
            self._demotion.noticed(backend, text)
        note_error(services, backend, session.tag, session.settings.schema, number, text)

    def unseen(self, session: Any) -> None:
        """Session state too long to be looked at."""
        multiplexing = self._services.protocol.multiplexing
        session.pin(multiplexing.UNTRACKABLE_STATE, multiplexing.UNTRACKABLE_STATE)

    def finished(self, session: Any) -> None:
        """A statement the driver has seen was answered."""
        connection: Connection = session.tag
        if connection.caching is not None:
            self.caching.finished(session, connection)
        if self.orders.settle(session, connection):
            return
        multiplexing = self._services.protocol.multiplexing
        self.context.close_restated(session, connection)
        decision = session.answered_decision
        ends = multiplexing.releases(decision) or (
            connection.follow.state.releases and multiplexing.finishes(decision)
        )
        if ends and not session.scanner.errored:
            session.close("COMMIT or ROLLBACK RELEASE")
            return
        questions = self.follower.finished(session, connection)
        if self.gtids.note(session, connection, decision):
            work = partial(self._learn_gtid, questions=questions)
            self.spawn(session, connection, "gtid", work)
        elif not questions:
            session.settled()
        else:
            work = partial(self.settling.ask, questions=questions)
            self.spawn(session, connection, "questions", work)

    async def _learn_gtid(self, session: Any, connection: Connection, questions: Any) -> None:
        if questions:
            await self.settling.ask(session, connection, questions)
            return  # the next write tells, or the end of the transaction
        await self.gtids.learn(session, connection)
        session.settled()

    def read_insert_id(self, session: Any) -> None:
        """LAST_INSERT_ID() before the connection goes to somebody else."""
        self.spawn(session, session.tag, "insert id", self.settling.insert_id)

    def relieve(self) -> None:
        """Sessions wait, or a server is taken out: who keeps a connection only because of what
        its client might still ask need not."""
        for connection in self._services.registry:
            session = connection.session
            if not connection.pooled or session is None or session.held is None:
                continue
            if not session.yieldable(int(connection.follow.state.pending)):
                continue
            server = session.held.bucket.server
            if server.waiting or server.closing:
                session.begin_yield()
                self.spawn(session, connection, "diagnostics", self.settling.relieve)

    def departs(self, session: Any) -> None:
        """A session that is to leave has a command, and nothing binds it: now it can."""
        self.on_departure(session)

    def move_on(self, session: Any) -> None:
        """A statement belongs elsewhere, and the warnings of before are still to be had here."""
        self.spawn(session, session.tag, "diagnostics", self.settling.move_on)

    def begins_elsewhere(self, session: Any) -> None:
        """BEGIN in an open transaction, whose server takes no new ones."""
        self.spawn(session, session.tag, "commit", self._begin_elsewhere)

    async def _begin_elsewhere(self, session: Any, connection: Connection) -> None:
        if await self.settling.commit(session, connection):
            if connection.wrote_in is not None:
                await self.gtids.learn(session, connection)
            session.moved()

    # -- connections -----------------------------------------------------------------

    def align(self, session: Any, pooled: Any) -> None:
        """The connection in hand has other settings than the session."""
        self.spawn(session, session.tag, "align", self.leases.align)

    def prepare_on(self, session: Any, pooled: Any, statement: Any) -> None:
        """The connection in hand lacks a statement of the session's."""
        work = partial(self.preparer.prepare_on, statement=statement)
        self.spawn(session, session.tag, "prepare", work)

    async def follow_prepare(
        self, session: Any, connection: Connection, text: bytes, warnings: bool
    ) -> None:
        """Learn what preparing `text` did to user variables. Raises TimeoutError, BackendError."""
        questions = self.follower.plan_prepared(connection, text, warnings)
        limit = self._services.settings.connect_timeout_max
        async with asyncio.timeout(limit), self._shared.opening.talk(session.held) as talk:
            await self.follower.ask(session, connection, talk, questions)

    def forget_statement(self, session: Any, pooled: Any, statement: Any) -> None:
        """The backend says its copy of the statement is of no use any more."""
        entry = pooled.statements.find(statement)
        if entry is not None:
            pooled.statements.remove(entry)

    def unreadable_execute(self, session: Any, found: int) -> None:
        """An execution nobody can make sense of."""
        facts = session.tag.follow.facts
        session.refuse(self._services.protocol.multiplexing.bad_execute(found, facts.mysql))

    def grow(self, group: Any) -> None:
        """Sessions wait for a connection of this group."""
        self._shared.pools.grow(group)

    def retire(self, pooled: Any) -> None:
        """Nobody shall use it any more."""
        self._shared.pools.retire(pooled, polite=False)

    def status_changed(self, backend: Backend, old: Status, new: Status) -> None:
        """The operator took a backend out, or a connection to it failed."""
        super().status_changed(backend, old, new)
        if new is Status.OFFLINE_SOFT:
            self.relieve()

    def sever(self, backend: Backend) -> None:
        """Cut what is open to it; what is idle is closed by the pools."""
        for connection in self._services.registry:
            for name in ("held", "aside"):
                used = getattr(connection.session, name, None)
                if used is not None and used.bucket.server.backend == backend:
                    if name == "held" and connection.session.state == "response":
                        self._services.counters.offline_during_query += 1
                    used.sever()

    def timed_out(self, session: Any) -> None:
        """No connection in time, or an idle client."""
        if session.state == "waiting":
            self._waiting.timed_out(session)
        elif session.state in ("response", "infile"):
            self.orders.time_up(session)
        else:
            super().timed_out(session)

    # -- ends --------------------------------------------------------------------------

    def closed(self, session: Any, reason: str) -> None:
        """The session is over."""
        if session.tag.caching is not None:
            self.caching.given_up(session.tag)
        super().closed(session, reason)

    def left(self, session: Any, pooled: Any, idle: bool) -> None:
        """The client is gone; its connection is not: reset it, or cut what it runs."""
        connection: Connection = session.tag
        if connection.busy is not None:
            connection.busy()
            connection.busy = None
            idle = False
        if idle and not pooled.retired:
            self._shared.pools.recycle(pooled)
        else:
            self._shared.pools.retire(pooled, polite=False)

    def left_aside(self, pooled: Any) -> None:
        """The client is gone, or begins anew: its transaction that waited ends."""
        if pooled.gone:
            return
        if pooled.retired:
            self._shared.pools.retire(pooled, polite=False)
        else:
            self._shared.pools.recycle(pooled)

    def client_lost(self, session: Any, error: int) -> None:
        """The client is gone; nobody waits for its query any more."""
        connection: Connection = session.tag
        held = session.held
        if held is not None:
            # Where its query is to be killed, when the session has let go of it.
            connection.backend, connection.backend_login = connection.where()
        super().client_lost(session, error)

    def backend_lost(self, session: Any, error: int) -> None:
        """A connection in use was closed by the backend."""
        connection: Connection = session.tag
        state = session.state
        if state == "slow":
            # Whoever is about to talk on it finds it closed, else the next command does.
            session.held.endpoint.close()
            return
        if session.yieldable() and not connection.follow.state.waiting:
            session.end_yield(0)  # only warnings are lost, and perhaps nobody asks
            session.give_up()
            return
        reason = os.strerror(error) if error else "closed by backend"
        backend = session.held.bucket.server.backend
        self._services.registry.totals.aborted_backends += 1
        lost = BackendLost(reason, phase=state)
        again = session.repeatable and session.attempts <= self._retries_of(session)
        connection.log.warning(
            "backend lost",
            code=lost.full_code,
            backend=str(backend),
            state=state,
            reason=reason,
            repeated=again,
        )
        packet = self._services.protocol.error_packet(lost)
        if again:
            self._services.counters.retries += 1
            self._shared.pools.check(session.held.bucket.server)
            session.again()
        elif state == "idle":
            session.give_up()
            self.follower.forget(session, connection)
            session.refuse_next(packet)
        elif session.break_off(packet):
            self.follower.forget(session, connection)
        else:
            session.fail(packet, "backend lost")

    def lost_meanwhile(self, session: Any) -> None:
        """The connection of a transaction, or of what else cannot move, is found to be closed."""
        connection: Connection = session.tag
        lost = BackendLost("closed by backend", phase="idle")
        self._services.registry.totals.aborted_backends += 1
        connection.log.warning("backend lost", code=lost.full_code, reason=lost.reason)
        session.give_up()
        self.follower.forget(session, connection)
        session.refuse(self._services.protocol.error_packet(lost))

    def may_repeat(self, session: Any, number: int) -> bool:
        """The backend refused a statement because it, or the connection, is going away."""
        if session.attempts > self._retries_of(session):
            return False
        self._services.counters.retries += 1
        self._shared.pools.check(session.held.bucket.server)
        session.tag.log.info(
            "statement repeated on another connection",
            backend=str(session.held.bucket.server.backend),
            number=number,
        )
        return True

    @property
    def _shared(self) -> Multiplexing:
        shared = self._services.multiplex
        assert shared is not None
        return shared

    def _retries_of(self, session: Any) -> int:
        """How often the statement under way may be sent again."""
        verdict = session.decision.verdict if session.decision is not None else None
        if verdict is not None and verdict.reconnect == 0:
            return 0
        retries: int = self._shared.pools.settings.query_retries_on_failure
        return retries if verdict is None or verdict.retries is None else verdict.retries
