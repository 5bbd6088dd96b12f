# SPDX-License-Identifier: Apache-2.0
"""MySQL's SQL read as tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.admin.lexer import Kind, parse
from hproxy.errors import AdminError


def only(text: str) -> tuple[Kind, str]:
    ((statement),) = parse(text)
    (token,) = statement.tokens
    return token.kind, token.value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("select", Kind.WORD, "SELECT"),
        ("größe", Kind.WORD, "GRÖSSE"),
        ("`a``b`", Kind.NAME, "a`b"),
        ("'it''s'", Kind.STRING, "it's"),
        (r"'it\'s'", Kind.STRING, "it's"),
        (r"'\\'", Kind.STRING, "\\"),
        (r"'a\0\n\t\Z\%\_\q'", Kind.STRING, "a\0\n\t\x1a\\%\\_q"),
        ('"a\'b""c"', Kind.STRING, "a'b\"c"),
        (r"'\''''", Kind.STRING, "''"),
        ("'a' 'b'", Kind.STRING, "ab"),
        ("x'0aFF'", Kind.BLOB, "0aFF"),
        ("0x0aFF", Kind.BLOB, "0aFF"),
        ("_binary'\udcff'", Kind.BLOB, "ff"),
        ("_utf8mb4'a'", Kind.STRING, "a"),
        ("1.5e-3", Kind.NUMBER, "1.5e-3"),
        (".5", Kind.NUMBER, ".5"),
        ("?", Kind.PARAMETER, "?"),
        ("@a.b", Kind.USER_VARIABLE, "a.b"),
        ("@`x y`", Kind.USER_VARIABLE, "x y"),
        ("@@Global.Read_Only", Kind.SYSTEM_VARIABLE, "global.read_only"),
        ("<=>", Kind.OPERATOR, "<=>"),
    ],
)
def test_token(text: str, kind: Kind, value: str) -> None:
    assert only(text) == (kind, value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a -- b\nc", ["A", "C"]),
        ("a # b\nc", ["A", "C"]),
        ("a /* b; */ c", ["A", "C"]),
        ("a /*!40101 b */ c", ["A", "B", "C"]),
        ("a /*!80036 b */ c", ["A", "B", "C"]),
        ("a /*!80037 b */ c /*!90100 b */ /*!100100 b */ d", ["A", "C", "D"]),
        ("a /*M! b */ /*M!999999\\- enable the sandbox mode */ c", ["A", "C"]),
        ("1--1", ["1", "-", "-", "1"]),
        ("/* only */ -- comments", []),
    ],
)
def test_comments(text: str, values: list[str]) -> None:
    assert [token.value for statement in parse(text) for token in statement.tokens] == values


def test_statements_are_told_apart() -> None:
    found = parse("select ';' ; ; update t set a = ? -- ;\n;")
    assert [statement.source for statement in found] == ["select ';'", "update t set a = ?"]
    assert [statement.parameters for statement in found] == [0, 1]
    assert found[1].starts("UPDATE")
    assert found[1].name(1) == "t"


@pytest.mark.parametrize("text", ["'open", '"open', "`open", "select */ 1", "a /* b", "\udcff"])
def test_unreadable(text: str) -> None:
    with pytest.raises(AdminError) as caught:
        parse(text)
    assert caught.value.facts["number"] == 1064


@given(st.text(alphabet="ab'\"`\\;/*-#@x0?_ \n", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        found = parse(text)
    except AdminError:
        return
    for statement in found:
        assert statement.tokens
        for before, after in zip(statement.tokens, statement.tokens[1:], strict=False):
            assert before.end <= after.start
