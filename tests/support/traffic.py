# SPDX-License-Identifier: Apache-2.0
"""Clients that write and read all the time, and remember when, and what became of it.

    writer   INSERT (who, n) ── OK ──> acknowledged, never to be lost
    mover    BEGIN; INSERT; SELECT; COMMIT ── OK ──> the same
    reader   SELECT one row

with Traffic(host, port, table) as traffic: ...
    traffic.writes.longest(since)     seconds without a success
    traffic.errors()                  {("write", 2013): 4}
    traffic.acknowledged              {(who, n), ...}
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from types import TracebackType
from typing import Any, Self

import pymysql

__all__ = ["Failed", "Kept", "Traffic"]

PAUSE_S = 0.004
"""Between two statements of one client: it is about gaps, not about speed."""
ANSWER_S = 30.0
JOIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Failed:
    """One error a client saw."""

    at: float
    kind: str
    number: int
    text: str
    lost: bool
    """Its connection to the proxy was gone."""


@dataclass
class Kept:
    """When something succeeded."""

    times: list[float] = field(default_factory=list)

    def add(self) -> None:
        self.times.append(monotonic())

    def first(self, since: float) -> float | None:
        """The first success after `since`."""
        times = sorted(self.times)
        at = bisect_left(times, since)
        return times[at] if at < len(times) else None

    def longest(self, since: float, until: float | None = None) -> float:
        """The longest time without a success, in seconds."""
        until = monotonic() if until is None else until
        inside = [since, *(t for t in sorted(self.times) if since <= t <= until), until]
        return max(b - a for a, b in pairwise(inside))


class Traffic:
    """Runs as a context; the table is made on entry through the proxy."""

    def __init__(
        self,
        host: str,
        port: int,
        table: str,
        *,
        writers: int = 3,
        movers: int = 2,
        readers: int = 3,
        user: str = "app",
    ) -> None:
        self._where: dict[str, Any] = {"host": host, "port": port, "user": user, "password": user}
        self.table = table
        self._crew = [
            *[("write", self._write)] * writers,
            *[("move", self._move)] * movers,
            *[("read", self._read)] * readers,
        ]
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        self.writes, self.reads = Kept(), Kept()
        self.acknowledged: set[tuple[int, int]] = set()
        self.failures: list[Failed] = []

    # -- what came of it ----------------------------------------------------------------

    def errors(self, since: float = 0.0) -> Counter[tuple[str, int]]:
        """How often each kind of client saw each number."""
        return Counter((f.kind, f.number) for f in list(self.failures) if f.at >= since)

    @property
    def lost_connections(self) -> int:
        return sum(f.lost for f in list(self.failures))

    def missing(self, rows: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Acknowledged and not among `rows`."""
        return self.acknowledged - rows

    def written_after(self, moment: float) -> bool:
        return self.writes.first(moment) is not None

    # -- clients --------------------------------------------------------------------------

    def _write(self, cursor: Any, who: int, n: int) -> None:
        cursor.execute(f"INSERT INTO {self.table} VALUES ({who}, {n})")
        self._done(who, n)

    def _move(self, cursor: Any, who: int, n: int) -> None:
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO {self.table} VALUES ({who}, {n})")
        cursor.execute(f"SELECT n FROM {self.table} WHERE who = {who} AND n = {n}")
        assert cursor.fetchall() == ((n,),), "a transaction does not see what it wrote"
        cursor.execute("COMMIT")
        self._done(who, n)

    def _read(self, cursor: Any, who: int, n: int) -> None:
        cursor.execute(f"SELECT n FROM {self.table} WHERE who = {n % 4} LIMIT 1")
        cursor.fetchall()
        self.reads.add()

    def _done(self, who: int, n: int) -> None:
        self.writes.add()
        self.acknowledged.add((who, n))

    def _client(self, kind: str, what: Callable[[Any, int, int], None], who: int) -> None:
        n = 0
        connection: Any = None
        while not self._over.wait(PAUSE_S):
            n += 1
            try:
                if connection is None:
                    connection = pymysql.connect(
                        **self._where, autocommit=True, read_timeout=ANSWER_S
                    )
                with connection.cursor() as cursor:
                    what(cursor, who, n)
            except (pymysql.MySQLError, OSError) as error:
                at, number = monotonic(), error.args[0] if error.args else 0
                lost = connection is None or not self._usable(connection)
                self.failures.append(Failed(at, kind, number, str(error), lost))
                if lost:
                    connection = None
        if connection is not None:
            connection.close()

    def _usable(self, connection: Any) -> bool:
        """Whether the client may go on with it: out of its transaction, as ORMs do."""
        if not connection.open:
            return False
        try:
            connection.rollback()
        except (pymysql.MySQLError, OSError):
            return bool(connection.open)
        return True

    # -- from begin to end ------------------------------------------------------------------

    def __enter__(self) -> Self:
        with pymysql.connect(**self._where, autocommit=True) as connection:
            connection.cursor().execute(
                f"CREATE TABLE {self.table} (who INT, n INT, PRIMARY KEY (who, n))"
            )
        for who, (kind, what) in enumerate(self._crew):
            thread = threading.Thread(target=self._client, args=(kind, what, who), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def stop(self) -> None:
        """End every client, in the middle of nothing."""
        self._over.set()
        for thread in self._threads:
            thread.join(JOIN_S)
            assert not thread.is_alive(), "a client hangs"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
