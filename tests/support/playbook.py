# SPDX-License-Identifier: Apache-2.0
"""A login machine's conversation written as one expression, checked as it is spoken.

    Playbook(machine) << Read(BACKEND) >> PacketArrived(BACKEND, greeting) << Send << Read(CLIENT)

`<<` is what the machine must do next: an action, or only its class. `>>` is what happens to it.
`<< Raises(error, code)` ends a conversation the peer has broken. A failure shows what was
said so far and both versions of the next line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, Self

from hproxy.errors import HProxyError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import (
    Action,
    Done,
    Event,
    PacketArrived,
    Refuse,
    Send,
    Work,
    Worked,
)

__all__ = ["Playbook", "Raises", "Transitions", "worked"]

LONGEST_PAYLOAD_SHOWN = 48


@dataclass(frozen=True, slots=True)
class Raises:
    """The machine gives up with this class of error and this full code."""

    kind: type[HProxyError]
    code: str


Line = Action | Raises


class Playbook:
    """Plays one machine; `sent`, `result`, `refused` and `raised` are what it said last."""

    walked: ClassVar[list[tuple[Any, Any]]] = []
    """State changes of all machines since the list was last cleared."""

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.sent = b""
        self.everything_sent: list[bytes] = []
        self.result: LoginResult = LoginResult(user=b"")
        self.refused: HProxyError = HProxyError()
        self.raised: HProxyError = HProxyError()
        self._said: list[str] = []
        self._due: list[Line] = []
        self._act(machine.start)

    def __lshift__(self, expected: Line | type[Any]) -> Self:
        """The machine's next action is `expected`."""
        actual = self._due.pop(0) if self._due else None
        matches = isinstance(actual, expected) if isinstance(expected, type) else False
        if not matches and actual != expected:
            self._fail(f"<< {show(expected)}", f"<< {show(actual)}")
        self._said.append(f"<< {show(actual)}")
        match actual:
            case Send(_, payload):
                self.sent = payload
                self.everything_sent.append(payload)
            case Done(result):
                self.result = result
            case Refuse(error):
                self.refused = error
        return self

    def __rshift__(self, event: Event) -> Self:
        """`event` happens, once the machine has said all it had to."""
        if self._due:
            self._fail(f">> {show(event)}", f"<< {show(self._due[0])}")
        self._said.append(f">> {show(event)}")
        self._act(lambda: self.machine.receive(event))
        return self

    def _act(self, step: Callable[[], Sequence[Action]]) -> None:
        before = self.machine.state
        try:
            self._due = list(step())
        except HProxyError as error:
            self.raised = error
            self._due = [Raises(type(error), error.full_code)]
        Playbook.walked.append((before, self.machine.state))
        if self._due and isinstance(self._due[-1], Work):
            result = worked(self._due.pop())
            self._act(lambda: self.machine.receive(Worked(result)))

    def _fail(self, expected: str, actual: str) -> None:
        said = "\n".join(f"    {line}" for line in self._said)
        state = self.machine.state
        raise AssertionError(
            f"{type(self.machine).__name__} in {state!r}:\n{said}\n"
            f"  expected  {expected}\n  actual    {actual}"
        )


def worked(work: Any) -> Any:
    """What a machine's work comes to."""
    while True:
        try:
            next(work.steps)
        except StopIteration as end:
            return end.value


class Transitions:
    """Checks that each state change a table allows has a test that makes it happen."""

    def __init__(self, table: Mapping[Any, frozenset[Any]]) -> None:
        self.allowed = {(before, after) for before, ends in table.items() for after in ends}
        self.tested: set[tuple[Any, Any]] = set()

    def __call__(self, before: Any, after: Any) -> Callable[..., Callable[..., None]]:
        """Marks a test: it walks from `before` to `after`."""
        self.tested.add((before, after))

        def mark(test: Callable[..., None]) -> Callable[..., None]:
            @wraps(test)
            def walk(*args: Any, **kwargs: Any) -> None:
                Playbook.walked.clear()
                test(*args, **kwargs)
                assert (before, after) in Playbook.walked

            return walk

        return mark

    @property
    def untested(self) -> set[tuple[Any, Any]]:
        return self.allowed - self.tested

    @property
    def impossible(self) -> set[tuple[Any, Any]]:
        """Tested, but not in the table."""
        return self.tested - self.allowed


def show(line: object) -> str:
    """One action or event, long payloads cut."""
    if isinstance(line, type):
        return f"{line.__name__}(...)"
    if isinstance(line, Send | PacketArrived):
        head, length = line.payload[:LONGEST_PAYLOAD_SHOWN], len(line.payload)
        more = f"... {length} bytes" if length > len(head) else ""
        return f"{type(line).__name__}({line.side}, {head!r}{more})"
    return "nothing" if line is None else repr(line)
