# SPDX-License-Identifier: Apache-2.0
"""A backend connection counts once: where its session is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from hproxy.pool.adopting import (
    adopt,
    bucket_for,
    free_place,
    gave_away,
    keep_place,
    meet,
    place_of,
)
from hproxy.topology import Status
from tests.support.pool_world import NO_SCHEMA, Wish, World

ANN = SimpleNamespace(username=b"ann")


def place(host: str = "db0", hostgroup: int = 0) -> dict[str, Any]:
    return {"hostgroup": hostgroup, "address": [host, 3306, None]}


def test_its_place_here_is_free_for_who_waits() -> None:
    world = World(1)
    group = world.group()
    first = Wish(world, group)
    assert world.run() == 1
    second = Wish(world, group)
    assert not second.done()
    connection = first.got
    assert connection is not None
    connection.leave(False)  # as natively, with its session
    gave_away(world.pools, connection)
    assert world.pools.counts[world.backends[0]].closed == 1
    world.run()
    assert second.done()
    assert world.used == [1]


def test_its_place_is_kept_until_it_is_elsewhere() -> None:
    world = World(1)
    group = world.group()
    first = Wish(world, group)
    world.run()
    second = Wish(world, group)
    connection = first.got
    assert connection is not None
    keep_place(connection)
    connection.leave(False)
    world.pools.grow(group)
    assert world.run() == 0
    assert not second.done()
    free_place(connection)
    gave_away(world.pools, connection)
    world.run()
    assert second.done()
    assert world.used == [1]


def test_where_it_belongs_is_found_again() -> None:
    old, new = World(4, 4), World(4, 4)
    wish = Wish(old, old.group())
    old.run()
    assert wish.got is not None
    there = json.loads(json.dumps(place_of(wish.got)))
    bucket = bucket_for(new.pools, there, ANN, 1, NO_SCHEMA)
    assert bucket is not None
    assert bucket.server.backend == wish.got.bucket.server.backend
    assert bucket.group.key.account is ANN


def test_nowhere_if_its_server_is_not_in_that_hostgroup() -> None:
    world = World(4)
    assert bucket_for(world.pools, place("db7"), ANN, 1, NO_SCHEMA) is None
    assert bucket_for(world.pools, place(hostgroup=3), ANN, 1, NO_SCHEMA) is None


def test_nowhere_if_nobody_is_to_be_connected_to_it() -> None:
    world = World(4)
    world.topology.set_status(world.backends[0], Status.OFFLINE_HARD)
    assert bucket_for(world.pools, place(), ANN, 1, NO_SCHEMA) is None


def test_adopted_above_the_limit_and_counted_like_the_others() -> None:
    world = World(1)
    group = world.group()
    Wish(world, group)
    world.run()
    bucket = bucket_for(world.pools, place(), group.key.account, 1, NO_SCHEMA)
    assert bucket is not None
    adopt(world.pools, bucket)
    assert (world.used, bucket.opened) == ([2], 2)
    assert world.pools.counts[world.backends[0]].opened == 2
    assert not bucket.enter(), "none is opened beside it"


def test_a_server_nobody_has_been_to_is_met() -> None:
    world = World(1)
    bucket = world.group().buckets[0]

    async def met() -> None:
        await meet(world.pools, bucket)
        assert (bucket.opened, bucket.connecting, bucket.idle) == (1, 0, 1)
        await meet(world.pools, bucket)  # there is no room for another, and no need

    world.tasks.append(met())
    assert world.run() == 1
    assert (world.used, len(world.wanted)) == ([1], 1)
