# SPDX-License-Identifier: Apache-2.0
"""Who goes to the reader, and every reason to stay with the writer."""

from __future__ import annotations

import pytest

from hproxy.routing import Request, Route
from hproxy.routing.policies import ReadWriteSplit

SPLIT = ReadWriteSplit([(10, 20), (30, 40)], hold=1.0)


@pytest.mark.parametrize(
    ("request_", "route"),
    [
        (Request(True, 10), Route(20, "a read")),
        (Request(True, 30), Route(40, "a read")),
        (Request(False, 10), Route(10, "not only a read")),
        (Request(True, 10, in_transaction=True), Route(10, "inside a transaction")),
        (Request(True, 10, since_write=0.0), Route(10, "own write 0.000 s ago")),
        (Request(True, 10, since_write=0.25), Route(10, "own write 0.250 s ago")),
        (Request(True, 10, since_write=1.0), Route(20, "a read")),
        (Request(False, 10, in_transaction=True), Route(10, "not only a read")),
    ],
)
def test_decisions(request_: Request, route: Route) -> None:
    assert SPLIT.decide(request_) == route


@pytest.mark.parametrize("hostgroup", [0, 20, 40])
def test_has_nothing_to_say_where_no_writer_is(hostgroup: int) -> None:
    assert SPLIT.decide(Request(True, hostgroup)) is None


def test_a_pair_of_one_hostgroup_splits_nothing() -> None:
    assert ReadWriteSplit([(1, 1)], hold=1.0).decide(Request(True, 1)) is None


def test_the_first_pair_of_a_writer_counts() -> None:
    split = ReadWriteSplit([(1, 2), (1, 3)], hold=1.0)
    assert split.decide(Request(True, 1)) == Route(2, "a read")


def test_without_hold_only_transactions_bind() -> None:
    split = ReadWriteSplit([(1, 2)], hold=0.0)
    assert split.decide(Request(True, 1, since_write=0.0)) == Route(2, "a read")
    bound = Request(True, 1, since_write=0.0, in_transaction=True)
    assert split.decide(bound) == Route(1, "inside a transaction")
