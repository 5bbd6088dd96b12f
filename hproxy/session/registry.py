# SPDX-License-Identifier: Apache-2.0
"""Who is connected: sessions by the id their client knows, and the totals of those gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hproxy.auth import Account
from hproxy.protocols.base import LoginResult
from hproxy.topology import Backend

__all__ = ["Connection", "Registry", "Totals"]

# Ids of ours start here, far above those a server counts up to in practice, so that a KILL of
# an id that SELECT CONNECTION_ID() gave is never mistaken for one of ours.
FIRST_ID = 1 << 30
ID_SPAN = 1 << 30


@dataclass(slots=True)
class Connection:
    """What the slow lane knows of one client."""

    id: int
    peer: str
    host: str
    log: Any
    login: LoginResult | None = None
    """As agreed with the client."""
    backend: Backend | None = None
    backend_login: LoginResult | None = None
    account: Account | None = None
    session: Any = None
    client_secure: bool = False
    busy: Callable[[], object] | None = None
    """Cancels the login or slow command under way."""


@dataclass(slots=True)
class Totals:
    """Counters since the start."""

    accepted: int = 0
    refused: int = 0
    logins_failed: int = 0
    logins: int = 0
    commands: int = 0
    bytes_from_clients: int = 0
    bytes_to_clients: int = 0
    backend_connect_errors: int = 0
    aborted_clients: int = 0
    aborted_backends: int = 0


@dataclass(slots=True)
class Registry:
    """Connections by id, from accept to end."""

    totals: Totals = field(default_factory=Totals)
    _connections: dict[int, Connection] = field(default_factory=dict)
    _next: int = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def enter(self, peer: str, log: Any) -> Connection:
        """A client was accepted: give it an id."""
        while True:
            number = FIRST_ID + self._next % ID_SPAN
            self._next += 1
            if number not in self._connections:
                break
        host = peer.rpartition(":")[0].strip("[]") or "localhost"
        connection = Connection(number, peer, host, log.bind(conn=number, client=peer))
        self._connections[number] = connection
        return connection

    def leave(self, connection: Connection) -> None:
        """It is gone: add up what it did."""
        if self._connections.pop(connection.id, None) is None:
            return
        session = connection.session
        if session is not None:
            self.totals.commands += session.commands
            self.totals.bytes_from_clients += session.client.bytes_in
            self.totals.bytes_to_clients += session.client.bytes_out

    def find(self, number: int) -> Connection | None:
        """The connection with the id `number`."""
        return self._connections.get(number)
