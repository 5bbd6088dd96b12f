# SPDX-License-Identifier: Apache-2.0
"""What an operator does with a running process, end to end: orders, versions, files, logins."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pymysql
import pytest

from tests.support.console import Admin
from tests.support.operated import Operated, operated, sections, server_row
from tests.support.own_server import free_port
from tests.support.process import eventually
from tests.support.server import Server

END_S = 10.0
SECRET = "hidden-secret"
CUT = (2006, 2013, 1317, 1927)


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, mariadb: Server, mysql9: Server
) -> Iterator[Operated]:
    """Hostgroup 0 is MariaDB, 1 MySQL."""
    folder = tmp_path_factory.mktemp("operated")
    rows = (server_row(mariadb), server_row(mysql9, 1))
    path = folder / "admin.sock"
    more = {"admin": {"address": f"127.0.0.1:0;{path}"}}
    with operated(folder, *rows, **more) as made:
        yield made


@pytest.fixture
def admin(proxy: Operated) -> Iterator[Admin]:
    """An operator; the configuration is put back afterwards."""
    with proxy.admin() as made:
        version = made.one("SELECT max(version) FROM hproxy_config_history")
        yield made
    with proxy.admin() as again:
        again(f"ROLLBACK CONFIG TO {version}")


def refused(proxy: Operated) -> bool:
    """Whether nobody listens any more."""
    with socket.socket() as one:
        return one.connect_ex((proxy.host, proxy.port)) == errno.ECONNREFUSED


def ended(proxy: Operated) -> int:
    """Its exit status."""
    status = proxy._process.wait(END_S)
    proxy._reader.join()
    return status


def session_of(admin: Admin, client: Admin) -> str:
    """The session's number, as operators know it."""
    return str(admin.one("SELECT SessionID FROM stats_mysql_processlist WHERE cli_port = %s",
                         client.connection._sock.getsockname()[1]))  # fmt: skip


# -- orders -------------------------------------------------------------------------------


def test_pause_and_resume(proxy: Operated, admin: Admin) -> None:
    with proxy.client() as client:
        admin("PROXYSQL PAUSE")
        try:
            assert "already paused" in admin.refused("PROXYSQL PAUSE")[1]
            assert refused(proxy)
            assert client.one("SELECT 1") == 1
        finally:
            admin("PROXYSQL RESUME")
        assert not refused(proxy)
        assert "not paused" in admin.refused("PROXYSQL RESUME")[1]


def test_stop_and_start(proxy: Operated, admin: Admin) -> None:
    with proxy.client() as idle, proxy.client() as busy:
        busy("BEGIN")
        busy("DO 1")
        admin("PROXYSQL STOP")
        try:
            assert refused(proxy)
            assert idle.refused("SELECT 1")[0] in CUT
            assert busy.one("SELECT 1") == 1
            busy("COMMIT")
        finally:
            admin("PROXYSQL START")
        assert not refused(proxy)


def test_kill(proxy: Operated, admin: Admin) -> None:
    with proxy.client() as client, ThreadPoolExecutor(1) as pool:
        number = session_of(admin, client)
        sleeps = pool.submit(client, "SELECT 1 FROM DUAL WHERE SLEEP(20) = 0")
        command = f"SELECT command FROM stats_mysql_processlist WHERE SessionID = {number}"
        eventually(lambda: admin.one(command) == "Query", "it runs")
        begun = monotonic()
        admin(f"KILL QUERY {number}")
        with pytest.raises(pymysql.err.MySQLError) as caught:
            sleeps.result(END_S)
        assert caught.value.args[0] in CUT
        assert monotonic() - begun < END_S / 2
        assert client.one("SELECT 2") == 2
        admin(f"KILL CONNECTION {number}")
        assert client.refused("SELECT 3")[0] in CUT
        assert admin.refused(f"KILL {number}")[0] == 1094


def test_flush(proxy: Operated, admin: Admin) -> None:
    admin(
        "INSERT INTO mysql_query_rules (rule_id, active, match_digest, cache_ttl, apply)"
        " VALUES (1, 1, 'AS cached', 60000, 1)"
    )
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    with proxy.client() as client:
        first = client.one("SELECT RAND() AS cached")
        assert client.one("SELECT RAND() AS cached") == first
        admin("PROXYSQL FLUSH QUERY CACHE")
        assert admin.info == "1 results dropped"
        assert client.one("SELECT RAND() AS cached") != first
    for order in ("FLUSH LOGS", "FLUSH MYSQL CLIENT HOSTS", "FLUSH CONFIGDB", "RELOAD TLS"):
        admin(f"PROXYSQL {order}")


def test_read_only(proxy: Operated, admin: Admin) -> None:
    admin("PROXYSQL READONLY")
    try:
        assert admin.refused("DELETE FROM mysql_users")[0] != 0
        assert admin.refused("LOAD MYSQL USERS TO RUNTIME")[1]
    finally:
        admin("PROXYSQL READWRITE")
    admin("UPDATE mysql_users SET comment = 'x' WHERE 1 = 0")


@pytest.mark.parametrize("order", ["SHUTDOWN", "KILL"])
def test_ended_at_once(tmp_path: Path, mariadb: Server, order: str) -> None:
    proxy = Operated(tmp_path, sections(tmp_path, server_row(mariadb)))
    with proxy.client() as client, proxy.admin() as admin:
        client("BEGIN")
        assert admin.refused(f"PROXYSQL {order}")[0] in CUT
        assert ended(proxy) == 0
        assert client.refused("COMMIT")[0] in CUT


def test_shutdown_slow(tmp_path: Path, mariadb: Server) -> None:
    """A transaction may end first."""
    proxy = Operated(tmp_path, sections(tmp_path, server_row(mariadb)))
    with proxy.client() as client, proxy.admin() as admin:
        client("BEGIN")
        client("DO 1")
        admin("PROXYSQL SHUTDOWN SLOW")
        proxy.wait_for_log("draining")
        assert client.one("SELECT 1") == 1
        client("COMMIT")
        assert ended(proxy) == 0
    assert proxy.lines("stopped", cut_off=0)
    assert not proxy.faults()


def test_restart(tmp_path: Path, mariadb: Server) -> None:
    """The same process begins anew: on what was saved, and not on what was only loaded."""
    proxy = Operated(tmp_path, sections(tmp_path, server_row(mariadb)))
    with proxy.admin() as admin:
        admin("UPDATE mysql_servers SET comment = 'saved'")
        admin("SAVE MYSQL SERVERS TO DISK")
        admin("UPDATE mysql_servers SET comment = 'only loaded'")
        admin("LOAD MYSQL SERVERS TO RUNTIME")
        since = len(proxy.log)
        admin("PROXYSQL RESTART")
    proxy.port = int(proxy.wait_for_log("serving", since=since)["address"].rpartition(":")[2])
    opened = proxy.wait_for_log("admin port open", since=since)
    proxy.number = int(opened["address"].rpartition(":")[2])
    with proxy.admin() as admin, proxy.client() as client:
        assert admin("SELECT comment FROM runtime_mysql_servers") == [("saved",)]
        assert client.one("SELECT 1") == 1
    proxy.stop()


# -- what the configuration was, would be, and is written to -----------------------------


def test_dry_run_and_rollback(proxy: Operated, admin: Admin) -> None:
    before = admin("SELECT * FROM runtime_mysql_servers ORDER BY hostgroup_id")
    version = admin.one("SELECT max(version) FROM hproxy_config_history")
    admin("UPDATE mysql_servers SET weight = 7 WHERE hostgroup_id = 1")
    (change,) = admin("LOAD MYSQL SERVERS TO RUNTIME DRY RUN")
    assert change[0] == "mysql_servers"
    assert change[2:] == ("weight", "1", "7", "update")
    assert admin("SELECT * FROM runtime_mysql_servers ORDER BY hostgroup_id") == before
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    ((user, statement, diff),) = admin(
        "SELECT username, statement, diff FROM hproxy_config_history ORDER BY version DESC LIMIT 1"
    )
    assert (user, statement) == ("admin", "LOAD MYSQL SERVERS TO RUNTIME")
    assert "weight: 1 -> 7" in diff
    admin(f"ROLLBACK CONFIG TO {version}")
    assert admin("SELECT * FROM runtime_mysql_servers ORDER BY hostgroup_id") == before
    assert admin("SELECT * FROM mysql_servers ORDER BY hostgroup_id") == before
    assert admin.refused("ROLLBACK CONFIG TO 999999")[1]


def test_a_first_version_is_short(proxy: Operated, admin: Admin) -> None:
    """Of variables only those that are not at their default, each under its own module."""
    found = admin(
        "SELECT module, diff FROM hproxy_config_history WHERE action = 'start'"
        " AND module LIKE '%variables'"
    )
    assert {module for module, _ in found} == {"mysql_variables", "admin_variables"}
    for module, diff in found:
        lines = diff.splitlines()
        assert len(lines) < 20, diff
        prefix = module.partition("_")[0]
        assert all(line.startswith(f"global_variables [{prefix}-") for line in lines), diff


def test_the_last_server_may_go(proxy: Operated, admin: Admin) -> None:
    admin("DELETE FROM mysql_servers")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert any("no server" in warning for warning in admin.warnings())
    assert admin("SELECT * FROM runtime_mysql_servers") == []


def test_saved_to_a_file_and_started_on_it(tmp_path: Path, mariadb: Server, mysql9: Server) -> None:
    file = tmp_path / "proxysql.cnf"
    rows = (server_row(mariadb, 3, comment='it\'s "quoted"'), server_row(mysql9, 4, weight=5))
    tables = ("mysql_servers", "mysql_users", "mysql_query_rules", "scheduler")
    with operated(tmp_path / "one", *rows) as proxy, proxy.admin() as admin:
        admin("UPDATE mysql_users SET default_hostgroup = 3")
        admin("INSERT INTO mysql_query_rules (rule_id, active, match_pattern,"
              r" destination_hostgroup, apply) VALUES (9, 1, '^SELECT\s+4', 4, 1)")  # fmt: skip
        admin("SET mysql-max_connections = 777")
        admin(f"SAVE CONFIG TO FILE {file}")
        wanted = {table: admin(f"SELECT * FROM {table}") for table in tables}
        assert admin.one("SELECT CONFIG FILE") == file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    made = Operated(tmp_path / "two", file, ["--listen", "127.0.0.1:0"])
    with made as proxy, proxy.admin() as admin, proxy.client() as client:
        for table, content in wanted.items():
            assert admin(f"SELECT * FROM {table}") == content, table
        value = "SELECT variable_value FROM runtime_global_variables WHERE variable_name = %s"
        assert admin.one(value, "mysql-max_connections") == "777"
        assert client.one("SELECT 3") == 3
        assert "MariaDB" in client.one("SELECT VERSION()")


@pytest.mark.parametrize("proxy", [{}, {"auth": "table"}], ids=["", "table"])
def test_from_nothing(tmp_path: Path, mariadb: Server, proxy: dict[str, str]) -> None:
    """No server, no user: all of it by SQL, and saved."""
    made = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(tmp_path / "data")},
        "admin": {"address": "127.0.0.1:0"},
        "logging": {"format": "json"},
        "proxy": proxy,
    }
    with Operated(tmp_path, made) as running, running.admin() as admin:
        with pytest.raises(pymysql.err.OperationalError):
            running.client().__enter__()
        admin("INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (10, %s, %s)",
              mariadb.host, mariadb.port)  # fmt: skip
        admin("INSERT INTO mysql_users (username, password, default_hostgroup)"
              " VALUES ('hproxy', 'hproxy', 10)")  # fmt: skip
        admin("SET mysql-monitor_username = 'hproxy'")
        admin("SET mysql-monitor_password = 'hproxy'")
        for module in ("SERVERS", "USERS", "VARIABLES"):
            admin(f"LOAD MYSQL {module} TO RUNTIME")
            admin(f"SAVE MYSQL {module} TO DISK")
        with running.client() as client:
            assert client.one("SELECT 1") == 1
    with Operated(tmp_path, made) as running, running.client() as client:
        assert client.one("SELECT 1") == 1


VALUE = "SELECT variable_value FROM runtime_global_variables WHERE variable_name = %s"


@pytest.mark.parametrize(
    ("variable", "module"),
    [("mysql-interfaces", "MYSQL VARIABLES"), ("admin-mysql_ifaces", "ADMIN VARIABLES")],
)
def test_ports_move_or_are_refused(
    tmp_path: Path, mariadb: Server, variable: str, module: str
) -> None:
    with (
        operated(tmp_path, server_row(mariadb)) as proxy,
        proxy.admin() as admin,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        old = proxy.port if variable == "mysql-interfaces" else proxy.number
        there = f"127.0.0.1:{taken.getsockname()[1]}"
        before = admin.one(VALUE, variable)
        port = free_port()
        admin(f"SET {variable} = '127.0.0.1:{port};{there}'")
        told = admin.refused(f"LOAD {module} TO RUNTIME")[1]
        assert f"cannot listen: Address already in use, got {there}" in told
        assert admin.one(VALUE, variable) == before
        assert greets(old)
        assert not greets(port)
        admin(f"SET {variable} = '127.0.0.1:{port}'")
        admin(f"LOAD {module} TO RUNTIME")
        assert greets(port)
        assert not greets(old)
        admin(f"SET {variable} = ''")
        admin(f"LOAD {module} TO RUNTIME")
        assert any("is left" in warning for warning in admin.warnings())
        assert not greets(port)


def greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), END_S) as one:
            return len(one.recv(5)) == 5
    except ConnectionRefusedError:
        return False


# -- looking at statements and sessions -----------------------------------------------------


def test_explain_route(proxy: Operated, admin: Admin) -> None:
    admin("INSERT INTO mysql_query_rules (rule_id, active, match_digest, destination_hostgroup,"
          " apply) VALUES (5, 1, '^SELECT', 1, 1)")  # fmt: skip
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    for asked in ("SELECT 1 AS hproxy@test", "'SELECT 1' AS hproxy@test", '"SELECT 1" AS hproxy'):
        told = dict(admin(f"EXPLAIN ROUTE {asked}"))
        assert told["digest"] == "SELECT ?", asked
        assert told["decision"].startswith("hostgroup 1: query rule 5"), told
    assert dict(admin("EXPLAIN ROUTE DO 1 AS hproxy"))["decision"].startswith("hostgroup 0")
    with proxy.client() as client:  # and so it is
        assert "MariaDB" not in client.one("SELECT VERSION()")


def test_pins_and_a_session(proxy: Operated, admin: Admin) -> None:
    with proxy.client() as client:
        number = session_of(admin, client)
        assert number not in [row[0] for row in admin("SHOW PINS")]
        client("CREATE TEMPORARY TABLE pinned (a INT)")
        pins = {row[0]: row for row in admin("SHOW PINS") if "TEMP_TABLE" in row}
        assert "CREATE TEMPORARY TABLE pinned (a INT)" in pins[number]
        shown = dict(admin(f"SHOW SESSION {number}"))
        assert shown["user"] == "hproxy"
        assert "CREATE TEMPORARY TABLE" in shown["pin TEMP_TABLE"]
        client("DROP TEMPORARY TABLE pinned")
        assert "pin TEMP_TABLE" not in dict(admin(f"SHOW SESSION {number}"))


def test_scheduler(tmp_path: Path, proxy: Operated, admin: Admin) -> None:
    out = tmp_path / "out"
    script = tmp_path / "program"
    script.write_text('#!/bin/sh\necho "$1 $2" >> "$3"\n')
    script.chmod(0o755)
    admin("INSERT INTO scheduler (id, interval_ms, filename, arg1, arg2, arg3)"
          " VALUES (1, 100, %s, 'a b', ';', %s)", str(script), str(out))  # fmt: skip
    admin("LOAD SCHEDULER TO RUNTIME")
    eventually(lambda: out.exists() and len(out.read_text().splitlines()) >= 2, "it ran twice")
    assert set(out.read_text().splitlines()) == {"a b ;"}
    admin("DELETE FROM scheduler")
    admin("LOAD SCHEDULER TO RUNTIME")
    assert admin("SELECT * FROM runtime_scheduler") == []


# -- who comes in -----------------------------------------------------------------------------


def test_the_stats_user(proxy: Operated) -> None:
    with proxy.admin("stats", "stats") as stats:
        assert stats("SELECT * FROM stats_mysql_connection_pool")
        for sql in ("SELECT * FROM mysql_users", "SELECT * FROM main.mysql_users",
                    "LOAD MYSQL USERS TO RUNTIME", "PROXYSQL PAUSE", "SELECT CONFIG FILE",
                    "DELETE FROM stats_mysql_global", "KILL 1"):  # fmt: skip
            assert stats.refused(sql)[1], sql


def test_over_tls_and_a_socket(proxy: Operated, tmp_path: Path) -> None:
    with proxy.admin(ssl_disabled=False, ssl={"check_hostname": False}) as admin:
        assert admin.connection._sock.version().startswith("TLS")
        assert admin("SELECT * FROM mysql_servers")
    path = proxy.config.parent / "admin.sock"
    with proxy.admin(unix_socket=str(path)) as admin:
        assert admin("SELECT * FROM mysql_servers")


def test_admin_is_a_local_user(proxy: Operated, admin: Admin) -> None:
    admin("SET admin-admin_credentials = 'admin:admin;remote:remote'")
    admin("LOAD ADMIN VARIABLES TO RUNTIME")
    with pytest.raises(pymysql.err.MySQLError) as caught:
        proxy.admin(bind_address="127.0.0.2").__enter__()
    assert caught.value.args == (1040, "User 'admin' can only connect locally")
    with proxy.admin("remote", "remote", bind_address="127.0.0.2") as other:
        assert other("SELECT * FROM mysql_servers")


def test_two_operators_at_once(proxy: Operated, admin: Admin) -> None:
    """Each of their statements is done as a whole, none is lost."""
    start = threading.Barrier(2)

    def work(first: int) -> None:
        with proxy.admin() as own:
            start.wait(END_S)
            for number in range(first, first + 20):
                own("INSERT INTO mysql_users (username, password) VALUES (%s, 'x')", f"u{number}")
                own("LOAD MYSQL USERS TO RUNTIME")
                own("SAVE MYSQL USERS TO DISK")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, first) for first in (0, 100)]:
            done.result(60)
    wanted = {f"u{number}" for first in (0, 100) for number in range(first, first + 20)}
    for table in ("mysql_users", "runtime_mysql_users", "disk.mysql_users"):
        names = {row[0] for row in admin(f"SELECT username FROM {table}")}
        assert names == wanted | {"hproxy"}, table
    admin("DELETE FROM mysql_users WHERE username <> 'hproxy'")
    admin("SAVE MYSQL USERS TO DISK")


def test_audited_without_passwords(tmp_path: Path, mariadb: Server) -> None:
    more: dict[str, Any] = {"mysql_variables": {"auditlog_filename": "audit"}}
    with operated(tmp_path, server_row(mariadb), **more) as proxy, proxy.admin() as admin:
        admin("INSERT INTO mysql_users (username, password) VALUES ('u', %s)", SECRET)
        admin("UPDATE mysql_users SET password = %s WHERE username = 'u'", SECRET)
        admin("LOAD MYSQL USERS TO RUNTIME")
        admin("SAVE MYSQL USERS TO DISK")
        admin(f"SET mysql-monitor_password = '{SECRET}'")
        admin("LOAD MYSQL VARIABLES TO RUNTIME")
        admin(f"SET admin-admin_credentials = 'admin:admin;other:{SECRET}'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        admin.refused(f"UPDATE mysql_users SET passwort = '{SECRET}'")
        admin("LOAD MYSQL USERS TO RUNTIME DRY RUN")
        history = str(admin("SELECT * FROM hproxy_config_history"))
        with proxy.admin("other", SECRET) as other:
            other("SELECT 1")
        with pytest.raises(pymysql.err.OperationalError):
            proxy.admin("other", SECRET[:-1]).__enter__()
    text = "".join(path.read_text(errors="replace") for path in (tmp_path / "data").glob("audit*"))
    assert "LOAD MYSQL USERS TO RUNTIME" in text
    assert "INSERT INTO mysql_users" in text
    assert '"username":"admin"' in text.replace(" ", "")
    for where, content in (("audit log", text), ("log", proxy.story()), ("history", history)):
        assert SECRET[:-1] not in content, where
    assert os.stat(tmp_path / "data/hproxy.db").st_mode & 0o077 == 0
