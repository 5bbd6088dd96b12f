# SPDX-License-Identifier: Apache-2.0
"""The slow points of a session that borrows backend connections.

    decide          a statement nobody has seen yet: deciding.py
    statement       a command with effects on the session, or none the fast lane knows
      └ submit ─> answered ─> finished ─> questions on the same connection ─> settled (settling.py)
    align           a connection has other settings: replay ours on it (lease.py)
    prepare_on      it lacks a prepared statement: prepare it there (prepare.py)
    counts, warnings of the statement before, told or taken away: context.py
    read_insert_id  what LAST_INSERT_ID() is, before the connection goes to somebody else
    queue_full, timed_out, grow, retire, left      the pool's side of it (waiting.py)
    tracked, unseen      session state in an answer
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

from hproxy.errors import BackendError, BackendLost, ClientError, HProxyError
from hproxy.protocols.model import Kill
from hproxy.session.context import Context, refusal
from hproxy.session.deciding import Decider
from hproxy.session.driver import Driver
from hproxy.session.follow import Follower
from hproxy.session.lease import Leases
from hproxy.session.opening import StepRefused
from hproxy.session.prepare import Preparer
from hproxy.session.reception import Reception
from hproxy.session.registry import Connection
from hproxy.session.services import Multiplexing, Services
from hproxy.session.settling import Settling
from hproxy.session.waiting import Waiting
from hproxy.topology import Status

__all__ = ["MultiplexDriver"]


class MultiplexDriver(Driver):
    """Implements the slow points of `Multiplexed` for all sessions of a worker."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.follower = Follower(services)
        self.decider = Decider(services)
        self.leases = Leases(services, self.follower)
        self._settling = Settling(services, self.follower)
        self._context = Context(services, self.follower, self.leases)
        self._waiting = Waiting(services)
        self.reception = Reception(services, self.connector.log_in, self.follower.following)
        self._preparer = Preparer(services, self)
        # What the native session and the pools ask for by name and others answer.
        self.decide = self.decider.decide
        self.decide_again = self.decider.decide_again
        self.decide_long = self.decider.decide_long
        self.queue_full = self._waiting.queue_full
        self.connect_failed = self._waiting.connect_failed

    def greet(self, fd: int, connection: Connection) -> bool:
        """Usual logins need no task of their own."""
        return self.reception.greet(fd, connection)

    def too_long(self, session: Any, command: int) -> bytes:
        """A command other than a query that is longer than is ever read whole: the answer."""
        error = ClientError(f"command 0x{command:02X} is too long", code="oversized")
        session.tag.log.warning("command too long", code=error.full_code, command=command)
        packet: bytes = self._services.protocol.error_packet(error)
        return packet

    # -- statements with effects ---------------------------------------------------

    def statement(self, session: Any, payload: bytes, decision: Any) -> None:
        """A command the fast lane does not run by itself."""
        connection: Connection = session.tag
        handle = HANDLERS.get(self._services.protocol.multiplexing.role(payload))
        if handle is not None:
            handle(self, session, connection, payload, decision)
            return
        multiplexing = self._services.protocol.multiplexing
        if not payload:
            session.reply([multiplexing.EMPTY_COMMAND])
            return
        if not multiplexing.is_ordinary(payload[0]):
            session.pin(multiplexing.UNKNOWN_COMMAND, multiplexing.UNKNOWN_COMMAND)
        session.submit(payload, self.decider.for_command(session), None, False)

    def _query(
        self,
        session: Any,
        connection: Connection,
        payload: bytes,
        decision: Any,
        cleaned: bool = False,
    ) -> None:
        services = self._services
        multiplexing = services.protocol.multiplexing
        assert connection.login is not None
        text = multiplexing.statement_text(payload, connection.login)
        if decision is None:
            decision = self.decide(session, text)
        traits = decision.traits
        if traits.effects & multiplexing.Effect.KILL and self._kill_statement(
            session, connection, payload
        ):
            return
        warnings = bool(traits.traits & multiplexing.Trait.CONTEXT) and (
            multiplexing.shows_warnings(text)
        )
        kept_all = session.warnings_kept if warnings else session.context_kept
        if warnings and not cleaned and connection.diagnostics is not None:
            packets = connection.diagnostics.answer(session, text)
            if packets is not None:
                session.reply(multiplexing.with_status(packets, session.status, connection.login))
                return
        if traits.traits & multiplexing.Trait.CONTEXT and not cleaned and not kept_all:
            # Another statement ran on that connection since: say what its answer was instead.
            payload = payload[: len(payload) - len(text)] + self._context.restated(session, text)
            if warnings and not session.pins & multiplexing.Pin.NEXT_TRANSACTION:
                again = partial(self._query, session, connection, payload, decision, cleaned=True)
                recalled = None
                if connection.diagnostics is not None and multiplexing.counts_warnings(text):
                    recalled = connection.diagnostics.recalled(session)
                work = partial(
                    self._context.with_no_warnings,
                    decision=decision,
                    again=again,
                    recalled=recalled,
                )
                self._spawn(session, connection, "no warnings", work)
                return
        plan = self.follower.plan(session, connection, text, traits, decision.text)
        counts_lost = cleaned or not session.context_kept
        if plan.traits is not traits:  # what EXECUTE runs counts as well
            decision = self.decider.decision(session, connection, plan.traits, decision.text)
            inner = connection.follow.state.executed(text)
            if plan.traits.traits & multiplexing.Trait.CONTEXT and counts_lost and inner:
                payload = payload[: len(payload) - len(text)] + self._context.restated(
                    session, inner
                )
        elif traits.traits & multiplexing.Trait.CONTEXT and counts_lost:
            self.follower.correct(session, connection, text)
        if plan.needs_tracking_of_client:
            self._spawn(
                session,
                connection,
                "tracking",
                partial(self._with_client_tracking, payload=payload, decision=decision),
            )
            return
        session.submit(payload, decision, None, True)

    def _kill_statement(self, session: Any, connection: Connection, payload: bytes) -> bool:
        assert connection.login is not None
        kill = self._services.protocol.interpret(payload, connection.login)
        if not isinstance(kill, Kill):
            return False
        target = self._services.registry.find(kill.target)
        if target is None:
            return False
        if target is connection:
            multiplexing = self._services.protocol.multiplexing
            packet = multiplexing.killed_itself(kill.query_only, connection.follow.facts)
            if kill.query_only:
                session.reply([packet])
            else:
                session.fail(packet, "killed by itself")
            return True
        work = partial(self._killer.elsewhere, target=target, kill=kill)
        self._spawn(session, connection, "kill", work)
        return True

    def _init_db(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        def again() -> None:
            self.follower.plan_schema(session, connection, payload[1:])
            session.submit(payload, self.decider.for_command(session), None, True)

        if connection.follow.facts.mysql and not session.warnings_kept:
            # Its OK counts the warnings of the statement before, which stay to be read.
            decision = self.decider.for_command(session)
            work = partial(self._context.with_no_warnings, decision=decision, again=again)
            self._spawn(session, connection, "no warnings", work)
        else:
            again()

    def _set_option(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        multiplexing = self._services.protocol.multiplexing
        state = connection.follow.state

        def done() -> tuple[Any, ...]:
            at_login = multiplexing.at_login_multi(connection.login)
            state.set_multi_statements(payload[1:3] == b"\0\0", at_login)
            return ()

        if session.held is None and payload[1:] in multiplexing.OPTIONS:
            # Its EOF counts the warnings of the statement before: nobody has any here.
            done()
            self.follower.apply(session, connection)
            session.reply([multiplexing.option_set(session.status, connection.login)])
            return
        self.follower.plan_command(connection, done)
        session.submit(payload, self.decider.for_command(session), None, True)

    def _execute(
        self,
        session: Any,
        connection: Connection,
        payload: bytes,
        decision: Any,
        cleaned: bool = False,
    ) -> None:
        """COM_STMT_EXECUTE of a statement with effects, or with the fast lane off."""
        statement = self._preparer.find(session, payload)
        if statement is None:
            self._unknown_statement(session, connection, payload)
            return
        decision, text = statement.decision, statement.statement.text
        multiplexing = self._services.protocol.multiplexing
        asks = decision.traits.traits & multiplexing.Trait.CONTEXT
        if asks and multiplexing.shows_warnings(text) and not cleaned:
            pinned = session.pins & multiplexing.Pin.NEXT_TRANSACTION
            if not session.warnings_kept and not pinned:
                again = partial(self._execute, session, connection, payload, decision, cleaned=True)
                work = partial(self._context.with_no_warnings, decision=decision, again=again)
                self._spawn(session, connection, "no warnings", work)
                return
        counts_lost = asks and (cleaned or not session.context_kept)
        if counts_lost and multiplexing.plain_execution(payload, statement.statement):
            restated = self._context.restated(session, text)
            if restated != text:
                work = partial(
                    self._context.execute_restated,
                    payload=payload,
                    client=statement,
                    text=restated,
                )
                self._spawn(session, connection, "counts", work)
                return
        self.follower.plan(session, connection, text, decision.traits)
        session.submit(payload, decision, statement, True)

    def _on_statement(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        """A command that names a statement, and does not."""
        statement = self._preparer.find(session, payload)
        if statement is None:
            self._unknown_statement(session, connection, payload)
            return
        session.submit(payload, statement.decision, statement, False)

    def _unknown_statement(self, session: Any, connection: Connection, payload: bytes) -> None:
        """The server has its own words for it, if its ids are no others' there."""
        facts = connection.follow.facts
        packet = self._services.protocol.multiplexing.unknown_statement(payload, facts.mysql)
        if packet is None:  # long data for nobody: not answered
            session.settled()
            return
        work = partial(self._ask_in_vain, payload=payload, packet=packet)
        self._spawn(session, connection, "unknown statement", work)

    async def _ask_in_vain(
        self, session: Any, connection: Connection, payload: bytes, packet: bytes
    ) -> None:
        multiplexing = self._services.protocol.multiplexing
        decision = self.decider.for_command(session)
        number = multiplexing.statement_number(payload)
        try:
            if session.held is None:
                await self.leases.take(session, connection, decision)
        except (StepRefused, HProxyError) as error:
            connection.log.info("unknown statement not shown to a backend", reason=str(error))
            session.reply([packet])
            return
        taken = {entry.backend_id for entry in session.held.statements.entries()}
        if number == multiplexing.LATEST_STATEMENT or number in taken:
            session.reply([packet])
        else:
            session.submit(payload, decision, None, False)

    def _prepare(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        work = partial(self._preparer.prepare, payload=payload)
        self._spawn(session, connection, "prepare", work)

    def _reset(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        """COM_RESET_CONNECTION: it is run on a connection, which shows what is left then."""
        state = connection.follow.state

        def done() -> tuple[Any, ...]:
            if session.statements is not None:
                session.statements.clear()
            session.forget_all()
            questions: tuple[Any, ...] = state.reset()
            return questions

        self.follower.plan_command(connection, done)
        session.submit(payload, self.decider.for_command(session), None, True)

    def _change_user(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        self._spawn(session, connection, "change", partial(self._changed, packet=payload))

    async def _changed(self, session: Any, connection: Connection, packet: bytes) -> None:
        await self._change.pooled(session, connection, packet, self)

    # -- tracking as the client would see it ----------------------------------------

    async def _with_client_tracking(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        """The statement may show session_track_*: for its time they are the client's own."""
        state = connection.follow.state

        async def work(talk: Any) -> None:
            # What it set itself has to be known by now, were it for the price of warnings.
            if state.asks_for_tracking:
                await self.follower.ask(session, connection, talk, state.settle())
            await talk.ask(state.client_tracking.statement())

        try:
            await self.leases.converse(session, connection, decision, work)
        except (StepRefused, HProxyError) as error:
            # Refused, it is shown our values; anything else is the end of the connection.
            if isinstance(error, BackendLost) or not isinstance(error, BackendError):
                session.reply([refusal(self._services, error)])
                return
        session.submit(payload, decision, None, True)

    # -- after a statement -----------------------------------------------------------

    def tracked(self, session: Any, payload: bytes) -> bytes:
        """An OK told of session state: remember it, show the client its part."""
        return self.follower.tracked(session, payload)

    def unseen(self, session: Any) -> None:
        """Session state too long to be looked at."""
        multiplexing = self._services.protocol.multiplexing
        session.pin(multiplexing.UNTRACKABLE_STATE, multiplexing.UNTRACKABLE_STATE)

    def finished(self, session: Any) -> None:
        """A statement the driver has seen was answered."""
        connection: Connection = session.tag
        multiplexing = self._services.protocol.multiplexing
        self._context.close_restated(session, connection)
        decision = session.answered_decision
        ends = multiplexing.releases(decision) or (
            connection.follow.state.releases and multiplexing.finishes(decision)
        )
        if ends and not session.scanner.errored:
            session.close("COMMIT or ROLLBACK RELEASE")
            return
        questions = self.follower.finished(session, connection)
        if not questions:
            session.settled()
            return
        work = partial(self._settling.ask, questions=questions)
        self._spawn(session, connection, "questions", work)

    def read_insert_id(self, session: Any) -> None:
        """LAST_INSERT_ID() before the connection goes to somebody else."""
        self._spawn(session, session.tag, "insert id", self._settling.insert_id)

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
                self._spawn(session, connection, "diagnostics", self._settling.relieve)

    def move_on(self, session: Any) -> None:
        """A statement belongs elsewhere, and the warnings of before are still to be had here."""
        self._spawn(session, session.tag, "diagnostics", self._settling.move_on)

    # -- connections -----------------------------------------------------------------

    def align(self, session: Any, pooled: Any) -> None:
        """The connection in hand has other settings than the session."""
        self._spawn(session, session.tag, "align", self.leases.align)

    def prepare_on(self, session: Any, pooled: Any, statement: Any) -> None:
        """The connection in hand lacks a statement of the session's."""
        work = partial(self._preparer.prepare_on, statement=statement)
        self._spawn(session, session.tag, "prepare", work)

    async def follow_prepare(self, session: Any, connection: Connection, text: bytes) -> None:
        """Learn what preparing `text` did to user variables. Raises TimeoutError, BackendError."""
        questions = self.follower.plan_prepared(connection, text)
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

    def status_changed(self, backend: Any, _: Any, new: Any) -> None:
        """The operator took a backend out, or a connection to it failed."""
        if new is Status.OFFLINE_HARD:
            for connection in self._services.registry:
                held = getattr(connection.session, "held", None)
                if held is not None and held.bucket.server.backend == backend:
                    held.sever()
        elif new is Status.OFFLINE_SOFT:
            self.relieve()

    def timed_out(self, session: Any) -> None:
        """No connection in time, or an idle client."""
        if session.state == "waiting":
            self._waiting.timed_out(session)
        else:
            super().timed_out(session)

    # -- ends --------------------------------------------------------------------------

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
        again = session.repeatable and session.attempts <= self._retries
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
        if session.attempts > self._retries:
            return False
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

    @property
    def _retries(self) -> int:
        retries: int = self._shared.pools.settings.query_retries_on_failure
        return retries

    def _kill_command(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        if not self._kill_statement(session, connection, payload):
            session.submit(payload, self.decider.for_command(session), None, False)


Handler = Callable[[MultiplexDriver, Any, Connection, bytes, Any], None]
# By what the protocol calls the role of a command.
HANDLERS: dict[str, Handler] = {
    "init_db": MultiplexDriver._init_db,
    "query": MultiplexDriver._query,
    "kill": MultiplexDriver._kill_command,
    "change_user": MultiplexDriver._change_user,
    "prepare": MultiplexDriver._prepare,
    "execute": MultiplexDriver._execute,
    "on_statement": MultiplexDriver._on_statement,
    "set_option": MultiplexDriver._set_option,
    "reset": MultiplexDriver._reset,
}
