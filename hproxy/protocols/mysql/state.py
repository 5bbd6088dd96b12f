# SPDX-License-Identifier: Apache-2.0
"""The state of one client's session, learned statement by statement.

    plan(sql, traits)          before: what the text would do
    finished(plan, outcome)    after: what it did, and what has to be asked
    answered(question, rows)   an answer; perhaps more to ask
    unanswered(question)       the server refused it

What the server's session tracking says counts most, then literals in the text, then answers
to questions. What none of them tells pins the session to its connection. Questions belong to
the connection that ran the statement and come before it may serve anybody else. They would
overwrite the warnings a statement left, so that then they wait until the next statement has
finished; WARNINGS pins the session as long. `settle` is for who cannot wait.

A session's state is touched here and in its two bases alone, so that no statement is followed in
two places: `known.py` is what is known, `asked.py` what is asked and what answers teach. What a
text means, and how to ask, is in the modules around them.

    COM_QUERY ── plan ── run ── finished ──┬─ (no questions) ── settings, pins
                                           └─ ask ── answered ─┘
"""

from __future__ import annotations

from typing import NamedTuple

from hproxy.protocols.mysql import followed, user_variables
from hproxy.protocols.mysql.asked import Asked
from hproxy.protocols.mysql.constants import ServerStatus, TrackedKind
from hproxy.protocols.mysql.effects import Effects, LockKind, Source, read, split
from hproxy.protocols.mysql.followed import Following, following
from hproxy.protocols.mysql.known import PREPARED_LIMIT
from hproxy.protocols.mysql.lexer import tokens
from hproxy.protocols.mysql.pins import Pin, PinRecord
from hproxy.protocols.mysql.plan import Plan, explains, merged
from hproxy.protocols.mysql.questions import (
    CHARSET,
    Asking,
    Question,
    QuestionKind,
)
from hproxy.protocols.mysql.replies import SessionChange
from hproxy.protocols.mysql.routines import harmless
from hproxy.protocols.mysql.settings import (
    WIDE,
    Prepared,
    Settings,
    charset_of,
    charset_statement,
)
from hproxy.protocols.mysql.statement import COMMAND_TRAITS, Trait, Traits
from hproxy.protocols.mysql.traits import classify
from hproxy.protocols.mysql.variables import Assignment, Target, ValueKind

__all__ = [
    "Outcome",
    "Pin",
    "PinRecord",
    "Plan",
    "Question",
    "QuestionKind",
    "SessionState",
]

UNKNOWN_COLUMN = 1054
# Errors that say that a routine does not exist or may not be called.
NEVER_RAN = frozenset({1046, 1305, 1370})
UNKNOWN_STATEMENT = 1243


class Outcome(NamedTuple):
    """How a statement, or a text of several, ended."""

    error: int = 0
    """The number of its ERR; what came before it may have happened."""
    status: int = ServerStatus.AUTOCOMMIT
    changes: tuple[SessionChange, ...] = ()
    """What session tracking said, in all its OKs."""
    tracked: bool = True
    """Whether tracking was on and every response could carry it."""
    warnings: int = 0
    insert_id: int = 0


class SessionState(Asked):
    """Of one client, from login to end."""

    def restart(self, settings: Settings) -> None:
        """COM_CHANGE_USER succeeded: a new session with these settings."""
        self._at_login = settings
        self._forget(settings)

    def reset(self) -> tuple[Question, ...]:
        """COM_RESET_CONNECTION succeeded: all is gone but the schema.

        Tracking is off. Character sets are now the server's own (MySQL), or those of the login
        (MariaDB), which was our login on this connection. That the client ignores spaces is
        forgotten by MariaDB only.
        """
        multi = self.settings.multi_statements
        self._forget(Settings.make(self.settings.schema, multi_statements=multi))
        asking = Asking()
        asking.tracking = True
        if self._mariadb:
            self.settings = self.settings.with_charset(self._at_login.charset)
            sql = charset_statement(self._at_login.charset)
            self._waiting.append(Question(sql, QuestionKind.TRACKING))
        else:
            self._named = asking.charset = True
            mode = self._at_login.variable(b"sql_mode")
            if mode is not None:
                self.settings = self.settings.with_variables({b"sql_mode": mode})
                sql = b"SET SESSION sql_mode = '%s'" % mode
                self._waiting.append(Question(sql, QuestionKind.TRACKING))
            if self.settings.schema:
                # The schema stays, but its character set is the server's now.
                asking.variables[b"collation_database"] = None
        self._ask(asking)
        waiting, self._waiting = tuple(self._waiting), []
        return waiting

    # -- before ---------------------------------------------------------------------------------

    def plan(self, sql: bytes, traits: Traits, digest: bytes = b"") -> Plan:
        """What `sql` would do in this session."""
        modes = self.lex_modes
        found: list[Effects] = []
        seen = [traits]
        opaque = False
        for effects in self._read(sql, modes):
            found.append(effects)
            if effects.compound:
                opaque |= not harmless(sql, (), modes)
            elif effects.executed is not None or effects.immediate is not None:
                inner = self._executed(effects)
                if inner is None:
                    opaque = True
                    continue
                found += self._inside(inner, effects, seen)
        return Plan(tuple(found), merged(seen), digest, opaque)

    def plan_prepare(self, sql: bytes) -> Plan:
        """COM_STMT_PREPARE of it, which runs nothing."""
        asking = Asking()
        self._looked_at(sql, asking)
        return Plan((Effects(users=frozenset(asking.users)),))

    def plan_schema(self, schema: bytes) -> Plan:
        """COM_INIT_DB."""
        return Plan((Effects(use=schema),), COMMAND_TRAITS)

    def set_multi_statements(self, on: bool, at_login: bool) -> None:
        """COM_SET_OPTION succeeded; `at_login` is what the login had agreed on."""
        self.settings = self.settings.with_multi_statements(None if on is at_login else on)

    def executed(self, sql: bytes) -> bytes | None:
        """The text that an EXECUTE runs, if as a query it would be answered the same."""
        found = self._read(sql, self.lex_modes)
        if len(found) != 1 or found[0].executed is None or found[0].using:
            return None
        inner = self.settings.statement(found[0].executed)
        if inner is None or b"?" in inner.text or not self._means_the_same(inner):
            return None
        return inner.text

    def _means_the_same(self, prepared: Prepared) -> bool:
        """Whether the text of it would be read now as it was when it was prepared."""
        now, then = self.settings.context, prepared.context
        if now == then:
            return True
        plain = prepared.text.isascii() and not any(quote in prepared.text for quote in b"'\"`")
        return plain and all(
            one == other
            for one, other in (
                (now.schema, then.schema),
                (now.variable(b"sql_mode"), then.variable(b"sql_mode")),
                (now.variable(b"old_mode"), then.variable(b"old_mode")),
            )
        )

    def _read(self, sql: bytes, modes: int) -> list[Effects]:
        return [read(statement, modes) for statement in split(tokens(sql, modes))]

    def _executed(self, effects: Effects) -> Prepared | None:
        if effects.executed is not None:
            return self.settings.statement(effects.executed)
        text = self._text(effects.immediate or Source())
        return None if text is None else Prepared(text, self.settings.context)

    def _inside(self, inner: Prepared, outer: Effects, seen: list[Traits]) -> list[Effects]:
        modes = inner.context.modes(self._sql_mode)
        seen.append(classify(inner.text, modes))
        found = []
        for effects in self._read(inner.text, modes):
            if effects.calls:
                # A procedure may have OUT parameters.
                users = effects.users | frozenset(outer.using)
                effects = Effects(users=users, calls=True)
            found.append(effects)
        return found

    def _text(self, source: Source) -> bytes | None:
        if source.user is None:
            return source.text
        made = self.settings.user(source.user)
        return None if made is None else user_variables.string_of(made, self._client)

    # -- after ----------------------------------------------------------------------------------

    def finished(self, plan: Plan, outcome: Outcome, now: float = 0.0) -> tuple[Question, ...]:
        """Learn from how a statement ended; what is to be asked on its connection."""
        self._now, self._digest = now, plan.digest
        self._wide = charset_of(self.settings.charset.collation) in WIDE
        asking = Asking()
        own = {item.name for item in plan.assignments if item.target is Target.SESSION}
        tracking = any(following(name) is Following.TRACKING for name in own)
        told = outcome.tracked and not outcome.error and not tracking
        several = len(plan.effects) > 1
        asking.tracking = plan.needs_tracking_of_client or tracking
        reported = self._tracked(outcome, asking)
        for effects in plan.effects:
            if not outcome.error:
                self._done(effects, told, asking)
            elif several:
                self._perhaps(effects, asking)
            else:
                self._refused(effects, outcome.error, asking)
        if not outcome.error:
            self._session_variables(plan, reported, told, asking)
        self._code(plan, outcome)
        self._transaction(plan, outcome)
        self._pin_while(Pin.TEMP_TABLE, self._temporary)
        self._pin_while(Pin.TABLE_LOCK, self._holds)
        self._pin_while(Pin.HANDLER, self._handlers)
        self._hold_untrackable()
        self._pin_while(Pin.USER_LOCK, self._locks or self._nameless_lock)
        self._prepare_later(asking.users)
        self._ask(asking)
        return self._now_or_later(plan, outcome)

    def _now_or_later(self, plan: Plan, outcome: Outcome) -> tuple[Question, ...]:
        if plan.corrections and not outcome.error and not outcome.warnings:
            right = [Question(sql, QuestionKind.TRACKING) for sql in plan.corrections]
            waiting, self._waiting = (*right, *self._waiting), []
            return waiting
        if Trait.CONTEXT not in plan.traits.traits:
            keeps = self._mariadb and Trait.NO_TABLE in plan.traits.traits
            if outcome.error or outcome.warnings or not keeps:
                self._pin_while(Pin.WARNINGS, outcome.error or outcome.warnings)
            self._pin_while(Pin.FOUND_ROWS, Trait.CALC_ROWS in plan.traits.traits)
        elif outcome.error or outcome.warnings or self._waiting:
            # A GET DIAGNOSTICS that fails adds to what there is to be read, and who has read
            # a part (`SET @a = ROW_COUNT()`) may read on.
            self._pin_while(Pin.WARNINGS, True)
        self._postpone_routines()
        # A question that reads a table would be the next transaction.
        if self.pins & (Pin.WARNINGS | Pin.FOUND_ROWS | Pin.NEXT_TRANSACTION):
            return ()
        waiting, self._waiting = tuple(self._waiting), []
        return waiting

    def _tracked(self, outcome: Outcome, asking: Asking) -> set[bytes]:
        """Take what the server said; the names of the variables it spoke of."""
        reported = set()
        for change in outcome.changes:
            if change.kind == TrackedKind.SCHEMA:
                self._schema(change.value)
            elif change.kind == TrackedKind.SYSTEM_VARIABLES:
                name = change.name.lower()
                reported |= {name, followed.pairs(name)}
                self._variable(name, change.value, asking)
        return reported

    # -- what one statement did -----------------------------------------------------------------

    def _done(self, effects: Effects, told: bool, asking: Asking) -> None:
        """It succeeded."""
        if effects.unread_set:
            self._held.add(b"a SET that is not understood")
        for item in effects.assignments:
            self._assigned(item, told, asking)
        for name in effects.users:
            self._ask_user(name, asking)
        if not told and (effects.use is not None or effects.dropped_schema is not None):
            asking.schema = True
        self._temporary |= {self._table(name) for name in effects.created}
        self._temporary -= {self._table(name) for name in effects.dropped}
        for old, new in effects.renamed:
            if self._table(old) in self._temporary:
                self._temporary.discard(self._table(old))
                self._temporary.add(self._table(new))
        self._user_locks(effects, asking)
        self._holds |= set(effects.holds)
        self._holds -= set(effects.lets_go)
        if effects.begins:
            self._holds.discard(LockKind.TABLES)
        if effects.prepared:
            self._prepared(*effects.prepared, asking)
        if effects.deallocated is not None:
            self._deallocated(effects.deallocated)
        if effects.opened is not None:
            self._handlers.add(effects.opened)
        if effects.closed is not None:
            self._handlers.discard(effects.closed)
        if effects.xa is not None:
            self._pin_while(Pin.XA, effects.xa)
        if effects.defines_routine:
            self._book.forget()

    def _refused(self, effects: Effects, error: int, asking: Asking) -> None:
        """It failed by itself: only what happens on the way to the error."""
        for name in effects.users:
            self._ask_user(name, asking)
        for item in effects.assignments:
            # SET checks all its items before it assigns any; but that makes user variables, and
            # gives those that are there another collation.
            if item.target is Target.USER:
                self._ask_user(item.name, asking)
        self._user_locks(effects, asking)
        if effects.prepared:
            name, source = effects.prepared
            if source != Source():
                # What had the name before is gone.
                self._deallocated(name)
            elif self._mariadb and error != UNKNOWN_COLUMN and self.settings.statement(name):
                # It may have been the text that made no sense, or the expression for it.
                self._deallocated(name)
                self._held.add(b"PREPARE " + name)
            self._looked_at(self._text(source), asking)
        if effects.closed is not None:
            self._handlers.discard(effects.closed)

    def _perhaps(self, effects: Effects, asking: Asking) -> None:
        """One of several failed, and this one may have come before it."""
        for item in effects.assignments:
            if item.target is Target.USER:
                self._ask_user(item.name, asking)
            elif item.target is Target.SESSION:
                self._ask_variable(item.name, asking)
            elif item.target in (Target.NAMES, Target.CHARACTER_SET):
                asking.charset = True
            elif item.target in (Target.NEXT_TRANSACTION, Target.ROLE, Target.RESOURCE_GROUP):
                self._held.add(item.target.name.lower().encode())
        if effects.unread_set:
            self._held.add(b"a SET that is not understood")
        for name in effects.users:
            self._ask_user(name, asking)
        asking.schema = asking.schema or bool(effects.use or effects.dropped_schema)
        self._temporary |= {self._table(name) for name in effects.created}
        self._temporary |= {
            self._table(new) for old, new in effects.renamed if self._table(old) in self._temporary
        }
        self._user_locks(effects, asking)
        self._holds |= set(effects.holds)
        for statement in (effects.deallocated, effects.prepared and effects.prepared[0]):
            if statement:
                self._held.add(b"PREPARE " + statement)
        if effects.opened is not None:
            self._handlers.add(effects.opened)
        if effects.xa:
            self._pin_while(Pin.XA, True)
        self._book.forget()

    def _table(self, name: bytes) -> bytes:
        return name if b"." in name else self.settings.schema + b"." + name

    def _assigned(self, item: Assignment, told: bool, asking: Asking) -> None:
        if item.target is Target.USER:
            self._set_user(item, asking)
        elif item.target in (Target.NAMES, Target.CHARACTER_SET):
            asking.charset = True
            # Without COLLATE the answer to the question says which it is.
            self._named = item.target is Target.NAMES and not item.name
            self._results_collation(item.name)
        elif item.name == b"character_set_results":
            self._results_collation(b"")
            if item.value.kind in (ValueKind.NUMBER, ValueKind.EXPRESSION):
                # MySQL takes the number of a collation, too.
                self._held.add(item.name)
        elif item.target is Target.NEXT_TRANSACTION:
            if not told:
                self._pin_while(Pin.NEXT_TRANSACTION, True)
        elif item.target is Target.RESOURCE_GROUP:
            self._held.add(b"resource group")
        elif item.target is Target.ROLE:
            self._held.add(b"role")

    def _results_collation(self, collation: bytes) -> None:
        charset = self.settings.charset._replace(results_collation=collation)
        self.settings = self.settings.with_charset(charset)

    def _set_user(self, item: Assignment, asking: Asking) -> None:
        made = None
        unsure = asking.charset or self._wide or CHARSET in self._waiting
        if not unsure and user_variables.can_be_named(item.name):
            made = user_variables.expression(item.value, self.settings.charset)
        if made is None:
            self._ask_user(item.name, asking)
        else:
            asking.users.pop(item.name, None)
            self._keep_user(item.name, made)

    def _user_locks(self, effects: Effects, asking: Asking) -> None:
        if effects.releases_all:
            self._locks.clear()
            self._nameless_lock = False
        for name in effects.locks:
            if name is None:
                self._nameless_lock = True
            else:
                self._locks.add(name.lower())
        if effects.locks or effects.releases or effects.releases_all:
            asking.locks = bool(self._locks)

    def _prepared(self, name: bytes, source: Source, asking: Asking) -> None:
        # A variable that is being asked for has another value than the one we know.
        text = None if source.user in asking.users else self._text(source)
        self._deallocated(name)
        self._looked_at(text, asking)
        if text is not None and name.isascii() and len(self.settings.prepared) < PREPARED_LIMIT:
            prepared = Prepared(text, self.settings.context)
            self.settings = self.settings.with_prepared({name: prepared})
            return
        self._held.add(b"PREPARE " + name)
        if source.user is not None and name.isascii():
            self._unprepared[name] = (source.user, self.settings.context)

    def _looked_at(self, text: bytes | None, asking: Asking) -> None:
        """A text was prepared: that alone may change the user variables it assigns."""
        if text is None or b"@" not in text:
            return
        for effects in self._read(text, self.lex_modes):
            for name in effects.users:
                self._ask_user(name, asking)
            for item in effects.assignments:
                if item.target is Target.USER:
                    self._ask_user(item.name, asking)

    def _deallocated(self, name: bytes) -> None:
        self.settings = self.settings.with_prepared({name: None})
        self._held.discard(b"PREPARE " + name)
        self._unprepared.pop(name, None)

    def _session_variables(
        self,
        plan: Plan,
        reported: set[bytes],
        told: bool,
        asking: Asking,
    ) -> None:
        """What SET named, where the server did not say how it turned out."""
        for item in plan.assignments:
            if item.target is not Target.SESSION:
                continue
            name, value = item.name, item.value
            what = following(name)
            if what is Following.TRACKING:
                asking.client_tracking[name] = None
                # The answer may have to wait, and the next statement is told already.
                if value.kind is ValueKind.DEFAULT:
                    self.client_tracking.set(name, None)
                elif value.kind is not ValueKind.EXPRESSION:
                    self.client_tracking.set(name, value.text.strip(b"\"'"))
            elif name == b"timestamp" and (
                value.kind is ValueKind.DEFAULT or value.text.strip(b"+-0.") == b""
            ):
                # The clock runs again, whatever the server says of it.
                self._keep(name, None)
            elif not (told and name in reported):
                self._ask_variable(name, asking)

    # -- code we do not see, and transactions ---------------------------------------------------

    def _code(self, plan: Plan, outcome: Outcome) -> None:
        names = [self._routine(name) for name in plan.traits.routines]
        if outcome.error in NEVER_RAN and len(plan.effects) == 1:
            names = []
        fine = self._trial.ran(names)
        # EXECUTE of a name that stands for nothing runs nothing.
        self._trial.stained |= plan.opaque and outcome.error != UNKNOWN_STATEMENT
        changed = any(change.kind == TrackedKind.STATE_CHANGE for change in outcome.changes)
        explained = plan.opaque or not fine or any(map(explains, plan.effects))
        if changed and not explained:
            self._pin_while(Pin.UNTRACKABLE_STATE, True)

    def _routine(self, written: bytes) -> tuple[bytes, bytes]:
        schema, dot, name = written.replace(b"`", b"").rpartition(b".")
        return (schema if dot else self.settings.schema), name.lower()

    def _transaction(self, plan: Plan, outcome: Outcome) -> None:
        running = bool(self._status & ServerStatus.IN_TRANS)
        # An ERR says nothing of the transaction: this is what answers before it have said.
        self._status = outcome.status
        runs = bool(self._status & ServerStatus.IN_TRANS)
        self._pin_while(Pin.TRANSACTION, runs)
        if running and not runs:
            self.unpin(Pin.NEXT_TRANSACTION)
        for change in outcome.changes:
            if change.kind == TrackedKind.TRANSACTION_CHARACTERISTICS:
                self._pin_while(Pin.NEXT_TRANSACTION, change.value and not runs)
