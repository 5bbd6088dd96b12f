# SPDX-License-Identifier: Apache-2.0
"""Where the time of statements goes, by hostgroup and by command."""

from typing import final

PHASES: tuple[str, ...]
"""queue, connect, first_byte, answer, total"""

_Told = tuple[tuple[int, ...], int]
"""Twenty cells (10 us, 20, 50, 100 .. 10 s, and longer) and the sum in nanoseconds."""

@final
class PhaseTimes:
    """One hostgroup; made by a table only."""

    def queued(self, ns: int) -> None:
        """A statement that had to wait was given a connection."""
    def connected(self, ns: int) -> None:
        """A connection was opened, logged in and set up."""
    def read(self) -> dict[str, _Told]:
        """By the names in PHASES. Of `queue` only those that had to wait."""

@final
class PhaseTable:
    """The hostgroups there are, and the commands of all; counts since the start of the worker."""

    def __new__(cls) -> PhaseTable: ...
    @property
    def rows(self) -> dict[int, PhaseTimes]: ...
    def ensure(self, hostgroup: int) -> PhaseTimes:
        """Its row, made at the first call."""
    def read_commands(self) -> dict[int, _Told]:
        """From the command's arrival to the end of its answer, by its byte, if any came."""

def cell_of(ns: int) -> int:
    """The cell a time falls into."""
