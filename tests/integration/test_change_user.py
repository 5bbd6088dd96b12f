# SPDX-License-Identifier: Apache-2.0
"""COM_CHANGE_USER to an account of another hostgroup: the session moves to a backend there."""

from __future__ import annotations

from typing import Any

import MySQLdb
import pytest

from tests.integration.conftest import ProxyFactory
from tests.support.process import eventually
from tests.support.server import Server


def fetch(connection: Any, sql: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchall()[0]


def test_session_moves_to_the_hostgroup_of_the_new_account(
    proxy: ProxyFactory, mariadb: Server
) -> None:
    row = {"hostname": mariadb.host, "port": mariadb.port}
    running = proxy(
        mariadb,
        "table",
        proxy={"backends": []},
        mysql_servers=[{"hostgroup_id": 0, **row}, {"hostgroup_id": 1, **row}],
        mysql_users=[
            {"username": "hproxy", "password": "hproxy"},
            {"username": "native", "password": "native", "default_hostgroup": 1},
        ],
    )
    who = "SELECT CURRENT_USER(), CONNECTION_ID()"
    connection: Any = MySQLdb.connect(
        host=running.host, port=running.port, user="hproxy", passwd="hproxy", db="test"
    )
    try:
        user, first = fetch(connection, who)
        assert user == "hproxy@%"
        connection.change_user("native", "native", "test")
        user, second = fetch(connection, who)
        assert user.startswith("native@")
        assert second != first
        connection.change_user("hproxy", "hproxy", "test")
        user, third = fetch(connection, who)
        assert user == "hproxy@%"
        assert third not in (first, second)
        left = (
            f"SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ({first}, {second})"
        )
        eventually(lambda: fetch(connection, left) == (0,), "the backends left are closed")
        with pytest.raises(MySQLdb.OperationalError) as refused:
            connection.change_user("native", "wrong", "test")
        assert refused.value.args[0] == 1045
    finally:
        connection.close()
