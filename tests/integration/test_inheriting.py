# SPDX-License-Identifier: Apache-2.0
"""What operators have loaded and not saved is what the next service runs on.

operator ── LOAD, SET, OFFLINE_SOFT, no SAVE ──> old ── QUIT ──> new: runtime and memory as before
"""

from __future__ import annotations

import http.client
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support.console import Admin
from tests.support.embedded import threaded
from tests.support.proxy import Proxy, toml

USER = {"username": "demo", "password": "demo"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A configuration of two servers, the second of which is in a hostgroup of its own."""
    with threaded() as server, threaded() as other:
        yield {
            "server": {
                "listen_addr": "127.0.0.1:0",
                "data_dir": str(tmp_path / "data"),
                "worker_threads": 1,
            },
            "admin": {"address": "127.0.0.1:0"},
            "proxy": {"auth": "table"},
            "mysql_servers": [
                {"hostgroup_id": 0, "hostname": "127.0.0.1", "port": server.port},
                {"hostgroup_id": 7, "hostname": "127.0.0.1", "port": other.port},
            ],
            "mysql_users": [USER],
        }


@contextmanager
def operator(proxy: Proxy, known: int = 0) -> Iterator[Admin]:
    port = int(proxy.wait_for_log("admin port open")["address"].rpartition(":")[2])
    assert known in (0, port)
    connection = pymysql.connect(
        host="127.0.0.1", port=port, user="admin", password="admin", autocommit=None,
        ssl_disabled=True,
    )  # fmt: skip
    try:
        yield Admin(connection)
    finally:
        connection.close()


@contextmanager
def followed(folder: Path, old: Proxy, *flags: str) -> Iterator[Proxy]:
    """The next service, which serves."""
    flags = ("--upgrade", *flags)
    with Proxy(folder / "new", old.config, flags, single=False, waits=True) as new:
        old.signal(signal.SIGQUIT)
        new.wait_for_log("serving", deadline_s=30)
        yield new
    old.ended(30)


def one(port: int, sql: str = "SELECT 1", **who: Any) -> Any:
    with (
        pymysql.connect(host="127.0.0.1", port=port, **{"user": "demo", "password": "demo"} | who)
        as client,
        client.cursor() as cursor,
    ):  # fmt: skip
        cursor.execute(sql)
        return cursor.fetchall()


def test_what_was_loaded_goes_on(tmp_path: Path, made: dict[str, Any]) -> None:
    with Proxy(tmp_path, made, single=False) as old:
        staying = pymysql.connect(host=old.host, port=old.port, user="demo", password="demo")
        with operator(old) as admin:
            for sql in (
                "INSERT INTO mysql_query_rules (rule_id, active, match_pattern, error_msg, apply) "
                "VALUES (5, 1, '^SELECT 5$', 'not five', 1)",
                "LOAD MYSQL QUERY RULES TO RUNTIME",
                "INSERT INTO mysql_users (username, password) VALUES ('other', 'secret')",
                "LOAD MYSQL USERS TO RUNTIME",
                "UPDATE mysql_servers SET status = 'OFFLINE_SOFT' WHERE hostgroup_id = 7",
                "LOAD MYSQL SERVERS TO RUNTIME",
                "SET mysql-max_connections = 321",
                "LOAD MYSQL VARIABLES TO RUNTIME",
                # In memory, and not loaded.
                "SET admin-stats_mysql_connections = 77",
                "SET mysql-default_query_delay = 3",
                "DELETE FROM mysql_users WHERE username = 'demo'",
                "INSERT INTO mysql_query_rules (rule_id, active, match_digest) VALUES (6, 0, 'x')",
            ):
                admin(sql)
        with followed(tmp_path, old) as new:
            with pytest.raises(pymysql.err.MySQLError, match="not five"):
                one(old.port, "SELECT 5")
            assert one(old.port, user="other", password="secret") == ((1,),)
            assert one(old.port) == ((1,),)
            with staying.cursor() as cursor:
                cursor.execute("SELECT 2")
                assert cursor.fetchall() == ((2,),)
            staying.close()
            with operator(new) as admin:
                runs = "SELECT variable_value FROM runtime_global_variables WHERE variable_name="
                holds = runs.replace("runtime_", "")
                assert admin.one(runs + "'mysql-max_connections'") == "321"
                assert admin.one(holds + "'mysql-max_connections'") == "321"
                assert admin.one(runs + "'mysql-default_query_delay'") == "0"
                assert admin.one(holds + "'mysql-default_query_delay'") == "3"
                assert admin.one(runs + "'admin-stats_mysql_connections'") == "60"
                assert admin.one(holds + "'admin-stats_mysql_connections'") == "77"
                status = "SELECT status FROM {} WHERE hostgroup_id = 7"
                for table in ("mysql_servers", "runtime_mysql_servers"):
                    assert admin.one(status.format(table)) == "OFFLINE_SOFT"
                assert admin("SELECT username FROM mysql_users") == [("other",)]
                assert ("demo",) in admin("SELECT DISTINCT username FROM runtime_mysql_users")
                assert admin("SELECT rule_id FROM runtime_mysql_query_rules") == [("5",)]
                assert admin("SELECT rule_id FROM mysql_query_rules") == [("5",), ("6",)]
                told = admin(
                    "SELECT module, statement FROM hproxy_config_history WHERE action='upgrade'"
                )
                assert {module for module, _ in told} == {
                    "mysql_query_rules", "mysql_users", "mysql_servers", "mysql_variables",
                }  # fmt: skip
                assert all("kept from the service before" in statement for _, statement in told)
            assert not new.lines("not as it was before the upgrade")
    assert not old.faults()


def test_statuses_and_a_pause_go_on(tmp_path: Path, made: dict[str, Any]) -> None:
    with Proxy(tmp_path, made, single=False) as old:
        with operator(old) as admin:
            admin("PROXYSQL PAUSE")
        with followed(tmp_path, old) as new, operator(new) as admin:
            with pytest.raises(pymysql.err.OperationalError):
                one(old.port)
            admin("PROXYSQL RESUME")
            assert one(old.port) == ((1,),)


def test_a_file_that_has_changed_counts_when_it_is_asked_to(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    with Proxy(tmp_path, made, single=False) as old:
        with operator(old) as admin:
            admin("SET mysql-max_connections = 321")
            admin("LOAD MYSQL VARIABLES TO RUNTIME")
        users = [USER, {"username": "other", "password": "secret"}]
        old.config.write_text(toml({**made, "mysql_users": users}))
        with followed(tmp_path, old) as new:
            told = new.wait_for_log("not as it was before the upgrade")["reason"]
            assert told.startswith("mysql_users: the file says otherwise")
            with pytest.raises(pymysql.err.OperationalError):
                one(old.port, user="other", password="secret")
            with followed(tmp_path, new, "--reload") as third:
                assert one(old.port, user="other", password="secret") == ((1,),)
                with operator(third) as admin:
                    wanted = "SELECT @@mysql-max_connections"
                    assert admin.one(wanted) == "321"
                    assert ("other",) in admin("SELECT username FROM mysql_users")


HTTP = ("--http", "127.0.0.1:0")


@contextmanager
def knocking(*ports: int) -> Iterator[list[str]]:
    """Probes and operators who connect over and over meanwhile; what went wrong for them."""
    stop, wrong, served = threading.Event(), [], [0] * len(ports)

    def live(port: int) -> None:
        probe = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        probe.request("GET", "/healthz/live")
        assert probe.getresponse().status == 200
        probe.close()

    def greeted(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            assert sock.recv(5)[4] == 10  # the protocol's version

    def knock(number: int, port: int) -> None:
        while not stop.wait(0.005):
            try:
                (live, greeted)[number](port)
                served[number] += 1
            except Exception as error:
                wrong.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=knock, args=each) for each in enumerate(ports)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert min(served) > 5


def test_operators_and_probes_are_never_refused(tmp_path: Path, made: dict[str, Any]) -> None:
    with Proxy(tmp_path, made, HTTP, single=False) as old:
        probed, operated = (
            int(old.wait_for_log(event)["address"].rpartition(":")[2])
            for event in ("http api open", "admin port open")
        )
        with operator(old) as admin, knocking(probed, operated) as wrong:
            admin("INSERT INTO mysql_users (username, password) VALUES ('other', 'secret')")
            # One that does not come up: the head goes on, with all that operators have there.
            taken = {"server": made["server"] | {"listen_addr": f"127.0.0.1:{operated}"}}
            broken = tmp_path / "broken.toml"
            broken.write_text(toml(made | taken))
            flags = ("--upgrade", "--reload", *HTTP)
            new = Proxy(tmp_path / "broken", broken, flags, single=False, waits=True)
            old.signal(signal.SIGQUIT)
            told = old.wait_for_log("not handed over: the service goes on", deadline_s=30)
            assert "cannot listen" in told["reason"]
            new.wait_until(lambda: not new.running, "the new one is gone")
            new.kill()
            assert len(admin("SELECT username FROM mysql_users")) == 2
            admin("LOAD MYSQL USERS TO RUNTIME")
            with followed(tmp_path, old, *HTTP) as new:
                with operator(new, operated) as there:
                    assert len(there("SELECT username FROM mysql_users")) == 2
                assert wrong == []
