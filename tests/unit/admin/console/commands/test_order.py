# SPDX-License-Identifier: Apache-2.0
"""Orders: PROXYSQL ..., KILL, LOGENTRY, PULL VERSION, VACUUM; and what explains."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hproxy.runtime.control import ORDERS
from tests.support.console import ORDERS as FAKES
from tests.support.console import Admin, FakePort, Served, serving

PIN = (7, "u", "d", 1, "h", 3306, "TRANSACTION", "2026-01-01", 5, "BEGIN", "COMMIT ends it")
PROCESS = (0, 7, "u", "d", "c", 1, 1, "l", 1, "h", 3306, "Query", 5, "x" * 300, 0, None)


async def prometheus() -> str:
    return "proxysql_up 1\n"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    port = FakePort()
    port.tables["stats_hproxy_pins"] = [PIN]
    port.tables["stats_mysql_processlist"] = [PROCESS]
    with serving(port, prometheus=prometheus) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    served.port.orders.clear()
    with served.admin() as made:
        yield made


@pytest.mark.parametrize(
    ("sql", "order"),
    [
        ("PROXYSQL START", ("start",)),
        ("PROXYSQL STOP", ("stop",)),
        ("proxysql  pause ;", ("pause",)),
        ("PROXYSQL RESUME", ("resume",)),
        ("PROXYSQL RESTART", ("restart",)),
        ("PROXYSQL SHUTDOWN", ("shutdown",)),
        ("PROXYSQL SHUTDOWN SLOW", ("shutdown_slow",)),
        ("PROXYSQL KILL", ("kill",)),
        ("PROXYSQL FLUSH LOGS", ("flush_logs",)),
        ("PROXYSQL FLUSH QUERY CACHE", ("flush_query_cache",)),
        ("PROXYSQL FLUSH MYSQL CLIENT HOSTS", ("flush_client_hosts",)),
        ("PROXYSQL RELOAD TLS", ("reload_tls",)),
        ("PROXYSQL READWRITE", ("readwrite",)),
        ("KILL CONNECTION 12", ("kill_connection", "12")),
        ("KILL QUERY 12", ("kill_query", "12")),
        ("KILL 12;", ("kill_connection", "12")),
        ("LOGENTRY hello  world;", ("logentry", "hello  world")),
    ],
)  # fmt: skip
def test_orders(served: Served, admin: Admin, sql: str, order: tuple[str, ...]) -> None:
    admin(sql)
    assert served.port.orders == [order]
    assert admin.info == f"{order[0]} done"


def test_what_peers_say_first_is_accepted(served: Served, admin: Admin) -> None:
    admin("PROXYSQL CLUSTER_NODE_UUID u-1 0.0.0.0:6032")
    admin("PULL VERSION MYSQL SERVERS")
    assert not served.port.orders


def test_all_orders_are_known_to_who_takes_them() -> None:
    """A fake takes any: those it was told of are those of the worker and of its process."""
    of_process = {"restart", "shutdown", "shutdown_slow", "kill", "save_digests"}
    assert {*FAKES, "heap", "stacks", "trace_heap"} <= {*ORDERS, *of_process}
    assert set(ORDERS) <= {*FAKES, "heap", "stacks", "trace_heap"}


def test_what_is_no_order_is_told_with_those_there_are(admin: Admin) -> None:
    number, text = admin.refused("PROXYSQL VERSION")[:2]
    assert number == 1045
    assert "takes no order 'VERSION'; there are FLUSH CONFIGDB, FLUSH LOGS" in text
    assert "no order ''" in admin.refused("PROXYSQL")[1]
    assert "did you mean MYSQL QUERY RULES?" in admin.refused("LOAD MYSQL QUERY RULE TO RUN")[1]


def test_what_the_port_refuses_arrives_word_by_word(admin: Admin) -> None:
    admin("PROXYSQL PAUSE")
    assert admin.refused("PROXYSQL PAUSE") == (
        1045, "ProxySQL MySQL module is already paused, impossible to pause",
    )  # fmt: skip


def test_the_store_by_itself() -> None:
    with serving() as served, served.admin() as admin:
        admin("VACUUM")
        admin("PROXYSQL FLUSH CONFIGDB")
        assert served.port.orders == []


@pytest.mark.parametrize(
    ("sql", "statement", "who"),
    [
        ("EXPLAIN ROUTE SELECT 1", "SELECT 1", "@"),
        ("explain  route SELECT  a AS b FROM t AS app", "SELECT  a AS b FROM t", "app@"),
        ("EXPLAIN ROUTE SELECT 1 AS app@shop;", "SELECT 1", "app@shop"),
        ("EXPLAIN ROUTE 'SELECT ''a'' AS app';", "SELECT 'a' AS app", "@"),
        ('EXPLAIN ROUTE "SELECT 1" AS app', "SELECT 1", "app@"),
        ("EXPLAIN ROUTE UPDATE t SET a='x AS y' AS 'a b'@`s`", "UPDATE t SET a='x AS y'", "a b@s"),
    ],
)
def test_explain_route(admin: Admin, sql: str, statement: str, who: str) -> None:
    rows = admin(sql)
    assert admin.names == ("step", "result", "why")
    assert rows == [("statement", statement, who), ("decision", "hostgroup 1", "rule 7")]


def test_pins_and_one_session(admin: Admin) -> None:
    (pin,) = admin("SHOW PINS")
    assert pin[:2] == ("7", "u")
    shown = dict(admin("SHOW SESSION 7"))
    assert admin.names == ("Name", "Value")
    assert (shown["SessionID"], shown["command"]) == ("7", "Query")
    assert shown["pin TRANSACTION"] == "since 2026-01-01 by: BEGIN; COMMIT ends it"
    assert admin.refused("SHOW SESSION 8")[0] == 1094


def test_processlist(admin: Admin) -> None:
    short = admin("SHOW PROCESSLIST")[0]
    assert admin.names == (
        "SessionID", "user", "db", "hostgroup", "command", "time_ms", "info",
    )  # fmt: skip
    assert len(short[-1]) == 100
    full = admin("SHOW FULL PROCESSLIST")[0]
    assert len(full[-1]) == 300


def test_show_family(admin: Admin) -> None:
    assert admin("SHOW PROMETHEUS METRICS") == [("proxysql_up 1\n",)]
    mysql = dict(admin("SHOW MYSQL VARIABLES"))
    names = admin.names
    assert names == ("Variable_name", "Value")
    own = dict(admin("SHOW ADMIN VARIABLES"))
    assert all(name.startswith("mysql-") for name in mysql)
    assert all(name.startswith("admin-") for name in own)
    for sql in ("SHOW GLOBAL VARIABLES", "SHOW ALL VARIABLES", "SHOW VARIABLES"):
        assert dict(admin(sql)) == mysql | own
    assert admin("SHOW MYSQL VARIABLES LIKE 'mysql-max_conn%'") == [
        ("mysql-max_connections", mysql["mysql-max_connections"])
    ]
    where = "SHOW VARIABLES WHERE Variable_name = 'mysql-max_connections' OR Value = 'nobody'"
    assert len(admin(where)) == 1
    for sql in ("SHOW MYSQL USERS", "SHOW MYSQL SERVERS", "SHOW MYSQL STATUS", "SHOW STATUS"):
        assert admin(sql) == []
    assert ("utf8mb4", "utf8mb4_general_ci") in admin("SHOW CHARSET")
    assert "utf8mb4_general_ci" in [row[0] for row in admin("SHOW COLLATION")]
