# SPDX-License-Identifier: Apache-2.0
"""cache_ttl: what is told again, and what never is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hproxy.protocols.mysql.constants import Capability
from hproxy.routing.rules import RuleSet
from hproxy.runtime import Runtime
from hproxy.session.caching import cache_counts, flush_results
from hproxy.session.ruling import swap_rules
from tests.integration.conftest import direct
from tests.support.pooled import Client, client, go, pooled, until
from tests.support.server import Server


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"test.qc_{secrets.token_hex(6)}"
    direct(server, f"CREATE TABLE {name} (id INT PRIMARY KEY)", f"INSERT INTO {name} VALUES (1)")
    yield name
    direct(server, f"DROP TABLE {name}")


@asynccontextmanager
async def cached(folder: Path, server: Server, **columns: Any) -> AsyncIterator[Runtime]:
    row = {"hostname": server.host, "port": server.port}
    rule = {"rule_id": 1, "active": 1, "match_digest": "^SELECT", "cache_ttl": 60_000} | columns
    async with pooled(folder, row) as runtime:
        swap_rules(runtime.services, RuleSet.compile([rule]))
        yield runtime


def told(runtime: Runtime) -> int:
    return cache_counts(runtime.services).count_GET_OK


def test_told_again(tmp_path: Path, server: Server, table: str) -> None:
    ask = f"SELECT COUNT(*) FROM {table}"

    async def work() -> None:
        async with cached(tmp_path, server) as runtime:
            for more in (0, Capability.DEPRECATE_EOF):
                ann, bob = [await client(runtime, more=more) for _ in range(2)]
                before = told(runtime)
                assert await ann.value(ask) == "1"
                direct(server, f"INSERT INTO {table} VALUES (2)")
                assert await bob.value(ask) == "1"
                assert await ann.value(ask) == "1"
                assert told(runtime) == before + 2
                assert await bob.value(ask.replace("COUNT", "MAX").replace("*", "id")) == "2"
                # Counts are this session's, although no connection knows of the statement.
                rows = await bob.run(f"SELECT id FROM {table}")
                assert len(rows) == 2
                assert await bob.run(f"SELECT id FROM {table}") == rows
                assert await bob.value("SELECT FOUND_ROWS()") == "2"
                direct(server, f"DELETE FROM {table} WHERE id = 2")
                assert flush_results(runtime.services) > 0
                assert await ann.value(ask) == "1"
                flush_results(runtime.services)
            shared = runtime.services.sharing
            counted = sum(row.count_star for row in shared.digests.snapshot() if row.key[0] == -1)
            assert counted == told(runtime)

    go(work())


def test_time_to_live(tmp_path: Path, server: Server, table: str) -> None:
    ask = f"SELECT COUNT(*) FROM {table}"

    async def work() -> None:
        async with cached(tmp_path, server, cache_ttl=400) as runtime:
            ann = await client(runtime)
            assert await ann.value(ask) == "1"
            direct(server, f"INSERT INTO {table} VALUES (2)")
            assert await ann.value(ask) == "1"
            counts = cache_counts(runtime.services)
            await until(lambda: counts.Entries == 0, "purged")
            assert await ann.value(ask) == "2"

    go(work())


def test_never_for_other_eyes(tmp_path: Path, server: Server, table: str) -> None:
    async def work() -> None:
        async with cached(tmp_path, server) as runtime:
            ann, bob = [await client(runtime) for _ in range(2)]
            before = told(runtime)

            async def both(sql: str, prepare: tuple[str, str] | None = None) -> list[Any]:
                for who, first in zip((ann, bob), prepare or (), strict=False):
                    await who.run(first)
                return [await ann.run(sql), await bob.run(sql)]

            one, two = await both("SELECT CONNECTION_ID(), 1")
            assert told(runtime) == before
            one, two = await both("SELECT @@sql_mode = ''", ("SET sql_mode = ''", "SET @x = 1"))
            assert one != two
            one, two = await both("SELECT @a", ("SET @a = 'ann'", "SET @a = 'bob'"))
            assert (one, two) == ([("ann",)], [("bob",)])
            assert told(runtime) == before
            # In a transaction nothing is told, and nothing is kept of what it sees.
            ask = f"SELECT COUNT(*) FROM {table}"
            await ann.run("BEGIN")
            await ann.run(f"INSERT INTO {table} VALUES (2)")
            assert await ann.value(ask) == "2"
            assert await bob.value(ask) == "1"
            assert await ann.value(ask) == "2"
            await ann.run("ROLLBACK")
            await ann.run("CREATE TEMPORARY TABLE test.qc_own (id INT)")
            assert await ann.run("SELECT id FROM test.qc_own") == []
            assert await bob.error("SELECT id FROM test.qc_own") == 1146
            await ann.run("DROP TEMPORARY TABLE test.qc_own")
            assert await ann.error("SELECT id FROM test.qc_own") == 1146
            # What left warnings is asked again.
            for _ in range(2):
                await bob.run("SELECT CAST('x' AS SIGNED)")
                assert len(await bob.run("SHOW WARNINGS")) == 1
            assert told(runtime) == before

    go(work())


def test_empty_results(tmp_path: Path, server: Server, table: str) -> None:
    ask = f"SELECT id FROM {table} WHERE id = 99"

    async def work() -> None:
        for keep, expected in ((0, 0), (1, 2)):
            async with cached(tmp_path, server, cache_empty_result=keep) as runtime:
                ann = await client(runtime)
                for _ in range(3):
                    assert await ann.run(ask) == []
                assert told(runtime) == expected

    go(work())


def test_one_asks_for_all(tmp_path: Path, server: Server, table: str) -> None:
    ask = f"SELECT id, SLEEP(0.3) FROM {table}"

    async def work() -> None:
        async with cached(tmp_path, server, cache_timeout=5000) as runtime:
            crowd: list[Client] = [await client(runtime) for _ in range(6)]
            answers = await asyncio.gather(*(each.run(ask) for each in crowd))
            assert answers == [[("1", "0")]] * 6
            counts = cache_counts(runtime.services)
            assert (counts.count_SET, counts.count_GET_OK) == (1, 5)

    go(work())


def test_what_was_refused_is_not_kept(tmp_path: Path, server: Server, table: str) -> None:
    """A statement that never ran must not be mistaken for the next one."""

    async def work() -> None:
        row = {"hostname": server.host, "port": server.port, "max_connections": 1}
        rule = {"rule_id": 1, "active": 1, "match_digest": "^SELECT", "cache_ttl": 60_000}
        options = {"connect_timeout_max_ms": 600, "connect_timeout_ms": 500}
        async with pooled(tmp_path, row, proxy=options) as runtime:
            swap_rules(runtime.services, RuleSet.compile([rule]))
            ann, bob = [await client(runtime) for _ in range(2)]
            await bob.run("BEGIN")
            assert await ann.error(f"SELECT COUNT(*) FROM {table}") == 9001
            await bob.run("COMMIT")
            await ann.run("SET @a = 5")
            await ann.run("DO 1")
            assert await ann.value("SELECT 7") == "7"
            assert await ann.value(f"SELECT COUNT(*) FROM {table}") == "1"

    go(work())


def test_workers_share_the_memory(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with cached(tmp_path, mariadb) as runtime:
            await (await client(runtime)).value("SELECT 1")
            results, shares = runtime.services.sharing.results, runtime.shares
            runtime.services.variables.update({"mysql-query_cache_size_MB": "8"})
            whole = results.most_bytes
            shares.workers = 4
            assert (whole, results.most_bytes) == (2 << 20, 1 << 19)

    go(work())
