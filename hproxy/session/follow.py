# SPDX-License-Identifier: Apache-2.0
"""Follows what statements do to a session, so that any connection can go on in its place.

    plan ──> statement runs ──> tracked (session state in its OK) ──> finished ──> questions
                                                                         └ apply: settings, pins

`SessionState` knows; this carries facts between it, the native session and the connection that
serves. Both sessions and connections end up with the same `Settings` object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from hproxy.errors import BackendError, BackendLost
from hproxy.session.registry import Connection
from hproxy.session.ruling import Ruling
from hproxy.session.services import Services

__all__ = ["Follower", "Following"]


@dataclass(slots=True)
class Following:
    """What is followed of one session."""

    state: Any
    facts: Any
    plan: Any = None
    changes: list[Any] = field(default_factory=list)
    restated: tuple[Any, int] | None = None
    """A connection, and the number of a statement there that is of no more use."""
    told: bool = False
    """An OK of the statement under way carried session state, or could have."""


class Follower:
    """Keeps SessionState and native sessions in step."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self._ruling = Ruling(services)

    def begin(self, session: Any, connection: Connection, facts: Any) -> None:
        """A session starts with `session.settings`."""
        connection.follow = self.following(session.settings, facts)
        session.keeps_warnings = not facts.mysql
        self.apply(session, connection)

    def following(self, settings: Any, facts: Any) -> Following:
        """What is followed of a session that has done nothing yet."""
        shared = self._services.multiplex
        assert shared is not None
        return Following(self._mysql.session_state(settings, facts, shared.routines), facts)

    def plan(
        self, session: Any, connection: Connection, text: bytes, traits: Any, digest: bytes = b""
    ) -> Any:
        """What is expected of a statement that is about to run."""
        follow = connection.follow
        self._native_pins(session, follow)
        follow.changes.clear()
        follow.plan = follow.state.plan(text, traits, digest)
        return follow.plan

    def correct(self, session: Any, connection: Connection, text: bytes) -> None:
        """What `text` will have read of ROW_COUNT is another session's: put it right then."""
        follow = connection.follow
        follow.plan = self._mysql.corrected(follow.plan, text, session.row_count, session.modes)

    def plan_schema(self, session: Any, connection: Connection, schema: bytes) -> None:
        """COM_INIT_DB is about to run."""
        self._native_pins(session, connection.follow)
        connection.follow.changes.clear()
        connection.follow.plan = connection.follow.state.plan_schema(schema)

    def plan_command(self, connection: Connection, after: Callable[[], tuple[Any, ...]]) -> None:
        """A command is about to run that changes the session by `after`, if it succeeds."""
        connection.follow.changes.clear()
        connection.follow.plan = after

    def _native_pins(self, session: Any, follow: Following) -> None:
        """What native code alone has seen: the COMMIT that ends SET TRANSACTION, warnings."""
        pin = self._mysql.Pin
        for reason in (pin.NEXT_TRANSACTION, pin.WARNINGS, pin.FOUND_ROWS):
            if session.pins & reason:
                follow.state.pin(reason, monotonic())
            else:
                follow.state.unpin(reason)

    def tracked(self, session: Any, payload: bytes) -> bytes:
        """An OK with session state; what the client shall read instead."""
        connection: Connection = session.tag
        follow = connection.follow
        packet, changes = self._mysql.read_ok(payload, connection.login)
        if not session.watched:
            # Nobody expected it to change anything: it runs without a plan.
            follow.changes.clear()
            follow.plan = None
            session.watched = True
        follow.changes.extend(changes)
        plan = None if callable(follow.plan) else follow.plan
        view = follow.state.client_view(changes, plan)
        if session.shows_transactions:
            letters, text = self._mysql.transaction_told(changes)
            told = session.transaction_view(letters, bool(text), packet.status)
            if follow.state.client_tracking.transactions:
                told = b"" if text is not None else None  # the rest is in `view` already
            if told is not None:
                view = (view or b"") + told
        shown: bytes = self._mysql.shown_ok(packet, view, connection.login)
        return shown

    def finished(self, session: Any, connection: Connection) -> Any:
        """It was answered; the questions that are left."""
        follow = connection.follow
        scanner = session.scanner
        plan, follow.plan = follow.plan, None
        if plan is None:
            self._native_pins(session, follow)
            plan = self._mysql.Plan(traits=session.answered_decision.traits)
        elif callable(plan):
            questions = () if scanner.errored else plan()
            self.apply(session, connection)
            return questions
        if plan.traits.verb == b"GET" and session.restated and scanner.warnings:
            # GET DIAGNOSTICS is OK even where there is no such condition; its connection knows.
            session.row_count = -1
            session.restated = False
        shared = self._services.multiplex
        assert shared is not None
        if plan.traits.effects & self._mysql.Effect.DDL:
            shared.schema_epoch += 1
            shared.routines.forget()
        if scanner.errored and plan.traits.effects & self._mysql.Effect.ROUTINE:
            session.hold_until_answered()  # a procedure may begin one and fail then
        outcome = self._mysql.Outcome(
            error=scanner.error if scanner.errored else 0,
            status=session.status,
            changes=tuple(follow.changes),
            tracked=bool(follow.facts.tracking)
            and (scanner.affected >= 0 or scanner.deprecate_eof),
            warnings=scanner.warnings or int(scanner.warned and session.keeps_warnings),
            insert_id=scanner.insert_id,
        )
        follow.changes.clear()
        questions = follow.state.finished(plan, outcome, monotonic())
        if not questions:
            self.apply(session, connection)
        return questions

    async def ask(self, session: Any, connection: Connection, talk: Any, questions: Any) -> None:
        """Ask until nothing is left open. Raises BackendLost."""
        state = connection.follow.state
        waiting = list(questions)
        while waiting:
            question = waiting.pop(0)
            try:
                rows = await talk.ask(question.sql)
            except BackendLost:
                raise
            except BackendError:
                waiting.extend(state.unanswered(question))
                continue
            waiting.extend(state.answered(question, rows))
        self.apply(session, connection)

    def restore(self, connection: Connection, statement: Any) -> list[bytes]:
        """What puts user variables back after `statement` was prepared unseen."""
        if not statement.decision.traits.effects & self._mysql.Effect.USER_VARIABLES:
            return []
        state = connection.follow.state
        found: list[bytes] = self._mysql.restore_users(
            state.settings, state.plan_prepare(statement.text)
        )
        return found

    def plan_prepared(self, connection: Connection, text: bytes, warnings: bool) -> Any:
        """The questions after a statement was prepared in the session's sight."""
        state = connection.follow.state
        outcome = self._mysql.Outcome(status=connection.session.status, warnings=int(warnings))
        return state.finished(state.plan_prepare(text), outcome, monotonic())

    def restart(self, session: Any, connection: Connection, facts: Any, settings: Any) -> None:
        """COM_CHANGE_USER: a session anew, which holds no connection."""
        session.forget_all()
        session.forget_aside()
        session.begin_with_flag(0)
        session.concluded(False)
        if session.statements is not None:
            session.statements.clear()
        session.idle_timeout = self._services.settings.idle_timeout
        session.status = self._mysql.INITIAL_STATUS
        session.settings = settings
        connection.diagnostics = None
        self.begin(session, connection, facts)

    def forget(self, session: Any, connection: Connection) -> None:
        """The connection that held what cannot be carried over is lost."""
        state = connection.follow.state
        values = dict(state.client_tracking.values)
        state.restart(state.settings)
        for name, value in values.items():
            state.client_tracking.set(name, value)
        self.apply(session, connection)

    def apply(self, session: Any, connection: Connection) -> None:
        """Settings and pins as they are known now, in the session and its connection."""
        follow = connection.follow
        state = follow.state
        account = connection.account
        assert account is not None
        session.settings = state.settings
        held = session.held
        if held is not None:
            held.settings = state.settings
            if state.settings.schema and not held.bucket.group.key.with_schema:
                # A schema cannot be left again: it is among those that have one now.
                group = self._services.sharing.pools.group(
                    held.bucket.group.key.hostgroup, account, connection.kind, state.settings
                )
                held.move(next(b for b in group.buckets if b.server is held.bucket.server))
        session.modes = state.lex_modes
        session.roams = not account.transaction_persistent
        session.set_salt(self._ruling.salt(session, connection))
        session.pin(self._mysql.STATE_PINS, int(state.pins) & self._mysql.STATE_PINS)
        if state.waiting:  # for the end of warnings, and on this connection
            session.pin(self._mysql.Pin.WARNINGS, self._mysql.Pin.WARNINGS)
        session.shows_state = self._mysql.shows_state(state)
        session.shows_in_eof = self._mysql.shows_in_eof(state, follow.facts)
        session.shows_transactions = self._mysql.shows_transactions(
            state, follow.facts, connection.login
        )
        # Questions that would have cost the client its warnings are asked after the next one.
        session.watch_next = bool(state.waiting) or state.releases
        if state.last_insert_id is not None:
            session.last_insert_id = state.last_insert_id
            state.last_insert_id = None
            if held is not None:
                held.insert_id = session.last_insert_id
                held.insert_owner = session.serial
        timeout = state.settings.variable(b"wait_timeout")
        if timeout is not None and timeout.isdigit():
            session.idle_timeout = float(timeout)
