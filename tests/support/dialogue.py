# SPDX-License-Identifier: Apache-2.0
"""A session's state without a server: the test says what is answered."""

from __future__ import annotations

from typing import Any

from hproxy.protocols.mysql.constants import ServerStatus, TrackedKind
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.replies import SessionChange
from hproxy.protocols.mysql.routines import RoutineBook
from hproxy.protocols.mysql.settings import Settings
from hproxy.protocols.mysql.state import Outcome, Plan, Question, QuestionKind, SessionState
from hproxy.protocols.mysql.traits import classify

PLAIN = Settings.make(b"shop")
TRACKING = b"SET SESSION session_track_schema=ON"
IDLE = int(ServerStatus.AUTOCOMMIT)
RUNNING = IDLE | ServerStatus.IN_TRANS
STATE = SessionChange(TrackedKind.STATE_CHANGE, b"", b"1")


def variable(name: str, value: str) -> SessionChange:
    return SessionChange(TrackedKind.SYSTEM_VARIABLES, name.encode(), value.encode())


def characteristics(value: str) -> SessionChange:
    return SessionChange(TrackedKind.TRANSACTION_CHARACTERISTICS, b"", value.encode())


class Dialogue:
    """A session without a server: what is said of each statement is up to the test."""

    def __init__(self, settings: Settings = PLAIN, *, mariadb: bool = True) -> None:
        self.book = RoutineBook()
        self.state = SessionState(settings, mariadb=mariadb, book=self.book, tracking=TRACKING)

    def pins(self) -> Pin:
        return self.state.pins

    def plan(self, sql: str) -> Plan:
        text = sql.encode()
        return self.state.plan(text, classify(text, self.state.lex_modes), b"digest of " + text)

    def run(self, sql: str, *changes: SessionChange, **outcome: Any) -> tuple[Question, ...]:
        """The questions behind `sql`, which ended well unless `error` says otherwise."""
        return self.state.finished(self.plan(sql), Outcome(changes=changes, **outcome), 5.0)

    def kinds(self, sql: str, *changes: SessionChange, **outcome: Any) -> list[QuestionKind]:
        return [question.kind for question in self.run(sql, *changes, **outcome)]
