# SPDX-License-Identifier: Apache-2.0
"""Sessions outlive the backend they were on: taken out by the operator, or lost.

two gateways to one server count as two backends; `first` has nearly all the weight
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.runtime import Runtime
from tests.integration.conftest import direct
from tests.integration.database import Side
from tests.support.gateway import Gateway
from tests.support.pooled import Client, ServerError, client, clients, go, pooled, until
from tests.support.server import Server
from tests.support.worker import Journal

FAVOURED = 1_000_000


@dataclass
class Pair:
    """Two backends and the worker in front of them."""

    first: Gateway
    second: Gateway
    runtime: Runtime
    journal: Journal

    def set(self, gateway: Gateway, status: str) -> None:
        assert self.runtime.port.set_status(None, gateway.address, status) == 1

    async def leaves(self, gateway: Gateway) -> None:
        await until(lambda: gateway.open == 0, "nothing is left there")


@asynccontextmanager
async def pair(folder: Path, server: Server, **sections: Any) -> AsyncIterator[Pair]:
    journal = Journal()
    async with Gateway(server) as first, Gateway(server) as second:
        rows = (first.row | {"weight": FAVOURED}, second.row)
        async with pooled(folder, *rows, journal=journal, **sections) as runtime:
            yield Pair(first, second, runtime, journal)


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"test.j_{secrets.token_hex(6)}"
    direct(server, f"CREATE TABLE {name} (a INT PRIMARY KEY, b INT)")
    yield name
    direct(server, f"DROP TABLE {name}")


def moving(
    folder: Path, server: Server, work: Callable[[Pair], Coroutine[Any, Any, None]], **sections: Any
) -> None:
    async def all_of_it() -> None:
        async with pair(folder, server, **sections) as both:
            await work(both)

    go(all_of_it())


# -- OFFLINE_SOFT -------------------------------------------------------------


def test_an_idle_session_takes_its_state_along(tmp_path: Path, server: Server) -> None:
    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run("USE test")
        await session.run("SET @a = 7, @b = 'x', SESSION sql_mode = 'ANSI', time_zone = '+03:00'")
        await session.run("SET NAMES latin1 COLLATE latin1_german1_ci")
        statement = await session.prepare("SELECT ? + @a")
        asked = (
            "SELECT DATABASE(), @a, @b, @@sql_mode, @@time_zone, @@collation_connection, "
            "@@character_set_client"
        )
        before = await session.run(asked)
        answer = await session.execute(statement, 3)
        both.set(both.first, "OFFLINE_SOFT")
        await both.leaves(both.first)
        assert await session.run(asked) == before
        assert await session.execute(statement, 3) == answer
        assert both.second.open > 0
        assert both.first.open == 0
        assert both.journal.loud == []

    moving(tmp_path, server, work)


def test_a_transaction_ends_where_it_began(tmp_path: Path, server: Server, table: str) -> None:
    async def work(both: Pair) -> None:
        session, other = await clients(both.runtime, 2)
        await session.run("BEGIN")
        await session.run(f"INSERT INTO {table} VALUES (1, 1)")
        here = await session.value("SELECT CONNECTION_ID()")
        both.set(both.first, "OFFLINE_SOFT")
        assert await other.value("SELECT 1") == "1"  # elsewhere
        await session.run("SAVEPOINT s")
        await session.run(f"INSERT INTO {table} VALUES (2, 2)")
        assert await session.value("SELECT CONNECTION_ID()") == here
        assert both.first.open == 1
        await session.run("COMMIT")
        await both.leaves(both.first)
        assert await session.value(f"SELECT COUNT(*) FROM {table}") == "2"
        assert await session.value("SELECT CONNECTION_ID()") != here

    moving(tmp_path, server, work)


@pytest.mark.parametrize("lane", [True, False], ids=["fast lane", "slow lane"])
@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION READ WRITE"])
def test_begin_in_a_transaction_begins_elsewhere(
    tmp_path: Path, server: Server, table: str, lane: bool, begin: str
) -> None:
    """It commits the open one, as on one server: who begins anew after each error would stay for
    ever where writes are refused by now."""

    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run(f"ALTER TABLE {table} MODIFY a INT AUTO_INCREMENT")
        await session.run("BEGIN")
        await session.run(f"INSERT INTO {table} (b) VALUES (5)")
        here = await session.value("SELECT CONNECTION_ID()")
        both.set(both.first, "OFFLINE_SOFT")
        assert await session.error(f"INSERT INTO {table} VALUES (1, 1)") == 1062
        await session.run(begin)
        await both.leaves(both.first)
        kept = [code for _, code, _ in await session.run("SHOW WARNINGS")]
        assert kept == (["1062"] if server.name == "mariadb" else [])
        assert await session.value("SELECT LAST_INSERT_ID()") == "1"
        assert await session.value("SELECT CONNECTION_ID()") != here
        await session.run(f"INSERT INTO {table} VALUES (2, 2)")
        await session.run("ROLLBACK")
        assert await session.run(f"SELECT a, b FROM {table}") == [("1", "5")]
        assert both.journal.loud == []

    moving(tmp_path, server, work, proxy={"fast_lane": lane})


def test_a_prepared_begin_begins_elsewhere(tmp_path: Path, server: Server, table: str) -> None:
    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        if server.name == "mysql":
            assert await session.error("PREPARE p FROM 'START TRANSACTION'") == 1295
            return
        begin = await session.prepare("START TRANSACTION")
        await session.execute(begin)
        await session.run(f"INSERT INTO {table} VALUES (0, 1)")
        both.set(both.first, "OFFLINE_SOFT")
        await session.execute(begin)
        await both.leaves(both.first)
        await session.run(f"INSERT INTO {table} VALUES (1, 1)")
        await session.run("ROLLBACK")
        assert await session.run(f"SELECT a FROM {table}") == [("0",)]

    moving(tmp_path, server, work)


def test_begin_stays_where_more_than_a_transaction_is(
    tmp_path: Path, server: Server, table: str
) -> None:
    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run("SELECT GET_LOCK('here', 0)")
        await session.run("BEGIN")
        here = await session.value("SELECT CONNECTION_ID()")
        both.set(both.first, "OFFLINE_SOFT")
        await session.run("BEGIN")
        assert await session.value("SELECT CONNECTION_ID()") == here
        assert await session.value("SELECT RELEASE_LOCK('here')") == "1"
        await session.run("BEGIN")
        await both.leaves(both.first)

    moving(tmp_path, server, work)


def test_a_transaction_that_was_lost_is_told_to_begin(
    tmp_path: Path, server: Server, table: str
) -> None:
    """Not committed, and its server gone: the next one does not begin as if it had been."""

    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run("BEGIN")
        await session.run(f"INSERT INTO {table} VALUES (1, 1)")
        both.set(both.first, "OFFLINE_SOFT")
        both.first.close()
        assert await session.error("BEGIN") == 2013
        await session.run("BEGIN")
        assert await session.value(f"SELECT COUNT(*) FROM {table}") == "0"

    moving(tmp_path, server, work)


def test_a_temporary_table_holds_its_session(tmp_path: Path, server: Server) -> None:
    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run("CREATE TEMPORARY TABLE test.j_temporary (a INT)")
        await session.run("INSERT INTO test.j_temporary VALUES (5)")
        both.set(both.first, "OFFLINE_SOFT")
        assert await session.value("SELECT a FROM test.j_temporary") == "5"
        assert both.first.open == 1
        await session.run("DROP TEMPORARY TABLE test.j_temporary")
        await both.leaves(both.first)
        assert await session.value("SELECT 6") == "6"

    moving(tmp_path, server, work)


def test_warnings_do_not_hold_a_session(tmp_path: Path, server: Server) -> None:
    """Who may still ask for them is told, and the backend is free at once."""

    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run("SELECT 1 / 0, CAST('x' AS UNSIGNED)")
        both.set(both.first, "OFFLINE_SOFT")
        await both.leaves(both.first)
        rows = await session.run("SHOW WARNINGS")
        assert [code for _, code, _ in rows] == ["1365", "1292"]

    moving(tmp_path, server, work)


@pytest.mark.parametrize("status", ["OFFLINE_SOFT", "OFFLINE_HARD"])
def test_readers_never_notice(tmp_path: Path, server: Server, status: str) -> None:
    """Backends come and go, soft or hard, while sessions that only read go on and on."""

    async def work(both: Pair) -> None:
        sessions = await clients(both.runtime, 20)
        statements = [await session.prepare("SELECT ? + 1") for session in sessions]
        for number, session in enumerate(sessions):
            await session.run(f"SET @me = {number}")
        stop = False

        async def ask(number: int, session: Client) -> int:
            asked = 0
            while not stop:
                assert await session.value("SELECT @me") == str(number)
                [packet] = await session.execute(statements[number], number)
                assert packet.endswith((number + 1).to_bytes(8, "little"))
                asked += 1
            return asked

        load = asyncio.gather(*(ask(n, session) for n, session in enumerate(sessions)))
        for _ in range(6):
            for gateway in (both.first, both.second):
                both.set(gateway, status)
                await both.leaves(gateway)
                both.set(gateway, "ONLINE")
                await asyncio.sleep(0.05)
        stop = True
        assert min(await load) > 0

    moving(tmp_path, server, work, proxy={"query_retries_on_failure": 3})


def test_back_online_it_gets_its_part(tmp_path: Path, server: Server) -> None:
    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        both.set(both.first, "OFFLINE_SOFT")
        await both.leaves(both.first)
        await session.run("SELECT 1")
        both.set(both.first, "ONLINE")
        both.set(both.second, "OFFLINE_SOFT")
        assert await session.value("SELECT 2") == "2"
        await both.leaves(both.second)
        assert both.first.open == 1

    moving(tmp_path, server, work)


# -- OFFLINE_HARD -------------------------------------------------------------


def test_a_transaction_is_cut(tmp_path: Path, server: Server, table: str) -> None:
    """Its client hears of it once, and has a session like before it began."""

    async def work(both: Pair) -> None:
        session = await client(both.runtime)
        await session.run("SET @kept = 3")
        await session.run("BEGIN")
        await session.run(f"INSERT INTO {table} VALUES (1, 1)")
        both.set(both.first, "OFFLINE_HARD")
        await both.leaves(both.first)
        assert await session.error(f"INSERT INTO {table} VALUES (2, 2)") == 2013
        assert await session.value("SELECT @kept") == "3"
        assert not session.status & 1  # in no transaction
        await session.run(f"INSERT INTO {table} VALUES (3, 3)")
        assert await session.run(f"SELECT a FROM {table}") == [("3",)]

    moving(tmp_path, server, work)


def test_what_runs_is_cut(tmp_path: Path, server: Server, table: str) -> None:
    """A read goes on elsewhere, a write is told and not repeated."""

    async def work(both: Pair) -> None:
        reader, writer, bound = await clients(both.runtime, 3)
        await bound.run("BEGIN")
        await bound.run(f"INSERT INTO {table} VALUES (1, 1)")
        await reader.send("SELECT SLEEP(1), 'read cut'")
        await writer.send(f"INSERT INTO {table} SELECT 2, SLEEP(1) /* write cut */")
        await bound.send("SELECT SLEEP(1) /* bound cut */")
        with Side(server) as side:
            await until(lambda: len(side.threads(" cut")) == 3, "all run")
        both.set(both.first, "OFFLINE_HARD")
        assert await reader.read() == [("0", "read cut")]
        for session in (writer, bound):
            with pytest.raises(ServerError) as cut:
                await session.read()
            assert cut.value.number == 2013
        for session in (reader, writer, bound):
            assert await session.value("SELECT 8") == "8"
        # The server may have finished what it had begun; twice it was not done.
        assert int(str(await reader.value(f"SELECT COUNT(*) FROM {table} WHERE a = 2"))) <= 1
        assert await reader.value(f"SELECT COUNT(*) FROM {table} WHERE a = 1") == "0"

    moving(tmp_path, server, work)


# -- lost ---------------------------------------------------------------------


def test_one_is_lost(tmp_path: Path, server: Server) -> None:
    async def work(both: Pair) -> None:
        sessions = await clients(both.runtime, 10)
        for number, session in enumerate(sessions):
            await session.run(f"SET @me = {number}")
        both.first.close()
        begun = monotonic()
        answers = await asyncio.gather(*(s.value("SELECT @me") for s in sessions))
        assert answers == [str(number) for number in range(10)]
        assert monotonic() - begun < 3.0
        assert both.second.open > 0

    moving(tmp_path, server, work)


def test_all_are_lost_and_come_back(tmp_path: Path, server: Server, table: str) -> None:
    async def work(both: Pair) -> None:
        sessions = await clients(both.runtime, 8)
        for number, session in enumerate(sessions):
            await session.run(f"SET @me = {number}")
        bound = await client(both.runtime)
        await bound.run("BEGIN")
        await bound.run(f"INSERT INTO {table} VALUES (1, 1)")
        both.first.close()
        both.second.close()
        await both.leaves(both.first)
        for session in sessions:
            await session.send("SELECT @me")
        assert await bound.error("SELECT 1") == 2013
        tried = both.second.attempts
        await until(lambda: both.second.attempts >= tried + 2, "it is tried again and again")
        both.second.reopen()
        begun = monotonic()
        for number, session in enumerate(sessions):
            assert await session.read() == [(str(number),)]
        assert monotonic() - begun < 2.0
        assert await bound.value(f"SELECT COUNT(*) FROM {table}") == "0"

    moving(tmp_path, server, work)


def test_all_are_offline(tmp_path: Path, mariadb: Server) -> None:
    """Sessions wait for an operator as long as for a connection, no longer."""

    async def work(both: Pair) -> None:
        session, other = await clients(both.runtime, 2)
        await session.run("SET @a = 1")
        both.set(both.first, "OFFLINE_SOFT")
        both.set(both.second, "OFFLINE_HARD")
        assert await session.error("SELECT 1") == 9001
        await other.send("SELECT 2")
        await asyncio.sleep(0.2)
        assert both.first.open + both.second.open == 0
        both.set(both.second, "ONLINE")
        assert await other.read() == [("2",)]
        assert await session.value("SELECT @a") == "1"

    options = {"connect_timeout_max_ms": 1000, "connect_timeout_ms": 900}
    moving(tmp_path, mariadb, work, proxy=options)
