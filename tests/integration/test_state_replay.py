# SPDX-License-Identifier: Apache-2.0
"""A session that was followed, replayed on another connection, is the same session.

Random statements that change a session run on one connection while SessionState follows.
Every few of them its settings are replayed on a fresh connection and on one that has served
many sessions before; then all three must agree in every session variable, in the type, value
and collation of every user variable, in the schema and in what EXECUTE finds.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.followed import Following, following
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.settings import Settings
from tests.integration.conftest import direct
from tests.support.follower import Connection, Follower, tracking_statement
from tests.support.recording_client import COMMON, Login
from tests.support.server import Server

# Other runs may be under way on the same server.
ONE, TWO = DATABASES = tuple(f"replay_{secrets.token_hex(4)}_{n}" for n in range(2))
PLAIN = COMMON | Capability.SESSION_TRACK
MODERN = PLAIN | Capability.DEPRECATE_EOF

# Not of the session, or different in every one.
PASSING = frozenset(
    {
        b"error_count", b"external_user", b"gtid_binlog_pos", b"gtid_binlog_state",
        b"gtid_current_pos", b"gtid_executed", b"gtid_owned", b"gtid_slave_pos", b"hostname",
        b"identity", b"in_transaction", b"insert_id", b"last_gtid", b"last_insert_id",
        b"proxy_user", b"pseudo_thread_id", b"rand_seed1", b"rand_seed2", b"statement_id",
        b"timestamp", b"original_commit_timestamp", b"warning_count", b"gtid_seq_no",
        b"innodb_buffer_pool_load_now", b"max_relay_log_size", b"sql_slave_skip_counter",
    }
)  # fmt: skip
# These stop a session from answering questions, close it, or talk of the whole server.
DANGEROUS = frozenset(
    {
        b"character_set_results", b"completion_type", b"connection_memory_limit",
        b"gtid_domain_id", b"idle_readonly_transaction_timeout", b"idle_transaction_timeout",
        b"idle_write_transaction_timeout", b"interactive_timeout", b"max_execution_time",
        b"max_join_size", b"max_session_mem_used", b"max_statement_time", b"net_read_timeout",
        b"net_write_timeout", b"parser_max_mem_size", b"server_id", b"sql_big_selects",
        b"sql_log_bin", b"wait_timeout",
    }
)  # fmt: skip

GLOBAL_VARIABLE = 1229
# Others may set them while we look.
GLOBAL: set[bytes] = set()

NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?")
WORDS = (
    "'latin1'", "'latin1_bin'", "'ANSI_QUOTES'", "'ANSI'", "'SERIALIZABLE'", "'READ-COMMITTED'",
    "'+03:00'", "'de_DE'", "'MyISAM'", "'MEMORY'", "'MIXED'", "'1'", "'0'", "1", "0", "2", "''",
    "'ALL'", "'TREE'", "'aes-256-cbc'", "'mrr=off'", "'mrr=on'", "'explain'", "'NONE'",
    "'filesort'", "'NO'", "'utf8mb4_general_ci'", "'NO_BACKSLASH_ESCAPES'", "'NULLS_EQUAL'",
)  # fmt: skip


class Scene(NamedTuple):
    """What is known of a server."""

    server: Server
    tracking: bytes
    variables: dict[bytes, list[bytes]]
    """Settable session variables and values they take."""


def shown(connection: Connection) -> dict[bytes, bytes]:
    rows = connection.rows("SHOW SESSION VARIABLES")
    return {name or b"": value or b"" for name, value in rows}


@pytest.fixture(scope="module")
def scene(server: Server) -> Iterator[Scene]:
    for name in DATABASES:
        direct(server, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    # One with another character set, to see what a change of schema does.
    direct(server, f"ALTER DATABASE {DATABASES[1]} CHARACTER SET latin1")
    direct(server, f"CREATE TABLE {DATABASES[0]}.t (a INT PRIMARY KEY AUTO_INCREMENT, b TEXT)",
           f"INSERT INTO {DATABASES[0]}.t (b) VALUES ('x'), ('y'), (NULL)")  # fmt: skip
    probe = Connection(server, Login(database="", capabilities=MODERN))
    names = shown(probe)
    try:
        found = {name: taken(probe, name, value) for name, value in names.items()}
    finally:
        probe.close()
    yield Scene(
        server,
        tracking_statement(list(names)),
        {name: some for name, some in found.items() if some},
    )
    for name in DATABASES:
        direct(server, f"DROP DATABASE {name}")


def taken(probe: Connection, name: bytes, value: bytes) -> list[bytes]:
    """What a variable can be set to; nothing for one that cannot be set."""
    if following(name) in (
        Following.TRACKING,
        Following.NOTHING,
        Following.HOLD,
        Following.LAST_ID,
    ):
        return []
    if name in PASSING | DANGEROUS:
        return []
    error = probe.run(b"SET SESSION %s=DEFAULT" % name).error
    if error == GLOBAL_VARIABLE:
        GLOBAL.add(name)
    if error in (GLOBAL_VARIABLE, 1238, 1621):
        return []
    tries = [word.encode() for word in WORDS]
    if NUMBER.fullmatch(value):
        n = int(value.split(b".")[0])
        tries = [
            str(each).encode() for each in (n, n + 1, n * 2, n // 2, 0, 1, 2, 100) if each < 2**31
        ]
    elif value in (b"ON", b"OFF"):
        tries = [b"ON", b"OFF", b"0", b"1"]
    # SET that warns is as good as any, but would leave its questions for later.
    found = [each for each in tries if not probe.run(b"SET SESSION %s=%s" % (name, each)).error]
    probe.run(b"SET SESSION %s=DEFAULT" % name)
    return found


# -- random statements -----------------------------------------------------------------------

VALUES = (
    "5", "-5", "18446744073709551615", "1.50", "-0.001", "1e5", "2.5e-300", "'abc'", "''", "NULL",
    "_latin1'abc'", "_utf8mb4 x'c3a9'", "_binary'x'", "x'00ff'", "0x41", "b'101'", "TRUE",
    "CAST(5 AS UNSIGNED)", "CAST(5 AS DECIMAL(10,0))", "1/3", "NOW()", "CONCAT('a', @a)",
    "_latin1'z' COLLATE latin1_bin", f"(SELECT COUNT(*) FROM {ONE}.t)", "JSON_OBJECT('a', 1)",
    "DATABASE()", "@@sql_mode", "@b", "'it''s'", "'a\\\\b'", "\"quoted\"", "NULL + 1", "5.",
    "_utf16 x'0061'", "REPEAT('x', 300)", "9223372036854775808", "-9223372036854775808",
)  # fmt: skip


def any_user(dice: random.Random) -> str:
    return dice.choice(("@a", "@b", "@`c d`", "@D"))


def set_user(dice: random.Random, scene: Scene) -> str:
    return f"{any_user(dice)} {dice.choice(('=', ':='))} {dice.choice(VALUES)}"


def set_variable(dice: random.Random, scene: Scene) -> str:
    name = dice.choice(sorted(scene.variables))
    value = dice.choice(scene.variables[name]).decode()
    text = name.decode()
    scope = dice.choice(("", "SESSION ", "LOCAL ", "@@SESSION.", "@@local."))
    if text in ("transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only"):
        scope = "SESSION "
    value = dice.choice((value, value, value, "DEFAULT", f"@@GLOBAL.{text}"))
    return f"{scope}{text}={value}"


def assignments(dice: random.Random, scene: Scene) -> str:
    items = [
        dice.choice((set_user, set_variable))(dice, scene)
        for _ in range(dice.choice((1, 1, 1, 2, 3)))
    ]
    return "SET " + ", ".join(items)


def charset(dice: random.Random, scene: Scene) -> str:
    return dice.choice(
        (
            "SET NAMES utf8mb4", "SET NAMES latin1", "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "SET NAMES DEFAULT", "SET CHARACTER SET latin1", "SET CHARSET utf8mb4",
            "SET collation_connection='latin1_german1_ci'", "SET character_set_client=gbk",
            "SET character_set_connection=utf16", "SET character_set_results=NULL",
            "SET character_set_results=utf8mb4", "SET NAMES binary", "SET NAMES sjis",
        )
    )  # fmt: skip


def schema(dice: random.Random, scene: Scene) -> str:
    return f"USE {dice.choice(DATABASES)}"


def select(dice: random.Random, scene: Scene) -> str:
    return dice.choice(
        (
            f"SELECT {any_user(dice)} := {dice.choice(VALUES)}",
            f"SELECT a, b INTO @a, @b FROM {ONE}.t WHERE a = {dice.choice((1, 2, 99))}",
            f"SELECT {any_user(dice)} := a FROM {ONE}.t",
            "DO @b := @b + 1",
            f"UPDATE {ONE}.t SET b = b WHERE a = (@a := 1)",
            f"SELECT {any_user(dice)}",
            f"SELECT COUNT(*) FROM {ONE}.t",
            "SHOW WARNINGS",
            "SELECT nonsense",
            "SET sql_mode = 'nonsense'",
            f"SET {any_user(dice)} = 7, sql_mode = 'nonsense'",
            f"SET {any_user(dice)} = (@a := 8), sql_mode = 'nonsense'",
            "GET DIAGNOSTICS @a = ROW_COUNT",
            "SET TRANSACTION READ WRITE",
        )
    )


def prepare(dice: random.Random, scene: Scene) -> str:
    name = dice.choice(("s", "T", "`u v`"))
    return dice.choice(
        (
            f"PREPARE {name} FROM 'SELECT ''it''''s'', DATABASE()'",
            f"PREPARE {name} FROM 'SELECT 1 FROM {ONE}.t'",
            f"PREPARE {name} FROM 'SET @a = 17, sql_mode = ''ANSI_QUOTES'''",
            f"PREPARE {name} FROM 'SELECT 2, @b := 5'",
            f"PREPARE {name} FROM nonsense",
            f"PREPARE {name} FROM 'nonsense'",
            f"PREPARE {name} FROM @a",
            "SET @a = 'SELECT 4'",
            f"EXECUTE {name}",
            f"EXECUTE {name}",
            f"DEALLOCATE PREPARE {name}",
            f"DROP PREPARE {name}",
        )
    )


def transaction(dice: random.Random, scene: Scene) -> str:
    return dice.choice(
        (
            "BEGIN", "COMMIT", "ROLLBACK", "SET autocommit = 0", "SET autocommit = 1",
            "START TRANSACTION READ ONLY", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION TRANSACTION READ WRITE", f"INSERT INTO {ONE}.t (b) VALUES ('z')",
            "SAVEPOINT a", "ROLLBACK TO a", "COMMIT AND CHAIN",
        )
    )  # fmt: skip


KINDS: tuple[Callable[[random.Random, Scene], str], ...] = (
    assignments, assignments, assignments, charset, schema, select, select, prepare, transaction,
)  # fmt: skip


# -- the comparison --------------------------------------------------------------------------

USERS = ("a", "b", "c d", "d")
STATEMENTS = ("s", "t", "u v")
LOST = Pin.UNTRACKABLE_SET | Pin.UNTRACKABLE_STATE | Pin.ROUTINE


def snapshot(connection: Connection, *, execute: bool) -> dict[str, object]:
    """All there is to see of a session, without changing it."""
    seen: dict[str, object] = {}
    for name, value in shown(connection).items():
        if name not in PASSING | GLOBAL and not name.startswith(b"session_track"):
            seen[name.decode()] = value
    for user in USERS:
        column = f"@`{user}`"
        answer = connection.run(
            f"SELECT {column},CHARSET({column}),COLLATION({column}),"
            f"HEX(CONVERT({column} USING utf8mb4)) LIMIT 1"
        )
        seen["@" + user] = (answer.error, answer.rows, answer.types[:1])
    seen["DATABASE()"] = connection.run("SELECT DATABASE() LIMIT 1").rows
    if execute:
        for statement in STATEMENTS:
            answer = connection.run(f"EXECUTE `{statement}`")
            seen["EXECUTE " + statement] = (answer.error, answer.rows, answer.types)
    return seen


def difference(one: dict[str, object], other: dict[str, object]) -> dict[str, object]:
    return {key: (one[key], other.get(key)) for key in one if one[key] != other.get(key)}


def wander(scene: Scene, seed: int, steps: int, capabilities: Capability, *, tracked: bool) -> None:
    """Sessions of random statements; each is compared every few of them."""
    dice = random.Random(seed)
    veteran = Follower(scene.server, scene.tracking, database=DATABASES[0])
    done = compared = 0
    try:
        while done < steps:
            session = Follower(
                scene.server, scene.tracking, capabilities, tracked=tracked, database=DATABASES[0]
            )
            story: list[str] = []
            try:
                for _ in range(60):
                    done += 1
                    sql = dice.choice(KINDS)(dice, scene)
                    story.append(sql)
                    session.run(sql)
                    if session.state.pins & LOST:
                        break
                    if dice.random() < 0.2:
                        compared += compare(scene, session, veteran, story)
                session.settle()
            finally:
                session.close()
    finally:
        veteran.close()
    assert compared > done / 20


def compare(scene: Scene, session: Follower, veteran: Follower, story: list[str]) -> bool:
    """Whether the session could be moved; raises AssertionError where that changes it."""
    session.settle()
    if session.state.pins:
        return False
    settings = session.state.settings
    fresh = Follower(scene.server, scene.tracking, database="")
    try:
        fresh.go(settings, scene.tracking)
        veteran.go(settings, scene.tracking)
        want = snapshot(session.connection, execute=False)
        for other in (fresh, veteran):
            found = difference(want, snapshot(other.connection, execute=False))
            assert not found, (found, settings, story)
        if settings.prepared:
            # What EXECUTE does is not undone: the last comparison for these three.
            executed = [
                snapshot(each.connection, execute=True) for each in (session, fresh, veteran)
            ]
            for ran in executed[1:]:
                found = difference(executed[0], ran)
                assert not found, (found, settings, story)
            # To be reset: who knows what that did.
            veteran.holds = settings.with_users({b"left behind": b"1"})
            session.state.settings = Settings.make()
            session.state.pin(Pin.UNTRACKABLE_STATE)
    finally:
        fresh.close()
    return True


WAYS = pytest.mark.parametrize("way", ["modern", "with EOF", "untracked"])


@pytest.mark.parametrize("seed", range(2))
@WAYS
def test_a_replayed_session_is_the_same(scene: Scene, way: str, seed: int) -> None:
    capabilities = MODERN if way == "modern" else PLAIN
    wander(scene, seed, 300, capabilities, tracked=way != "untracked")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 110))
@WAYS
def test_a_replayed_session_is_the_same_for_long(scene: Scene, way: str, seed: int) -> None:
    capabilities = MODERN if way == "modern" else PLAIN
    wander(scene, seed, 1000, capabilities, tracked=way != "untracked")


# -- every variable, one by one --------------------------------------------------------------


def test_every_variable_can_be_set_to_what_is_reported(scene: Scene) -> None:
    """SET of a reported value, and DEFAULT behind it, are exact for all that can be set."""
    there = Follower(scene.server, scene.tracking)
    back = Follower(scene.server, scene.tracking)
    plain = there.state.settings
    first = snapshot(back.connection, execute=False)
    wrong: dict[bytes, object] = {}
    try:
        for name, values in scene.variables.items():
            for value in values[:3]:
                session = Follower(scene.server, scene.tracking)
                try:
                    session.run(b"SET SESSION %s=%s" % (name, value))
                    session.settle()
                    if session.state.pins:
                        continue
                    want = snapshot(session.connection, execute=False)
                    there.go(session.state.settings, scene.tracking)
                    back.go(session.state.settings, scene.tracking)
                    back.go(plain, scene.tracking)
                    found = difference(want, snapshot(there.connection, execute=False))
                    found |= difference(first, snapshot(back.connection, execute=False))
                    if found:
                        wrong[name] = found
                finally:
                    session.close()
    finally:
        there.close()
        back.close()
    assert len(scene.variables) > 100
    assert wrong == {}


# -- what pins, and until when ---------------------------------------------------------------


@pytest.fixture(params=["modern", "with EOF", "untracked"])
def session(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Follower]:
    made = Follower(
        scene.server,
        scene.tracking,
        MODERN if request.param == "modern" else PLAIN,
        tracked=request.param != "untracked",
        database=DATABASES[0],
    )
    yield made
    made.close()


def run(session: Follower, *statements: str) -> Pin:
    """The pins behind some statements and one that reads their warnings off."""
    for statement in statements:
        assert not session.run(statement).error, statement
    session.run("DO 1")
    return session.state.pins


def test_temporary_tables(session: Follower) -> None:
    assert run(session, "CREATE TEMPORARY TABLE x (a INT)") == Pin.TEMP_TABLE
    assert run(session, "ALTER TABLE x RENAME TO y", "DROP TABLE y") == 0


def test_user_locks(session: Follower) -> None:
    assert run(session, "DO GET_LOCK('state_a', 0), GET_LOCK('state_b', 0)") == Pin.USER_LOCK
    assert run(session, "DO RELEASE_LOCK('state_a')") == Pin.USER_LOCK
    assert run(session, "DO RELEASE_LOCK('state_b')") == 0
    assert run(session, "DO GET_LOCK(CONCAT('state', '_c'), 0)") == Pin.USER_LOCK
    assert run(session, "DO RELEASE_ALL_LOCKS()") == 0


def test_table_locks(session: Follower) -> None:
    assert run(session, "LOCK TABLES t READ") == Pin.TABLE_LOCK
    assert run(session, "UNLOCK TABLES") == 0
    assert run(session, "LOCK TABLES t READ", "BEGIN") == Pin.TRANSACTION
    assert run(session, "COMMIT") == 0


def test_transactions(session: Follower) -> None:
    assert run(session, "BEGIN") == Pin.TRANSACTION
    assert run(session, "ROLLBACK") == 0
    assert run(session, "SET TRANSACTION READ ONLY") == Pin.NEXT_TRANSACTION
    assert run(session, "BEGIN", "COMMIT") == 0
    assert run(session, "SET autocommit = 0") == 0
    assert run(session, "INSERT INTO t (b) VALUES ('pin')") == Pin.TRANSACTION
    assert run(session, "ROLLBACK", "SET autocommit = 1") == 0


def test_handlers(session: Follower) -> None:
    assert run(session, "HANDLER t OPEN AS h") == Pin.HANDLER
    assert run(session, "HANDLER h CLOSE") == 0


def test_routines(scene: Scene, session: Follower) -> None:
    direct(
        scene.server,
        f"USE {DATABASES[0]}",
        "DROP PROCEDURE IF EXISTS fine",
        "DROP PROCEDURE IF EXISTS stains",
        "DROP FUNCTION IF EXISTS calls",
        "CREATE PROCEDURE fine (OUT a INT) BEGIN DECLARE b INT; SET b = 1; SET a = b; END",
        "CREATE PROCEDURE stains () SELECT 1 INTO @hidden",
        "CREATE FUNCTION calls () RETURNS INT DETERMINISTIC BEGIN CALL fine(@y); RETURN 1; END",
    )
    assert run(session, "CALL fine(@x)") == 0
    assert session.state.settings.user(b"x") == b"1"
    assert run(session, "CALL fine(@x)") == 0
    assert session.run("CALL nonsense()").error == 1305
    assert run(session, "SELECT COUNT(*) FROM t") == 0
    assert run(session, "DO calls()") == Pin.ROUTINE
    session.connection.step(b"\x1f")
    session.ask(session.state.reset())
    assert run(session, "CALL stains()") == Pin.ROUTINE


def test_reset_connection(scene: Scene, session: Follower) -> None:
    run(session, "SET @a = 1, sql_mode = '', NAMES latin1", f"USE {TWO}")
    session.connection.step(b"\x1f")
    session.ask(session.state.reset())
    assert session.state.pins == 0
    fresh = Follower(scene.server, scene.tracking)
    try:
        fresh.go(session.state.settings, scene.tracking)
        want = snapshot(session.connection, execute=False)
        assert difference(want, snapshot(fresh.connection, execute=False)) == {}
    finally:
        fresh.close()


def test_what_the_server_says_is_not_asked(scene: Scene) -> None:
    session = Follower(scene.server, scene.tracking, database=DATABASES[0])
    try:
        session.run("SET autocommit = 0, sql_mode = 'ANSI_QUOTES', @a = 5, @b = 'x'")
        session.run(f"USE {TWO}")
        session.run("PREPARE s FROM 'SELECT 1'")
        assert session.asked == []
        session.run("SET NAMES utf8mb4")
        assert len(session.asked) == 1
    finally:
        session.close()
