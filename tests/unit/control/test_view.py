# SPDX-License-Identifier: Apache-2.0
"""Lists: filtered, sorted, cut, and without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy.control.view import hidden, named, page
from hproxy.errors import AdminError

ROWS = [
    {"name": "b", "n": 2, "on": True, "x": None},
    {"name": "a", "n": 10, "on": False, "x": "z"},
    {"name": "c", "n": 2, "on": True, "x": ""},
]


def names(**wanted: str) -> list[Any]:
    return [row["name"] for row in page(ROWS, wanted)["items"]]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "bac"),
        ({"n": "2"}, "bc"),
        ({"N": "2"}, "bc"),
        ({"on": "true", "sort": "-name"}, "cb"),
        ({"x": ""}, "bc"),
        ({"sort": "n"}, "bca"),
        ({"sort": "-n"}, "abc"),
        ({"sort": "x"}, "bca"),
        ({"limit": "1"}, "b"),
        ({"limit": "1", "offset": "1"}, "a"),
        ({"limit": "0"}, ""),
        ({"offset": "9"}, ""),
    ],
)
def test_what_is_shown(wanted: dict[str, str], found: str) -> None:
    assert "".join(names(**wanted)) == found


def test_the_total_is_of_all_that_match() -> None:
    assert page(ROWS, {"n": "2", "limit": "1"})["total"] == 2


def test_defaults_give_way() -> None:
    assert page(ROWS, {}, sort="name", limit="1")["items"][0]["name"] == "a"
    assert page(ROWS, {"sort": "-n"}, sort="name", limit="1")["items"][0]["name"] == "a"
    assert page(ROWS, {"limit": "3"}, limit="1")["total"] == 3


@pytest.mark.parametrize(
    "wanted",
    [{"m": "2"}, {"sort": "m"}, {"limit": "-1"}, {"limit": "x"}, {"offset": "1" * 30},
     {"limit": "\u0661"}],
)  # fmt: skip
def test_what_is_refused(wanted: dict[str, str]) -> None:
    with pytest.raises(AdminError) as raised:
        page(ROWS, wanted)
    assert raised.value.full_code == "admin.request"


def test_of_no_rows_nothing_is_refused() -> None:
    assert page([], {"m": "2", "sort": "m"}) == {"items": [], "total": 0}


def test_secrets() -> None:
    row = {"username": "a", "password": "p", "attributes": "", "comment": "c"}
    shown = {"username": "a", "password": "***", "attributes": "", "comment": "c"}
    assert hidden("mysql_users", row) == hidden("runtime_mysql_users", row) == shown
    variable = {"variable_name": "admin-admin_credentials", "variable_value": "a:b"}
    assert hidden("global_variables", variable)["variable_value"] == "***"
    variable = {"variable_name": "mysql-threads", "variable_value": "4"}
    assert hidden("global_variables", variable) == variable


def test_rows_by_name() -> None:
    assert named(("a", "b"), [(1, 2)]) == [{"a": 1, "b": 2}]
