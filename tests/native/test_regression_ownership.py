# SPDX-License-Identifier: Apache-2.0
"""Nobody but the sockets holds a session, and the driver gives both up while it runs.

Read after free shows under `PYTHONMALLOC=malloc valgrind` only; here it must at least end well.
"""

from __future__ import annotations

from typing import Any

import pytest

from hproxy._native.mysql_session import Session
from hproxy._native.reactor import Reactor
from tests.support.socket_pair import Peer, pair, settle


class Forgetful:
    """Closes whatever happens and keeps nothing; most slow points are missing."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def broken(self, session: Session, error: BaseException) -> None:
        self.told.append(type(error).__name__)
        session.close("broken")

    def timed_out(self, session: Session) -> None:
        self.told.append("timed out")
        session.close("timed out")

    def closed(self, session: Session, reason: str) -> None:
        self.told.append(reason)


def session_of_nobody(driver: Any, idle_timeout: float = 0.0) -> tuple[Reactor, Peer, Peer]:
    reactor = Reactor()
    client, client_end = pair(reactor)
    backend, backend_end = pair(reactor)
    Session(client_end, backend_end, driver, deprecate_eof=True, idle_timeout=idle_timeout).start()
    return reactor, client, backend


@pytest.mark.parametrize("from_client", [True, False])
def test_a_slow_point_that_fails(from_client: bool) -> None:
    driver = Forgetful()
    reactor, client, backend = session_of_nobody(driver)
    if from_client:
        client.send(b"\x01\x00\x00\x05\x0e")  # a wrong number: client_fault
    else:
        backend.send(b"\x01\x00\x00\x01\x00")  # nobody asked: backend_fault
    settle(reactor)
    assert driver.told == ["AttributeError", "broken"]
    client.close()
    backend.close()
    settle(reactor)
    assert reactor.size == 0


def test_a_deadline() -> None:
    driver = Forgetful()
    reactor, client, backend = session_of_nobody(driver, idle_timeout=1e-9)
    assert reactor.sweep() == 1
    assert driver.told == ["timed out", "timed out"]
    client.close()
    backend.close()
    settle(reactor)
    assert reactor.size == 0
