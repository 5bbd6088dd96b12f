# SPDX-License-Identifier: Apache-2.0
"""Sessions that share connections when something breaks: what is repeated unseen, what is told,
and that nothing of one session is ever left for the next.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.errors import BackendLost
from hproxy.runtime import Runtime
from tests.integration.conftest import direct
from tests.support.gateway import Gateway
from tests.support.pooled import Client, ServerError, client, clients, go, pooled, row, until
from tests.support.process import resident_kib
from tests.support.server import Server
from tests.support.worker import Journal

Work = Callable[[Gateway, Runtime, Journal], Coroutine[Any, Any, None]]


def faulty(
    folder: Path, server: Server, work: Work, limit: int = 1000, within_s: float = 60.0,
    **sections: Any,
) -> None:  # fmt: skip
    """Run `work` with a worker before a gateway before `server`."""

    async def all_of_it() -> None:
        journal = Journal()
        async with Gateway(server) as gateway:
            backend = gateway.row | {"max_connections": limit}
            async with pooled(folder, backend, journal=journal, **sections) as runtime:
                await work(gateway, runtime, journal)

    go(all_of_it(), within_s)


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"test.j_{secrets.token_hex(6)}"
    direct(server, f"CREATE TABLE {name} (a INT PRIMARY KEY AUTO_INCREMENT, b INT)")
    yield name
    direct(server, f"DROP TABLE {name}")


async def gone(runtime: Runtime, left: int = 0) -> None:
    """All clients but `left` have left, and what they held is settled."""
    await until(lambda: len(runtime.services.registry) == left, "the client is gone")
    await until(lambda: row(runtime)["used"] == 0, "what it held is given back or closed")


def kill(server: Server, *numbers: str | None) -> None:
    direct(server, *(f"KILL {number}" for number in numbers))


async def while_running(server: Server, marker: str) -> str:
    """The id of the connection that runs a statement with `marker` in it."""
    for _ in range(500):
        rows = direct(
            server,
            "SELECT id FROM information_schema.processlist "
            f"WHERE info LIKE '%{marker}%' AND info NOT LIKE '%processlist%'",
        )
        if rows:
            return str(rows[0][0])
        await asyncio.sleep(0.01)
    raise AssertionError(f"{marker} does not run")


# -- found before use ---------------------------------------------------------


def test_server_closes_idle_connections(tmp_path: Path, server: Server) -> None:
    """wait_timeout: what the server ends while nobody uses it, nobody notices."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session = await client(runtime)
        await session.run("SET @a = 4")
        statement = await session.prepare("SELECT @a + ?")
        for _ in range(2):
            await session.run("SELECT 1")
            await until(lambda: gateway.open == 0, "the server ends it")
            assert [row.endswith(b"\x05") or row for row in await session.execute(statement, 1)]
            assert await session.value("SELECT @a") == "4"
        assert journal.loud == []

    attributes = [{"hostgroup_id": 0, "init_connect": "SET SESSION wait_timeout = 1"}]
    faulty(tmp_path, server, work, mysql_hostgroup_attributes=attributes)


def test_idle_connections_are_killed(tmp_path: Path, server: Server, table: str) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        sessions = await clients(runtime, 4)
        for session in sessions:
            await session.run("BEGIN")
        ids = [await session.value("SELECT CONNECTION_ID()") for session in sessions]
        for session in sessions:
            await session.run("COMMIT")
        kill(server, *ids)
        await until(lambda: gateway.open == 0, "all are gone")
        for number, session in enumerate(sessions):
            await session.run(f"INSERT INTO {table} VALUES ({number + 1}, 0)")
        assert await sessions[0].value(f"SELECT COUNT(*) FROM {table}") == "4"
        assert journal.loud == []

    faulty(tmp_path, server, work)


# -- lost in use --------------------------------------------------------------


def test_a_read_is_repeated_unseen(tmp_path: Path, server: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session = await client(runtime)
        await session.run("SET @a = 'kept'")
        marker = secrets.token_hex(8)
        await session.send(f"SELECT SLEEP(0.7), @a, '{marker}'")
        kill(server, await while_running(server, marker))
        assert await session.read() == [("0", "kept", marker)]

    faulty(tmp_path, server, work)


def test_a_read_is_repeated_once(tmp_path: Path, mariadb: Server) -> None:
    """A statement that kills servers must not kill them all."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session = await client(runtime)
        marker = secrets.token_hex(8)
        await session.send(f"SELECT SLEEP(3), '{marker}'")
        for _ in range(2):
            kill(mariadb, await while_running(mariadb, marker))
            await asyncio.sleep(0.1)
        with pytest.raises(ServerError) as lost:
            await session.read()
        assert lost.value.number in (1053, 1927, 2013)
        assert await session.value("SELECT 1") == "1"

    faulty(tmp_path, mariadb, work)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_write_is_told_once_and_never_repeated(
    tmp_path: Path, server: Server, table: str, prepared: bool
) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session = await client(runtime)
        await session.run("SET @a = 'kept'")
        sql = f"INSERT INTO {table} (b) SELECT SLEEP(0.5)"
        statement = await session.prepare(sql)
        if prepared:
            session.post(b"\x17" + statement.to_bytes(4, "little") + b"\x00\x01\x00\x00\x00")
        else:
            await session.send(sql)
        await while_running(server, table)
        gateway.cut()
        with pytest.raises(ServerError) as lost:
            await session.read()
        assert lost.value.number == 2013
        assert await session.value("SELECT @a") == "kept"
        await asyncio.sleep(0.8)  # what had begun there is over by now
        assert int(str(await session.value(f"SELECT COUNT(*) FROM {table}"))) <= 1
        await session.execute(statement)
        [line] = journal.told("backend lost")
        assert line["repeated"] is False

    faulty(tmp_path, server, work)


def test_lost_in_the_middle_of_rows(tmp_path: Path, mariadb: Server) -> None:
    """What the client has begun to read cannot begin again: an error ends it."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session, other = await clients(runtime, 2)
        await session.run("USE test")
        await session.send("SELECT REPEAT('x', 1000), SLEEP(seq > 900) FROM seq_1_to_1000")
        await asyncio.sleep(0.5)
        gateway.cut()
        # Within a row only the end of the connection can tell.
        with pytest.raises((ServerError, BackendLost)) as lost:
            await session.read()
        if isinstance(lost.value, ServerError):
            assert lost.value.number == 2013
            assert await session.value("SELECT 1") == "1"
        assert await other.value("SELECT 2") == "2"

    faulty(tmp_path, mariadb, work)


def test_dies_between_prepare_and_execute(tmp_path: Path, server: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session = await client(runtime)
        statements = [await session.prepare(f"SELECT ? + {n}") for n in range(5)]
        for _ in range(3):
            gateway.cut()
            for number, statement in enumerate(statements):
                [packet] = await session.execute(statement, 10)
                assert packet.endswith((10 + number).to_bytes(8, "little"))
        assert not [line for line in journal.loud if line[1] != "backend lost"]

    faulty(tmp_path, server, work)


def test_a_statement_belongs_to_the_schema_it_was_prepared_in(
    tmp_path: Path, server: Server
) -> None:
    """A connection that lacks it gets it as it was meant, not in the schema of now."""
    schemas = [f"j_{secrets.token_hex(6)}" for _ in range(2)]
    for number, schema in enumerate(schemas):
        direct(
            server,
            f"CREATE DATABASE {schema}",
            f"CREATE TABLE {schema}.t (a BIGINT)",
            f"INSERT INTO {schema}.t VALUES ({number + 1})",
        )

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        ann, bob = await clients(runtime, 2)
        await ann.run(f"USE {schemas[0]}")
        mine = await ann.prepare("SELECT a + ? FROM t")
        await ann.run("SET sql_mode = 'ANSI_QUOTES'")
        quoted = await ann.prepare('SELECT "a" + ? FROM t')
        await ann.run(f"USE {schemas[1]}")
        await ann.run("SET sql_mode = ''")
        gateway.cut()
        for statement in (mine, quoted):
            [packet] = await ann.execute(statement, 10)
            assert packet.endswith((11).to_bytes(8, "little"))
        assert await ann.value("SELECT CONCAT(DATABASE(), @@sql_mode)") == schemas[1]
        await bob.run(f"USE {schemas[0]}")
        await bob.run(
            "CREATE TABLE u (a INT)"
        )  # nothing prepared before is believed without asking
        theirs = await bob.prepare("SELECT a + ? FROM t")
        [packet] = await bob.execute(theirs, 10)
        assert packet.endswith((11).to_bytes(8, "little"))

    try:
        faulty(tmp_path, server, work)
    finally:
        direct(server, *(f"DROP DATABASE {schema}" for schema in schemas))


def test_lost_under_load(tmp_path: Path, server: Server, table: str) -> None:
    """Cuts at any time: reads never fail, each write is there once, or its client was told."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        sessions = await clients(runtime, 12)
        stop = False
        done: list[int] = []
        told: list[int] = []

        async def ask(number: int, session: Client) -> None:
            await session.run(f"SET @me = {number}")
            statement = await session.prepare("SELECT ? + 1")
            value = number * 100_000
            while not stop:
                value += 1
                try:
                    await session.run(f"INSERT INTO {table} VALUES ({value + 1}, {number})")
                    done.append(value + 1)
                except ServerError as error:
                    if error.number not in (1053, 1927, 2013):
                        raise
                    told.append(value + 1)
                assert await session.value("SELECT @me") == str(number)
                [packet] = await session.execute(statement, number)
                assert packet.endswith((number + 1).to_bytes(8, "little"))

        load = asyncio.gather(*(ask(n, session) for n, session in enumerate(sessions)))
        for _ in range(15):
            await asyncio.sleep(0.1)
            gateway.cut()
        stop = True
        await load
        found = {int(str(a)) for (a,) in await sessions[0].run(f"SELECT a FROM {table}")}
        assert set(done) <= found <= set(done) | set(told)
        assert len(done) > 50

    faulty(tmp_path, server, work, limit=6, proxy={"query_retries_on_failure": 5})


# -- the client vanishes ------------------------------------------------------


def test_client_vanishes_in_a_transaction(tmp_path: Path, server: Server, table: str) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session, other = await clients(runtime, 2)
        await session.run("SET @a = 1")
        await session.run("BEGIN")
        await session.run(f"INSERT INTO {table} VALUES (1, 1)")
        await session.run("SAVEPOINT s")
        session.close()
        await gone(runtime, 1)
        assert await other.value(f"SELECT COUNT(*) FROM {table}") == "0"
        assert await other.value("SELECT @a") is None
        assert not other.status & 1
        assert gateway.open == 1

    faulty(tmp_path, server, work, limit=1)


@pytest.mark.parametrize(
    "leave",
    [
        "SELECT GET_LOCK('j_faults', 1)",
        "CREATE TEMPORARY TABLE test.j_left (a INT)",
        "LOCK TABLES mysql.user READ",
        "SET autocommit = 0",
        "SET @x = 1, sql_mode = '', SESSION time_zone = '+01:00'",
        "SELECT 1 / 0",
        "SELECT SQL_CALC_FOUND_ROWS 1 UNION SELECT 2 LIMIT 1",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SELECT @y := 5",
        "USE mysql",
        "PREPARE s FROM 'SELECT 1'",
        "SET last_insert_id = 44",
        "SET NAMES latin1",
        "SET NONSENSE = 5",
        "SET @@session.sql_mode = 'NO_SUCH_MODE'",
        "SET time_zone = 'nowhere', @x = 2",
    ],
)
def test_nothing_is_left_to_the_next(tmp_path: Path, server: Server, leave: str) -> None:
    """One connection, one session after the other: the second sees what a new one would."""
    asked = (
        "SELECT @x, @y, DATABASE(), @@autocommit, @@sql_mode, @@time_zone, LAST_INSERT_ID(), "
        "IS_USED_LOCK('j_faults'), @@character_set_client, @@collation_connection"
    )

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        fresh = await client(runtime)
        expected = await fresh.run(asked)
        session = await client(runtime)
        if any(nonsense in leave for nonsense in ("NONSENSE", "NO_SUCH", "nowhere")):
            assert await session.error(leave) in (1193, 1231, 1298)
        else:
            await session.run(leave)
        session.close()
        await gone(runtime, 1)
        other = await client(runtime)
        for each in (fresh, other):
            assert await each.run("SHOW WARNINGS") == []
            assert await each.run(asked) == expected
            assert await each.error("SELECT * FROM test.j_left") == 1146
            assert not each.status & 1
        [(level,)] = await other.run(
            "SELECT VARIABLE_VALUE FROM performance_schema.session_variables "
            "WHERE VARIABLE_NAME = 'transaction_isolation'"
            if server.name == "mysql"
            else "SELECT @@tx_isolation"
        )
        assert level == "REPEATABLE-READ"
        assert await other.error("EXECUTE s") == 1243
        assert gateway.peak <= 2

    faulty(tmp_path, server, work, limit=1)


def test_warnings_are_seen_by_their_session_alone(tmp_path: Path, server: Server) -> None:
    """MariaDB keeps them over statements that read no table, whoever sends those."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        ann, bob, new = await clients(runtime, 3)
        assert await ann.error("SELECT * FROM test.j_left") == 1146
        await ann.run("SELECT 1")
        await bob.run("SELECT 1")
        assert await bob.run("SHOW WARNINGS") == []
        assert await ann.error("SELECT * FROM test.j_left") == 1146
        await ann.run("DO 0")
        assert await new.run("SHOW WARNINGS") == []
        assert await new.run("SHOW COUNT(*) ERRORS") == [("0",)]
        await bob.run("BEGIN")
        assert await bob.value("SELECT @@warning_count") == "0"
        assert await bob.run("SHOW WARNINGS") == []

    faulty(tmp_path, server, work, limit=1)


def test_client_vanishes_in_the_middle_of_rows(tmp_path: Path, mariadb: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session, other = await clients(runtime, 2)
        await session.run("USE test")
        await session.send("SELECT REPEAT('x', 100000) FROM seq_1_to_100000")
        await asyncio.sleep(0.2)
        session.close()
        await gone(runtime, 1)
        assert await other.value("SELECT 'mine'") == "mine"
        rows = direct(
            mariadb,
            "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%100000%'"
            " AND info NOT LIKE '%processlist%'",
        )  # fmt: skip
        assert rows == [(0,)]

    faulty(tmp_path, mariadb, work, limit=1)


def test_client_vanishes_with_long_data_open(tmp_path: Path, server: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session, other = await clients(runtime, 2)
        statement = await session.prepare("SELECT LENGTH(?)")
        data = b"\x18" + statement.to_bytes(4, "little") + b"\x00\x00" + b"x" * 10_000
        for _ in range(20):
            session.post(data)
        await until(lambda: runtime.port.pin_counts() == {"LONG_DATA": 1}, "it is on its way")
        session.close()
        await gone(runtime, 1)
        theirs = await other.prepare("SELECT LENGTH(?)")
        [packet] = await other.execute(theirs, 12345)
        assert b"\x05" in packet[-8:]  # five digits, not 200,000 of somebody else

    faulty(tmp_path, server, work, limit=1)


def test_client_vanishes_with_many_statements(tmp_path: Path, mariadb: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        other = await client(runtime)
        for turn in range(2):
            session = await client(runtime)
            for number in range(10_000):
                await session.prepare(f"SELECT {number} + ?")
            begun = monotonic()
            session.close()
            await gone(runtime, 1)
            assert monotonic() - begun < 2.0
            [packet] = await other.execute(await other.prepare("SELECT 3 + ?"), turn)
            assert packet.endswith((3 + turn).to_bytes(8, "little"))
        [(_, there)] = direct(mariadb, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")
        assert int(there) < 1000  # of them no connection keeps more than its limit

    faulty(tmp_path, mariadb, work, limit=1)


def test_client_vanishes_while_it_waits(tmp_path: Path, server: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        holder, waiter, last = await clients(runtime, 3)
        await holder.run("BEGIN")
        await waiter.send("SELECT 1")
        await until(lambda: row(runtime)["waiting"] == 1, "it waits")
        await last.send("SELECT 'last'")
        await until(lambda: row(runtime)["waiting"] == 2, "both wait")
        waiter.close()
        await until(lambda: row(runtime)["waiting"] == 1, "it waits no longer")
        await holder.run("COMMIT")
        assert await last.read() == [("last",)]

    faulty(tmp_path, server, work, limit=1)


# -- state a backend will not have --------------------------------------------


def test_a_replay_is_refused(tmp_path: Path, server: Server) -> None:
    """The session gets the error for its own statement; the log says what was refused."""
    name = f"j_{secrets.token_hex(6)}"

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session, other = await clients(runtime, 2)
        direct(server, f"CREATE DATABASE {name}")
        try:
            await session.run(f"USE {name}")
            await session.run("SET @a = 1")
        finally:
            direct(server, f"DROP DATABASE {name}")
        gateway.cut()
        await until(lambda: gateway.open == 0, "none is left that has it")
        assert await session.error("SELECT 1") == 1049
        [line] = journal.told("session state refused by backend")
        assert name in line["replayed"]
        assert line["code"] == "pool.replay"
        assert await other.value("SELECT 2") == "2"
        assert await session.error("SELECT 3") == 1049
        direct(server, f"CREATE DATABASE {name}")
        try:
            assert await session.run("SELECT DATABASE(), @a") == [(name, "1")]
        finally:
            direct(server, f"DROP DATABASE {name}")

    faulty(tmp_path, server, work)


def test_a_backend_with_other_defaults(tmp_path: Path, mariadb: Server) -> None:
    """What a session has not set is the backend's own default, as for a direct client; what it
    has set is the same everywhere."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        session, other = await clients(runtime, 2)
        await session.run("SET time_zone = '+02:00', sql_mode = 'ANSI'")
        asked = "SELECT @@time_zone, @@sql_mode LIKE '%ANSI%'"
        assert await session.run(asked) == [("+02:00", "1")]
        gateway.cut()
        attributes = runtime.services.sharing.pools.attributes  # another backend, so to speak
        attributes[0] = type(attributes[0])(
            init_connect="SET time_zone = '+05:00', sql_mode = 'TRADITIONAL'"
        )
        await other.run("BEGIN")
        assert await other.run(asked) == [("+05:00", "0")]
        assert await session.run(asked) == [("+02:00", "1")]
        await other.run("COMMIT")
        assert await session.run(asked) == [("+02:00", "1")]

    faulty(tmp_path, mariadb, work)


# -- masses -------------------------------------------------------------------


def test_memory_after_a_thousand_cycles(tmp_path: Path, mariadb: Server) -> None:
    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        async def cycle() -> None:
            sessions = await clients(runtime, 10)
            for session in sessions:
                await session.run("SET @a = 1")
                await session.execute(await session.prepare("SELECT ? + @a"), 1)
                session.close()
            await gone(runtime)

        for _ in range(20):
            await cycle()
        before = resident_kib(os.getpid())
        for _ in range(100):
            await cycle()
        assert resident_kib(os.getpid()) - before < 2048
        assert gateway.open <= 10

    faulty(tmp_path, mariadb, work, limit=10)


def test_drain_with_pooled_sessions(tmp_path: Path, server: Server, table: str) -> None:
    """Idle ones are closed, transactions end, and the servers are told goodbye."""

    async def work(gateway: Gateway, runtime: Runtime, journal: Journal) -> None:
        idle, running, bound = await clients(runtime, 3)
        await idle.run("SET @a = 1")
        await bound.run("BEGIN")
        await bound.run(f"INSERT INTO {table} VALUES (1, 1)")
        await running.send("SELECT SLEEP(0.5)")
        await until(lambda: row(runtime)["used"] == 2, "it runs")
        draining = asyncio.ensure_future(runtime.drain(10.0))
        assert await running.read() == [("0",)]
        assert await idle.error("SELECT 1") == 0
        await bound.run("COMMIT")
        assert await draining is True
        assert direct(server, f"SELECT COUNT(*) FROM {table}") == [(1,)]
        assert not journal.loud

    faulty(tmp_path, server, work)
