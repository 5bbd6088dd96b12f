# SPDX-License-Identifier: Apache-2.0
"""A configuration that goes to another process is equal there."""

from __future__ import annotations

from pathlib import Path

import pytest

from hproxy.config.load import load_config
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import rows_in, with_rows, with_variables
from hproxy.config.schema import Config
from hproxy.config.snapshot import dump, load
from hproxy.errors import ConfigError

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))


def same(config: Config) -> Config:
    found = load(dump(config))
    assert found == config
    assert found.model_fields_set == config.model_fields_set
    assert (found.auth_mode, found.session_mode) == (config.auth_mode, config.session_mode)
    assert found.servers == config.servers
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples(path: Path) -> None:
    same(load_config(path, {}, {}))


def test_what_operators_have_changed_goes_along() -> None:
    config = load_config(None, {"backend": ["10.0.0.1:3306"]}, {})
    config = with_variables(config, {"mysql-max_connections": "77", "admin-read_only": "true"})
    servers = [{"hostgroup_id": 3, "hostname": "db", "port": 3307, "max_latency_ms": 9}]
    config = with_rows(config, "mysql_servers", {"mysql_servers": servers})
    users = [{"username": "ann", "password": "s3cr€t", "default_hostgroup": 3}]
    config = with_rows(config, "mysql_users", {"mysql_users": users})
    config = with_rows(config, "mysql_users", {"mysql_users": []})  # that was the last of them
    rules = [{"rule_id": 1, "active": 1, "match_digest": "^SELECT", "destination_hostgroup": 3}]
    config = with_rows(config, "mysql_query_rules", {"mysql_query_rules": rules})
    found = same(config)
    for module in MODULES.values():
        for table in module.tables:
            assert list(rows_in(found, table)) == list(rows_in(config, table))


@pytest.mark.parametrize("text", ["", "{", '{"server": {"of_tomorrow": 1}}'])
def test_what_another_version_wrote_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(text)
