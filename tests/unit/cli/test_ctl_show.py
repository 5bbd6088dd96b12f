# SPDX-License-Identifier: Apache-2.0
"""Lists as tables and as JSON; what a service tells cannot disturb a terminal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hproxy.cli.ctl_show import duration, place
from tests.support.fake_api import FakeApi, listed
from tests.unit.cli.conftest import PIN, STATUS, Asking


def test_status(api: FakeApi, asking: Asking) -> None:
    result = asking("ctl", "status")
    assert result.exit_code == 0, result.output
    first, titles, row = result.stdout.splitlines()
    assert first == "hproxy 9.9  ready  up 1h 2m  12 sessions  configuration 4"
    assert titles.split()[:4] == ["role", "slot", "pid", "state"]
    assert row.split() == ["worker", "0", "4711", "running", "1m", "1s", "1", "0.1", "50.0"]


def test_status_as_a_check(api: FakeApi, asking: Asking) -> None:
    assert asking("ctl", "status", "--check").exit_code == 0
    api.answers["GET /status"] = STATUS | {"ready": False, "reasons": ["paused", "draining"]}
    assert asking("ctl", "status").exit_code == 0
    result = asking("ctl", "status", "--check")
    assert result.exit_code == 1
    assert "not ready (paused, draining)" in result.stdout


@pytest.mark.parametrize("command", [("backends",), ("show", "backends")])
def test_a_list_as_a_table(asking: Asking, command: tuple[str, ...]) -> None:
    result = asking("ctl", *command)
    titles, row = result.stdout.splitlines()
    assert titles.split()[:3] == ["hostgroup", "address", "status"]
    assert row.split() == ["1", "db:3306", "ONLINE", "1", "2", "3", "4", "0", "100", "250"]


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_list_as_json(asking: Asking, place: str) -> None:
    words = ("--json", "pins") if place == "before" else ("pins", "--json")
    assert json.loads(asking("ctl", *words).stdout) == listed(PIN)


def test_statements_are_one_line_without_control_characters(asking: Asking) -> None:
    result = asking("ctl", "digests")
    _, row = result.stdout.splitlines()
    assert row.endswith("SELECT * FROM t\N{REPLACEMENT CHARACTER}[2J WHERE id = ?")
    assert "2.0" in row  # 20 ms over 10 statements


def test_long_texts_are_cut_unless_wide(api: FakeApi, asking: Asking) -> None:
    api.answers["GET /pins"] = listed(PIN | {"statement": "x" * 500})
    assert "x" * 99 + "…" in asking("ctl", "pins").stdout
    assert "x" * 500 in asking("ctl", "pins", "--wide").stdout


def test_pins_name_their_backend(asking: Asking) -> None:
    assert "db:3306" in asking("ctl", "pins").stdout


def test_parts_of_a_list(api: FakeApi, asking: Asking) -> None:
    api.answers["GET /backends"] = {"items": [], "total": 0}
    words = ("--where", "status=SHUNNED", "--limit", "5", "--sort", "-used")
    result = asking("ctl", "backends", *words)
    assert result.stdout == "(none)\n"
    assert api.asked[0][1] == "/api/v1/backends?limit=5&sort=-used&status=SHUNNED"
    assert asking("ctl", "backends", "--where", "status").exit_code == 2


def test_a_part_says_that_it_is_one(api: FakeApi, asking: Asking) -> None:
    api.answers["GET /pins"] = {"items": [PIN], "total": 1200}
    assert asking("ctl", "pins").stderr == "(1 of 1200; --limit shows more)\n"


def test_any_table(asking: Asking) -> None:
    titles, *rows = asking("ctl", "show", "stats_mysql_global").stdout.splitlines()
    assert titles.split() == ["Variable_Name", "Variable_Value"]
    assert rows[0].split() == ["Questions", "100"]


def test_show_status(asking: Asking) -> None:
    assert asking("ctl", "show", "status").stdout == asking("ctl", "status").stdout


def test_variables_by_prefix(api: FakeApi, asking: Asking) -> None:
    row = {"name": "mysql-threads", "value": "4", "default": "4", "acts": True}
    api.answers["GET /variables"] = listed(row)
    result = asking("ctl", "variables", "mysql-t")
    assert result.stdout.splitlines()[1].split() == ["mysql-threads", "4", "4"]
    assert api.asked[0][1] == "/api/v1/variables?prefix=mysql-t"


def test_history_shows_its_columns(api: FakeApi, asking: Asking) -> None:
    api.answers["GET /config/history"] = listed({"version": 2, "module": "mysql_users"})
    assert asking("ctl", "history").stdout.splitlines()[1].split() == ["2", "mysql_users"]


def test_one_session(api: FakeApi, asking: Asking) -> None:
    told: dict[str, Any] = {"SessionID": 7, "user": "app", "db": None}
    api.answers["GET /sessions/7"] = told | {"pins": [PIN]}
    lines = asking("ctl", "session", 7).stdout.splitlines()
    assert lines[1].split() == ["user", "app"]
    assert lines[3] == "pinned by TRANSACTION for 34 s: COMMIT"
    assert json.loads(asking("ctl", "session", 7, "--json").stdout)["pins"] == [PIN]


def test_explain(api: FakeApi, asking: Asking) -> None:
    steps = [["digest", "SELECT ?"], ["hostgroup", "1"]]
    api.answers["POST /explain"] = {"items": steps, "total": 2}
    result = asking("ctl", "explain", "SELECT 1", "--user", "app")
    assert result.stdout == "digest     SELECT ?\nhostgroup  1\n"
    assert api.asked[0][2] == {"sql": "SELECT 1", "user": "app", "schema": ""}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (61, "1m 1s"), (7260, "2h 1m"), (90_000, "1d 1h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_places() -> None:
    assert place("db", 3306) == "db:3306"
    assert place("/run/db.sock", 0) == "/run/db.sock"
    assert place("", None) is None
