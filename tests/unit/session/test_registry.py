# SPDX-License-Identifier: Apache-2.0
"""Who is connected: ids, hosts, and the sums of those who left."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from hproxy.session import registry as module
from hproxy.session.registry import FIRST_ID, Connection, Registry
from tests.support.worker import Journal


def test_ids_are_far_above_the_servers_and_fit_32_bits() -> None:
    registry = Registry()
    ids = [registry.enter("127.0.0.1:1", Journal()).id for _ in range(3)]
    assert ids == [FIRST_ID, FIRST_ID + 1, FIRST_ID + 2]
    assert FIRST_ID + module.ID_SPAN <= 1 << 31  # also where an id is read as signed


def test_ids_wrap_around_and_pass_over_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ID_SPAN", 3)
    registry = Registry()
    first, second, third = (registry.enter("unix", Journal()) for _ in range(3))
    registry.leave(second)
    assert registry.enter("unix", Journal()).id == second.id
    assert registry.find(first.id) is first
    assert registry.find(third.id) is third


@pytest.mark.parametrize(
    ("peer", "host"),
    [("10.0.0.1:3300", "10.0.0.1"), ("[::1]:3300", "::1"), ("unix", "localhost")],
)
def test_hosts(peer: str, host: str) -> None:
    journal = Journal()
    connection = Registry().enter(peer, journal)
    assert (connection.peer, connection.host) == (peer, host)
    connection.log.info("hello")
    assert journal.told("hello") == [{"conn": connection.id, "client": peer}]


def test_finding_and_leaving() -> None:
    registry = Registry()
    connection = registry.enter("unix", Journal())
    assert len(registry) == 1
    assert list(registry) == [connection]
    registry.leave(connection)
    registry.leave(connection)
    assert len(registry) == 0
    assert registry.find(connection.id) is None
    registry.leave(Connection(7, "", Journal()))


def test_totals_of_those_who_left() -> None:
    registry = Registry()
    for commands in (2, 3):
        connection = registry.enter("unix", Journal())
        client = SimpleNamespace(bytes_in=10 * commands, bytes_out=100 * commands)
        connection.session = SimpleNamespace(commands=commands, client=client)
        registry.leave(connection)
        registry.leave(connection)
    registry.leave(registry.enter("unix", Journal()))
    totals = registry.totals
    assert (totals.commands, totals.bytes_from_clients, totals.bytes_to_clients) == (5, 50, 500)


def test_leaving_while_looking() -> None:
    registry = Registry()
    for _ in range(3):
        registry.enter("unix", Journal())
    for connection in registry:
        registry.leave(connection)
    assert len(registry) == 0


def test_services_that_follow_each_other_count_from_places_far_apart() -> None:
    """A session may live through many upgrades, and keeps its id."""
    span = module.ID_SPAN // module.WORKERS
    firsts = []
    for generation in range(50):
        registry = Registry()
        registry.number(3, generation)
        number = registry.enter("unix", Journal()).id
        assert module.slot_of(number) == 3
        firsts.append(number)
    firsts.sort()
    assert min(b - a for a, b in pairwise(firsts)) > span // 150
