# SPDX-License-Identifier: Apache-2.0
"""COM_CHANGE_USER and COM_RESET_CONNECTION: nothing of the session before is left in the next.

To an account of another hostgroup, the session moves to a backend there.
"""

from __future__ import annotations

from typing import Any

import MySQLdb
import pytest

from hproxy.protocols.mysql.constants import Command
from tests.integration.conftest import ProxyFactory
from tests.integration.route import Route
from tests.support.process import eventually
from tests.support.server import Server


def fetch(connection: Any, sql: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchall()[0]


STATE = (
    "SET @a = 5, time_zone = '+03:00', autocommit = 0, NAMES latin1",
    "CREATE TEMPORARY TABLE left_behind (a INT)",
    "PREPARE left_behind FROM 'SELECT 1'",
    "SELECT GET_LOCK('left behind', 0)",
    "BEGIN",
    "INSERT INTO left_behind VALUES (1)",
)
QUESTIONS = (
    "SELECT CURRENT_USER(), DATABASE(), @a, @@time_zone, @@autocommit, @@character_set_client",
    "SELECT LAST_INSERT_ID(), ROW_COUNT()",
    "SELECT IS_USED_LOCK('left behind')",
)
FAILING = ("SELECT * FROM left_behind", "EXECUTE left_behind")


def test_a_changed_user_finds_nothing_of_the_one_before(route: Route) -> None:
    other = "native" if route.is_mariadb else "sha2"
    options = {"host": route.host, "port": route.port, "charset": "utf8mb4"}
    direct = {"host": route.server.host, "port": route.server.port, "charset": "utf8mb4"}
    told = []
    for target in (direct, options):
        connection: Any = MySQLdb.connect(**target, user="hproxy", passwd="hproxy", db="test")
        try:
            for statement in STATE:
                connection.cursor().execute(statement)
            connection.change_user(other, other, "test")
            answers = [fetch(connection, question) for question in QUESTIONS]
            for statement in FAILING:
                with pytest.raises(MySQLdb.Error) as failed:
                    connection.cursor().execute(statement)
                answers.append(failed.value.args[0])
            connection.change_user("hproxy", "hproxy", "information_schema")
            answers.append(fetch(connection, "SELECT CURRENT_USER(), DATABASE()"))
            told.append(answers)
        finally:
            connection.close()
    assert told[1] == told[0]


def test_a_reset_connection_has_nothing_left(route: Route) -> None:
    told = []
    for client in (route.raw_direct(), route.raw()):
        with client:
            for statement in STATE:
                client.query(statement)
            answers = [client.command(bytes([Command.RESET_CONNECTION]))]
            answers += [client.query(question) for question in (*QUESTIONS, *FAILING)]
            told.append(answers)
    assert told[1] == told[0]


def test_a_refused_change_ends_the_session(route: Route) -> None:
    """On every way, as MySQL does; MariaDB by itself would let the session go on."""
    connection: Any = MySQLdb.connect(
        host=route.host, port=route.port, user="hproxy", passwd="hproxy", db="test"
    )
    try:
        for user, password, schema, number in (
            ("hproxy", "wrong", "test", 1045),
            ("nobody", "", "test", 1045),
            ("hproxy", "hproxy", "no_such_database", 1049),
        ):
            again: Any = MySQLdb.connect(
                host=route.host, port=route.port, user="hproxy", passwd="hproxy", db="test"
            )
            try:
                with pytest.raises(MySQLdb.OperationalError) as refused:
                    again.change_user(user, password, schema)
                assert refused.value.args[0] == number
                with pytest.raises(MySQLdb.OperationalError) as ended:
                    again.cursor().execute("SELECT 1")
                assert ended.value.args[0] in (2006, 2013)
            finally:
                again.close()
        # Nobody else notices.
        assert fetch(connection, "SELECT 1") == (1,)
    finally:
        connection.close()


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
