# SPDX-License-Identifier: Apache-2.0
"""A server whose connections are all taken is shared."""

from __future__ import annotations

from tests.support.pool_world import Wish, World, idle


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


def turns(world: World, held: list[Wish], count: int) -> None:
    """Connections of `held` come back and are given out again, a tenth of a second each time."""
    for _ in range(count):
        world.offset += 0.1
        world.pools.tick()
        for wish in [each for each in held if each.got is not None]:
            wish.back()
            held.remove(wish)
        world.depart()
        world.run()
        held += world.wishes(held[0].group, 8 - len(held))


def test_who_starves_gets_one_of_what_comes_back() -> None:
    """Equal parts are no help where one of them is held by transactions."""
    world = World(4)
    ann, bob = world.group(), world.group(b"bob")
    world.wishes(ann, 2)
    busy = world.wishes(bob, 2)
    world.run()
    waiting = world.wishes(ann, 2)
    busy += world.wishes(bob, 6)
    turns(world, busy, 3)
    assert not any(wish.got for wish in waiting), "half a second is no hunger"
    turns(world, busy, 4)
    assert any(wish.got for wish in waiting)
    assert (ann.opened, bob.opened, world.used) == (3, 1, [4])


def test_nothing_changes_hands_between_those_who_starve() -> None:
    world = World(4)
    groups = [world.group(), world.group(b"bob")]
    held = [wish for group in groups for wish in world.wishes(group, 2)]
    world.run()
    for group in groups:
        world.wishes(group, 2)
    for _ in range(10):
        world.offset += 0.1
        world.pools.tick()
    for wish in held:
        wish.back()
        assert world.depart() == 0
    assert [group.opened for group in groups] == [2, 2]


def test_who_has_most_gives_nothing_while_it_holds_all_of_them() -> None:
    """Then another gives, though it has less: nobody has none for long."""
    world = World(4)
    rich, busy, poor = world.group(), world.group(b"bob"), world.group(b"cid")
    world.wishes(rich, 3)
    held = world.wishes(busy, 1)
    world.run()
    held += world.wishes(busy, 7)
    (wish,) = world.wishes(poor, 1)
    turns(world, held, 2)
    assert wish.got is not None
    assert (rich.opened, busy.opened, poor.opened) == (3, 0, 1)
