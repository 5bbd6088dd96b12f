# SPDX-License-Identifier: Apache-2.0
"""A connection straight to a server whose session is followed the way the proxy follows one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.replies import EofPacket, ErrPacket, OkPacket, SessionChange
from hproxy.protocols.mysql.rows import TextResult
from hproxy.protocols.mysql.settings import Settings, replay
from hproxy.protocols.mysql.state import Outcome, Plan, Question, SessionState
from hproxy.protocols.mysql.traits import classify
from tests.support.recording_client import COMMON, Login, RecordingClient
from tests.support.server import Server

__all__ = ["Answer", "Connection", "Follower", "tracking_statement"]

# Every OK would report these.
NOISE = frozenset({b"gtid_seq_no", b"last_gtid", b"rand_seed1", b"rand_seed2", b"statement_id"})


class Answer(NamedTuple):
    """Of one text."""

    error: int
    message: bytes
    rows: list[tuple[bytes | None, ...]]
    status: int
    changes: tuple[SessionChange, ...]
    told: bool
    warnings: int
    types: list[bytes]
    """Character set, length, type, flags and decimals of the columns."""


class Connection(RecordingClient):
    """Runs statements and commands; `login` may name a schema."""

    def __init__(self, server: Server, login: Login) -> None:
        super().__init__(server.host, server.port, login)

    def run(self, sql: bytes | str) -> Answer:
        return self.read(self.query(sql))

    def rows(self, sql: bytes | str) -> list[tuple[bytes | None, ...]]:
        answer = self.run(sql)
        assert not answer.error, (sql, answer)
        return answer.rows

    def step(self, payload: bytes) -> Answer:
        return self.read(self.command(payload))

    def read(self, packets: list[bytes]) -> Answer:
        """All results of an answer, as one."""
        error, message, status, warnings = 0, b"", 0, 0
        rows: list[tuple[bytes | None, ...]] = []
        changes: list[SessionChange] = []
        types: list[bytes] = []
        told = True
        while packets:
            head = packets[0]
            if head[0] == 0xFF:
                packet = ErrPacket.parse(head)
                error, message = packet.number, packet.message
                break
            if head[0] in (0x00, 0xFE):
                packets = packets[1:]
                if head[0] == 0xFE and len(head) < 9:
                    status = int(EofPacket.parse(head).status)
                    continue
                done = OkPacket.parse(head, self.capabilities)
            else:
                reader = TextResult(self.capabilities)
                columns = head[0]
                types = [packet[-12:-2] for packet in packets[1 : 1 + columns]]
                used = 0
                while not reader.take(packets[used]):
                    used += 1
                last, packets = packets[used], packets[used + 1 :]
                rows = reader.rows
                if reader.error:
                    error, message = reader.error.number, reader.error.message
                    break
                if not self.deprecates_eof:
                    told = False
                    ended = EofPacket.parse(last)
                    status, warnings = int(ended.status), ended.warnings
                    continue
                done = OkPacket.parse(last, self.capabilities)
            status, warnings = int(done.status), done.warnings
            changes += done.session_changes
        return Answer(error, message, rows, status, tuple(changes), told, warnings, types)


def tracking_statement(names: list[bytes]) -> bytes:
    """Switches session tracking of everything on, given the names of all variables."""
    listed = b",".join(name for name in names if name not in NOISE)
    return (
        b"SET SESSION session_track_schema=ON,session_track_state_change=ON,"
        b"session_track_transaction_info='CHARACTERISTICS',"
        b"session_track_system_variables='%s'" % listed
    )


class Follower:
    """A connection and the state it is thought to be in."""

    def __init__(
        self,
        server: Server,
        tracking: bytes,
        capabilities: Capability = COMMON | Capability.SESSION_TRACK | Capability.DEPRECATE_EOF,
        *,
        tracked: bool = True,
        database: str = "",
    ) -> None:
        self.server = server
        self.tracked = tracked
        self.connection = Connection(server, Login(database=database, capabilities=capabilities))
        self.state = SessionState(
            Settings.make(database.encode()),
            mariadb=server.name == "mariadb",
            tracking=tracking if tracked else b"",
        )
        self.holds: Settings | None = None
        self.asked: list[Question] = []
        self.go(self.state.settings, tracking if tracked else b"")

    def go(self, want: Settings, tracking: bytes) -> None:
        """Replay."""
        steps = replay(self.holds, want, tracking)
        assert steps is not None
        for step in steps:
            answer = self.connection.step(step.payload)
            assert not answer.error, (step, answer)
        self.holds = want

    def run(self, sql: bytes | str) -> Answer:
        """A statement of the client, and the questions behind it."""
        text = sql.encode() if isinstance(sql, str) else sql
        plan = self.state.plan(text, classify(text, self.state.lex_modes))
        return self._follow(plan, lambda: self.connection.run(text))

    def use(self, schema: bytes) -> Answer:
        """COM_INIT_DB."""
        payload = bytes([Command.INIT_DB]) + schema
        return self._follow(self.state.plan_schema(schema), lambda: self.connection.step(payload))

    def _follow(self, plan: Plan, send: Callable[[], Answer]) -> Answer:
        answer = send()
        outcome = Outcome(
            answer.error,
            answer.status,
            answer.changes if self.tracked else (),
            self.tracked and answer.told,
            answer.warnings,
        )
        self.ask(self.state.finished(plan, outcome))
        return answer

    def ask(self, questions: tuple[Question, ...]) -> None:
        """Ask until there is nothing left to ask."""
        todo = list(questions)
        while todo:
            question = todo.pop(0)
            self.asked.append(question)
            found = self.connection.run(question.sql)
            if found.error:
                todo += self.state.unanswered(question)
            else:
                todo += self.state.answered(question, found.rows)

    def settle(self) -> None:
        """Ask what waited for warnings to be read."""
        self.ask(self.state.settle())

    def close(self) -> None:
        self.connection.close()
