# SPDX-License-Identifier: Apache-2.0
"""Changes as functions of what is there."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy.control import edit
from hproxy.errors import AdminError
from tests.support.console import row

SERVERS = {
    "mysql_servers": [
        row("mysql_servers", hostname="a", weight=3),
        row("mysql_servers", hostname="b", hostgroup_id=1),
    ],
    "mysql_replication_hostgroups": [row("mysql_replication_hostgroups", writer_hostgroup=0)],
}
A = {"hostgroup_id": 0, "hostname": "a", "port": 3306}


def seen(tables: Any, column: str) -> list[Any]:
    return [r[column] for r in tables["mysql_servers"]]


def test_put_says_a_whole_row() -> None:
    after = edit.put("mysql_servers", A, {"max_connections": 7})(SERVERS)
    assert (seen(after, "hostname"), seen(after, "weight")) == (["a", "b"], [1, 1])
    assert seen(after, "max_connections")[0] == 7
    after = edit.put("mysql_servers", A | {"hostname": "c"}, {})(SERVERS)
    assert seen(after, "hostname") == ["a", "b", "c"]
    assert after["mysql_replication_hostgroups"] is SERVERS["mysql_replication_hostgroups"]
    assert seen(SERVERS, "hostname") == ["a", "b"]


def test_patch_says_some_columns() -> None:
    after = edit.patch("mysql_servers", A, {"MAX_CONNECTIONS": 7, "use_ssl": True})(SERVERS)
    assert (seen(after, "weight")[0], seen(after, "max_connections")[0]) == (3, 7)
    assert seen(after, "use_ssl")[0] == 1
    everywhere = edit.patch("mysql_servers", {"port": 3306}, {"status": "SHUNNED"})(SERVERS)
    assert seen(everywhere, "status") == ["SHUNNED", "SHUNNED"]


def test_remove() -> None:
    assert seen(edit.remove("mysql_servers", A)(SERVERS), "hostname") == ["b"]


@pytest.mark.parametrize("change", [edit.remove, lambda t, k: edit.patch(t, k, {"weight": 1})])
def test_what_is_not_there(change: Any) -> None:
    with pytest.raises(AdminError) as raised:
        change("mysql_servers", A | {"hostname": "z"})(SERVERS)
    assert raised.value.full_code == "admin.row"


@pytest.mark.parametrize(
    "values", [{"wight": 1}, {"weight": [1]}, {"weight": {}}, {"hostname": "other"}]
)
def test_what_is_no_row(values: Any) -> None:
    with pytest.raises(AdminError) as raised:
        edit.put("mysql_servers", A, values)
    assert raised.value.full_code == "admin.request"


def test_whole_tables() -> None:
    change = edit.replace("mysql_servers", {"mysql_servers": [{"hostname": "c"}]})
    after = change(SERVERS)
    assert seen(after, "hostname") == ["c"]
    assert len(after["mysql_replication_hostgroups"]) == 1


@pytest.mark.parametrize(
    "given",
    [{"mysql_users": []}, {"mysql_servers": {}}, {"mysql_servers": ["a"]}, {"mysql_servers": None}],
)
def test_what_are_no_tables(given: Any) -> None:
    with pytest.raises(AdminError):
        edit.replace("mysql_servers", given)


def test_variables() -> None:
    tables = {"global_variables": [{"variable_name": "mysql-a", "variable_value": "1"}]}
    after = edit.assign({"mysql-a": True, "mysql-b": 5})(tables)
    assert [tuple(r.values()) for r in after["global_variables"]] == [
        ("mysql-a", "true"),
        ("mysql-b", "5"),
    ]
    wrong: list[Any] = [[], {"mysql-a": None}, {"mysql-a": [1]}]
    for values in wrong:
        with pytest.raises(AdminError):
            edit.assign(values)
    with pytest.raises(AdminError):
        edit.replace("mysql_variables", {"global_variables": {"admin-x": 1}})
