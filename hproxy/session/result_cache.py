# SPDX-License-Identifier: Apache-2.0
"""Results that query rules let be told again: bounded, by time to live, nothing else.

    key    account, capabilities, settings of the session (schema, variables), exact text
    frames as a backend has sent them: whoever has that key reads just these bytes
    put    replaces; what is expired goes first, then what was asked for longest ago
    get    fresh ──> frames         old by the soft limit ──> None once: who asks renews it

A write does not take anything out: for how long a result may be told is what the rule says.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

__all__ = ["CacheCounts", "ResultCache"]

OVERHEAD = 640
"""Bytes of an entry beside its frames and its text."""
MOST_BYTES = 4 << 20
"""Of one result: a client that reads slowly has a copy of it."""
PURGE_SEC = 1.0
"""Between two looks for what has expired: each goes over hundreds of thousands in a full cache."""


@dataclass(slots=True)
class Entry:
    frames: bytes
    rows: int
    size: int
    born: float
    expires: float
    renewing: bool = False


@dataclass(slots=True)
class CacheCounts:
    """As ProxySQL's Query_Cache_* are called."""

    count_GET: int = 0
    count_GET_OK: int = 0
    count_SET: int = 0
    bytes_IN: int = 0
    bytes_OUT: int = 0
    Purged: int = 0
    Entries: int = 0
    Memory_bytes: int = 0


class ResultCache:
    """`limit()` is the bytes it may take, asked each time; `clock()` is in seconds."""

    def __init__(self, limit: Callable[[], int], clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._purge_due = 0.0
        self.counts = CacheCounts()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def most_bytes(self) -> int:
        """Frames of a result that may be kept."""
        return min(self._limit() // 4, MOST_BYTES)

    def get(self, key: Hashable, soft_pct: int = 0) -> tuple[bytes, int] | None:
        """Frames and number of rows. `soft_pct`: of its time to live, 0 and 100 are all of it."""
        self.counts.count_GET += 1
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock()
        if entry.expires <= now:
            self._drop(key)
            return None
        soft = entry.born + (entry.expires - entry.born) * soft_pct / 100
        if 0 < soft_pct < 100 and soft <= now and not entry.renewing:
            entry.renewing = True
            return None
        self._entries.move_to_end(key)
        self.counts.count_GET_OK += 1
        self.counts.bytes_OUT += entry.size
        return entry.frames, entry.rows

    def put(self, key: Hashable, frames: bytes, rows: int, text_size: int, ttl_ms: int) -> bool:
        """Keep a result; False: it is too large."""
        size, limit = OVERHEAD + text_size + len(frames), self._limit()
        if len(frames) > self.most_bytes or size > limit:
            return False
        if key in self._entries:
            self._remove(key)
        now = self._clock()
        if self.counts.Memory_bytes + size > limit and now >= self._purge_due:
            self._purge_due = now + PURGE_SEC
            self.purge()
        while self._entries and self.counts.Memory_bytes + size > limit:
            self._drop(next(iter(self._entries)))
        self._entries[key] = Entry(frames, rows, size, now, now + ttl_ms / 1000)
        self.counts.Entries += 1
        self.counts.Memory_bytes += size
        self.counts.count_SET += 1
        self.counts.bytes_IN += size
        return True

    def purge(self) -> None:
        """Drop what has expired."""
        now = self._clock()
        for key in [key for key, entry in self._entries.items() if entry.expires <= now]:
            self._drop(key)

    def flush(self) -> int:
        """Drop everything; how much that was."""
        count = len(self._entries)
        for key in list(self._entries):
            self._drop(key)
        return count

    def _drop(self, key: Hashable) -> None:
        self._remove(key)
        self.counts.Purged += 1

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        self.counts.Entries -= 1
        self.counts.Memory_bytes -= entry.size
