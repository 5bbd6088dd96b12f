# SPDX-License-Identifier: Apache-2.0
"""What is told of pools."""

from __future__ import annotations

from tests.support.pool_world import SHOP, World, idle


def test_rows_tell_what_there_is() -> None:
    world = World(2)
    idle(world, world.group(), 1)
    world.wishes(world.group(settings=SHOP), 2)
    (row,) = world.pools.rows()
    assert (row["hostgroup"], row["backend"], row["user"]) == (0, world.backends[0], b"ann")
    assert {key: row[key] for key in ("used", "free", "connecting", "waiting")} == {
        "used": 0, "free": 1, "connecting": 1, "waiting": 2,
    }  # fmt: skip
    assert (row["opened"], row["closed"]) == (1, 0)
    world.run()
