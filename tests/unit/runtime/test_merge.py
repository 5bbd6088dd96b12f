# SPDX-License-Identifier: Apache-2.0
"""Rows of two workers as one table."""

from __future__ import annotations

from hproxy.config.proxysql.catalogue import STATS_TABLES
from hproxy.runtime.merge import SAME, merged
from hproxy.runtime.tables import READERS


def test_numbers_by_name_are_added_or_the_greatest_holds() -> None:
    parts = {
        0: [("Questions", "4"), ("ProxySQL_Uptime", "100"), ("Stmt_Cached", "3")],
        1: [("Questions", "5"), ("ProxySQL_Uptime", "7"), ("Stmt_Cached", "2")],
        -1: [("MySQL_Monitor_Workers", "8")],
    }
    assert dict(merged("stats_mysql_global", parts)) == {
        "Questions": "9",
        "ProxySQL_Uptime": "100",
        "Stmt_Cached": "3",
        "MySQL_Monitor_Workers": "8",
    }


def test_servers_are_one_row_each() -> None:
    first = [1, "db", 3306, "ONLINE", 1, 2, 3, 4, 5, 60, 0, 70, 80, 900]
    other = [2, "db", 3306, "ONLINE", 1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    rows = merged("stats_mysql_connection_pool", {0: [first, other], 1: [first]})
    assert rows == [(1, "db", 3306, "ONLINE", 2, 4, 6, 8, 10, 120, 0, 140, 160, 900), tuple(other)]


def test_digests_keep_first_and_last_least_and_most() -> None:
    key = [0, "db", "ann", "", "0xAB", "SELECT ?"]
    other = [0, "db", "bob", "", "0xCD", "DO ?"]
    rows = merged(
        "stats_mysql_query_digest",
        {
            0: [
                [*key, 2, 100, 200, 50, 10, 40, 0, 2],
                [*other, *[1] * 8],
            ],
            1: [[*key, 3, 90, 150, 60, 5, 30, 1, 3]],
        },
    )
    assert rows[0] == (*key, 5, 90, 200, 110, 5, 40, 1, 5), "the dearest is the first"
    assert len(rows) == 2


def test_sessions_are_listed_with_their_worker() -> None:
    rows = merged("stats_mysql_processlist", {0: [[0, 30, "a"], [0, 10, "b"]], 1: [[0, 20, "c"]]})
    assert rows == [(0, 10, "b"), (1, 20, "c"), (0, 30, "a")]


def test_statements_get_numbers_of_their_own() -> None:
    one = [1, "db", "ann", "0xAB", 1, 1, 2, 0, "SELECT 1"]
    other = [1, "db", "ann", "0xCD", 1, 1, 2, 0, "SELECT 2"]
    rows = merged("stats_mysql_prepared_statements_info", {0: [one], 1: [other, [2, *one[1:]]]})
    assert [(row[0], row[4], row[-1]) for row in rows] == [(1, 2, "SELECT 1"), (2, 1, "SELECT 2")]


def test_processes_are_added_up() -> None:
    assert merged("process_cpu", {0: [[1, 2]], 1: [[10, 20]], -1: [[100, 200]]}) == [(111, 222)]


def test_keys_and_columns_are_those_of_the_catalogue() -> None:
    for name, same in SAME.items():
        columns = STATS_TABLES[name].names
        assert {*same.key, *same.first, *same.least, *same.most} <= set(columns), name
        primary = STATS_TABLES[name].primary_key
        assert set(primary) <= {*same.key, "global_stmt_id", "client_address"}, name
        assert name in READERS
