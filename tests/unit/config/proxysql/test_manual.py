# SPDX-License-Identifier: Apache-2.0
"""The pages name every variable and every table, and say of each what it is for."""

from __future__ import annotations

import re

from hproxy.config.proxysql.catalogue import (
    CONFIG_TABLES,
    DISK_TABLES,
    HISTORY_TABLES,
    MAIN_TABLES,
    MONITOR_TABLES,
    STATS_TABLES,
)
from hproxy.config.proxysql.manual import PURPOSES, tables_page, variables_page
from hproxy.config.proxysql.variables import VARIABLES


def test_every_variable_has_a_line() -> None:
    names = re.findall(r"^\| `([\w-]+)` \|", variables_page(), re.MULTILINE)
    assert sorted(names) == sorted(VARIABLES)


def test_a_line_says_what_differs_from_proxysql() -> None:
    page = variables_page()
    (timeout,) = (line for line in page.splitlines() if "`mysql-connect_timeout_server`" in line)
    assert "| 10 to 120000 | `3000` |" in timeout
    assert "Option `proxy.connect_timeout_ms`. ProxySQL's default is `1000`." in timeout
    (threads,) = (line for line in page.splitlines() if "`mysql-threads`" in line)
    assert threads.endswith("| `4` | there are no such threads; server.worker_threads says how "
                            "many processes work |")  # fmt: skip


def test_every_table_has_a_purpose_and_a_line() -> None:
    everything = (
        *CONFIG_TABLES,
        *MAIN_TABLES,
        *DISK_TABLES,
        *STATS_TABLES,
        *MONITOR_TABLES,
        *HISTORY_TABLES,
    )
    plain = {name for name in everything if not name.endswith(("_reset", "_hour", "_day"))}
    assert set(PURPOSES) == plain
    page = tables_page()
    for name in plain:
        assert f"| `{name}`" in page


def test_tables_are_well_formed() -> None:
    for page in (variables_page(), tables_page()):
        width = 0
        for line in page.splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            cells = line.count("|")
            width = width or cells
            assert cells == width, line
