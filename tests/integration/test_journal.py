# SPDX-License-Identifier: Apache-2.0
"""Query, slow and audit logs of a real proxy before real servers."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest

from hproxy.telemetry.journal import JournalOptions
from tests.integration.conftest import ProxyFactory
from tests.support.pooled import client, go, pooled, until
from tests.support.process import eventually
from tests.support.proxy import Proxy
from tests.support.server import Server


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    text = b"".join(path.read_bytes() for path in sorted(folder.glob(f"{name}.*")))
    return [json.loads(line) for line in text.splitlines()]


def login(proxy: Proxy, **more: Any) -> pymysql.Connection[Any]:
    options: dict[str, Any] = {"user": "hproxy", "password": "hproxy"}
    return pymysql.Connection(host=proxy.host, port=proxy.port, **options | more)


def ask(connection: pymysql.Connection[Any], *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            with suppress(pymysql.Error):
                cursor.execute(statement)


def test_statements(server: Server, proxy: ProxyFactory, tmp_path: Path, database: str) -> None:
    logs = {
        "eventslog_filename": str(tmp_path / "q"),
        "eventslog_format": 2,
        "eventslog_default_log": True,
        "slowlog_filename": str(tmp_path / "slow"),
        "long_query_time": 150,
    }
    running = proxy(server, "multiplex", proxy=logs)
    asked = [
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT)",
        "INSERT INTO t (a) VALUES (1), (2)",
        "SELECT id FROM t WHERE a > 0",
        "INSERT INTO t VALUES (1, 1)",
        "SELECT SLEEP(0.2)",
        "SET @x = 'y'",
        "CREATE USER pw_user IDENTIFIED BY 'hunter2'",
        "DROP USER IF EXISTS pw_user",
    ]
    with login(running, database=database) as connection:
        ask(connection, *asked, *[asked[2]] * 3)
    eventually(lambda: len(records(tmp_path, "q")) >= 11, "it is on record")
    found = {record["query"]: record for record in records(tmp_path, "q")}
    inserted = found[asked[1]]
    assert inserted["rows_affected"] == 2
    assert inserted["last_insert_id"] == 1
    assert inserted["schemaname"] == database
    assert inserted["username"] == "hproxy"
    assert inserted["server"] == server.address
    assert inserted["client"].startswith("127.0.0.1:")
    assert found[asked[2]]["rows_sent"] == 2
    assert found[asked[3]]["errno"] == 1062
    assert asked[5] in found
    assert 200_000 <= found[asked[4]]["duration_us"] < 10_000_000
    eventually(lambda: "SLEEP" in str(records(tmp_path, "slow")), "it was slow")
    (slow,) = [record for record in records(tmp_path, "slow") if "SLEEP" in record["query"]]
    assert slow["digest"] == found[asked[4]]["digest"]
    for path in tmp_path.iterdir():
        assert b"hunter2" not in path.read_bytes()


def test_prepared_statements(mysql9: Server, proxy: ProxyFactory, tmp_path: Path) -> None:
    import mysql.connector  # noqa: PLC0415 - slow to import, and only here

    logs = {
        "eventslog_filename": str(tmp_path / "q"),
        "eventslog_format": 2,
        "eventslog_default_log": True,
    }
    running = proxy(mysql9, "multiplex", proxy=logs)
    with (
        mysql.connector.connect(
            host=running.host, port=running.port, user="hproxy", password="hproxy"
        ) as connection,
        connection.cursor(prepared=True) as cursor,
    ):
        for number in range(3):
            cursor.execute("SELECT %s + 1", (number,))
            cursor.fetchall()

    def executed() -> list[dict[str, Any]]:
        found = records(tmp_path, "q")
        return [record for record in found if record["event"] == "COM_STMT_EXECUTE"]

    eventually(lambda: len(executed()) == 3, "it is on record")
    assert {record["query"] for record in executed()} == {"SELECT ? + 1"}
    assert all(record["client_stmt_id"] for record in executed())


def test_usr1_begins_new_files(mariadb: Server, proxy: ProxyFactory, tmp_path: Path) -> None:
    logs = {"auditlog_filename": str(tmp_path / "a")}
    running = proxy(mariadb, "multiplex", proxy=logs)
    os.kill(running.pid, signal.SIGUSR1)
    eventually(lambda: (tmp_path / "a.00000002").exists(), "it is on record")
    login(running).close()
    eventually(
        lambda: len((tmp_path / "a.00000002").read_bytes().splitlines()) == 3, "it is on record"
    )


@pytest.mark.parametrize("way", ["relay", "table", "multiplex"])
def test_who_came_and_went(
    way: str, server: Server, proxy: ProxyFactory, tmp_path: Path, database: str
) -> None:
    running = proxy(server, way, proxy={"auditlog_filename": str(tmp_path / "a")})
    with pytest.raises(pymysql.err.OperationalError):
        login(running, password="wrong-password")
    with pytest.raises(pymysql.err.OperationalError):
        login(running, user="nobody-of-that-name")
    for _ in range(2):  # the second is the fast greeter's
        login(running, database=database).close()

    def told(event: str) -> list[dict[str, Any]]:
        return [record for record in records(tmp_path, "a") if record["event"] == event]

    eventually(lambda: len(told("MySQL_Client_Close")) == 2, "it is on record")
    assert len(told("MySQL_Client_Connect_OK")) == 2
    assert len(told("MySQL_Client_Quit")) == 2
    assert len(told("MySQL_Client_Connect_ERR")) == 2
    refused = {record["username"]: record for record in told("MySQL_Client_Connect_ERR")}
    if way != "relay":
        assert set(refused) == {"hproxy", "nobody-of-that-name"}
    came = told("MySQL_Client_Connect_OK")[0]
    assert came["username"] == "hproxy"
    assert came["schemaname"] == database
    assert came["proxy_addr"] == f"{running.host}:{running.port}"
    assert told("MySQL_Client_Close")[0]["duration"].endswith("ms")
    for path in tmp_path.iterdir():
        assert b"wrong-password" not in path.read_bytes()


@pytest.mark.parametrize(
    ("mode", "prepared"), [("multiplex", "SELECT 'prepared'"), ("session", "")]
)
def test_it_is_changed_while_sessions_are_open(
    mode: str, prepared: str, server: Server, tmp_path: Path
) -> None:
    """Statements that were decided, and prepared, before are logged as well, or no more."""

    async def scenario() -> None:
        row = {"hostname": server.host, "port": server.port}
        async with pooled(tmp_path, row, proxy={"session_mode": mode}) as runtime:
            session = await client(runtime)
            number = await session.prepare("SELECT 'prepared'")

            async def asked() -> int:
                await session.run("SELECT 'text'")
                await session.execute(number)
                file = runtime.recorder.journal._events
                if file is not None:
                    await until(lambda: file.written + file.dropped >= 2, "both are written")
                    return file.written
                return 0

            assert await asked() == 0
            on = JournalOptions(tmp_path, "q", eventslog_default_log=True, eventslog_format=2)
            runtime.recorder.configure(on)
            assert await asked() == 2
            runtime.recorder.configure(JournalOptions(tmp_path))
            assert await asked() == 0
            runtime.recorder.configure(replace(on, eventslog_filename="r"))
            assert await asked() == 2

    go(scenario())
    assert [record["query"] for record in records(tmp_path, "q")] == [
        "SELECT 'text'", prepared,
    ]  # fmt: skip


@pytest.mark.parametrize("auth", ["table", "relay"])
def test_sessions_with_a_connection_of_their_own(
    auth: str, server: Server, proxy: ProxyFactory, tmp_path: Path, database: str
) -> None:
    logs = {
        "eventslog_filename": str(tmp_path / "q"),
        "eventslog_format": 2,
        "eventslog_default_log": True,
        "slowlog_filename": str(tmp_path / "slow"),
        "long_query_time": 150,
    }
    rules = [{"rule_id": 1, "active": 1, "match_digest": "^SELECT SECRET", "log": 0, "apply": 1}]
    running = proxy(server, auth, proxy=logs, mysql_query_rules=rules)
    asked = [
        "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, a INT)",
        "INSERT INTO t (a) VALUES (1), (2)",
        "SELECT id FROM t WHERE a > 0",
        "INSERT INTO t VALUES (1, 1)",
        "SELECT SLEEP(0.2)",
        "SELECT secret FROM t",
        "KILL QUERY 4000000000",
        "CREATE USER pw_user IDENTIFIED BY 'hunter2'",
        "USE mysql",
        "SELECT 1",
    ]
    with login(running, database=database) as connection:
        ask(connection, *asked)
        connection.select_db(database)
        ask(connection, "SELECT 2")
    eventually(lambda: "SELECT 2" in str(records(tmp_path, "q")), "it is on record")
    found = {record["query"]: record for record in records(tmp_path, "q")}
    inserted = found[asked[1]]
    assert inserted["rows_affected"] == 2
    assert inserted["last_insert_id"] == 1
    assert inserted["schemaname"] == database
    assert inserted["username"] == "hproxy"
    assert inserted["server"] == server.address
    assert inserted["hostgroup_id"] == 0
    assert inserted["client"].startswith("127.0.0.1:")
    assert inserted["digest"].startswith("0x")
    assert found[asked[2]]["rows_sent"] == 2
    assert found[asked[3]]["errno"] == 1062
    assert 200_000 <= found[asked[4]]["duration_us"] < 10_000_000
    assert asked[5] not in found  # its rule says so
    assert found[asked[6]]["errno"] == 1094
    assert (found["SELECT 1"]["schemaname"], found["SELECT 2"]["schemaname"]) == ("mysql", database)
    eventually(lambda: "SELECT SLEEP(0.2)" in str(records(tmp_path, "slow")), "it was slow")
    slow = [record["query"] for record in records(tmp_path, "slow")]
    assert "SELECT 1" not in slow
    for path in tmp_path.iterdir():
        assert b"hunter2" not in path.read_bytes()


def test_fast_forward_leaves_no_statements(
    mariadb: Server, proxy: ProxyFactory, tmp_path: Path
) -> None:
    logs = {
        "eventslog_filename": str(tmp_path / "q"),
        "eventslog_format": 2,
        "eventslog_default_log": True,
    }
    users = [
        {"username": "hproxy", "password": "hproxy", "fast_forward": 1},
        {"username": "native", "password": "native"},
    ]
    running = proxy(mariadb, "multiplex", proxy=logs, mysql_users=users)
    with login(running) as unseen, login(running, user="native", password="native") as seen:
        ask(unseen, "SELECT 'unseen'")
        ask(seen, "SELECT 'seen'")
    eventually(lambda: "SELECT 'seen'" in str(records(tmp_path, "q")), "it is on record")
    assert {record["username"] for record in records(tmp_path, "q")} == {"native"}


def test_prepared_statements_of_a_session(
    mysql9: Server, proxy: ProxyFactory, tmp_path: Path
) -> None:
    import mysql.connector  # noqa: PLC0415 - slow to import, and only here

    logs = {"eventslog_filename": str(tmp_path / "q"), "eventslog_format": 2}
    rules = [{"rule_id": 1, "active": 1, "match_pattern": r"\+ 1", "log": 1, "apply": 1}]
    running = proxy(mysql9, "table", proxy=logs, mysql_query_rules=rules)
    with (
        mysql.connector.connect(
            host=running.host, port=running.port, user="hproxy", password="hproxy"
        ) as connection,
        connection.cursor(prepared=True) as cursor,
    ):
        for number in range(3):
            for text in ("SELECT %s + 1", "SELECT %s + 2"):
                cursor.execute(text, (number,))
                cursor.fetchall()
    eventually(lambda: len(records(tmp_path, "q")) >= 3, "it is on record")
    found = [(record["event"], record["query"]) for record in records(tmp_path, "q")]
    assert found == [("COM_STMT_EXECUTE", "SELECT ? + 1")] * 3
    assert all(record["client_stmt_id"] for record in records(tmp_path, "q"))
