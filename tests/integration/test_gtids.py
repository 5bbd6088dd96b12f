# SPDX-License-Identifier: Apache-2.0
"""gtid_from_hostgroup: who has written reads what was written, from whichever server."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hproxy.routing.rules import RuleSet
from hproxy.runtime import Runtime
from hproxy.session.gtids import Gtids
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.ruling import swap_rules
from tests.integration.conftest import direct
from tests.support.pooled import client, go, pooled
from tests.support.server import Server

SHORT = {"connect_timeout_ms": 500, "connect_timeout_max_ms": 700}
RULES: list[dict[str, Any]] = [
    {"match_digest": "^SELECT", "destination_hostgroup": 1, "gtid_from_hostgroup": 0, "apply": 1}
]


@pytest.fixture
def table(mysql9: Server, mariadb: Server) -> Iterator[str]:
    name = f"test.gt_{secrets.token_hex(6)}"
    for server in (mysql9, mariadb):
        direct(server, f"CREATE TABLE {name} (id INT PRIMARY KEY)")
    yield name
    for server in (mysql9, mariadb):
        direct(server, f"DROP TABLE {name}")


@asynccontextmanager
async def before(
    folder: Path, *servers: Server, **proxy: Any
) -> AsyncIterator[tuple[Runtime, Gtids]]:
    rows = [
        {"hostname": s.host, "port": s.port, "hostgroup_id": at} for at, s in enumerate(servers)
    ]
    async with pooled(folder, *rows, proxy=proxy) as runtime:
        rules = [{"rule_id": at + 1, "active": 1} | rule for at, rule in enumerate(RULES)]
        swap_rules(runtime.services, RuleSet.compile(rules))
        driver = runtime._driver
        assert isinstance(driver, MultiplexDriver)
        yield runtime, driver.gtids


def test_waited_for(tmp_path: Path, mysql9: Server, table: str) -> None:
    ask = f"SELECT COUNT(*) FROM {table}"

    async def work() -> None:
        async with before(tmp_path, mysql9, mysql9) as (runtime, gtids):
            session = await client(runtime)
            assert await session.value(ask) == "0"
            assert gtids.waited == 0, "it has written nothing"
            await session.run(f"INSERT INTO {table} VALUES (1)")
            assert await session.value(ask) == "1"
            assert (gtids.waited, gtids.missed) == (1, 0)
            await session.run("BEGIN")
            await session.run(f"INSERT INTO {table} VALUES (2)")
            assert await session.value(ask) == "2", "in its transaction"
            assert gtids.waited == 1
            await session.run("COMMIT")
            statement = await session.prepare(ask)
            assert len(await session.execute(statement)) == 1
            assert (gtids.waited, gtids.missed) == (2, 0)
            other = await client(runtime)
            await other.value(ask)
            assert gtids.waited == 2, "the writes of others are not waited for"

    go(work())


@pytest.mark.parametrize("writer", ["mariadb", "mysql"])
def test_not_there_in_time(
    tmp_path: Path, mysql9: Server, mariadb: Server, table: str, writer: str
) -> None:
    """The other server is no replica: what was written is read where it was."""
    servers = (mariadb, mysql9) if writer == "mariadb" else (mysql9, mariadb)
    ask = f"SELECT COUNT(*) FROM {table}"

    async def work() -> None:
        async with before(tmp_path, *servers, **SHORT) as (runtime, gtids):
            session = await client(runtime)
            await session.run(f"INSERT INTO {table} VALUES (1)")
            assert await session.value(ask) == "1"
            assert (gtids.waited, gtids.missed) == (1, 1)
            assert await session.value("SELECT 1") == "1"
            hint = "/* min_gtid=3E11FA47-71CA-11E1-9E33-C80AA9429562:23 */ "
            assert await session.value(hint + ask) == "1"
            assert gtids.missed == 3
            assert await session.value("SELECT @@port") == str(servers[0].port)

    go(work())
