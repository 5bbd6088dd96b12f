# SPDX-License-Identifier: Apache-2.0
"""The order in which backends are tried: weights, limits, health and hostgroups."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.topology import Backend, Health, Status, Topology

NOW = 100.0


def backends(*weights: int, **fields: Any) -> tuple[Backend, ...]:
    return tuple(Backend(f"db{i}", 3306, weight=w, **fields) for i, w in enumerate(weights))


def names(order: tuple[Backend, ...]) -> list[str]:
    return [backend.host for backend in order]


def first_choice() -> float:
    return 0.0


def test_all_of_the_hostgroup_and_nobody_else() -> None:
    ours, theirs = Backend("ours", 1, hostgroup=1), Backend("theirs", 1, hostgroup=2)
    topology = Topology((ours, theirs))
    assert topology.order(1, NOW, first_choice) == (ours,)
    assert topology.order(2, NOW, first_choice) == (theirs,)
    assert topology.order(3, NOW, first_choice) == ()


def test_draws_follow_the_weights() -> None:
    topology = Topology(backends(1, 3, 6))
    random = Random(7).random
    first = Counter(topology.order(0, NOW, random)[0].host for _ in range(5000))
    assert [round(first[f"db{i}"] / 500) for i in range(3)] == [1, 3, 6]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.lists(st.floats(0, 1, exclude_max=True)),
)
def test_every_order_names_each_once(weights: list[int], draws: list[float]) -> None:
    topology = Topology(backends(*weights))
    supply = iter(draws)
    order = topology.order(0, NOW, lambda: next(supply, 0.999999999999))
    assert sorted(names(order)) == sorted(names(topology.backends))


def test_weight_zero_is_never_tried() -> None:
    assert names(Topology(backends(0, 1)).order(0, NOW, first_choice)) == ["db1"]


@pytest.mark.parametrize("status", [Status.OFFLINE_SOFT, Status.OFFLINE_HARD])
def test_offline_is_never_tried(status: Status) -> None:
    first, second = backends(1, 1)
    topology = Topology((first, second), health={first: Health(status=status)})
    assert topology.order(0, NOW, first_choice) == (second,)


def test_the_shunned_come_last_the_oldest_first() -> None:
    topology = Topology(backends(1, 1, 1), recovery_sec=10.0)
    first, second, third = topology.backends
    topology.failed(second, "refused", NOW - 2)
    topology.failed(first, "refused", NOW - 1)
    assert topology.order(0, NOW, first_choice) == (third, second, first)
    assert topology.order(0, NOW + 10, first_choice) == (first, second, third)


def test_a_proxy_whose_every_backend_has_failed_still_tries() -> None:
    topology = Topology(backends(1, 1))
    for backend in topology.backends:
        topology.failed(backend, "refused", NOW)
    assert len(topology.order(0, NOW, first_choice)) == 2


def test_a_full_backend_is_not_tried_not_even_as_a_last_resort() -> None:
    topology = Topology(backends(1, 1, max_connections=2))
    first, second = topology.backends
    topology.reserve(first)
    topology.reserve(first)
    assert topology.order(0, NOW, first_choice) == (second,)
    assert topology.order(0, NOW, first_choice, full=True) == (first, second)
    topology.failed(first, "refused", NOW)
    assert topology.order(0, NOW, first_choice) == (second,)
    topology.release(first)
    assert topology.order(0, NOW, first_choice) == (second, first)


def test_a_success_restores() -> None:
    topology = Topology(backends(1))
    (only,) = topology.backends
    topology.failed(only, "refused", NOW)
    topology.reserve(only)
    assert topology.snapshot() == {only: (Health(Status.SHUNNED, NOW + 10, 1, "refused"), 1)}
    topology.opened(only)
    topology.release(only)
    assert topology.snapshot() == {only: (Health(), 0)}


def writer_that_reads() -> tuple[Topology, Backend, Backend, Backend]:
    writer = Backend("DB1", 3306, hostgroup=10)
    same, reader = Backend("db1", 3306, hostgroup=20), Backend("db2", 3306, hostgroup=20)
    return Topology((writer, same, reader)), writer, same, reader


def test_lookups() -> None:
    topology, writer, same, reader = writer_that_reads()
    assert topology.members(20) == (same, reader)
    assert topology.members(30) == ()
    assert topology.at("Db1", 3306) == (writer, same)
    assert topology.at("db1", 3307) == ()
    assert topology.find(20, "db1", 3306) == same
    assert topology.find(10, "db2", 3306) is None


def test_lookups_of_sockets() -> None:
    first, second = Backend("", 0, path="/run/a"), Backend("", 3306, path="/run/b")
    topology = Topology((first, second))
    assert topology.at("", 0, "/run/b") == (second,)
    assert topology.find(0, "", 0, "/run/a") == first
    assert topology.at("", 0) == topology.at("", 3306) == ()


def test_a_status_is_of_one_hostgroup() -> None:
    topology, writer, same, reader = writer_that_reads()
    topology.set_status(same, Status.OFFLINE_SOFT)
    assert topology.status(same) is Status.OFFLINE_SOFT
    assert topology.status(writer) is Status.ONLINE
    assert topology.order(20, NOW, first_choice) == (reader,)
    assert topology.order(10, NOW, first_choice) == (writer,)
    topology.set_status(same, Status.ONLINE)
    assert topology.order(20, NOW, first_choice) == (same, reader)


def test_a_backend_shunned_by_the_operator_recovers() -> None:
    topology = Topology(backends(1, 1), recovery_sec=10.0)
    first, second = topology.backends
    topology.set_status(first, Status.SHUNNED, NOW)
    assert topology.order(0, NOW + 9, first_choice) == (second, first)
    assert topology.order(0, NOW + 10, first_choice) == (first, second)


def test_a_backend_that_is_not_known_cannot_be_set() -> None:
    topology = Topology(backends(1))
    with pytest.raises(KeyError):
        topology.set_status(Backend("elsewhere", 1), Status.ONLINE)
    assert topology.backends == tuple(topology.health)


def test_every_change_of_status_is_told_once() -> None:
    topology = Topology(backends(1))
    (only,) = topology.backends
    told: list[tuple[Backend, Status, Status]] = []
    topology.on_change.append(lambda *change: told.append(change))
    topology.opened(only)
    assert told == []
    topology.failed(only, "refused", NOW)
    topology.failed(only, "refused", NOW)
    assert told == [(only, Status.ONLINE, Status.SHUNNED)]
    topology.opened(only)
    topology.set_status(only, Status.ONLINE)
    assert told[1:] == [(only, Status.SHUNNED, Status.ONLINE)]
    topology.set_status(only, Status.OFFLINE_HARD)
    topology.failed(only, "refused", NOW)
    topology.opened(only)
    assert told[2:] == [(only, Status.ONLINE, Status.OFFLINE_HARD)]


def test_listeners_see_the_new_status_and_may_leave() -> None:
    topology = Topology(backends(1))
    (only,) = topology.backends
    seen: list[Status] = []

    def once(backend: Backend, old: Status, new: Status) -> None:
        topology.on_change.remove(once)
        seen.append(topology.status(backend))

    topology.on_change += [once, lambda backend, old, new: seen.append(new)]
    topology.set_status(only, Status.OFFLINE_SOFT)
    topology.set_status(only, Status.ONLINE)
    assert seen == [Status.OFFLINE_SOFT, Status.OFFLINE_SOFT, Status.ONLINE]


def test_replace_tells_what_is_new_changed_and_gone() -> None:
    first, second, third = (Backend(f"db{i}", 3306) for i in range(3))
    topology = Topology((first, second))
    told: list[object] = []
    topology.on_replace.append(told.append)
    heavier = Backend("db1", 3306, weight=7)
    topology.failed(second, "refused", NOW)
    topology.reserve(first)
    change = topology.replace({heavier: Status.ONLINE, third: Status.OFFLINE_SOFT}, NOW)
    assert told == [change]
    assert (change.added, change.removed) == ((third,), (first,))
    assert [(a.weight, b.weight) for a, b in change.changed] == [(1, 7)]
    assert [b.weight for b in topology.backends] == [7, 1]
    assert topology.status(second) is Status.SHUNNED, "traffic said so, and nothing else since"
    assert topology.status(third) is Status.OFFLINE_SOFT
    assert topology.status(first) is Status.OFFLINE_SOFT, "it drains"
    topology.release(first)
    assert first not in topology.health, "forgotten with its last connection"


def test_replace_brings_back_what_had_not_gone_yet() -> None:
    (only,) = backends(1)
    topology = Topology((only,))
    topology.reserve(only)
    topology.replace({}, NOW)
    assert topology.order(0, NOW, first_choice) == ()
    topology.replace({only: Status.ONLINE}, NOW)
    assert topology.order(0, NOW, first_choice) == (only,)
    assert topology.snapshot()[only][1] == 1


def test_replace_obeys_the_operator() -> None:
    (only,) = backends(1)
    topology = Topology((only,))
    for status in (Status.OFFLINE_HARD, Status.ONLINE, Status.SHUNNED, Status.OFFLINE_SOFT):
        topology.replace({only: status}, NOW)
        assert topology.status(only) is status
    topology.replace({only: Status.ONLINE}, NOW, statuses=False)
    assert topology.status(only) is Status.OFFLINE_SOFT


def test_monitors_speak_of_servers() -> None:
    (only,) = backends(1)
    topology = Topology((only,))
    topology.silent(only, "no answer")
    assert not topology.fit(only, 1e12)
    topology.answered(only)
    topology.lagging(only, 9)
    assert topology.order(0, NOW, first_choice) == (), "not even as a last resort"
    topology.caught_up(only)
    assert topology.fit(only, NOW)


def test_who_answers_slowly_is_avoided_while_there_are_others() -> None:
    slow, quick = Backend("db0", 3306, max_latency_ms=5), Backend("db1", 3306)
    topology = Topology((slow, quick), max_latency_ms=100)
    topology.answered(slow, 0.006)
    topology.answered(quick, 0.006)
    assert names(topology.order(0, NOW, first_choice)) == ["db1", "db0"]
    topology.answered(slow, 0.004)
    assert topology.fit(slow, NOW)
    topology.answered(slow, 9.0)
    topology.answered(quick, 9.0)
    assert topology.fit(slow, NOW), "nobody is better"
    assert topology.fit(quick, NOW)


def test_a_server_returns_in_one_hostgroup_or_in_all() -> None:
    one, two = (Backend("db", 3306, hostgroup=h) for h in (1, 2))
    other = Backend("other", 3306, hostgroup=2)
    for everywhere in (False, True):
        topology = Topology((one, two, other), returns_everywhere=everywhere)
        for backend in (one, two, other):
            topology.failed(backend, "refused", NOW)
        topology.opened(one)
        assert topology.status(one) is Status.ONLINE
        assert topology.status(two) is (Status.ONLINE if everywhere else Status.SHUNNED)
        assert topology.status(other) is Status.SHUNNED
        topology.set_status(two, Status.OFFLINE_SOFT, NOW)
        topology.failed(one, "refused", NOW)
        topology.opened(one)
        assert topology.status(two) is Status.OFFLINE_SOFT, "the operator's word stands"


def test_who_is_not_too_far_behind() -> None:
    near, far, idle = (Backend(name, 3306, weight=w) for name, w in (("a", 1), ("b", 1), ("c", 0)))
    topology = Topology((near, far, idle))
    topology.lag[far] = 3
    assert topology.lags(0, 2999)
    assert topology.within(0, 2999) == {near}
    assert topology.within(0, 3000) == {near, far}
    topology.set_status(near, Status.OFFLINE_SOFT)
    assert topology.within(0, 2999) == set()
