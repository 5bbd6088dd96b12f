# SPDX-License-Identifier: Apache-2.0
"""The configuration file behind LOAD ... FROM CONFIG and SELECT CONFIG FILE."""

from __future__ import annotations

from pathlib import Path

import pytest

from hproxy.admin.console import File
from hproxy.config.proxysql.cnf import read_cnf
from hproxy.errors import ConfigError
from tests.support.console import serving

CNF = """
admin_variables = { refresh_interval = 2700 }
mysql_variables = { max_connections = 321 }
mysql_servers = ( { address = "10.0.0.1", port = 3307, hostgroup = 4 } )
mysql_users = ( { username = "app", password = "geheim", default_hostgroup = 4 } )
"""
TOML = """
[proxy]
mode = "mysql"
[[mysql_servers]]
hostname = "10.0.0.2"
hostgroup_id = 3
"""


def test_a_cnf_is_loaded_module_by_module(tmp_path: Path) -> None:
    path = tmp_path / "proxysql.cnf"
    path.write_text(CNF)
    with serving(config_file=File(path)) as served, served.admin() as admin:
        admin("LOAD MYSQL SERVERS FROM CONFIG")
        admin("LOAD MYSQL SERVERS TO RUNTIME")
        assert admin("SELECT hostgroup_id, hostname, port FROM runtime_mysql_servers") == [
            ("4", "10.0.0.1", "3307")
        ]
        assert admin("SELECT * FROM mysql_users") == []
        admin("LOAD MYSQL VARIABLES FROM CONFIG")
        values = dict(admin("SELECT * FROM global_variables"))
        assert values["mysql-max_connections"] == "321"
        assert values["admin-refresh_interval"] != "2700"
        admin("LOAD MYSQL USERS FROM CONFIG")
        written = read_cnf(admin.one("SELECT CONFIG FILE"))
        assert written.tables["mysql_servers"][0]["hostname"] == "10.0.0.1"
        assert written.tables["mysql_users"][0]["password"] == "geheim"


def test_a_toml(tmp_path: Path) -> None:
    path = tmp_path / "hproxy.toml"
    path.write_text(TOML)
    with serving(config_file=File(path)) as served, served.admin() as admin:
        admin("LOAD MYSQL SERVERS FROM CONFIG")
        assert admin("SELECT hostgroup_id, hostname FROM mysql_servers") == [("3", "10.0.0.2")]


def test_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "proxysql.cnf"
    with serving(config_file=File(path)) as served, served.admin() as admin:
        assert "cannot read" in admin.refused("LOAD MYSQL SERVERS FROM CONFIG")[1]
        path.write_text('mysql_servers = ( { address = "a", port = "many" } )')
        number, text = admin.refused("LOAD MYSQL SERVERS FROM CONFIG")
        assert number == 1045
        assert "proxysql.cnf:1" in text
    with pytest.raises(ConfigError):
        File(None).read()
