# SPDX-License-Identifier: Apache-2.0
"""LOAD and SAVE: every spelling goes where it should, and what it warns of and refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hproxy.config.proxysql.module import MODULES
from tests.support.console import Admin, FakeFile, FakePort, Served, row, serving

MODULE_SPELLINGS = [module.spelling for module in MODULES.values()]
TO_RUNTIME = ("TO RUNTIME", "TO RUN", "FROM MEMORY", "FROM MEM")
FROM_DISK = ("FROM DISK", "TO MEMORY", "TO MEM")
FROM_RUNTIME = ("FROM RUNTIME", "FROM RUN", "TO MEMORY", "TO MEM")
TO_DISK = ("TO DISK", "FROM MEMORY", "FROM MEM")
LAYERS = ("main", "disk")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(config_file=FakeFile(), lock_wait_sec=0.2) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        for layer in LAYERS:
            made(f"DELETE FROM {layer}.mysql_servers")
        served.port.loaded["mysql_servers"] = [row("mysql_servers", hostname="runs")]
        made("INSERT INTO main.mysql_servers (hostname) VALUES ('memory')")
        made("INSERT INTO disk.mysql_servers (hostname) VALUES ('disk')")
        yield made
        served.port.refuse, served.port.warn = "", []


def names(admin: Admin) -> tuple[str, str, str]:
    """What runs, is in memory, is saved."""
    found = [
        admin.one(f"SELECT group_concat(hostname) FROM {table}")
        for table in ("runtime_mysql_servers", "main.mysql_servers", "disk.mysql_servers")
    ]
    return found[0], found[1], found[2]


@pytest.mark.parametrize("way", TO_RUNTIME)
def test_memory_to_runtime(admin: Admin, way: str) -> None:
    admin(f"LOAD MYSQL SERVERS {way}")
    assert names(admin) == ("memory", "memory", "disk")


@pytest.mark.parametrize("way", FROM_DISK)
def test_disk_to_memory(admin: Admin, way: str) -> None:
    admin(f"LOAD MYSQL SERVERS {way}")
    assert names(admin) == ("runs", "disk", "disk")


@pytest.mark.parametrize("way", FROM_RUNTIME)
def test_runtime_to_memory(admin: Admin, way: str) -> None:
    admin(f"SAVE MYSQL SERVERS {way}")
    assert names(admin) == ("runs", "runs", "disk")


@pytest.mark.parametrize("way", TO_DISK)
def test_memory_to_disk(admin: Admin, way: str) -> None:
    admin(f"SAVE MYSQL SERVERS {way}")
    assert names(admin) == ("runs", "memory", "memory")


@pytest.mark.parametrize("module", MODULE_SPELLINGS)
def test_every_module_moves_every_way(served: Served, admin: Admin, module: str) -> None:
    for verb, ways in (
        ("LOAD", (*TO_RUNTIME, *FROM_DISK, "FROM CONFIG")),
        ("SAVE", (*FROM_RUNTIME, *TO_DISK)),
    ):
        for way in ways:
            admin(f"{verb} {module} {way}")
            admin(f"{verb.lower()}  {module.lower()}\t{way.lower()} ;")
    loaded = [name for name, _ in served.port.loads]
    name = next(m.name for m in MODULES.values() if m.spelling == module)
    assert loaded.count(name) >= 2 * len(TO_RUNTIME)


@pytest.mark.parametrize(
    "sql",
    [
        "LOAD MYSQL SERVERS FROM RUNTIME",
        "SAVE MYSQL SERVERS TO RUNTIME",
        "LOAD MYSQL SERVERS TO DISK",
        "SAVE MYSQL SERVERS TO CONFIG",
        "LOAD MYSQL NONSENSE TO RUNTIME",
        "LOAD TO RUNTIME",
        "LOAD MYSQL SERVERS",
        "LOAD MYSQL SERVERS TO",
        "LOAD MYSQL SERVERS TO RUNTIME NOW",
    ],
)
def test_what_is_no_move(admin: Admin, sql: str) -> None:
    number, text = admin.refused(sql)
    assert number == 1045
    assert text.startswith("ProxySQL Admin Error: ")
    assert names(admin) == ("runs", "memory", "disk")


def test_variables_of_a_file_keep_to_their_prefix(served: Served, admin: Admin) -> None:
    assert isinstance(served.console.config_file, FakeFile)
    served.console.config_file.rows = {
        "global_variables": [
            {"variable_name": "mysql-max_connections", "variable_value": "55"},
            {"variable_name": "admin-refresh_interval", "variable_value": "2600"},
        ]
    }
    admin("SAVE MYSQL VARIABLES FROM RUNTIME")
    admin("SAVE ADMIN VARIABLES FROM RUNTIME")
    admin("LOAD ADMIN VARIABLES FROM CONFIG")
    values = dict(admin("SELECT * FROM global_variables"))
    assert values["admin-refresh_interval"] == "2600"
    assert values["mysql-max_connections"] == "10000"
    admin("SAVE ADMIN VARIABLES FROM RUNTIME")


def test_variables_keep_to_their_prefix(admin: Admin) -> None:
    admin("SAVE MYSQL VARIABLES FROM RUNTIME")
    admin("SAVE ADMIN VARIABLES FROM RUNTIME")
    admin("SAVE MYSQL VARIABLES TO DISK")
    admin("SAVE ADMIN VARIABLES TO DISK")
    admin("SET mysql-max_connections = 77")
    admin("SET admin-refresh_interval = 2500")
    admin("LOAD MYSQL VARIABLES FROM DISK")
    sql = "SELECT variable_value FROM global_variables WHERE variable_name = %s"
    assert admin.one(sql, "mysql-max_connections") == "10000"
    assert admin.one(sql, "admin-refresh_interval") == "2500"
    admin("SET mysql-max_connections = 77")
    admin("LOAD MYSQL VARIABLES TO RUNTIME")
    runs = "SELECT variable_value FROM runtime_global_variables WHERE variable_name = %s"
    assert admin.one(runs, "mysql-max_connections") == "77"
    assert admin.one(runs, "admin-refresh_interval") != "2500"
    admin("SET mysql-max_connections = 10000")
    admin("LOAD MYSQL VARIABLES TO RUNTIME")


def test_from_the_file_rows_are_merged(served: Served, admin: Admin) -> None:
    assert isinstance(served.console.config_file, FakeFile)
    served.console.config_file.rows = {
        "mysql_servers": [
            {"hostname": "memory", "weight": 5},
            {"hostname": "file", "hostgroup_id": 2},
        ]
    }
    rows = admin("LOAD MYSQL SERVERS FROM CONFIG DRY RUN")
    assert [(r[1], r[2], r[5]) for r in rows] == [
        ("0, memory, 3306", "weight", "update"),
        ("2, file, 3306", "", "insert"),
    ]
    admin("LOAD MYSQL SERVERS FROM CONFIG")
    assert admin("SELECT hostname, weight FROM mysql_servers ORDER BY 1") == [
        ("file", "1"), ("memory", "5"),
    ]  # fmt: skip


def test_dry_run_shows_and_moves_nothing(served: Served, admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname, weight) VALUES ('runs', 7)")
    rows = admin("LOAD MYSQL SERVERS TO RUNTIME DRY RUN")
    assert admin.names == ("table", "key", "column", "old", "new", "change")
    assert rows == [
        ("mysql_servers", "0, memory, 3306", "", None, "", "insert"),
        ("mysql_servers", "0, runs, 3306", "weight", "1", "7", "update"),
    ]
    assert served.port.loads[-1] == ("mysql_servers", True)
    assert names(admin)[0] == "runs"
    served.port.refuse = "the port says no"
    assert "the port says no" in admin.refused("LOAD MYSQL SERVERS TO RUNTIME DRY RUN")[1]
    rows = admin("SAVE MYSQL SERVERS TO DISK DRY RUN")
    assert {r[5] for r in rows} == {"insert", "delete"}
    assert names(admin)[2] == "disk"


def test_one_after_the_other_and_not_for_ever(served: Served, admin: Admin) -> None:
    lock = served.console._moving
    asyncio.run_coroutine_threadsafe(lock.acquire(), served.loop).result()
    assert admin.refused("LOAD MYSQL SERVERS TO RUNTIME") == (1205, "database is locked")
    served.loop.call_soon_threadsafe(lock.release)
    admin("LOAD MYSQL SERVERS TO RUNTIME")


def test_passwords_are_not_shown(admin: Admin) -> None:
    admin("DELETE FROM mysql_users")
    admin("INSERT INTO mysql_users (username, password) VALUES ('u', 'geheim')")
    admin("SET mysql-monitor_password = 'geheim'")
    shown = admin("LOAD MYSQL USERS TO RUNTIME DRY RUN") + admin(
        "LOAD MYSQL VARIABLES TO RUNTIME DRY RUN"
    )
    assert len(shown) == 2
    assert "geheim" not in str(shown)
    assert "***" in str(shown)


def test_a_refused_load_changes_nothing(served: Served, admin: Admin) -> None:
    before = admin("SELECT * FROM runtime_checksums_values")
    served.port.refuse = "weight is wrong"
    number, text = admin.refused("LOAD MYSQL SERVERS TO RUNTIME")
    assert (number, text) == (1045, "ProxySQL Admin Error: mysql_servers: weight is wrong")
    assert names(admin)[0] == "runs"
    assert admin("SELECT * FROM runtime_checksums_values") == before


def test_removing_all_backends_is_allowed_and_warned_of(served: Served, admin: Admin) -> None:
    admin("DELETE FROM mysql_servers")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert admin("SELECT * FROM runtime_mysql_servers") == []
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    (warning,) = admin.warnings()
    assert "there is no server" in warning
    admin("INSERT INTO mysql_servers (hostname, status) VALUES ('a', 'offline_soft')")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert "no server is ONLINE" in admin.warnings()[0]
    assert admin.warnings()  # asking does not forget
    admin("SELECT 1")
    assert admin.warnings() == []


def test_what_was_never_saved_empties_nothing() -> None:
    with serving(FakePort()) as served, served.admin() as admin:
        admin("INSERT INTO scheduler (interval_ms, filename) VALUES (1000, '/bin/true')")
        admin("LOAD SCHEDULER FROM DISK")
        assert admin.warnings() == ["SCHEDULER were never saved to disk: memory stays as it is"]
        assert admin("LOAD SCHEDULER TO MEMORY DRY RUN") == []
        assert admin("SELECT COUNT(*) FROM scheduler") == [("1",)]
        admin("SAVE SCHEDULER TO DISK")
        admin("DELETE FROM scheduler")
        admin("LOAD SCHEDULER FROM DISK")
        assert admin("SELECT COUNT(*) FROM scheduler") == [("1",)]
        admin("DELETE FROM scheduler")
        admin("SAVE SCHEDULER TO DISK")
        admin("LOAD SCHEDULER FROM DISK")
        assert admin.warnings() == []


def test_warnings_of_the_port_arrive(served: Served, admin: Admin) -> None:
    served.port.warn = ["port 3307 closes"]
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert admin("SHOW WARNINGS") == [("Warning", "1105", "port 3307 closes")]


def test_one_user_alone(served: Served, admin: Admin) -> None:
    users = [row("mysql_users", username="a", default_hostgroup=1),
             row("mysql_users", username="b", default_hostgroup=1)]  # fmt: skip
    served.port.loaded["mysql_users"] = list(users)
    admin("DELETE FROM mysql_users")
    admin("INSERT INTO mysql_users (username, default_hostgroup) VALUES ('a', 9), ('b', 9)")
    admin("LOAD MYSQL USER b TO RUNTIME")
    assert admin("SELECT username, default_hostgroup FROM runtime_mysql_users ORDER BY 1") == [
        ("a", "1"), ("b", "9"),
    ]  # fmt: skip
    assert admin.refused("LOAD MYSQL USER nobody TO RUNTIME")[0] == 1045


def test_digests_to_disk(served: Served, admin: Admin) -> None:
    admin("SAVE MYSQL DIGEST TO DISK")
    assert served.port.orders[-1] == ("save_digests",)


def test_without_a_file() -> None:
    with serving(FakePort()) as served, served.admin() as admin:
        assert admin.refused("LOAD MYSQL SERVERS FROM CONFIG")[0] == 1045
        assert admin.refused("SELECT CONFIG FILE")[0] == 1045
