# SPDX-License-Identifier: Apache-2.0
"""Changes go through the console's door: checked, audited, kept; or nothing has changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from tests.support.api import Api, api
from tests.support.console import row


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Api]:
    with api(tmp_path) as made:
        made.port.loaded["mysql_servers"] = [row("mysql_servers", hostname="a")]
        yield made


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api")) as made:
        yield made


def memory(served: Api, module: str = "mysql_servers", table: str = "") -> Any:
    return served.get(f"/api/v1/config/{module}?layer=memory")[table or module]


def test_a_row_is_put_changed_and_removed(served: Api) -> None:
    made = served("PUT", "/api/v1/backends/1/10.0.0.1:3307", {"weight": 5})
    assert made.status == 200, made.body
    (change,) = made.json["changes"]
    assert (change["key"], change["change"]) == ("1, 10.0.0.1, 3307", "insert")
    assert made.json["version"] > 0
    assert not made.json["saved"]
    assert [r["hostname"] for r in served.port.loaded["mysql_servers"]] == ["a", "10.0.0.1"]
    assert [r["weight"] for r in memory(served)] == [5]
    assert served.told[0] == ("http", 'HTTP PUT /api/v1/backends/1/10.0.0.1:3307 {"weight":5}')

    served("PATCH", "/api/v1/backends/1/10.0.0.1:3307", {"comment": "c"})
    (found,) = memory(served)
    assert (found["weight"], found["comment"]) == (5, "c")
    served("DELETE", "/api/v1/backends/1/10.0.0.1:3307")
    assert memory(served) == []
    assert [r["hostname"] for r in served.port.loaded["mysql_servers"]] == ["a"]
    assert served("DELETE", "/api/v1/backends/1/10.0.0.1:3307").code == "admin.row"


def test_what_does_not_change_makes_no_version(served: Api) -> None:
    served("PUT", "/api/v1/rules/5", {"active": True})
    loads = len(served.port.loads)
    again = served("PUT", "/api/v1/rules/5", {"active": True}).json
    assert (again["changes"], again["version"]) == ([], 0)
    assert len(served.port.loads) == loads


def test_a_dry_run_changes_nothing(served: Api) -> None:
    answer = served("PUT", "/api/v1/users/ann?dry_run=true&save=true", {"password": "hush"}).json
    assert answer["changes"][0]["new"] == "password=***"
    assert (answer["version"], answer["saved"]) == (0, False)
    assert served.port.loaded["mysql_users"] == []
    assert memory(served, "mysql_users") == []
    assert served.port.loads == [("mysql_users", True)]


def test_a_change_is_saved_when_asked(served: Api) -> None:
    served("PUT", "/api/v1/users/ann?save=1", {"password": "hush"})
    served("PUT", "/api/v1/users/bob", {"password": "hush"})
    (saved,) = served.get("/api/v1/config/mysql_users?layer=disk")["mysql_users"]
    assert saved["username"] == "ann"
    assert served.port.loaded["mysql_users"][0]["password"] == "hush"


def test_no_password_is_in_history_or_audit(served: Api) -> None:
    served("PUT", "/api/v1/users/ann", {"password": "hush"})
    served("PATCH", "/api/v1/users/ann", {"PASSWORD": "hush2"})
    served("PUT", "/api/v1/variables/admin-stats_credentials", {"value": "x:hush"})
    bob = {"username": "bob", "password": "hush"}
    served("PUT", "/api/v1/config/mysql_users", {"mysql_users": [bob]})
    assert len(served.told) == 4
    assert "hush" not in str(served.told)
    assert "hush" not in str(served.get("/api/v1/config/history"))
    assert "hush" not in str(served.log.entries)


def test_a_name_may_have_any_characters(served: Api) -> None:
    served("PUT", "/api/v1/users/a%2Fb%20%C3%BC%25", {"password": ""})
    (row,) = served.get("/api/v1/users")["items"]
    assert row["username"] == "a/b ü%"
    assert served("DELETE", "/api/v1/users/a%2Fb%20%C3%BC%25").status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("PUT", "backends/1/a:1", {"wight": 1}, 422, "did you mean weight?"),
        ("PUT", "backends/1/a:1", {"weight": "5"}, 422, "must be a whole number"),
        ("PUT", "backends/1/a:1", {"weight": 1.5}, 422, "must be a whole number"),
        ("PUT", "backends/1/a:1", {"hostgroup_id": 2}, 422, "in the address"),
        ("PUT", "backends/1/a:1", {"HOSTGROUP_ID": 2}, 422, "in the address"),
        ("PUT", "backends/x/a:1", {}, 422, "whole number"),
        ("PUT", "backends/1/a:99999", {}, 422, "the address"),
        ("PUT", "backends/1/a:1", [], 422, "dictionary"),
        ("PUT", "backends/1/a:1", b"{", 422, "JSON"),
        ("PUT", "backends/1/a:1", b"", 422, "required"),
        ("PUT", "users/a", b'{"comment": "\\ud800"}', 422, "must be UTF-8"),
        ("PUT", "users/a", b'{"comment": "\\u0000"}', 422, "must be UTF-8"),
        ("PUT", "users/a%00", {"password": "x"}, 422, "must be UTF-8"),
        ("PUT", "users/a", b'{"\\ud800": 1}', 422, "has no column"),
        ("PUT", "users/a", {"max_connections": 10**400}, 422, "out of range"),
        ("PUT", "users/a", b'{"max_connections": NaN}', 422, "out of range"),
        ("PUT", "users/a", b"[" * 20_000, 400, "body"),
        ("PUT", "users/a", b"\xff\xfe", 422, "body"),
        ("PUT", "variables/mysql-threads", b'{"value": "\\ud800"}', 422, "must be UTF-8"),
        ("POST", "explain", b'{"sql": "\\ud800"}', 422, "must be UTF-8"),
        ("POST", "sessions/x/kill", None, 422, "integer"),
        ("POST", "sessions/-1/kill", None, 422, "greater"),
        ("GET", "sessions/99999999999999999999999999", None, 404, "no session"),
        ("GET", "tables/%ff%00", None, 404, "there is no table"),
        ("PUT", "rules/5", {"match_digest": "("}, 422, "no regular expression"),
        ("PUT", "rules/-5", {}, 422, "whole number"),
        ("PATCH", "rules/5", {"comment": "x"}, 404, "there is no 5"),
        ("DELETE", "users/nobody", None, 404, "there is no nobody"),
        ("PUT", "variables/none", {"value": "1"}, 404, "there is no variable"),
        ("PUT", "variables/mysql-threads", {"value": "x"}, 422, "whole number"),
        ("PUT", "variables/mysql-threads", {"value": None}, 422, "valid"),
        ("PUT", "variables/mysql-threads", {"value": {}}, 422, "valid"),
        ("PUT", "config/mysql_users", {"mysql_servers": []}, 422, "has no table"),
        ("PUT", "config/none", {}, 404, "there is no module"),
        ("POST", "config/rollback", {"version": 999}, 404, "no version 999"),
        ("POST", "backends/0/a:3306/status", {"status": "UP"}, 422, "no such status"),
        ("POST", "backends/0/b:3306/status", {"status": "ONLINE"}, 404, "there is no"),
    ],
)
def test_what_is_refused(
    refusing: Api, method: str, path: str, body: Any, status: int, said: str
) -> None:
    before = refusing.get("/api/v1/config/history")["total"]
    answer = refusing(method, f"/api/v1/{path}", body)
    assert (answer.status, said in answer.body.decode()) == (status, True), answer.body
    assert refusing.get("/api/v1/config/history")["total"] == before
    assert refusing.port.statuses == []


def test_what_the_service_refuses_changes_nothing(served: Api) -> None:
    served.port.refuse = "cannot be"
    answer = served("PUT", "/api/v1/backends/1/b:1", {})
    assert (answer.status, answer.code) == (422, "config")
    assert answer.json["error"]["findings"][0]["message"] == "cannot be"
    assert memory(served) == []


def test_read_only_is_read_only_here_too(served: Api) -> None:
    served.port.variables.update({"admin-read_only": "true"})
    for method, path, body in (
        ("PUT", "/api/v1/backends/1/b:1", {}),
        ("POST", "/api/v1/pause", None),
        ("POST", "/api/v1/config/rollback", {"version": 1}),
    ):
        answer = served(method, path, body)
        assert answer.status == 403, (path, answer.body)
    assert not served.port.loads
    assert not served.port.orders


def test_a_status_acts_at_once(served: Api) -> None:
    answer = served("POST", "/api/v1/backends/0/a:3306/status", {"status": "offline_soft"})
    assert answer.status == 200, answer.body
    assert served.port.loaded["mysql_servers"][0]["status"] == "OFFLINE_SOFT"
    assert served.port.statuses == [(0, "a:3306", "OFFLINE_SOFT")]
    served("POST", "/api/v1/backends/all/a:3306/status", {"status": "ONLINE"})
    assert served.port.statuses[1:] == [(None, "a:3306", "ONLINE")]


def test_variables_and_rollback(served: Api) -> None:
    answer = served("PUT", "/api/v1/variables/mysql-max_connections", {"value": 77})
    assert answer.json["changes"][0]["new"] == "77"
    assert served.port.variables.text("mysql-max_connections") == "77"
    before = answer.json["version"] - 1
    served("POST", "/api/v1/config/rollback", {"version": before})
    assert served.port.variables.text("mysql-max_connections") != "77"
    newest = served.get("/api/v1/config/history?limit=1")["items"][0]
    assert (newest["action"], newest["username"]) == ("rollback", "http")


def test_a_whole_module(served: Api) -> None:
    tables = {"mysql_servers": [{"hostname": "x"}, {"hostname": "y", "hostgroup_id": 1}]}
    answer = served("PUT", "/api/v1/config/mysql_servers", tables)
    assert len(answer.json["changes"]) == 3
    assert [r["hostname"] for r in served.port.loaded["mysql_servers"]] == ["x", "y"]
    variables = {"global_variables": {"mysql-max_connections": 9}}
    assert served("PUT", "/api/v1/config/mysql_variables", variables).status == 200
    assert served.port.variables.number("mysql-max_connections") == 9


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ("mysql_servers", "backends/3/z:1"),
        ("mysql_users", "users/z"),
        ("mysql_query_rules", "rules/9"),
    ],
)
def test_memory_takes_what_runs_or_nothing_runs(served: Api, table: str, path: str) -> None:
    """The port here takes everything: what refuses are tables and their triggers."""
    for column in CONFIG_TABLES[table].columns:
        for value in (None, -1, 10**12, "x", True):
            before = served.port.loaded[table]
            answer = served("PUT", f"/api/v1/{path}", {column.name: value})
            assert answer.status in (200, 400, 422), (column.name, value, answer.body)
            if answer.status != 200:
                assert served.port.loaded[table] == before, (column.name, value, answer.body)
                continue
            rows = [row for row in memory(served, table) if row.get("active") != 0]
            keys = {tuple(row[key] for key in CONFIG_TABLES[table].order_by) for row in rows}
            runs = {
                tuple(row[key] for key in CONFIG_TABLES[table].order_by)
                for row in served.port.loaded[table]
                if row.get("hostname") != "a"
            }
            assert keys == runs, (column.name, value)


def test_layers_are_moved(served: Api) -> None:
    served("PUT", "/api/v1/users/ann", {"password": "hush"})
    assert served.get("/api/v1/config/mysql_users?layer=disk")["mysql_users"] == []
    saved = served("POST", "/api/v1/config/mysql_users/save", {"from": "memory"})
    assert saved.json["done"] == ["SAVE MYSQL USERS TO DISK"]
    served("DELETE", "/api/v1/users/ann")
    loaded = served("POST", "/api/v1/config/mysql_users/load", {"from": "disk"})
    assert loaded.status == 200, loaded.body
    assert [user["username"] for user in served.port.loaded["mysql_users"]] == ["ann"]
    served("POST", "/api/v1/config/mysql_servers/save")
    (server,) = served.get("/api/v1/config/mysql_servers?layer=disk")["mysql_servers"]
    assert server["hostname"] == "a"
    assert served("POST", "/api/v1/config/none/save").code == "admin.row"
    assert served("POST", "/api/v1/config/mysql_users/load", {"from": "x"}).status == 422


def test_orders(served: Api) -> None:
    assert served("POST", "/api/v1/sessions/17/kill").json["done"] == "kill_connection"
    served("POST", "/api/v1/sessions/17/kill", {"what": "query"})
    served("POST", "/api/v1/logs/flush")
    assert served.port.orders == [("kill_connection", "17"), ("kill_query", "17"), ("flush_logs",)]
    assert served.told[0] == ("http", "HTTP POST /api/v1/sessions/17/kill 17")
    assert served("POST", "/api/v1/sessions/17/kill", {"what": "all"}).status == 422
    assert served("POST", "/api/v1/drain", {"deadline_sec": -1}).status == 422
