# SPDX-License-Identifier: Apache-2.0
"""`hproxy demo` as a newcomer meets it: the table, the clients it invites, its end."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pytest
import sqlalchemy

START_S = 30.0
STOP_S = 10.0
COMMAND = (sys.executable, "-m", "hproxy.cli.main", "demo")


class Demo:
    """A running demo: everything it has printed, and where its proxy listens."""

    def __init__(self, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (environ or {}),
        )
        self.output = ""
        try:
            self._read_until("Ctrl-C ends it")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        found = re.search(r"-h(\S+) -P(\d+) -udemo", self.output)
        assert found is not None, self.output
        self.host, self.port = found[1], int(found[2])

    def _read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        end = time.monotonic() + START_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while text not in self.output:
                if not selector.select(end - time.monotonic()):
                    raise AssertionError(f"no {text!r} within {START_S} s:\n{self.output}")
                if not (data := os.read(self.process.stdout.fileno(), 65536)):
                    raise AssertionError(f"it ended before {text!r}:\n{self.output}")
                self.output += data.decode()

    def connect(self, user: str = "demo", **options: Any) -> pymysql.Connection[Any]:
        account = {"user": user, "password": "demo"} | options
        return pymysql.connect(host=self.host, port=self.port, **account)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; the exit status. What it prints at its end is added to `output`."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=STOP_S)
        self.output += rest.decode()
        return self.process.returncode


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    running = Demo("--listen", "127.0.0.1:0")
    yield running
    status = running.stop()
    assert status == 0, running.output
    assert "Traceback" not in running.output, running.output


def once(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--once", *arguments],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        env=os.environ | environ,
    )


def rows(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql)
    return list(cursor.fetchall())


def test_once_shows_what_went_where_and_ends() -> None:
    done = once("--listen", "127.0.0.1:0")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.split()}
    sessions = {name: int(lines[name][1]) for name in ("writer", "reader", "together")}
    queries = {name: int(lines[name][2]) for name in sessions}
    assert min(sessions.values()) >= 10
    assert sessions["together"] == 40 == sessions["writer"] + sessions["reader"]
    assert queries["together"] == 2000 == queries["writer"] + queries["reader"]
    assert all(float(lines[name][4]) > 0 for name in sessions)
    assert lines["errors:"] == ["errors:", "0"]
    assert "\x1b" not in done.stdout
    assert "connect with" not in done.stdout


def test_once_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "demo.sock"
    done = once("--listen", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not path.exists()


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    done = once("--listen", "127.0.0.1:0", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:99999", "busy"])
def test_an_address_that_cannot_be_had(listen: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        if listen == "busy":
            listen = f"127.0.0.1:{holder.getsockname()[1]}"
        done = once("--listen", listen)
    assert done.returncode == 1
    assert listen in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_program_it_names(demo: Demo) -> None:
    program = shutil.which("mysql") or shutil.which("mariadb")
    assert program is not None
    text = "SELECT @@hostname; SHOW DATABASES; SHOW TABLES; SELECT COUNT(*) FROM city; \\s"
    done = subprocess.run(
        [program, f"-h{demo.host}", f"-P{demo.port}", "-udemo", "-pdemo", "-N", "-e", text],
        capture_output=True,
        text=True,
        timeout=START_S,
        check=True,
    )
    first, *others = done.stdout.split()
    assert first in ("writer", "reader")
    assert others[:5] == ["information_schema", "demo", "city", "visit", "10"]
    assert "Uptime" in done.stdout


def test_operators_are_invited_too(demo: Demo) -> None:
    found = re.search(r"-h(\S+) -P(\d+) -uadmin -padmin", demo.output)
    assert found is not None, demo.output
    where: dict[str, Any] = {"host": found[1], "port": int(found[2])}
    admin = pymysql.connect(user="admin", password="admin", autocommit=True, **where)
    with admin, admin.cursor() as cursor:
        asked = "SELECT SUM(count_star) >= 2000 FROM stats_mysql_query_digest"
        assert rows(cursor, asked) == [("1",)]
        told = dict(rows(cursor, "EXPLAIN ROUTE SELECT * FROM city AS demo"))
        assert told["account"].startswith("demo, hostgroup ")
        rule = "(1, 1, '^DROP TABLE never', 'not here', 1)"
        cursor.execute(
            "INSERT INTO mysql_query_rules (rule_id, active, match_digest, error_msg, apply)"
            f" VALUES {rule}"
        )
        cursor.execute("LOAD MYSQL QUERY RULES TO RUNTIME")
        with (
            demo.connect() as client,
            client.cursor() as asking,
            pytest.raises(pymysql.MySQLError, match="not here"),
        ):
            asking.execute("DROP TABLE never")
        cursor.execute("SAVE MYSQL QUERY RULES TO DISK")


def test_a_dump_is_taken_and_loaded_again(demo: Demo) -> None:
    where = [f"-h{demo.host}", f"-P{demo.port}", "-uwriter", "-pdemo", "demo"]
    dump = shutil.which("mysqldump") or shutil.which("mariadb-dump")
    load = shutil.which("mysql") or shutil.which("mariadb")
    assert dump is not None
    assert load is not None
    limits: dict[str, Any] = {"check": True, "timeout": START_S}
    taken = subprocess.run([dump, *where, "visit"], stdout=subprocess.PIPE, **limits).stdout
    assert b"INSERT INTO `visit`" in taken
    subprocess.run([load, *where], input=taken, **limits)
    again = subprocess.run([dump, *where, "visit"], stdout=subprocess.PIPE, **limits).stdout
    assert again.count(b"guest") == taken.count(b"guest")


def test_users_lead_to_their_database(demo: Demo) -> None:
    found: dict[str, set[str]] = {"demo": set(), "writer": set(), "reader": set()}
    for user, names in found.items():
        for _ in range(40 if user == "demo" else 3):
            with demo.connect(user) as connection, connection.cursor() as cursor:
                names.add(rows(cursor, "SELECT @@hostname")[0][0])
                assert rows(cursor, "SELECT DATABASE()") == [("demo",)]
    assert found == {"demo": {"writer", "reader"}, "writer": {"writer"}, "reader": {"reader"}}


def test_their_data_differs_and_the_reader_refuses_writes(demo: Demo) -> None:
    cities = {}
    for user in ("writer", "reader"):
        with demo.connect(user) as connection, connection.cursor() as cursor:
            cities[user] = {name for (name,) in rows(cursor, "SELECT name FROM city")}
            insert = "INSERT INTO visit (city_id, guest) VALUES (1, 'me')"
            if user == "writer":
                assert cursor.execute(insert) == 1
            else:
                with pytest.raises(pymysql.err.OperationalError) as caught:
                    cursor.execute(insert)
                assert caught.value.args[0] == 1290
            connection.rollback()
    assert cities["writer"].isdisjoint(cities["reader"])
    assert {"Köln", "Kraków"} <= cities["writer"]


def test_wrong_password(demo: Demo) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        demo.connect(password="wrong")
    assert caught.value.args[0] == 1045


def test_prepared_statements(demo: Demo) -> None:
    connection = mysql.connector.connect(
        host=demo.host, port=demo.port, user="writer", password="demo", use_pure=True
    )
    try:
        cursor = connection.cursor(prepared=True)
        for wanted in ("Köln", "Athens"):
            cursor.execute("SELECT name, population / ?, ? FROM city WHERE name = ?",
                           (2, None, wanted))  # fmt: skip
            ((name, half, nothing),) = cursor.fetchall()
            assert (name, nothing) == (wanted, None)
            assert isinstance(half, float)
        cursor.execute("INSERT INTO visit (city_id, guest) VALUES (?, ?)", (1, "☃"))
        assert cursor.rowcount == 1
        connection.rollback()
        cursor.close()
        connection.cmd_reset_connection()
        connection.cmd_change_user("demo", "demo", "demo")
        assert connection.is_connected()
    finally:
        connection.close()


def test_a_framework_finds_its_way(demo: Demo) -> None:
    engine = sqlalchemy.create_engine(f"mysql+pymysql://writer:demo@{demo.host}:{demo.port}/demo")
    with engine.connect() as connection:
        tables = sqlalchemy.inspect(connection).get_table_names()
        count = connection.execute(sqlalchemy.text("SELECT COUNT(*) FROM city")).scalar_one()
    engine.dispose()
    assert (tables, count) == (["city", "visit"], 10)


def test_a_query_can_be_killed_by_the_id_its_client_knows(demo: Demo) -> None:
    with demo.connect("writer") as victim, demo.connect("writer") as killer:
        ((number,),) = rows(victim.cursor(), "SELECT CONNECTION_ID()")
        greeted = vars(victim)["server_thread_id"][0]
        killer.cursor().execute(f"KILL {greeted}")
        assert greeted != number  # the proxy's id, not the database's
        with pytest.raises(pymysql.err.MySQLError):
            victim.cursor().execute("SELECT 1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_clients_connected(number: int, tmp_path: Path) -> None:
    running = Demo("--listen", "127.0.0.1:0", environ={"TMPDIR": str(tmp_path)})
    idle = running.connect()
    assert running.stop(number) == 0, running.output
    with pytest.raises(pymysql.err.MySQLError):
        idle.ping(reconnect=False)
    assert "Traceback" not in running.output, running.output
    assert list(tmp_path.iterdir()) == []
