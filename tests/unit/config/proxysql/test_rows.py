# SPDX-License-Identifier: Apache-2.0
"""Config to rows and back: nothing is lost, wrong rows are named, the rest stays as it was."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import rows_of, with_rows
from hproxy.config.schema import Config
from hproxy.errors import ConfigError

FULL: dict[str, Any] = {
    "proxy": {"backends": ["10.0.0.9"]},
    "mysql_servers": [{"hostgroup_id": 10, "hostname": "10.0.0.1", "comment": "a"}],
    "mysql_users": [
        {"username": "app", "password": "x", "default_schema": "d", "attributes": '{"a": 1}'}
    ],
    "mysql_replication_hostgroups": [{"writer_hostgroup": 10, "reader_hostgroup": 20}],
    "mysql_hostgroup_attributes": [{"hostgroup_id": 10, "multiplex": False}],
    "mysql_group_replication_hostgroups": [
        {
            "writer_hostgroup": 1,
            "backup_writer_hostgroup": 2,
            "reader_hostgroup": 3,
            "offline_hostgroup": 4,
        }
    ],
    "mysql_servers_ssl_params": [{"hostname": "10.0.0.1", "ssl_ca": "/etc/ca.pem"}],
    "mysql_query_rules": [
        {"rule_id": 2, "active": True, "match_pattern": "a", "replace_pattern": "", "log": False},
        {"rule_id": 1, "error_msg": "no", "flagIN": 3, "apply": True, "multiplex": 2},
    ],
    "mysql_query_rules_fast_routing": [
        {"username": "app", "schemaname": "d", "destination_hostgroup": 10}
    ],
    "mysql_firewall_whitelist_users": [{"username": "app", "mode": "DETECTING"}],
    "mysql_firewall_whitelist_rules": [{"username": "app", "digest": "0x1"}],
    "mysql_firewall_whitelist_sqli_fingerprints": [{"fingerprint": "s&1c"}],
    "proxysql_servers": [{"hostname": "p1"}],
    "scheduler": [{"id": 1, "interval_ms": 100, "filename": "/bin/true", "arg1": ""}],
    "restapi_routes": [
        {"id": 1, "timeout_ms": 100, "method": "get", "uri": "a", "script": "/bin/true"}
    ],
    "mysql_variables": {"unshun_algorithm": 1},
}
CONFIG = Config.model_validate(FULL)


def test_sqlite_takes_the_rows_and_gives_them_back() -> None:
    database = apsw.Connection(":memory:")
    for name, rows in rows_of(CONFIG).items():
        table = CONFIG_TABLES[name]
        database.execute(table.ddl)
        marks = ", ".join("?" * len(table.names))
        for row in rows:
            assert tuple(row) == table.names
            database.execute(f"INSERT INTO {name} VALUES ({marks})", tuple(row.values()))
        stored = {tuple(row) for row in database.execute(f"SELECT * FROM {name}")}
        assert stored == {tuple(row.values()) for row in rows}


def test_rows_make_the_config_they_came_from() -> None:
    rows = rows_of(CONFIG)
    config = Config.model_validate({"proxy": {"backends": ["10.9.9.9"]}})
    for module in MODULES:
        config = with_rows(config, module, rows)
    assert rows_of(config) == rows
    assert config.proxy.backends == ()
    assert config.servers == CONFIG.servers


def test_null_is_not_the_empty_text() -> None:
    first, second = rows_of(CONFIG)["mysql_query_rules"]
    assert (first["replace_pattern"], second["replace_pattern"]) == ("", None)
    assert (first["log"], second["log"]) == (0, None)
    assert rows_of(CONFIG)["scheduler"][0]["arg1"] == ""


def test_other_modules_stay_the_objects_they_were() -> None:
    changed = with_rows(CONFIG, "mysql_users", {"mysql_users": [{"username": "b"}]})
    pairs = zip(changed.mysql_query_rules, CONFIG.mysql_query_rules, strict=True)
    assert all(new is old for new, old in pairs)
    assert changed.proxy is CONFIG.proxy
    assert [user.username for user in changed.mysql_users] == ["b"]


def test_all_backends_and_users_may_go() -> None:
    config = with_rows(CONFIG, "mysql_servers", {"mysql_servers": []})
    assert config.servers == ()
    assert config.mysql_replication_hostgroups == CONFIG.mysql_replication_hostgroups
    config = with_rows(config, "mysql_users", {"mysql_users": []})
    assert config.mysql_users == ()
    assert config.auth_mode == "table"


def test_wrong_rows_are_named_by_their_key() -> None:
    rows = [
        {"hostgroup_id": 1, "hostname": "10.0.0.1", "port": 3306, "weight": -1},
        {"hostgroup_id": 1, "hostname": "10.0.0.2", "port": 3306, "status": "UP"},
    ]
    with pytest.raises(ConfigError) as caught:
        with_rows(CONFIG, "mysql_servers", {"mysql_servers": rows})
    assert [(f.source, f.key) for f in caught.value.findings] == [
        ("mysql_servers (1, 10.0.0.1, 3306)", "mysql_servers[0].weight"),
        ("mysql_servers (1, 10.0.0.2, 3306)", "mysql_servers[1].status"),
    ]


def test_passwords_are_not_in_findings() -> None:
    rows = [{"username": "a", "password": "secret", "default_hostgroup": -1}]
    with pytest.raises(ConfigError) as caught:
        with_rows(CONFIG, "mysql_users", {"mysql_users": rows})
    assert "secret" not in str(caught.value)


def test_variables_are_a_module_by_prefix() -> None:
    rows = [
        {"variable_name": "mysql-max_connections", "variable_value": "7"},
        {"variable_name": "admin-read_only", "variable_value": "true"},
    ]
    changed = with_rows(CONFIG, "mysql_variables", {"global_variables": rows})
    assert changed.server.max_connections == 7
    assert changed.admin_variables == {}
    with pytest.raises(ConfigError, match="mysql-max_connections: is there twice"):
        with_rows(CONFIG, "mysql_variables", {"global_variables": [rows[0], rows[0]]})
