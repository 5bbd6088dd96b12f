# SPDX-License-Identifier: Apache-2.0
"""Sessions of real clients go on in another worker as if nothing had been."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pytest

from hproxy.errors import HandoverError
from tests.integration.database import Side
from tests.support.handed import Pair, Scene, handover_of, perform
from tests.support.server import Server


@pytest.fixture
def play(tmp_path: Path, server: Server) -> Callable[[Scene], None]:
    return partial(perform, tmp_path, server)


def log_in(both: Pair, **more: Any) -> pymysql.Connection[Any]:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": both.old.listener.port, "user": "hproxy"}
    given |= {"password": "hproxy", "database": "test", "autocommit": True, "read_timeout": 20}
    given["ssl_disabled"] = True
    return pymysql.connect(**given | more)


def rows(client: pymysql.Connection[Any], sql: str) -> Any:
    with client.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_settings_and_variables(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        for sql in (
            "SET @n = 41, @s = 'ein Wört', @none = NULL, @d = CAST('12.50' AS DECIMAL(10,2))",
            "SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'",
            "SET time_zone = '+05:30', group_concat_max_len = 2048",
            "SET NAMES latin1",
            "USE information_schema",
        ):
            await both.ask(rows, client, sql)
        asked = (
            "SELECT @n + 1, HEX(@s), @none IS NULL, @d, @@sql_mode, @@time_zone, "
            "@@group_concat_max_len, @@character_set_client, @@character_set_results, "
            "@@collation_connection, DATABASE(), COLLATION(@s)"
        )
        before = await both.ask(rows, client, asked)
        number = both.the_one().id
        arrived = await both.move()
        assert arrived.id == number
        assert len(both.old.services.registry) == 0
        assert await both.ask(rows, client, asked) == before
        await both.ask(rows, client, "SET @n = 1")
        assert await both.ask(rows, client, "SELECT @n, DATABASE()") == ((1, "information_schema"),)
        await both.ask(client.close)

    play(scene)


def test_counts_and_ids(play: Callable[[Scene], None], server: Server) -> None:
    async def scene(both: Pair) -> None:
        with Side(server) as side, side.table("id INT AUTO_INCREMENT PRIMARY KEY, v INT") as table:
            client = await both.ask(log_in, both)
            await both.ask(rows, client, f"INSERT INTO {table} (v) VALUES (1), (2), (3)")
            await both.move()
            assert await both.ask(rows, client, "SELECT ROW_COUNT()") == ((3,),)
            assert await both.ask(rows, client, "SELECT LAST_INSERT_ID()") == ((1,),)
            await both.ask(client.close)

    play(scene)


def test_found_rows(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(
            rows, client, "SELECT SQL_CALC_FOUND_ROWS 1 FROM information_schema.tables LIMIT 1"
        )
        wanted = await both.ask(rows, client, "SELECT COUNT(*) FROM information_schema.tables")
        await both.ask(
            rows, client, "SELECT SQL_CALC_FOUND_ROWS 1 FROM information_schema.tables LIMIT 1"
        )
        await both.move()
        assert await both.ask(rows, client, "SELECT FOUND_ROWS()") == wanted
        await both.ask(client.close)

    play(scene)


def test_warnings(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "SELECT CAST('1x' AS SIGNED)")
        await both.move()
        ((level, number, text),) = await both.ask(rows, client, "SHOW WARNINGS")
        assert (level, number) == ("Warning", 1292)
        assert "1x" in text
        assert await both.ask(rows, client, "SHOW COUNT(*) WARNINGS") == ((1,),)
        await both.ask(client.close)

    play(scene)


def test_prepared_statements(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        def begin() -> Any:
            client = mysql.connector.connect(
                host="127.0.0.1", port=both.old.listener.port, user="hproxy", password="hproxy",
                database="test", use_pure=True, ssl_disabled=True,
            )  # fmt: skip
            first = client.cursor(prepared=True)
            second = client.cursor(prepared=True)
            first.execute("SELECT ? + 1, HEX(?)", (41, "abc"))
            found = first.fetchall()
            second.execute("SELECT CONCAT(?, 'x')", ("y",))
            second.fetchall()
            return client, first, second, found

        def again(first: Any, second: Any) -> Any:
            first.execute("SELECT ? + 1, HEX(?)", (41, "abc"))
            found = first.fetchall()
            second.execute("SELECT CONCAT(?, 'x')", ("z",))
            return found, second.fetchall()

        def another(client: Any) -> Any:
            third = client.cursor(prepared=True)
            third.execute("SELECT ?", (7,))
            return third.fetchall()

        client, first, second, before = await both.ask(begin)
        old = both.the_one().session.statements
        arrived = await both.move()
        new = arrived.session.statements
        assert (new.count, new.next_id) == (old.count, old.next_id)
        assert await both.ask(again, first, second) == (before, [("zx",)])
        assert await both.ask(another, client) == [(7,)]
        await both.ask(client.close)

    play(scene)


def test_text_statements(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "PREPARE p FROM 'SELECT ? * 2'")
        await both.move()
        await both.ask(rows, client, "SET @v = 21")
        assert await both.ask(rows, client, "EXECUTE p USING @v") == ((42,),)
        await both.ask(client.close)

    play(scene)


def test_compression(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        def begin() -> Any:
            return mysql.connector.connect(
                host="127.0.0.1", port=both.old.listener.port, user="hproxy", password="hproxy",
                use_pure=True, ssl_disabled=True, compress=True,
            )  # fmt: skip

        def ask(client: Any, sql: str) -> Any:
            with client.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()

        client = await both.ask(begin)
        leaving = both.the_one()
        assert leaving.session.client.compressed
        text = "x" * 5000
        assert await both.ask(ask, client, f"SELECT '{text}'") == [(text,)]
        arrived = await both.move()
        assert arrived.session.client.compressed
        for _ in range(2):
            assert await both.ask(ask, client, f"SELECT '{text}'") == [(text,)]
        await both.ask(client.close)

    play(scene)


def test_a_command_that_is_half_there(play: Callable[[Scene], None]) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        sql = b"SELECT 'the second half comes later'"
        frame = (len(sql) + 1).to_bytes(3, "little") + b"\0\x03" + sql
        leaving = both.the_one()
        before = leaving.session.client.bytes_in
        client._sock.sendall(frame[:20])
        await both.until(lambda: leaving.session.client.bytes_in == before + 20)
        await both.move()
        client._sock.sendall(frame[20:])

        def answer() -> Any:
            client._next_seq_id = 1
            client._affected_rows = client._read_query_result()
            return client._result.rows

        assert await both.ask(answer) == (("the second half comes later",),)
        await both.ask(client.close)

    play(scene)


def test_leaving_is_for_the_next_command(play: Callable[[Scene], None]) -> None:
    """A client that never rests is caught between two commands."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        caught = asyncio.Event()
        driver = both.old.driver
        driver.on_departure = lambda session: caught.set()  # type: ignore[attr-defined]

        def busy() -> int:
            for turn in range(2000):
                assert rows(client, f"SELECT {turn}") == ((turn,),)
            return turn

        work = asyncio.ensure_future(both.ask(busy))
        await asyncio.sleep(0.1)
        leaving = both.the_one()
        leaving.session.leaving = True
        await caught.wait()
        assert handover_of(both.old).why_not(leaving) is None
        await both.move(leaving)
        assert await work == 1999
        assert both.the_one(both.new).session.commands > 100
        await both.ask(client.close)

    play(scene)


def test_back_where_it_was(play: Callable[[Scene], None]) -> None:
    """The other side refuses: the session is put together again where it came from."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "SET @a = 7")
        both.new.services.registry.welcome(both.the_one().id, "127.0.0.1:1", both.new.log)
        here = handover_of(both.old)
        await both.at_rest(both.the_one())
        facts, fds = here.pack(both.the_one())
        with pytest.raises(HandoverError) as refused:
            await handover_of(both.new).unpack(facts, [os.dup(fd) for fd in fds])
        assert refused.value.full_code == "handover.id"
        both.new.services.registry.leave(both.the_one(both.new))
        here.begin(await here.unpack(facts, fds), facts)
        assert await both.ask(rows, client, "SELECT @a") == ((7,),)
        await both.ask(client.close)

    play(scene)
