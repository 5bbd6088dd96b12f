# SPDX-License-Identifier: Apache-2.0
"""What is kept for one server: its connection, and whose turn it is.

wait, wait, ... ──> [ busy: one job at a time ] ── connection kept ──> the next job asks on it
                                └ silent, lost, account changed: cut, the next job opens one
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from hproxy.health.model import Address, ProbeConnection
from hproxy.health.outcome import Kind

__all__ = ["Lane", "Link"]

Job = TypeVar("Job")


class Link(Generic[Job]):
    """One server; a hung one holds up its own jobs and nobody else's."""

    __slots__ = (
        "address",
        "busy",
        "closed",
        "complaints",
        "connection",
        "doubtful",
        "use_ssl",
        "waiting",
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connection: ProbeConnection | None = None
        self.use_ssl: bool | None = None
        """How its connection was opened."""
        self.busy = False
        self.closed = False
        """The server is gone, or its connections are to be others: keep none."""
        self.doubtful = False
        """Its last probe got no answer."""
        self.complaints: dict[str, Kind] = {}
        """Checks that fail, and how: what was told of."""
        self.waiting: deque[Job] = deque()

    @property
    def usable(self) -> bool:
        """Whether the kept connection can be asked."""
        return self.connection is not None and self.connection.clean

    def keep(self, connection: ProbeConnection, use_ssl: bool = False) -> None:
        """Keep a connection, unless it is too late for that."""
        if self.closed:
            connection.close()
        else:
            self.connection, self.use_ssl = connection, use_ssl

    def drop(self, *, politely: bool = False) -> None:
        """Give the connection up."""
        connection, self.connection = self.connection, None
        self.use_ssl = None
        if connection is None:
            return
        if politely and connection.clean:
            connection.close()
        else:
            connection.cut()

    def close(self) -> None:
        """For good."""
        self.closed = True
        self.waiting.clear()
        self.complaints.clear()
        self.drop(politely=not self.busy)


class Lane(Generic[Job]):
    """So many connections are being opened at a time; the others queue.

    Servers that were silent last have a lane of their own: a dead data centre must not keep the
    living ones waiting."""

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self.running = 0
        self.queue: deque[Job] = deque()

    def enter(self, job: Job) -> bool:
        """Whether `job` may go at once; else it waits for `leave`."""
        if self.running < self._limit():
            self.running += 1
            return True
        self.queue.append(job)
        return False

    def leave(self) -> list[Job]:
        """One has finished; those that may go now."""
        self.running -= 1
        go: list[Job] = []
        while self.queue and self.running < self._limit():
            self.running += 1
            go.append(self.queue.popleft())
        return go
