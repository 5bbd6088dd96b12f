# SPDX-License-Identifier: Apache-2.0
"""The variables of statements: all act, and those tools set are there."""

from __future__ import annotations

from hproxy.config.proxysql.variables_query import QUERY


def test_all_act() -> None:
    assert {variable.acts for variable in QUERY} == {"acts"}


def test_those_that_tools_set() -> None:
    assert {
        "mysql-query_cache_size_MB",
        "mysql-eventslog_format",
        "mysql-mirror_max_concurrency",
    } <= {v.name for v in QUERY}
