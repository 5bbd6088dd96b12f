# SPDX-License-Identifier: Apache-2.0
"""Sums over workers that come and go never fall."""

from __future__ import annotations

from hproxy.telemetry.departed import Departed
from hproxy.telemetry.reading import HostgroupReading, Reading, ServerReading, Times
from hproxy.telemetry.summing import summed


def reading(count: int, sessions: int = 1, *, hostgroup: int = 0) -> Reading:
    times = Times((count, *[0] * 19), float(count))
    return Reading(
        totals={"Questions": count, "Client_Connections_connected": sessions},
        memory={"Auth_memory": 5},
        version="1",
        servers=(ServerReading(hostgroup, "db:1", "SHUNNED", 1, 1, count, 0, count, 0, 0, 9),),
        hostgroups=(HostgroupReading(hostgroup, count, 0, 0.0, 3, {"total": times}),),
        errors={(0, "db", 1, 1054): count},
        retries=count,
        commands={3: times},
    )


def total(departed: Departed, now: dict[int, tuple[object, Reading]]) -> Reading:
    return summed([*(each for _, each in now.values()), *departed.beside(now)])


def test_a_worker_that_was_replaced_has_counted() -> None:
    departed, first, other, next_one = Departed(), object(), object(), object()
    assert total(departed, {0: (first, reading(10)), 1: (other, reading(5))}).retries == 15
    found = total(departed, {0: (next_one, reading(1)), 1: (other, reading(6))})
    assert found.totals == {"Questions": 17, "Client_Connections_connected": 2}
    assert found.memory == {"Auth_memory": 10}
    (server,) = found.servers
    assert (server.queries, server.used) == (17, 2)
    (group,) = found.hostgroups
    assert (group.acquired, group.waiters, group.phases["total"].cells[0]) == (17, 6, 17)
    assert found.commands[3].seconds == 17.0
    assert found.errors == {(0, "db", 1, 1054): 17}


def test_one_that_does_not_answer_counts_as_it_did() -> None:
    departed, first, other = Departed(), object(), object()
    total(departed, {0: (first, reading(10)), 1: (other, reading(5))})
    found = total(departed, {0: (first, reading(11))})
    assert (found.retries, found.totals["Client_Connections_connected"]) == (16, 1)
    assert total(departed, {0: (first, reading(11)), 1: (other, reading(7))}).retries == 18


def test_servers_that_are_gone_are_not_shown_again() -> None:
    departed = Departed()
    total(departed, {0: (object(), reading(10, hostgroup=7))})
    found = total(departed, {0: (object(), reading(1))})
    assert [row.hostgroup for row in found.servers] == [0]
    assert [row.hostgroup for row in found.hostgroups] == [0]
    assert found.retries == 11
