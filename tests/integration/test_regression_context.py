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
from tests.torture.step import Command, Execute, InitDb, Prepare, Query, Step
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
