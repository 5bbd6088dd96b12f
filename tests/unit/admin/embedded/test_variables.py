# SPDX-License-Identifier: Apache-2.0
"""Variables, and SET in the forms that clients send."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hproxy.admin.embedded.assignment import assign
from hproxy.admin.embedded.variables import Variables
from hproxy.admin.lexer import Token, parse
from hproxy.admin.model import Value
from hproxy.errors import AdminError


def made(*statements: str) -> Variables:
    """Variables after these SETs; expressions are numbers and strings."""
    variables = Variables({"hostname": "writer"})

    def evaluate(tokens: Sequence[Token]) -> Value:
        (token,) = tokens
        return int(token.value) if token.value.isdecimal() else token.value

    for text in statements:
        (statement,) = parse(text)
        assign(statement, variables, evaluate)
    return variables


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("SET autocommit=0", "autocommit", 0),
        ("SET autocommit = OFF", "autocommit", 0),
        ("SET @@session.autocommit = OFF", "autocommit", 0),
        ("SET SESSION wait_timeout = 5", "wait_timeout", 5),
        ("SET @@GLOBAL.wait_timeout := 5", "wait_timeout", 5),
        ("SET NAMES latin1", "character_set_client", "latin1"),
        ("SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'", "collation_connection", "utf8mb4_bin"),
        ("SET CHARACTER SET utf8", "character_set_results", "utf8"),
        ("SET sql_mode = ANSI, time_zone = '+00:00'", "time_zone", "+00:00"),
        ("SET sql_mode = DEFAULT", "sql_mode", "STRICT_TRANS_TABLES"),
        (
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "transaction_isolation",
            "READ-COMMITTED",
        ),
        ("SET TRANSACTION READ ONLY", "tx_read_only", 1),
        ("SET tx_isolation = 'SERIALIZABLE'", "transaction_isolation", "SERIALIZABLE"),
    ],
)
def test_set(text: str, name: str, value: Value) -> None:
    assert made(text).get(name) == value


def test_user_variables() -> None:
    variables = made("SET @a = 5, @B = 'x'")
    (statement,) = parse("SELECT @A, @b, @c")
    values = [variables.look_up(t) for t in statement.tokens if t.text.startswith("@")]
    assert values == [5, "x", None]
    variables.clear()
    assert [variables.look_up(t) for t in statement.tokens if t.text.startswith("@")] == [None] * 3


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("SET nosuch = 1", 1193),
        ("SET hostname = 'x'", 1238),
        ("SET autocommit = 7", 1231),
        ("SET autocommit", 1064),
        ("SET", 1064),
        ("SET a =", 1064),
        ("SET PASSWORD = 'x'", 1227),
    ],
)
def test_refused(text: str, number: int) -> None:
    with pytest.raises(AdminError) as caught:
        made(text)
    assert caught.value.facts["number"] == number


def test_listing_speaks_of_switches_as_on_and_off() -> None:
    shown = dict(made("SET autocommit = 0").listing())
    assert (shown["autocommit"], shown["unique_checks"]) == ("OFF", "ON")
    assert shown["hostname"] == "writer"
    assert list(shown) == sorted(shown)
