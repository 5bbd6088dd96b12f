# SPDX-License-Identifier: Apache-2.0
"""runtime_checksums_values: what changes a checksum, when it is stamped, what peers read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hproxy.admin.console.checksum import checksum, shown
from hproxy.admin.console.spooky import hash64
from tests.support.console import Admin, Served, row, serving


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture
def served() -> Iterator[Served]:
    CLOCK.now = 1000.0
    with serving(clock=CLOCK) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        yield made


def stamped(admin: Admin, name: str) -> tuple[int, int, str]:
    ((version, epoch, value),) = admin(
        "SELECT version, epoch, checksum FROM runtime_checksums_values WHERE name = %s", name
    )
    return int(version), int(epoch), value


def test_rows_and_form(admin: Admin) -> None:
    rows = admin("SELECT * FROM runtime_checksums_values ORDER BY name")
    assert admin.names == ("name", "version", "epoch", "checksum")
    assert [name for name, *_ in rows] == [
        "admin_variables", "mysql_query_rules", "mysql_servers", "mysql_servers_v2",
        "mysql_users", "mysql_variables", "proxysql_servers",
    ]  # fmt: skip
    assert {(version, epoch) for _, version, epoch, _ in rows} == {("1", "1000")}
    assert all(re.fullmatch("0x[0-9A-F]{16}", value) for *_, value in rows)


def test_only_a_change_is_stamped(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
    CLOCK.now = 1100
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    version, epoch, first = stamped(admin, "mysql_servers")
    assert (version, epoch) == (2, 1100)
    CLOCK.now = 1200
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert stamped(admin, "mysql_servers") == (3, 1100, first)
    admin("UPDATE mysql_servers SET weight = 2")
    CLOCK.now = 1300
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    version, epoch, second = stamped(admin, "mysql_servers")
    assert (version, epoch) == (4, 1300)
    assert second != first
    assert stamped(admin, "mysql_users")[:2] == (1, 1000)


def test_the_overall_checksum_follows(admin: Admin) -> None:
    before = admin.one("SELECT GLOBAL_CHECKSUM()")
    assert admin.names == ("CHECKSUM",)
    assert before == admin.one("select global_checksum();")
    admin("INSERT INTO mysql_users (username) VALUES ('u')")
    assert before == admin.one("SELECT GLOBAL_CHECKSUM()")
    admin("LOAD MYSQL USERS TO RUNTIME")
    assert before != admin.one("SELECT GLOBAL_CHECKSUM()")


def test_checksum_of_layers(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
    ((table, memory),) = admin("CHECKSUM MYSQL SERVERS")
    assert admin.names == ("table", "checksum")
    assert table == "mysql_servers"
    assert admin("CHECKSUM MEM MYSQL SERVERS") == admin("CHECKSUM MEMORY MYSQL SERVERS")
    assert admin("CHECKSUM DISK MYSQL SERVERS") != [(table, memory)]
    admin("SAVE MYSQL SERVERS TO DISK")
    assert admin("CHECKSUM DISK MYSQL SERVERS") == [(table, memory)]
    for name in ("USERS", "QUERY RULES", "VARIABLES", "REPLICATION HOSTGROUPS",
                 "GROUP REPLICATION HOSTGROUPS", "GALERA HOSTGROUPS", "AURORA HOSTGROUPS",
                 "HOSTGROUP ATTRIBUTES", "SERVERS SSL PARAMS"):  # fmt: skip
        assert len(admin(f"CHECKSUM MYSQL {name}")) == 1


def test_a_peer_reads(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    rows = admin("PROXY_SELECT hostname, port FROM runtime_mysql_servers ORDER BY 1")
    assert rows == [("a", "3306")]
    admin("PROXYSQL CLUSTER_NODE_UUID 2a0a-77 0.0.0.0:6032")


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [row("mysql_servers", hostname=name) for name in "abc"]
    assert checksum({"mysql_servers": rows}) == checksum({"mysql_servers": rows[::-1]})
    assert checksum({"mysql_servers": []}) == "0x0000000000000000"


def test_the_text_is_proxysqls() -> None:
    number = hash64(b"hello", 19, 3)
    low, high = number & 0xFFFFFFFF, number >> 32
    assert shown(b"hello") == f"0x{low:X}{high:X}".ljust(18, "0")


def test_what_each_node_has_for_itself_is_left_out() -> None:
    one = {"variable_name": "mysql-interfaces", "variable_value": "0.0.0.0:6033"}
    assert checksum({"global_variables": [one]}) == "0x0000000000000000"


def test_a_module_may_be_without(served: Served, admin: Admin) -> None:
    def names() -> set[str]:
        return {str(row[0]) for row in admin("SELECT name FROM runtime_checksums_values")}

    assert {"mysql_servers", "mysql_servers_v2"} <= names()
    served.console.values.update({"admin-checksum_mysql_servers": "false"})
    try:
        assert not {"mysql_servers", "mysql_servers_v2"} & names()
        assert "mysql_users" in names()
    finally:
        served.console.values.update({"admin-checksum_mysql_servers": "true"})


def test_a_change_is_newer_though_the_clock_says_it_is_not(admin: Admin) -> None:
    """Two LOADs within a second, and a clock that was set back."""
    for number, now in enumerate((1000, 1000, 900)):
        CLOCK.now = now
        admin("INSERT INTO mysql_servers (hostname) VALUES (%s)", f"host{number}")
        admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert stamped(admin, "mysql_servers")[:2] == (4, 1003)


def test_peers_see_neither_who_is_gone_nor_who_is_shunned(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    before = stamped(admin, "mysql_servers_v2")[2]
    admin("UPDATE mysql_servers SET status = 'SHUNNED'")
    admin("INSERT INTO mysql_servers (hostname, status) VALUES ('b', 'OFFLINE_HARD')")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert stamped(admin, "mysql_servers_v2")[2] == before


def test_a_peer_makes_ours_as_old_as_its_own(served: Served, admin: Admin) -> None:
    value = stamped(admin, "mysql_users")[2]
    served.console.checksums.age("mysql_users", value, 7777)
    served.console.checksums.age("mysql_query_rules", "another", 7777)
    assert stamped(admin, "mysql_users") == (1, 7777, value)
    assert stamped(admin, "mysql_query_rules")[1] == 1000
