# SPDX-License-Identifier: Apache-2.0
"""The disk layer: old or new, whole; what cannot be used is refused and left as it is."""

from __future__ import annotations

import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from hproxy.config import store as module
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.rows import rows_of
from hproxy.config.schema import Config
from hproxy.config.store import Change, Store, set_aside, store_path
from hproxy.errors import ConfigError

SAVE = Change("2026-01-31 12:00:00", "admin", "127.0.0.1", "", "save", "SAVE ...", "+1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hproxy.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store.open(path)
    yield made
    made.close()


def servers(*names: str) -> dict[str, list[dict[str, Any]]]:
    tree = {"mysql_servers": [{"hostname": name} for name in names]}
    rows = rows_of(Config.model_validate(tree, context={"live": True}))
    return {"mysql_servers": rows["mysql_servers"]}


def variables(**values: str) -> dict[str, list[dict[str, Any]]]:
    pairs = ((name.replace("__", "-"), value) for name, value in values.items())
    return {"global_variables": [{"variable_name": n, "variable_value": v} for n, v in pairs]}


def names(tables: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [row["hostname"] for row in tables["mysql_servers"]]


def test_a_new_file_is_empty_and_private(store: Store, path: Path) -> None:
    assert store.empty
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(store.read_all()) == set(CONFIG_TABLES)
    assert store.versions() == []


def test_rows_come_back_in_another_process_of_time(store: Store, path: Path) -> None:
    full = {
        "proxy": {"auth": "table"},
        "mysql_servers": [{"hostname": "db", "comment": 'éit\'s; "quoted"\n'}],
        "mysql_query_rules": [{"rule_id": 5, "error_msg": "", "OK_msg": None}],
        "mysql_users": [{"username": "a", "password": "p"}],
    }
    rows = rows_of(Config.model_validate(full))
    for name in ("mysql_servers", "mysql_query_rules", "mysql_users", "mysql_variables"):
        store.save(name, rows, SAVE)
    store.close()
    again = Store.open(path)
    assert not again.empty
    found = again.read_all()
    assert {name: found[name] for name in found if name != "global_variables"} == {
        name: rows[name] for name in rows if name != "global_variables"
    }
    prefixes = {row["variable_name"].partition("-")[0] for row in found["global_variables"]}
    assert prefixes == {"mysql"}  # only that module was saved
    assert again.load("mysql_users") == {"mysql_users": rows["mysql_users"]}
    again.close()


def test_a_module_is_replaced_and_no_other(store: Store) -> None:
    store.save("mysql_servers", servers("a", "b"), SAVE)
    store.save("mysql_variables", variables(**{"mysql__threads": "2"}), SAVE)
    store.save("admin_variables", variables(**{"admin__strict": "false"}), SAVE)
    store.save("mysql_servers", servers("c"), SAVE)
    assert names(store.load("mysql_servers")) == ["c"]
    assert store.load("mysql_variables") == variables(**{"mysql__threads": "2"})
    assert len(store.read_all()["global_variables"]) == 2


def test_the_history_says_who_and_can_go_back(store: Store) -> None:
    first = store.save("mysql_servers", servers("a"), SAVE)
    store.record("mysql_servers", servers("b"), Change("2026-01-31 12:00:01", action="load"))
    last = store.save_all({"mysql_users": {"mysql_users": []}}, SAVE)
    assert [version.version for version in store.versions()] == [3, 2, 1]
    assert store.versions()[2].module == "mysql_servers"
    assert store.versions()[2].username == "admin"
    assert names(store.load("mysql_servers")) == ["a"]  # recorded is not saved
    assert names(store.version(first)["mysql_servers"]) == ["a"]
    assert names(store.version(2)["mysql_servers"]) == ["b"]
    whole = store.version(last)
    assert (names(whole["mysql_servers"]), whole["mysql_users"]["mysql_users"]) == (["b"], [])
    with pytest.raises(ConfigError, match="has no version 4"):
        store.version(4)


def test_old_versions_go_and_what_they_bear_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_VERSIONS", 3)
    store.save("mysql_users", {"mysql_users": []}, SAVE)
    for name in "abcdef":
        store.save("mysql_servers", servers(name), SAVE)
    assert [version.version for version in store.versions()] == [7, 6, 5]
    for number, name in ((5, "d"), (6, "e"), (7, "f")):
        assert names(store.version(number)["mysql_servers"]) == [name]
        assert store.version(number)["mysql_users"] == {"mysql_users": []}
    with pytest.raises(ConfigError, match="has no version 4"):
        store.version(4)


def test_a_refused_row_changes_nothing(store: Store) -> None:
    store.save("mysql_servers", servers("a"), SAVE)
    twice = {"mysql_servers": [*servers("b")["mysql_servers"], *servers("b")["mysql_servers"]]}
    with pytest.raises(ConfigError, match=r"cannot be written: .*\(nothing has changed\)"):
        store.save("mysql_servers", twice, SAVE)
    assert names(store.load("mysql_servers")) == ["a"]
    assert len(store.versions()) == 1


def test_settings_of_the_file(store: Store) -> None:
    assert store.setting("uuid") is None
    store.set_setting("uuid", "x")
    store.set_setting("uuid", "y")
    assert store.setting("uuid") == "y"


def damaged(path: Path) -> None:
    """Pages of noise behind a sound head."""
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(7).randbytes(len(data) - 4096)
    path.write_bytes(data)


def newer(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()


def foreign(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE somebodys (a)")
    connection.close()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("not a database, " * 100), "is not a database"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "damaged"),
    "noise": (damaged, "damaged"),
    "newer": (newer, "was written by a newer version (format 99, not 1)"),
    "foreign": (foreign, "is a database, but not a store of hproxy"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_and_left_as_it_is(path: Path, kind: str) -> None:
    store = Store.open(path)
    store.save("mysql_servers", servers("a"), SAVE)
    store.close()
    change, message = REFUSED[kind]
    change(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        Store.open(path)
    assert message in str(caught.value)
    assert "it was left as it is" in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == [path]
    aside = set_aside(path)
    assert aside.read_bytes() == before
    assert not path.exists()
    Store.open(path).close()
    assert set_aside(path).name == "hproxy.db.bak2"


def test_a_place_that_cannot_hold_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be opened: File exists"):
        Store.open(tmp_path / "file" / "hproxy.db")
    with pytest.raises(ConfigError, match="cannot be set aside"):
        set_aside(tmp_path / "nothing.db")


def test_another_program_within_a_transaction(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._connection.set_busy_timeout(1)
    other = apsw.Connection(str(path))
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigError, match="another program has it locked"):
        store.save("mysql_servers", servers("a"), SAVE)
    other.execute("ROLLBACK")
    store.save("mysql_servers", servers("a"), SAVE)
    other.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.fail(f"a full disk is mounted, which takes root: {made.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def many(size: int) -> dict[str, list[dict[str, Any]]]:
    row = servers("x")["mysql_servers"][0]
    noise = random.Random(1)
    return {
        "mysql_servers": [
            row | {"hostname": f"h{n}", "comment": noise.randbytes(500).hex()} for n in range(size)
        ]
    }


def test_a_full_disk_changes_nothing(small_disk: Path) -> None:
    store = Store.open(small_disk / "hproxy.db")
    store.save("mysql_servers", servers("a"), SAVE)
    with pytest.raises(ConfigError, match=r"the disk is full \(nothing has changed\)"):
        store.save("mysql_servers", many(3000), SAVE)
    assert names(store.load("mysql_servers")) == ["a"]
    store.save("mysql_servers", servers("b"), SAVE)  # and it goes on
    store.close()
    again = Store.open(small_disk / "hproxy.db")
    assert names(again.load("mysql_servers")) == ["b"]
    again.close()


def test_a_file_size_limit_changes_nothing(store: Store, path: Path) -> None:
    store.save("mysql_servers", servers("a"), SAVE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 8192, hard))
    try:
        with pytest.raises(ConfigError, match=r"cannot be written: .*\(nothing has changed\)"):
            store.save("mysql_servers", many(300), SAVE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(store.load("mysql_servers")) == ["a"]
    store.save("mysql_servers", servers("b"), SAVE)
    assert names(store.load("mysql_servers")) == ["b"]


HOST = {"hostgroup_id": 1}
# Forks a writer for every line it reads, so that what is imported is imported once; says the
# writer's number, and "gone" when it is.
WRITERS = """
import os
import sys
from pathlib import Path
from hproxy.config.store import Change, Store

row = {"hostgroup_id": 1, "hostname": "", "comment": ""}
sets = [
    {"mysql_servers": [row | {"hostname": f"{mark}{n}", "comment": mark * 300}
                       for n in range(count)]}
    for mark, count in (("a", 40), ("b", 90))
]
for path in sys.stdin:
    writer = os.fork()
    if not writer:
        store = Store.open(Path(path.strip()))
        turn = store.load("mysql_servers")["mysql_servers"][0]["hostname"].startswith("a")
        print(os.getpid(), flush=True)
        while True:
            store.save("mysql_servers", sets[turn], Change("now"))
            turn = not turn
    os.waitpid(writer, 0)
    print("gone", flush=True)
"""


def test_killed_at_any_moment_it_holds_the_old_or_the_new(path: Path) -> None:
    store = Store.open(path)
    hosts = [HOST | {"hostname": f"a{number}"} for number in range(40)]
    began = time.monotonic()
    store.save("mysql_servers", {"mysql_servers": hosts}, SAVE)
    once = time.monotonic() - began
    store.close()
    chance = random.Random(4)
    seen: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-c", WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writers:
        assert writers.stdin is not None
        assert writers.stdout is not None
        for _ in range(40):
            print(path, file=writers.stdin, flush=True)
            number = int(writers.stdout.readline())
            time.sleep(chance.uniform(0, 4 * once))  # the moment is the point
            os.kill(number, signal.SIGKILL)
            assert writers.stdout.readline() == "gone\n"
            seen |= {whole(path)}
        writers.stdin.close()
    assert seen == {"a", "b"}


def whole(path: Path) -> str:
    """Which of the two the store holds, having seen that it holds no more and no less."""
    store = Store.open(path)
    hosts = set(names(store.load("mysql_servers")))
    (mark,) = {host[0] for host in hosts}
    assert len(hosts) == {"a": 40, "b": 90}[mark]
    newest = store.versions()[0].version
    assert set(names(store.version(newest)["mysql_servers"])) == hosts
    store.close()
    return mark


def test_where_it_is(tmp_path: Path) -> None:
    assert store_path(None, tmp_path) == tmp_path / "hproxy.db"
    assert store_path(tmp_path / "x", tmp_path) == tmp_path / "x"
