# SPDX-License-Identifier: Apache-2.0
"""Questions are statements that no setting of a session can garble."""

from __future__ import annotations

import pytest

from hproxy.protocols.mysql.lexer import ANSI_QUOTES, NO_BACKSLASH_ESCAPES, tokens
from hproxy.protocols.mysql.questions import CHARSET, SCHEMA, Asking, Question, QuestionKind
from hproxy.protocols.mysql.traits import classify


@pytest.mark.parametrize("question", [CHARSET, SCHEMA], ids=["charset", "schema"])
def test_answers_are_binary_and_not_hidden(question: Question) -> None:
    assert question.sql.endswith(b" LIMIT 1")
    columns = question.sql.count(b"CAST(CONVERT(")
    assert columns == question.sql.count(b" AS BINARY)") == (3 if question is CHARSET else 1)
    assert classify(question.sql).routines == ()


@pytest.mark.parametrize("question", [CHARSET, SCHEMA], ids=["charset", "schema"])
def test_modes_do_not_matter(question: Question) -> None:
    assert tokens(question.sql) == tokens(question.sql, ANSI_QUOTES | NO_BACKSLASH_ESCAPES)


def test_kinds() -> None:
    assert (CHARSET.kind, SCHEMA.kind) == (QuestionKind.CHARSET, QuestionKind.SCHEMA)
    assert CHARSET.names == ()


def test_nothing_is_asked_at_first() -> None:
    assert not any(vars(Asking()).values())
