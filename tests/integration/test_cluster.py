# SPDX-License-Identifier: Apache-2.0
"""Real proxies that name each other in proxysql_servers: what is LOADed on one acts on all.

Promise M42 of the reference, with what may go wrong between them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.support.console import Admin
from tests.support.operated import Operated, operated, sections, server_row
from tests.support.process import eventually
from tests.support.server import Server

ACCOUNT = "admin:admin;peer:peer-secret"
VARIABLES = {
    "admin-cluster_username": "peer",
    "admin-cluster_password": "peer-secret",
    "admin-cluster_check_interval_ms": "20",
    "admin-cluster_check_status_frequency": "2",
}


def join(nodes: list[Operated]) -> None:
    """Each is told of all, itself included, as ProxySQL's manual says."""
    for node in nodes:
        with node.admin() as admin:
            for name, value in VARIABLES.items():
                admin(f"SET {name} = '{value}'")
            admin("LOAD ADMIN VARIABLES TO RUNTIME")
            for peer in nodes:
                admin(f"INSERT INTO proxysql_servers (hostname, port, comment) "
                      f"VALUES ('127.0.0.1', {peer.number}, 'node')")  # fmt: skip
            admin("LOAD PROXYSQL SERVERS TO RUNTIME")


@pytest.fixture
def nodes(tmp_path: Path, mariadb: Server) -> Iterator[list[Operated]]:
    with ExitStack() as stack:
        found = []
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            more = {"admin": {"address": "127.0.0.1:0", "credentials": ACCOUNT}}
            found.append(stack.enter_context(operated(folder, server_row(mariadb), **more)))
        join(found)
        yield found


def same(one: Operated, other: Operated, sql: str) -> None:
    """Wait until both have the same rows."""
    with one.admin() as first, other.admin() as second:
        wanted = first(sql)
        eventually(lambda: second(sql) == wanted, "both have the same")


def checksums(node: Operated) -> list[Any]:
    with node.admin() as admin:
        return list(admin("SELECT name, checksum FROM runtime_checksums_values"))


def settled(nodes: list[Operated]) -> None:
    """Wait until all run on the same, for that and since then."""
    eventually(lambda: len({str(checksums(node)) for node in nodes}) == 1, "both have the same")


def test_what_is_loaded_on_one_acts_on_the_other(nodes: list[Operated], mariadb: Server) -> None:
    one, other = nodes
    with one.admin() as admin:
        admin("INSERT INTO mysql_users (username, password, comment) "
              "VALUES ('second', 'clear-text', 'by \"sync\"')")  # fmt: skip
        admin("LOAD MYSQL USERS TO RUNTIME")
        for row in (f"7, '{mariadb.host}', {mariadb.port}, 3, 'ONLINE'",
                    "8, '127.0.0.9', 1, 1, 'OFFLINE_SOFT'",
                    "9, '127.0.0.9', 1, 1, 'OFFLINE_HARD'"):  # fmt: skip
            admin("INSERT INTO mysql_servers (hostgroup_id, hostname, port, weight, status) "
                  f"VALUES ({row})")  # fmt: skip
        admin("INSERT INTO mysql_replication_hostgroups (writer_hostgroup, reader_hostgroup) "
              "VALUES (70, 71)")  # fmt: skip
        admin("INSERT INTO mysql_hostgroup_attributes (hostgroup_id, multiplex) VALUES (7, 0)")
        admin("LOAD MYSQL SERVERS TO RUNTIME")
        admin("INSERT INTO mysql_query_rules (rule_id, active, match_digest, "
              "destination_hostgroup, apply) VALUES (1, 1, '^SELECT \"x\\?\"', 7, 1), "
              "(2, 0, 'never', 7, 1)")  # fmt: skip
        admin("INSERT INTO mysql_query_rules_fast_routing VALUES ('second', 'test', 0, 7, '')")
        admin("LOAD MYSQL QUERY RULES TO RUNTIME")
        admin("SET mysql-long_query_time = 4321")
        admin("SET mysql-interfaces = '127.0.0.1:0'")
        admin("LOAD MYSQL VARIABLES TO RUNTIME")
    for table in ("mysql_query_rules", "mysql_query_rules_fast_routing", "mysql_users",
                  "mysql_replication_hostgroups", "mysql_hostgroup_attributes"):  # fmt: skip
        same(one, other, f"SELECT * FROM runtime_{table} ORDER BY 1, 2")
    settled(nodes)
    with other.admin() as admin:
        assert admin.one("SELECT password FROM mysql_users WHERE username = 'second'") == (
            "clear-text"
        )
        hostgroups = [str(row[0]) for row in admin("SELECT hostgroup_id FROM mysql_servers")]
        assert sorted(hostgroups) == ["0", "7", "8"]
        assert admin.one("SELECT variable_value FROM runtime_global_variables "
                         "WHERE variable_name = 'mysql-long_query_time'") == "4321"  # fmt: skip
        # Memory and disk say the same.
        assert admin.one("SELECT count(*) FROM disk.mysql_query_rules") == "1"
        assert admin.one("SELECT count(*) FROM disk.mysql_users WHERE username = 'second'") == "1"
    with one.admin() as admin:
        admin("DELETE FROM mysql_query_rules")
        admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    same(one, other, "SELECT count(*) FROM runtime_mysql_query_rules")


def test_workers_run_on_what_their_head_has_copied(tmp_path: Path, mariadb: Server) -> None:
    """Services of processes: the head asks and is asked, and its workers serve by it."""
    with ExitStack() as stack:
        services = []
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            more = {"admin": {"address": "127.0.0.1:0", "credentials": ACCOUNT}}
            made = sections(folder, server_row(mariadb), **more)
            flags = ("--workers", "2")
            services.append(stack.enter_context(Operated(folder, made, flags, single=False)))
        join(services)
        one, other = services
        with one.admin() as admin:
            admin("INSERT INTO mysql_query_rules (rule_id, active, match_pattern, error_msg) "
                  "VALUES (1, 1, '^SELECT 4711', 'copied')")  # fmt: skip
            admin("LOAD MYSQL QUERY RULES TO RUNTIME")
        same(one, other, "SELECT * FROM runtime_mysql_query_rules")
        for _ in range(4):  # of both workers
            with other.client() as client:
                assert "copied" in client.refused("SELECT 4711")[1]
        with other.admin() as admin:
            assert admin.one("SELECT count(*) FROM stats_proxysql_servers_status") == "2"


def test_they_do_not_take_turns(nodes: list[Operated]) -> None:
    """A copy is as old as what it was copied from: nobody copies it back, nor loads it anew."""
    one = nodes[0]
    with one.admin() as admin:
        admin("INSERT INTO mysql_query_rules (rule_id, active, apply) VALUES (5, 1, 1)")
        admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    settled(nodes)
    before = [versions(node) for node in nodes]
    with one.admin() as admin:
        looks = int(admin.one("SELECT sum(checks_OK) FROM stats_proxysql_servers_status"))
        eventually(
            lambda: (
                int(admin.one("SELECT sum(checks_OK) FROM stats_proxysql_servers_status"))
                > looks + 20
            ),
            "the table says so",
        )
    assert [versions(node) for node in nodes] == before


def versions(node: Operated) -> list[Any]:
    with node.admin() as admin:
        return list(admin("SELECT name, version FROM runtime_checksums_values"))


def test_the_newer_one_wins_in_both_directions(nodes: list[Operated]) -> None:
    one, other = nodes
    settled(nodes)
    for number, node in enumerate((other, one, other), 1):
        with node.admin() as admin:
            admin(f"INSERT INTO mysql_query_rules (rule_id, active) VALUES ({number}, 1)")
            admin("LOAD MYSQL QUERY RULES TO RUNTIME")
        same(node, one if node is other else other, "SELECT rule_id FROM runtime_mysql_query_rules")
        settled(nodes)


def test_a_new_row_is_followed_and_one_that_is_gone_is_not(nodes: list[Operated]) -> None:
    one, other = nodes
    settled(nodes)
    with one.admin() as admin:
        admin("DELETE FROM proxysql_servers")
        admin("LOAD PROXYSQL SERVERS TO RUNTIME")
    with other.admin() as admin:  # the last that is copied: from here on nobody asks anybody
        eventually(
            lambda: admin("SELECT * FROM stats_proxysql_servers_status") == [], "both have the same"
        )
        assert admin.one("SELECT count(*) FROM runtime_proxysql_servers") == "0"


def test_what_operators_see(nodes: list[Operated]) -> None:
    one, other = nodes
    with one.admin() as admin:
        seen = (
            "SELECT port, checks_OK > 0, checks_ERR FROM stats_proxysql_servers_status ORDER BY 1"
        )
        wanted = sorted((str(node.number), "1", "0") for node in nodes)
        eventually(lambda: sorted(admin(seen)) == wanted, "both have the same")
        names = [str(row[0]) for row in admin(
            "SELECT name FROM stats_proxysql_servers_checksums WHERE port = %s ORDER BY name",
            other.number)]  # fmt: skip
        assert names == ["admin_variables", "mysql_query_rules", "mysql_servers_v2",
                         "mysql_users", "mysql_variables", "proxysql_servers"]  # fmt: skip
        eventually(
            lambda: admin.one("SELECT count(*) FROM stats_proxysql_servers_metrics "
                              "WHERE Uptime_s > 0") == "2",
            "the table says so",
        )  # fmt: skip
        # Both nodes read here, and said where they are.
        eventually(
            lambda: admin.one("SELECT count(DISTINCT uuid) "
                              "FROM stats_proxysql_servers_clients_status") == "2",
            "the table says so",
        )  # fmt: skip


def test_the_same_second_is_a_conflict_that_is_told(nodes: list[Operated]) -> None:
    """Equal epochs: neither is the newer one, so nothing is copied until one is loaded again."""
    one, other = nodes
    settled(nodes)
    since = len(one.log)
    with one.admin() as first, other.admin() as second:
        for attempt in range(100):
            for number, admin in enumerate((first, second)):
                admin("DELETE FROM mysql_query_rules")
                timeout = 1000 * (number + 1) + attempt
                admin(
                    "INSERT INTO mysql_query_rules (rule_id, active, timeout) VALUES (1, 1, %s)",
                    timeout,
                )
            for admin in (first, second):
                admin("LOAD MYSQL QUERY RULES TO RUNTIME")
            if rules_epoch(first) == rules_epoch(second):
                break
            settled(nodes)  # a second has begun in between: once more
        told = one.wait_for_log("a peer's configuration is not copied", since=since)
        assert "same second" in told["reason"]
        first("UPDATE mysql_query_rules SET timeout = 7777")
        first("LOAD MYSQL QUERY RULES TO RUNTIME")
    same(one, other, "SELECT timeout FROM runtime_mysql_query_rules")
    settled(nodes)


def rules_epoch(admin: Admin) -> int:
    sql = "SELECT epoch FROM runtime_checksums_values WHERE name = 'mysql_query_rules'"
    return int(admin.one(sql))


def test_a_wrong_password_harms_nothing(nodes: list[Operated]) -> None:
    one, _ = nodes
    settled(nodes)
    with one.admin() as admin:
        since = len(one.log)
        admin("UPDATE proxysql_servers SET hostname = '127.0.0.1'")
        admin("SET admin-cluster_admin_variables_diffs_before_sync = 0")
        admin("SET admin-cluster_password = 'wrong'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        told = one.wait_for_log("a peer cannot be asked", since=since)
        assert "wrong" not in str(told)
        admin("SET admin-cluster_password = 'peer-secret'")
        admin("LOAD ADMIN VARIABLES TO RUNTIME")
        one.wait_for_log("a peer is there again", since=since)


def test_a_peer_that_hangs_or_dies_is_asked_again(
    tmp_path: Path, mariadb: Server, nodes: list[Operated]
) -> None:
    one, other = nodes
    settled(nodes)
    since = len(one.log)
    other.signal(signal.SIGSTOP)
    try:
        one.wait_for_log("a peer cannot be asked", since=since)
        with one.admin() as admin, one.client() as client:
            assert client.one("SELECT 1") == 1
            admin("INSERT INTO mysql_query_rules (rule_id, active) VALUES (3, 1)")
            admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    finally:
        other.signal(signal.SIGCONT)
    same(one, other, "SELECT rule_id FROM runtime_mysql_query_rules")


def test_one_that_is_started_later_gets_it_all(
    tmp_path: Path, mariadb: Server, nodes: list[Operated]
) -> None:
    """What it has was never LOADed: whoever was, is right, however old that is."""
    one, _ = nodes
    with one.admin() as admin:
        admin("INSERT INTO mysql_query_rules (rule_id, active) VALUES (3, 1)")
        admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    settled(nodes)
    folder = tmp_path / "later"
    folder.mkdir()
    more = {
        "admin": {"address": "127.0.0.1:0", "credentials": ACCOUNT},
        "admin_variables": {name.removeprefix("admin-"): v for name, v in VARIABLES.items()},
        "proxysql_servers": [{"hostname": "127.0.0.1", "port": one.number}],
    }
    with operated(folder, server_row(mariadb), **more) as later:
        same(one, later, "SELECT rule_id FROM runtime_mysql_query_rules")
        same(one, later, "SELECT port FROM runtime_proxysql_servers ORDER BY port")


def test_a_read_only_one_follows_and_the_stats_user_gets_nothing(nodes: list[Operated]) -> None:
    one, other = nodes
    settled(nodes)
    with other.admin() as admin:
        admin("PROXYSQL READONLY")
    with one.admin() as admin:
        admin("INSERT INTO mysql_query_rules (rule_id, active) VALUES (4, 1)")
        admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    same(one, other, "SELECT rule_id FROM runtime_mysql_query_rules")
    text = "PROXY_SELECT username, password, use_ssl, default_hostgroup, default_schema, " \
           "schema_locked, transaction_persistent, fast_forward, backend, frontend, " \
           "max_connections, attributes, comment FROM runtime_mysql_users"  # fmt: skip
    with one.admin() as admin:
        assert admin(text)[0][:2] == ("hproxy", "hproxy")
    with one.admin("stats", "stats") as stats, pytest.raises(pymysql.MySQLError):
        stats(text)
