# SPDX-License-Identifier: Apache-2.0
"""A real upgrade while clients have what only their backend connection knows."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.integration.database import Side
from tests.support.server import Server
from tests.support.succession import Succession


@pytest.fixture
def server(mariadb: Server) -> Server:
    """One will do: tests/integration/test_handover_pinned.py asks both."""
    return mariadb


def rows(client: pymysql.Connection[Any], sql: str) -> Any:
    with client.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_connections_go_along(tmp_path: Path, sections: dict[str, Any]) -> None:
    with Succession(tmp_path / "service", sections) as service:

        def log_in() -> pymysql.Connection[Any]:
            return pymysql.connect(
                host=service.host, port=service.port, user="hproxy", password="hproxy",
                database="test", autocommit=True, ssl_disabled=True, read_timeout=20,
            )  # fmt: skip

        with log_in() as table, log_in() as lock, log_in() as transaction, log_in() as another:
            rows(table, "CREATE TEMPORARY TABLE kept (a INT)")
            rows(table, "INSERT INTO kept VALUES (7)")
            rows(lock, "SELECT GET_LOCK('hproxy upgrade', 5)")
            rows(transaction, "BEGIN")
            ids = [rows(client, "SELECT CONNECTION_ID()") for client in (table, lock, transaction)]
            upgraded = service.upgrade()
            assert (upgraded.sessions, upgraded.left) == (4, 0)
            assert rows(table, "SELECT a FROM kept") == ((7,),)
            taken = "SELECT GET_LOCK('hproxy upgrade', 0)"
            assert rows(another, taken) == ((0,),)
            assert rows(transaction, "SELECT @@in_transaction") == ((1,),)
            after = [
                rows(client, "SELECT CONNECTION_ID()") for client in (table, lock, transaction)
            ]
            assert after == ids
            # Without its lock it has any connection of the pool.
            assert rows(lock, "SELECT RELEASE_LOCK('hproxy upgrade')") == ((1,),)
            assert rows(another, taken) == ((1,),)


def test_a_limit_holds_over_both_services(
    server: Server, tmp_path: Path, sections: dict[str, Any]
) -> None:
    """What goes along is counted in one of them at each moment: the server never sees one more."""
    user, most = f"up_{secrets.token_hex(4)}", 10
    with Side(server) as side:
        side.run(f"CREATE USER {user}@'%' IDENTIFIED BY 'limited'")
        side.run(f"GRANT ALL ON test.* TO {user}@'%'")
    try:
        seen = limited(server, tmp_path, sections, user, most)
    finally:
        with Side(server) as side:
            side.run(f"DROP USER {user}@'%'")
    assert max(seen) <= most
    assert max(seen) == most, "the limit was never reached"


def limited(
    server: Server, folder: Path, sections: dict[str, Any], user: str, most: int
) -> list[int]:
    """Two upgrades under pinned and other clients; connections the server had of `user`."""
    row = {"hostname": server.host, "port": server.port, "max_connections": most}
    proxy = {name: value for name, value in sections["proxy"].items() if name != "backends"}
    whole = {
        "proxy": proxy,
        "mysql_servers": [row],
        "mysql_users": [{"username": user, "password": "limited"}],
    }
    over, seen, failed = threading.Event(), [0], []
    with Succession(folder / "service", whole) as service, ExitStack() as stack:

        def log_in() -> pymysql.Connection[Any]:
            return pymysql.connect(
                host=service.host, port=service.port, user=user, password="limited",
                database="test", autocommit=True, ssl_disabled=True, read_timeout=30,
            )  # fmt: skip

        def ask() -> None:
            try:
                with log_in() as client:
                    while not over.is_set():
                        rows(client, "SELECT 1")
            except pymysql.MySQLError as error:
                failed.append(error)

        def watch() -> None:
            with Side(server) as side:
                while not over.is_set():
                    sql = f"SELECT COUNT(*) FROM information_schema.processlist WHERE user='{user}'"
                    seen.append(int(side.run(sql)[0][0]))

        pinned = [stack.enter_context(log_in()) for _ in range(2)]
        for number, client in enumerate(pinned):
            rows(client, f"SELECT GET_LOCK('{user}{number}', 5)")
        threads = [threading.Thread(target=ask) for _ in range(16)]
        threads.append(threading.Thread(target=watch))
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                assert service.upgrade().left == 0
                for number, client in enumerate(pinned):
                    free = rows(client, f"SELECT IS_FREE_LOCK('{user}{number}')")
                    assert free == ((0,),)
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert failed == []
    return seen
