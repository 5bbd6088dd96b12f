# SPDX-License-Identifier: Apache-2.0
"""Reads go to readers, without a session ever missing what it wrote itself.

    the account's hostgroup is the writer of a pair   no: this policy has nothing to say
    the statement only reads                          no: writer
    a transaction is open                             yes: writer
    the session wrote less than `hold` seconds ago    yes: writer
    otherwise                                         reader
Time stands in for replication here: a replica that lags by more than `hold` shows older data.
"""

from __future__ import annotations

from collections.abc import Iterable

from hproxy.routing.policy import Request, Route

__all__ = ["ReadWriteSplit"]


class ReadWriteSplit:
    """`pairs` are (writer hostgroup, reader hostgroup); the first pair of a writer counts."""

    def __init__(self, pairs: Iterable[tuple[int, int]], hold: float) -> None:
        self._readers: dict[int, int] = {}
        for writer, reader in pairs:
            self._readers.setdefault(writer, reader)
        self._hold = hold

    def decide(self, request: Request) -> Route | None:
        """The reader for a read that nothing binds to the writer."""
        writer = request.default_hostgroup
        reader = self._readers.get(writer)
        if reader is None or reader == writer:
            return None
        if not request.reads:
            return Route(writer, "not only a read")
        if request.in_transaction:
            return Route(writer, "inside a transaction")
        if request.since_write is not None and request.since_write < self._hold:
            return Route(writer, f"own write {request.since_write:.3f} s ago")
        return Route(reader, "a read")
