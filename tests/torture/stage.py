# SPDX-License-Identifier: Apache-2.0
"""The databases both sides play in, equal but for one letter of their names.

<prefix>1     each session's tables t, m, w, k; routines all share
<prefix>2     each session's table t again, with other rows: who sees which is in the wrong schema
<prefix>c     DROP and CREATE of whole databases
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import pymysql

from tests.support.server import Server

__all__ = ["Stage", "staged"]

ROUTINES = (
    "CREATE PROCEDURE p_plain(IN a INT) BEGIN SELECT a, a + 1; END",
    "CREATE PROCEDURE p_silent() BEGIN DO 1; END",
    """CREATE PROCEDURE p_out(IN a INT, INOUT b INT, OUT c VARCHAR(20))
        BEGIN SELECT a, b; SET b = b + a; SET c = 'out'; END""",
    """CREATE PROCEDURE p_var(IN a VARCHAR(100))
        BEGIN SET @a = a; SET @routine = CONCAT(a, '!'); END""",
    """CREATE PROCEDURE p_variable(IN a INT)
        BEGIN SET SESSION sort_buffer_size = 100000 + a * 4096; END""",
    "CREATE PROCEDURE p_mode() BEGIN SET SESSION sql_mode = 'ANSI_QUOTES'; END",
    "CREATE PROCEDURE p_names() BEGIN SET NAMES latin1; SELECT @@character_set_client; END",
    """CREATE PROCEDURE p_temporary()
        BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS routine_temporary (a INT);
        INSERT INTO routine_temporary VALUES (1); END""",
    "CREATE PROCEDURE p_begin() BEGIN START TRANSACTION; END",
    "CREATE PROCEDURE p_commit() BEGIN COMMIT; END",
    "CREATE PROCEDURE p_autocommit(IN a INT) BEGIN SET autocommit = a; END",
    "CREATE PROCEDURE p_next() BEGIN SET TRANSACTION ISOLATION LEVEL READ COMMITTED; END",
    "CREATE PROCEDURE p_lock(IN a VARCHAR(60)) BEGIN SELECT GET_LOCK(a, 0); END",
    "CREATE PROCEDURE p_unlock(IN a VARCHAR(60)) BEGIN DO RELEASE_LOCK(a); END",
    """CREATE PROCEDURE p_prepare()
        BEGIN PREPARE from_routine FROM 'SELECT 7 AS from_routine'; EXECUTE from_routine; END""",
    "CREATE PROCEDURE p_fail() BEGIN SET @before = 1; SELECT 1; SELECT * FROM no_such_table; END",
    """CREATE PROCEDURE p_signal() BEGIN SIGNAL SQLSTATE '01000'
        SET MESSAGE_TEXT = 'a warning', MYSQL_ERRNO = 1642; END""",
    "CREATE PROCEDURE p_identity(IN a INT) BEGIN DO LAST_INSERT_ID(a); END",
    """CREATE PROCEDURE p_nested(IN a INT) BEGIN CALL p_plain(a); CALL p_var('nested');
        SELECT @a; END""",
    "CREATE FUNCTION f_plain(a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a * 2",
    """CREATE FUNCTION f_var(a INT) RETURNS INT DETERMINISTIC NO SQL
        BEGIN SET @f = a; SET @a = a + 1; RETURN a; END""",
    """CREATE FUNCTION f_variable(a INT) RETURNS INT DETERMINISTIC NO SQL
        BEGIN SET SESSION join_buffer_size = 131072 + a * 4096; RETURN a; END""",
)


def tables(session: int, family: str) -> Iterator[str]:
    """What one session has for itself in database 1."""
    n = f"{session:02}"
    # MySQL warns (6414) of InnoDB and MyISAM in one transaction, and on a connection that had
    # both also long after it, of a statement on InnoDB alone.
    engine = "MyISAM" if family == "mariadb" else "InnoDB"
    yield f"""CREATE TABLE t{n} (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200), n INT,
        KEY (n)) ENGINE=InnoDB CHARACTER SET utf8mb4"""
    yield f"INSERT INTO t{n} (v, n) VALUES ('one', 1), ('two', 2), ('three', 3)"
    yield f"""CREATE TABLE m{n} (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200), n INT)
        ENGINE={engine} CHARACTER SET utf8mb4"""
    yield f"INSERT INTO m{n} (v, n) VALUES ('m one', 1), ('m two', 2)"
    yield f"""CREATE TABLE w{n} (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))
        ENGINE=InnoDB CHARACTER SET utf8mb4"""
    yield f"""CREATE TRIGGER g{n} BEFORE INSERT ON w{n} FOR EACH ROW
        BEGIN SET @trigger = NEW.v; SET @a = CONCAT('t ', NEW.v); END"""
    yield f"""CREATE TABLE k{n} (id INT PRIMARY KEY, tiny TINYINT NOT NULL, d DATE,
        e ENUM('x','y'), price DECIMAL(10,3), f DOUBLE, b VARBINARY(100), j TEXT) ENGINE=InnoDB
        CHARACTER SET utf8mb4"""
    yield f"""INSERT INTO k{n} VALUES (1, 1, '2024-02-29', 'x', 1.5, 2.25, x'00ff', '[1]'),
        (2, -1, NULL, 'y', NULL, NULL, NULL, NULL)"""
    yield f"CREATE VIEW v{n} AS SELECT id, v FROM t{n} WHERE n > 1"


class Stage:
    """Both sides' databases on one server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.ready: set[int] = set()
        self.connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            charset="utf8mb4",
            autocommit=True,
        )

    def prefix(self, side: str) -> str:
        """`side` is d (direct) or p (through the proxy)."""
        return f"{self.name}_{side}"

    def run(self, statements: Iterable[str]) -> None:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def raise_curtain(self) -> None:
        """Make the databases with what all sessions share."""
        self.run(["SET SESSION sql_log_bin = 0"])
        for side in "dp":
            prefix = self.prefix(side)
            for database in "12":
                self.run([f"CREATE DATABASE {prefix}{database} CHARACTER SET utf8mb4"])
            self.run([f"USE {prefix}1", *ROUTINES])

    def prepare(self, session: int) -> None:
        """Make a session's tables, anew if they are there."""
        n = f"{session:02}"
        for side in "dp":
            prefix = self.prefix(side)
            self.run([f"USE {prefix}1"])
            if session in self.ready:
                kinds = ", ".join(f"{kind}{n}" for kind in "tmwk")
                self.run([f"DROP VIEW IF EXISTS v{n}", f"DROP TABLE IF EXISTS {kinds}"])
                self.run([f"DROP DATABASE IF EXISTS {prefix}c{n}"])
            self.run(tables(session, self.server.name))
            self.run(
                [
                    f"USE {prefix}2",
                    f"DROP TABLE IF EXISTS t{n}",
                    f"CREATE TABLE t{n} (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200), n INT)",
                    f"INSERT INTO t{n} (v, n) VALUES ('second {n}', 100)",
                ]
            )
        self.ready.add(session)

    def kill(self, side: str) -> None:
        """End the connections that are in a database of a side."""
        prefix = self.prefix(side)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM information_schema.processlist WHERE LEFT(db, %s) = %s",
                (len(prefix), prefix),
            )
            for (number,) in cursor.fetchall():
                with suppress(pymysql.MySQLError):  # gone already
                    cursor.execute(f"KILL {number}")

    def drop_curtain(self) -> None:
        for side in "dp":
            prefix = self.prefix(side)
            with self.connection.cursor() as cursor:
                cursor.execute(
                    "SELECT schema_name FROM information_schema.schemata"
                    " WHERE LEFT(schema_name, %s) = %s",
                    (len(prefix), prefix),
                )
                found = [row[0] for row in cursor.fetchall()]
            self.run(f"DROP DATABASE `{database}`" for database in found)
        self.connection.close()


@contextmanager
def staged(server: Server, name: str) -> Iterator[Stage]:
    """A stage, dropped at the end."""
    stage = Stage(server, name)
    try:
        stage.raise_curtain()
        yield stage
    finally:
        stage.drop_curtain()
