# SPDX-License-Identifier: Apache-2.0
"""Who may open how many connections, and when they are closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hproxy.errors import ConnectError
from hproxy.pool import PoolSettings
from hproxy.topology import Status
from tests.support.pool_world import NO_SCHEMA, SHOP, Settings, Wish, World, idle
from tests.support.socket_pair import emptied

# -- groups -----------------------------------------------------------------------------


def test_sessions_of_a_kind_share_a_group() -> None:
    world = World(10)
    assert world.group() is world.group()
    assert world.group(settings=SHOP) is not world.group()
    assert world.group(b"bob") is not world.group()
    assert world.group(settings=SHOP).key.with_schema
    assert len({bucket.server for bucket in world.pools}) == 1


def test_a_queue_has_the_limit_it_was_given() -> None:
    assert World(1, settings=PoolSettings(queue_limit=7)).group().queue_limit == 7
    assert World(1, settings=PoolSettings(queue_limit=0)).group().queue_limit > 1 << 32


# -- opening ----------------------------------------------------------------------------


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


# -- ends -------------------------------------------------------------------------------


def test_an_idle_connection_that_is_lost_is_counted_out() -> None:
    world = World(2)
    group = world.group()
    idle(world, group, 1)
    next(iter(world.peers.values())).close()
    assert emptied(world.reactor)
    assert (world.used, group.opened) == ([0], 0)
    assert world.pools.counts[world.backends[0]].closed == 1


def test_what_breaks_is_replaced_for_who_waits() -> None:
    world = World(1)
    first, second = world.wishes(world.group(), 2)
    world.run()
    assert first.got is not None
    world.pools.retire(first.got, polite=False)
    world.run()
    assert second.got is not None
    assert world.used == [1]


def test_those_that_closed_unheard_are_found() -> None:
    world = World(3)
    group = world.group()
    idle(world, group, 3)
    next(iter(world.peers.values())).close()
    world.pools.check(next(iter(world.pools.servers.values())))
    assert group.opened == 2


@pytest.mark.parametrize("status", [Status.OFFLINE_SOFT, Status.OFFLINE_HARD])
def test_a_server_that_is_taken_out_loses_its_connections(status: Status) -> None:
    world = World(4)
    group = world.group()
    idle(world, group, 2)
    (held,) = world.wishes(group, 1)
    world.topology.set_status(world.backends[0], status)
    assert world.depart() == 1
    held.back()
    assert world.depart() + sum(world.used) <= 1
    (late,) = world.wishes(group, 1)
    assert world.run() == 0
    world.topology.set_status(world.backends[0], Status.ONLINE)
    world.run()
    assert late.got is not None


@pytest.mark.parametrize("good", [True, False])
def test_what_a_session_left_is_reset(good: bool) -> None:
    world = World(2)
    group = world.group()
    (wish,) = world.wishes(group, 1)
    world.run()
    assert wish.got is not None
    world.resets = good
    world.pools.recycle(wish.got)
    world.run()
    assert (wish.got.free, group.opened) == (good, int(good))


def test_what_comes_for_who_does_not_wait_any_more_is_idle() -> None:
    async def cancelled() -> None:
        world = World(1)
        group = world.group()
        (holder,) = world.wishes(group, 1)
        world.run()
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(world.pools.borrow(group, NO_SCHEMA, future))
        await asyncio.sleep(0)
        assert group.waiting == 1
        holder.back()
        assert future.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (bucket,) = group.buckets
        assert (bucket.idle, group.opened, group.waiting) == (1, 1, 0)

    asyncio.run(cancelled())


def test_a_wait_that_is_given_up_leaves_the_queue() -> None:
    async def cancelled() -> None:
        world = World(1)
        group = world.group()
        world.wishes(group, 1)
        world.run()
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(world.pools.borrow(group, NO_SCHEMA, future))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert group.waiting == 0

    asyncio.run(cancelled())


def test_closing_says_goodbye_and_opens_nothing_more() -> None:
    world = World(3)
    group = world.group()
    idle(world, group, 2)
    world.pools.close()
    assert world.depart() == 2
    world.wishes(group, 1)
    assert world.run() == 0
    assert world.used == [0]


# -- upkeep -----------------------------------------------------------------------------


def test_idle_ones_beyond_the_share_are_closed_after_a_while() -> None:
    world = World(20, free_connections_pct=10)
    group = world.group()
    idle(world, group, 6)
    world.pools.tick()
    assert world.depart() == 0
    world.offset += 11.0
    world.pools.tick()
    assert world.depart() == 4
    assert world.used == [2]


def test_a_connection_grows_too_old() -> None:
    world = World(20, settings=PoolSettings(connection_max_age=60.0, ping_interval=0.0))
    group = world.group()
    idle(world, group, 1)
    world.offset += 61.0
    world.pools.tick()
    assert world.depart() == 1


@pytest.mark.parametrize("answers", [True, False])
def test_silent_ones_are_pinged(answers: bool) -> None:
    world = World(20, settings=PoolSettings(ping_interval=5.0))
    group = world.group()
    idle(world, group, 1)
    world.pings = answers
    world.offset += 6.0
    world.pools.tick()
    assert len(world.tasks) == 1
    world.run()
    assert world.used == [int(answers)]
    world.pools.tick()
    assert world.tasks == []


def test_pools_are_warmed() -> None:
    world = World(20, connection_warming=True, free_connections_pct=10)
    world.group()
    world.pools.tick()
    assert world.run() == 2
    world.pools.tick()
    assert (world.run(), world.used) == (0, [2])
