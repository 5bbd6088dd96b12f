# SPDX-License-Identifier: Apache-2.0
"""What is asked about a session, and what answers and refusals teach."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.settings import DEFAULT_CHARSET, NULL_OF, Charset
from hproxy.protocols.mysql.state import Question, QuestionKind
from tests.support.dialogue import (
    PLAIN,
    RUNNING,
    STATE,
    Dialogue,
    variable,
)


@pytest.fixture
def session() -> Dialogue:
    return Dialogue()


def test_what_it_does_not_say_is_asked(session: Dialogue) -> None:
    (question,) = session.run("SET sql_mode = ansi, big_tables = 1", tracked=False)
    assert question == Question(
        b"SHOW SESSION VARIABLES WHERE Variable_name IN ('sql_mode','big_tables')",
        QuestionKind.VARIABLES,
        (b"sql_mode", b"big_tables"),
    )
    rows = [(b"sql_mode", b"ANSI"), (b"big_tables", b"ON")]
    assert session.state.answered(question, rows) == ()
    assert session.state.settings.variables == ((b"big_tables", b"ON"), (b"sql_mode", b"ANSI"))


def test_a_variable_nobody_shows_pins(session: Dialogue) -> None:
    (question,) = session.run("SET hidden = 1", STATE)
    session.state.answered(question, [])
    assert session.pins() == Pin.UNTRACKABLE_SET


def test_a_question_refused_pins(session: Dialogue) -> None:
    (question,) = session.run("SET sql_mode = ansi", tracked=False)
    session.state.unanswered(question)
    assert session.pins() == Pin.UNTRACKABLE_SET


def test_set_names_asks_for_the_collation(session: Dialogue) -> None:
    names = ("character_set_client", "character_set_connection", "character_set_results")
    (question,) = session.run("SET NAMES latin1", *(variable(name, "latin1") for name in names))
    assert question.kind is QuestionKind.CHARSET
    # Until then its letters are known already.
    assert session.state.settings.charset.client == b"latin1"
    session.state.answered(question, [(b"latin1", b"latin1", b"latin1_swedish_ci")])
    assert session.state.settings.charset == Charset.named(b"latin1_swedish_ci")


def test_the_collation_of_results_is_that_of_set_names(session: Dialogue) -> None:
    (question,) = session.run("SET NAMES utf8mb4 COLLATE utf8mb4_bin", tracked=False)
    session.state.answered(question, [(b"utf8mb4", b"utf8mb4", b"utf8mb4_bin")])
    assert session.state.settings.charset == Charset.named(b"utf8mb4_bin")
    (question,) = session.run("SET collation_connection = utf8mb4_general_ci", tracked=False)
    session.state.answered(question, [(b"utf8mb4", b"utf8mb4", b"utf8mb4_general_ci")])
    assert session.state.settings.charset.results_collation == b"utf8mb4_bin"
    (question,) = session.run("SET character_set_results = NULL", tracked=False)
    session.state.answered(question, [(b"utf8mb4", None, b"utf8mb4_general_ci")])
    assert session.state.settings.charset == Charset(b"utf8mb4", None, b"utf8mb4_general_ci")


def test_the_rest_is_read_back(session: Dialogue) -> None:
    (question,) = session.run("SELECT @a := 1, @b", STATE)
    assert question.kind is QuestionKind.USERS
    assert question.names == (b"a",)
    row = (b"DOUBLE", None, b"binary", b"binary", None, None)
    assert session.state.answered(question, [row]) == ()
    assert session.state.settings.user(b"a") == NULL_OF + b"1e0"
    (question,) = session.run("SELECT 1 INTO @a")
    session.state.answered(question, [(None, None, b"binary", b"binary", None, None)])
    assert session.state.settings is PLAIN


def test_user_locks(session: Dialogue) -> None:
    (question,) = session.run("DO GET_LOCK('A', 1), GET_LOCK('b', 0)")
    assert question.kind is QuestionKind.LOCKS
    assert question.names == (b"a", b"b")
    session.state.answered(question, [(b"1", b"0")])
    assert session.pins() == Pin.USER_LOCK
    (question,) = session.run("DO RELEASE_LOCK('a')")
    assert question.names == (b"a",)
    session.state.answered(question, [(b"0",)])
    assert session.pins() == 0


def test_a_lock_without_a_name_is_held_until_all_are_let_go(session: Dialogue) -> None:
    session.run("DO GET_LOCK(CONCAT('a', 'b'), 1)")
    session.run("DO RELEASE_LOCK('ab')")
    assert session.pins() == Pin.USER_LOCK
    session.run("DO RELEASE_ALL_LOCKS()")
    assert session.pins() == 0


def test_prepare_from_a_variable(session: Dialogue) -> None:
    session.run("SET @q = 'SELECT 1'", STATE)
    session.run("PREPARE s FROM @q", STATE)
    found = session.state.settings.statement(b"s")
    assert found is not None
    assert found.text == b"SELECT 1"
    # Both in one text: the variable is asked for first.
    (question,) = session.run("SET @q = CONCAT('SELECT', ' 2'); PREPARE s FROM @q", STATE)
    assert session.pins() == Pin.UNTRACKABLE_SET
    row = (b"VARCHAR", None, b"utf8mb4", b"utf8mb4_bin", b"SELECT 2", b"SELECT 2")
    session.state.answered(question, [row])
    assert session.pins() == 0
    found = session.state.settings.statement(b"s")
    assert found is not None
    assert found.text == b"SELECT 2"


def test_a_harmless_routine_is_asked_for_once(session: Dialogue) -> None:
    (question,) = session.run("CALL p()", STATE)
    assert question.kind is QuestionKind.ROUTINE
    assert question.names == (b"shop", b"p")
    assert session.pins() == Pin.ROUTINE
    assert session.state.answered(question, [(b"SELECT 1", None, b"SQL", b"")]) == ()
    assert session.pins() == 0
    assert session.run("CALL P()") == ()
    assert session.pins() == 0


def test_a_routine_that_leaves_something_pins_for_good(session: Dialogue) -> None:
    (question,) = session.run("SELECT f(1)")
    session.state.answered(question, [(b"SET @a = 1", None, b"SQL", b"")])
    session.run("SELECT 1")
    assert session.pins() == Pin.ROUTINE
    assert session.book.get(b"shop", b"f") is False


def test_what_routines_call_is_judged_too(session: Dialogue) -> None:
    (question,) = session.run("SELECT f(1)")
    (inner,) = session.state.answered(question, [(b"RETURN g(f(1))", None, b"SQL", b"")])
    assert inner.names == (b"shop", b"g")
    assert session.pins() == Pin.ROUTINE
    assert session.state.answered(inner, []) == ()
    assert session.pins() == 0
    assert session.book.get(b"shop", b"f") is True


def test_a_routine_is_not_asked_for_in_a_transaction(session: Dialogue) -> None:
    assert session.run("CALL p()", status=RUNNING) == ()
    assert session.pins() == Pin.ROUTINE | Pin.TRANSACTION
    assert session.kinds("COMMIT") == [QuestionKind.ROUTINE]


def test_wide_collations_hide_numbers() -> None:
    wide = PLAIN.with_charset(DEFAULT_CHARSET._replace(collation=b"utf16_bin"))
    session = Dialogue(wide)
    session.run("SET @a = 1", STATE)
    assert session.pins() == Pin.UNTRACKABLE_SET
