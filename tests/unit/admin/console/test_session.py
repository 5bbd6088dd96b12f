# SPDX-License-Identifier: Apache-2.0
"""What one session cannot do to the others: limits, locks, ends, statements that reach too far."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import apsw
import mysql.connector
import pymysql
import pytest

from hproxy.admin.console import database as database_module
from hproxy.admin.console import session as session_module
from hproxy.errors import ChannelClosed
from tests.support.console import Admin, FakePort, Served, serving

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        yield made


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA journal_mode = OFF",
        "PRAGMA writable_schema = 1",
        "ATTACH '/tmp/x.db' AS x",
        "DETACH disk",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT writefile('/tmp/x', 'y')",
        "VACUUM INTO '/tmp/x.db'",
        "DROP TABLE mysql_servers",
        "ALTER TABLE mysql_servers ADD COLUMN x",
        "CREATE TABLE runtime_mysql_servers (a)",
        "CREATE TEMP TABLE mysql_servers (a)",
        "CREATE TRIGGER t AFTER INSERT ON mysql_servers BEGIN SELECT 1",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "UPDATE sqlite_master SET sql = ''",
        "INSERT INTO stats_mysql_global VALUES ('a', 'b')",
        "UPDATE runtime_mysql_servers SET weight = 1",
        "DELETE FROM monitor.mysql_server_ping_log",
        "INSERT INTO mysql_connections (timestamp) VALUES (1)",
        "ANALYZE",
        "SELECT 1; DROP TABLE mysql_servers",
        "SELECT 'unclosed",
        "SELECT * FROM",
        "SELECT nosuch FROM mysql_servers",
        "nonsense",
        "😀",
        "SELECT " + " + ".join(["1"] * 2000),
        "SELECT * FROM mysql_servers WHERE hostname = '' OR 1=1 UNION SELECT 1",
        "PROXYSQL NONSENSE",
        "KILL everything",
        "SHOW NONSENSE",
    ],
)
def test_refused_with_a_clear_error(admin: Admin, sql: str) -> None:
    number, text = admin.refused(sql)
    assert number == 1045
    assert text.startswith("ProxySQL Admin Error: ")
    assert len(text) > len("ProxySQL Admin Error: ") + 3
    assert admin.one("SELECT 1") == "1"


@pytest.mark.parametrize("sql", ["", ";", "  ", "-- nothing", "/* nothing */"])
def test_nothing(admin: Admin, sql: str) -> None:
    assert admin.refused(sql)[0] == 1065


def test_tables_of_ones_own(admin: Admin) -> None:
    admin("CREATE TABLE main.scratch (a INT, b TEXT)")
    admin("INSERT INTO scratch VALUES (1, 'x')")
    admin("CREATE TABLE disk.scheduler_state (a)")
    assert ("scratch",) in admin("SHOW TABLES")
    assert admin("SHOW CREATE TABLE scratch") == [
        ("scratch", "CREATE TABLE scratch (a INT, b TEXT)")
    ]
    assert [row[0] for row in admin("SHOW FIELDS FROM scratch")] == ["a", "b"]
    admin("DROP TABLE scratch")
    admin("DROP TABLE disk.scheduler_state")


def test_enormous(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ", ".join(f"({i}, 'host-{i}')" for i in range(20_000))
    admin(f"INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES {rows}")
    assert admin.affected == 20_000
    monkeypatch.setattr(session_module, "MAX_STATEMENT", 1000)
    assert "longer than" in admin.refused("SELECT '" + "x" * 2000 + "'")[1]
    monkeypatch.setattr(session_module, "MAX_RESULT_BYTES", 100_000)
    assert "larger than" in admin.refused("SELECT * FROM mysql_servers")[1]
    monkeypatch.undo()
    assert len(admin("SELECT * FROM mysql_servers")) == 20_000
    admin("DELETE FROM mysql_servers")


def test_not_utf8_and_nul(served: Served) -> None:
    connection = served.connect()
    for payload in (b"SELECT '\xff'", b"SELECT '\0'"):
        connection._execute_command(3, payload)
        with pytest.raises(pymysql.err.OperationalError) as caught:
            connection._read_query_result()
        assert caught.value.args[0] == 1045
    connection.close()


def test_a_time_budget() -> None:
    with serving(budget_sec=0.1) as served, served.admin() as admin:
        number, text = admin.refused(ENDLESS)
        assert number == 3024
        assert "longer than 0.1 seconds" in text
        assert admin.one("SELECT 1") == "1"


def test_an_endless_statement_holds_up_nobody(served: Served) -> None:
    failures: list[Any] = []

    def endless() -> None:
        with served.admin() as admin:
            failures.append(admin.refused(ENDLESS))

    thread = threading.Thread(target=endless)
    thread.start()
    with served.admin() as admin:
        for _ in range(20):
            admin("SELECT * FROM mysql_servers")
            admin("LOAD MYSQL SERVERS TO RUNTIME")
        while not (
            running := [d for d in served.server._dialogues.values() if d.running == ENDLESS]
        ):
            pass
    served.loop.call_soon_threadsafe(running[0].session.interrupt)
    thread.join()
    assert failures == [(1317, "Query execution was interrupted")]


def test_a_statement_ends_when_its_client_has_gone(served: Served) -> None:
    connection = served.connect()
    connection._execute_command(3, ENDLESS)
    session = running_endless(served)
    job = session._job
    connection._force_close()
    end = monotonic() + 5
    while not job.done():
        assert monotonic() < end, "it runs on"


def test_closing_the_server_ends_what_runs() -> None:
    with serving() as served:
        connection = served.connect()
        thread = threading.Thread(target=lambda: _ignore(lambda: connection.query(ENDLESS)))
        thread.start()
        running_endless(served)
    thread.join()


def _ignore(work: Callable[[], object]) -> None:
    with contextlib.suppress(pymysql.err.MySQLError):
        work()


def running_endless(served: Served) -> Any:
    """The session that runs it, as soon as there is one."""
    while True:
        for dialogue in list(served.server._dialogues.values()):
            if dialogue.running == ENDLESS:
                return dialogue.session


def test_a_reader_of_the_proxy_can_be_interrupted() -> None:
    """The loop answers late; the statement ends anyway."""
    port = FakePort()
    with serving(port, budget_sec=0.1) as served, served.admin() as admin:
        console = served.console

        def hold(future: Any, table: str) -> None:
            """A loop that never comes to it."""

        original = console.snapshot

        def snapshot() -> Any:
            made = original()
            made._fill = hold  # type: ignore[method-assign]
            return made

        console.snapshot = snapshot  # type: ignore[method-assign]
        with served.admin() as stuck:
            assert stuck.refused("SELECT * FROM stats_mysql_global")[0] == 3024
        assert admin("SELECT * FROM stats_mysql_global") == []


def test_rows_are_read_on_the_loop(served: Served, admin: Admin) -> None:
    admin("SELECT * FROM stats_mysql_global")
    done: list[int] = []
    ready = threading.Event()

    def here() -> None:
        done.append(threading.get_ident())
        ready.set()

    served.loop.call_soon_threadsafe(here)
    assert ready.wait(5)
    assert served.port.thread == done[0]


def test_an_error_while_reading_is_said_and_nothing_else_breaks(
    served: Served, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(served.port.tables, "stats_mysql_global", [("too short",)])
    number, text = admin.refused("SELECT * FROM stats_mysql_global")
    assert number == 1045
    assert "stats_mysql_global cannot be read: 1 values for 2 columns" in text
    monkeypatch.setattr(served.port, "reading", lambda table: 1 / 0)
    number, text = admin.refused("SELECT * FROM stats_mysql_global")
    assert number == 1045
    assert "stats_mysql_global cannot be read: ZeroDivisionError" in text
    assert admin.one("SELECT 1") == "1"


def test_two_who_write_at_once() -> None:
    with serving(lock_wait_sec=0.2) as served:
        holder = served.console.connect(_snapshot(served), threading.Event(), False)
        with served.admin() as admin:
            holder.execute("BEGIN")
            holder.execute("INSERT INTO main.mysql_servers (hostname) VALUES ('held')")
            assert admin.refused("DELETE FROM mysql_servers") == (1205, "database is locked")
            holder.execute("COMMIT")
            admin("DELETE FROM mysql_servers")
        holder.close()


def _snapshot(served: Served) -> Any:
    return asyncio.run_coroutine_threadsafe(_made(served), served.loop).result()


async def _made(served: Served) -> Any:
    return served.console.snapshot()


def test_many_who_write_at_once(served: Served) -> None:
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with served.admin() as admin:
                for i in range(25):
                    admin(
                        "INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (%s, 'h')",
                        1000 + number * 100 + i,
                    )
                    admin("SELECT count(*) FROM mysql_servers")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with served.admin() as admin:
        assert admin.one("SELECT count(*) FROM mysql_servers WHERE hostgroup_id >= 1000") == "100"
        admin("DELETE FROM mysql_servers")


def test_prepared_statements_are_an_extension(served: Served) -> None:
    connection = mysql.connector.connect(
        host="127.0.0.1", port=served.number, user="admin", password="admin", ssl_disabled=True
    )
    cursor = connection.cursor(prepared=True)
    cursor.execute("INSERT INTO mysql_servers (hostname, port) VALUES (?, ?)", ("a?b", 3307))
    assert cursor.rowcount == 1
    cursor.execute("SELECT hostname, port FROM mysql_servers WHERE port = ?", (3307,))
    assert cursor.fetchall() == [("a?b", "3307")]
    cursor.execute("SHOW DATABASES")
    assert len(cursor.fetchall()) == 5
    cursor.execute("DELETE FROM mysql_servers")
    cursor.close()
    connection.close()


def test_a_reset_connection_and_another_user(served: Served, admin: Admin) -> None:
    connection = mysql.connector.connect(
        host="127.0.0.1", port=served.number, user="admin", password="admin", ssl_disabled=True
    )
    connection.cmd_change_user("stats", "stats")
    cursor = connection.cursor()
    cursor.execute("SHOW TABLES")
    assert ("mysql_servers",) not in cursor.fetchall()
    connection.cmd_change_user("admin", "admin")
    cursor.execute("SELECT hostname FROM mysql_servers")
    assert cursor.fetchall() == []
    connection.close()


def test_a_worker_that_ends_meanwhile_is_no_reason_to_hang_up(
    served: Served, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any, **__: Any) -> Any:
        raise ChannelClosed("worker 1")

    for name in ("order", "load", "reading"):
        monkeypatch.setattr(served.port, name, gone)
    for sql in ("PROXYSQL PAUSE", "LOAD SCHEDULER TO RUNTIME", "SELECT * FROM stats_mysql_global"):
        number, text = admin.refused(sql)
        assert number == 1045
        assert "the other process is gone" in text
    assert admin.one("SELECT 1") == "1"


def test_a_statement_that_takes_too_much_memory_is_ended(served: Served) -> None:
    before = apsw.hard_heap_limit(apsw.memory_used() + (16 << 20))
    try:
        with served.admin("stats", "stats") as reader:
            number, text = reader.refused(ENDLESS.replace("UNION ALL", "UNION"))
            assert (number, "out of memory" in text) == (1045, True)
            assert reader.one("SELECT 1") == "1"
    finally:
        apsw.hard_heap_limit(before)
    assert before == database_module.MAX_HEAP_BYTES
