# SPDX-License-Identifier: Apache-2.0
"""Connections that are shared: who gets which, who waits, and what is counted."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from hproxy._native.pool import Applicant, BackendConnection, Borrower, Bucket, Group, Server
from hproxy._native.reactor import Reactor
from tests.support.socket_pair import Peer, emptied, pair, settle

QUIT = b"\x01\x00\x00\x00\x01"
OURS = object()


class Driver:
    """Writes down what it is told, and closes what is retired."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def spread(self, group: Group, bucket: Bucket) -> None:
        self.told.append(("spread", bucket))

    def retire(self, connection: BackendConnection) -> None:
        self.told.append(("retire", connection))
        connection.leave(False)

    def hand_over(self, connection: BackendConnection) -> None:
        self.told.append(("hand over", connection))
        connection.leave(False)

    def idle_lost(self, connection: BackendConnection, reason: str) -> None:
        self.told.append(("idle lost", reason))
        connection.leave(False)

    def departed(self, connection: BackendConnection) -> None:
        self.told.append(("departed", connection))


class Future:
    """As much of one as an Applicant wants."""

    def __init__(self) -> None:
        self.result: BackendConnection | None = None
        self.cancelled = False

    def done(self) -> bool:
        return self.result is not None or self.cancelled

    def set_result(self, connection: BackendConnection) -> None:
        assert not self.done()
        self.result = connection


class Pool:
    """Servers of one group, their connections, and who asks for them."""

    def __init__(self, *weights: float, limit: int = 10) -> None:
        self.reactor = Reactor()
        self.driver = Driver()
        self.group = Group("key", self.driver, 100)
        self.servers = [
            Server(f"db{number}", limit, weight) for number, weight in enumerate(weights or (1,))
        ]
        self.buckets = [self.group.add(server) for server in self.servers]
        self.peers: dict[int, Peer] = {}

    def connect(self, number: int = 0, settings: object = OURS) -> BackendConnection:
        return self.connect_to(self.buckets[number], settings)

    def connect_to(self, bucket: Bucket, settings: object = OURS) -> BackendConnection:
        peer, end = pair(self.reactor)
        bucket.opened += 1
        bucket.server.opened += 1
        connection = BackendConnection(end, bucket, "login", settings, 10)
        self.peers[id(connection)] = peer
        bucket.group.give(connection)
        return connection

    def peer(self, connection: BackendConnection) -> Peer:
        return self.peers[id(connection)]

    def ask(self, settings: object = OURS, group: Group | None = None) -> Asking:
        return Asking(group or self.group, settings)


class Asking:
    """Somebody who wants a connection."""

    def __init__(self, group: Group, settings: object) -> None:
        self.future = Future()
        self.applicant = Applicant(self.future)
        self.group = group
        found = self.applicant.apply(group, settings)
        if found is not None:
            self.future.set_result(found)

    @property
    def got(self) -> BackendConnection | None:
        return self.future.result

    def back(self) -> None:
        """Give it back."""
        assert self.got is not None
        self.group.give(self.got)


# -- idle connections -------------------------------------------------------------------


def test_the_latest_used_is_taken_first() -> None:
    pool = Pool()
    first, second, third = (pool.connect() for _ in range(3))
    assert pool.buckets[0].connections() == [third, second, first]
    assert pool.buckets[0].longest_idle is first
    asking = [pool.ask() for _ in range(3)]
    assert [each.got for each in asking] == [third, second, first]
    asking[1].back()
    asking[0].back()
    assert pool.buckets[0].connections() == [third, second]
    assert pool.buckets[0].longest_idle is second
    assert (pool.buckets[0].idle, pool.servers[0].idle, pool.group.opened) == (2, 2, 3)


def test_settings_are_matched_by_identity() -> None:
    pool = Pool()
    one, other = object(), object()
    first, second, third = (pool.connect(settings=each) for each in (one, other, other))
    assert pool.ask(one).got is first
    assert pool.ask(one).got is third  # of no use as it is, but better than waiting
    assert pool.ask(other).got is second
    assert pool.ask(other).got is None


def test_equal_settings_that_are_two_objects_lose_no_connection() -> None:
    pool = Pool()
    one, same = (1, int("2")), (1, int("2"))
    first = pool.connect(settings=one)
    assert pool.ask(one).got is first
    second = pool.connect(settings=same)
    pool.connect(settings=object())
    assert pool.ask(same).got is second


def test_one_may_be_taken_from_the_middle() -> None:
    pool = Pool()
    connections = [pool.connect() for _ in range(5)]
    assert connections[2].reserve()
    assert not connections[2].reserve()
    assert pool.buckets[0].connections() == [connections[at] for at in (4, 3, 1, 0)]
    assert connections[0].reserve()
    assert connections[4].reserve()
    assert pool.buckets[0].connections() == [connections[3], connections[1]]
    assert (pool.buckets[0].longest_idle, pool.servers[0].idle) == (connections[1], 2)
    pool.group.give(connections[2], used=False)
    assert pool.buckets[0].connections()[0] is connections[2]


def test_a_ping_is_no_use() -> None:
    pool = Pool()
    connection = pool.connect()
    before = connection.used_at
    pool.peer(connection).send(b"")
    pool.reactor.sweep()
    assert connection.reserve()
    pool.group.give(connection, used=False)
    assert connection.used_at == before
    connection.reserve()
    pool.group.give(connection)
    assert connection.used_at == pool.reactor.now > before


def test_it_behaves_like_a_list() -> None:
    """Random traffic against a slow twin: a list, the latest used last."""
    rng = random.Random(1)
    pool = Pool()
    settings = [object() for _ in range(3)]
    idle = [pool.connect(settings=rng.choice(settings)) for _ in range(8)]
    used: list[BackendConnection] = []
    for _ in range(5000):
        if used and (not idle or rng.random() < 0.5):
            connection = used.pop(rng.randrange(len(used)))
            connection.settings = rng.choice(settings)
            pool.group.give(connection)
            idle.append(connection)
        else:
            wanted = rng.choice(settings)
            fitting = [each for each in idle if each.settings is wanted] or idle
            assert pool.ask(wanted).got is fitting[-1]
            used.append(fitting[-1])
            idle.remove(fitting[-1])
        assert pool.buckets[0].connections() == idle[::-1]
        assert pool.buckets[0].idle == pool.servers[0].idle == len(idle)


# -- several servers --------------------------------------------------------------------


def test_statements_are_spread_by_weight() -> None:
    pool = Pool(1, 3, 0)
    for number in range(3):
        for _ in range(3):
            pool.connect(number)
    drawn: Counter[str] = Counter()
    for _ in range(4000):
        asking = pool.ask()
        assert asking.got is not None
        drawn[asking.got.bucket.server.backend] += 1
        asking.back()
    assert set(drawn) == {"db0", "db1"}
    assert 0.6 < drawn["db1"] / 4000 < 0.9


def test_nobody_waits_for_one_server_while_another_is_free() -> None:
    pool = Pool(1, 1000)
    connection = pool.connect(0)
    assert pool.ask().got is connection


def test_settings_that_match_elsewhere_are_preferred_to_aligning() -> None:
    pool = Pool(1, 1000)
    wanted = object()
    connection = pool.connect(0, wanted)
    pool.connect(1)
    assert pool.ask(wanted).got is connection


def test_a_server_that_is_not_online_is_a_last_resort() -> None:
    pool = Pool(1, 1)
    shunned, online = pool.connect(0), pool.connect(1)
    pool.servers[0].online = False
    assert pool.ask().got is online
    assert pool.ask().got is None
    pool.servers[1].online = False
    assert pool.ask().got is shunned


def test_a_server_that_is_taken_out_keeps_nothing() -> None:
    pool = Pool(1)
    pool.connect()
    asking = pool.ask()
    pool.servers[0].closing, pool.servers[0].online = True, False
    asking.back()
    assert pool.driver.told == [("retire", asking.got)]
    assert (pool.servers[0].opened, pool.buckets[0].idle) == (0, 0)


# -- waiting ----------------------------------------------------------------------------


def test_who_waits_is_served_in_turn() -> None:
    pool = Pool()
    pool.connect()
    first, *waiting = (pool.ask() for _ in range(5))
    assert (pool.group.waiting, pool.servers[0].waiting, pool.group.waited) == (4, 4, 4)
    assert pool.group.first_waiter() is waiting[0].applicant
    giver = first
    for each in waiting:
        assert each.got is None
        giver.back()
        assert each.got is first.got
        giver = each
    assert (pool.group.waiting, pool.servers[0].waiting) == (0, 0)
    assert pool.group.first_waiter() is None
    giver.back()
    assert pool.buckets[0].idle == 1


def test_who_gives_up_is_passed_over() -> None:
    pool = Pool()
    pool.connect()
    first, second, third = (pool.ask() for _ in range(3))
    second.applicant.withdraw()
    second.applicant.withdraw()
    first.applicant.withdraw()  # it does not wait at all
    assert (pool.group.waiting, pool.servers[0].waiting) == (1, 1)
    first.back()
    assert (second.got, third.got) == (None, first.got)


def test_what_comes_too_late_goes_to_the_next() -> None:
    pool = Pool()
    pool.connect()
    first, second, third = (pool.ask() for _ in range(3))
    second.future.cancelled = True
    first.back()
    assert (second.got, third.got) == (None, first.got)
    third.future.cancelled = True
    third.back()
    assert pool.buckets[0].idle == 1


def test_all_may_be_sent_away() -> None:
    pool = Pool()
    waiting = [pool.ask() for _ in range(3)]
    assert pool.group.refuse_all() == [each.applicant for each in waiting]
    assert (pool.group.waiting, pool.servers[0].waiting) == (0, 0)
    assert all(each.applicant.waits_for is None for each in waiting)


def test_a_server_that_joins_counts_who_waits() -> None:
    pool = Pool()
    asking = pool.ask()
    late = Server("db9", 1)
    pool.group.add(late)
    assert late.waiting == 1
    asking.applicant.withdraw()
    assert late.waiting == 0


def test_the_base_class_waits_for_nothing() -> None:
    pool = Pool()
    assert isinstance(pool.ask().applicant, Borrower)


# -- growing ----------------------------------------------------------------------------


def grows(group: Group) -> bool:
    return group.grows


def quiet(connection: BackendConnection) -> bool:
    return connection.quiet


def test_a_group_grows_while_more_wait_than_connections_come() -> None:
    pool = Pool(limit=3)
    assert not grows(pool.group)
    pool.ask()
    assert grows(pool.group)
    pool.buckets[0].connecting += 1
    assert not grows(pool.group)
    pool.ask()
    assert grows(pool.group)
    pool.group.full = True
    assert not grows(pool.group)


def test_a_full_server_has_no_room() -> None:
    pool = Pool(limit=1)
    rooms = [pool.servers[0].room]
    pool.connect()
    assert [*rooms, pool.servers[0].room] == [True, False]
    pool.ask()
    pool.ask()
    assert not grows(pool.group)


def test_a_full_server_has_room_where_others_are_idle() -> None:
    pool = Pool(limit=1)
    pool.connect()
    other = Group("other", pool.driver, 10)
    other.add(pool.servers[0])
    pool.ask(group=other)
    assert other.grows


def test_what_is_owed_is_handed_over() -> None:
    pool = Pool()
    connection = pool.connect()
    asking = pool.ask()
    pool.ask()
    pool.buckets[0].owed = 1
    asking.back()
    assert pool.driver.told == [("hand over", connection)]
    assert (pool.buckets[0].owed, pool.servers[0].opened, pool.group.waiting) == (0, 0, 1)


# -- ends -------------------------------------------------------------------------------


def test_a_connection_that_was_retired_does_not_go_back() -> None:
    pool = Pool()
    connection = pool.connect()
    asking = pool.ask()
    connection.retired = True
    asking.back()
    assert pool.driver.told == [("retire", connection)]
    assert (connection.gone, connection.closed, pool.buckets[0].idle) == (True, True, 0)


def test_a_connection_that_is_too_old_does_not_go_back() -> None:
    pool = Pool()
    connection = pool.connect()
    asking = pool.ask()
    connection.retire_at = 1.0
    asking.back()
    assert connection.retired
    assert pool.servers[0].opened == 0


@pytest.mark.parametrize("how", ["close", "data", "half"])
def test_an_idle_connection_that_says_something_is_lost(how: str) -> None:
    pool = Pool()
    connection, other = pool.connect(), pool.connect()
    peer = pool.peer(connection)
    if how == "close":
        peer.close()
    elif how == "half":
        peer.shut()
    else:
        peer.send(b"\x10\x00\x00\x00\xffgoing down")
    settle(pool.reactor)
    assert [what for what, _ in pool.driver.told] == ["idle lost"]
    assert pool.buckets[0].connections() == [other]
    assert (pool.servers[0].opened, connection.closed) == (1, True)


def test_a_connection_leaves_politely_and_counts_until_the_server_has_closed() -> None:
    pool = Pool()
    connection = pool.connect()
    assert connection.leave()
    assert not connection.leave()
    assert (connection.gone, connection.leaving, connection.closed) == (True, True, False)
    assert (pool.buckets[0].idle, pool.buckets[0].opened, pool.buckets[0].leaving) == (0, 0, 1)
    assert (pool.servers[0].opened, pool.servers[0].leaving) == (1, 1)
    peer = pool.peer(connection)
    assert peer.receive() == QUIT
    peer.send(b"whatever")
    settle(pool.reactor)
    assert pool.servers[0].opened == 1
    peer.close()
    assert emptied(pool.reactor)
    assert pool.driver.told == [("departed", connection)]
    assert (pool.servers[0].opened, pool.servers[0].leaving, pool.buckets[0].leaving) == (0, 0, 0)


def test_a_server_that_does_not_close_is_not_waited_for_long() -> None:
    pool = Pool()
    connection = pool.connect()
    connection.leave()
    assert 0 < connection.endpoint.deadline <= pool.reactor.now + 2
    connection.endpoint.deadline = pool.reactor.now
    pool.reactor.sweep()
    assert (connection.closed, pool.servers[0].opened) == (True, 0)


def test_a_connection_may_be_cut_under_its_user() -> None:
    pool = Pool()
    connection = pool.connect()
    connection.sever()
    settle(pool.reactor)
    assert [what for what, _ in pool.driver.told] == ["idle lost"]
    connection.sever()
    assert connection.closed


def test_a_connection_moves_between_groups_of_its_server() -> None:
    pool = Pool()
    connection = pool.connect()
    other = Group("other", pool.driver, 10).add(pool.servers[0])
    with pytest.raises(ValueError, match="only a connection in use"):
        connection.move(other)
    connection.reserve()
    connection.move(other)
    assert (pool.buckets[0].opened, other.opened, pool.servers[0].opened) == (0, 1, 1)
    other.group.give(connection)
    assert other.connections() == [connection]
    connection.reserve()
    with pytest.raises(ValueError, match="its own server"):
        connection.move(Group("far", pool.driver, 10).add(Server("db9", 1)))


def test_a_connection_knows_whether_something_is_unread() -> None:
    pool = Pool()
    connection = pool.connect()
    assert quiet(connection)
    pool.peer(connection).send(b"x")
    assert not quiet(connection)
    settle(pool.reactor)
    assert not quiet(connection)


def test_a_command_without_an_answer_is_just_sent() -> None:
    pool = Pool()
    connection = pool.connect()
    connection.send(b"\x05\x00\x00\x00\x19\x01\x00\x00\x00")
    assert pool.peer(connection).receive() == b"\x05\x00\x00\x00\x19\x01\x00\x00\x00"
    connection.touch()
    assert connection.uses == 1


def test_a_pool_needs_its_parts() -> None:
    reactor = Reactor()
    _, end = pair(reactor)
    group = Group("key", None, 1)
    bucket = group.add(Server("db", 1))
    for call in (
        lambda: group.add(None),  # type: ignore[arg-type]
        lambda: group.give(None),  # type: ignore[arg-type]
        lambda: BackendConnection(None, bucket, None, None, 1),  # type: ignore[arg-type]
        lambda: BackendConnection(end, None, None, None, 1),  # type: ignore[arg-type]
        lambda: Bucket(None, group),  # type: ignore[arg-type]
        lambda: Applicant(Future()).apply(None, None),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()
    end.close()
