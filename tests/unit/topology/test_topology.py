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
