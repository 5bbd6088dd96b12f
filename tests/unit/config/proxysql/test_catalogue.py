# SPDX-License-Identifier: Apache-2.0
"""SQLite takes every table as declared, and sees in it the columns that we see."""

from __future__ import annotations

import apsw
import pytest

from hproxy.config.proxysql.catalogue import (
    CONFIG_TABLES,
    DISK_TABLES,
    HISTORY_TABLES,
    MAIN_TABLES,
    MONITOR_TABLES,
    RUNTIME_TABLES,
    SECRET_COLUMNS,
    STATS_TABLES,
    find,
)
from hproxy.config.proxysql.table import Table

EVERY = [
    made
    for tables in (
        CONFIG_TABLES,
        RUNTIME_TABLES,
        MAIN_TABLES,
        DISK_TABLES,
        STATS_TABLES,
        MONITOR_TABLES,
        HISTORY_TABLES,
    )
    for made in tables.values()
]


@pytest.mark.parametrize("made", EVERY, ids=lambda made: f"{made.schema}.{made.name}")
def test_sqlite_agrees(made: Table) -> None:
    database = apsw.Connection(":memory:")
    database.execute(made.ddl)
    seen = [
        (name, kind, bool(not_null), default)
        for _, name, kind, not_null, default, _ in database.execute(
            f"PRAGMA table_info({made.name})"
        )
    ]
    assert seen == [(c.name, c.type, c.not_null, c.default) for c in made.columns]


def test_a_runtime_table_has_the_columns_of_what_it_shows() -> None:
    for name, made in CONFIG_TABLES.items():
        assert RUNTIME_TABLES[f"runtime_{name}"].columns == made.columns


def test_a_reset_twin_has_the_columns_of_its_table() -> None:
    twins = [name for name in STATS_TABLES if name.endswith("_reset")]
    assert len(twins) == 6
    for name in twins:
        assert STATS_TABLES[name].columns == STATS_TABLES[name.removesuffix("_reset")].columns


def test_a_name_is_found_where_an_unqualified_one_would_be() -> None:
    assert find("MYSQL_SERVERS").schema == "main"
    assert find("runtime_mysql_servers").schema == "main"
    assert find("global_settings", "disk").schema == "disk"
    assert find("mysql_users", "disk").ddl == CONFIG_TABLES["mysql_users"].ddl
    assert find("mysql_connections").schema == "stats_history"
    assert find("stats_mysql_query_digest").schema == "stats"
    assert find("stats_mysql_query_digest", "stats_history").schema == "stats_history"
    for name, schema in (("nothing", ""), ("mysql_servers", "stats"), ("stats_mysql_x", "disk")):
        with pytest.raises(KeyError):
            find(name, schema)


def test_secrets_are_columns() -> None:
    for name, column in SECRET_COLUMNS:
        assert column in CONFIG_TABLES[name].names
