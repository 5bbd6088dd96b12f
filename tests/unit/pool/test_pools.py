# SPDX-License-Identifier: Apache-2.0
"""Groups, their queues, and the ends of connections."""

from __future__ import annotations

import asyncio

import pytest

from hproxy.pool import PoolSettings
from hproxy.topology import Status
from tests.support.pool_world import NO_SCHEMA, SHOP, World, idle
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
