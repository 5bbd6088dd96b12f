# SPDX-License-Identifier: Apache-2.0
"""What is learned of a server, and what nonsense teaches."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.facts import Facts

SESSION_VARIABLES: list[tuple[bytes | None, ...]] = [
    (b"autocommit", b"ON"), (b"last_gtid", b""), (b"sql_mode", b""), (b"statement_id", b"7"),
]  # fmt: skip


def facts_of(version: bytes = b"9.0.1", *, tracked: bool = True) -> Facts:
    return Facts.learn(
        [
            [(b"8", b"latin1", b"latin1_swedish_ci"), (b"45", b"utf8mb4", b"utf8mb4_general_ci")],
            [(b"utf8mb4", b"utf8mb4", b"utf8mb4_0900_ai_ci")],
            SESSION_VARIABLES,
            [(b"session_track_schema", b"ON")],
            [(b"ANSI_QUOTES", version)],
        ],
        tracked,
    )


def test_a_server_is_asked_for_what_it_can_track() -> None:
    learned = facts_of()
    assert b"session_track_system_variables='autocommit,sql_mode'" in learned.tracking
    assert learned.charset(8).collation == b"latin1_swedish_ci"
    assert learned.charset(999).collation == b"utf8mb4_0900_ai_ci"
    assert learned.client_tracking == {b"session_track_schema": b"ON"}
    assert (learned.sql_mode, learned.mysql) == (b"ANSI_QUOTES", True)
    assert not facts_of(b"10.11.6-MariaDB").mysql


@pytest.mark.parametrize("answer", [None, [], [(b"fine",)], [(b"1", b"2", b"3", b"4")], [(None,)]])
def test_answers_that_make_no_sense_teach_nothing(
    answer: list[tuple[bytes | None, ...]] | None,
) -> None:
    learned = Facts.learn([answer] * len(Facts.QUESTIONS), True)
    assert (learned.tracking, learned.client_tracking, learned.sql_mode) == (b"", {}, b"")
    assert learned.charset(45).collation == b"utf8mb4_general_ci"


def test_a_server_that_refuses_every_question_is_one_all_the_same() -> None:
    learned = Facts.learn([None] * 5, True)
    assert (learned.tracking, learned.client_tracking) == (b"", {})
    assert learned.charset(45).client == b"utf8mb4"
    assert facts_of(tracked=False).tracking == b""
