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


class Connection:
    """What the slow lane knows of one client.

    Without slots: what most clients never need costs them neither memory nor time.
    """

    backend: Backend | None = None
    backend_login: LoginResult | None = None
    account: Account | None = None
    session: Any = None
    client_secure: bool = False
    busy: Callable[[], object] | None = None
    """Cancels the login or slow command under way."""
    kind: int = 0
    """Which pooled connections can serve it; the protocol's own form."""
    pooled: bool = False
    """Its session borrows backend connections."""
    diagnostics: Any = None
    """What its last statement left, when its connection was needed elsewhere."""
    tries: int = 0
    """Connections lost while the command under way was being prepared for."""
    admission: Any = None
    said: bytes = b""
    fill: Callable[[Connection], None] | None = None
    """Makes `login` and `follow` out of the two above, if ever they are asked for."""
    _login: LoginResult | None = None
    _follow: Any = None
    _log: Any = None

    def __init__(self, number: int, peer: str, log: Any) -> None:
        """`log` is the worker's."""
        self.id = number
        self.peer = peer
        self._unbound = log

    @property
    def host(self) -> str:
        """The client's address without its port."""
        return self.peer.rpartition(":")[0].strip("[]") or ("localhost" if self.peer else "")

    @property
    def log(self) -> Any:
        """A log whose lines say which client they are about."""
        if self._log is None:
            bound = {"conn": self.id, "client": self.peer} if self.peer else {"conn": self.id}
            self._log = self._unbound.bind(**bound)
        return self._log

    def debug(self, event: str, **facts: object) -> None:
        """A line for who looks closely: usually nobody does, and then it costs nothing."""
        if self._unbound.enabled("debug"):
            self.log.debug(event, **facts)

    @property
    def login(self) -> LoginResult | None:
        """As agreed with the client."""
        if self._login is None:
            self._fill_in()
        return self._login

    @login.setter
    def login(self, login: LoginResult | None) -> None:
        self._fill_in()  # never over what was set since
        self._login = login

    @property
    def follow(self) -> Any:
        """What is followed of its session's state; None for a session that keeps its connection."""
        if self._follow is None:
            self._fill_in()
        return self._follow

    @follow.setter
    def follow(self, follow: Any) -> None:
        self._fill_in()
        self._follow = follow

    def _fill_in(self) -> None:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)

    def where(self) -> tuple[Backend | None, LoginResult | None]:
        """The backend it runs on now, and the login there; None while it needs none."""
        held = getattr(self.session, "held", None)
        if held is not None:
            return held.bucket.server.backend, held.login
        return self.backend, self.backend_login


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
        connection = Connection(number, peer, log)
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
