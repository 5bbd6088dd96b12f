# SPDX-License-Identifier: Apache-2.0
"""The share of one worker in what all workers of a service may have together.

    row "backend 0 db1:3306"   connections to it           mysql_servers.max_connections
        "account bob"          connections opened for it   backend_users' max_connections
        "sessions bob"         clients logged in           mysql_users.max_connections
        "clients"              clients there are           server.max_connections
        "hostgroup 0"          opened in this second       throttle_connections_per_sec

A worker that is short of places says so in the ledger and nudges those that have some: they give
up idle connections, and in the end busy ones as they come back, until both have as many. Without
a ledger there is one worker: every row is None, and nothing is asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hproxy._native.ledger import Ledger, Row

__all__ = ["Ledger", "Row", "Shares", "create"]

SPARE_COLUMNS = 8


def create(workers: int) -> int:
    """A ledger for a service of so many workers, and for the one that will take over from it:
    a descriptor. Raises OSError."""
    return Ledger.create(3 * workers + SPARE_COLUMNS)


class Shares:
    """Rows by name, as the owner of `column` sees them; of one worker where there is no ledger."""

    def __init__(self, ledger: Ledger | None = None, workers: int = 1) -> None:
        """`ledger` has a column. It is mapped for as long as this, or a row of it, is there."""
        self.ledger = ledger
        self.workers = workers
        self.nudge: Callable[[int, Row], None] = lambda column, row: None
        """Tells the worker of a column to look at a row: it waits, or is waited for."""
        self._rows: dict[str, Row | None] = {}

    @classmethod
    def join(cls, fd: int, column: int, workers: int) -> Shares:
        """Of the worker that writes in `column`; the descriptor is closed.

        Raises ValueError for what is no ledger of this version."""
        try:
            return cls(Ledger(fd, column), workers)
        finally:
            os.close(fd)

    def row(self, name: str) -> Row | None:
        """None: only this process counts, because it is alone or the ledger is full; then it has
        an equal part of what all may have (`limit`)."""
        if self.ledger is None:
            return None
        if name not in self._rows:
            try:
                self._rows[name] = self.ledger.row(name)
            except LookupError:
                self._rows[name] = None
        return self._rows[name]

    def backend(self, backend: Any) -> Row | None:
        """Connections to a backend of one hostgroup."""
        return self.row(f"backend {backend.hostgroup} {backend}") if self.ledger else None

    def account(self, name: bytes) -> Row | None:
        """Pooled connections opened for a user."""
        return self.row(f"account {_text(name)}") if self.ledger else None

    def sessions(self, name: bytes) -> Row | None:
        """Clients logged in as a user."""
        return self.row(f"sessions {_text(name)}") if self.ledger else None

    def clients(self) -> Row | None:
        """Clients, whoever they are."""
        return self.row("clients")

    def hostgroup(self, number: int) -> Row | None:
        """Connections opened to a hostgroup: how many there were in this second."""
        return self.row(f"hostgroup {number}")

    def limit(self, whole: int, row: Row | None) -> int:
        """What this process may have of a limit that is counted in `row`, or nowhere."""
        return whole if row is not None or self.ledger is None else whole // self.workers

    def part(self, whole: int) -> int:
        """Of what is kept in reserve, as much as is for this worker to keep."""
        return -(-whole // self.workers)

    # -- lending -------------------------------------------------------------------

    def want(self, row: Row, count: int, starving: bool | None = None) -> None:
        """So many sessions wait here for a place: those who have some are asked for it. `starving`:
        whether of those we have none comes back; None: as before."""
        row.want = count
        if starving is not None:
            row.starving = starving
        if count:
            for column, places in enumerate(row.all):
                if places > 0 and column != row.column:
                    self.nudge(column, row)

    def freed(self, row: Row | None) -> None:
        """A place is free: those who wait for it look again."""
        if row is not None:
            for column in row.wanting():
                self.nudge(column, row)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
