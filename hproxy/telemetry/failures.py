# SPDX-License-Identifier: Apache-2.0
"""Errors that backends gave, by who asked which server: the rows of stats_mysql_errors.

note ── known? ── count, last seen, last words ── moved to the end
          └ no ── full? the one not seen for longest goes ── added at the end
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Failure", "FailureKey", "Failures"]

MOST = 4096
LONGEST = 512
"""Characters of an error text that are kept."""


class FailureKey(NamedTuple):
    """What errors are told apart by, in the order of the table's columns."""

    hostgroup: int
    hostname: str
    port: int
    username: str
    client_address: str
    """Empty unless client addresses are tracked."""
    schemaname: str
    errno: int


@dataclass(slots=True)
class Failure:
    """How often, when (unix seconds), and what was said last."""

    count: int
    first_seen: int
    last_seen: int
    text: str


class Failures:
    """A bounded table of them."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: OrderedDict[FailureKey, Failure] = OrderedDict()
        self.total = 0
        """Errors noted since the start, whatever was reset."""
        self.sums: dict[tuple[int, str, int, int], int] = {}
        """Errors since the start by hostgroup, hostname, port and number; never reset."""
        self.dropped = 0
        """Rows that had to go."""

    def __len__(self) -> int:
        return len(self._found)

    def note(self, key: FailureKey, text: str, now: float) -> None:
        """One more; `now` in unix seconds."""
        self.total += 1
        place = (key.hostgroup, key.hostname, key.port, key.errno)
        if place in self.sums or len(self.sums) < self._most:
            self.sums[place] = self.sums.get(place, 0) + 1
        second = int(now)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= self._most:
                self._found.popitem(last=False)
                self.dropped += 1
            self._found[key] = Failure(1, second, second, text[:LONGEST])
            return
        found.count += 1
        found.last_seen = second
        found.text = text[:LONGEST]
        self._found.move_to_end(key)

    def rows(self) -> list[tuple[int | str, ...]]:
        """In the order of the table's columns, the latest last."""
        return [
            (*key, found.count, found.first_seen, found.last_seen, found.text)
            for key, found in self._found.items()
        ]

    def reset(self) -> None:
        """Forget them."""
        self._found.clear()
