# SPDX-License-Identifier: Apache-2.0
"""A session between two peers that the test plays, over socketpairs and a reactor by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_session import Session
from hproxy._native.reactor import Reactor
from hproxy.protocols.mysql.wire import join
from tests.support.socket_pair import Peer, emptied, pair, settle

__all__ = ["BAD_CLIENT", "INTERNAL", "LOST", "MALFORMED", "QUIT", "Driver", "Rig", "packet"]

QUIT = b"\x01\x00\x00\x00\x01"
LOST = b"\xff\xdd\x07#HY000lost"
BAD_CLIENT = b"\xff\x84\x04#08S01out of order"
MALFORMED = b"\xff\xeb\x07#HY000malformed"
INTERNAL = b"\xff\x51\x04#HY000internal"


def packet(payload: bytes, sequence: int = 0) -> bytes:
    """`payload` in its frames."""
    return join([payload], sequence)[0]


class Driver:
    """Slow points that write down what they are told and do what the product's do."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.on_slow: Callable[[Session, bytes], None] = lambda session, p: session.forward(p)
        self.on_broken: Callable[[Session, BaseException], None] = lambda session, error: (
            session.close("internal error")
        )

    def slow_command(self, session: Session, payload: bytes) -> None:
        self.told.append(("slow", payload))
        self.on_slow(session, payload)

    def client_lost(self, session: Session, error: int) -> None:
        self.told.append(("client lost", session.state))
        session.close("client lost")

    def backend_lost(self, session: Session, error: int) -> None:
        self.told.append(("backend lost", session.state))
        session.fail(LOST, "backend lost")

    def client_fault(self, session: Session, reason: str, code: str = "sequence") -> None:
        self.told.append(("client fault", reason))
        session.fail(BAD_CLIENT, "client fault")

    def backend_fault(self, session: Session, reason: str) -> None:
        self.told.append(("backend fault", reason))
        session.fail(MALFORMED, "backend fault")

    def timed_out(self, session: Session) -> None:
        self.told.append(("timed out", session.state))
        session.close("timed out")

    def noted(self, session: Session, payload: bytes, ns: int) -> None:
        self.told.append(("noted", payload))

    def broken(self, session: Session, error: BaseException) -> None:
        self.told.append(("broken", error))
        self.on_broken(session, error)

    def closed(self, session: Session, reason: str) -> None:
        self.told.append(("closed", reason))

    def count(self, what: str) -> int:
        return sum(1 for kind, _ in self.told if kind == what)


class Rig:
    """Client peer, session, backend peer."""

    def __init__(
        self,
        *,
        deprecate_eof: bool = True,
        query_attributes: bool = False,
        idle_timeout: float = 0.0,
        client_buffer: int | None = None,
        backend_buffer: int | None = None,
        connect: Callable[..., tuple[Peer, Endpoint]] = pair,
        reactor: Reactor | None = None,
    ) -> None:
        self.reactor = reactor or Reactor()
        self.client, client_end = connect(self.reactor, send_buffer=client_buffer)
        self.backend, backend_end = connect(self.reactor, send_buffer=backend_buffer)
        self.driver = Driver()
        self.session = Session(
            client_end,
            backend_end,
            self.driver,
            deprecate_eof=deprecate_eof,
            query_attributes=query_attributes,
            idle_timeout=idle_timeout,
        )

    def start(self) -> Rig:
        self.session.start()
        settle(self.reactor)
        return self

    def ask(self, *commands: bytes) -> bytes:
        """The client sends these payloads in one go; what the backend hears of it."""
        self.client.send(b"".join(packet(command) for command in commands))
        return self.to_backend()

    def say(self, data: bytes) -> bytes:
        """The backend sends these bytes; what the client hears of it."""
        self.backend.send(data)
        return self.to_client()

    def client_says(self, data: bytes) -> bytes:
        """The client sends these bytes; what the backend hears of it."""
        self.client.send(data)
        return self.to_backend()

    def to_backend(self) -> bytes:
        """All that is on its way to the backend."""
        return self.all_to(self.backend)

    def to_client(self) -> bytes:
        """All that is on its way to the client."""
        return self.all_to(self.client)

    def all_to(self, peer: Peer) -> bytes:
        parts = []
        while True:
            settle(self.reactor)
            parts.append(peer.receive())
            if not parts[-1]:
                return b"".join(parts)

    def settle(self) -> None:
        settle(self.reactor)

    @property
    def state(self) -> str:
        return self.session.state

    def over(self) -> bool:
        """Whether the session is closed, said so once, and gives both sockets up.

        The client has heard the end; whoever is waited for politely closes now.
        """
        settle(self.reactor)
        if self.session.state != "closed" or self.driver.count("closed") != 1:
            return False
        self.to_client()
        for peer in (self.client, self.backend):
            with suppress(OSError):
                peer.shut()
        return emptied(self.reactor) and self.client.ended
