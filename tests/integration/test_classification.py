# SPDX-License-Identifier: Apache-2.0
"""What is said of statements and functions, asked of the servers themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from hproxy.protocols.mysql.functions import GRAMMAR, INTERNAL, NATIVE
from hproxy.protocols.mysql.traits import Effect, Trait, classify
from tests.support.server import Server

NO_SUCH_FUNCTION = (1305, 1630)  # so it could be a stored one
SYNTAX = 1064
READ_ONLY_TRANSACTION = 1792
IN_TRANSACTION = 0x0001  # status flag

# Of servers that are not asked here: newer (MariaDB 11 and 12) and older ones, and editions.
ELSEWHERE = b"""
    ANALYSE DISTANCE JSON_APPEND JSON_ARRAY_INTERSECT JSON_KEY_VALUE JSON_OBJECT_FILTER_KEYS
    JSON_OBJECT_TO_ARRAY KDF MONTHS_BETWEEN OLD_VALUE TO_DATE TO_NUMBER TRUNC UUID_V4 UUID_V7
    VECTOR_DISTANCE VEC_DISTANCE VEC_DISTANCE_COSINE VEC_DISTANCE_EUCLIDEAN VEC_FROMTEXT
    VEC_TOTEXT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS
"""


class Session:
    """One connection to a server, without the proxy."""

    def __init__(self, server: Server, database: str | None = None) -> None:
        self.connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=database,
            autocommit=True,
        )
        self.cursor = self.connection.cursor()

    def run(self, sql: str) -> int:
        """The error number; 0: none."""
        try:
            self.cursor.execute(sql)
        except pymysql.MySQLError as error:
            return int(error.args[0])
        return 0

    def words(self, sql: str) -> set[str]:
        self.cursor.execute(sql)
        return {str(row[0]).upper() for row in self.cursor.fetchall()}

    @property
    def in_transaction(self) -> bool:
        """Asked anew: the EOF of a CHECK TABLE still says yes after it has committed."""
        assert self.run("DO 1") == 0
        status: int = vars(self.connection)["server_status"]
        return bool(status & IN_TRANSACTION)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: Any) -> None:
        self.connection.close()


@pytest.fixture
def session(server: Server, database: str) -> Iterator[Session]:
    with Session(server, database) as session:
        yield session


@pytest.fixture
def both(mariadb: Server, mysql9: Server) -> Iterator[tuple[Session, Session]]:
    with Session(mariadb, "test") as first, Session(mysql9, "test") as second:
        yield first, second


def could_be_stored(session: Session, call: str) -> bool:
    """An argument is tried as well: some that are built in are not found without."""
    return all(
        session.run(f"SELECT {call}{arguments}") in NO_SUCH_FUNCTION
        for arguments in ("()", "(1, 1)")
    )


def test_names_in_the_list_are_built_in(both: tuple[Session, Session]) -> None:
    asked = NATIVE - set(ELSEWHERE.split()) - set(INTERNAL.split())
    calls = {f"`{name.decode()}`" for name in asked} | {name.decode() for name in GRAMMAR}
    stored = {call for call in calls if all(could_be_stored(session, call) for session in both)}
    assert stored == set()


def test_the_rest_of_the_servers_words_could_be_stored(both: tuple[Session, Session]) -> None:
    """No keyword, and no function of `SHOW` or the manual, is taken for one of a user's."""
    names = set()
    for session in both:
        names |= session.words("SELECT word FROM information_schema.keywords")
        names |= {
            name
            for topic in session.words("SELECT name FROM mysql.help_topic")
            for name in re.findall(r"[A-Z_][A-Z0-9_]+", topic)
        }
    names |= both[0].words("SELECT function FROM information_schema.sql_functions")
    unknown = {
        name for name in names if name.encode() not in NATIVE | GRAMMAR if name.isidentifier()
    }
    built_in = {
        name for name in unknown if not any(could_be_stored(session, name) for session in both)
    }
    assert built_in == set()
    assert len(names) > 1500


SETUP = (
    "CREATE TABLE t (a INT PRIMARY KEY AUTO_INCREMENT, b INT, KEY (b))",
    "INSERT INTO t (b) VALUES (1), (2)",
    "CREATE PROCEDURE p() SELECT 1",
    "CREATE FUNCTION f(x INT) RETURNS INT DETERMINISTIC RETURN x",
)

STATEMENTS = """
SELECT * FROM t
(SELECT 1) UNION (SELECT 2)
WITH x (a) AS (SELECT 1) SELECT * FROM x
SELECT * FROM t FOR UPDATE
SELECT * FROM t LOCK IN SHARE MODE
SELECT @x := 1
SELECT 1 INTO @x
EXPLAIN SELECT * FROM t
EXPLAIN DELETE FROM t
DESCRIBE t
INSERT INTO t (b) VALUES (3)
REPLACE INTO t VALUES (1, 3)
UPDATE t SET b = 3
DELETE FROM t
DO 1
SET @x = 1
SET NAMES utf8mb4
SET autocommit = 1
SHOW TABLES
SHOW WARNINGS
SAVEPOINT s
BEGIN
START TRANSACTION READ ONLY
COMMIT
COMMIT AND CHAIN
ROLLBACK
PREPARE s FROM 'SELECT 1'
CREATE TEMPORARY TABLE u (a INT)
DROP TEMPORARY TABLE IF EXISTS u
CREATE TABLE u (a INT)
CREATE VIEW v AS SELECT * FROM t
CREATE OR REPLACE VIEW v AS SELECT 1
DROP VIEW IF EXISTS v
ALTER TABLE t ADD COLUMN c INT
CREATE INDEX i ON t (b, a)
RENAME TABLE t TO u
TRUNCATE t
DROP TABLE IF EXISTS u
CREATE PROCEDURE q() SELECT 1
DROP PROCEDURE IF EXISTS q
CREATE DATABASE IF NOT EXISTS test
ANALYZE TABLE t
OPTIMIZE TABLE t
REPAIR TABLE t
CHECK TABLE t
CHECKSUM TABLE t
LOCK TABLES t READ
FLUSH TABLES
FLUSH STATUS
FLUSH TABLES t WITH READ LOCK
CREATE USER IF NOT EXISTS hproxy
GRANT SELECT ON *.* TO hproxy
SET PASSWORD = 'hproxy'
CALL p()
SELECT f(1)
HANDLER t OPEN
HELP 'select'
USE test
""".strip().splitlines()

# Statements about an account are only looked at: the tests' own must stay as it is.
NOT_RUN = ("CREATE USER", "GRANT", "SET PASSWORD")


@pytest.mark.parametrize("sql", [sql for sql in STATEMENTS if not sql.startswith(NOT_RUN)])
def test_transactions_end_where_it_says_so(session: Session, sql: str) -> None:
    for statement in SETUP:
        assert session.run(statement) == 0
    session.connection.begin()
    assert session.run("UPDATE t SET b = 9") == 0
    assert session.in_transaction
    if (error := session.run(sql)) == SYNTAX:
        pytest.fail(f"no statement of this server: {sql}")
    assert error == 0
    traits = classify(sql.encode()).traits
    # What begins one has ended the one before; SET autocommit only when it was off.
    ended = Trait.ENDS in traits and Trait.BEGINS not in traits and not sql.startswith("SET auto")
    assert session.in_transaction is not ended


@pytest.mark.parametrize("sql", [sql for sql in STATEMENTS if not sql.startswith(NOT_RUN)])
def test_reads_are_allowed_where_writes_are_not(session: Session, sql: str) -> None:
    for statement in SETUP:
        assert session.run(statement) == 0
    found = classify(sql.encode())
    assert session.run("START TRANSACTION READ ONLY") == 0
    refused = session.run(sql) == READ_ONLY_TRANSACTION
    if refused:
        assert Trait.READ not in found.traits
    if Trait.READ in found.traits:
        assert not refused
    # Temporary tables are refused as well, but change nothing that others could see.
    own = found.effects & (Effect.LOCKING_READ | Effect.CREATE_TEMPORARY | Effect.DROP_TABLE)
    if refused and not own and found.verb != b"EXPLAIN":
        assert found.traits & (Trait.WRITE | Trait.ENDS)


# Where WORD is a word behind which an operand can stand, the server parses these.
OPERANDS = """
SELECT WORD f(1)
SELECT a FROM t WHERE a WORD f(1)
SELECT a FROM t WHERE a NOT WORD f(1)
SELECT a FROM t WHERE a LIKE a WORD f(1)
SELECT a FROM t WORD f(1)
SELECT a FROM t GROUP BY a WORD f(1)
SELECT CASE 1 WHEN 1 THEN 2 WORD f(1) END
SELECT TRIM(WORD f(1) FROM f(2))
SELECT SUBSTRING('a' FROM 1 WORD f(1))
SELECT DATE_ADD('2020-01-01', WORD f(1) DAY)
SELECT {WORD f(1)}
SELECT * FROM t FOR SYSTEM_TIME AS OF WORD f(1)
INSERT INTO t VALUES (1, 1) ON DUPLICATE KEY WORD a = f(1)
DELETE FROM t WORD f(1)
EXECUTE s WORD f(1)
PREPARE s WORD f(1)
VALUES (WORD f(1))
SHOW TABLES WORD f(1)
""".strip().splitlines()
# MariaDB looks names up while it parses; these come before the syntax error.
NOT_PARSED = (SYNTAX, 1054, 1149, 1327)


def test_calls_are_seen_wherever_the_server_parses_one(session: Session) -> None:
    for statement in SETUP:
        assert session.run(statement) == 0
    parsed, missed = 0, []
    for word in session.words("SELECT word FROM information_schema.keywords"):
        for sql in (template.replace("WORD", word) for template in OPERANDS):
            if word.isidentifier() and session.run(sql) not in NOT_PARSED:
                parsed += 1
                if b"f" not in classify(sql.encode()).routines:
                    missed.append(sql)
    assert missed == []
    assert parsed > 300
