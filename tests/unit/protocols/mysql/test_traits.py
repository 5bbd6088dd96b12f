# SPDX-License-Identifier: Apache-2.0
"""Statements and what is said of them; every one as text and as digest."""

from __future__ import annotations

from functools import reduce
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.digest import digest
from hproxy.protocols.mysql.statement import SLOW_EFFECTS
from hproxy.protocols.mysql.traits import Effect, Trait, Traits, classify


def traits(text: str) -> Trait:
    return reduce(Trait.__or__, (Trait[name] for name in text.split()), Trait(0))


def effects(text: str) -> Effect:
    return reduce(Effect.__or__, (Effect[name] for name in text.split()), Effect(0))


# statement | traits besides SLOW | effects
TABLE = r"""
SELECT c FROM sbtest1 WHERE id = 5046 | READ SAFE_REPEAT |
SELECT DISTINCT c FROM t WHERE id BETWEEN 1 AND 9 ORDER BY c | READ SAFE_REPEAT |
SELECT begin, `update`, t.commit, t.`into` FROM t AS `set` | READ SAFE_REPEAT |
SELECT 'FOR UPDATE', "INTO", 'f(1) @x' -- GET_LOCK(1) | READ SAFE_REPEAT |
(SELECT 1) UNION (SELECT 2) LIMIT 1 | READ SAFE_REPEAT |
TABLE t | READ SAFE_REPEAT |
VALUES ROW(1, 2) | READ SAFE_REPEAT |
WITH x (a) AS (SELECT 1) SELECT * FROM x | READ SAFE_REPEAT |
WITH x AS (SELECT 1) UPDATE t, x SET t.a = 1 | WRITE |
WITH x AS (SELECT 1) DELETE t FROM t, x | WRITE |
SELECT SLEEP(1), BENCHMARK(9, MD5(1)), NOW(), RAND(), UUID() | READ SAFE_REPEAT |
SELECT @x | READ SAFE_REPEAT | USER_VARIABLES
SELECT @x := 1 | | USER_VARIABLES
SELECT a INTO @x FROM t | | USER_VARIABLES INTO
SELECT a FROM t INTO OUTFILE '/x' | | INTO
SELECT * FROM t FOR UPDATE SKIP LOCKED | SAFE_REPEAT | LOCKING_READ
SELECT * FROM t FOR SHARE | SAFE_REPEAT | LOCKING_READ
SELECT * FROM (SELECT 1 FROM t LOCK IN SHARE MODE) x | SAFE_REPEAT | LOCKING_READ
SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1 | READ SAFE_REPEAT CALC_ROWS |
SELECT FOUND_ROWS() | CONTEXT FOUND_ROWS |
SELECT ROW_COUNT() | CONTEXT |
SELECT @@warning_count, @@session.error_count | CONTEXT |
SELECT LAST_INSERT_ID() | LAST_ID |
SELECT @@last_insert_id | LAST_ID |
SELECT @@IDENTITY | LAST_ID |
SELECT identity, last_insert_id FROM t | READ SAFE_REPEAT |
SELECT LAST_INSERT_ID(5) | LAST_ID | LAST_ID_SET
UPDATE seq SET id = LAST_INSERT_ID(id + 1) | WRITE LAST_ID | LAST_ID_SET
INSERT INTO t VALUES (LAST_INSERT_ID()) | WRITE LAST_ID |
SELECT GET_LOCK('a', 1) | | USER_LOCK
SELECT RELEASE_LOCK('a'), RELEASE_ALL_LOCKS() | | RELEASE_LOCK
SELECT IS_FREE_LOCK('a') | |
SELECT IS_USED_LOCK('a') | | CONNECTION_ID
SELECT CONNECTION_ID() | READ SAFE_REPEAT | CONNECTION_ID
SELECT MASTER_POS_WAIT('a', 1) | |
SELECT WAIT_FOR_EXECUTED_GTID_SET('a') | |
SELECT @@gtid_executed | |
SELECT @@global.read_only | |
SELECT @@version, @@session.autocommit | READ SAFE_REPEAT |
SELECT @@session_track_schema | READ SAFE_REPEAT | TRACKING
SELECT * FROM performance_schema.session_variables | READ SAFE_REPEAT | TRACKING
SELECT * FROM information_schema.profiling | | PROFILING
SELECT NEXTVAL(s) | WRITE | SEQUENCE
SELECT NEXT VALUE FOR s | WRITE | SEQUENCE
SELECT PREVIOUS VALUE FOR s | WRITE CONTEXT | SEQUENCE
SELECT LASTVAL(s) | WRITE CONTEXT | SEQUENCE
SELECT shop.f(1) | WRITE | ROUTINE
SELECT f(1), g(2) FOR UPDATE | WRITE | ROUTINE LOCKING_READ
EXPLAIN SELECT 1 | READ SAFE_REPEAT |
EXPLAIN FORMAT = JSON SELECT 1 | READ SAFE_REPEAT |
DESCRIBE t | SAFE_REPEAT |
DESC UPDATE t SET a = 1 | SAFE_REPEAT |
EXPLAIN ANALYZE SELECT 1 | READ SAFE_REPEAT |
EXPLAIN ANALYZE DELETE FROM t | WRITE |
EXPLAIN FORMAT = JSON INTO @x SELECT 1 | | USER_VARIABLES INTO
ANALYZE SELECT 1 | READ SAFE_REPEAT |
ANALYZE UPDATE t SET a = 1 | WRITE |
ANALYZE TABLE t PERSISTENT FOR COLUMNS (a) INDEXES (b) | WRITE ENDS |
INSERT INTO t (a) VALUES (1), (2) ON DUPLICATE KEY UPDATE a = VALUES(a) | WRITE |
INSERT INTO t SELECT a FROM u FOR UPDATE | WRITE | LOCKING_READ
REPLACE INTO t SET a = @x | WRITE | USER_VARIABLES
UPDATE t SET a = a + 1 WHERE b = 2 | WRITE |
DELETE FROM t WHERE a = 1 | WRITE |
CALL p(1, @x) | WRITE | ROUTINE USER_VARIABLES
DO 1 | |
DO RELEASE_LOCK('a') | | RELEASE_LOCK
LOAD DATA INFILE 'x' INTO TABLE t (a, @b) SET c = @b | WRITE | USER_VARIABLES
LOAD DATA LOCAL INFILE 'x' INTO TABLE t | WRITE | LOCAL_INFILE
LOAD XML CONCURRENT LOCAL INFILE 'x' INTO TABLE t | WRITE | LOCAL_INFILE
BEGIN | BEGINS |
BEGIN WORK | BEGINS |
START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY | BEGINS |
COMMIT | ENDS |
COMMIT AND CHAIN | BEGINS ENDS |
COMMIT AND NO CHAIN NO RELEASE | ENDS |
COMMIT RELEASE | ENDS | UNKNOWN
ROLLBACK | ENDS |
ROLLBACK TO s | | SAVEPOINT
ROLLBACK WORK TO SAVEPOINT s | | SAVEPOINT
SAVEPOINT s | | SAVEPOINT
RELEASE SAVEPOINT s | | SAVEPOINT
XA START 'x' | BEGINS | XA
XA END 'x' | | XA
XA COMMIT 'x' ONE PHASE | ENDS WRITE | XA
SET NAMES utf8mb4 | SAFE_REPEAT | SET
SET SESSION sql_mode = 'ANSI', @@time_zone = '+00:00' | SAFE_REPEAT | SET
SET autocommit = 0 | ENDS SAFE_REPEAT | SET
SET @@session.autocommit = 1 | ENDS SAFE_REPEAT | SET
SET @a = 1, @b = 'x' | SAFE_REPEAT | SET USER_VARIABLES
SET @a = @a + 1 | | SET USER_VARIABLES
SET sql_mode = CONCAT(@@sql_mode, ',ANSI') | | SET
SET last_insert_id = 5 | LAST_ID | SET
SET profiling = 1 | | SET PROFILING
SET SESSION session_track_gtids = OWN_GTID | SAFE_REPEAT | SET TRACKING
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE | | SET SET_TRANSACTION
SET SESSION TRANSACTION READ ONLY | SAFE_REPEAT | SET
SET PASSWORD FOR 'a'@'b' = 'c' | WRITE ENDS | SET
SET DEFAULT ROLE r TO a@b | WRITE ENDS | SET
SET ROLE r@'%' | SAFE_REPEAT | SET
SET STATEMENT max_statement_time = 1 FOR SELECT 1 | READ SAFE_REPEAT | SET
SET STATEMENT max_statement_time = 1 FOR DELETE FROM t | WRITE | SET
SHOW TABLES | SAFE_REPEAT |
SHOW WARNINGS LIMIT 1 | CONTEXT |
SHOW ERRORS | CONTEXT |
SHOW COUNT(*) WARNINGS | CONTEXT |
SHOW COLUMNS FROM warnings | SAFE_REPEAT |
SHOW VARIABLES LIKE 'x' | SAFE_REPEAT | TRACKING
SHOW SESSION VARIABLES | SAFE_REPEAT | TRACKING
SHOW GLOBAL VARIABLES | SAFE_REPEAT |
SHOW FULL PROCESSLIST | SAFE_REPEAT | CONNECTION_ID
SHOW PROFILES | | PROFILING
SHOW PROFILE FOR QUERY 1 | | PROFILING
SHOW GRANTS FOR 'a'@'b' | SAFE_REPEAT |
SHOW CREATE USER a@b | SAFE_REPEAT |
GET DIAGNOSTICS CONDITION 1 @a = MESSAGE_TEXT | CONTEXT | USER_VARIABLES
USE shop | SAFE_REPEAT | USE
PREPARE s FROM 'SELECT ?' | | PREPARE
PREPARE s FROM @x | | PREPARE USER_VARIABLES
EXECUTE s USING @x | WRITE | EXECUTE USER_VARIABLES
EXECUTE IMMEDIATE 'SELECT 1' | WRITE | EXECUTE
DEALLOCATE PREPARE s | | DEALLOCATE
DROP PREPARE s | | DEALLOCATE
CREATE TEMPORARY TABLE t (a VARCHAR(3)) | | CREATE_TEMPORARY
CREATE OR REPLACE TEMPORARY TABLE IF NOT EXISTS t SELECT @x | | CREATE_TEMPORARY USER_VARIABLES
CREATE TABLE t (a INT, KEY k (a)) | WRITE ENDS | DDL
CREATE TABLE t (a INT) SELECT f(1) AS a | WRITE ENDS | DDL ROUTINE
CREATE TABLE t (`temporary` INT) | WRITE ENDS | DDL
CREATE DEFINER = 'a'@'b' VIEW v AS SELECT f(1) | WRITE ENDS | DDL
CREATE FUNCTION f(a INT) RETURNS INT RETURN g(a) | WRITE ENDS | DDL
CREATE USER a@b IDENTIFIED BY 'x' | WRITE ENDS |
GRANT SELECT (a) ON t TO a@b | WRITE ENDS |
ALTER TABLE t ADD COLUMN b DECIMAL(3, 1) | WRITE ENDS | DDL
ALTER USER a@b ACCOUNT LOCK | WRITE ENDS |
RENAME TABLE a TO b | WRITE ENDS | DDL
TRUNCATE t | WRITE ENDS | DDL
DROP TABLE t | WRITE ENDS | DROP_TABLE DDL
DROP TABLES IF EXISTS a, b | WRITE ENDS | DROP_TABLE DDL
DROP TEMPORARY TABLE t | | DROP_TABLE
DROP DATABASE shop | WRITE ENDS | DDL
LOCK TABLES t READ LOCAL, u WRITE | ENDS | TABLE_LOCK
LOCK INSTANCE FOR BACKUP | | TABLE_LOCK
UNLOCK TABLES | ENDS | UNLOCK
FLUSH TABLES WITH READ LOCK | ENDS | TABLE_LOCK
FLUSH TABLES t FOR EXPORT | ENDS | TABLE_LOCK
FLUSH NO_WRITE_TO_BINLOG TABLES | ENDS |
BACKUP STAGE START | ENDS | TABLE_LOCK
BACKUP STAGE END | ENDS | UNLOCK
BACKUP LOCK t | | TABLE_LOCK
BACKUP UNLOCK | | UNLOCK
HANDLER t OPEN | | HANDLER
HANDLER t READ k = (1) | | HANDLER
KILL QUERY 5 | | KILL
KILL USER a@b | | KILL
CHECK TABLE t | ENDS |
CHECKSUM TABLE t | SAFE_REPEAT |
OPTIMIZE TABLE t | WRITE ENDS |
BINLOG 'x' | WRITE | UNKNOWN
SELEKT 1 | | UNKNOWN
BEGIN NOT ATOMIC SET @x = 1; END | WRITE ENDS | UNKNOWN USER_VARIABLES
/*!40101 SET NAMES utf8 */ | SAFE_REPEAT | SET
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */ | | SET USER_VARIABLES
SELECT /*!40001 SQL_NO_CACHE */ * FROM `t` | READ SAFE_REPEAT |
SELECT /*+ SET_VAR(sort_buffer_size = 1) */ 1 | READ SAFE_REPEAT |
-- nothing | |
SELECT 1; SELECT 2; | READ SAFE_REPEAT MULTI |
SELECT 1; UPDATE t SET a = 1 | WRITE MULTI |
SELECT 1; SET @x = f(1) | WRITE MULTI | SET USER_VARIABLES ROUTINE
SELECT @@autocommit; COMMIT | ENDS MULTI |
CREATE PROCEDURE p() BEGIN SET @x = 1; IF @x THEN SELECT 1; END IF; END | WRITE ENDS | DDL
CREATE PROCEDURE p() SELECT 1; USE shop | WRITE ENDS MULTI | DDL USE
CREATE EVENT e DO BEGIN CASE WHEN 1 THEN SET @x = 1; END CASE; END; DO 1 | WRITE ENDS MULTI | DDL
"""

ROWS = [tuple(part.strip() for part in line.split(" |")) for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(
    ("sql", "wanted_traits", "wanted_effects"), ROWS, ids=lambda text: text[:50]
)
def test_statements(sql: str, wanted_traits: str, wanted_effects: str) -> None:
    found = classify(sql.encode())
    assert found.effects == effects(wanted_effects)
    assert found.traits & ~(Trait.SLOW | Trait.NO_TABLE) == traits(wanted_traits)
    assert classify(digest(sql.encode())) == found


@pytest.mark.parametrize(
    "sql", [row[0].encode() for row in ROWS], ids=lambda sql: sql[:50].decode()
)
def test_slow_is_what_the_session_must_hear_of(sql: bytes) -> None:
    found = classify(sql)
    slow = bool(found.effects & SLOW_EFFECTS)
    if Effect.LAST_ID_SET in found.effects and found.verb == b"SELECT":
        slow = True  # no OK tells the number
    assert (Trait.SLOW in found.traits) == slow


@pytest.mark.parametrize(
    ("sql", "routines"),
    [
        (b"SELECT f(1), shop.g(2), f(3), abs(1)", (b"f", b"shop.g")),
        (b"CALL shop . `my p`(f(1))", (b"shop.`my p`", b"f")),
        (b"CALL p", (b"p",)),
        (b"CALL", ()),
        (
            b"BEGIN NOT ATOMIC IF f(1) THEN CALL p; ELSE CALL shop.q; END IF; END",
            (b"p", b"shop.q", b"f"),
        ),
        (b"SELECT f(1); CALL p(); SELECT f(2)", (b"f", b"p")),
        (b"CREATE VIEW v AS SELECT f(1)", ()),
    ],
)
def test_routines(sql: bytes, routines: tuple[bytes, ...]) -> None:
    assert classify(sql).routines == routines


def test_a_text_without_statement() -> None:
    for sql in (b"", b" ; ;; ", b"/* nothing */", b"# nothing"):
        assert classify(sql) == Traits(Trait(0), Effect(0), b"")


@pytest.mark.parametrize("head", [b"WITH ", b"CREATE PROCEDURE p() ", b"SELECT "])
@pytest.mark.parametrize(
    "piece", [b"f(", b"(", b"SELECT 1;", b"x(a) AS (", b"CASE ", b"@a,", b"a.", b"WITH x AS ("]
)
def test_many_parts_take_linear_time(head: bytes, piece: bytes) -> None:
    """Sixteen times the text may take 48 times as long; what is quadratic takes 256 times."""

    def spent(count: int) -> float:
        begin = process_time()
        classify(head + piece * count)
        return process_time() - begin

    short = min(spent(250) for _ in range(3))
    assert min(spent(4000) for _ in range(3)) < 48 * short


def test_rows_of_a_long_text_are_not_read_one_by_one() -> None:
    calls = b",".join([b"(1, LAST_INSERT_ID())"] * 100)
    sql = b"INSERT INTO t VALUES (1, 2, 3, 4), " + b",".join([b"(1, 'a', 2, 'b')"] * 100_000)
    begin = process_time()
    assert classify(sql) == classify(b"INSERT INTO t VALUES (1, 2, 3, 4)")
    assert process_time() - begin < 0.2
    assert classify(b"INSERT INTO t VALUES " + calls).traits & Trait.LAST_ID


def test_what_is_not_whole_may_do_anything() -> None:
    sql = b"SELECT a FROM t WHERE b IN (f(1),"
    known, head = classify(sql), classify(sql, whole=False)
    assert head.traits == Trait.SLOW | Trait.WRITE
    assert head.effects == known.effects | Effect.UNKNOWN
    assert (head.verb, head.routines) == (known.verb, known.routines)


VOCABULARY = b"""
    SELECT INSERT UPDATE DELETE WITH SET SHOW CREATE DROP TABLE TEMPORARY PROCEDURE BEGIN END IF
    CASE COMMIT ROLLBACK TO AND CHAIN RELEASE LOCK IN FOR UPDATE SHARE INTO FROM AS EXPLAIN
    ANALYZE FORMAT STATEMENT CALL XA KILL USER GRANT LOAD DATA LOCAL BACKUP FLUSH NEXT VALUE
    PREPARE EXECUTE f g abs count nextval last_insert_id
    ( ) , . ; = := + ? 1 'x' "y" `z` @a @@b @@session.c @ /*+ */
""".split()


@given(st.lists(st.sampled_from(VOCABULARY), max_size=30))
def test_any_words_are_classified_alike_as_digest(words: list[bytes]) -> None:
    sql = b" ".join(words)
    assert classify(digest(sql)) == classify(sql)


@given(st.binary(max_size=200), st.sampled_from([0, 1, 2, 3, 4, 8, 12, 16]))
def test_garbage_is_classified(sql: bytes, modes: int) -> None:
    found = classify(sql, modes)
    assert Trait.READ not in found.traits or Trait.WRITE not in found.traits


# What MariaDB 10.11 itself was seen to do with the warnings of before.
KEEPS = """
SELECT 1
SELECT 1 FROM DUAL
SELECT (SELECT 1)
SELECT 1 UNION SELECT 2
VALUES (1), (2)
SET @a = 1
SET NAMES utf8mb4
SET STATEMENT max_statement_time = 5 FOR SELECT 1
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
SET ROLE NONE
DO 1
USE test
BEGIN
START TRANSACTION
COMMIT
ROLLBACK
ROLLBACK TO SAVEPOINT a
SAVEPOINT a
UNLOCK TABLES
PREPARE s FROM 'SELECT 1'
EXECUTE s
DEALLOCATE PREPARE s
SELECT GET_LOCK('x', 1)
SHOW CREATE DATABASE test
SHOW FULL PROCESSLIST
SHOW GRANTS
SHOW MASTER STATUS
SHOW COUNT(*) ERRORS
EXPLAIN SELECT 1
FLUSH STATUS
CREATE DATABASE d
DROP USER u
HELP 'select'
XA START 'a'
""".strip().splitlines()
CLEARS = """
SELECT 1 FROM (SELECT 1) t
SELECT EXISTS(SELECT 1 FROM t)
WITH q AS (SELECT 1) SELECT * FROM q
SET @a = (SELECT MAX(id) FROM t)
DO (SELECT 1 FROM t)
LOCK TABLES t READ
SELECT NEXT VALUE FOR s
SELECT LASTVAL(s)
SHOW VARIABLES LIKE 'x'
SHOW TABLES
SHOW CREATE TABLE t
SHOW PLUGINS
EXPLAIN SELECT * FROM t
DESCRIBE t
ANALYZE TABLE t
CHECKSUM TABLE t
FLUSH TABLES t
CREATE OR REPLACE VIEW v AS SELECT 1
TRUNCATE TABLE t
INSERT INTO t (v) VALUES ('b')
HANDLER t OPEN
SELECT 1; SELECT * FROM t
""".strip().splitlines()


@pytest.mark.parametrize("sql", KEEPS)
def test_names_no_table(sql: str) -> None:
    assert Trait.NO_TABLE in classify(sql.encode()).traits


@pytest.mark.parametrize("sql", CLEARS)
def test_names_a_table(sql: str) -> None:
    assert Trait.NO_TABLE not in classify(sql.encode()).traits
