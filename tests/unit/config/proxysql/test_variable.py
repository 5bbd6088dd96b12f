# SPDX-License-Identifier: Apache-2.0
"""A variable keeps a value in one spelling, and refuses one that it cannot have."""

from __future__ import annotations

import pytest

from hproxy.config.option import Refusal
from hproxy.config.proxysql.variable import MAX_TEXT, Variable, choice, flag, number, text

LIMIT = number("mysql-limit", 5, 1, 10, "A limit.")
SWITCH = flag("mysql-switch", True, "A switch.")
WORD = choice("mysql-word", ("Off", "On"), "A word.")
FREE = text("mysql-free", "", "A text.")
ADDRESSES = text("mysql-addresses", "", "Addresses.", form="interfaces")


@pytest.mark.parametrize(
    ("variable", "value", "kept"),
    [
        (LIMIT, " 10 ", "10"),
        (LIMIT, "+7", "7"),
        (LIMIT, "007", "7"),
        (SWITCH, "TRUE", "true"),
        (SWITCH, "1", "true"),
        (SWITCH, "off", "false"),
        (WORD, "on", "On"),
        (FREE, " as it is ", " as it is "),
        (ADDRESSES, "a:1 ", "a:1"),
    ],
)
def test_kept(variable: Variable, value: str, kept: str) -> None:
    assert variable.check(value) == kept
    assert variable.check(kept) == kept


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (LIMIT, "0", "must be at least 1"),
        (LIMIT, "11", "must be at most 10"),
        (LIMIT, "-1", "must be at least 1"),
        (LIMIT, "5s", "must be a whole number"),
        (LIMIT, "", "must be a whole number"),
        (LIMIT, "1" * 40, "must be a whole number"),
        (SWITCH, "2", "must be true or false"),
        (WORD, "maybe", "must be one of Off, On"),
        (FREE, "a\0b", "without NUL"),
        (FREE, "x" * (MAX_TEXT + 1), "at most"),
        (ADDRESSES, "nowhere", "has no port"),
    ],
)
def test_refused(variable: Variable, value: str, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        variable.check(value)


def test_makers_name_the_default_as_text() -> None:
    assert (LIMIT.default, SWITCH.default, WORD.default) == ("5", "true", "Off")
