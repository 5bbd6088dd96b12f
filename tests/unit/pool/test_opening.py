# SPDX-License-Identifier: Apache-2.0
"""Whether a connection is opened, on which server, and what comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

from hproxy.errors import ConnectError
from tests.support.pool_world import SHOP, Settings, Wish, World, idle


def test_as_many_are_opened_as_wait_and_not_more() -> None:
    world = World(10)
    wishes = world.wishes(world.group(), 3)
    assert len(world.tasks) == 3
    assert world.run() == 3
    assert all(wish.got is not None for wish in wishes)
    assert world.used == [3]


def test_a_server_has_its_limit() -> None:
    world = World(2)
    wishes = world.wishes(world.group(), 5)
    world.run()
    assert [wish.done() for wish in wishes] == [True, True, False, False, False]
    for _ in range(3):
        next(wish for wish in wishes if wish.got).back()
        wishes = [wish for wish in wishes if wish.got or wish.applicant.waits_for]
    assert world.run() == 0
    assert world.used == [2]


def test_the_emptier_server_is_chosen() -> None:
    world = World(10, 10)
    world.wishes(world.group(), 6)
    world.run()
    assert world.used == [3, 3]


def test_a_fresh_one_is_opened_though_others_are_idle() -> None:
    world = World(2, 5)
    group = world.group()
    first, second = world.backends
    (wish,) = world.wishes(group, 1)
    world.run()
    wish.back()

    def fresh(servers: Any = None) -> Any:
        found = asyncio.run(world.pools.fresh(group, group.key.settings, servers))
        return None if found is None else found.bucket.server.backend

    assert fresh([second]) == second
    assert fresh([first]) == first
    while fresh([first]) is not None:
        pass
    assert world.used[0] == 2
    assert fresh() == second
    assert group.acquired == sum(world.used)


def test_an_idle_one_on_some_servers() -> None:
    world = World(5, 5)
    group = world.group()
    first, second = world.backends
    wishes = world.wishes(group, 4)
    world.run()
    assert world.pools.idle_on(group, group.key.settings, [first, second]) is None
    for wish in wishes:
        wish.back()
    settings = group.key.settings
    found = [world.pools.idle_on(group, settings, [second]) for _ in range(3)]
    backends = [one.bucket.server.backend for one in found if one is not None]
    assert backends == [second, second]
    assert found[2] is None
    assert world.pools.idle_on(group, settings, [first, second]) is not None


def test_a_connection_is_set_up_for_who_gets_it() -> None:
    world = World(10)
    group = world.group()
    other = Settings()
    wish = Wish(world, group, other)
    world.run()
    assert world.wanted == [other]
    assert wish.got is not None
    assert wish.got.settings is other


def test_one_that_fails_is_told_and_tried_again_later() -> None:
    world = World(10)
    world.refusal = ConnectionRefusedError("nobody")
    group = world.group()
    (wish,) = world.wishes(group, 1)
    world.run()
    assert world.failures == [world.refusal]
    assert (world.used, group.connecting, group.key.failures) == ([0], 0, 1)
    world.pools.grow(group)
    assert world.tasks == []
    world.refusal = None
    world.offset += 1.0
    world.pools.tick()
    world.run()
    assert wish.got is not None
    assert (group.key.failures, group.key.last_error) == (0, None)


def test_a_server_that_was_down_is_tried_again_though_nobody_waits() -> None:
    world = World(10, 10)
    group = world.group()
    (wish,) = world.wishes(group, 1)
    world.run()
    assert wish.got is not None
    wish.back()
    empty = next(bucket for bucket in group.buckets if not bucket.opened)
    world.refusal = ConnectError("down")
    world.pools.spread(group, empty)
    world.run()
    assert len(world.failures) == 1
    world.pools.spread(group, empty)
    assert world.run() == 0  # not at once
    world.refusal = None
    world.offset += 1.0
    world.pools.spread(group, empty)
    assert world.run() == 1
    assert empty.opened == 1


def test_opening_is_throttled() -> None:
    world = World(10, throttle_connections_per_sec=2)
    group = world.group()
    world.wishes(group, 5)
    world.run()
    assert (world.used, group.waiting) == ([2], 3)
    world.offset += 1.0
    world.pools.tick()
    world.run()
    assert (world.used, group.waiting) == ([4], 1)


def test_a_user_has_a_limit_over_all_groups() -> None:
    world = World(10, user_limits={b"ann": 2})
    ann, shop, bob = world.group(), world.group(settings=SHOP), world.group(b"bob")
    for group in (ann, shop, bob):
        world.wishes(group, 2)
    world.run()
    assert [group.opened for group in (ann, shop, bob)] == [2, 0, 2]
    assert shop.full


def test_idle_ones_of_a_user_make_way_for_another_group_of_his() -> None:
    world = World(10, user_limits={b"ann": 1})
    ann, shop = world.group(), world.group(settings=SHOP)
    idle(world, ann, 1)
    world.offset += 1.0
    (wish,) = world.wishes(shop, 1)
    assert not wish.done()
    assert world.depart() == 1
    world.run()
    assert wish.got is not None
    assert (ann.opened, shop.opened) == (0, 1)
