# SPDX-License-Identifier: Apache-2.0
"""Which stored code leaves nothing behind, and the book that remembers it."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql import routines
from hproxy.protocols.mysql.routines import RoutineBook, Trial, harmless, judge, routine_question


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 1",
        "BEGIN DECLARE a, b INT DEFAULT 0; SET a = 1, b = a; SELECT a; END",
        "BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION ROLLBACK; START TRANSACTION; COMMIT; END",
        "BEGIN UPDATE t SET a = 1; INSERT INTO t SET a = 2; END",
        "BEGIN IF p > 1 THEN SET p = 2; ELSE SET p = 3; END IF; END",
        "SET NEW.a = 1",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT * FROM t USE INDEX (i)",
        "x: LOOP LEAVE x; END LOOP",
        "BEGIN SELECT @@sql_mode; END",
    ],
)
def test_harmless(body: str) -> None:
    assert harmless(body.encode(), [b"p"])


@pytest.mark.parametrize(
    "body",
    [
        "SELECT @a := 1",
        "SET @a = 1",
        "BEGIN SELECT 1 INTO @a; END",
        "BEGIN SET sql_mode = ''; END",
        "BEGIN SET @@session.sql_mode = ''; END",
        "SET SESSION p = 1, sql_mode = ''",
        "IF 1 THEN SET autocommit = 0; END IF",
        "BEGIN SET nonsense END; END",
        "CREATE TEMPORARY TABLE t (a INT)",
        "DO GET_LOCK('a', 1)",
        "DO RELEASE_LOCK('a')",
        "PREPARE s FROM 'SELECT 1'",
        "EXECUTE s",
        "LOCK TABLES t READ",
        "HANDLER t OPEN",
        "FLUSH TABLES",
        "XA START 'a'",
    ],
)
def test_not_harmless(body: str) -> None:
    assert not harmless(body.encode(), [b"p"])


def test_names_stand_in_hexadecimal() -> None:
    sql = routine_question(b"a", b"it's")
    assert b"ROUTINE_SCHEMA=_utf8mb4 x'61' AND ROUTINE_NAME=_utf8mb4 x'69742773' LIMIT" in sql
    assert b"it's" not in sql


def test_judgement_of_what_the_server_shows() -> None:
    assert judge([]) == (True, ())
    assert judge([(b"SELECT f(1)", None, b"SQL", b"")]) == (True, (b"f",))
    assert judge([(b"SET p = 1", b"p,q", b"SQL", b"")]) == (True, ())
    assert judge([(b"SET r = 1", b"p,q", b"SQL", b"")]) == (False, ())
    assert judge([(None, None, b"SQL", b"")]) == (False, ())
    assert judge([(b"return 1", None, b"EXTERNAL", b"")]) == (False, ())
    assert judge([(b'SELECT "@a"', None, b"SQL", b"ANSI_QUOTES")]) == (True, ())


def test_both_of_one_name_are_judged() -> None:
    fine = (b"SELECT 1", None, b"SQL", b"")
    assert judge([fine, (b"SET @a = 1", None, b"SQL", b"")]) == (False, ())


def test_the_book() -> None:
    book = RoutineBook()
    assert book.get(b"s", b"f") is None
    book.put(b"s", b"F", True)
    assert book.get(b"s", b"f") is True
    assert book.get(b"S", b"f") is None
    book.forget()
    assert book.get(b"s", b"f") is None


def test_the_book_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routines, "BOOK_LIMIT", 2)
    book = RoutineBook()
    for name in (b"a", b"b", b"c"):
        book.put(b"s", name, False)
    assert [book.get(b"s", name) for name in (b"a", b"b", b"c")] == [None, None, False]


F, G, H = (b"s", b"f"), (b"s", b"g"), (b"t", b"h")
FINE = [(b"RETURN 1", None, b"SQL", b"")]
STAINS = [(b"SET @a = 1", None, b"SQL", b"")]


def calling(text: str) -> list[tuple[bytes | None, ...]]:
    return [(f"RETURN {text}".encode(), None, b"SQL", b"")]


def test_a_trial_of_what_is_known() -> None:
    book = RoutineBook()
    book.put(*F, True)
    trial = Trial(book)
    assert trial.ran([F])
    assert trial.ran([])
    assert not trial.stained
    book.put(*G, False)
    assert not trial.ran([F, G])
    assert trial.open
    assert trial.summon() == []


def test_each_is_summoned_once() -> None:
    trial = Trial(RoutineBook())
    assert not trial.ran([F, G])
    assert trial.summon() == [F, G]
    assert trial.summon() == []
    trial.answered(F, FINE, package=False)
    assert not trial.ran([F, G])
    trial.answered(G, FINE, package=False)
    assert trial.ran([F, G])


def test_others_may_have_found_out_in_the_meantime() -> None:
    book = RoutineBook()
    trial = Trial(book)
    trial.ran([F])
    book.put(*F, True)
    assert trial.summon() == []
    assert not trial.open


def test_callers_share_the_verdict_on_what_they_call() -> None:
    book = RoutineBook()
    trial = Trial(book)
    trial.ran([F])
    trial.summon()
    trial.answered(F, calling("g() + t.h()"), package=False)
    assert trial.summon() == [G, H]
    trial.answered(G, FINE, package=False)
    assert book.get(*F) is None
    trial.answered(H, STAINS, package=False)
    assert [book.get(*name) for name in (F, G, H)] == [False, True, False]
    assert trial.stained


def test_two_that_call_each_other() -> None:
    book = RoutineBook()
    trial = Trial(book)
    trial.ran([F])
    trial.summon()
    trial.answered(F, calling("g()"), package=False)
    assert trial.summon() == [G]
    trial.answered(G, calling("f() + g()"), package=False)
    assert [book.get(*name) for name in (F, G)] == [True, True]
    assert not trial.open


def test_a_package_is_not_looked_into() -> None:
    trial = Trial(RoutineBook())
    trial.ran([H])
    trial.answered(H, [], package=True)
    assert trial.stained
