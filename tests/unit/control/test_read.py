# SPDX-License-Identifier: Apache-2.0
"""What can be seen, and what of it never is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hproxy.config.proxysql.catalogue import STATS_TABLES
from tests.support.api import Api, ServicePort, api
from tests.support.console import row

SECRET = "hush-hush"


def stats(table: str, **values: object) -> tuple[object, ...]:
    columns = STATS_TABLES[table].columns
    return tuple(values.get(c.name, 0 if c.numeric else "") for c in columns)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    port = ServicePort()
    port.loaded["mysql_servers"] = [
        row("mysql_servers", hostname="a", weight=3),
        row("mysql_servers", hostname="::1", hostgroup_id=1),
        row("mysql_servers", hostname="/run/db.sock", port=0, hostgroup_id=1),
    ]
    port.loaded["mysql_replication_hostgroups"] = [
        row("mysql_replication_hostgroups", writer_hostgroup=0, reader_hostgroup=1)
    ]
    port.loaded["mysql_users"] = [row("mysql_users", username="app", password=SECRET)]
    port.loaded["mysql_query_rules"] = [row("mysql_query_rules", rule_id=4, match_digest="x")]
    port.variables.update({"admin-admin_credentials": f"admin:{SECRET}"})
    pool = "stats_mysql_connection_pool"
    port.tables |= {
        pool: [
            stats(pool, srv_host="a", srv_port=3306, status="SHUNNED", ConnUsed=2, Queries=9),
            stats(pool, srv_host="gone", srv_port=1, status="OFFLINE_HARD", hostgroup=3),
        ],
        "stats_mysql_processlist": [
            stats("stats_mysql_processlist", SessionID=n, user=f"u{n % 2}", time_ms=n)
            for n in range(5)
        ],
        "stats_hproxy_pins": [stats("stats_hproxy_pins", session=3, reason="TRANSACTION")],
        "stats_mysql_users": [stats("stats_mysql_users", username="app", frontend_connections=5)],
        "stats_mysql_query_rules": [stats("stats_mysql_query_rules", rule_id=4, hits=11)],
        "stats_mysql_query_digest": [
            stats("stats_mysql_query_digest", digest=str(n), sum_time=n) for n in range(150)
        ],
        "stats_mysql_hostgroup_connection_pool": [
            stats("stats_mysql_hostgroup_connection_pool", hostgroup=1, waiters=7)
        ],
    }
    with api(tmp_path_factory.mktemp("api"), port=port) as made:
        yield made


def test_health(served: Api) -> None:
    assert served.get("/healthz/live", token=None) == {"live": True}
    assert served.get("/healthz/started", token=None) == {"started": True}
    assert served.get("/healthz/ready", token=None) == {"ready": True, "reasons": []}
    before = dict(served.port.state)
    served.port.state |= {"ready": False, "reasons": ["draining"], "started": False}
    try:
        for what in ("started", "ready"):
            assert served("GET", f"/healthz/{what}", token=None).status == 503
        assert served("GET", "/healthz/ready", token=None).json["reasons"] == ["draining"]
        assert served.get("/healthz/live", token=None)
    finally:
        served.port.state = before


def test_metrics(served: Api) -> None:
    answer = served("GET", "/metrics", token=None)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE proxysql_" in answer.body


def test_backends(served: Api) -> None:
    items = served.get("/api/v1/backends")["items"]
    assert [item["address"] for item in items] == ["a:3306", "gone:1", "[::1]:3306", "/run/db.sock"]
    first = items[0]
    assert (first["status"], first["configured_status"]) == ("SHUNNED", "ONLINE")
    assert (first["weight"], first["used"], first["queries"]) == (3, 2, 9)
    assert items[1]["weight"] is None


def test_hostgroups(served: Api) -> None:
    items = served.get("/api/v1/hostgroups")["items"]
    assert [(i["hostgroup"], i["role"], i["backends"], i["waiters"]) for i in items] == [
        (0, "writer", 1, 0), (1, "reader", 2, 7), (3, "", 1, 0),
    ]  # fmt: skip


def test_sessions(served: Api) -> None:
    found = served.get("/api/v1/sessions?user=u1&sort=-time_ms&limit=1")
    assert (found["items"][0]["SessionID"], found["total"]) == (3, 2)
    one = served.get("/api/v1/sessions/3")
    assert (one["user"], one["pins"][0]["reason"]) == ("u1", "TRANSACTION")
    assert served("GET", "/api/v1/sessions/77").code == "admin.session"
    assert served("GET", "/api/v1/sessions/x").status == 422
    assert served("GET", "/api/v1/sessions?sort=none").code == "admin.request"


def test_users_and_rules(served: Api) -> None:
    (user,) = served.get("/api/v1/users")["items"]
    assert (user["username"], user["password"], user["sessions"]) == ("app", "***", 5)
    (rule,) = served.get("/api/v1/rules")["items"]
    assert (rule["rule_id"], rule["match_digest"], rule["hits"]) == (4, "x", 11)


def test_digests_are_the_slowest(served: Api) -> None:
    found = served.get("/api/v1/digests")
    assert (len(found["items"]), found["total"]) == (100, 150)
    assert found["items"][0]["sum_time"] == 149
    assert len(served.get("/api/v1/digests?limit=150")["items"]) == 150


def test_variables(served: Api) -> None:
    assert served.get("/api/v1/variables/mysql-threads")["value"] == "4"
    assert served("GET", "/api/v1/variables/none").code == "admin.row"
    items = served.get("/api/v1/variables?prefix=admin-admin_")["items"]
    assert [(i["name"], i["value"]) for i in items] == [("admin-admin_credentials", "***")]


@pytest.mark.parametrize(
    "path",
    ["users", "variables", "tables/runtime_mysql_users", "tables/runtime_global_variables",
     "config/mysql_users", "config/mysql_users?layer=memory", "config/mysql_users?layer=disk",
     "config/admin_variables", "config/admin_variables?layer=memory", "config/history"],
)  # fmt: skip
def test_secrets_are_never_shown(served: Api, path: str) -> None:
    answer = served("GET", f"/api/v1/{path}")
    assert answer.status == 200
    assert SECRET.encode() not in answer.body


def test_any_table(served: Api) -> None:
    assert served.get("/api/v1/tables/stats_hproxy_pins")["total"] == 1
    assert served.get("/api/v1/tables/runtime_checksums_values")["total"] > 3
    assert served("GET", "/api/v1/tables/none").code == "admin.table"
    assert served("GET", "/api/v1/tables/x';DROP").status == 404
    assert served("GET", "/api/v1/config/none").code == "admin.row"
    assert served("GET", "/api/v1/config/mysql_users?layer=x").status == 422


def test_explain(served: Api) -> None:
    found = served("POST", "/api/v1/explain", {"sql": "SELECT 1", "user": "a", "schema": "s"}).json
    assert found["items"][0] == ["statement", "SELECT 1", "a@s"]


def test_the_document_speaks_of_every_path(served: Api, tmp_path: Path) -> None:
    document = served.get("/api/v1/openapi.json", token=None)
    paths = document["paths"]
    assert {"/metrics", "/healthz/ready", "/api/v1/backends", "/api/v1/drain"} <= paths.keys()
    methods = [m for path in paths.values() for m in path.values()]
    ids = [method["operationId"] for method in methods]
    assert len(ids) == len(set(ids))
    for path, said in paths.items():
        for method in said.values():
            wanted = path.startswith("/api/v1/") or method["tags"] == ["profile"]
            assert ("security" in method) is wanted, path
            named = {p["name"] for p in method.get("parameters", ()) if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
