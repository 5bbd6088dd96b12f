# SPDX-License-Identifier: Apache-2.0
"""What a text would do to its session, statement by statement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.effects import Effects, LockKind, Source, read, split
from hproxy.protocols.mysql.lexer import ANSI_QUOTES, tokens


def statements(sql: str) -> list[str]:
    return [
        b" ".join(token.text for token in words).decode() for words in split(tokens(sql.encode()))
    ]


def effects(sql: str, modes: int = 0) -> Effects:
    (words,) = split(tokens(sql.encode(), modes))
    return read(words, modes)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT ';';", ["SELECT 1", "SELECT ';'"]),
        (";;", []),
        ("BEGIN; SELECT 1; COMMIT", ["BEGIN", "SELECT 1", "COMMIT"]),
        ("BEGIN WORK; SELECT 1", ["BEGIN WORK", "SELECT 1"]),
        (
            "BEGIN NOT ATOMIC SELECT 1; SELECT 2; END",
            ["BEGIN NOT ATOMIC SELECT 1 ; SELECT 2 ; END"],
        ),
        ("SELECT 1; IF a THEN SELECT 2; END IF", ["SELECT 1", "IF a THEN SELECT 2 ; END IF"]),
        ("x: LOOP SET @a = 1; END LOOP", ["x : LOOP SET @a = 1 ; END LOOP"]),
        (
            "DROP PROCEDURE IF EXISTS p",
            ["DROP PROCEDURE IF EXISTS p"],
        ),
        (
            "SELECT 1; CREATE PROCEDURE p() BEGIN SET @a = 1; END; SELECT 2",
            ["SELECT 1", "CREATE PROCEDURE p ( ) BEGIN SET @a = 1 ; END ; SELECT 2"],
        ),
    ],
)
def test_split(sql: str, expected: list[str]) -> None:
    assert statements(sql) == expected


@pytest.mark.parametrize(
    ("sql", "users"),
    [
        ("SELECT @a", set()),
        ("SELECT @A := 1, @b", {b"a"}),
        ("SELECT 1, 2 INTO @a, @`b c`", {b"a", b"b c"}),
        ("SELECT 1 INTO @a FROM t WHERE x = @b", {b"a"}),
        ("INSERT INTO t VALUES (@a)", set()),
        ("INSERT INTO t (a) VALUES (@a := @b)", {b"a"}),
        ("LOAD DATA INFILE 'x' INTO TABLE t (@a, b) SET c = @a + @b", {b"a", b"b"}),
        ("CALL p(@a, 1, @b)", {b"a", b"b"}),
        ("GET DIAGNOSTICS CONDITION 1 @a = MESSAGE_TEXT", {b"a"}),
        ("BEGIN NOT ATOMIC SELECT @a; END", {b"a"}),
    ],
)
def test_user_variables_that_may_change(sql: str, users: set[bytes]) -> None:
    assert effects(sql).users == users


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("USE shop", Effects(use=b"shop")),
        ("use `a b`", Effects(use=b"a b")),
        ("DROP DATABASE IF EXISTS shop", Effects(dropped_schema=b"shop")),
        ("CREATE TEMPORARY TABLE t (a INT)", Effects(created=(b"t",))),
        (
            "CREATE OR REPLACE TEMPORARY TABLE IF NOT EXISTS a.t SELECT 1",
            Effects(created=(b"a.t",)),
        ),
        ("CREATE TABLE t (temporary INT)", Effects()),
        ("CREATE TEMPORARY SEQUENCE s", Effects(created=(b"s",))),
        ("DROP TABLE IF EXISTS a.t, `u`", Effects(dropped=(b"a.t", b"u"))),
        ("DROP TEMPORARY TABLE t", Effects(dropped=(b"t",))),
        ("DROP INDEX i ON t", Effects()),
        ("ALTER TABLE t RENAME TO u", Effects(renamed=((b"t", b"u"),))),
        ("ALTER TABLE t RENAME COLUMN a TO b, RENAME AS u", Effects(renamed=((b"t", b"u"),))),
        ("RENAME TABLE a TO b, c TO d", Effects(renamed=((b"a", b"b"), (b"c", b"d")))),
        ("LOCK TABLES t READ", Effects(holds=(LockKind.TABLES,))),
        ("LOCK INSTANCE FOR BACKUP", Effects(holds=(LockKind.INSTANCE,))),
        ("UNLOCK TABLES", Effects(lets_go=(LockKind.TABLES, LockKind.GLOBAL))),
        ("UNLOCK INSTANCE", Effects(lets_go=(LockKind.INSTANCE,))),
        ("FLUSH TABLES WITH READ LOCK", Effects(holds=(LockKind.GLOBAL,))),
        ("FLUSH LOCAL TABLES a, b WITH READ LOCK", Effects(holds=(LockKind.TABLES,))),
        ("FLUSH TABLES t FOR EXPORT", Effects(holds=(LockKind.TABLES,))),
        ("FLUSH STATUS", Effects()),
        ("BACKUP STAGE START", Effects(holds=(LockKind.BACKUP,))),
        ("BACKUP STAGE END", Effects(lets_go=(LockKind.BACKUP,))),
        ("BACKUP LOCK t", Effects(holds=(LockKind.BACKUP_LOCK,))),
        ("BACKUP UNLOCK", Effects(lets_go=(LockKind.BACKUP_LOCK,))),
        ("BEGIN", Effects(begins=True)),
        ("START TRANSACTION READ ONLY", Effects(begins=True)),
        ("START REPLICA", Effects()),
        ("DO GET_LOCK('a', 1), GET_LOCK (@x, 1)", Effects(locks=(b"a", None))),
        ("DO GET_LOCK('it''s', 1), GET_LOCK('a', 1)", Effects(locks=(None, b"a"))),
        ("SELECT get_lock FROM t", Effects()),
        ("DO RELEASE_LOCK('a')", Effects(releases=True)),
        ("DO RELEASE_ALL_LOCKS()", Effects(releases_all=True)),
        ("PREPARE S FROM 'SELECT ''x'''", Effects(prepared=(b"s", Source(b"SELECT 'x'")))),
        ("PREPARE s FROM @a", Effects(prepared=(b"s", Source(user=b"a")))),
        ("PREPARE s FROM CONCAT('a', 'b')", Effects(prepared=(b"s", Source()))),
        ("PREPARE s", Effects()),
        ("DEALLOCATE PREPARE `s`", Effects(deallocated=b"s")),
        ("DROP PREPARE S", Effects(deallocated=b"s")),
        ("EXECUTE s USING @a, @b", Effects(executed=b"s", using=(b"a", b"b"))),
        ("EXECUTE IMMEDIATE 'DO 1'", Effects(immediate=Source(b"DO 1"))),
        ("EXECUTE IMMEDIATE @q USING @a", Effects(immediate=Source(user=b"q"), using=(b"a",))),
        ("HANDLER a.t OPEN", Effects(opened=b"t")),
        ("HANDLER t OPEN AS h", Effects(opened=b"h")),
        ("HANDLER h CLOSE", Effects(closed=b"h")),
        ("HANDLER h READ FIRST", Effects()),
        ("XA START 'a'", Effects(xa=True)),
        ("XA ROLLBACK 'a'", Effects(xa=False)),
        ("XA END 'a'", Effects()),
        ("CALL p()", Effects(calls=True)),
        ("SET nonsense", Effects(unread_set=True)),
        ("SET STATEMENT sort_buffer_size = 1 FOR USE shop", Effects(use=b"shop")),
        ("SET STATEMENT x = 1", Effects(unread_set=True)),
        ("CREATE FUNCTION f() RETURNS INT SET @a = 1", Effects(defines_routine=True)),
        ("BEGIN NOT ATOMIC SELECT 1; END", Effects(compound=True)),
        ("5", Effects()),
    ],
)
def test_effects(sql: str, expected: Effects) -> None:
    assert effects(sql) == expected


def test_assignments_are_those_of_set() -> None:
    found = effects("SET @a = 1, sql_mode = ''")
    assert [item.name for item in found.assignments] == [b"a", b"sql_mode"]


def test_quotes_depend_on_the_mode() -> None:
    assert effects('USE "x"', ANSI_QUOTES).use == b"x"


WORDS = tokens(
    b"SET CREATE TEMPORARY TABLE DROP PREPARE FROM EXECUTE IMMEDIATE USING @a := INTO 'x' a . , ( )"
    b" GET_LOCK HANDLER OPEN RENAME TO ALTER FLUSH WITH READ LOCK XA BEGIN STATEMENT FOR UNLOCK"
    b" BACKUP STAGE LOAD GET CALL USE ; = 1"
)


@given(st.lists(st.sampled_from([token.text for token in WORDS])).map(b" ".join))
def test_nonsense_has_effects_too(sql: bytes) -> None:
    for words in split(tokens(sql)):
        assert isinstance(read(words), Effects)
