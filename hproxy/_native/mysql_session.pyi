# SPDX-License-Identifier: Apache-2.0
"""The command phase of one MySQL client, relayed to one backend."""

from typing import Any, Protocol, type_check_only

from typing_extensions import disjoint_base

from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql import ResponseScanner
from hproxy._native.notes import Notes
from hproxy._native.pool import Borrower

@type_check_only
class SlowPoints(Protocol):
    """Where a session calls Python: nothing here runs for an ordinary command."""

    def slow_command(self, session: Session, payload: bytes) -> None:
        """A command the fast lane does not judge; answer with forward, reply or suspend."""
    def client_lost(self, session: Session, error: int) -> None: ...
    def backend_lost(self, session: Session, error: int) -> None: ...
    def client_fault(self, session: Session, reason: str, code: str = "sequence") -> None: ...
    def backend_fault(self, session: Session, reason: str) -> None: ...
    def timed_out(self, session: Session) -> None: ...
    def noted(self, session: Session, payload: bytes, ns: int) -> None:
        """A statement that its `notes` are about was answered after so many nanoseconds."""
    def broken(self, session: Session, error: BaseException) -> None: ...
    def closed(self, session: Session, reason: str) -> None:
        """Told exactly once, after both sockets were given up."""

@disjoint_base
class Session(Borrower):
    """Takes over two endpoints whose login has succeeded; both sides await a command."""

    tag: Any
    notes: Notes | None
    """What `SlowPoints.noted` is told; None: nothing."""
    idle_timeout: float
    max_packet: int
    """Longest command, or part of a file, in bytes; 1 GiB unless told."""
    def __init__(
        self,
        client: Endpoint,
        backend: Endpoint,
        driver: SlowPoints,
        *,
        deprecate_eof: bool,
        query_attributes: bool = False,
        idle_timeout: float = 0.0,
    ) -> None: ...
    @property
    def client(self) -> Endpoint: ...
    @property
    def backend(self) -> Endpoint: ...
    @property
    def scanner(self) -> ResponseScanner: ...
    @property
    def command(self) -> int:
        """The command byte under way, or the last one."""
    @property
    def commands(self) -> int: ...
    @property
    def began(self) -> float:
        """Reactor seconds, when the last command came."""
    @property
    def transaction_since(self) -> float:
        """Reactor seconds, when an answer first told of the transaction it is in; 0 = in none."""
    @property
    def farewell(self) -> bool:
        """The backend has sent an ERR nobody asked for (shutdown, KILL, wait_timeout)."""
    @property
    def in_transaction(self) -> bool:
        """As the last response said."""
    @property
    def state(self) -> str:
        """idle, command, response, infile, stream, slow, waiting, gather or closed."""
    def start(self) -> None:
        """Begin serving; commands already received are taken up at once."""
    def forward(self, payload: bytes) -> None:
        """Slow point: send this command to the backend and relay its response."""
    def reply(self, payloads: list[bytes]) -> None:
        """Slow point: answer the client ourselves."""
    def suspend(self, limit: int) -> tuple[Channel, Channel]:
        """Slow point: talk to both sides by packets; client packets up to `limit` bytes."""
    def resume(self, backend: Endpoint | None = None) -> None:
        """Slow point: both endpoints are ours again; `backend` takes the old one's place."""
    def fail(self, payload: bytes, reason: str) -> None:
        """Tell the client `payload` (an ERR packet) where the protocol allows it, then close."""
    def close(self, reason: str) -> None:
        """Give both sockets up; an idle backend is told COM_QUIT."""
