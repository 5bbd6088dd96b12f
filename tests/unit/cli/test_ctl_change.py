# SPDX-License-Identifier: Apache-2.0
"""Changes: which request each becomes, how it is answered, and what never leaves this side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_api import FakeApi
from tests.unit.cli.conftest import Asking

DONE: dict[str, Any] = {
    "changes": [
        {
            **{"table": "mysql_servers", "key": "1, db, 3306", "column": "weight", "old": "1"},
            **{"new": "5", "change": "update"},
        },
        {
            **{"table": "mysql_users", "key": "app, 1", "column": "", "old": None},
            **{"new": "active=1", "change": "insert"},
        },
        {
            **{"table": "mysql_users", "key": "x, 1", "column": "", "old": "active=1"},
            **{"new": None, "change": "delete"},
        },
    ],
    "warnings": ["one server is alone"],
    "version": 8,
    "saved": False,
}


@pytest.mark.parametrize(
    ("words", "method", "path", "body"),
    [
        (
            ("put", "backends", "1/10.0.0.1:3306", "weight=5", "comment=a b"),
            *("PUT", "/backends/1/10.0.0.1%3A3306", {"weight": 5, "comment": "a b"}),
        ),
        (
            ("put", "backends", "1//run/db.sock"),
            *("PUT", "/backends/1/run%2Fdb.sock", {}),
        ),
        (
            ("edit", "users", "a/b", "max_connections=-1", "default_schema=null"),
            *("PATCH", "/users/a%2Fb", {"max_connections": -1, "default_schema": None}),
        ),
        (("delete", "rules", "10"), "DELETE", "/rules/10", None),
        (
            ("set-status", "db:3306", "offline_soft"),
            *("POST", "/backends/all/db%3A3306/status", {"status": "OFFLINE_SOFT"}),
        ),
        (
            ("set-status", "db:3306", "ONLINE", "--hostgroup", "2"),
            *("POST", "/backends/2/db%3A3306/status", {"status": "ONLINE"}),
        ),
        (
            ("set", "mysql-max_connections", "5"),
            *("PUT", "/variables/mysql-max_connections", {"value": "5"}),
        ),
        (("rollback", "3"), "POST", "/config/rollback", {"version": 3}),
    ],
)
def test_requests(
    api: FakeApi, asking: Asking, words: tuple[str, ...], method: str, path: str, body: object
) -> None:
    api.answers[f"{method} {path}"] = DONE
    result = asking("ctl", *words)
    assert result.exit_code == 0, result.output
    assert api.asked == [(method, f"/api/v1{path}", body)]
    assert result.stdout.splitlines() == [
        "mysql_servers 1, db, 3306: update weight, 1 -> 5",
        "mysql_users app, 1: insert active=1",
        "mysql_users x, 1: delete",
        "warning: one server is alone",
        "version 8",
    ]


def test_dry_runs_and_saving(api: FakeApi, asking: Asking) -> None:
    api.answers["DELETE /users/app"] = DONE | {"changes": [], "warnings": [], "saved": True}
    result = asking("ctl", "delete", "users", "app", "--save")
    assert result.stdout == "nothing is different\nversion 8, saved\n"
    assert api.asked[-1][1].endswith("?save=true")
    result = asking("ctl", "delete", "users", "app", "--dry-run")
    assert result.stdout.endswith("not done: a dry run\n")
    assert api.asked[-1][1].endswith("?dry_run=true")


def test_secrets_come_from_files_and_stdin(api: FakeApi, asking: Asking, tmp_path: Path) -> None:
    api.answers["PUT /users/app"] = DONE
    (tmp_path / "secret").write_text("12345\n")
    asking("ctl", "put", "users", "app", f"password=@{tmp_path}/secret")
    assert api.asked[-1][2] == {"password": "12345"}
    asking("ctl", "put", "users", "app", "password=@-", stdin="se=cret\n")
    assert api.asked[-1][2] == {"password": "se=cret"}


def test_whole_modules(api: FakeApi, asking: Asking, tmp_path: Path) -> None:
    tables = {"mysql_users": [{"username": "app"}]}
    api.answers |= {"GET /config/mysql_users": tables, "PUT /config/mysql_users": DONE}
    shown = asking("ctl", "config", "mysql_users", "--layer", "disk")
    assert json.loads(shown.stdout) == tables
    assert api.asked[-1][1] == "/api/v1/config/mysql_users?layer=disk"
    (tmp_path / "file").write_text(shown.stdout)
    assert asking("ctl", "apply", "mysql_users", tmp_path / "file").exit_code == 0
    assert api.asked[-1] == ("PUT", "/api/v1/config/mysql_users", tables)


@pytest.mark.parametrize(
    "words",
    [
        ("put", "backends", "10.0.0.1:3306"),
        ("put", "backends", "x/10.0.0.1:3306"),
        ("put", "tables", "1"),
        ("edit", "users", "app"),
        ("edit", "users", "app", "max_connections"),
        ("put", "users", "app", "password=@/nowhere/at/all"),
        ("set-status", "db:3306", "AWAY"),
        ("rollback", "0"),
        ("apply", "mysql_users", "/nowhere/at/all"),
    ],
)
def test_wrong_command_lines_are_2(api: FakeApi, asking: Asking, words: tuple[str, ...]) -> None:
    assert asking("ctl", *words).exit_code == 2
    assert api.asked == []
