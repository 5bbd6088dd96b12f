# SPDX-License-Identifier: Apache-2.0
"""What is due next: a heap of times in which entries may be moved and dropped; pure.

    put(key, due) ──> heap ── take(now) ──> keys whose time has come, each at most once

A dropped or moved entry stays in the heap until its old time comes, or they are the majority.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Schedule"]

Key = TypeVar("Key", bound=Hashable)


class Schedule(Generic[Key]):
    """Keys and the time each is due, in seconds of any clock."""

    def __init__(self) -> None:
        self._due: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: object) -> bool:
        return key in self._due

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._due))

    def put(self, key: Key, due: float) -> None:
        """`key` is due then, whenever it was due before."""
        self._count += 1  # keys need no order
        self._due[key] = (due, self._count)
        heapq.heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, count, key) for key, (due, count) in self._due.items()]
            heapq.heapify(self._heap)

    def drop(self, key: Key) -> None:
        """Forget `key`; it need not be there."""
        self._due.pop(key, None)

    def take(self, now: float) -> list[Key]:
        """What is due at `now`, the earliest first; it leaves the schedule."""
        found: list[Key] = []
        while self._heap and self._heap[0][0] <= now:
            due, count, key = heapq.heappop(self._heap)
            if self._due.get(key) == (due, count):
                del self._due[key]
                found.append(key)
        return found

    def next_due(self) -> float | None:
        """When to look again; None when there is nothing to wait for."""
        while self._heap:
            due, count, key = self._heap[0]
            if self._due.get(key) == (due, count):
                return due
            heapq.heappop(self._heap)
        return None
