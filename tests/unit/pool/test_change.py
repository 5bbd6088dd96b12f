# SPDX-License-Identifier: Apache-2.0
"""Pools that become another configuration while connections are open."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from hproxy.pool import PoolSettings
from hproxy.pool.change import adopt, reconfigure
from hproxy.topology import Backend, HostgroupAttributes, HostgroupTable, Status
from tests.support.pool_world import NO_SCHEMA, Wish, World


def test_sessions_that_came_before_open_with_what_holds_now() -> None:
    """Under another password, in a hostgroup nobody has asked for yet."""
    world = World(4)
    before, now = (SimpleNamespace(username=b"ann") for _ in range(2))
    adopt(world.pools, {b"ann": now})
    assert world.pools.group(0, before, 1, NO_SCHEMA).key.account is now
    gone = SimpleNamespace(username=b"bob")
    assert world.pools.group(0, gone, 1, NO_SCHEMA).key.account is gone


def test_idle_connections_of_an_account_that_is_gone_are_closed() -> None:
    world = World(4)
    group = world.group()
    wish = Wish(world, group)
    assert world.run() == 1
    wish.back()
    adopt(world.pools, {})
    assert [bucket.opened for bucket in group.buckets] == [0]


def test_groups_of_an_account_that_is_gone_go_when_they_rest_and_its_sessions_have_ended() -> None:
    """Where accounts come and go every hour, groups would become ever more."""
    world = World(4)
    pools = world.pools
    ann = SimpleNamespace(username=b"ann", sessions=1)
    group = pools.group(0, ann, 1, NO_SCHEMA)
    wish = Wish(world, group)
    assert world.run() == 1
    adopt(pools, {b"bob": SimpleNamespace(username=b"bob", sessions=0)})
    ann.sessions = 0
    pools.tick()
    assert group in pools.groups.values(), "a connection is in use"
    wish.back()
    ann.sessions = 1
    world.depart()
    adopt(pools, pools.accounts)
    world.depart()
    pools.tick()
    assert group in pools.groups.values(), "a session may want one again"
    ann.sessions = 0
    pools.tick()
    assert not pools.groups
    assert (pools.given[0].acquired, pools.given[0].released) == (group.acquired, group.released)
    assert group.acquired


def test_limits_act_on_groups_that_are_there() -> None:
    world = World(4)
    group = world.group()
    attributes = HostgroupTable({0: HostgroupAttributes(multiplex=False)})
    reconfigure(world.pools, PoolSettings(queue_limit=3), attributes, {})
    assert (group.queue_limit, group.sticky) == (3, True)
    reconfigure(world.pools, PoolSettings(queue_limit=0), HostgroupTable(), {})
    assert (group.queue_limit, group.sticky) == (1 << 40, False)


def test_a_backend_that_comes_is_used_and_one_that_goes_is_dropped_when_nothing_is_open() -> None:
    world = World(1)
    group = world.group()
    first = Wish(world, group)
    assert world.run() == 1
    (old,) = world.backends
    new = Backend("other", 3306, max_connections=1)
    world.topology.replace({new: Status.ONLINE}, world.now())
    second = Wish(world, group)
    assert world.run() == 1
    assert second.got is not None
    assert second.got.bucket.server.backend == new
    assert old in world.pools.servers, "its connection is in use"
    first.back()
    world.depart()
    world.pools.tick()
    assert old not in world.pools.servers
    assert old not in world.topology.health
    assert [bucket.server.backend for bucket in group.buckets] == [new]


def test_connections_of_before_are_not_kept_when_they_would_be_opened_otherwise() -> None:
    world = World(4)
    group = world.group()
    idle, busy = Wish(world, group), Wish(world, group)
    assert world.run() == 2
    idle.back()
    (old,) = world.backends
    heavier = Backend(old.host, old.port, max_connections=4, weight=9)
    world.offset += 1
    world.topology.replace({heavier: Status.ONLINE}, world.now())
    assert group.buckets[0].opened == 2, "a weight is no reason"
    assert group.buckets[0].server.weight == 9
    secure = Backend(old.host, old.port, max_connections=4, weight=9, use_tls=True)
    world.topology.replace({secure: Status.ONLINE}, world.now())
    assert group.buckets[0].opened == 1
    busy.back()
    world.run()
    assert group.buckets[0].opened == 0


def test_a_limit_of_latency_that_was_changed_counts_at_the_next_tick() -> None:
    world = World(1, 1)
    slow, _ = world.backends
    world.group()
    world.topology.latency.update({slow: 0.5, world.backends[1]: 0.001})
    world.topology.max_latency_ms = 100
    world.pools.tick()
    assert not world.pools.servers[slow].online
    patient = {replace(b, max_latency_ms=5000): Status.ONLINE for b in world.backends}
    world.topology.replace(patient, world.now())
    world.pools.tick()
    assert world.pools.servers[slow].online
