# SPDX-License-Identifier: Apache-2.0
"""The kept connection of a server, and the lanes in which connections are opened."""

from __future__ import annotations

from hproxy.health.link import Lane, Link
from hproxy.health.model import Address, Row


class Connection:
    def __init__(self) -> None:
        self.clean = True
        self.ended = ""

    async def ask(self, sql: str) -> list[Row]:
        raise AssertionError(sql)

    async def ping(self) -> None:
        raise AssertionError

    def close(self) -> None:
        self.ended = "closed"

    def cut(self) -> None:
        self.ended = "cut"


def test_a_connection_is_kept_and_given_up() -> None:
    link: Link[str] = Link(Address("a", 1))
    connection = Connection()
    link.keep(connection)
    assert link.usable
    link.drop(politely=True)
    assert connection.ended == "closed"


def test_a_connection_that_spoke_unasked_is_cut() -> None:
    link: Link[str] = Link(Address("a", 1))
    connection = Connection()
    connection.clean = False
    link.keep(connection)
    assert not link.usable
    link.drop(politely=True)
    assert connection.ended == "cut"


def test_closed_links_keep_nothing() -> None:
    link: Link[str] = Link(Address("a", 1))
    idle, late = Connection(), Connection()
    link.keep(idle)
    link.waiting.append("job")
    link.close()
    assert idle.ended == "closed"
    assert not link.waiting
    link.keep(late)
    assert late.ended == "closed"
    assert not link.usable


def test_busy_links_are_cut() -> None:
    link: Link[str] = Link(Address("a", 1))
    connection = Connection()
    link.keep(connection)
    link.busy = True
    link.close()
    assert connection.ended == "cut"


def test_a_lane_lets_so_many_in() -> None:
    limit = 2
    lane: Lane[int] = Lane(lambda: limit)
    assert [lane.enter(job) for job in range(5)] == [True, True, False, False, False]
    assert lane.leave() == [2]
    limit = 4
    assert lane.leave() == [3, 4]
    assert lane.running == 3
    assert [lane.leave() for _ in range(3)] == [[], [], []]
    assert lane.running == 0
