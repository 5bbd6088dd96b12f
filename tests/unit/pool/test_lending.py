# SPDX-License-Identifier: Apache-2.0
"""Two workers and the connections they may have together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from hproxy.pool.shares import Row, Shares, create
from tests.support.pool_world import World, idle


@dataclass
class Two:
    """Workers whose nudges arrive when the test says so."""

    limit: int
    user_limit: int | None = None
    nudges: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        fd = create(2)
        limits = {b"ann": self.user_limit} if self.user_limit else None
        self.worlds = [
            World(
                self.limit,
                user_limits=limits,
                shares=Shares.join(os.dup(fd), column, 2),
                free_connections_pct=100,
            )
            for column in range(2)
        ]
        os.close(fd)
        for world in self.worlds:
            world.pools.shares.nudge = self.nudge

    def nudge(self, column: int, row: Row) -> None:
        self.nudges.append((column, row.name))

    def deliver(self) -> None:
        """Nudges, what they lead to, and goodbyes, until nothing moves."""
        for _ in range(10):
            while self.nudges:
                column, name = self.nudges.pop(0)
                pools = self.worlds[column].pools
                row = pools.shares.row(name)
                assert row is not None
                pools.nudged(row)
            moved = sum(world.run() + world.depart() for world in self.worlds)
            assert sum(self.opened) <= self.limit
            if not moved and not self.nudges:
                return
        raise AssertionError("it does not come to rest")

    def tick(self, later: float = 1.0) -> None:
        for world in self.worlds:
            world.offset += later
            world.pools.tick()
        self.deliver()

    @property
    def opened(self) -> list[int]:
        return [sum(world.used) for world in self.worlds]


@pytest.fixture
def two() -> Two:
    return Two(4)


def test_the_limit_is_for_both(two: Two) -> None:
    one, other = two.worlds
    wishes = one.wishes(one.group(), 6)
    one.run()
    assert sum(wish.got is not None for wish in wishes) == 4
    late = other.wishes(other.group(), 1)
    other.run()
    assert late[0].got is None
    assert two.opened == [4, 0]


def test_idle_connections_are_lent_however_many(two: Two) -> None:
    one, other = two.worlds
    idle(one, one.group(), 4)
    one.offset += 1.0
    wishes = other.wishes(other.group(), 4)
    two.deliver()
    assert two.opened == [0, 4]
    assert all(wish.got for wish in wishes)


def test_what_was_used_a_moment_ago_is_lent_a_moment_later(two: Two) -> None:
    one, other = two.worlds
    idle(one, one.group(), 4)
    [wish] = other.wishes(other.group(), 1)
    two.deliver()
    assert two.opened == [4, 0]
    two.tick()
    assert wish.got is not None
    assert two.opened == [3, 1]


def test_busy_ones_are_shared_evenly_as_they_come_back(two: Two) -> None:
    one, other = two.worlds
    busy = one.wishes(one.group(), 30)
    one.run()
    wishes = other.wishes(other.group(), 30)
    two.deliver()
    assert two.opened == [4, 0]
    for wish in [wish for wish in busy if wish.got][:3]:
        wish.back()
        two.deliver()
        two.tick(0.1)
    assert two.opened == [2, 2]
    assert sum(wish.got is not None for wish in wishes) == 2
    for _ in range(5):  # and so it stays
        for wish in [wish for wish in (*busy, *wishes) if wish.got]:
            wish.back()
            two.tick(0.1)
    assert two.opened == [2, 2]


def test_a_single_place_goes_round() -> None:
    two = Two(1)
    one, other = two.worlds
    [first] = one.wishes(one.group(), 1)
    one.run()
    [second] = other.wishes(other.group(), 1)
    two.deliver()
    first.back()
    two.tick(0.1)
    assert second.got is not None
    assert two.opened == [0, 1]


def test_a_worker_that_starves_gets_one_however_few_others_have(two: Two) -> None:
    """Two of one are held by transactions; the other's two come back all the time."""
    one, other = two.worlds
    one.wishes(one.group(), 2)
    busy = other.wishes(other.group(), 2)
    for world in two.worlds:
        world.run()
    waiting = one.wishes(one.group(), 2)
    busy += other.wishes(other.group(), 20)

    def turns(count: int) -> None:
        for _ in range(count):
            two.tick(0.1)
            for wish in [each for each in busy if each.got is not None]:
                wish.back()
            two.deliver()

    turns(3)
    assert two.opened == [2, 2]
    turns(5)
    assert any(wish.got for wish in waiting)
    assert two.opened == [3, 1]


def test_workers_that_starve_exchange_nothing(two: Two) -> None:
    held = [wish for world in two.worlds for wish in world.wishes(world.group(), 2)]
    for world in two.worlds:
        world.run()
    for world in two.worlds:
        world.wishes(world.group(), 2)
    for _ in range(10):
        two.tick(0.1)
    rows = [world.pools.servers[world.backends[0]].row for world in two.worlds]
    assert [(row.starving, row.owed) for row in rows if row is not None] == [(True, 0)] * 2
    opened = [world.pools.counts[world.backends[0]].opened for world in two.worlds]
    for wish in held:
        wish.back()
    two.deliver()
    assert [world.pools.counts[world.backends[0]].opened for world in two.worlds] == opened


def test_nobody_waits_any_more(two: Two) -> None:
    one, other = two.worlds
    busy = one.wishes(one.group(), 4)
    one.run()
    [wish] = other.wishes(other.group(), 1)
    row = other.pools.servers[other.backends[0]].row
    assert row is not None
    assert row.want == 1
    wish.applicant.withdraw()
    two.tick()
    two.tick()  # the other saw it in the first
    assert row.want == 0
    for each in busy:
        each.back()
    two.tick()
    assert two.opened == [4, 0]


def test_a_dead_worker_is_no_longer_counted(two: Two) -> None:
    one, other = two.worlds
    one.wishes(one.group(), 4)
    one.run()
    wishes = other.wishes(other.group(), 2)
    ledger = other.pools.shares.ledger
    assert ledger is not None
    ledger.clear(0)
    other.pools.tick()
    other.run()
    assert all(wish.got for wish in wishes)


def test_a_connection_that_cannot_be_opened_takes_no_place(two: Two) -> None:
    one, other = two.worlds
    one.refusal = OSError("no")
    one.wishes(one.group(), 3)
    one.run()
    assert two.opened == [0, 0]
    other.wishes(other.group(), 4)
    other.run()
    assert two.opened == [0, 4]


def test_the_limit_of_an_account_is_for_both_too() -> None:
    two = Two(10, user_limit=2)
    one, other = two.worlds
    idle(one, one.group(), 2)
    one.offset += 1.0
    assert one.wishes(one.group(b"bob"), 1)
    one.run()
    [wish] = other.wishes(other.group(), 1)
    assert two.opened == [3, 0]
    two.deliver()
    assert wish.got is not None
    assert two.opened == [2, 1]


def test_throttled_together() -> None:
    fd = create(2)
    worlds = [
        World(10, shares=Shares.join(os.dup(fd), column, 2), throttle_connections_per_sec=3)
        for column in range(2)
    ]
    os.close(fd)
    for world in worlds:
        world.now = lambda: 100.5  # type: ignore[method-assign]
        world.pools.clock = world.now
        world.wishes(world.group(), 2)
        world.run()
    assert [world.used for world in worlds] == [[2], [1]]
