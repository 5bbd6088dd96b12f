# SPDX-License-Identifier: Apache-2.0
"""The tables of `monitor`: bounded by time and by number, keys unique."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.health.journal import TABLES, Journal

PING = "mysql_server_ping_log"


def test_a_row_as_the_table_has_it() -> None:
    journal = Journal(lambda: 1000)
    journal.add("mysql_server_read_only_log", "a", 3306, 100, 7, 1, None)
    assert journal.rows("mysql_server_read_only_log") == [("a", 3306, 100, 7, 1, None)]


def test_old_rows_leave() -> None:
    journal = Journal(lambda: 1000)
    for time in (0, 500, 1000, 1400):
        journal.add(PING, "a", 3306, time, 1, None)
    assert [row[2] for row in journal.rows(PING)] == [500, 1000, 1400]


def test_so_many_at_most() -> None:
    journal = Journal(lambda: 10**9, limit=3)
    for time in range(1, 6):
        journal.add(PING, "a", 3306, time, 1, None)
    assert [row[2] for row in journal.rows(PING)] == [3, 4, 5]


@given(st.lists(st.integers(0, 10)))
def test_keys_are_unique_and_rise_whatever_the_clock_does(times: list[int]) -> None:
    journal = Journal(lambda: 10**9)
    for time in times:
        journal.add(PING, "a", 3306, time, 1, None)
    found = [row[2] for row in journal.rows(PING)]
    assert len(found) == len(times)
    assert found == sorted(set(found))  # type: ignore[type-var]


def test_clear_and_unknown() -> None:
    journal = Journal(lambda: 1000)
    journal.add(PING, "a", 3306, 1, 1, None)
    journal.clear()
    assert all(journal.rows(table) == [] for table in TABLES)
    with pytest.raises(KeyError):
        journal.rows("mysql_server_aws_aurora_log")
