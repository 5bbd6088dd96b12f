# SPDX-License-Identifier: Apache-2.0
"""asyncmy through the proxy: many coroutines, streamed results, errors."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncmy
import asyncmy.cursors
import asyncmy.errors
import pytest

from tests.integration.route import Route

TIMEOUT_S = 30
WORKERS = 20


def test_many_at_once(route: Route, database: str) -> None:
    async def work(number: int) -> list[int]:
        connection = await asyncmy.connect(**route.options(database=database))
        async with connection, connection.cursor() as cursor:
            found = []
            for i in range(20):
                text = f"{number}-{i} grüße 🐘"
                await cursor.execute("INSERT INTO t (who, v) VALUES (%s, %s)", (number, text))
                await cursor.execute("SELECT v FROM t WHERE who = %s ORDER BY id DESC", (number,))
                assert (await cursor.fetchone())[0] == text
                found.append(i)
            await connection.commit()
            return found

    async def all_of_them() -> None:
        connection = await asyncmy.connect(**route.options(database=database))
        async with connection, connection.cursor() as cursor:
            await cursor.execute(
                "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, who INT, "
                "v VARCHAR(50) CHARACTER SET utf8mb4, KEY (who))"
            )
            await asyncio.gather(*(work(number) for number in range(WORKERS)))
            await cursor.execute("SELECT COUNT(*), COUNT(DISTINCT who) FROM t")
            assert await cursor.fetchone() == (WORKERS * 20, WORKERS)

    run(all_of_them())


def test_streaming_and_errors(route: Route, database: str) -> None:
    async def talk() -> None:
        connection = await asyncmy.connect(**route.options(database=database))
        async with connection:
            async with connection.cursor(asyncmy.cursors.SSCursor) as cursor:
                await cursor.execute(
                    "SELECT REPEAT('x', 5000) FROM information_schema.columns LIMIT 1000"
                )
                assert len((await cursor.fetchone())[0]) == 5000
            async with connection.cursor() as cursor:
                with pytest.raises(asyncmy.errors.ProgrammingError) as failure:
                    await cursor.execute("SELECT * FROM no_such_table")
                assert failure.value.args[0] == 1146
                await cursor.execute("SELECT %s, NULL, %s", (5, b"\x00\xff"))
                assert await cursor.fetchone() in [(5, None, b"\x00\xff")]
            await connection.ping()

    run(talk())


def test_pool(route: Route) -> None:
    async def talk() -> None:
        pool = await asyncmy.create_pool(**route.options(minsize=2, maxsize=5))

        async def one(number: int) -> int:
            async with pool.acquire() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT %s", (number,))
                (found,) = await cursor.fetchone()
                return int(found)

        assert await asyncio.gather(*(one(n) for n in range(50))) == list(range(50))
        pool.close()
        await pool.wait_closed()

    run(talk())


def run(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, TIMEOUT_S))
