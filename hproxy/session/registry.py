# SPDX-License-Identifier: Apache-2.0
"""Who is connected: sessions by the id their client knows, and the totals of those gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from hproxy.auth import Account
from hproxy.protocols.base import LoginResult
from hproxy.topology import Backend

__all__ = ["FIRST_ID", "Connection", "Registry", "Totals", "slot_of"]

# Ids of ours start here, far above those a server counts up to in practice, so that a KILL of
# an id that SELECT CONNECTION_ID() gave is never mistaken for one of ours.
FIRST_ID = 1 << 30
ID_SPAN = 1 << 30
# One service may have so many workers; a worker is known by the upper bits of its ids.
WORKERS = 256
# A service that takes over from another counts from elsewhere: sessions keep their ids. Multiples
# of the golden section of the span lie far from each other, however many there are.
STRIDE = 2_592_097


class Connection:
    """What the slow lane knows of one client.

    Without slots: what most clients never need costs them neither memory nor time.
    """

    backend: Backend | None = None
    backend_login: LoginResult | None = None
    account: Account | None = None
    listener: Any = None
    """The one it came in through."""
    session: Any = None
    client_secure: bool = False
    busy: Callable[[], object] | None = None
    """Cancels the login or slow command under way."""
    kind: int = 0
    """Which pooled connections can serve it; the protocol's own form."""
    pooled: bool = False
    """Its session borrows backend connections."""
    schema: bytes | None = None
    """Of one with a connection of its own whose statements are logged: where it went last."""
    diagnostics: Any = None
    """What its last statement left, when its connection was needed elsewhere."""
    tries: int = 0
    """Connections lost while the command under way was being prepared for."""
    local: tuple[str, int] | None = None
    """The address it has connected to, once somebody has asked."""
    killing: Any = None
    """An event: the KILL of its statement, whose time was up, has been delivered."""
    via: str = ""
    """The load balancer that told who the client is; "" where it came by itself."""
    header: Any = None
    """What the balancer said: a net.proxy_protocol.Header."""
    caching: Any = None
    """What the answer to its statement is to be kept as."""
    wrote_in: int | None = None
    """Hostgroup of a write whose GTID rules will ask for."""
    placed: bool = False
    """It has a place among the clients of all workers."""
    gtids: dict[int, bytes] | None = None
    """Of its last write, by hostgroup."""
    strangers: Sequence[int] = ()
    """Statements prepared on its backend connection that nobody in this process knows."""
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
        self.since = monotonic()
        """When it was accepted."""
        self._unbound = log

    def introduced(self, peer: str, header: Any) -> None:
        """Who connected speaks for the client at `peer`."""
        self.via, self.peer, self.header = self.peer, peer, header
        self._log = None

    @property
    def host(self) -> str:
        """The client's address without its port."""
        return self.peer.rpartition(":")[0].strip("[]") or ("localhost" if self.peer else "")

    @property
    def log(self) -> Any:
        """A log whose lines say which client they are about."""
        if self._log is None:
            bound: dict[str, object] = (
                {"conn": self.id, "client": self.peer} if self.peer else {"conn": self.id}
            )
            if self.via:
                bound["via"] = self.via
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


def slot_of(number: int) -> int:
    """The worker whose session has that id."""
    return (number - FIRST_ID) // (ID_SPAN // WORKERS) % WORKERS


@dataclass(slots=True)
class Registry:
    """Connections by id, from accept to end."""

    totals: Totals = field(default_factory=Totals)
    row: Any = None
    """Clients of all workers: a Row; None where there is one worker."""
    _connections: dict[int, Connection] = field(default_factory=dict)
    _next: int = 0
    _first: int = FIRST_ID
    _span: int = field(default_factory=lambda: ID_SPAN)

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def number(self, slot: int, generation: int = 0) -> None:
        """Ids from now on are those of the worker in `slot`, of so many that have followed each
        other there."""
        self._span = ID_SPAN // WORKERS
        self._first = FIRST_ID + slot % WORKERS * self._span
        self._next = generation * STRIDE % self._span

    def place(self, connection: Connection, limit: int) -> bool:
        """Whether one more client may be there; it has just entered."""
        if len(self._connections) > limit or (self.row is not None and not self.row.take(limit)):
            return False
        connection.placed = self.row is not None
        return True

    def enter(self, peer: str, log: Any) -> Connection:
        """A client was accepted: give it an id."""
        while True:
            number = self._first + self._next % self._span
            self._next += 1
            if number not in self._connections:
                break
        connection = Connection(number, peer, log)
        self._connections[number] = connection
        return connection

    def welcome(self, number: int, peer: str, log: Any) -> Connection | None:
        """One that comes from another process and keeps its id; None where that is taken."""
        if number in self._connections:
            return None
        connection = self._connections[number] = Connection(number, peer, log)
        if self.row is not None:  # there is room for it: it was there before
            self.row.enter()
            connection.placed = True
        return connection

    def leave(self, connection: Connection) -> None:
        """It is gone: add up what it did."""
        if self._connections.pop(connection.id, None) is None:
            return
        if connection.placed:
            connection.placed = False
            self.row.give()
        session = connection.session
        if session is not None:
            self.totals.commands += session.commands
            self.totals.bytes_from_clients += session.client.bytes_in
            self.totals.bytes_to_clients += session.client.bytes_out

    def find(self, number: int) -> Connection | None:
        """The connection with the id `number`."""
        return self._connections.get(number)
