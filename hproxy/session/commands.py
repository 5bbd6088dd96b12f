# SPDX-License-Identifier: Apache-2.0
"""Commands with effects on a session, and those the fast lane does not know, one handler each.

payload ── role ──> handler ── plan: follower ──> session.submit ──> backend
                      │  asks about the statement before: context.py first
                      └ answered here: session.reply
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from hproxy.errors import BackendError, BackendLost, HProxyError
from hproxy.protocols.model import Kill
from hproxy.session.context import Context, refusal
from hproxy.session.deciding import Decider
from hproxy.session.follow import Follower
from hproxy.session.internal import session_info
from hproxy.session.lease import Leases
from hproxy.session.opening import StepRefused
from hproxy.session.orders import Orders
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Commands"]


class Commands:
    """Takes the commands that a session does not run by itself."""

    def __init__(self, services: Services, driver: Any) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self._driver = driver
        self._follower: Follower = driver.follower
        self._decider: Decider = driver.decider
        self._leases: Leases = driver.leases
        self._context: Context = driver.context
        self._orders: Orders = driver.orders

    def take(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        """Answer it, or submit it, or another in its place."""
        if connection.caching is not None:  # the one before was never answered
            self._driver.caching.given_up(connection)
        handle = HANDLERS.get(self._mysql.role(payload))
        if handle is not None:
            handle(self, session, connection, payload, decision)
            return
        if not payload:
            session.reply([self._mysql.EMPTY_COMMAND])
            return
        if not self._mysql.is_ordinary(payload[0]):
            session.pin(self._mysql.UNKNOWN_COMMAND, self._mysql.UNKNOWN_COMMAND)
        session.submit(payload, self._decider.for_command(session), None, False)

    def _query(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        assert connection.login is not None
        text = self._mysql.statement_text(payload, connection.login)
        if decision is None:
            decision = self._decider.decide_text(session, text)
            session.noted(decision)
        verdict = decision.verdict
        if verdict is not None:
            if self._orders.answer(session, connection, decision):
                return
            if verdict.text is not None:
                payload = payload[: len(payload) - len(text)] + verdict.text
                text = verdict.text
            again = partial(self._ordered, session, connection, payload, text, decision)
            if not self._orders.delay(session, connection, decision, again):
                again()
            return
        self._run(session, connection, payload, text, decision)

    def _ordered(
        self, session: Any, connection: Connection, payload: bytes, text: bytes, decision: Any
    ) -> None:
        """A statement of which query rules have said something; its delay is over."""
        self._driver.mirroring.send(session, connection, text, decision)
        placed = partial(self._placed, session, connection, payload, text)
        self._driver.freshness.place(session, connection, decision, placed)

    def _placed(
        self, session: Any, connection: Connection, payload: bytes, text: bytes, decision: Any
    ) -> None:
        """It is known where it runs."""
        again = partial(self._run, session, connection, payload, text)
        if self._driver.gtids.wait(session, connection, decision, again):
            return
        now = partial(again, decision)
        if not self._driver.caching.serve(session, connection, text, decision, now):
            now()

    def _run(
        self,
        session: Any,
        connection: Connection,
        payload: bytes,
        text: bytes,
        decision: Any,
        cleaned: bool = False,
    ) -> None:
        """A statement as it is to be run."""
        if self._refused(session, connection, decision):
            return
        traits = decision.traits
        if traits.verb == b"PROXYSQL" and self._internal(session, connection, text):
            return
        if traits.verb == b"SET" and not cleaned:
            counters = self._services.counters
            counters.names += decision.text[:9].upper() == b"SET NAMES"
            counters.autocommits += bool(traits.traits & self._mysql.Trait.ENDS)
        if traits.effects & self._mysql.Effect.USE and self._in_schema(
            session,
            connection,
            decision,
            self._mysql.used_schema(text, session.modes),
            partial(self._run, session, connection, payload, text, decision, cleaned),
        ):
            return
        if traits.effects & self._mysql.Effect.KILL and self._kill_statement(
            session, connection, payload
        ):
            return
        warnings = bool(traits.traits & self._mysql.Trait.CONTEXT) and (
            self._mysql.shows_warnings(text)
        )
        kept_all = session.warnings_kept if warnings else session.context_kept
        if warnings and not cleaned and connection.diagnostics is not None:
            packets = connection.diagnostics.answer(session, text)
            if packets is not None:
                session.reply(self._mysql.with_status(packets, session.status, connection.login))
                return
        if traits.traits & self._mysql.Trait.CONTEXT and not cleaned and not kept_all:
            # Another statement ran on that connection since: say what its answer was instead.
            payload = payload[: len(payload) - len(text)] + self._context.restated(session, text)
            if warnings and not session.pins & self._mysql.Pin.NEXT_TRANSACTION:
                payload_text = self._mysql.statement_text(payload, connection.login)
                again = partial(
                    self._run, session, connection, payload, payload_text, decision, cleaned=True
                )
                recalled = None
                if connection.diagnostics is not None and self._mysql.counts_warnings(text):
                    recalled = connection.diagnostics.recalled(session)
                self._after_cleaning(session, connection, decision, again, recalled)
                return
        plan = self._follower.plan(session, connection, text, traits, decision.text)
        counts_lost = cleaned or not session.context_kept
        if plan.traits is not traits:  # what EXECUTE runs counts as well
            decision = self._decider.decision(
                session, connection, plan.traits, decision.text, verdict=decision.verdict
            )
            inner = connection.follow.state.executed(text)
            if plan.traits.traits & self._mysql.Trait.CONTEXT and counts_lost and inner:
                payload = payload[: len(payload) - len(text)] + self._context.restated(
                    session, inner
                )
        elif traits.traits & self._mysql.Trait.CONTEXT and counts_lost:
            self._follower.correct(session, connection, text)
        if plan.needs_tracking_of_client:
            self._driver.spawn(
                session,
                connection,
                "tracking",
                partial(self._with_client_tracking, payload=payload, decision=decision),
            )
            return
        session.submit(payload, decision, None, True)

    def _internal(self, session: Any, connection: Connection, text: bytes) -> bool:
        """PROXYSQL INTERNAL SESSION is answered here; of other texts it is False."""
        words = text.rstrip(b"; \t\r\n").upper().split()
        if words[:2] != [b"PROXYSQL", b"INTERNAL"]:
            return False
        if words[2:] == [b"SESSION"]:
            told = orjson.dumps(session_info(self._services, connection)).decode()
            packets = self._mysql.one_text("session_info", told, session.status, connection.login)
            session.reply(packets)
        else:
            session.reply([self._mysql.UNKNOWN_INTERNAL])
        return True

    def _refused(self, session: Any, connection: Connection, decision: Any) -> bool:
        """Whether the firewall has answered in the place of a server."""
        packet = self._decider.screening.refusal(decision)
        if packet is None:
            return False
        if not connection.follow.state.waiting:  # what waits is asked on this connection
            session.concluded(False)
        session.reply([packet])
        return True

    def _after_cleaning(
        self,
        session: Any,
        connection: Connection,
        decision: Any,
        again: Callable[[], None],
        recalled: bytes | None = None,
    ) -> None:
        """Go on with `again` when the connection has no warnings of others."""
        work = partial(
            self._context.with_no_warnings, decision=decision, again=again, recalled=recalled
        )
        self._driver.spawn(session, connection, "no warnings", work)

    def _kill_statement(self, session: Any, connection: Connection, payload: bytes) -> bool:
        assert connection.login is not None
        kill = self._services.protocol.interpret(payload, connection.login)
        if not isinstance(kill, Kill):
            return False
        killer = self._driver.killer
        if killer.foreign(kill):
            work = partial(killer.abroad, kill=kill)
            self._driver.spawn(session, connection, "kill", work)
            return True
        target = self._services.registry.find(kill.target)
        if target is None:
            return False
        if target is connection:
            packet = self._mysql.killed_itself(kill.query_only, connection.follow.facts)
            if kill.query_only:
                session.reply([packet])
            else:
                session.fail(packet, "killed by itself")
            return True
        work = partial(killer.elsewhere, target=target, kill=kill)
        self._driver.spawn(session, connection, "kill", work)
        return True

    def _init_db(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        self._services.recorder.used(connection, payload[1:])
        there = self._decider.for_schema(session, payload[1:])

        def again() -> None:
            self._follower.plan_schema(session, connection, payload[1:])
            session.submit(payload, there, None, True)

        if self._in_schema(session, connection, there, payload[1:], again):
            return
        if connection.follow.facts.mysql and not session.warnings_kept:
            # Its OK counts the warnings of the statement before, which stay to be read.
            self._after_cleaning(session, connection, there, again)
        else:
            again()

    def _in_schema(
        self,
        session: Any,
        connection: Connection,
        there: Any,
        schema: bytes,
        again: Callable[[], None],
    ) -> bool:
        """Rules have the schema elsewhere than the one before, which is perhaps unknown there: go
        on with `again` on a connection that is in the new one already. False: no need to."""
        before, held = session.settings.schema, session.held
        if not self._decider.rules_route or not before:
            return False
        if held is not None and (
            held.bucket.group is there.writer
            or session.in_transaction
            or session.insert_id_open
            or session.pins & ~int(self._mysql.LEFT_BEHIND)
        ):
            return False
        home = self._decider.ruling.home(connection, connection.account, before, session.flag_in)
        if home == there.writer.key.hostgroup:
            return False

        async def work(session: Any, connection: Connection) -> None:
            if session.held is not None:
                if session.pins:
                    await self._driver.settling.read(session, connection)
                left = session.part()
                if left is not None:
                    self._services.sharing.pools.recycle(left)
            settings = session.settings
            session.settings = settings.with_schema(schema)
            try:
                await self._leases.take(session, connection, there)
            except (StepRefused, HProxyError) as error:
                session.settings = settings
                session.reply([refusal(self._services, error)])
                return
            session.settings = settings
            again()

        self._driver.spawn(session, connection, "schema", work)
        return True

    def _set_option(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        state = connection.follow.state

        def done() -> tuple[Any, ...]:
            at_login = self._mysql.at_login_multi(connection.login)
            state.set_multi_statements(payload[1:3] == b"\0\0", at_login)
            return ()

        if session.held is None and payload[1:] in self._mysql.OPTIONS:
            # Its EOF counts the warnings of the statement before: nobody has any here.
            done()
            self._follower.apply(session, connection)
            session.reply([self._mysql.option_set(session.status, connection.login)])
            return
        self._follower.plan_command(connection, done)
        session.submit(payload, self._decider.for_command(session), None, True)

    def _execute(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        """COM_STMT_EXECUTE of a statement with effects, or with the fast lane off."""
        statement = self._driver.preparer.find(session, payload)
        if statement is None:
            self._unknown_statement(session, connection, payload)
            return
        if decision is None:  # as a rule it was decided before it came here
            session.noted(statement.decision)
        if statement.decision.verdict is not None:
            if self._orders.answer(session, connection, statement.decision):
                return
            again = partial(self._execute_ordered, session, connection, payload, statement)
            if not self._orders.delay(session, connection, statement.decision, again):
                again()
            return
        self._execute_now(session, connection, payload, statement)

    def _execute_ordered(
        self, session: Any, connection: Connection, payload: bytes, statement: Any
    ) -> None:
        """An execution of which query rules have said something; its delay is over."""

        def run(decision: Any) -> None:
            self._execute_now(session, connection, payload, statement, decided=decision)

        decision = statement.decision
        if not self._driver.gtids.wait(session, connection, decision, run):
            run(decision)

    def _execute_now(
        self,
        session: Any,
        connection: Connection,
        payload: bytes,
        statement: Any,
        cleaned: bool = False,
        decided: Any = None,
    ) -> None:
        decision, text = decided or statement.decision, statement.statement.text
        if self._refused(session, connection, decision):
            return
        asks = decision.traits.traits & self._mysql.Trait.CONTEXT
        if asks and self._mysql.shows_warnings(text) and not cleaned:
            pinned = session.pins & self._mysql.Pin.NEXT_TRANSACTION
            if not session.warnings_kept and not pinned:
                again = partial(
                    self._execute_now, session, connection, payload, statement, True, decided
                )
                self._after_cleaning(session, connection, decision, again)
                return
        counts_lost = asks and (cleaned or not session.context_kept)
        if counts_lost and self._mysql.plain_execution(payload, statement.statement):
            restated = self._context.restated(session, text)
            if restated != text:
                work = partial(
                    self._context.execute_restated,
                    payload=payload,
                    client=statement,
                    text=restated,
                )
                self._driver.spawn(session, connection, "counts", work)
                return
        self._follower.plan(session, connection, text, decision.traits)
        session.submit(payload, decision, statement, True)

    def _on_statement(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        """A command that names a statement, and does not."""
        statement = self._driver.preparer.find(session, payload)
        if statement is None:
            self._unknown_statement(session, connection, payload)
            return
        session.submit(payload, statement.decision, statement, False)

    def _unknown_statement(self, session: Any, connection: Connection, payload: bytes) -> None:
        """The server has its own words for it, if its ids are no others' there."""
        facts = connection.follow.facts
        packet = self._mysql.unknown_statement(payload, facts.mysql)
        if packet is None:  # long data for nobody: not answered
            session.settled()
            return
        work = partial(self._ask_in_vain, payload=payload, packet=packet)
        self._driver.spawn(session, connection, "unknown statement", work)

    async def _ask_in_vain(
        self, session: Any, connection: Connection, payload: bytes, packet: bytes
    ) -> None:
        decision = self._decider.for_command(session)
        number = self._mysql.statement_number(payload)
        try:
            if session.held is None:
                await self._leases.take(session, connection, decision)
        except (StepRefused, HProxyError) as error:
            connection.log.info("unknown statement not shown to a backend", reason=str(error))
            session.reply([packet])
            return
        taken = {entry.backend_id for entry in session.held.statements.entries()}
        if number == self._mysql.LATEST_STATEMENT or number in taken:
            session.reply([packet])
        else:
            session.submit(payload, decision, None, False)

    def _prepare(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        work = partial(self._driver.preparer.prepare, payload=payload)
        self._driver.spawn(session, connection, "prepare", work)

    def _reset(self, session: Any, connection: Connection, payload: bytes, decision: Any) -> None:
        """COM_RESET_CONNECTION: it is run on a connection, which shows what is left then."""
        state = connection.follow.state

        def done() -> tuple[Any, ...]:
            if session.statements is not None:
                session.statements.clear()
            session.forget_all()
            session.forget_aside()
            session.begin_with_flag(0)
            questions: tuple[Any, ...] = state.reset()
            return questions

        self._follower.plan_command(connection, done)
        session.submit(payload, self._decider.for_command(session), None, True)

    def _change_user(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        self._driver.spawn(session, connection, "change", partial(self._changed, packet=payload))

    async def _changed(self, session: Any, connection: Connection, packet: bytes) -> None:
        await self._driver.change.pooled(session, connection, packet, self._driver)

    # -- tracking as the client would see it ----------------------------------------

    async def _with_client_tracking(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        """The statement may show session_track_*: for its time they are the client's own."""
        state = connection.follow.state

        async def work(talk: Any) -> None:
            # What it set itself has to be known by now, were it for the price of warnings.
            if state.asks_for_tracking:
                await self._follower.ask(session, connection, talk, state.settle())
            await talk.ask(state.client_tracking.statement())

        try:
            await self._leases.converse(session, connection, decision, work)
        except (StepRefused, HProxyError) as error:
            # Refused, it is shown our values; anything else is the end of the connection.
            if isinstance(error, BackendLost) or not isinstance(error, BackendError):
                session.reply([refusal(self._services, error)])
                return
        session.submit(payload, decision, None, True)

    def _kill_command(
        self, session: Any, connection: Connection, payload: bytes, decision: Any
    ) -> None:
        if not self._kill_statement(session, connection, payload):
            session.submit(payload, self._decider.for_command(session), None, False)


Handler = Callable[[Commands, Any, Connection, bytes, Any], None]
# By what the protocol calls the role of a command.
HANDLERS: dict[str, Handler] = {
    "init_db": Commands._init_db,
    "query": Commands._query,
    "kill": Commands._kill_command,
    "change_user": Commands._change_user,
    "prepare": Commands._prepare,
    "execute": Commands._execute,
    "on_statement": Commands._on_statement,
    "set_option": Commands._set_option,
    "reset": Commands._reset,
}
