# SPDX-License-Identifier: Apache-2.0
"""Idle connections: closed, pinged, kept warm."""

from __future__ import annotations

import pytest

from hproxy.pool import PoolSettings
from tests.support.pool_world import World, idle


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
