# SPDX-License-Identifier: Apache-2.0
"""Probe logs share a key; samples exist by the minute, the hour and the day."""

from __future__ import annotations

from hproxy.config.proxysql.catalogue_logs import HISTORY_TABLES, MONITOR_TABLES
from hproxy.config.proxysql.catalogue_stats import STATS_TABLES


def test_logs_are_kept_by_server_and_time() -> None:
    logs = [name for name in MONITOR_TABLES if name.endswith("_log")]
    assert len(logs) == 7
    for name in logs:
        assert MONITOR_TABLES[name].primary_key == ("hostname", "port", "time_start_us")
    assert MONITOR_TABLES["mysql_server_ping_log"].names[3:] == (
        "ping_success_time_us",
        "ping_error",
    )
    assert MONITOR_TABLES["mysql_server_read_only_log"].names[3:] == (
        "success_time_us",
        "read_only",
        "error",
    )


def test_spans_have_the_columns_of_their_samples() -> None:
    for name in ("mysql_connections", "mysql_query_cache", "system_memory"):
        for span in ("_hour", "_day"):
            assert HISTORY_TABLES[name + span].columns == HISTORY_TABLES[name].columns
    assert HISTORY_TABLES["mysql_connections"].primary_key == ("timestamp",)


def test_histories_hold_a_moment_and_the_counters() -> None:
    digests = HISTORY_TABLES["history_mysql_query_digest"]
    assert digests.names == ("dump_time", *STATS_TABLES["stats_mysql_query_digest"].names)
