# SPDX-License-Identifier: Apache-2.0
"""Who may open how many connections, and when they are closed: a clock and an opener by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from hproxy._native.pool import Applicant, BackendConnection, Bucket, Group
from hproxy._native.reactor import Reactor
from hproxy.pool import PoolSettings
from hproxy.pool.pools import GroupKey, Pools
from hproxy.topology import Backend, HostgroupAttributes, Status, Topology
from tests.support.socket_pair import Peer, emptied, pair, settle

QUIT = b"\x01\x00\x00\x00\x01"


@pytest.fixture(autouse=True)
def close_peers() -> Iterator[None]:
    """No far end outlives its test."""
    yield
    for peer in list(Peer.open):
        peer.close()


class Settings:
    """As much of them as pools look at."""

    def __init__(self, schema: bytes = b"") -> None:
        self.schema = schema


NO_SCHEMA, SHOP = Settings(), Settings(b"shop")


class Wish:
    """Somebody who wants a connection."""

    def __init__(self, world: World, group: Group, settings: Any = NO_SCHEMA) -> None:
        self.world, self.group, self.settings = world, group, settings
        self.got: BackendConnection | None = None
        self.applicant = Applicant(self)
        found = self.applicant.apply(group, settings)
        if found is not None:
            self.got = found
        else:
            world.pools.grow(group)

    def done(self) -> bool:
        return self.got is not None

    def set_result(self, connection: BackendConnection) -> None:
        self.got = connection

    def back(self) -> None:
        assert self.got is not None
        connection, self.got = self.got, None
        self.group.give(connection)


class World:
    """Backends of hostgroup 0, time, and tasks that run when the test says so."""

    def __init__(
        self,
        *limits: int,
        settings: PoolSettings | None = None,
        user_limits: dict[bytes, int] | None = None,
        **attributes: Any,
    ) -> None:
        self.reactor = Reactor()
        self.offset = 0.0
        self.tasks: list[Coroutine[Any, Any, None]] = []
        self.failures: list[BaseException] = []
        self.pings = True
        self.resets = True
        self.refusal: Exception | None = None
        self.peers: dict[BackendConnection, Peer] = {}
        self.wanted: list[Any] = []
        self.backends = tuple(
            Backend(f"db{number}", 3306, max_connections=limit)
            for number, limit in enumerate(limits)
        )
        self.topology = Topology(self.backends)
        nothing = SimpleNamespace(debug=lambda *a, **k: None, info=lambda *a, **k: None)
        self.pools = Pools(
            self.topology,
            settings or PoolSettings(ping_interval=0.0),
            {0: HostgroupAttributes(**attributes)},
            user_limits or {},
            self.now,
            lambda task, name: self.tasks.append(task),
            self,
            self.failed,
            nothing,
        )

    def now(self) -> float:
        self.reactor.sweep()
        return self.reactor.now + self.offset

    def failed(self, group: Group, error: BaseException, who: Any) -> bool:
        self.failures.append(error)
        return False

    def run(self) -> int:
        """Run what was spawned to its end; how many there were."""
        ran = 0
        while self.tasks:
            task = self.tasks.pop(0)
            with pytest.raises(StopIteration):
                task.send(None)
            ran += 1
        settle(self.reactor)
        return ran

    def group(self, user: bytes = b"ann", settings: Any = NO_SCHEMA) -> Group:
        return self.pools.group(0, SimpleNamespace(username=user), 1, settings)

    def wishes(self, group: Group, count: int) -> list[Wish]:
        return [Wish(self, group) for _ in range(count)]

    # -- the opener ----------------------------------------------------------------

    async def open(self, key: GroupKey, bucket: Bucket, settings: Any) -> BackendConnection:
        if self.refusal is not None:
            raise self.refusal
        self.wanted.append(settings)
        peer, end = pair(self.reactor)
        connection = BackendConnection(end, bucket, None, settings, 10)
        self.peers[connection] = peer
        return connection

    async def ping(self, connection: BackendConnection) -> bool:
        return self.pings

    async def reset(self, connection: BackendConnection) -> bool:
        return self.resets

    def depart(self) -> int:
        """Servers close the connections that said goodbye; how many."""
        left = [peer for peer in self.peers.values() if peer in Peer.open]
        gone = 0
        for peer in left:
            if peer.receive().endswith(QUIT):
                peer.close()
                gone += 1
        settle(self.reactor)
        return gone

    @property
    def used(self) -> list[int]:
        return [server.opened for server in self.pools.servers.values()]


def idle(world: World, group: Group, count: int) -> None:
    """`count` idle connections."""
    wishes = world.wishes(group, count)
    world.run()
    for wish in wishes:
        wish.back()


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


# -- sharing ----------------------------------------------------------------------------


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
