# SPDX-License-Identifier: Apache-2.0
"""The tables of the configuration hold what ProxySQL's hold and refuse what they refuse."""

from __future__ import annotations

import apsw
import pytest

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES


@pytest.fixture
def main() -> apsw.Connection:
    database = apsw.Connection(":memory:")
    for made in CONFIG_TABLES.values():
        database.execute(made.ddl)
    return database


COUNTS = {
    "mysql_servers": 12,
    "mysql_servers_ssl_params": 12,
    "mysql_users": 14,
    "mysql_query_rules": 35,
    "mysql_query_rules_fast_routing": 5,
    "mysql_replication_hostgroups": 4,
    "mysql_group_replication_hostgroups": 9,
    "mysql_galera_hostgroups": 9,
    "mysql_aws_aurora_hostgroups": 14,
    "mysql_hostgroup_attributes": 12,
    "mysql_firewall_whitelist_users": 5,
    "mysql_firewall_whitelist_rules": 7,
    "mysql_firewall_whitelist_sqli_fingerprints": 2,
    "global_variables": 2,
    "proxysql_servers": 4,
    "scheduler": 10,
    "restapi_routes": 7,
}


def test_every_column_is_there() -> None:
    assert {name: len(made.columns) for name, made in CONFIG_TABLES.items()} == COUNTS


def test_rows_may_say_as_little_as_in_proxysql(main: apsw.Connection) -> None:
    main.execute("INSERT INTO mysql_servers (hostname) VALUES ('a')")
    main.execute("INSERT INTO mysql_users (username) VALUES ('u')")
    main.execute("INSERT INTO mysql_query_rules (match_digest) VALUES ('^SELECT')")
    main.execute("INSERT INTO proxysql_servers VALUES ('ip', 6032, 0, 'pod')")
    row = next(main.execute("SELECT * FROM mysql_servers"))
    assert row == (0, "a", 3306, 0, "ONLINE", 1, 0, 1000, 0, 0, 0, "")


WRONG = [
    "INSERT INTO mysql_servers (hostname, port) VALUES ('a', 65536)",
    "INSERT INTO mysql_servers (hostname, gtid_port) VALUES ('a', 3306)",
    "INSERT INTO mysql_servers (hostname, status) VALUES ('a', 'UP')",
    "INSERT INTO mysql_users (username, attributes) VALUES ('u', '{')",
    "INSERT INTO mysql_query_rules (replace_pattern) VALUES ('x')",
    "INSERT INTO mysql_query_rules (cache_ttl) VALUES (0)",
    "INSERT INTO mysql_replication_hostgroups VALUES (1, 1, 'read_only', '')",
    "INSERT INTO mysql_replication_hostgroups VALUES (1, 2, 'readonly', '')",
    "INSERT INTO mysql_galera_hostgroups VALUES (1, 2, 0, 4, 1, 1, 0, 0, '')",
    "INSERT INTO scheduler (interval_ms, filename) VALUES (99, '/bin/true')",
    "INSERT INTO restapi_routes (timeout_ms, method, uri, script) VALUES (100, 'PUT', 'a', 'b')",
    "INSERT INTO mysql_firewall_whitelist_users VALUES (1, 'u', '', 'ON', '')",
]


@pytest.mark.parametrize("statement", WRONG)
def test_values_out_of_range_are_refused(main: apsw.Connection, statement: str) -> None:
    with pytest.raises(apsw.ConstraintError):
        main.execute(statement)


def test_status_and_check_type_come_in_any_case(main: apsw.Connection) -> None:
    main.execute("INSERT INTO mysql_servers (hostname, status) VALUES ('a', 'offline_soft')")
    main.execute("INSERT INTO mysql_replication_hostgroups VALUES (1, 2, 'READ_ONLY', '')")
    for table in ("mysql_servers", "mysql_replication_hostgroups"):
        assert main.execute(f"SELECT count(*) FROM {table}").get == 1
