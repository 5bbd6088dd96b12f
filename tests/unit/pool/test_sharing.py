# SPDX-License-Identifier: Apache-2.0
"""A server whose connections are all taken is shared."""

from __future__ import annotations

from tests.support.pool_world import World, idle


def test_idle_ones_of_others_make_way_when_a_server_is_full() -> None:
    world = World(2)
    ann, bob = world.group(), world.group(b"bob")
    idle(world, ann, 2)
    (wish,) = world.wishes(bob, 1)
    assert world.used == [2]  # it counts until the server has closed it
    assert world.depart() == 1
    world.run()
    assert wish.got is not None
    assert (ann.opened, bob.opened, world.used) == (1, 1, [2])


def test_a_full_server_is_shared_in_equal_parts() -> None:
    world = World(4)
    ann, bob = world.group(), world.group(b"bob")
    held = world.wishes(ann, 8)
    world.run()
    world.wishes(bob, 8)
    for _ in range(8):
        world.pools.tick()
        for wish in [each for each in held if each.got is not None]:
            wish.back()
        world.depart()
        world.run()
        held.extend(world.wishes(ann, 8 - sum(not each.done() for each in held)))
    assert (ann.opened, bob.opened, world.used) == (2, 2, [4])
    logins = world.pools.counts[world.backends[0]].opened
    world.pools.tick()
    assert world.run() == 0
    assert world.pools.counts[world.backends[0]].opened == logins


def test_who_has_nothing_gets_one() -> None:
    world = World(1)
    ann, bob = world.group(), world.group(b"bob")
    first, _ = world.wishes(ann, 2)
    world.run()
    (wish,) = world.wishes(bob, 1)
    world.pools.tick()
    first.back()
    world.depart()
    world.run()
    assert wish.got is not None
    assert world.used == [1]
