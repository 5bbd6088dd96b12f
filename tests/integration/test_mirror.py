# SPDX-License-Identifier: Apache-2.0
"""mirror_hostgroup and mirror_flagOUT: copies run elsewhere, and clients never notice."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.routing.rules import RuleSet
from hproxy.runtime import Runtime
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.ruling import swap_rules
from tests.integration.conftest import direct
from tests.support.pooled import client, go, pooled, until
from tests.support.server import Server


@pytest.fixture
def table(mariadb: Server, mysql9: Server) -> Iterator[str]:
    name = f"test.mi_{secrets.token_hex(6)}"
    for server in (mariadb, mysql9):
        direct(server, f"CREATE TABLE {name} (id INT PRIMARY KEY)")
    yield name
    for server in (mariadb, mysql9):
        direct(server, f"DROP TABLE {name}")


@asynccontextmanager
async def mirrored(
    folder: Path, servers: tuple[Server, Server], rules: list[dict[str, Any]], limit: int = 1000
) -> AsyncIterator[tuple[Runtime, Any]]:
    rows = [
        {"hostname": s.host, "port": s.port, "hostgroup_id": at, "max_connections": limit}
        for at, s in enumerate(servers)
    ]
    async with pooled(folder, *rows) as runtime:
        given = [{"rule_id": at + 1, "active": 1} | rule for at, rule in enumerate(rules)]
        compiled = RuleSet.compile(given)
        assert compiled.bad == ()
        swap_rules(runtime.services, compiled)
        driver = runtime._driver
        assert isinstance(driver, MultiplexDriver)
        yield runtime, driver.mirroring.counts


async def there(runtime: Runtime, table: str) -> str | None:
    """Rows of the mirror's table."""
    session = await client(runtime)
    found = await session.value(f"/* hostgroup=1 */ SELECT COUNT(*) FROM {table}")
    session.close()
    return found


def test_copies(tmp_path: Path, mariadb: Server, mysql9: Server, table: str) -> None:
    rules = [
        {"match_digest": "^INSERT", "mirror_hostgroup": 1},
        {"match_digest": "^BEGIN|^SET", "mirror_hostgroup": 1},
        {
            "match_digest": "^UPDATE",
            "mirror_flagOUT": 7,
        },
        {
            "flagIN": 7,
            "match_pattern": "^UPDATE(.*)SET id = 2",
            "replace_pattern": r"UPDATE\1SET id = 20",
            "destination_hostgroup": 1,
        },
    ]

    async def work() -> None:
        async with mirrored(tmp_path, (mariadb, mysql9), rules) as (runtime, counts):
            session = await client(runtime)
            for number in (1, 5):
                await session.run(f"INSERT INTO {table} VALUES ({number})")
            await until(lambda: counts.sent == 2 and counts.concurrency == 0, "copied")
            assert await there(runtime, table) == "2"
            await session.run(f"UPDATE {table} SET id = 2 WHERE id = 1")
            await until(lambda: counts.sent == 3 and counts.concurrency == 0, "rewritten")
            ask = f"/* hostgroup={{}} */ SELECT GROUP_CONCAT(id ORDER BY id) FROM {table}"
            assert await session.value(ask.format(0)) == "2,5"
            assert await session.value(ask.format(1)) == "5,20"
            await session.run("BEGIN")
            await session.run("SET @a = 1")
            await session.run("ROLLBACK")
            assert (counts.sent, counts.skipped, counts.failed) == (3, 2, 0)
            assert await session.value("SELECT LAST_INSERT_ID()") == "0"

    go(work())


def test_a_mirror_that_fails(tmp_path: Path, mariadb: Server, mysql9: Server, table: str) -> None:
    rules = [{"match_digest": "^INSERT", "mirror_hostgroup": 1}]

    async def work() -> None:
        async with mirrored(tmp_path, (mariadb, mysql9), rules) as (runtime, counts):
            session = await client(runtime)
            await session.run(f"/* hostgroup=1 */ DELETE FROM {table}")
            direct(mysql9, f"INSERT INTO {table} VALUES (1)")
            await session.run(f"INSERT INTO {table} VALUES (1)")
            await until(lambda: counts.failed == 1, "refused there")
            assert await session.value("SELECT 1") == "1"
            unknown = [{"rule_id": 1, "active": 1, "mirror_hostgroup": 99}]
            swap_rules(runtime.services, RuleSet.compile(unknown))
            assert await session.value("SELECT 2") == "2"
            assert counts.skipped == 1

    go(work())


def test_nobody_waits_and_the_rest_is_dropped(
    tmp_path: Path,
    mariadb: Server,
    mysql9: Server,
    table: str,
) -> None:
    few = {"mysql-mirror_max_concurrency": "2", "mysql-mirror_max_queue_length": "3"}
    rules = [
        {"match_digest": "AS copied", "mirror_flagOUT": 1},
        {
            "flagIN": 1,
            "match_pattern": "^SELECT",
            "replace_pattern": "SELECT SLEEP(1),",
            "destination_hostgroup": 1,
        },
    ]

    async def work() -> None:
        async with mirrored(tmp_path, (mariadb, mysql9), rules) as (runtime, counts):
            runtime.services.variables.update(few)
            session = await client(runtime)
            begun = monotonic()
            for number in range(9):
                assert await session.value(f"SELECT {number} AS copied") == str(number)
            assert monotonic() - begun < 0.9
            assert (counts.concurrency, counts.queue_length, counts.dropped) == (2, 3, 4)
            await until(lambda: counts.concurrency == 0, "all done")
            assert (counts.sent, counts.queue_length, counts.failed) == (5, 0, 0)

    go(work())
