# SPDX-License-Identifier: Apache-2.0
"""What a session is known to be, what pins it, what its client is shown."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.constants import TrackedKind
from hproxy.protocols.mysql.pins import Pin
from hproxy.protocols.mysql.replies import SessionChange
from hproxy.protocols.mysql.state import Outcome, Question, QuestionKind
from tests.support.dialogue import (
    PLAIN,
    STATE,
    TRACKING,
    Dialogue,
    variable,
)


@pytest.fixture
def session() -> Dialogue:
    return Dialogue()


def test_other_names_of_a_value(session: Dialogue) -> None:
    session.run("SET storage_engine = x", variable("storage_engine", "InnoDB"))
    assert session.state.settings.variable(b"default_storage_engine") == b"InnoDB"
    session.run("SET tx_isolation = x", variable("tx_isolation", "SERIALIZABLE"))
    session.run("SET transaction_isolation = x", variable("transaction_isolation", "X"))
    assert session.state.settings.variable(b"tx_isolation") is None
    (question,) = session.run("SET wsrep_causal_reads = 1", variable("wsrep_causal_reads", "ON"))
    assert question.names == (b"wsrep_sync_wait",)


def test_what_cannot_be_carried_over_pins_while_it_lasts(session: Dialogue) -> None:
    session.run("SET profiling = 1", variable("profiling", "ON"))
    assert session.pins() == Pin.UNTRACKABLE_SET
    session.run("SET profiling = 0", variable("profiling", "OFF"))
    assert session.pins() == 0
    session.run("SET rand_seed1 = 5", STATE)
    assert session.pins() == Pin.UNTRACKABLE_SET


def test_last_insert_id_is_kept_aside(session: Dialogue) -> None:
    session.run("SET last_insert_id = 7", variable("last_insert_id", "7"))
    assert session.state.last_insert_id == 7
    assert session.state.settings is PLAIN


def test_names_that_servers_confuse_pin(session: Dialogue) -> None:
    assert session.run("SELECT @é := 1") == ()
    assert session.pins() == Pin.UNTRACKABLE_SET


def test_too_much_to_carry_pins(session: Dialogue) -> None:
    (question,) = session.run("SET @a = REPEAT('x', 100000)")
    row = (b"VARCHAR", None, b"latin1", b"latin1_bin", b"x", b"x" * 100_000)
    session.state.answered(question, [row])
    assert session.pins() == Pin.UNTRACKABLE_SET
    session.run("SET @a = 1")
    assert session.pins() == 0


def test_who_cannot_wait_settles(session: Dialogue) -> None:
    session.run("SET NAMES utf8", warnings=1, tracked=False)
    assert [question.kind for question in session.state.settle()] == [QuestionKind.CHARSET]
    assert session.pins() == 0
    assert session.state.settle() == ()


def test_tracking_of_the_client_is_its_view_only(session: Dialogue) -> None:
    plan = session.plan("SET session_track_schema = OFF, sql_mode = ''")
    assert plan.needs_tracking_of_client
    client, tracking, mode = session.state.finished(plan, Outcome(changes=(STATE,)))
    assert client.kind is QuestionKind.CLIENT_TRACKING
    assert tracking == Question(TRACKING, QuestionKind.TRACKING)
    assert mode.names == (b"sql_mode",)
    session.state.answered(client, [(b"session_track_schema", b"OFF")])
    session.state.answered(tracking, [])
    schema = SessionChange(TrackedKind.SCHEMA, b"", b"b")
    assert session.state.client_view((schema,)) is None
    assert session.state.settings is PLAIN


def test_pins_of_others(session: Dialogue) -> None:
    session.state.pin(Pin.OPEN_CURSOR, 1.0, b"SELECT ?")
    session.state.pin(Pin.OPEN_CURSOR, 2.0, b"SELECT 2")
    assert session.state.records[0].statement == b"SELECT ?"
    session.state.unpin(Pin.OPEN_CURSOR)
    assert session.pins() == 0


def test_statements_prepared_in_a_schema_hold_who_has_none(session: Dialogue) -> None:
    session.run("USE shop", SessionChange(TrackedKind.SCHEMA, b"", b"shop"))
    session.run("PREPARE s FROM 'SELECT 1'")
    session.run("DROP DATABASE shop", SessionChange(TrackedKind.SCHEMA, b"", b""))
    assert session.pins() == Pin.UNTRACKABLE_SET
    session.run("DEALLOCATE PREPARE s")
    assert session.pins() == 0
