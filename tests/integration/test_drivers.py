# SPDX-License-Identifier: Apache-2.0
"""PyMySQL, mysqlclient and mysql-connector-python do through the proxy what they do directly."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.integration.conftest import direct
from tests.integration.drivers import (
    CONNECTOR,
    DRIVERS,
    MYSQLCLIENT,
    PATIENCE_S,
    PYMYSQL,
    Driver,
    connected,
)
from tests.integration.route import Route

TEXT = "grüße, 日本語, 🐘 and 'quotes' \\ \0 end"
ROW = (
    1,
    -9_223_372_036_854_775_808,
    18_446_744_073_709_551_615,
    Decimal("-12345678901234567890.123456789"),
    2.5,
    datetime.date(2024, 2, 29),
    datetime.datetime(2024, 2, 29, 23, 59, 59, 123456),
    datetime.timedelta(hours=-838, minutes=-59, seconds=-59),
    TEXT,
    bytes(range(256)),
    None,
)
TABLE = """CREATE TABLE t (
    id INT PRIMARY KEY, low BIGINT, high BIGINT UNSIGNED, exact DECIMAL(40,9), approximate DOUBLE,
    day DATE, moment DATETIME(6), took TIME, words TEXT CHARACTER SET utf8mb4, data LONGBLOB,
    nothing INT)"""

every_driver = pytest.mark.parametrize("driver", DRIVERS, ids=str)


def rows(connection: Any, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def run(connection: Any, statement: str, *parameters: Any) -> int:
    """Rows affected."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement, parameters or None)
        return int(cursor.rowcount)
    finally:
        cursor.close()


@every_driver
def test_every_kind_of_value_comes_back(route: Route, database: str, driver: Driver) -> None:
    with connected(driver, route, database) as connection:
        run(connection, TABLE)
        assert run(connection, f"INSERT INTO t VALUES ({', '.join(['%s'] * len(ROW))})", *ROW) == 1
        connection.commit()
        assert rows(connection, "SELECT * FROM t") == [ROW]
        assert rows(connection, "SELECT words FROM t WHERE words = %s", TEXT) == [(TEXT,)]
        assert rows(connection, "SELECT * FROM t WHERE id > 5") == []


@every_driver
def test_large_values_both_ways(route: Route, database: str, driver: Driver) -> None:
    data = bytes(range(256)) * 20_000
    with connected(driver, route, database) as connection:
        run(connection, TABLE)
        run(connection, "INSERT INTO t (id, data) VALUES (1, %s)", data)
        assert rows(connection, "SELECT data, LENGTH(data) FROM t") == [(data, len(data))]
        numbers = rows(connection, "SELECT REPEAT('x', 1000) FROM information_schema.columns")
        assert len(numbers) > 1000
        assert {len(value) for (value,) in numbers} == {1000}


@every_driver
def test_transactions(route: Route, database: str, driver: Driver) -> None:
    with (
        connected(driver, route, database) as one,
        connected(driver, route, database) as other,
    ):
        run(one, TABLE)
        run(one, "INSERT INTO t (id) VALUES (1)")
        assert rows(other, "SELECT id FROM t") == []
        other.rollback()
        one.commit()
        assert rows(other, "SELECT id FROM t") == [(1,)]
        run(one, "UPDATE t SET words = 'changed'")
        one.rollback()
        assert rows(one, "SELECT words FROM t") == [(None,)]
        run(one, "SAVEPOINT s")
        run(one, "DELETE FROM t")
        run(one, "ROLLBACK TO s")
        assert rows(one, "SELECT COUNT(*) FROM t") == [(1,)]


@every_driver
@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("SELEC 1", 1064),
        ("SELECT * FROM no_such_table", 1146),
        ("SELECT no_such_column FROM t", 1054),
        ("INSERT INTO t (id) VALUES (7)", 1062),
        ("USE no_such_database", 1049),
        ("CALL no_such_procedure()", 1305),
        ("SELECT (SELECT 1 UNION SELECT 2)", 1242),
        ("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own'", 1644),
    ],
)
def test_errors_keep_their_number(
    route: Route, database: str, driver: Driver, statement: str, number: int
) -> None:
    with connected(driver, route, database) as connection:
        run(connection, TABLE)
        run(connection, "INSERT INTO t (id) VALUES (7)")
        with pytest.raises(driver.errors) as failure:
            results(connection, statement)
        assert failure.value.args[0] == number
        assert rows(connection, "SELECT 1") == [(1,)]


@every_driver
def test_several_statements_at_once(route: Route, driver: Driver) -> None:
    with connected(driver, route) as connection:
        assert results(connection, "SELECT 1; SELECT 2, 3; SELECT 'four'") == [
            [(1,)],
            [(2, 3)],
            [("four",)],
        ]
        assert results(connection, "SET @a = 5; SELECT @a") == [[], [(5,)]]
        with pytest.raises(driver.errors) as failure:
            results(connection, "SELECT 1; SELECT * FROM test.no_such_table; SELECT 2")
        assert failure.value.args[0] == 1146
        assert rows(connection, "SELECT @a") == [(5,)]


def results(connection: Any, statement: str) -> list[list[tuple[Any, ...]]]:
    """The rows of each result; [] for a statement without."""
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
        found = []
        while True:
            found.append(list(cursor.fetchall()) if cursor.description else [])
            if not cursor.nextset():
                return found
    finally:
        cursor.close()


@every_driver
def test_stored_procedures(route: Route, database: str, driver: Driver) -> None:
    with connected(driver, route, database) as connection:
        run(
            connection,
            """CREATE PROCEDURE several(IN a INT, INOUT b INT)
               BEGIN SELECT a; SELECT a + 1, 'x'; SET b = a + b; SELECT NULL; END""",
        )
        run(connection, "SET @b = 10")
        # A procedure's results end with an OK of its own.
        found = results(connection, "CALL several(5, @b)")
        assert [result for result in found if result] == [[(5,)], [(6, "x")], [(None,)]]
        assert rows(connection, "SELECT @b") == [(15,)]
        cursor = connection.cursor()
        cursor.callproc("several", (1, 2))
        if driver is not CONNECTOR:
            while cursor.nextset():
                pass
        cursor.close()
        assert rows(connection, "SELECT 1") == [(1,)]


@every_driver
def test_local_file(route: Route, database: str, driver: Driver, tmp_path: Path) -> None:
    with connected(driver, route, database) as connection:
        run(connection, "CREATE TABLE f (id INT, words VARCHAR(100))")
        file = tmp_path / "rows.csv"
        file.write_text("".join(f"{i},row {i} ü\n" for i in range(50_000)))
        load = f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE f FIELDS TERMINATED BY ','"
        assert run(connection, load) == 50_000
        connection.commit()
        total = [(50_000, 49_999 * 50_000 // 2)]
        assert rows(connection, "SELECT COUNT(*), CAST(SUM(id) AS SIGNED) FROM f") == total
        file.write_text("")
        assert run(connection, load) in (0, -1)
        file.unlink()
        with pytest.raises((driver.errors, OSError)):
            run(connection, load)
    assert direct(route.server, f"SELECT COUNT(*) FROM {database}.f") == [(50_000,)]


@every_driver
def test_streamed_result_left_half_way(route: Route, driver: Driver) -> None:
    statement = "SELECT a.ordinal_position, REPEAT('y', 2000) FROM information_schema.columns a"
    with connected(driver, route) as connection:
        cursor = driver.streaming(connection)
        cursor.execute(statement)
        assert cursor.fetchone() is not None
        if driver is CONNECTOR:
            # It refuses to forget rows: close the connection as it is.
            connection._socket.close_connection()
        else:
            cursor.close()
            assert rows(connection, "SELECT 1") == [(1,)]
    with connected(driver, route) as connection:
        cursor = driver.streaming(connection)
        cursor.execute(statement)
        assert len(cursor.fetchall()) > 1000
        cursor.close()


def wait_until_lost(driver: Driver, connection: Any) -> None:
    """A KILL takes effect a moment after its OK."""
    end = monotonic() + PATIENCE_S
    while monotonic() < end:
        try:
            rows(connection, "SELECT 1")
        except driver.errors:
            return
    pytest.fail("the killed connection still answers")


@every_driver
def test_own_id_can_be_killed(route: Route, driver: Driver) -> None:
    with connected(driver, route) as victim, connected(driver, route) as killer:
        known = victim.connection_id if driver is CONNECTOR else victim.thread_id()
        run(killer, f"KILL {known}")
        wait_until_lost(driver, victim)
        assert rows(killer, "SELECT 1") == [(1,)]


@every_driver
def test_the_servers_id_can_be_killed_too(route: Route, driver: Driver) -> None:
    with connected(driver, route) as victim, connected(driver, route) as killer:
        if route.multiplexed:
            run(victim, "BEGIN")  # or the connection is anybody's, the killer's for one
        ((known,),) = rows(victim, "SELECT CONNECTION_ID()")
        run(killer, f"KILL CONNECTION {known}")
        wait_until_lost(driver, victim)


def test_kill_of_nobody_is_the_servers_error(route: Route) -> None:
    with connected(PYMYSQL, route) as connection:
        for statement in ("KILL 1999999999", "KILL QUERY 1999999999"):
            with pytest.raises(PYMYSQL.errors) as failure:
                run(connection, statement)
            assert failure.value.args[0] == 1094


@every_driver
def test_change_user(route: Route, driver: Driver) -> None:
    with connected(driver, route, "test") as connection:
        run(connection, "SET @a = 1")
        if driver is PYMYSQL:
            connection.ping()  # it has no change_user
        elif driver is MYSQLCLIENT:
            connection.change_user("empty", "", "test")
        else:
            connection.cmd_change_user("empty", "", "test", charset=45)
        expected = "hproxy" if driver is PYMYSQL else "empty"
        ((user, variable),) = rows(connection, "SELECT SUBSTRING_INDEX(USER(), '@', 1), @a")
        assert user == expected
        assert variable == (1 if driver is PYMYSQL else None)


def test_change_user_back_and_forth(route: Route) -> None:
    with connected(CONNECTOR, route, "test") as connection:
        for user in ("empty", "hproxy", "empty", "hproxy"):
            password = "" if user == "empty" else user
            connection.cmd_change_user(user, password, "test", charset=45)
            found = rows(connection, "SELECT SUBSTRING_INDEX(USER(), '@', 1), DATABASE()")
            assert found == [(user, "test")]


def test_change_to_a_user_with_a_wrong_password(route: Route) -> None:
    with connected(CONNECTOR, route, "test") as connection:
        with pytest.raises(CONNECTOR.errors) as failure:
            connection.cmd_change_user("hproxy", "wrong", "test", charset=45)
        assert failure.value.args[0] == 1045
        wait_until_lost(CONNECTOR, connection)


def test_reset_connection_and_ping(route: Route) -> None:
    with connected(CONNECTOR, route, "test") as connection:
        run(connection, "SET @a = 1")
        connection.cmd_reset_connection()
        assert rows(connection, "SELECT @a") == [(None,)]
        connection.ping(reconnect=False)
        assert connection.cmd_statistics()
    with connected(MYSQLCLIENT, route) as client:
        client.ping()
        assert "Uptime" in client.stat()


def test_connector_prepares(route: Route, database: str) -> None:
    with connected(CONNECTOR, route, database) as connection:
        run(connection, TABLE)
        cursor = connection.cursor(prepared=True)
        for number in range(50):
            cursor.execute(
                "INSERT INTO t (id, words, data, nothing) VALUES (%s, %s, %s, %s)",
                (number, TEXT + str(number), bytes([number]) * 100, None),
            )
        connection.commit()
        cursor.close()
        cursor = connection.cursor(prepared=True)
        for number in (0, 25, 49):
            cursor.execute("SELECT id, words, nothing FROM t WHERE id = %s", (number,))
            assert cursor.fetchall() == [(number, TEXT + str(number), None)]
        cursor.execute("SELECT id FROM t WHERE id = %s", (1000,))
        assert cursor.fetchall() == []
        cursor.close()
        # The C client has no way to prepare in Python: its server-side form goes through SQL.
        run(connection, "PREPARE p FROM 'SELECT ? + 1'")
        run(connection, "SET @a = 41")
        assert [int(value) for (value,) in rows(connection, "EXECUTE p USING @a")] == [42]


def test_session_attributes_reach_the_server(route: Route) -> None:
    with connected(PYMYSQL, route, program_name="hproxy tests") as connection:
        ((schema,),) = rows(connection, "SELECT @@performance_schema")
        if schema:
            found = rows(
                connection,
                "SELECT attr_name, attr_value FROM performance_schema.session_connect_attrs "
                "WHERE processlist_id = CONNECTION_ID()",
            )
            assert {"_client_ip", "program_name"} <= {name for name, _ in found}
        assert rows(connection, "SELECT 1") == [(1,)]


def test_json(route: Route, database: str) -> None:
    with connected(PYMYSQL, route, database) as connection:
        run(connection, "CREATE TABLE j (doc JSON)")
        document = json.dumps({"ü": [1, None, "🐘"]}, ensure_ascii=False)
        run(connection, "INSERT INTO j VALUES (%s)", document)
        ((found,),) = rows(connection, "SELECT doc FROM j")
        assert json.loads(found) == json.loads(document)
