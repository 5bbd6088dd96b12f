# SPDX-License-Identifier: Apache-2.0
"""Interleaves sessions at random, each held on two sides, and compares every frame.

A session that differs once has diverged: it is taken out, its history kept, and a fresh one comes
in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from hproxy.protocols.mysql.constants import Capability, ServerStatus
from tests.support.recording_client import Login, Refused
from tests.torture.actor import Actor, Answer, Side, ending
from tests.torture.pen import q
from tests.torture.stage import Stage
from tests.torture.step import Reconnect, Step
from tests.torture.variables import SettableVariable, settable_variables
from tests.torture.writer import Writer, login_of

__all__ = ["Campaign", "Difference", "Plan", "Result", "Twins", "held"]

KILL_CHANCE = 0.02
# Steps of a session, where few connections serve many, before it gives up what it may have.
SETTLED_EVERY = 25
CLOSED: Answer = ((-1, b"<closed>"),)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to play."""

    seed: int
    steps: int
    sessions: int = 40
    hold: int = 0
    """How many sessions may be amid something at a time; 0 for any number."""
    differences: int = 10
    """After how many sessions that differ it is enough."""
    kills: bool = False
    """Whether backend connections are killed while every session could do without."""
    capabilities: frozenset[str] | None = None
    """What every session agrees on; None to draw for each."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One session's history up to the step whose answers differ."""

    session: int
    login: Login
    history: tuple[Step, ...]
    everybody: tuple[tuple[int, Step], ...]
    """What all sessions did, in order, this one's last step included."""
    expected: Answer
    actual: Answer


@dataclass(slots=True)
class Result:
    """How it went."""

    steps: int = 0
    seconds: float = 0.0
    errors: int = 0
    differences: list[Difference] = field(default_factory=list)


class Twins:
    """One session held on both sides."""

    def __init__(self, login: Login, expected: Side, actual: Side) -> None:
        self.login = login
        self.expected = Actor(expected, login)
        try:
            self.actual = Actor(actual, login)
        except BaseException:
            self.expected.close()
            raise
        self.history: list[Step] = []
        self.held = False

    @property
    def capabilities(self) -> Capability:
        return self.expected.client.capabilities

    def perform(self, step: Step) -> tuple[Answer, Answer]:
        """Both sides' answers."""
        self.history.append(step)
        expected = self.expected.perform(step)
        actual = self.actual.perform(step)
        if expected == CLOSED and actual != CLOSED and _lost(actual):
            # The server closed behind its answer; a proxy may have sent the next command by then.
            actual = CLOSED
        end = ending(expected, self.capabilities)
        busy = ServerStatus.IN_TRANS | ServerStatus.CURSOR_EXISTS
        # A diagnostics area with something in it, too, is only where it was made.
        self.held = (
            end.error or end.warnings > 0 or (end.status is not None and bool(end.status & busy))
        )
        return expected, actual

    def close(self) -> None:
        self.expected.close()
        self.actual.close()


def _lost(answer: Answer) -> bool:
    """Whether it is an ERR 2013."""
    return len(answer) == 1 and answer[0][1].startswith(b"\xff\xdd\x07")


def held(twins: Twins, steps: tuple[Step, ...] | list[Step]) -> int | None:
    """The number of the first step whose answers differ, played from the beginning."""
    for index, step in enumerate(steps):
        expected, actual = twins.perform(step)
        if expected != actual:
            return index
    return None


class Campaign:
    """Plays a plan on a stage. The sides connect to `actual` and to `expected`: to the server
    itself when not told otherwise."""

    def __init__(
        self,
        stage: Stage,
        plan: Plan,
        actual: tuple[str, int],
        expected: tuple[str, int] | None = None,
    ) -> None:
        server = stage.server
        self.stage = stage
        self.plan = plan
        self.family = server.name
        self.expected = Side(*(expected or (server.host, server.port)), stage.prefix("d"))
        self.actual = Side(*actual, stage.prefix("p"))
        self.variables: tuple[SettableVariable, ...]
        self.variables, self.readable = settable_variables(server)
        self.players: list[tuple[int, Writer, Twins]] = []
        self.everybody: list[tuple[int, Step]] = []
        self.created = 0

    def run(self, tell: Callable[[Result], None] = lambda _: None) -> Result:
        """Play to the end, or until too much differs."""
        plan = self.plan
        result = Result()
        began = monotonic()
        rng = Random(f"order {plan.seed}")
        try:
            for _ in range(plan.sessions):
                self.players.append(self._player())
            while result.steps < plan.steps and len(result.differences) < plan.differences:
                if self.plan.kills and rng.random() < KILL_CHANCE:
                    self._kill()
                at = self._whose_turn(rng)
                self._step(at, result)
                if result.steps % 5000 == 0:
                    result.seconds = monotonic() - began
                    tell(result)
        finally:
            for _, _, twins in self.players:
                twins.close()
            self.players.clear()
        result.seconds = monotonic() - began
        return result

    def _player(self) -> tuple[int, Writer, Twins]:
        number, self.created = self.created, self.created + 1
        self.stage.prepare(number)
        login = login_of(self.plan.seed, number, self.family, self.plan.capabilities)
        writer = Writer(self.plan.seed, number, self.family, login, self.variables, self.readable)
        try:
            return number, writer, Twins(login, self.expected, self.actual)
        except Refused as refused:
            raise AssertionError(f"login of session {number} refused: {refused}") from refused

    def _whose_turn(self, rng: Random) -> int:
        """Any session, or with `hold` one that is amid something when enough of them are."""
        if not self.plan.hold:
            return rng.randrange(len(self.players))
        # Of some that a connection is tied to (a trigger's doing, say) the script knows nothing.
        overdue = [
            i
            for i, (_, writer, _) in enumerate(self.players)
            if writer.unsettled > SETTLED_EVERY and writer.between_phrases
        ]
        if overdue:
            self.players[overdue[0]][1].settle()
            return overdue[0]
        busy = [i for i, player in enumerate(self.players) if not self._idle(player)]
        if len(busy) < self.plan.hold:
            return rng.randrange(len(self.players))
        at = rng.choice(busy)
        _, writer, _ = self.players[at]
        if writer.between_phrases and rng.random() < 0.5:
            writer.settle()
        return at

    @staticmethod
    def _idle(player: tuple[int, Writer, Twins]) -> bool:
        _, writer, twins = player
        return writer.between_phrases and not twins.held and not writer.pen.sticky

    def _kill(self) -> None:
        """Kill what has one of the other side's schemas, unless somebody is amid something."""
        if not all(map(self._idle, self.players)):
            return
        self.stage.kill("p")
        for _, writer, _ in self.players:
            # What is left of the last statement, as ROW_COUNT(), is gone with the connection.
            writer.pending.append(q("DO 0"))

    def _step(self, at: int, result: Result) -> None:
        number, writer, twins = self.players[at]
        step = writer.next()
        self.everybody.append((number, step))
        expected, actual = twins.perform(step)
        result.steps += 1
        result.errors += bool(expected) and expected[-1][1].startswith(b"\xff")
        if expected != actual:
            result.differences.append(
                Difference(
                    number,
                    twins.login,
                    tuple(twins.history),
                    tuple(self.everybody),
                    expected,
                    actual,
                )
            )
            twins.close()
            self.players[at] = self._player()
        elif twins.expected.closed:
            # Both were closed, as after COMMIT RELEASE.
            writer.pen.slots.clear()
            writer.pen.sticky.clear()
            writer.pending.clear()
            writer.pending.append(Reconnect())
