# SPDX-License-Identifier: Apache-2.0
"""What the answer to a command leaves in the session."""

from typing import final

from typing_extensions import disjoint_base

from hproxy._native.decision import Decision
from hproxy._native.mysql_tracked import Tracked
from hproxy._native.pool import BackendConnection
from hproxy._native.statements import ClientStatement, ClientStatements

@final
class Watch:
    """What is watched of all statements of a worker."""

    slow_ns: int
    """A statement that takes so many nanoseconds is slow; 0: none is."""
    tell: bool
    """The driver is told of slow statements (`recorded`), not only of those that are logged."""
    slow: int
    """Slow statements so far."""
    def __init__(self) -> None: ...

@disjoint_base
class Outcome(Tracked):
    watch: Watch | None
    """Of the worker; None: nothing is slow."""
    watch_next: bool
    """... and of the next ones, until this is taken back."""
    expired: bool
    """It is being killed because its time was up: the client is told so."""
    captured: bytearray | None
    """Frames of the answer to the command under way, once the driver has set it; None when they
    are more than `capture_limit`, or not what another client shall read."""
    capture_limit: int
    row_count: int
    """What ROW_COUNT() returns."""
    @property
    def answered_decision(self) -> Decision | None:
        """Of the one before it."""
    @property
    def attempts(self) -> int:
        """Times the command under way was sent."""
    @property
    def context_serial(self) -> int:
        """Statements that left a context of their own."""
    @property
    def found_rows(self) -> int: ...
    @property
    def statements(self) -> ClientStatements | None:
        """None until it prepares."""
    @property
    def statement(self) -> ClientStatement | None:
        """Of the command under way."""
    @property
    def context_kept(self) -> bool:
        """Whether the connection of the statement before is still as that left it."""
    @property
    def warnings_kept(self) -> bool:
        """Whether the connection of the statement before still has its warnings."""
    @property
    def needs_insert_id(self) -> bool:
        """Whether the statement that waits asks for a LAST_INSERT_ID() its connection lacks."""
    def part(self) -> BackendConnection | None:
        """Take the connection away, with all that it holds of the session; None if it has none."""
    def give_up(self) -> None:
        """Take the connection away from the session: it is lost, or not to be trusted."""
    def end_yield(self, found_rows: int) -> None:
        """It is known now."""
    def concluded(self, warnings: bool, flags: int = 0) -> None:
        """A command that the driver answered left `warnings` on the connection in hand, or none.

        `flags` are those of the statement it is about."""
    def know_insert_id(self, value: int) -> bool:
        """LAST_INSERT_ID() on the connection in hand; False: another session left it there."""
    def forget_all(self) -> None:
        """COM_RESET_CONNECTION was run on the connection in hand."""
