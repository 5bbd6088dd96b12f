# SPDX-License-Identifier: Apache-2.0
"""Phrases about data: transactions, what a statement leaves behind, tables, locks, routines."""

from __future__ import annotations

from tests.torture.pen import Pen, q
from tests.torture.step import Ahead, Query, Step

__all__ = ["PHRASES"]


def change(pen: Pen) -> str:
    """A statement that changes rows of the session's own tables."""
    t, m, w = pen.table(), pen.table("m"), pen.table("w")
    n = pen.small()
    return pen.pick(
        (
            f"INSERT INTO {t} (v, n) VALUES ({pen.word()}, {n})",
            f"INSERT INTO {t} (v, n) VALUES ({pen.word()}, {n}), ({pen.word()}, {n})",
            f"UPDATE {t} SET n = n + 1 WHERE id <= {n}",
            f"UPDATE {t} SET v = {pen.word()} WHERE id = {n}",
            f"DELETE FROM {t} WHERE id > {n + 10}",
            f"INSERT INTO {m} (v, n) VALUES ({pen.word()}, {n})",
            f"REPLACE INTO {t} (id, v, n) VALUES ({n}, {pen.word()}, {n})",
            f"INSERT INTO {t} (id, v) VALUES ({n}, 'dup') ON DUPLICATE KEY UPDATE v = {pen.word()}",
            f"INSERT INTO {w} (v) VALUES ({pen.word()})",
            f"INSERT INTO {t} (v, n) SELECT v, n FROM {t} WHERE id = 1",
            f"DELETE FROM {m} WHERE id > {n + 5}",
            f"INSERT IGNORE INTO {t} (id, v) VALUES (1, 'again')",
            f"INSERT INTO {t} (id, v) VALUES (1, 'duplicate')", f"UPDATE {t} SET v = v",
            f"DELETE FROM {w} WHERE id > 20",
        )
    )  # fmt: skip


def read(pen: Pen) -> str:
    t = pen.table()
    n = pen.small()
    return pen.pick(
        (
            f"SELECT * FROM {t} ORDER BY id LIMIT 10", f"SELECT COUNT(*), SUM(n), MAX(id) FROM {t}",
            f"SELECT v FROM {t} WHERE id = {n}", f"SELECT * FROM {t} WHERE id = {n} FOR UPDATE",
            f"SELECT * FROM v{pen.session:02} ORDER BY id LIMIT 3",
            f"SELECT * FROM {pen.table('k')} ORDER BY id",
            # Ordered, its columns would be of a table or of a temporary one: that follows from
            # statistics, which each side has of its own.
            f"SELECT COUNT(*), MAX(b.v) FROM {t} a JOIN {t} b ON a.id = b.id",
            f"WITH x AS (SELECT id, v FROM {t}) SELECT * FROM x ORDER BY id LIMIT 2", "SELECT 1",
            "DO 1",
            f"SELECT n, COUNT(*) FROM {t} GROUP BY n ORDER BY n LIMIT 5", "SELECT NULL, 'x', 1.5",
            f"SELECT id FROM {t} WHERE v LIKE 'w%' ORDER BY id LIMIT 3 LOCK IN SHARE MODE",
            f"(SELECT id FROM {t} ORDER BY id LIMIT 1) UNION ALL (SELECT 5)",
            "VALUES ROW(1, 2)" if not pen.mariadb
            else "VALUES (1, 2)",
            f"TABLE {t} LIMIT 1" if not pen.mariadb else f"SELECT id FROM {t} LIMIT 1",
            f"SELECT COUNT(*) FROM {t} WHERE n IN ({n}, 2, 3, 4, 5)",
            f"SELECT REPEAT('row', {n * 500})",
        )
    )  # fmt: skip


def plain(pen: Pen) -> list[Step]:
    return [
        q(change(pen) if pen.chance(0.35) else read(pen)) for _ in range(pen.rng.randrange(1, 4))
    ]


def transaction(pen: Pen) -> list[Step]:
    start = pen.pick(
        (
            "BEGIN", "START TRANSACTION", "START TRANSACTION READ ONLY",
            "START TRANSACTION READ WRITE",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT", "BEGIN WORK", "SET autocommit = 0",
            "SET @@autocommit = OFF", "start transaction /* x */", "SET autocommit = 0, @a = 5",
            "BEGIN",
        )
    )  # fmt: skip
    steps = [start]
    makers = (change, change, read, read, _savepoint, _inside)
    steps += [pen.pick(makers)(pen) for _ in range(pen.rng.randrange(6))]
    steps.append(
        pen.pick(
            (
                "COMMIT", "ROLLBACK", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN",
                "ROLLBACK AND CHAIN", "COMMIT WORK",
                "COMMIT AND NO CHAIN NO RELEASE", "SET autocommit = 1", "BEGIN",
                f"ALTER TABLE {pen.table()} COMMENT 'x'",
                f"TRUNCATE TABLE {pen.table('m')}",
            )
        )
    )  # fmt: skip
    if pen.chance(0.5):
        steps += [f"SELECT COUNT(*), SUM(n) FROM {pen.table()}", "SELECT @@autocommit"]
    if pen.chance(0.6):
        steps += ["COMMIT", "SET autocommit = 1"]
    return [q(sql) for sql in steps]


def _savepoint(pen: Pen) -> str:
    s = pen.pick(("s1", "s2", "`save point`"))
    return pen.pick(
        (
            f"SAVEPOINT {s}",
            f"ROLLBACK TO {s}",
            f"RELEASE SAVEPOINT {s}",
            f"ROLLBACK TO SAVEPOINT {s}",
        )
    )


def _inside(pen: Pen) -> str:
    """What is odd in a transaction."""
    return pen.pick(
        (
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "SELECT no_such_column", "USE {db}1",
            "SET @a = @a",
            f"CREATE TABLE c{pen.session:02} (a INT)", f"DROP TABLE IF EXISTS c{pen.session:02}",
            "SET NAMES utf8mb4",
            f"INSERT INTO {pen.table()} (id) VALUES (1)", f"LOCK TABLES {pen.table()} READ",
            "UNLOCK TABLES", "BEGIN",
            "SELECT @@in_transaction" if pen.mariadb else "SELECT @@autocommit",
            "SET SESSION sql_mode = ''",
        )
    )  # fmt: skip


def next_transaction(pen: Pen) -> list[Step]:
    level = pen.pick(("READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE"))
    name = "tx_isolation" if pen.mariadb else "transaction_isolation"
    first = pen.pick(
        (
            f"SET TRANSACTION ISOLATION LEVEL {level}", "SET TRANSACTION READ ONLY",
            "SET TRANSACTION READ WRITE",
            f"SET TRANSACTION ISOLATION LEVEL {level}, READ ONLY",
            f"SET SESSION TRANSACTION ISOLATION LEVEL {level}",
            "SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE",
            f"SET {name} = '{level.replace(' ', '-')}'",
            f"SET @@{name} = '{level.replace(' ', '-')}'",
            f"SET SESSION {name} = '{level.replace(' ', '-')}'",
            f"SET LOCAL TRANSACTION ISOLATION LEVEL {level}",
        )
    )  # fmt: skip
    steps = [first]
    if pen.chance(0.4):
        steps.append(
            pen.pick(("SELECT 1", f"SELECT @@{name}", "SET @a = 1", "DO 1", "SELECT @@autocommit"))
        )
    if pen.chance(0.6):
        steps += ["BEGIN", change(pen), read(pen), pen.pick(("COMMIT", "ROLLBACK"))]
    else:
        steps.append(change(pen))
    steps.append(f"SELECT @@{name}, @@{name.replace('isolation', 'read_only')}")
    if pen.chance(0.7):
        steps.append("SET SESSION TRANSACTION READ WRITE")
    return [q(sql) for sql in steps]


def identity(pen: Pen) -> list[Step]:
    t, w = pen.table(), pen.table("w")
    steps = [
        pen.pick(
            (
                f"INSERT INTO {t} (v) VALUES ('id')", f"INSERT INTO {t} (v) VALUES ('id'), ('id')",
                f"INSERT INTO {w} (v) VALUES ('id')",
                "SELECT LAST_INSERT_ID(41)",
                f"UPDATE {t} SET id = LAST_INSERT_ID(id) WHERE id = 2", "SET last_insert_id = 43",
                f"INSERT INTO {t} (id, v) VALUES (0, 'zero')",
                f"INSERT INTO {t} (id, v) VALUES (NULL, 'null')",
                f"INSERT INTO {t} (id, v) VALUES (2, 'd')"
                " ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = 'd'",
                f"INSERT IGNORE INTO {t} (id, v) VALUES (1, 'x')",
                f"INSERT INTO {t} (id, v) VALUES (1, 'x')",
                "CALL p_identity(99)", "DO LAST_INSERT_ID(18446744073709551615)",
                f"REPLACE INTO {t} (v) VALUES ('r')",
                f"INSERT INTO {t} (v) SELECT v FROM {t} WHERE id < 3",
            )
        )
    ]  # fmt: skip
    asks = (
        "SELECT LAST_INSERT_ID()", "SELECT @@last_insert_id", "SELECT @@identity", "SELECT 1",
        "SELECT ROW_COUNT()",
        f"INSERT INTO {w} (v) VALUES (LAST_INSERT_ID())",
        f"SELECT id FROM {t} WHERE id = LAST_INSERT_ID()",
        f"SELECT v FROM {w} ORDER BY id DESC LIMIT 1", "SET @a = LAST_INSERT_ID()",
        "SELECT @a, LAST_INSERT_ID()",
    )  # fmt: skip
    steps += [pen.pick(asks) for _ in range(pen.rng.randrange(1, 4))]
    return [q(sql) for sql in steps]


def rows(pen: Pen) -> list[Step]:
    """FOUND_ROWS() and ROW_COUNT(), right behind and later."""
    t = pen.table()
    steps = [
        pen.pick(
            (
                f"SELECT SQL_CALC_FOUND_ROWS id FROM {t} ORDER BY id LIMIT 1",
                f"SELECT id FROM {t} ORDER BY id LIMIT 2", change(pen),
                f"SELECT SQL_CALC_FOUND_ROWS id FROM {t} WHERE n > 0 ORDER BY id LIMIT 2 OFFSET 1",
                "SELECT 1 UNION SELECT 2",
                "DO 1", "SELECT no_such_column", "SHOW TABLES LIKE 'no_such%'",
                f"SELECT * FROM {t} WHERE id < 0", "SET @a = 1",
                f"(SELECT SQL_CALC_FOUND_ROWS id FROM {t} LIMIT 1) UNION (SELECT 100) LIMIT 1",
            )
        )
    ]  # fmt: skip
    asks = ("SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SELECT FOUND_ROWS(), ROW_COUNT()",
    "SET @b = FOUND_ROWS()", "SELECT @b",
            "SET @c = ROW_COUNT()", "SELECT @c", "DO ROW_COUNT()")  # fmt: skip
    steps += [pen.pick(asks) for _ in range(pen.rng.randrange(1, 4))]
    return [q(sql) for sql in steps]


def diagnostics(pen: Pen) -> list[Step]:
    t, k = pen.table(), pen.table("k")
    makes = (
        "SELECT 1/0", "SELECT CAST('abc' AS SIGNED)", "DROP TABLE IF EXISTS no_such_table",
        f"INSERT IGNORE INTO {t} (id) VALUES (1)",
        f"INSERT INTO {k} (id, tiny) VALUES (5, 1000)",
        f"INSERT IGNORE INTO {k} (id, tiny) VALUES (6, 1000), (7, 'x')", "SELECT no_such_column",
        f"DELETE FROM {k} WHERE id > 4", "CALL p_signal()", "CALL p_fail()",
        "SELECT 'a' + 1, 'b' + 2", "SELECT * FROM no_such_table", "SELEC 1",
        f"INSERT INTO {t} (id) VALUES (1)",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'mine', MYSQL_ERRNO = 5001",
        "DO CAST('x' AS DATE)",
        f"UPDATE IGNORE {k} SET tiny = 9999 WHERE id = 1",
        "CREATE TABLE IF NOT EXISTS {db}1." + t + " (a INT)", "SELECT 1",
        "SELECT INET_ATON('x'), 1/0", f"INSERT INTO {k} (id, d) VALUES (8, '2024-13-45')",
        "SELECT STR_TO_DATE('x', '%Y')",
        "SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'just a warning'", "DO 1/0",
        "SET @a = CAST('y' AS SIGNED)", "SET @b = 1/0",
    )  # fmt: skip
    asks = (
        "SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SHOW COUNT(*) ERRORS",
        "SELECT @@warning_count", "SELECT @@error_count",
        "SHOW WARNINGS LIMIT 1", "GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT",
        "SELECT @@warning_count, @@error_count",
        "GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT, @s = RETURNED_SQLSTATE, @e = MYSQL_ERRNO",
        "SELECT @n, @r, @m, @s, @e", "SELECT 1",
        "SELECT ROW_COUNT()", "show warnings limit 1, 1", "SET @w = @@warning_count", "SELECT @w",
        "GET DIAGNOSTICS CONDITION 9 @m = MESSAGE_TEXT",
        "USE {db}1",
    )  # fmt: skip
    steps = [pen.pick(makes)]
    steps += [pen.pick(asks) for _ in range(pen.rng.randrange(1, 4))]
    return [q(sql) for sql in steps]


def temporary(pen: Pen) -> list[Step]:
    n = f"{pen.session:02}"
    name = pen.pick((f"tmp{n}", f"tmp{n}b", pen.table()))  # the last one hides a real table
    pen.sticky.add("temporary")
    steps = [
        pen.pick(
            (
                f"CREATE TEMPORARY TABLE {name} (a INT, b VARCHAR(20))",
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} (a INT)",
                f"CREATE TEMPORARY TABLE {name} AS SELECT 1 AS a, 'x' AS b",
                f"CREATE TEMPORARY TABLE {name} LIKE {pen.table('k')}",
                f"create temporary table {{db}}1.{name} (a int)", "CALL p_temporary()",
                f"CREATE OR REPLACE TEMPORARY TABLE {name} (a INT)",
            )
        )
    ]  # fmt: skip
    uses = (
        f"INSERT INTO {name} (a) VALUES (1), (2)", f"SELECT * FROM {name} LIMIT 5",
        f"SELECT COUNT(*) FROM {name}", "SELECT * FROM routine_temporary",
        f"ALTER TABLE {name} ADD COLUMN z INT", f"TRUNCATE TABLE {name}", read(pen), "SELECT 1",
        f"RENAME TABLE {name} TO {name}x",
        f"SHOW CREATE TABLE {name}", "SET @a = 1", f"DROP TABLE {name}, no_such_table",
    )  # fmt: skip
    steps += [pen.pick(uses) for _ in range(pen.rng.randrange(4))]
    if pen.chance(0.8):
        steps.append(
            f"DROP TEMPORARY TABLE IF EXISTS tmp{n}, tmp{n}b, {pen.table()}, routine_temporary"
        )
        pen.sticky.discard("temporary")
        if pen.chance(0.3):
            steps.append(f"SELECT * FROM {name} LIMIT 1")
    return [q(sql) for sql in steps]


def user_locks(pen: Pen) -> list[Step]:
    a, b = pen.lock(), pen.lock()
    steps = [
        pen.pick(
            (f"SELECT GET_LOCK({a}, 0)", f"DO GET_LOCK({a}, 0)",
            f"SELECT GET_LOCK({a}, 0), GET_LOCK({b}, 0)", f"CALL p_lock({a})",
             f"SET @l = GET_LOCK({a}, 0)", f"SELECT GET_LOCK(CONCAT({a}, ''), 0)")
        )
    ]  # fmt: skip
    pen.sticky.add("lock")
    uses = (
        f"SELECT IS_FREE_LOCK({a}), IS_USED_LOCK({a}) = CONNECTION_ID()",
        f"SELECT GET_LOCK({b}, 0)", "SELECT 1", f"SELECT RELEASE_LOCK({a})",
        f"SELECT IS_USED_LOCK({b}) IS NULL", f"DO RELEASE_LOCK({b})", read(pen), change(pen),
        f"CALL p_unlock({a})",
    )  # fmt: skip
    steps += [pen.pick(uses) for _ in range(pen.rng.randrange(4))]
    if pen.chance(0.8):
        steps.append(pen.pick(("SELECT RELEASE_ALL_LOCKS()", "DO RELEASE_ALL_LOCKS()")))
        pen.sticky.discard("lock")
    return [q(sql) for sql in steps]


def table_locks(pen: Pen) -> list[Step]:
    t, m, w = pen.table(), pen.table("m"), pen.table("w")
    steps = [
        pen.pick(
            (f"LOCK TABLES {t} WRITE", f"LOCK TABLES {t} READ, {m} WRITE",
            f"LOCK TABLE {m} READ LOCAL", f"LOCK TABLES {t} AS x READ, {t} WRITE",
             "LOCK TABLES no_such_table READ", f"LOCK TABLES {w} WRITE",
             f"FLUSH TABLES {m} WITH READ LOCK", f"FLUSH TABLES {t} FOR EXPORT")
        )
    ]  # fmt: skip
    pen.sticky.add("table lock")
    uses = (
        f"INSERT INTO {t} (v) VALUES ('locked')", f"SELECT COUNT(*) FROM {t}",
        f"SELECT COUNT(*) FROM {m}", f"SELECT COUNT(*) FROM {w}", "SELECT 1",
        f"INSERT INTO {m} (v) VALUES ('locked')", "BEGIN", "COMMIT", f"LOCK TABLES {m} READ",
        "SET @a = 1", f"SELECT x.id FROM {t} x LIMIT 1",
    )  # fmt: skip
    steps += [pen.pick(uses) for _ in range(pen.rng.randrange(4))]
    if pen.chance(0.85):
        steps += pen.pick(
            (
                ["UNLOCK TABLES"],
                ["UNLOCK TABLES"],
                ["START TRANSACTION", "COMMIT"],
                ["UNLOCK TABLE"],
            )
        )
        pen.sticky.discard("table lock")
        steps.append("UNLOCK TABLES")
    return [q(sql) for sql in steps]


def routines(pen: Pen) -> list[Step]:
    n = pen.small()
    calls = (
        f"CALL p_plain({n})", "CALL p_silent()", f"SET @b = {n}", "CALL p_out(7, @b, @c)",
        "SELECT @b, @c", "CALL p_var('called')", "SELECT @a, @routine",
        f"CALL p_variable({n})", "SELECT @@sort_buffer_size", "CALL p_mode()", "SELECT @@sql_mode",
        "SET sql_mode = ''", "CALL p_names()",
        "SELECT @@character_set_client, @@collation_connection", "CALL p_begin()",
        "CALL p_commit()", "COMMIT", "CALL p_autocommit(0)",
        "CALL p_autocommit(1)", "CALL p_next()", f"CALL p_nested({n})", "CALL p_fail()",
        "SELECT @before", "CALL no_such_procedure()", "CALL p_prepare()",
        "EXECUTE from_routine", f"SELECT f_plain({n})", f"SELECT f_var({n})", "SELECT @f, @a",
        f"SELECT f_variable({n})", "SELECT @@join_buffer_size",
        "CALL {db}1.p_plain(1)", "SELECT no_such_function(1)", "SET @a = f_var(3)",
        f"DO f_variable({n})", "CALL p_out(1, @never, @b)",
    )  # fmt: skip
    start = pen.rng.randrange(len(calls))
    return [q(sql) for sql in calls[start : start + pen.rng.randrange(1, 4)]]


def handler(pen: Pen) -> list[Step]:
    t = pen.table()
    steps = [
        f"HANDLER {t} OPEN",
        f"HANDLER {t} READ FIRST",
        f"HANDLER {t} READ NEXT LIMIT 2",
        "SELECT 1",
        f"HANDLER {t} READ `PRIMARY` = (2)",
    ]
    keep = pen.rng.randrange(1, len(steps) + 1)
    return [q(sql) for sql in [*steps[:keep], f"HANDLER {t} CLOSE"]]


def xa(pen: Pen) -> list[Step]:
    name = f"'{{db}}x{pen.session:02}'"
    steps = [f"XA START {name}", change(pen), f"XA END {name}"]
    steps.append(pen.pick((f"XA COMMIT {name} ONE PHASE", f"XA ROLLBACK {name}")))
    if pen.chance(0.2):
        steps.insert(2, "COMMIT")
    return [q(sql) for sql in ["COMMIT", *steps]]


def tables(pen: Pen) -> list[Step]:
    """Tables made, altered and dropped; what was prepared on them is stale."""
    c = f"c{pen.session:02}"
    steps = [
        f"CREATE TABLE {c} (a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(10))",
        f"INSERT INTO {c} (b) VALUES ('x')", f"SELECT * FROM {c}",
        f"ALTER TABLE {c} ADD COLUMN d INT DEFAULT 5", f"SELECT * FROM {c}",
        f"SHOW CREATE TABLE {c}", f"DESCRIBE {c}", f"DROP TABLE {c}",
        f"SELECT * FROM {c}", f"TRUNCATE TABLE {c}", f"SHOW COLUMNS FROM {c}",
    ]  # fmt: skip
    first = pen.rng.randrange(3)
    chosen = [sql for sql in steps[first:] if pen.chance(0.6)]
    return [q(sql) for sql in [*chosen, f"DROP TABLE IF EXISTS {c}"]]


def several(pen: Pen) -> list[Step]:
    """Several statements in one text; without the capability an error."""
    makers = (change, read, read, _savepoint)
    statements = [pen.pick(makers)(pen) for _ in range(pen.rng.randrange(1, 4))]
    statements.insert(
        pen.rng.randrange(len(statements) + 1),
        pen.pick(
            (
                f"SET {pen.user_variable()} = {pen.value()}", "USE {db}1", "SELECT 1/0",
                "SHOW WARNINGS", "SELECT LAST_INSERT_ID()", "BEGIN", "COMMIT",
                "SELECT no_such_column", "SET autocommit = 1", "SET NAMES utf8mb4",
                "CALL p_plain(1)", "SELECT ROW_COUNT()", "SET SESSION sort_buffer_size = 400000",
                "CALL p_var('multi')", "SET time_zone = '+02:00'", "SELECT @a",
                f"SELECT {pen.user_variable()} := 5",
            )
        ),
    )  # fmt: skip
    tail = pen.pick(("", "", ";", "; ", ";-- end"))
    steps: list[Step] = [q("; ".join(statements) + tail)]
    if pen.chance(0.3):
        steps.append(
            q(
                pen.pick(
                    (
                        "SELECT ROW_COUNT(), FOUND_ROWS()",
                        "SHOW WARNINGS",
                        "SELECT LAST_INSERT_ID(), @a",
                    )
                )
            )
        )
    return steps


def ahead(pen: Pen) -> list[Step]:
    """Sent before the answer to the one before has come."""
    makers = (change, read, read)
    statements = [pen.pick(makers)(pen) for _ in range(pen.rng.randrange(2, 6))]
    statements.insert(
        pen.rng.randrange(len(statements) + 1),
        pen.pick(
            (
                f"SET {pen.user_variable()} = {pen.value()}", "SELECT LAST_INSERT_ID()",
                "USE {db}1",
                "SELECT ROW_COUNT(), @a", "SHOW WARNINGS", "SELECT no_such_column", "BEGIN",
                "COMMIT",
                "SET sql_mode = ''", "SET NAMES utf8mb4", "SELECT @@sql_mode", "SELECT f_var(8)",
            )
        ),
    )  # fmt: skip
    return [Ahead(tuple(sql.encode() for sql in statements))]


def release(pen: Pen) -> list[Step]:
    """The server closes the connection, or goes on in a way of its own."""
    t = pen.table()
    return [
        q(sql)
        for sql in pen.pick(
            (
                ["BEGIN", f"INSERT INTO {t} (v) VALUES ('released')", "COMMIT RELEASE", "SELECT 1"],
                ["BEGIN", "ROLLBACK RELEASE", "SELECT 1"],
                ["SET completion_type = 1", "BEGIN", "COMMIT", "SELECT 1", "ROLLBACK",
                 "SET completion_type = 0", "COMMIT"],
                ["SET completion_type = 'RELEASE'", "BEGIN", "COMMIT", "SELECT 1"],
                ["KILL QUERY CONNECTION_ID()", "SELECT 1"],
            )
        )
    ]  # fmt: skip


def load(pen: Pen) -> list[Step]:
    t = pen.table()
    sql = f"LOAD DATA LOCAL INFILE 'any' INTO TABLE {t} FIELDS TERMINATED BY ',' (v, n)"
    data = pen.pick((b"a,1\nb,2\n", b"", b"only\n", b"x,notanumber\n", b"long,5\n" * 50))
    steps: list[Step] = [Query(sql.encode(), (data, data))]
    steps.append(q(pen.pick(("SHOW WARNINGS", "SELECT LAST_INSERT_ID()", "SELECT ROW_COUNT()"))))
    steps.append(q(f"DELETE FROM {t} WHERE id > 30"))
    return steps


def odd(pen: Pen) -> list[Step]:
    """Texts that are hard to read."""
    return [
        q(
            pen.pick(
                (
                    "", ";", "  ", "-- only a comment", "/* nothing */", "# x",
                    "/*!40101 SET NAMES latin1 */", "/*!40101 SET @a = 5 */",
                    "/*!50000 SELECT 1 */", "SELECT 1 /*! + 1 */", "/*M! SELECT 2 */",
                    "SELECT /* ; */ 1", "SELECT 1 -- ; SELECT 2", "SELECT 'a;b'",
                    "select/**/1", "(SELECT 1)", "((SELECT 2))",
                    "SELECT`v`FROM" + f"`{pen.table()}`LIMIT 1", "\n\t SELECT\n1\n", "SELECT 1;",
                    "SELECT .5, 1e5, 0xFF, 0b1, @@version IS NULL, - - 1",
                    "SELECT 1 AS `select`, 2 AS 'from'", "SELECT \\N", "EXPLAIN SELECT 1",
                    "SELECT '@a := 5', 'SET autocommit = 0'",
                    "SELECT 1 FROM DUAL WHERE 'USE x' = 'USE x'", "SELECT @`a`, @'a', @\"a\"",
                    "BEGIN NOT ATOMIC SET @a = 99; END" if pen.mariadb else "SELECT 1",
                    "DO SLEEP(0)", "FLUSH STATUS", "SHOW DATABASES LIKE 'test'",
                    "RESET QUERY CACHE" if pen.mariadb else "SELECT 1", "HELP 'nothing'",
                    "CHECKSUM TABLE " + pen.table("m"), "SHOW GRANTS",
                    "KILL QUERY 999999999", "SELECT * FROM " + pen.table() + " PROCEDURE ANALYSE()",
                    "EXECUTE IMMEDIATE 'SET @a = 12'" if pen.mariadb else "SELECT 1",
                    "SELECT CURRENT_ROLE()", "SHOW ENGINE NONSENSE STATUS",
                    "SELECT 1 INTO @a; SELECT 2 INTO @b", "SET @a = '; SET @b = 7'",
                    "SELECT 'x' 'y' /* z */ 'w'", "SELECT 1,\x002",
                )
            )
        )
    ]  # fmt: skip


PHRASES = {
    plain: 20, transaction: 12, next_transaction: 5, identity: 8, rows: 6, diagnostics: 9,
    temporary: 6, user_locks: 4, table_locks: 3, routines: 8,
    handler: 1, xa: 1, tables: 2, several: 6, ahead: 3, release: 1, load: 2, odd: 5,
}  # fmt: skip
