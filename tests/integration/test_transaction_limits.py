# SPDX-License-Identifier: Apache-2.0
"""Transactions that last, or are silent, for too long: their locks are free again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.runtime import Runtime
from tests.integration.conftest import direct
from tests.support.pooled import Client, client, go, pooled
from tests.support.server import Server
from tests.support.worker import Journal

Work = Callable[[Runtime, Journal], Coroutine[Any, Any, None]]
LONG, IDLE = "mysql-max_transaction_time", "mysql-max_transaction_idle_time"
LIMIT_S = 1.0
LATE_S = 1.5
"""A quarter of the limit, and two busy cores."""


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"test.l_{secrets.token_hex(6)}"
    direct(
        server,
        f"CREATE TABLE {name} (a INT PRIMARY KEY, b INT)",
        f"INSERT INTO {name} VALUES (1, 0)",
    )
    yield name
    direct(server, f"DROP TABLE {name}")


def play(folder: Path, server: Server, work: Work, mode: str, **limits: str) -> None:
    async def all_of_it() -> None:
        journal = Journal()
        row = {"hostname": server.host, "port": server.port, "max_connections": 10}
        proxy = {"session_mode": mode}
        async with pooled(folder, row, journal=journal, proxy=proxy) as runtime:
            runtime.services.variables.update(limits)
            # The timer was set while the limits were those of a long day.
            runtime._limits.stop()
            runtime._limits.start()
            await work(runtime, journal)

    go(all_of_it(), 30.0)


async def lock(who: Client, table: str, value: int) -> None:
    await who.run(f"UPDATE {table} SET b = {value} WHERE a = 1")


@pytest.mark.parametrize("mode", ["multiplex", "session"])
def test_a_silent_transaction(tmp_path: Path, server: Server, table: str, mode: str) -> None:
    async def work(runtime: Runtime, journal: Journal) -> None:
        ann, bob, idle = [await client(runtime) for _ in range(3)]
        await idle.run("SELECT 1")
        await ann.run("BEGIN")
        await lock(ann, table, 1)
        began = monotonic()
        await lock(bob, table, 2)  # waits until ann's is rolled back
        assert LIMIT_S * 0.9 < monotonic() - began < LIMIT_S + LATE_S
        assert await ann.error("SELECT 1") == 1159
        (line,) = journal.told("idle in a transaction")
        assert line["code"] == "client.transaction_idle"
        assert runtime.services.counters.killed_connections == 1
        assert await bob.value(f"SELECT b FROM {table}") == "2"
        assert await idle.value("SELECT 1") == "1", "who is in no transaction may be silent"

    play(tmp_path, server, work, mode, **{IDLE: "1000"})


@pytest.mark.parametrize("mode", ["multiplex", "session"])
def test_a_long_transaction(tmp_path: Path, server: Server, table: str, mode: str) -> None:
    async def work(runtime: Runtime, journal: Journal) -> None:
        ann, bob, cat = [await client(runtime) for _ in range(3)]
        await ann.run("BEGIN")
        await lock(ann, table, 1)
        began = monotonic()
        busy = asyncio.ensure_future(ann.error("SELECT SLEEP(20)"))
        short = 0
        while not busy.done():
            # One short transaction after the other is not a long one.
            await cat.run("BEGIN")
            await cat.run(f"SELECT * FROM {table}")
            await cat.run("COMMIT")
            short += 1
            await asyncio.sleep(0.01)
            assert monotonic() - began < LIMIT_S + LATE_S
        assert await busy == 1317
        await lock(bob, table, 2)
        assert short > 10
        (line,) = journal.told("transaction too long")
        assert line["state"] == "response"
        assert await cat.value("SELECT 1") == "1"

    play(tmp_path, server, work, mode, **{LONG: "1000"})
