# SPDX-License-Identifier: Apache-2.0
"""Who may log in, what the stats user sees, what admin-read_only allows."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from hproxy.admin.console.account import Accounts, Role
from hproxy.admin.model import Client
from hproxy.config.proxysql.values import Values
from hproxy.errors import AdminError, ClientError
from hproxy.net.tls import client_context, ensure_certificate
from tests.support.console import Served, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving() as made:
        yield made


def refusal(served: Served, user: str, password: str) -> tuple[int, str]:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        served.connect(user, password)
    return caught.value.args[0], caught.value.args[1]


def test_unknown_and_wrong_say_the_same(served: Served) -> None:
    wrong = refusal(served, "admin", "wrong")
    unknown = refusal(served, "nimda", "wrong")
    assert wrong[0] == unknown[0] == 1045
    assert wrong[1].replace("admin", "X") == unknown[1].replace("nimda", "X")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::ffff:127.0.0.1"])
def test_admin_from_here(host: str) -> None:
    assert Accounts(Values()).role(Client(1, "admin", host)) is Role.ADMIN


def test_admin_from_elsewhere() -> None:
    values = Values({"admin-admin_credentials": "admin:admin;radmin:radmin"})
    accounts = Accounts(values)
    assert accounts.role(Client(1, "radmin", "10.0.0.9")) is Role.ADMIN
    assert accounts.role(Client(1, "stats", "10.0.0.9")) is Role.STATS
    with pytest.raises(AdminError) as caught:
        accounts.role(Client(1, "admin", "10.0.0.9"))
    assert caught.value.reason == "User 'admin' can only connect locally"
    assert caught.value.facts == {"number": 1040, "sqlstate": b"42000"}


def test_credentials_are_live(served: Served) -> None:
    values = served.port.variables
    with served.admin() as admin:
        assert refusal(served, "radmin", "r;a")[0] == 1045
        admin("SET admin-admin_credentials = 'admin:admin;radmin:pass:word'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
    with served.admin("radmin", "pass:word") as other:
        assert other.one("SELECT USER()") == "radmin@127.0.0.1"
    values.update({"admin-admin_credentials": "admin:admin"})
    assert refusal(served, "radmin", "pass:word")[0] == 1045


def test_the_stats_user(served: Served) -> None:
    with served.admin("stats", "stats") as stats:
        for sql in (
            "SELECT * FROM stats.stats_mysql_global",
            "SELECT * FROM stats_mysql_global",
            "SELECT * FROM main.stats_mysql_global",
            "SELECT * FROM monitor.mysql_server_ping_log",
            "SELECT * FROM stats_history.mysql_connections",
            "SELECT * FROM mysql_connections",
            "SELECT * FROM stats_mysql_query_digest_reset",
            "SHOW TABLES FROM stats",
            "SHOW PROCESSLIST",
            "SHOW MYSQL STATUS",
            "SHOW CHARSET",
            "SHOW COLLATION",
            "select version();",
            "SET NAMES utf8mb4",
        ):
            stats(sql)
        assert ("stats_mysql_global",) in stats("SHOW TABLES")
        for sql in (
            "SELECT * FROM mysql_users",
            "SELECT * FROM disk.mysql_users",
            "SELECT * FROM global_variables",
            "SHOW MYSQL USERS",
            "SELECT CONFIG FILE",
            "LOAD MYSQL SERVERS TO RUNTIME",
            "SAVE MYSQL SERVERS TO DISK",
            "PROXYSQL PAUSE",
            "PROXYSQL READWRITE",
            "KILL CONNECTION 1",
            "ROLLBACK CONFIG TO 1",
            "SET mysql-max_connections = 1",
            "CREATE TABLE mine (a)",
            "DELETE FROM mysql_connections",
        ):
            assert stats.refused(sql)[0] == 1045, sql
        assert stats("SHOW VARIABLES") == []
        assert stats.refused("SELECT @@mysql-monitor_password")[0] == 1193


def test_read_only(served: Served) -> None:
    with served.admin() as admin:
        admin("PROXYSQL READONLY")
        assert served.port.variables.flag("admin-read_only")
        for sql in ("DELETE FROM mysql_servers", "LOAD MYSQL SERVERS TO RUNTIME",
                    "SET mysql-max_connections=5", "PROXYSQL PAUSE"):  # fmt: skip
            assert admin.refused(sql)[0] == 1045
        for sql in ("SELECT * FROM mysql_servers", "SHOW MYSQL USERS", "CHECKSUM MYSQL USERS"):
            admin(sql)
        assert admin("SHOW GLOBAL VARIABLES LIKE 'read_only'") == [("read_only", "ON")]
        admin("PROXYSQL READWRITE")
        admin("DELETE FROM mysql_servers")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        assert not served.port.variables.flag("admin-read_only")


class Guard:
    """As `hproxy.auth.guard` is used: one attempt a login."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.blocked = False

    @contextmanager
    def attempt(self, host: str) -> Iterator[Guard]:
        try:
            yield self
        except Exception as error:
            cause: Any = getattr(error, "error", error)
            self.heard.append(f"{host} {cause.full_code}")
            raise

    def over(self, find: Any) -> Any:
        def found(user: bytes) -> Any:
            if self.blocked:
                raise ClientError("too many failed logins", code="limit")
            return find(user)

        return found


def test_a_guard_hears_of_failures_and_can_refuse() -> None:
    guard = Guard()
    with serving(guard=guard) as served:
        refusal(served, "admin", "wrong")
        served.connect().close()
        assert guard.heard == ["127.0.0.1 auth"]
        guard.blocked = True
        refusal(served, "admin", "admin")
        assert guard.heard[1:] == ["127.0.0.1 client.limit"]


def test_every_statement_is_told() -> None:
    told: list[tuple[str, str]] = []
    with (
        serving(told=lambda client, text: told.append((client.user, text))) as served,
        served.admin() as admin,
    ):
        admin("SELECT 1")
        admin("INSERT INTO mysql_users (username, password) VALUES ('u', 'geheim')")
        admin("SET mysql-monitor_password = geheim")
        admin("LOAD MYSQL USERS TO RUNTIME")
    texts = [text for _, text in told]
    assert ("admin", "SELECT 1") in told
    assert "INSERT INTO mysql_users (username, password) VALUES ('***', '***')" in texts
    assert "SET mysql-monitor_password = '***'" in texts
    assert "LOAD MYSQL USERS TO RUNTIME" in texts


def test_over_a_unix_socket_and_tls(tmp_path: Path) -> None:
    path = str(tmp_path / "admin.sock")
    with serving(path=path):
        connection = pymysql.connect(unix_socket=path, user="admin", password="admin")
        with connection.cursor() as cursor:
            cursor.execute("SELECT USER()")
            assert cursor.fetchone() == ("admin@localhost",)
        connection.close()
    certificate, key = ensure_certificate(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    with serving(tls=client_context(certificate, key)) as served:
        connection = served.connect(ssl=context, ssl_disabled=False)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == ("1",)
        connection.close()
