# SPDX-License-Identifier: Apache-2.0
"""The console's start: where its layers come from, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from hproxy.config.store import Store
from hproxy.errors import ConfigError
from tests.support.console import FakePort, row, serving


def test_memory_begins_as_what_runs() -> None:
    port = FakePort()
    port.loaded["mysql_servers"] = [row("mysql_servers", hostname="runs")]
    with serving(port) as served, served.admin() as admin:
        assert admin("SELECT hostname FROM mysql_servers") == [("runs",)]
        values = dict(admin("SELECT * FROM global_variables"))
        assert values == dict(port.variables.items())
        assert admin("SELECT * FROM disk.mysql_servers") == []


def test_history_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "stats.db"
    with serving(history_path=path) as served, served.admin() as admin:
        assert admin("SHOW DATABASES")[-1] == ("5", "stats_history", str(path))
        writer = apsw.Connection(str(path))
        names = [r[1] for r in writer.execute("PRAGMA table_info(mysql_connections)")]
        writer.execute(f"INSERT INTO mysql_connections VALUES ({', '.join('7' * len(names))})")
        writer.close()
        sql = "SELECT Questions FROM mysql_connections ORDER BY timestamp DESC LIMIT 1"
        assert admin.one(sql) == "7"


def test_a_damaged_history_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "stats.db"
    path.write_bytes(b"no database at all" * 100)
    before = path.read_bytes()
    with serving(history_path=path) as served, served.admin() as admin:
        assert admin("SELECT * FROM mysql_connections") == []
        assert admin("SHOW DATABASES")[-1] == ("5", "stats_history", "")
    assert path.read_bytes() == before


def test_a_damaged_store_is_said_before_there_is_a_console(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match=r"store\.db"):
        Store.open(path)
    assert path.read_bytes() == b"no database at all" * 100


def test_nothing_is_left(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    with serving(store=store) as served, served.admin() as admin:
        admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
        admin("SAVE MYSQL SERVERS TO DISK")
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]
    assert (tmp_path / "store.db").stat().st_mode & 0o077 == 0
    again = Store.open(tmp_path / "store.db")
    assert again.load("mysql_servers")["mysql_servers"][0]["hostname"] == "a"
    again.close()
