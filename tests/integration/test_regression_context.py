# SPDX-License-Identifier: Apache-2.0
"""What a statement leaves for the next one to ask about, where sessions share connections.

Scripts of the torture (tests/torture) that once differed from sessions held directly.
"""

from __future__ import annotations

import secrets

import pytest

from hproxy.protocols.mysql.constants import Capability
from tests.integration.conftest import ProxyFactory
from tests.integration.test_isolation import multiplexing
from tests.support.recording_client import Login
from tests.support.server import Server
from tests.torture.actor import Side
from tests.torture.pen import q
from tests.torture.shrink import Replay
from tests.torture.stage import staged
from tests.torture.step import Command, Execute, Fetch, InitDb, Prepare, Query, Reset, Step
from tests.torture.writer import login_of

ASKS = "SELECT ROW_COUNT(), FOUND_ROWS()"
COUNTS = b"SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()"

SCRIPTS: dict[str, list[tuple[int, Step]]] = {
    "the last of several has rows": [(0, q("SET autocommit = 1; SELECT 1")), (0, q(ASKS))],
    "told in the text, then asked for": [
        (0, q("SHOW TABLES LIKE 'no_such%'")), (1, q("SELECT 1 UNION SELECT 2")),
        (0, q("SET @b = FOUND_ROWS()")), (0, q(ASKS)),
    ],
    "an execution of the text protocol": [
        (0, q("PREPARE s FROM 'SELECT ROW_COUNT()'")), (1, q("SELECT 1 UNION SELECT 2")),
        (0, q("EXECUTE s")),
    ],
    "an execution of the binary protocol": [
        (0, Prepare(0, COUNTS)), (0, q("SET @a = 1")), (1, q("SELECT 1 UNION SELECT 2")),
        (0, Execute(0)),
    ],
    "an error between rows and their count": [
        (0, q("PREPARE s FROM 'SELECT v FROM t00 WHERE id = ?'")), (0, q("EXECUTE s USING @b")),
        (0, q("EXECUTE no_such_statement")), (0, q("SELECT FOUND_ROWS()")),
    ],
    "a variable that is NULL, where its statement is prepared anew": [
        (0, q("SET @b = 'x'")), (0, q("SET @b = NULL")), (0, Prepare(0, b"SET @b = ?")),
        (0, q("BEGIN")), (1, q("BEGIN")), (0, q("COMMIT")), (1, q("COMMIT")),
        (0, Execute(0, (b"y",))), (0, q("SELECT @b")),
    ],
    "variables that wait to be asked for": [
        (0, q("SELECT 1")), (0, q("SET @b = FOUND_ROWS()")), (1, q("SELECT @b")),
        (2, q("SELECT @b")), (0, q("SELECT @b")),
    ],
    "ROW_COUNT of the diagnostics": [
        (0, Query(b"LOAD DATA LOCAL INFILE 'any' INTO TABLE t00 FIELDS TERMINATED BY ',' (v, n)",
                  (b"a,1\nb,2\n",))),
        (0, q("GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT")), (0, q("SELECT @n, @r")),
    ],
    "warnings of others and COM_INIT_DB": [
        (1, q("SELECT no_such_column")), (1, q("DO 1/0")), (1, q("DO 0")),
        (0, q("DO 0")), (1, q("SELECT CAST('x' AS SIGNED)")), (1, q("DO 0")),
        (0, InitDb(b"{db}1")), (0, q("SHOW WARNINGS")),
    ],
    "warnings of others and COM_SET_OPTION": [
        (0, q("DO 0")), (1, q("SELECT CAST('x' AS SIGNED)")), (1, Command(b"\x0e")),
        (0, Command(b"\x1b\0\0")), (0, q("SELECT 1; SELECT 2")),
    ],
    "a schema that was dropped, and statements prepared in it": [
        (0, q("PREPARE s FROM 'SELECT DATABASE()'")), (0, q("CREATE DATABASE {db}c00")),
        (0, q("USE {db}c00")), (0, q("DROP DATABASE {db}c00")), (1, q("SELECT 1")),
        (0, q("SELECT DATABASE()")), (0, q("EXECUTE s")), (0, q("DEALLOCATE PREPARE s")),
        (0, q("SELECT DATABASE()")), (0, q("USE {db}1")), (0, q("SELECT DATABASE()")),
    ],
    "warnings of one of several statements": [
        (0, q("SELECT 1; INSERT IGNORE INTO t00 (id, v) VALUES (1, 'x'), (1, 'y'); SET @b = PI()")),
        (0, q("SELECT @@warning_count")), (0, q("SHOW WARNINGS")),
    ],
    "a routine that waits, and a transaction": [
        (0, q("SELECT 1; CALL p_var('multi');-- end")), (0, q("SET autocommit = 0")),
        (0, q("UNLOCK TABLES")), (0, q("SELECT @@autocommit")), (0, q("ROLLBACK")),
        (0, q("SET autocommit = 1")), (0, q("SELECT @@autocommit")),
    ],
    "conditions that are there and are not": [
        (0, q("SET @b = 1/0")), (0, q("GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT")),
        (0, q("GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT")),
        (0, q("GET DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT")), (0, q("SELECT @m, @n, @r")),
    ],
    "a string that is none, in a variable": [
        (0, q("SET NAMES utf8")), (0, Query("SELECT @c := '\U0001f418'".encode())),
        (1, q("SELECT 1")), (0, q("SELECT HEX(@c), CHARSET(@c)")), (0, q("SELECT DATABASE()")),
    ],
    "tracking that is set twice before it is asked for": [
        (0, q("SET session_track_system_variables = 'no_such_variable'")),
        (0, q("SET session_track_system_variables = 'autocommit,sql_mode'")),
        (0, q("SELECT COUNT(*) FROM t00")), (0, q("SET LOCAL sort_buffer_size = 400000")),
        (0, q("SET sql_mode = ''")),
    ],
    "diagnostics count no rows": [
        (0, q("SELECT 1")), (0, q("GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT")),
        (0, q("GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT")), (0, q("SELECT @n, @r")),
        (0, q("SELECT ROW_COUNT()")),
    ],
    "a question that leaves a warning, and COM_PING": [
        (0, q("BEGIN")), (0, q("DO @a := x'00ff10'")), (0, q("SELECT @a")), (0, Command(b"\x0e")),
        (0, q("COMMIT")),
    ],
    "a transaction whose end was not told": [
        (0, q("COMMIT AND CHAIN")), (0, q("SET session_track_system_variables = ''")),
        (0, q("COMMIT")), (0, q("DO 0")), (0, q("DO 0")), (0, q("DO 0")), (0, q("DO 0")),
        (0, q("DO 0")), (0, q("START TRANSACTION")),
    ],
    "rows of a new table": [
        (0, q("SELECT 1 UNION SELECT 2")), (0, q("CREATE TEMPORARY TABLE tmp00 AS SELECT 1 AS a")),
        (0, q(ASKS)), (0, q("DROP TEMPORARY TABLE tmp00")),
    ],
    "a transaction that an error has ended": [
        (0, q("SET SESSION TRANSACTION READ ONLY")), (0, q("BEGIN")),
        (0, q("ALTER TABLE t00 COMMENT 'x'")), (0, q("SELECT COUNT(*) FROM t00")),
        (0, q("SET collation_connection = DEFAULT")), (0, q("COMMIT")),
        (0, q("SET SESSION TRANSACTION READ WRITE")),
    ],
    "no such condition": [
        (0, q("SET @a = CAST('y' AS SIGNED)")), (0, q("SELECT 1")),
        (0, q("GET DIAGNOSTICS CONDITION 9 @m = MESSAGE_TEXT")), (0, q("SELECT ROW_COUNT()")),
    ],
    "an execution in another character set than its preparation": [
        (0, q("PREPARE s FROM 'SELECT LAST_INSERT_ID(), ROW_COUNT()'")),
        (0, q("SET @c = 'a' 'b', NAMES latin1")), (0, q("EXECUTE s")),
    ],
    "rows found by others than SELECT": [
        (0, q("SELECT 1 UNION SELECT 2")), (0, q("EXPLAIN SELECT 1")), (0, q(ASKS)),
        (0, q("SELECT v INTO @b FROM t00 WHERE id = -5")), (1, q("SELECT 1")), (0, q(ASKS)),
        (0, q("SELECT id INTO @b FROM t00 LIMIT 1")), (1, q("SELECT 1")), (0, q(ASKS)),
        (0, q("SELECT 1 INTO @b")), (1, q("SELECT 1 UNION SELECT 2")), (0, q(ASKS)),
        (0, q("UPDATE t00 SET v = v")), (1, q("SELECT 1")), (0, q(ASKS)),
    ],
    "rows fetched were found before": [
        (0, Prepare(2, b"SELECT a.id, b.id FROM t00 a, t00 b ORDER BY 1, 2 LIMIT 50")),
        (0, Execute(2, (), 1)), (0, q("SELECT @a")), (0, Fetch(2, 100)), (0, Reset(2)),
        (0, q("SELECT FOUND_ROWS()")),
    ],
    "rows that are counted, and a preparation": [
        (0, q("SELECT SQL_CALC_FOUND_ROWS id FROM t00 LIMIT 1")),
        (0, Prepare(3, b"INSERT INTO t00 (v, n) VALUES (?, ?)")), (0, q(ASKS)),
    ],
    "warnings of a preparation": [
        (0, Prepare(1, b"SELECT @b := ?")), (0, Command(b"\x0e")), (0, q("SHOW WARNINGS")),
        (0, Prepare(2, b"SELECT * FROM no_such_table")), (0, InitDb(b"{db}1")),
        (0, q("SHOW WARNINGS")),
    ],
    "warnings behind a schema": [
        (0, q("SET character_set_client = utf16")), (0, q("SET @a = _latin1 x'e9'")),
        (0, InitDb(b"{db}1")), (0, q("SHOW WARNINGS")),
    ],
    "a character set that is not known whole": [
        (0, Prepare(2, b"UPDATE t00 SET n = ? WHERE id = ?")), (0, q("SELECT 1/0")),
        (0, q("SET NAMES 'sjis'")), (0, Execute(2, (0, None))), (0, q("SELECT REPEAT('row', 9)")),
    ],
    "tracking that is on before it is asked for": [
        (0, q("SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'just a warning'")),
        (0, q("SET session_track_state_change = ON")), (0, q("SET @long_name = 1")),
        (0, q("SET session_track_state_change = DEFAULT")), (0, q("SET @long_name = 2")),
    ],
    "nothing is tracked": [
        (0, q("SET session_track_system_variables = 'no_such_variable'")),
        (0, q("SET session_track_schema = OFF")), (0, q("START TRANSACTION READ ONLY")),
        (0, q("SELECT COUNT(*) FROM t00")), (0, q("COMMIT")),
        (0, q("SET session_track_schema = ON")), (0, q("BEGIN")), (0, q("COMMIT")),
    ],
    "questions and the next transaction": [
        (0, q("SET @w = @@warning_count")), (0, q("SET TRANSACTION READ ONLY")),
        (0, q("SET @a = 1")), (0, q("INSERT INTO t00 (v) VALUES ('x')")),
    ],
}  # fmt: skip
TAKES = Capability.DEPRECATE_EOF, Capability.SESSION_TRACK, Capability.MULTI_STATEMENTS


@pytest.mark.parametrize("connections", [1000, 2])
def test_scripts_that_differed(proxy: ProxyFactory, server: Server, connections: int) -> None:
    running = multiplexing(proxy, server, connections)
    named = frozenset(each.name or "" for each in TAKES)

    def login(session: int) -> Login:
        return login_of(1, session, server.name, named)

    with staged(server, f"tz{secrets.token_hex(3)}") as stage:
        direct = Side(server.host, server.port, stage.prefix("d"))
        replay = Replay(stage, direct, Side(running.host, running.port, stage.prefix("p")))
        found = {name: replay.differs(script, login) for name, script in SCRIPTS.items()}
    assert {name: what for name, what in found.items() if what is not None} == {}


def test_a_look_at_variables_within_a_transaction(proxy: ProxyFactory, server: Server) -> None:
    """Its end was told too late, in an answer without room for it, which ended the session."""
    running = multiplexing(proxy, server)
    with staged(server, f"tz{secrets.token_hex(3)}") as stage:
        direct = Side(server.host, server.port, stage.prefix("d"))
        replay = Replay(stage, direct, Side(running.host, running.port, stage.prefix("p")))
        texts = (
            "CALL p_begin()", "SET session_track_schema = ON", "COMMIT",
            "CREATE TEMPORARY TABLE tmp00 (a INT)", "SELECT 1",
        )  # fmt: skip
        script: list[tuple[int, Step]] = [(0, q(text)) for text in texts]
        named = frozenset({"SESSION_TRACK"})
        assert replay.differs(script, lambda s: login_of(1, s, server.name, named)) is None
