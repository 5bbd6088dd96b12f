# SPDX-License-Identifier: Apache-2.0
"""The shortest history that still differs: first the session alone, then with what others did."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic

from tests.support.recording_client import Login, Refused
from tests.torture.actor import Answer, Side, shown
from tests.torture.campaign import Difference, Twins
from tests.torture.stage import Stage
from tests.torture.step import Step, write_script

__all__ = ["Replay", "kind_of", "report", "shrink"]

History = list[tuple[int, Step]]
OTHERS = 300
"""How far back what others did is looked at."""


class Replay:
    """Plays histories on fresh sessions, again and again."""

    def __init__(self, stage: Stage, expected: Side, actual: Side) -> None:
        self.stage = stage
        self.sides = expected, actual
        self.plays = 0

    def differs(
        self, history: History, login: Callable[[int], Login]
    ) -> tuple[int, Answer, Answer] | None:
        """The first difference: after how many steps, and the two answers."""
        self.plays += 1
        twins: dict[int, Twins] = {}
        try:
            for number in sorted({session for session, _ in history}):
                self.stage.prepare(number)
                try:
                    twins[number] = Twins(login(number), *self.sides)
                except (OSError, Refused):
                    return None  # another story
            for index, (session, step) in enumerate(history):
                expected, actual = twins[session].perform(step)
                if expected != actual:
                    return index, expected, actual
        finally:
            for each in twins.values():
                each.close()
        return None


def shrink(
    replay: Replay, difference: Difference, login: Callable[[int], Login], seconds: float = 60.0
) -> tuple[History, Answer, Answer] | None:
    """The shortest history found in time and its answers; None when it does not happen again."""
    end = monotonic() + seconds
    alone: History = [(difference.session, step) for step in difference.history]
    for history in (alone, list(difference.everybody[-OTHERS:]), list(difference.everybody)):
        # What shows once in a while is worth a second look.
        for _ in range(2):
            found = replay.differs(history, login)
            if found is not None and history[found[0]][0] == difference.session:
                return _reduced(replay, history[: found[0] + 1], found[1:], login, end)
            if monotonic() > end:
                return None
    return None


def _reduced(
    replay: Replay,
    history: History,
    answers: tuple[Answer, Answer],
    login: Callable[[int], Login],
    end: float,
) -> tuple[History, Answer, Answer]:
    """Drop ever smaller pieces while what is left still differs."""
    size = max(1, len(history) // 2)
    while True:
        at = 0
        shorter = False
        while at < len(history) - 1 and monotonic() < end:
            tried = history[:at] + history[min(at + size, len(history) - 1) :]
            found = replay.differs(tried, login)
            # At the same step: another difference on the way is another story.
            if found is not None and tried[found[0]] == history[-1]:
                history, answers, shorter = tried[: found[0] + 1], found[1:], True
            else:
                at += size
        if monotonic() >= end or (size == 1 and not shorter):
            return history, *answers
        size = max(1, size // 2)


def kind_of(difference: Difference) -> str:
    """Equal for differences that look alike: the step without its numbers, and where it differs."""
    pairs = zip(difference.expected, difference.actual, strict=False)
    at = next((i for i, (left, right) in enumerate(pairs) if left != right), -1)
    step = re.sub(r"\d+", "N", repr(difference.history[-1]))[:60]
    return f"{step} frame {at} of {len(difference.expected)}/{len(difference.actual)}"


def report(difference: Difference, small: tuple[History, Answer, Answer] | None) -> str:
    """For people: a script to play again, and both answers."""
    if small is None:
        tail = [(difference.session, step) for step in difference.history[-15:]]
        history, expected, actual = tail, difference.expected, difference.actual
        title = "not seen again when replayed; the session's last steps"
    else:
        history, expected, actual = small
        title = "script"
    capabilities = difference.login.capabilities
    return (
        f"session {difference.session}, capabilities {int(capabilities):#x}"
        f" ({_named(difference)}), charset {difference.login.charset}\n"
        f"  {title}:\n{write_script(history)}"
        f"  expected:\n{shown(expected)}\n  actual:\n{shown(actual)}\n"
    )


def _named(difference: Difference) -> str:
    wanted = ("DEPRECATE_EOF", "SESSION_TRACK", "MULTI_STATEMENTS", "FOUND_ROWS", "IGNORE_SPACE",
              "QUERY_ATTRIBUTES")  # fmt: skip
    flags = difference.login.capabilities
    return "+".join(flag.name or "" for flag in flags if flag.name in wanted)
