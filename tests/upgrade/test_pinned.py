# SPDX-License-Identifier: Apache-2.0
"""A real upgrade while clients have what only their backend connection knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pymysql
import pytest

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
            assert rows(lock, "SELECT RELEASE_LOCK('hproxy upgrade')") == ((1,),)
            assert rows(another, taken) == ((1,),)
            assert rows(transaction, "SELECT @@in_transaction") == ((1,),)
            after = [
                rows(client, "SELECT CONNECTION_ID()") for client in (table, lock, transaction)
            ]
            assert after == ids
