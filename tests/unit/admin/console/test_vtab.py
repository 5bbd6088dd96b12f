# SPDX-License-Identifier: Apache-2.0
"""Virtual tables: any SQL on what the port gives, and an "=" that is answered by an index."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hproxy.admin.console.vtab import Snapshot
from tests.support.console import Admin, FakePort, Served, serving

HOSTS = 3000


def pool(number: int) -> tuple[Any, ...]:
    return (number % 7, f"Host-{number}", 3306, "ONLINE", 0, 0, 0, 0, 0, number, 0, 0, 0, 1)


def process(number: int) -> tuple[Any, ...]:
    host = f"Host-{number % 10}"
    return (0, number, "u", "d", "c", 1, 1, "l", 1, host, 3306, "Sleep", 0, None, 0, None)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    port = FakePort()
    port.tables["stats_mysql_connection_pool"] = [pool(i) for i in range(HOSTS)]
    port.tables["stats_mysql_processlist"] = [process(i) for i in range(HOSTS)]
    with serving(port) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        yield made


def test_aggregates_order_and_limits(admin: Admin) -> None:
    rows = admin(
        "SELECT hostgroup, COUNT(*) c, SUM(Queries), MIN(srv_host) FROM stats_mysql_connection_pool"
        " GROUP BY hostgroup HAVING c > 1 ORDER BY hostgroup DESC LIMIT 2"
    )
    numbers = [i for i in range(HOSTS) if i % 7 == 6]
    assert rows[0][:3] == ("6", str(len(numbers)), str(sum(numbers)))


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("srv_host = 'Host-5'", 1),
        ("srv_host = 'host-5'", 0),
        ("srv_host = 'host-5' COLLATE NOCASE", 1),
        ("Queries = 5", 1),
        ("Queries = '5'", 1),
        ("Queries = 5.0", 1),
        ("Queries = '5x'", 0),
        ("srv_host = 5", 0),
        ("srv_host = NULL", 0),
        ("srv_host IN ('Host-1', 'Host-2', 'nobody')", 2),
        ("srv_host = 'Host-8' AND hostgroup = 1", 1),
        ("srv_host = 'Host-8' OR hostgroup = 99", 1),
        ("rowid = 3", 1),
        ("Queries > 2990 AND Queries <= 2995", 5),
        ("srv_host LIKE 'HOST-299_'", 10),
    ],
)
def test_conditions_mean_what_they_mean_on_a_table(
    admin: Admin, condition: str, count: int
) -> None:
    sql = f"SELECT COUNT(*) FROM stats_mysql_connection_pool WHERE {condition}"
    assert admin.one(sql) == str(count)
    admin("CREATE TABLE copied AS SELECT * FROM stats_mysql_connection_pool")
    if "rowid" not in condition:
        assert admin.one(sql.replace("stats_mysql_connection_pool", "copied")) == str(count)
    admin("DROP TABLE copied")


def test_a_join_of_two_is_not_their_product(admin: Admin) -> None:
    began = time.process_time()
    rows = admin(
        "SELECT COUNT(*) FROM stats_mysql_processlist p JOIN stats_mysql_connection_pool c"
        " ON c.srv_host = p.srv_host AND c.srv_port = p.srv_port"
    )
    assert rows == [(str(HOSTS),)]
    # 9,000,000 pairs would take several seconds.
    assert time.process_time() - began < 2


def test_outer_join_with_the_memory_layer(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('Host-1'), ('unknown')")
    rows = admin(
        "SELECT s.hostname, c.Queries FROM mysql_servers s"
        " LEFT JOIN stats_mysql_connection_pool c ON c.srv_host = s.hostname ORDER BY 1"
    )
    assert rows == [("Host-1", "1"), ("unknown", None)]
    admin("INSERT INTO mysql_servers (hostname) SELECT srv_host FROM stats_mysql_connection_pool"
          " WHERE Queries BETWEEN 10 AND 12")  # fmt: skip
    assert admin.affected == 3
    admin("DELETE FROM mysql_servers")


def test_one_snapshot_per_statement() -> None:
    reads: list[str] = []

    def read(table: str) -> list[tuple[Any, ...]]:
        reads.append(table)
        return [(f"n{len(reads)}", "1")]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        snapshot = Snapshot(loop, read)
        first = await loop.run_in_executor(None, snapshot.rows, "stats_mysql_global")
        again = await loop.run_in_executor(None, snapshot.rows, "stats_mysql_global")
        assert first is again
        found = await loop.run_in_executor(None, snapshot.matching, "stats_mysql_global", 0, "N1")
        assert found == [("n1", "1")]
        snapshot.forget()
        assert await loop.run_in_executor(None, snapshot.rows, "stats_mysql_global") is not first
        assert len(reads) == 2

    asyncio.run(main())


def test_the_loop_goes_on_while_a_statement_scans(served: Served, admin: Admin) -> None:
    """A loop's turn waits for the interpreter's switch, not for the statement."""
    late: list[float] = []
    stop = threading.Event()

    def turn(planned: float) -> None:
        now = time.monotonic()
        late.append(now - planned)
        if not stop.is_set():
            served.loop.call_later(0.001, turn, time.monotonic() + 0.001)

    served.loop.call_soon_threadsafe(turn, time.monotonic())
    admin(
        "SELECT COUNT(*) FROM stats_mysql_connection_pool a, stats_mysql_connection_pool b"
        " WHERE a.Queries < 200 AND a.Queries + b.Queries > 0"
    )
    stop.set()
    assert len(late) > 5
    assert sorted(late)[len(late) // 2] < 0.1
