# SPDX-License-Identifier: Apache-2.0
"""What a session is known to be after a statement, and what has to be asked first."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.constants import TrackedKind
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.replies import SessionChange
from hproxy.protocols.mysql.settings import Prepared, Settings
from hproxy.protocols.mysql.state import Outcome, QuestionKind
from tests.support.dialogue import (
    IDLE,
    PLAIN,
    RUNNING,
    STATE,
    TRACKING,
    Dialogue,
    characteristics,
    variable,
)


@pytest.fixture
def session() -> Dialogue:
    return Dialogue()


# -- system variables ------------------------------------------------------------------------


def test_the_server_says_what_was_set(session: Dialogue) -> None:
    assert session.run("SET sql_mode = ansi", variable("sql_mode", "ANSI_QUOTES,ANSI"), STATE) == ()
    assert session.state.settings is PLAIN.with_variables({b"sql_mode": b"ANSI_QUOTES,ANSI"})
    assert session.state.lex_modes == 1
    assert session.pins() == 0


def test_the_clock_runs_again_whatever_the_server_says(session: Dialogue) -> None:
    session.run("SET timestamp = 5", variable("timestamp", "5.000000"))
    assert session.state.settings.variable(b"timestamp") == b"5.000000"
    session.run("SET timestamp = DEFAULT", variable("timestamp", "5.000000"))
    assert session.state.settings is PLAIN


def test_global_is_not_of_the_session(session: Dialogue) -> None:
    assert session.run("SET GLOBAL sql_mode = ansi, @@persist.big_tables = 1") == ()
    assert session.state.settings is PLAIN


def test_a_set_nobody_understands_pins(session: Dialogue) -> None:
    session.run("SET five = ")
    assert session.pins() == Pin.UNTRACKABLE_SET


# -- character sets and schema ---------------------------------------------------------------


def test_schema(session: Dialogue) -> None:
    session.run("USE b", SessionChange(TrackedKind.SCHEMA, b"", b"b"), STATE)
    assert session.state.settings.schema == b"b"
    (question,) = session.run("USE c", tracked=False)
    session.state.answered(question, [(b"c",)])
    assert session.state.settings.schema == b"c"
    plan = session.state.plan_schema(b"d")
    (question,) = session.state.finished(plan, Outcome(tracked=False))
    assert question.kind is QuestionKind.SCHEMA


# -- user variables --------------------------------------------------------------------------


def test_literals_need_no_question(session: Dialogue) -> None:
    assert session.run("SET @a = 5, @B := 'x', @c = -1.5", STATE) == ()
    assert dict(session.state.settings.users) == {
        b"a": b"5",
        b"b": b"_utf8mb4 x'78' COLLATE utf8mb4_general_ci",
        b"c": b"-1.5",
    }


def test_a_failed_set_may_have_made_variables(session: Dialogue) -> None:
    assert session.run("SET @a = 1, sql_mode = 'x'", error=1231) == ()
    assert [question.names for question in session.state.waiting] == [(b"a",)]


# -- warnings --------------------------------------------------------------------------------


def test_questions_wait_until_warnings_are_read(session: Dialogue) -> None:
    assert session.run("SET NAMES utf8", warnings=1, tracked=False) == ()
    assert session.pins() == Pin.WARNINGS
    assert session.run("SHOW WARNINGS", warnings=1) == ()
    assert session.pins() == Pin.WARNINGS
    assert session.kinds("SELECT 1 FROM t") == [QuestionKind.CHARSET]
    assert session.pins() == 0


def test_warnings_outlive_statements_without_tables_on_mariadb(session: Dialogue) -> None:
    session.run("SELECT 'a' + 1 FROM t", warnings=1)
    for sql in ("SELECT 1", "SET @a = 1", "USE other", "COMMIT"):
        session.run(sql)
        assert session.pins() == Pin.WARNINGS
    session.run("SELECT 1 FROM t")
    assert session.pins() == 0


def test_a_literal_has_the_collation_that_is_still_to_be_asked_for(session: Dialogue) -> None:
    session.run("SELECT 'a' + 1 FROM t", warnings=1)
    session.run("SET NAMES utf8mb4", variable("collation_connection", "utf8mb4_bin"))
    session.run("SET @a = 'x'")
    asked = [question.kind for question in session.state.waiting]
    assert asked == [QuestionKind.CHARSET, QuestionKind.USERS]


def test_any_statement_ends_warnings_on_mysql() -> None:
    session = Dialogue(mariadb=False)
    session.run("SELECT 'a' + 1 FROM t", warnings=1)
    assert session.pins() == Pin.WARNINGS
    session.run("SELECT 1")
    assert session.pins() == 0


def test_what_asks_for_warnings_may_leave_some(session: Dialogue) -> None:
    assert session.run("GET DIAGNOSTICS CONDITION 1 @a = MESSAGE_TEXT", error=1758) == ()
    assert session.pins() == Pin.WARNINGS
    assert session.kinds("DELETE FROM t") == [QuestionKind.USERS]
    assert session.run("SET @a = ROW_COUNT()", STATE) == ()
    assert session.run("SET @b = FOUND_ROWS()", STATE) == ()
    assert session.kinds("DELETE FROM t") == [QuestionKind.USERS, QuestionKind.USERS]
    assert session.pins() == 0


def test_found_rows(session: Dialogue) -> None:
    session.run("SELECT SQL_CALC_FOUND_ROWS 1")
    assert session.pins() == Pin.FOUND_ROWS
    session.run("SELECT FOUND_ROWS()")
    assert session.pins() == Pin.FOUND_ROWS
    session.run("SELECT 1")
    assert session.pins() == 0


# -- transactions ----------------------------------------------------------------------------


def test_transactions_are_the_servers_word(session: Dialogue) -> None:
    session.run("BEGIN", status=RUNNING)
    assert session.pins() == Pin.TRANSACTION
    session.run("SELECT nonsense", error=1054, status=RUNNING)
    assert Pin.TRANSACTION in session.pins()
    session.run("COMMIT", status=IDLE)
    assert session.pins() == Pin.WARNINGS
    # Its first OKs have told of it, then came the ERR.
    session.run("BEGIN; SELECT nonsense", error=1054, status=RUNNING)
    assert Pin.TRANSACTION in session.pins()


def test_the_next_transaction(session: Dialogue) -> None:
    said = characteristics("SET TRANSACTION READ ONLY;")
    session.run("SET TRANSACTION READ ONLY", said)
    assert session.pins() == Pin.NEXT_TRANSACTION
    session.run("BEGIN", characteristics("START TRANSACTION READ ONLY;"), status=RUNNING)
    assert session.pins() == Pin.TRANSACTION
    session.run("COMMIT", characteristics(""), status=IDLE)
    assert session.pins() == 0


def test_the_next_transaction_untold(session: Dialogue) -> None:
    session.run("SET TRANSACTION READ ONLY", tracked=False)
    assert session.pins() == Pin.NEXT_TRANSACTION
    session.run("BEGIN", tracked=False, status=RUNNING)
    session.run("COMMIT", tracked=False, status=IDLE)
    assert session.pins() == 0


# -- tables, locks, handlers -----------------------------------------------------------------


def test_temporary_tables(session: Dialogue) -> None:
    session.run("CREATE TEMPORARY TABLE t (a INT)", STATE)
    session.run("CREATE TEMPORARY TABLE other.t (a INT)", STATE)
    session.run("DROP TABLE shop.t", STATE)
    assert session.pins() == Pin.TEMP_TABLE
    assert session.state.records[0].statement == b"digest of CREATE TEMPORARY TABLE t (a INT)"
    assert session.state.records[0].since == 5.0
    session.run("ALTER TABLE other.t RENAME u", STATE)
    session.run("DROP TEMPORARY TABLE IF EXISTS u", error=1051)
    assert Pin.TEMP_TABLE in session.pins()
    session.run("DROP TEMPORARY TABLE u", STATE)
    assert session.pins() == 0
    assert session.state.records == ()


def test_a_refused_table_is_none(session: Dialogue) -> None:
    session.run("CREATE TEMPORARY TABLE t (a INT)", error=1050)
    session.run("SELECT 1 FROM t")
    assert session.pins() == 0


def test_table_locks(session: Dialogue) -> None:
    session.run("LOCK TABLES t READ")
    assert session.pins() == Pin.TABLE_LOCK
    session.run("BEGIN", status=RUNNING)
    assert session.pins() == Pin.TRANSACTION
    session.run("FLUSH TABLES WITH READ LOCK", status=RUNNING)
    session.run("COMMIT")
    session.run("BEGIN")
    assert session.pins() == Pin.TABLE_LOCK
    session.run("UNLOCK TABLES")
    assert session.pins() == 0


def test_handlers_and_xa(session: Dialogue) -> None:
    session.run("HANDLER t OPEN AS h")
    session.run("XA START 'a'", status=RUNNING)
    assert session.pins() == Pin.HANDLER | Pin.XA | Pin.TRANSACTION
    session.run("HANDLER h CLOSE", status=RUNNING)
    session.run("XA COMMIT 'a' ONE PHASE")
    assert session.pins() == 0


# -- prepared statements ---------------------------------------------------------------------


def test_prepare_and_execute(session: Dialogue) -> None:
    session.run("PREPARE S FROM 'SET @a = ''x'''", STATE)
    assert session.state.settings.statement(b"s") == Prepared(b"SET @a = 'x'", PLAIN)
    session.run("EXECUTE s", STATE)
    assert session.state.settings.user(b"a") is not None
    session.run("PREPARE s FROM 'CREATE TEMPORARY TABLE t (a INT)'", STATE)
    session.run("EXECUTE s", STATE)
    assert session.pins() == Pin.TEMP_TABLE
    session.run("DEALLOCATE PREPARE s", STATE)
    assert session.state.settings.prepared == ()


def test_a_text_nobody_can_read_pins(session: Dialogue) -> None:
    session.run("PREPARE s FROM CONCAT('SELECT', ' 1')", STATE)
    assert session.pins() == Pin.UNTRACKABLE_SET
    session.run("EXECUTE s")
    assert Pin.ROUTINE in session.pins()


def test_execute_has_the_traits_of_what_it_runs(session: Dialogue) -> None:
    session.run("PREPARE s FROM 'SELECT SQL_CALC_FOUND_ROWS f(1)'", STATE)
    plan = session.plan("EXECUTE s")
    assert plan.traits.routines == (b"f",)
    session.state.finished(plan, Outcome())
    assert Pin.FOUND_ROWS in session.pins()


def test_a_failed_prepare_leaves_nothing_of_that_name(session: Dialogue) -> None:
    session.run("PREPARE s FROM 'SELECT 1'", STATE)
    session.run("PREPARE s FROM nonsense", error=1054)
    session.run("PREPARE s FROM", error=1064)
    assert session.state.settings.statement(b"s") is not None
    session.run("PREPARE s FROM 'nonsense'", error=1064)
    assert session.state.settings.statement(b"s") is None
    session.run("PREPARE s FROM 'SELECT 1'", STATE)
    session.run("PREPARE s FROM CONCAT('nonsense')", error=1064)
    assert session.pins() == Pin.UNTRACKABLE_SET | Pin.WARNINGS


# -- stored code -----------------------------------------------------------------------------


def test_a_routine_that_does_not_exist(session: Dialogue) -> None:
    session.run("CALL p()", error=1305)
    assert session.state.waiting == ()
    assert session.pins() == Pin.WARNINGS


def test_a_block_without_a_name(session: Dialogue) -> None:
    session.run("BEGIN NOT ATOMIC SELECT 1; END")
    assert session.pins() == 0
    session.run("BEGIN NOT ATOMIC SET @@sql_mode = ''; END")
    assert session.pins() == Pin.ROUTINE


def test_a_change_without_a_reason_pins(session: Dialogue) -> None:
    session.run("INSERT INTO t VALUES (1)", STATE)
    assert session.pins() == Pin.UNTRACKABLE_STATE


# -- several statements ----------------------------------------------------------------------


def test_several_in_one_text(session: Dialogue) -> None:
    changes = (variable("sql_mode", "ANSI"), STATE)
    assert session.run("SET sql_mode = ansi; SET @a = 1; SELECT 1", *changes) == ()
    assert session.state.settings.variables == ((b"sql_mode", b"ANSI"),)
    assert session.state.settings.users == ((b"a", b"1"),)


def test_where_they_stopped_is_not_known(session: Dialogue) -> None:
    text = "CREATE TEMPORARY TABLE t (a INT); SET sql_mode = '', @a = 1, NAMES utf8; USE b; DO x"
    session.run(text, error=1054)
    assert [question.kind for question in session.state.settle()] == [
        QuestionKind.SCHEMA,
        QuestionKind.CHARSET,
        QuestionKind.VARIABLES,
        QuestionKind.USERS,
    ]
    assert session.pins() == Pin.TEMP_TABLE


# -- a client that tracks, and resets --------------------------------------------------------


def test_reset(session: Dialogue) -> None:
    session.run("SET @a = 1, sql_mode = ''", variable("sql_mode", ""), STATE)
    session.run("SET NAMES latin1", tracked=False)
    session.run("CREATE TEMPORARY TABLE t (a INT)", STATE)
    assert [question.sql for question in session.state.reset()] == [
        b"SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
        TRACKING,
    ]
    assert session.state.settings is PLAIN
    assert session.pins() == 0


def test_mysql_forgets_the_schemas_character_set_with_a_reset() -> None:
    tracking, charset, variables = Dialogue(mariadb=False).state.reset()
    assert tracking.sql == TRACKING
    assert charset.kind is QuestionKind.CHARSET
    assert variables.names == (b"collation_database",)


def test_another_user(session: Dialogue) -> None:
    session.state.pin(Pin.LONG_DATA)
    session.run("SET @a = 1", STATE)
    session.state.restart(Settings.make(b"other"))
    assert session.state.settings is Settings.make(b"other")
    assert session.pins() == 0


def test_several_statements_in_one_text_may_be_allowed_or_not(session: Dialogue) -> None:
    session.state.set_multi_statements(True, at_login=False)
    assert session.state.settings.multi_statements is True
    session.state.set_multi_statements(False, at_login=False)
    assert session.state.settings is PLAIN


def test_to_prepare_changes_variables_already(session: Dialogue) -> None:
    plan = session.state.plan_prepare(b"SELECT @a := ?")
    assert [question.names for question in session.state.finished(plan, Outcome())] == [(b"a",)]
