# SPDX-License-Identifier: Apache-2.0
"""What peers ask each other for, to the letter, and which rows they see."""

from __future__ import annotations

import pytest

from hproxy.config.proxysql.cluster import OWN_VARIABLES, PULLS, SYNCED, shared
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.variables import VARIABLES


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        (
            "mysql_servers",
            "PROXY_SELECT hostgroup_id, hostname, port, gtid_port, status, weight, compression, "
            "max_connections, max_replication_lag, use_ssl, max_latency_ms, comment FROM "
            "mysql_servers_v2 WHERE status<>'OFFLINE_HARD' ORDER BY hostgroup_id, hostname, port",
        ),
        (
            "mysql_users",
            "PROXY_SELECT username, password, use_ssl, default_hostgroup, default_schema, "
            "schema_locked, transaction_persistent, fast_forward, backend, frontend, "
            "max_connections, attributes, comment FROM runtime_mysql_users",
        ),
        (
            "mysql_query_rules_fast_routing",
            "PROXY_SELECT username, schemaname, flagIN, destination_hostgroup, comment FROM "
            "runtime_mysql_query_rules_fast_routing ORDER BY username, schemaname, flagIN",
        ),
        (
            "mysql_galera_hostgroups",
            "PROXY_SELECT writer_hostgroup, backup_writer_hostgroup, reader_hostgroup, "
            "offline_hostgroup, active, max_writers, writer_is_also_reader, "
            "max_transactions_behind, comment FROM runtime_mysql_galera_hostgroups "
            "ORDER BY writer_hostgroup",
        ),
        (
            "proxysql_servers",
            "PROXY_SELECT hostname, port, weight, comment FROM runtime_proxysql_servers "
            "ORDER BY hostname, port",
        ),
    ],
)
def test_the_texts_are_proxysqls(table: str, statement: str) -> None:
    found = {pull.table: pull.statement for pulls in PULLS.values() for pull in pulls}
    assert found[table] == statement


def test_every_table_of_a_module_is_pulled() -> None:
    for module in SYNCED.values():
        assert [pull.table for pull in PULLS[module]] == list(MODULES[module].tables)


def test_variables_are_those_of_the_module() -> None:
    for module, prefix in (("mysql_variables", "mysql-"), ("admin_variables", "admin-")):
        (pull,) = PULLS[module]
        assert f"LIKE '{prefix}%'" in pull.statement
    assert VARIABLES.keys() >= OWN_VARIABLES


def test_what_a_node_has_for_itself_is_left_out() -> None:
    rows = [{"variable_name": name} for name in ("mysql-interfaces", "mysql-default_schema")]
    assert shared("global_variables", rows) == [{"variable_name": "mysql-default_schema"}]


def test_only_what_acts_is_shared() -> None:
    rows = [{"rule_id": 1, "active": 1}, {"rule_id": 2, "active": 0}]
    assert shared("mysql_query_rules", rows) == rows[:1]
    assert shared("mysql_galera_hostgroups", rows) == rows


def test_states_of_the_moment_are_not() -> None:
    rows = [{"hostname": status, "status": status} for status in
            ("ONLINE", "SHUNNED", "OFFLINE_SOFT", "OFFLINE_HARD")]  # fmt: skip
    found = [(row["hostname"], row["status"]) for row in shared("mysql_servers", rows)]
    assert found == [("ONLINE", "ONLINE"), ("SHUNNED", "ONLINE"), ("OFFLINE_SOFT", "OFFLINE_SOFT")]
