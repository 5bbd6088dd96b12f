# SPDX-License-Identifier: Apache-2.0
"""Limits that hold over all workers of a service: counters in memory they share."""

from typing import Final, final

FORMAT: Final[int]

@final
class Ledger:
    """One process's view of the counters; `column` is where it writes."""

    def __init__(self, fd: int, column: int = -1) -> None:
        """Map the ledger behind `fd`, which stays the caller's; without a column it is looked at.

        Raises ValueError for anything else, or a ledger of another format."""
    @property
    def fd(self) -> int: ...
    @property
    def column(self) -> int:
        """-1: it looks on."""
    @staticmethod
    def create(columns: int, rows: int = 16384) -> int:
        """A new one: a descriptor that is the caller's. Raises OSError, ValueError."""
    def row(self, name: str) -> Row:
        """The counters of that name, as the owner of the column sees them; made at the first call
        of any process. Raises LookupError when there are `capacity` of them."""
    def row_of(self, name: str, column: int) -> Row:
        """The same as the owner of another column sees it."""
    @property
    def columns(self) -> int: ...
    @property
    def count(self) -> int:
        """Rows there are."""
    @property
    def capacity(self) -> int:
        """Rows there may be."""
    def owner(self, column: int) -> int:
        """The process that claimed it; 0 is nobody."""
    def claim(self, owner: int, count: int = 1) -> int:
        """The first of `count` columns side by side that are the process's from now on.

        Raises LookupError."""
    def clear(self, column: int, release: bool = False) -> None:
        """Who wrote there is dead, and has none of its places any more; `release`: the column is
        anybody's who claims it."""
    def passed(self, column: int) -> None:
        """A client was sent to that worker."""
    def returned(self, column: int) -> None:
        """It could not be sent."""
    def received(self) -> None:
        """A client came from another worker."""
    def settled(self) -> None:
        """No client is under way to us, whatever died with the count of them."""
    def under_way(self, column: int) -> int:
        """Clients sent there that it has not seen yet."""
    def close(self, column: int, closed: bool = True) -> None:
        """That worker takes no clients others have accepted, or again does."""
    def is_closed(self, column: int) -> bool: ...

@final
class Row:
    """One limit, as the owner of `column` sees it."""

    def __new__(cls, ledger: Ledger, name: str, column: int) -> Row: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def name(self) -> str: ...
    @property
    def column(self) -> int: ...
    def take(self, limit: int) -> bool:
        """One more place; False: all workers together have as many as they may, or those left
        are for others that have fewer and wait."""
    def give(self) -> None:
        """A place is free again."""
    def enter(self) -> None:
        """A place that is taken whatever the limit."""
    def has_room(self, limit: int) -> bool:
        """Whether `take` would give one now."""
    @property
    def taken(self) -> int:
        """Places of all workers."""
    @property
    def mine(self) -> int: ...
    def of(self, column: int) -> int:
        """Places of that worker."""
    @property
    def all(self) -> tuple[int, ...]:
        """Places by column."""
    want: int
    """Sessions of ours that wait for a place; others see it."""
    starving: bool
    """Some wait, and of the places we have none comes back: one more is our turn, however few
    others have, unless they starve as well. Ends when nobody waits."""
    @property
    def owed(self) -> int:
        """Places that are to go to others, who wait: until they have as many as we."""
    @property
    def wanted(self) -> int:
        """Sessions of other workers that wait for a place."""
    def wanting(self) -> list[int]:
        """Columns of the other workers that wait for a place."""
    def lighter(self, first: int, count: int) -> int:
        """Of `count` columns from `first` on, the one with least places and clients under way, if
        that is so few that the next client is better off there; -1: none."""
    def passes(self, second: int, limit: int) -> bool:
        """Count an event of this second; False: the workers have had `limit` of them."""
