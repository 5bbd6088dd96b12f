# SPDX-License-Identifier: Apache-2.0
"""libconfig text: every form is read, mistakes are pointed at, what is written reads back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.config.libconfig import MAX_INT64, LibconfigError, Node, parse, write


def plain(value: object) -> Any:
    if isinstance(value, Node):
        return plain(value.value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a:-7;", -7),
        ("a = +7,", 7),
        ("a = 0x1F", 31),
        ("a = 9223372036854775807LL", MAX_INT64),
        ("a = 1.5", 1.5),
        ("a = -.5e3", -500.0),
        ("a = 1E3", 1000.0),
        ("a = TRUE", True),
        ("a = False", False),
        ('a = "x"', "x"),
        ('a = "x"\n  "y"  # and\n "z"', "xyz"),
        (r'a = "\"\\\n\t\x41\q"', '"\\\n\tAq'),
        ('a = "é 値"', "é 値"),
        ('a = "// not /* a # comment"', "// not /* a # comment"),
        ("a = [1, 2,]", [1, 2]),
        ("a = ()", []),
        ("a = ( 1, (2), {b=3}, )", [1, [2], {"b": 3}]),
        ("a = { b = 1; c = { d = 2 }\n e = 3, }", {"b": 1, "c": {"d": 2}, "e": 3}),
        ("/* x\n y */ a // z\n = # w\n 1", 1),
    ],
)
def test_read(text: str, value: object) -> None:
    assert plain(parse(text)) == {"a": value}


def test_nothing_is_no_settings() -> None:
    assert parse(" \n# only a comment") == {}


def test_values_know_where_they_stand() -> None:
    tree = parse("a = 1\nb =\n(\n  { c = 2 },\n  3\n)\n")
    assert (tree["a"].line, tree["a"].column) == (1, 1)
    items = tree["b"].value
    assert isinstance(items, list)
    assert [(item.line, item.column) for item in items] == [(4, 3), (5, 3)]
    group = items[0].value
    assert isinstance(group, dict)
    assert (group["c"].line, group["c"].column) == (4, 5)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a", "'=' after a is expected, not the end", 1, 2),
        ("a = ", "a value is expected, not the end", 1, 5),
        ("a = b", "a value is expected, not b", 1, 5),
        ("a = 1\n  a = 2", "a is given again (first in line 1)", 2, 3),
        ("a = {\n b = 1\n", "a name is expected, not the end", 3, 1),
        ("a = (1 2)", "',' or ')' is expected, not 2", 1, 8),
        ("a = [{b = 1}]", "a value is expected, not {", 1, 6),
        ("a = }", "a value is expected, not }", 1, 5),
        ('"secret" = 1', "a name is expected, not a text", 1, 1),
        ('\na = "open', "a text is not closed", 2, 5),
        ("a = 1 /* open", "a comment is not closed", 1, 7),
        ('@include "x"', "@include is not followed; put the settings into one file", 1, 1),
        ("a = $", "'$' is not expected", 1, 5),
        ("a = 9223372036854775808", "the number is too large", 1, 5),
        (f"a = {'9' * 9999}", "the number is too large", 1, 5),
        (f"a = {'(' * 60}", "is nested too deeply", 1, 56),
        (f"{'a={' * 5000}", "is nested too deeply", 1, 156),
    ],
)
def test_mistakes_are_pointed_at(text: str, message: str, line: int, column: int) -> None:
    with pytest.raises(LibconfigError) as caught:
        parse(text)
    error = caught.value
    assert (error.message, error.line, error.column) == (message, line, column)
    assert str(error) == f"{message} at line {line}, column {column}"


NAMES = st.from_regex(r"[A-Za-z*][-A-Za-z0-9_*]{0,8}", fullmatch=True)
SCALARS = (
    st.booleans()
    | st.integers(-MAX_INT64, MAX_INT64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_reads_back(tree: dict[str, Any]) -> None:
    assert plain(parse(write(tree))) == tree


@given(st.text(max_size=60) | st.text('ab=:;,{}()[]"\\/*#@ \n01.xL', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except LibconfigError as error:
        place = (error.line, error.column)
    else:
        return
    assert min(place) >= 1


def test_what_is_none_is_left_out() -> None:
    assert write({"a": None, "b": {"c": None}}) == "b =\n{\n}\n"


@pytest.mark.parametrize(
    "tree", [{"a b": 1}, {"a": math.inf}, {"a": math.nan}, {"a": MAX_INT64 + 1}, {"a": {1}}]
)
def test_what_cannot_be_said_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not a name|not a number|too large|cannot be"):
        write(tree)
