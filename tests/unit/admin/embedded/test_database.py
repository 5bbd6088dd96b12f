# SPDX-License-Identifier: Apache-2.0
"""The embedded database through a client library: what a user would try."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT

from hproxy.admin.embedded import EmbeddedDatabase
from tests.support.embedded import ACCOUNTS, Threaded, reader, threaded

WAIT_S = 10.0
COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"
ENDLESS = COUNTING.format("count(*)")


@pytest.fixture(scope="module")
def served() -> Iterator[Threaded]:
    with threaded() as running:
        yield running


@pytest.fixture(scope="module")
def read_only() -> Iterator[Threaded]:
    with threaded(reader) as running:
        yield running


def connect(served: Threaded, **options: Any) -> pymysql.Connection[Any]:
    account = {"user": "demo", "password": "demo", "database": "demo"} | options
    return pymysql.connect(host="127.0.0.1", port=served.port, **account)


@pytest.fixture
def cursor(served: Threaded) -> Iterator[Any]:
    connection = connect(served, autocommit=True)
    yield connection.cursor()
    connection.close()


def rows(cursor: Any, sql: str, *arguments: Any) -> tuple[tuple[Any, ...], ...]:
    cursor.execute(sql, *arguments)
    found: tuple[tuple[Any, ...], ...] = cursor.fetchall()
    return found


def number(cursor: Any, sql: str) -> int:
    with pytest.raises(pymysql.err.MySQLError) as caught:
        cursor.execute(sql)
    return int(caught.value.args[0])


def test_types(cursor: Any) -> None:
    assert rows(cursor, "SELECT * FROM city ORDER BY id") == (
        (1, "Köln", 1084831, 405.02, b"\0\xff"),
        (2, "Rome", None, None, None),
    )
    assert rows(cursor, "SELECT 1, 1.5, 'x', x'00', NULL, 2 - 1, 7 / 2") == (
        (1, 1.5, "x", b"\0", None, 1, 3.5),
    )
    assert rows(cursor, "SELECT id FROM city WHERE id > 99") == ()
    assert cursor.description[0][0] == "id"


@pytest.mark.parametrize(
    "value",
    ['it\'s "quoted" \\ \n\t\0 %', "☃ 𝄞", -(2**63), 2**63 - 1, 0.1, b"\0\xff'\\\"", "", b"", None],
)
def test_values_come_back_as_they_went(cursor: Any, value: object) -> None:
    assert rows(cursor, "SELECT %s", (value,)) == ((value,),)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT @@hostname", "writer"),
        ("SELECT @@version_comment LIMIT 1", None),
        ("SELECT @@read_only", 0),
        ("SELECT DATABASE()", "demo"),
        ("SELECT SCHEMA()", "demo"),
        ("SELECT USER()", "demo@127.0.0.1"),
        ("SELECT CURRENT_USER", "demo@127.0.0.1"),
        ("SELECT VERSION()", None),
        ("SELECT @@session.transaction_isolation", "REPEATABLE-READ"),
        ("SHOW VARIABLES LIKE 'host%'", "hostname"),
        ("SHOW VARIABLES WHERE Variable_name = 'autocommit'", "autocommit"),
        ("SHOW GLOBAL STATUS LIKE 'Uptime'", "Uptime"),
        ("SHOW DATABASES LIKE 'de%'", "demo"),
        ("SHOW TABLES", "city"),
        ("SHOW FULL TABLES FROM demo", "city"),
        ("SHOW TABLE STATUS", "city"),
        ("SHOW CREATE TABLE demo.city", "city"),
        ("SHOW CREATE DATABASE demo", "demo"),
        ("SHOW COLUMNS FROM city LIKE 'pop%'", "population"),
        ("SHOW FULL COLUMNS FROM city", "id"),
        ("SHOW INDEX FROM city", "city"),
        ("DESCRIBE city", "id"),
        ("DESC demo.city", "id"),
        ("EXPLAIN city", "id"),
        ("SHOW ENGINES", "SQLite"),
        ("SHOW CHARACTER SET", "utf8mb4"),
        ("SHOW COLLATION", "utf8mb4_general_ci"),
        ("SHOW PROCESSLIST", None),
        ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'demo'", "city"),
        ("SELECT COLUMN_NAME FROM information_schema.columns WHERE TABLE_NAME = 'city'", "id"),
        ("SELECT schema_name FROM information_schema.schemata", "information_schema"),
        ("EXPLAIN SELECT * FROM city", None),
    ],
)
def test_what_clients_ask(cursor: Any, sql: str, expected: object) -> None:
    found = rows(cursor, sql)
    assert found
    assert expected is None or found[0][0] == expected


@pytest.mark.parametrize(
    "sql", ["SHOW WARNINGS", "SHOW ERRORS", "SHOW TRIGGERS", "SHOW PLUGINS", "SHOW EVENTS"]
)
def test_empty_lists(cursor: Any, sql: str) -> None:
    assert rows(cursor, sql) == ()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELEC 1", 1064),
        ("SELECT FROM", 1064),
        ("SHOW NOSUCH", 1064),
        ("ATTACH 'x' AS y", 1064),
        ("PRAGMA journal_mode", 1064),
        ("VACUUM INTO 'x'", 1064),
        ("CREATE TRIGGER x AFTER INSERT ON city BEGIN SELECT 1; END", 1064),
        ("CREATE VIRTUAL TABLE x USING fts5(a)", 1064),
        ("CREATE DATABASE x", 1044),
        ("SELECT * FROM nope", 1146),
        ("DESCRIBE nope", 1146),
        ("SHOW CREATE TABLE nope", 1146),
        ("SELECT nope FROM city", 1054),
        ("SELECT nope()", 1305),
        ("INSERT INTO city VALUES (1, 'x', 1, 1, 1)", 1062),
        ("INSERT INTO city (name) VALUES (NULL)", 1048),
        ("USE nosuch", 1049),
        ("SELECT @@nosuch", 1193),
        ("SET GLOBAL hostname = 'x'", 1238),
        ("SELECT ?", 1064),
        ("/* nothing */", 1065),
        ("KILL 99999", 1094),
    ],
)
def test_errors(cursor: Any, sql: str, expected: int) -> None:
    assert number(cursor, sql) == expected
    assert rows(cursor, "SELECT 1") == ((1,),)


def test_tables_of_ones_own(cursor: Any) -> None:
    cursor.execute(
        "CREATE TABLE note (id INT UNSIGNED NOT NULL AUTO_INCREMENT, text VARCHAR(20),"
        " PRIMARY KEY (id), KEY (text)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4"
    )
    assert cursor.execute("INSERT INTO note (text) VALUES ('a'), ('b'), (NULL)") == 3
    assert cursor.lastrowid == 1
    assert rows(cursor, "SELECT LAST_INSERT_ID(), ROW_COUNT()") == ((1, 3),)
    assert cursor.execute("UPDATE note SET text = 'c' WHERE text IS NOT NULL") == 2
    assert cursor.execute("DELETE FROM note WHERE id = 1") == 1
    cursor.execute("INSERT INTO note VALUES (2, 'd') ON DUPLICATE KEY UPDATE text = VALUES(text)")
    assert rows(cursor, "SELECT * FROM note") == ((2, "d"), (3, None))
    cursor.execute("TRUNCATE TABLE note")
    assert rows(cursor, "SELECT COUNT(*) AS n FROM note") == ((0,),)
    cursor.execute("ALTER TABLE note ADD COLUMN more INT DEFAULT 5")
    cursor.execute("DROP TABLE note")
    assert number(cursor, "SELECT * FROM note") == 1146


def test_transactions_are_apart(served: Threaded) -> None:
    first, second = connect(served), connect(served)
    try:
        with first.cursor() as a, second.cursor() as b:
            a.execute("UPDATE city SET population = 5 WHERE id = 2")
            assert rows(b, "SELECT population FROM city WHERE id = 2") == ((None,),)
            # Somebody else's lock is waited for, not for ever.
            b.execute("SET innodb_lock_wait_timeout = 1")
            assert number(b, "UPDATE city SET population = 6 WHERE id = 2") == 1205
            first.rollback()
            assert rows(a, "SELECT population FROM city WHERE id = 2") == ((None,),)
            b.execute("BEGIN")
            b.execute("INSERT INTO city (id, name) VALUES (3, 'x')")
            b.execute("SAVEPOINT s")
            b.execute("INSERT INTO city (id, name) VALUES (4, 'y')")
            b.execute("ROLLBACK TO s")
            second.commit()
            assert rows(a, "SELECT id FROM city WHERE id > 2") == ((3,),)
            a.execute("DELETE FROM city WHERE id = 3")
            first.commit()
    finally:
        first.close()
        second.close()


def test_a_session_that_ends_rolls_back(served: Threaded, cursor: Any) -> None:
    connection = connect(served)
    connection.cursor().execute("INSERT INTO city (id, name) VALUES (7, 'x')")
    connection.close()
    assert rows(cursor, "SELECT * FROM city WHERE id = 7") == ()
    # Its lock is gone as well, once it is.
    cursor.execute("UPDATE city SET area = area WHERE id = 1")


def test_reader_refuses_writes(read_only: Threaded) -> None:
    connection = connect(read_only, autocommit=True)
    try:
        with connection.cursor() as cursor:
            assert rows(cursor, "SELECT @@hostname, @@read_only") == (("reader", 1),)
            for sql in ("DELETE FROM city", "CREATE TABLE t (a INT)", "DROP TABLE city"):
                assert number(cursor, sql) == 1290
            assert len(rows(cursor, "SELECT * FROM city")) == 2
    finally:
        connection.close()


def test_several_statements_at_once(served: Threaded) -> None:
    connection = connect(served, client_flag=CLIENT.MULTI_STATEMENTS)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET @a = 1; SELECT @a; SELECT 'two'")
            found = [tuple(cursor.fetchall())]
            while cursor.nextset():
                found.append(cursor.fetchall())
            assert found == [(), ((1,),), (("two",),)]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("user", "password"), [("demo", "wrong"), ("demo", ""), ("nobody", "demo"), ("", "")]
)
def test_wrong_logins(served: Threaded, user: str, password: str) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        connect(served, user=user, password=password)
    assert caught.value.args[0] == 1045


def test_unknown_database_at_login(served: Threaded) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        connect(served, database="nosuch")
    assert caught.value.args[0] == 1049


def test_empty_password(served: Threaded) -> None:
    connect(served, user="empty", password="").close()


def test_a_heavy_query_holds_up_nobody_and_can_be_killed(served: Threaded, cursor: Any) -> None:
    heavy = connect(served)
    codes: list[int] = []

    def run() -> None:
        with heavy.cursor() as own:
            codes.append(number(own, ENDLESS))
            codes.append(number(own, "SELECT nope()"))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + WAIT_S
    while True:
        busy = [row[0] for row in rows(cursor, "SHOW PROCESSLIST") if row[5] == ENDLESS]
        if busy:
            break
        assert time.monotonic() < deadline
    assert rows(cursor, "SELECT name FROM city WHERE id = 1") == (("Köln",),)
    cursor.execute(f"KILL QUERY {busy[0]}")
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert codes == [1317, 1305]
    heavy.close()


@pytest.mark.parametrize("sql", ["SELECT SLEEP(60)", ENDLESS])
def test_a_statement_has_a_time_budget(sql: str) -> None:
    def hasty() -> EmbeddedDatabase:
        return EmbeddedDatabase("writer", ACCOUNTS, budget_sec=1.0)

    with threaded(hasty) as served:
        connection = connect(served)
        with connection.cursor() as cursor:
            assert number(cursor, sql) == 1317
            assert rows(cursor, "SELECT 1") == ((1,),)
        connection.close()


def test_kill_ends_a_connection(served: Threaded, cursor: Any) -> None:
    victim = connect(served)
    ((number_of_victim,),) = rows(victim.cursor(), "SELECT CONNECTION_ID()")
    cursor.execute(f"KILL {number_of_victim}")
    with pytest.raises(pymysql.err.OperationalError):
        victim.cursor().execute("SELECT 1")
    ((me,),) = rows(cursor, "SELECT CONNECTION_ID()")
    stranger = connect(served, user="other", password="secret")
    with stranger.cursor() as own:
        assert number(own, f"KILL {me}") == 1095
    stranger.close()


def test_too_large_a_result_is_refused(cursor: Any) -> None:
    assert number(cursor, COUNTING.format("zeroblob(1000000)")) == 1104
    assert number(cursor, "SELECT zeroblob(1 << 30)") == 1301


def test_too_many_connections() -> None:
    with threaded(max_connections=1) as served:
        first = connect(served)
        with pytest.raises(pymysql.err.OperationalError) as caught:
            connect(served)
        assert caught.value.args[0] == 1040
        first.close()
