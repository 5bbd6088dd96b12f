# SPDX-License-Identifier: Apache-2.0
"""An open transaction that is committed for the next BEGIN: done, refused, lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hproxy.errors import BackendLost
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.refusal import error_packet, read_error
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.session.settling import COMMIT, Settling
from tests.support.worker import Journal

OK = bytes(7)
DEADLOCK = ErrPacket(1213, b"Deadlock found", b"40001").build()


class Session:
    """What is done to it, in order."""

    def __init__(self, *, held: bool = True) -> None:
        self.held: Any = "connection" if held else None
        self.pins = 0
        self.insert_id_open = False
        self.done: list[Any] = []

    def transaction_over(self) -> None:
        self.done.append("over")

    def give_up(self) -> None:
        self.done.append("given up")

    def refuse(self, packet: bytes) -> None:
        self.done.append(read_error(packet)[0])


def committed(session: Session, answer: bytes | Exception) -> tuple[bool, list[bytes]]:
    """How it went, and what the server was asked."""
    asked: list[bytes] = []

    async def packets(sql: bytes) -> list[bytes]:
        asked.append(sql)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    @asynccontextmanager
    async def talk(_: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(packets=packets)

    services: Any = SimpleNamespace(
        protocol=SimpleNamespace(
            multiplexing=SimpleNamespace(Pin=Pin), read_error=read_error, error_packet=error_packet
        ),
        settings=SimpleNamespace(connect_timeout_max=5.0),
        sharing=SimpleNamespace(opening=SimpleNamespace(talk=talk)),
    )
    follower: Any = SimpleNamespace(forget=lambda *_: session.done.append("forgotten"))
    connection: Any = SimpleNamespace(log=Journal())
    found = asyncio.run(Settling(services, follower).commit(session, connection))
    return found, asked


def test_it_is_over() -> None:
    session = Session()
    assert committed(session, OK) == (True, [COMMIT])
    assert session.done == ["over"]


def test_its_client_reads_why_it_was_not_committed() -> None:
    """The server has rolled it back; what the session has set is known, and stays."""
    session = Session()
    assert committed(session, DEADLOCK) == (False, [COMMIT])
    assert session.done == ["given up", 1213]


@pytest.mark.parametrize("error", [BackendLost("closed", phase="settling"), TimeoutError()])
def test_whether_it_was_committed_is_not_known(error: Exception) -> None:
    session = Session()
    assert committed(session, error) == (False, [COMMIT])
    assert session.done == ["given up", "forgotten", 2013]


def test_it_was_lost_before() -> None:
    session = Session(held=False)
    assert committed(session, OK) == (False, [])
    assert session.done == ["given up", "forgotten", 2013]
