# SPDX-License-Identifier: Apache-2.0
"""Sessions that their backend connection is a part of go on in another worker with it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pytest

from hproxy.errors import HandoverError
from hproxy.session.pins import pin_rows
from tests.integration.database import Side
from tests.integration.test_handover import log_in, rows
from tests.support.handed import Pair, Scene, handover_of, perform
from tests.support.server import Server


@pytest.fixture
def play(tmp_path: Path, server: Server) -> Callable[[Scene], None]:
    return partial(perform, tmp_path, server)


def open_at(runtime: Any) -> int:
    """Connections that its ledger of servers counts."""
    return sum(server.opened for server in runtime.services.sharing.pools.servers.values())


def reasons(runtime: Any) -> dict[str, tuple[bytes, str]]:
    """Why its sessions are pinned, by which statement, where."""
    rows = pin_rows(runtime.services)
    return {row["reason"]: (row["statement"], row["backend"]) for row in rows}


def used_at(runtime: Any) -> int:
    return sum(server.used for server in runtime.services.sharing.pools.servers.values())


def send(client: Any, payload: bytes) -> None:
    """A command as it is, whose answer is to be read."""
    client._sock.sendall(len(payload).to_bytes(3, "little") + b"\0" + payload)
    client._next_seq_id = 1


def read(client: Any, count: int) -> list[bytes]:
    """So many packets of the answer."""
    found = []
    for _ in range(count):
        size = int.from_bytes(client._rfile.read(3), "little")
        client._rfile.read(1)
        found.append(client._rfile.read(size))
    return found


@pytest.mark.parametrize(
    ("begin", "check", "wanted", "end", "why"),
    [
        (
            ("CREATE TEMPORARY TABLE kept (a INT)", "INSERT INTO kept VALUES (7)"),
            "SELECT a FROM kept",
            ((7,),),
            "DROP TEMPORARY TABLE kept",
            "TEMP_TABLE",
        ),
        (
            ("SELECT GET_LOCK('kept', 1)",),
            "SELECT IS_USED_LOCK('kept') IS NOT NULL",
            ((1,),),
            "SELECT RELEASE_LOCK('kept')",
            "USER_LOCK",
        ),
        (
            ("BEGIN", "SET @in = 5"),
            "SELECT @in",
            ((5,),),
            "COMMIT",
            "TRANSACTION",
        ),
        (
            ("LOCK TABLES mysql.db READ",),
            "SELECT COUNT(*) >= 0 FROM mysql.db",
            ((1,),),
            "UNLOCK TABLES",
            "TABLE_LOCK",
        ),
    ],
)
def test_it_takes_its_connection_along(
    play: Callable[[Scene], None],
    begin: tuple[str, ...],
    check: str,
    wanted: Any,
    end: str,
    why: str,
) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        for sql in begin:
            await both.ask(rows, client, sql)
        await both.at_rest(both.the_one())
        before = reasons(both.old)
        assert why in before
        _, login = both.the_one().where()
        opened = open_at(both.old)
        arrived = await both.move()
        assert open_at(both.old) == opened - 1
        assert (used_at(both.old), used_at(both.new)) == (0, 1)
        assert reasons(both.new) == before
        assert arrived.where()[1].backend_id == login.backend_id  # type: ignore[union-attr]
        assert await both.ask(rows, client, check) == wanted
        await both.ask(rows, client, end)
        await both.until(lambda: not pin_rows(both.new.services))
        await both.until(lambda: used_at(both.new) == 0)
        assert await both.ask(rows, client, "SELECT 1") == ((1,),)
        await both.ask(client.close)

    play(scene)


def test_an_open_transaction(play: Callable[[Scene], None], server: Server) -> None:
    async def scene(both: Pair) -> None:
        with Side(server) as side, side.table("id INT PRIMARY KEY, v INT") as table:
            client = await both.ask(log_in, both)
            await both.ask(rows, client, "BEGIN")
            await both.ask(rows, client, f"INSERT INTO {table} VALUES (1, 1)")
            await both.move()
            assert side.run(f"SELECT COUNT(*) FROM {table}") == ((0,),)
            await both.ask(rows, client, f"INSERT INTO {table} VALUES (2, 2)")
            await both.ask(rows, client, "ROLLBACK")
            assert side.run(f"SELECT COUNT(*) FROM {table}") == ((0,),)
            await both.ask(client.begin)
            await both.ask(rows, client, f"INSERT INTO {table} VALUES (3, 3)")
            await both.ask(client.commit)
            assert side.run(f"SELECT id FROM {table}") == ((3,),)
            await both.ask(client.close)

    play(scene)


def test_prepared_there(play: Callable[[Scene], None]) -> None:
    """Statements of its own are found there, those of others are forgotten there."""

    async def scene(both: Pair) -> None:
        def begin() -> Any:
            return mysql.connector.connect(
                host="127.0.0.1", port=both.old.listener.port, user="hproxy", password="hproxy",
                database="test", use_pure=True, ssl_disabled=True, autocommit=True,
            )  # fmt: skip

        def prepared(client: Any) -> Any:
            return client.cursor(prepared=True)

        def run(client: Any, cursor: Any, sql: str, *values: Any) -> Any:
            cursor.execute(sql, values)
            return cursor.fetchall()

        def prepared_on_server(client: Any) -> int:
            with client.cursor() as cursor:
                cursor.execute("SHOW SESSION STATUS LIKE 'Com_stmt_prepare'")
                return int(cursor.fetchall()[0][1])

        other = await both.ask(begin)
        cursor = await both.ask(prepared, other)
        assert await both.ask(run, other, cursor, "SELECT ? + 2", 1) == [(3,)]
        mine = await both.ask(begin)
        first = await both.ask(prepared, mine)
        assert await both.ask(run, mine, first, "SELECT ? + 1", 1) == [(2,)]
        await both.ask(mine.start_transaction)
        assert await both.ask(run, mine, first, "SELECT ? + 1", 2) == [(3,)]
        leaving = next(each for each in both.old.services.registry if each.session.held is not None)
        count = len(leaving.session.held.statements)
        before = await both.ask(prepared_on_server, mine)
        arrived = await both.move(leaving)
        assert count >= len(arrived.session.held.statements) >= 1
        assert await both.ask(run, mine, first, "SELECT ? + 1", 3) == [(4,)]
        assert await both.ask(prepared_on_server, mine) == before
        await both.ask(mine.rollback)
        await both.ask(mine.close)
        await both.ask(other.close)

    play(scene)


def test_an_open_cursor(play: Callable[[Scene], None]) -> None:
    """Rows that were not fetched yet are fetched after it has moved."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "SET @a = 1")

        command, packets = partial(send, client), partial(read, client)

        def opened() -> None:
            command(b"\x16SELECT 1 UNION SELECT 2 UNION SELECT 3")
            packets(3)  # its head, a column, EOF
            command(b"\x17\1\0\0\0\1\1\0\0\0")  # with a read-only cursor
            head = packets(3)
            assert head[-1][0] == 0xFE

        def fetch(count: int) -> list[bytes]:
            command(b"\x1c\1\0\0\0" + count.to_bytes(4, "little"))
            return packets(count)

        await both.ask(opened)
        await both.ask(fetch, 1)
        await both.ask(packets, 1)
        assert [row["reason"] for row in pin_rows(both.old.services)] == ["OPEN_CURSOR"]
        await both.move()
        assert [row["reason"] for row in pin_rows(both.new.services)] == ["OPEN_CURSOR"]
        fetched = await both.ask(fetch, 2)
        assert [int.from_bytes(row[2:], "little") for row in fetched] == [2, 3]
        await both.ask(packets, 1)
        assert await both.ask(rows, client, "SELECT @a") == ((1,),)
        await both.ask(client.close)

    play(scene)


def reasons_at(runtime: Any) -> list[str]:
    return [row["reason"] for row in pin_rows(runtime.services)]


def test_an_open_handler(play: Callable[[Scene], None], server: Server) -> None:
    """HANDLER goes on where it was in its table."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        with Side(server) as side, side.table("a INT PRIMARY KEY") as table:
            side.run(f"INSERT INTO {table} VALUES (1), (2), (3)")
            await both.ask(rows, client, f"HANDLER test.{table} OPEN AS h")
            assert await both.ask(rows, client, "HANDLER h READ `PRIMARY` FIRST") == ((1,),)
            assert reasons_at(both.old) == ["HANDLER"]
            await both.move()
            assert reasons_at(both.new) == ["HANDLER"]
            assert await both.ask(rows, client, "HANDLER h READ `PRIMARY` NEXT") == ((2,),)
            await both.ask(rows, client, "HANDLER h CLOSE")
            await both.until(lambda: used_at(both.new) == 0)
        await both.ask(client.close)

    play(scene)


def test_an_xa_transaction(play: Callable[[Scene], None], server: Server) -> None:
    """It is ended, prepared and committed in the new worker."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        with Side(server) as side, side.table("a INT") as table:
            await both.ask(rows, client, "XA START 'moves'")
            await both.ask(rows, client, f"INSERT INTO test.{table} VALUES (7)")
            assert "XA" in reasons_at(both.old)
            before = reasons(both.old)
            await both.move()
            assert reasons(both.new) == before
            for sql in ("XA END 'moves'", "XA PREPARE 'moves'", "XA COMMIT 'moves'"):
                await both.ask(rows, client, sql)
            assert side.run(f"SELECT a FROM {table}") == ((7,),)
            await both.until(lambda: not pin_rows(both.new.services))
        await both.ask(client.close)

    play(scene)


def test_long_data_that_was_sent(play: Callable[[Scene], None]) -> None:
    """A value that came in pieces, some before and some after it has moved, is one value."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)

        command, packets = partial(send, client), partial(read, client)

        def prepared() -> None:
            command(b"\x16SELECT ?")
            packets(5)  # its head, a parameter, EOF, a column, EOF

        def executed() -> bytes:
            command(b"\x17\1\0\0\0\0\1\0\0\0" + b"\0\1\xfd\0")
            return packets(5)[3]  # head, column, EOF, row, EOF

        await both.ask(prepared)
        await both.ask(command, b"\x18\1\0\0\0\0\0" + b"before ")
        await both.until(lambda: reasons_at(both.old) == ["LONG_DATA"])
        await both.move()
        assert reasons_at(both.new) == ["LONG_DATA"]
        await both.ask(command, b"\x18\1\0\0\0\0\0" + b"and after")
        assert (await both.ask(executed)).endswith(b"before and after")
        await both.until(lambda: not pin_rows(both.new.services))
        await both.ask(client.close)

    play(scene)


def test_a_compressed_connection(tmp_path: Path, server: Server) -> None:
    """The connection to the server goes on compressed."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "CREATE TEMPORARY TABLE kept (a LONGTEXT)")
        await both.ask(rows, client, "INSERT INTO kept VALUES (REPEAT('x', 100000))")
        used = "SHOW SESSION STATUS LIKE 'Compression'"
        assert (await both.ask(rows, client, used))[0][1] == "ON"
        await both.move()
        assert (await both.ask(rows, client, used))[0][1] == "ON"
        assert await both.ask(rows, client, "SELECT a FROM kept") == (("x" * 100000,),)
        await both.ask(client.close)

    perform(tmp_path, server, scene, columns="compression = true")


def test_nobody_can_take_its_place_on_the_way(play: Callable[[Scene], None]) -> None:
    """The server's limit holds over both: the connection counts here until it counts there."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "SELECT GET_LOCK('place', 1)")
        (server,) = both.old.services.sharing.pools.servers.values()
        row = server.row
        assert row is not None
        before = row.taken
        here = handover_of(both.old)
        await both.at_rest(both.the_one())
        facts, fds = here.pack(both.the_one())
        assert row.taken == before
        assert not row.take(before)  # what another worker would do
        arrived = await handover_of(both.new).unpack(facts, [os.dup(fd) for fd in fds])
        assert row.taken > before
        here.parted(facts)
        there = sum(s.opened for s in both.new.services.sharing.pools.servers.values())
        assert row.taken == server.opened + there
        for fd in fds:
            os.close(fd)
        handover_of(both.new).begin(arrived, facts)
        assert await both.ask(rows, client, "SELECT RELEASE_LOCK('place')") == ((1,),)
        await both.ask(client.close)

    play(scene)


def test_back_where_it_was(play: Callable[[Scene], None]) -> None:
    """The other side refuses, or it does not begin there: nothing is lost, all is counted once."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "CREATE TEMPORARY TABLE kept (a INT)")
        opened = open_at(both.old)
        here, there = handover_of(both.old), handover_of(both.new)
        await both.at_rest(both.the_one())
        facts, fds = here.pack(both.the_one())
        facts = json.loads(json.dumps(facts))
        assert (open_at(both.old), used_at(both.old)) == (opened, 0)  # its place is kept
        # It is refused.
        elsewhere = {**facts, "there": {**facts["there"], "address": ["127.0.0.9", 1, None]}}
        with pytest.raises(HandoverError) as refused:
            await there.unpack(elsewhere, [os.dup(fd) for fd in fds])
        assert refused.value.full_code == "handover.servers"
        senseless: tuple[dict[str, Any], ...] = (
            {"native": {}},
            {"tether": {}},
            {"prepared": [[9, 1, None, None, 0, 0]]},
        )
        for spoilt in senseless:
            with pytest.raises(HandoverError) as refused:
                await there.unpack(
                    {**facts, "there": {**facts["there"], **spoilt}}, [os.dup(fd) for fd in fds]
                )
            assert refused.value.full_code == "handover.facts"
        assert used_at(both.new) == 0
        assert len(both.new.services.registry) == 0
        # It arrives, and does not begin.
        before = open_at(both.new)
        arrived = await there.unpack(facts, [os.dup(fd) for fd in fds])
        assert (open_at(both.new), used_at(both.new)) == (before + 1, 1)
        there.drop(arrived)
        assert (open_at(both.new), used_at(both.new)) == (before, 0)
        returned = await here.unpack(facts, fds)
        here.parted(facts)
        here.begin(returned, facts)
        assert (open_at(both.old), used_at(both.old)) == (opened, 1)
        assert await both.ask(rows, client, "SELECT COUNT(*) FROM kept") == ((0,),)
        await both.ask(client.close)
        await both.until(lambda: used_at(both.old) == 0)

    play(scene)


def test_kill_reaches_its_statement(play: Callable[[Scene], None]) -> None:
    """KILL QUERY of the id the client has always had ends what runs on the connection it kept."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "CREATE TEMPORARY TABLE kept (a INT)")
        arrived = await both.move()
        assert arrived.id == client.thread_id()

        def slow() -> Any:
            try:
                return rows(client, "SELECT SLEEP(20)")
            except pymysql.MySQLError as error:
                return error.args[0]

        def kill() -> None:
            killer = pymysql.connect(
                host="127.0.0.1", port=both.new.listener.port, user="hproxy", password="hproxy",
                ssl_disabled=True,
            )  # fmt: skip
            with killer:
                rows(killer, f"KILL QUERY {client.thread_id()}")

        sleeping = asyncio.ensure_future(both.ask(slow))
        await both.until(lambda: arrived.session.state == "response")
        await both.ask(kill)
        assert await sleeping in (1317, ((1,),))
        assert await both.ask(rows, client, "SELECT COUNT(*) FROM kept") == ((0,),)
        await both.ask(client.close)

    play(scene)
