# SPDX-License-Identifier: Apache-2.0
"""Versions of the configuration, going back, and the configuration as a file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hproxy.config.proxysql.module import MODULES
from hproxy.config.store import Store
from tests.support.console import Admin, FakeFile, FakePort, Served, row, serving


@pytest.fixture
def served() -> Iterator[Served]:
    port = FakePort()
    port.loaded["mysql_servers"] = [row("mysql_servers", hostname="first")]
    with serving(port, config_file=FakeFile()) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        yield made


def versions(admin: Admin) -> list[tuple[int, str, str]]:
    return [
        (int(number), module, action)
        for number, module, action in admin(
            "SELECT version, module, action FROM hproxy_config_history ORDER BY version"
        )
    ]


def test_each_change_is_a_version(admin: Admin) -> None:
    begun = len(MODULES)
    assert versions(admin) == [(i + 1, name, "start") for i, name in enumerate(MODULES)]
    admin("UPDATE mysql_servers SET weight = 5")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    admin("SAVE MYSQL SERVERS TO DISK")
    assert versions(admin)[begun:] == [
        (begun + 1, "mysql_servers", "load"),
        (begun + 2, "mysql_servers", "save"),
    ]
    ((who, client, statement, diff, when),) = admin(
        "SELECT username, client, statement, diff, changed_at FROM main.hproxy_config_history"
        " WHERE action = 'load'"
    )
    assert (who, client, statement) == ("admin", "127.0.0.1", "LOAD MYSQL SERVERS TO RUNTIME")
    assert diff == "mysql_servers [0, first, 3306] weight: 1 -> 5"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", when)
    assert admin("SELECT diff FROM hproxy_config_history WHERE action = 'save'") == [
        ("mysql_servers [0, first, 3306] added: weight=5",)
    ]
    assert admin("SELECT COUNT(*) FROM disk.hproxy_config_history") == [(str(begun + 2),)]


def test_going_back(served: Served, admin: Admin) -> None:
    admin("UPDATE mysql_servers SET weight = 5")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    admin("INSERT INTO mysql_users (username, password) VALUES ('u', 'geheim')")
    admin("LOAD MYSQL USERS TO RUNTIME")
    good = versions(admin)[-1][0]
    admin("DELETE FROM mysql_servers")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    admin(f"ROLLBACK CONFIG TO {good}")
    assert admin.warnings() == ["MYSQL SERVERS went back"]
    assert admin("SELECT hostname, weight FROM runtime_mysql_servers") == [("first", "5")]
    assert admin("SELECT hostname, weight FROM mysql_servers") == [("first", "5")]
    assert admin("SELECT username FROM runtime_mysql_users") == [("u",)]
    admin(f"rollback config to {len(MODULES)};")
    assert admin("SELECT weight FROM runtime_mysql_servers") == [("1",)]
    assert admin("SELECT * FROM runtime_mysql_users") == []
    assert [action for _, _, action in versions(admin)][-3:] == ["rollback"] * 3
    assert "geheim" not in str(admin("SELECT * FROM hproxy_config_history"))


def test_a_password_comes_back_although_it_is_never_shown(served: Served, admin: Admin) -> None:
    admin("INSERT INTO mysql_users (username, password) VALUES ('u', 'geheim')")
    admin("LOAD MYSQL USERS TO RUNTIME")
    admin("DELETE FROM mysql_users")
    admin("LOAD MYSQL USERS TO RUNTIME")
    admin(f"ROLLBACK CONFIG TO {versions(admin)[-2][0]}")
    assert served.port.loaded["mysql_users"][0]["password"] == "geheim"


def test_unknown_versions(admin: Admin) -> None:
    for version in ("0", "99", "123456789012345678"):
        assert admin.refused(f"ROLLBACK CONFIG TO {version}")[0] == 1045
    assert admin("ROLLBACK") == []  # the one that ends no transaction


def test_contents_are_for_the_console_only(admin: Admin) -> None:
    for sql in (
        "SELECT * FROM hproxy_config_content",
        "SELECT rows FROM disk.hproxy_config_content",
        "DELETE FROM disk.hproxy_config_history",
        "UPDATE disk.hproxy_config_history SET username = 'nobody'",
        "DROP TABLE disk.hproxy_config_content",
    ):
        assert admin.refused(sql)[0] == 1045
    assert ("hproxy_config_content",) not in admin("SHOW TABLES FROM disk")


def test_versions_outlive_a_restart(tmp_path: Path) -> None:
    path, port = tmp_path / "store.db", FakePort()
    with serving(port, store=Store.open(path)) as served, served.admin() as admin:
        admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
        admin("LOAD MYSQL SERVERS TO RUNTIME")
        admin("SAVE MYSQL SERVERS TO DISK")
        assert admin("SHOW DATABASES")[1] == ("2", "disk", str(path))
        before = versions(admin)
    with serving(port, store=Store.open(path)) as served, served.admin() as admin:
        assert versions(admin) == before
        assert admin("SELECT hostname FROM disk.mysql_servers") == [("a",)]
        admin("DELETE FROM mysql_servers")
        admin("LOAD MYSQL SERVERS FROM DISK")
        assert admin("SELECT hostname FROM mysql_servers") == [("a",)]
    port.loaded["mysql_servers"] = []
    with serving(port, store=Store.open(path)) as served, served.admin() as admin:
        assert versions(admin)[len(before) :] == [(len(before) + 1, "mysql_servers", "start")]


def test_a_store_that_cannot_be_written(admin: Admin, served: Served) -> None:
    """What runs does not depend on it; what should be saved is refused."""
    served.console._store._connection.pragma("query_only", True)
    admin("INSERT INTO mysql_servers (hostname) VALUES ('second')")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    assert "no version of it could be kept" in admin.warnings()[0]
    assert len(admin("SELECT * FROM runtime_mysql_servers")) == 2
    assert "cannot be written" in admin.refused("SAVE MYSQL SERVERS TO DISK")[1]
    assert admin("SELECT * FROM disk.mysql_servers") == []
    served.console._store._connection.pragma("query_only", False)
    admin("SAVE MYSQL SERVERS TO DISK")
    assert len(admin("SELECT * FROM disk.mysql_servers")) == 2


def test_the_configuration_as_a_file(served: Served, admin: Admin, tmp_path: Path) -> None:
    text = admin.one("SELECT CONFIG FILE")
    assert admin.names == ("Data",)
    assert "mysql_servers: 1" in text
    path = tmp_path / "out.cnf"
    for sql in (f"SAVE CONFIG TO FILE {path}", f"SELECT CONFIG INTO OUTFILE '{path}'"):
        admin(sql)
        assert path.read_text() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["out.cnf"]
    assert "absolute" in admin.refused("SAVE CONFIG TO FILE out.cnf")[1]
    assert "cannot write" in admin.refused(f"SAVE CONFIG TO FILE {tmp_path}/none/out.cnf")[1]
