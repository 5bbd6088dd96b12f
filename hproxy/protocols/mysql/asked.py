# SPDX-License-Identifier: Apache-2.0
"""What is asked of a session's connection about its state, and what the answers tell; pure."""

from __future__ import annotations

from collections.abc import Sequence

from hproxy.protocols.mysql import followed, user_variables
from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.followed import Following, following
from hproxy.protocols.mysql.known import Known
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.questions import (
    CHARSET,
    SCHEMA,
    Asking,
    Question,
    QuestionKind,
    Row,
)
from hproxy.protocols.mysql.routines import routine_question
from hproxy.protocols.mysql.settings import (
    WIDE,
    Charset,
)

__all__ = ["Asked"]


class Asked(Known):
    """A session whose connection can be asked."""

    def _ask(self, asking: Asking) -> None:
        ask = self._waiting.append
        if asking.client_tracking:
            # Before tracking is ours again, also for what waits already.
            self._waiting[:] = [each for each in self._waiting if each.sql != self._tracking]
            names = tuple(asking.client_tracking)
            if sql := followed.show(names):
                ask(Question(sql, QuestionKind.CLIENT_TRACKING, names))
        if asking.tracking:
            for question in self._switch_tracking():
                ask(question)
        if asking.schema:
            ask(SCHEMA)
        if asking.charset:
            ask(CHARSET)
        if asking.variables:
            self._ask_variables(tuple(asking.variables))
        if asking.users:
            users = tuple(asking.users)
            sql = user_variables.question(users, self._mariadb)
            ask(Question(sql, QuestionKind.USERS, users))
        if asking.locks:
            self._ask_locks()
        self._ask_routines()

    def _switch_tracking(self) -> tuple[Question, ...]:
        if not self._tracking:
            return ()
        return (Question(self._tracking, QuestionKind.TRACKING),)

    def _ask_variables(self, names: tuple[bytes, ...]) -> None:
        both = tuple(dict.fromkeys(each for name in names for each in (name, followed.pairs(name))))
        sql = followed.show(both)
        if sql is None or self.settings.charset.results in WIDE:
            self._held |= set(names)
            self._hold_untrackable()
        else:
            self._waiting.append(Question(sql, QuestionKind.VARIABLES, names))

    def _ask_locks(self) -> None:
        names = tuple(sorted(self._locks))
        columns = b",".join(b"IS_USED_LOCK('%s')<=>CONNECTION_ID()" % name for name in names)
        sql = b"SELECT %s LIMIT 1" % columns
        self._waiting.append(Question(sql, QuestionKind.LOCKS, names))

    def _ask_routines(self) -> None:
        self._pin_while(Pin.ROUTINE, self._trial.open)
        if self._in_transaction:
            return
        for name in self._trial.summon():
            self._waiting.append(Question(routine_question(*name), QuestionKind.ROUTINE, name))

    def _postpone_routines(self) -> None:
        """One has begun since they were to be asked for."""
        if not self._in_transaction:
            return
        for question in self._waiting:
            if question.kind is QuestionKind.ROUTINE:
                self._trial.postpone((question.names[0], question.names[1]))
        self._waiting = [q for q in self._waiting if q.kind is not QuestionKind.ROUTINE]

    @property
    def _in_transaction(self) -> bool:
        """Whether MySQL's tables of routines would be read in a transaction of the client's."""
        status = self._status
        return bool(status & ServerStatus.IN_TRANS) or not status & ServerStatus.AUTOCOMMIT

    def answered(self, question: Question, rows: Sequence[Row]) -> tuple[Question, ...]:
        """Learn from an answer; what more there is to ask."""
        asking = Asking()
        kind = question.kind
        if kind is QuestionKind.ROUTINE:
            schema, routine = question.names
            # It ran, and with a schema in front of its name: one of a MariaDB package.
            package = not rows and schema != self.settings.schema
            self._trial.answered((schema, routine), rows, package)
        elif kind is QuestionKind.VARIABLES:
            self._shown(question.names, rows, asking)
        elif kind is QuestionKind.CLIENT_TRACKING:
            for row in rows:
                self.client_tracking.set((row[0] or b"").lower(), row[1] or b"")
        elif kind is not QuestionKind.TRACKING:
            if len(rows) != 1:
                return self.unanswered(question)
            self._told(question, rows[0])
        self._prepare_later(())
        self._hold_untrackable()
        self._pin_while(Pin.USER_LOCK, self._locks or self._nameless_lock)
        self._ask(asking)
        more, self._waiting = tuple(self._waiting), []
        return more

    def unanswered(self, question: Question) -> tuple[Question, ...]:
        """The server refused it: what it was about is not known any more."""
        if question.kind is QuestionKind.ROUTINE:
            self._trial.stained = True
            self._pin_while(Pin.ROUTINE, True)
        elif question.kind is not QuestionKind.LOCKS:
            self._held.add(question.kind.name.lower().encode())
            self._pin_while(Pin.UNTRACKABLE_SET, True)
        return ()

    def _told(self, question: Question, row: Row) -> None:
        if question.kind is QuestionKind.SCHEMA:
            self._schema(row[0] or b"")
        elif question.kind is QuestionKind.CHARSET:
            client, results, collation = row
            if client is not None and collation is not None:
                of_results = collation if self._named else self.settings.charset.results_collation
                charset = Charset(client, results, collation, of_results)
                self.settings = self.settings.with_charset(charset)
            self._named = False
        elif question.kind is QuestionKind.USERS:
            each = user_variables.COLUMNS
            for i, name in enumerate(question.names):
                self._keep_user(name, user_variables.read_back(row[i * each : (i + 1) * each]))
        elif question.kind is QuestionKind.LOCKS:
            held = zip(question.names, row, strict=True)
            self._locks -= {name for name, mine in held if mine == b"0"}

    def _shown(self, names: tuple[bytes, ...], rows: Sequence[Row], asking: Asking) -> None:
        shown = {(row[0] or b"").lower(): row[1] or b"" for row in rows}
        for name in names:
            found = name if name in shown else followed.pairs(name)
            if found not in shown:
                self._held.add(name)
            elif following(found) is Following.LAST_ID:
                self.last_insert_id = int(shown[found]) if shown[found].isdigit() else None
            else:
                self._keep(found, shown[found])
