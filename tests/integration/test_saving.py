# SPDX-License-Identifier: Apache-2.0
"""What is saved survives anything: kill -9 at any moment, a full disk; what is broken is kept.

two operators SAVE generation after generation ── kill -9 ──> the file: of each module
one generation, whole, the last that was answered or the one after ──> and hproxy starts on it
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import sleep
from typing import Any

import pymysql
import pytest

from hproxy.config.store import Store
from tests.support.operated import Operated, sections, server_row
from tests.support.proxy import toml
from tests.support.server import Server

KILLS = 20
SEED = 11
LONGEST_S = 0.4
ROWS = 40
TIMES = ("mysql-default_query_timeout", "mysql-long_query_time")
FIRST = 1000  # generation; variables take it as a number of milliseconds


def filled(proxy: Operated, server: Server) -> None:
    """Many rows in each table, so that a SAVE takes its time."""
    with proxy.admin() as admin:
        for number in range(1, ROWS):
            comment = f"{FIRST}"
            admin(
                "INSERT INTO mysql_servers (hostgroup_id, hostname, port, comment)"
                " VALUES (%s, %s, %s, %s)", number, server.host, server.port, comment,
            )  # fmt: skip
            admin("INSERT INTO mysql_users (username, password, comment) VALUES (%s, 'x', %s)",
                  f"user{number}", comment)  # fmt: skip
            admin("INSERT INTO mysql_query_rules (rule_id, match_pattern, comment)"
                  " VALUES (%s, 'nothing', %s)", number, comment)  # fmt: skip
        set_times(admin, FIRST)
        for table in ("mysql_servers", "mysql_users", "mysql_query_rules"):
            admin(f"UPDATE {table} SET comment = %s", str(FIRST))
        for module in ("SERVERS", "USERS", "QUERY RULES", "VARIABLES"):
            admin(f"SAVE MYSQL {module} TO DISK")


def set_times(admin: Any, generation: int) -> None:
    for name in TIMES:
        admin("UPDATE global_variables SET variable_value = %s WHERE variable_name = %s",
              str(generation), name)  # fmt: skip


class Saver(threading.Thread):
    """An operator who saves a module, generation after generation, until the connection breaks."""

    def __init__(self, proxy: Operated, saved: dict[str, int], *modules: str) -> None:
        super().__init__(name=f"saves {modules}")
        self.proxy = proxy
        self.saved = saved
        self.modules = modules
        self.refused = ""

    def run(self) -> None:
        try:
            with self.proxy.admin() as admin:
                while True:
                    for module in self.modules:
                        generation = self.saved[module] + 1
                        if module == "mysql_variables":
                            set_times(admin, generation)
                        else:
                            admin(f"UPDATE {module} SET comment = %s", str(generation))
                        admin(f"SAVE {module.replace('_', ' ').upper()} TO DISK")
                        self.saved[module] = generation
        except (pymysql.err.OperationalError, OSError) as error:
            if error.args[0] not in (2006, 2013):
                self.refused = str(error)
        except pymysql.err.Error as error:
            self.refused = str(error)


def generations(rows: dict[str, list[dict[str, Any]]], module: str) -> set[int]:
    if module == "mysql_variables":
        found = {r["variable_name"]: r["variable_value"] for r in rows["global_variables"]}
        return {int(found[name]) for name in TIMES}
    return {int(row["comment"]) for row in rows[module]}


def test_killed_while_saving(tmp_path: Path, mariadb: Server) -> None:
    rng = Random(SEED)
    made = sections(tmp_path, server_row(mariadb))
    path = tmp_path / "data/hproxy.db"
    modules = ("mysql_servers", "mysql_users", "mysql_query_rules", "mysql_variables")
    saved = dict.fromkeys(modules, FIRST)
    proxy = Operated(tmp_path, made)
    between = 0
    try:
        filled(proxy, mariadb)
        for _ in range(KILLS):
            before = dict(saved)
            savers = [Saver(proxy, saved, *modules[:2]), Saver(proxy, saved, *modules[2:])]
            for saver in savers:
                saver.start()
            sleep(rng.uniform(0, LONGEST_S))  # the moment is what is drawn
            proxy.kill()
            for saver in savers:
                saver.join()
                assert not saver.refused, saver.refused
            between += saved != before
            store = Store.open(path)
            newest = store.version(store.versions()[0].version)
            for module in modules:
                rows = store.load(module)
                (found,) = generations(rows, module)
                assert found in (saved[module], saved[module] + 1), module
                saved[module] = found
                if module != "mysql_variables":
                    assert len(rows[module]) >= ROWS - 1
                assert newest[module] == rows, "the version is of the same moment"
            store.close()
            proxy = Operated(tmp_path, made)
            with proxy.admin() as admin:
                for module in modules[:3]:
                    assert admin(f"SELECT DISTINCT comment FROM {module}") == [
                        (str(saved[module]),)
                    ]
        assert between > KILLS / 2, "most were killed among their SAVEs"
        with proxy.client() as client:
            assert client.one("SELECT 1") == 1
        proxy.stop()
    finally:
        if proxy.running:
            proxy.kill()


@pytest.mark.parametrize("content", [b"no database" * 999, b""], ids=["garbage", "torn"])
def test_a_broken_file_is_kept(tmp_path: Path, mariadb: Server, content: bytes) -> None:
    made = sections(tmp_path, server_row(mariadb))
    path = tmp_path / "data/hproxy.db"
    with Operated(tmp_path, made) as proxy, proxy.admin() as admin:
        admin("SAVE MYSQL SERVERS TO DISK")
        whole = path.read_bytes()
    content = content or whole[:4096] + b"\xff" * (len(whole) - 8192)
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "hproxy.cli.main", "run", "--single",
         "-c", str(tmp_path / "hproxy.toml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert str(path) in last
    assert "--initial" in last
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == content
    with Operated(tmp_path, made, ["--initial"]) as proxy, proxy.client() as client:
        assert client.one("SELECT 1") == 1
        assert proxy.lines("the saved configuration is set aside")
    assert path.with_name("hproxy.db.bak").read_bytes() == content


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of its own where that is allowed; whether it is."""
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, pid: int, mounted: bool) -> Callable[[], None]:
    """Leave no room; what is given back makes room again."""
    if mounted:
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        return filler.unlink
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before) and None


@pytest.mark.parametrize("limit", ["disk", "size of files"])
def test_a_full_disk(tmp_path: Path, mariadb: Server, limit: str) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with small_disk(folder) as mounted:
        made = sections(tmp_path, server_row(mariadb), admin={"store": str(folder / "hproxy.db")})
        with Operated(tmp_path, made) as proxy, proxy.admin() as admin, proxy.client() as client:
            admin("SAVE MYSQL SERVERS TO DISK")
            kept = admin("SELECT * FROM disk.mysql_servers")
            free = fill(folder, proxy.pid, mounted and limit == "disk")
            comment = "c" * 20_000
            admin("UPDATE mysql_servers SET comment = %s", comment)
            number, told = admin.refused("SAVE MYSQL SERVERS TO DISK")
            assert "nothing has changed" in told, (number, told)
            assert "disk is full" in told or "writing failed" in told
            assert admin("SELECT * FROM disk.mysql_servers") == kept
            assert client.one("SELECT 1") == 1
            admin("LOAD MYSQL SERVERS TO RUNTIME")
            assert any("no version of it could be kept" in text for text in admin.warnings())
            assert admin.one("SELECT comment FROM runtime_mysql_servers") == comment
            assert client.one("SELECT 2") == 2
            free()
            admin("SAVE MYSQL SERVERS TO DISK")
            assert admin.one("SELECT comment FROM disk.mysql_servers") == comment


def test_a_store_that_cannot_be_written(tmp_path: Path, mariadb: Server) -> None:
    """It is a folder, say: the start ends, and says why."""
    (tmp_path / "store").mkdir()
    made = sections(tmp_path, server_row(mariadb), admin={"store": str(tmp_path / "store")})
    file = tmp_path / "h.toml"
    file.write_text(toml(made))
    done = subprocess.run(
        [sys.executable, "-m", "hproxy.cli.main", "run", "--single", "-c", str(file)],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 1
    assert "admin.store: cannot be opened" in done.stderr
