# SPDX-License-Identifier: Apache-2.0
"""Replication lag: what servers say, and for how long it may be too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.health.lag import NOT_A_REPLICA, Lag, Verdict, heartbeat_sql, seconds_behind
from hproxy.health.model import Row


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"Seconds_Behind_Master": "7", "Master_Host": "p"}], 7),
        ([{"Seconds_Behind_Source": "0"}], 0),
        ([{"Seconds_Behind_Source": None}], 60),
        ([{"Seconds_Behind_Master": "3"}, {"Seconds_Behind_Master": "9"}], 9),
        ([{"Seconds_Behind_Master": "3"}, {"Seconds_Behind_Master": None}], 60),
        ([{"Seconds_Behind_Source": "1.6"}], 2),
        ([{"Seconds_Behind_Source": "-1"}], -1),  # a heartbeat from a clock ahead of ours
        ([], NOT_A_REPLICA),
    ],
)
def test_seconds_behind(rows: list[Row], expected: int) -> None:
    assert seconds_behind(rows, 60) == expected


@pytest.mark.parametrize(
    "table", ["percona.heartbeat", "`my db`.`heart beat`", "heartbeat", "a$b.c"]
)
def test_heartbeat_table(table: str) -> None:
    sql = heartbeat_sql(table)
    assert sql is not None
    assert sql.endswith(f" FROM {table}")


@pytest.mark.parametrize("table", ["a.b; DROP TABLE c", "a b", "a.b.c", "`a`b", "a`.b", "", "(a)"])
def test_no_heartbeat_table(table: str) -> None:
    assert heartbeat_sql(table) is None


def test_so_many_checks_in_a_row() -> None:
    lag = Lag()
    assert [lag.take(11, 10, 2) for _ in range(3)] == [
        Verdict.NOTHING,
        Verdict.LAGGING,
        Verdict.LAGGING,
    ]
    assert lag.take(10, 10, 2) is Verdict.CAUGHT_UP
    assert lag.take(10, 10, 2) is Verdict.NOTHING


def test_a_promoted_replica_has_caught_up() -> None:
    lag = Lag()
    lag.take(11, 10, 1)
    assert lag.take(NOT_A_REPLICA, 10, 1) is Verdict.CAUGHT_UP


def test_no_limit_any_more() -> None:
    lag = Lag()
    lag.take(11, 10, 1)
    assert lag.take(11, 0, 1) is Verdict.CAUGHT_UP


@given(st.lists(st.integers(-2, 20)), st.integers(1, 15), st.integers(1, 4))
def test_lagging_exactly_after_count_checks(lags: list[int], limit: int, count: int) -> None:
    lag = Lag()
    for number, seconds in enumerate(lags, 1):
        lag.take(seconds, limit, count)
        last = lags[max(0, number - count) : number]
        assert lag.lagging == (len(last) == count and all(value > limit for value in last))
