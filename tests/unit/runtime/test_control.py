# SPDX-License-Identifier: Apache-2.0
"""LOAD under a running worker: many rows keep the loop free, and changes meet in order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import pytest

from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.schema import Config
from hproxy.errors import AdminError, ConfigError
from hproxy.health import Add
from hproxy.health import Server as Probed
from hproxy.runtime import Runtime
from hproxy.runtime import control as control_module
from hproxy.runtime.apply import prepare
from hproxy.runtime.tables.configured import hashed
from hproxy.runtime.watched import Watched
from tests.support.fake_backend import FakeBackend
from tests.support.worker import configuration, working
from tests.unit.conftest import Run

ANN = {"username": "ann", "password": "pw"}
MANY = 5000


def row(table: str, **values: Any) -> dict[str, Any]:
    return {column.name: column.initial for column in CONFIG_TABLES[table].columns} | values


def config(folder: Path, address: str) -> Config:
    host, _, port = address.rpartition(":")
    return configuration(
        folder,
        mysql_servers=[{"hostname": host, "port": int(port)}],
        mysql_users=[ANN],
        proxy={"session_mode": "multiplex"},
    )


def rules(changed: int = 0) -> dict[str, list[dict[str, Any]]]:
    found = [
        row("mysql_query_rules", rule_id=i, active=1, match_digest=f"^SELECT t{i}$", apply=1)
        for i in range(1, MANY + 1)
    ]
    for one in found[:changed]:
        one["apply"] = 0
    return {"mysql_query_rules": found, "mysql_query_rules_fast_routing": []}


def test_the_loop_goes_on_while_thousands_of_rows_are_read(run: Run, tmp_path: Path) -> None:
    """Turns of the loop during a LOAD: it is held up for a small part of it."""

    async def work(address: str) -> None:
        async with working(config(tmp_path, address)) as runtime:
            turns = 0
            loading = asyncio.ensure_future(runtime.port.load("mysql_query_rules", rules()))
            while not loading.done():
                await asyncio.sleep(0)
                turns += 1
            assert (await loading).changed == MANY
            assert turns > 20
            report = await runtime.port.load("mysql_query_rules", rules(changed=3))
            assert report.changed == 3
            spent = process_time()
            control_module._changed(runtime.config, runtime.config, "mysql_query_rules")
            assert process_time() - spent < 2, "each is not looked for in all"

    with FakeBackend() as backend:
        run(work(backend.address))


def test_loads_follow_each_other(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(config(tmp_path, address)) as runtime:
            port = runtime.port
            bob = row("mysql_users", username="bob", password="x")
            ann = row("mysql_users", **ANN)
            one = {"mysql_query_rules": [row("mysql_query_rules", rule_id=7, active=1)]}
            await asyncio.gather(
                port.load("mysql_query_rules", one),
                port.load("mysql_users", {"mysql_users": [ann, bob]}),
                port.order("readonly"),
            )
            assert [r["rule_id"] for r in port.rows("mysql_query_rules")["mysql_query_rules"]] == [
                7
            ]
            assert {r["username"] for r in port.rows("mysql_users")["mysql_users"]} == {
                "ann", "bob",
            }  # fmt: skip
            assert runtime.services.variables.flag("admin-read_only")

    with FakeBackend() as backend:
        run(work(backend.address))


def test_what_monitors_move_meanwhile_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = prepare
    moved: list[bool] = []

    async def work(address: str) -> None:
        host, _, port = address.rpartition(":")
        async with working(config(tmp_path, address)) as runtime:
            loop = asyncio.get_running_loop()
            like = Probed(0, host, int(port), "ONLINE", False, 0, 1)

            def late(runtime: Runtime, before: Config, wanted: Config) -> Any:
                made = original(runtime, before, wanted)
                if not moved:
                    moved.append(True)
                    place = asyncio.run_coroutine_threadsafe(_place(runtime), loop)
                    place.result(5)
                return made

            async def _place(runtime: Runtime) -> None:
                Watched(runtime).place([Add(9, like)])

            monkeypatch.setattr(control_module, "prepare", late)
            users = [row("mysql_users", **ANN), row("mysql_users", username="bob")]
            await runtime.port.load("mysql_users", {"mysql_users": users})
            servers = runtime.port.rows("mysql_servers")["mysql_servers"]
            assert sorted(r["hostgroup_id"] for r in servers) == [0, 9]
            assert len(runtime.config.mysql_users) == 2

    with FakeBackend() as backend:
        run(work(backend.address))


def test_what_is_refused_changes_nothing(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(config(tmp_path, address)) as runtime:
            before = runtime.config
            wrong = row("mysql_query_rules", rule_id=1, active=1, match_pattern="(")
            with pytest.raises(ConfigError):
                await runtime.port.load("mysql_query_rules", {"mysql_query_rules": [wrong]})
            assert runtime.config is before
            begin = monotonic()
            await runtime.port.load("mysql_users", {"mysql_users": [row("mysql_users", **ANN)]})
            assert monotonic() - begin < 5, "nobody's turn is kept"

    with FakeBackend() as backend:
        run(work(backend.address))


def test_no_password_of_a_user_is_shown(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(config(tmp_path, address)) as runtime:
            told = '{"additional_password": "secret2", "comment": "c"}'
            user = row("mysql_users", username="ann", password="secret1", attributes=told)
            await runtime.port.load("mysql_users", {"mysql_users": [user]})
            shown = str(runtime.port.read("runtime_mysql_users"))
            assert "secret1" not in shown
            assert "secret2" not in shown
            assert shown.count(hashed("secret2")) == 2
            (kept,) = runtime.port.rows("mysql_users")["mysql_users"]
            assert kept["attributes"] == told, "what SAVE FROM RUNTIME takes"

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_backend_that_is_gone_is_not_remembered(run: Run, tmp_path: Path) -> None:
    """Its greeting may come late."""

    async def work(address: str) -> None:
        async with working(config(tmp_path, address)) as runtime:
            services = runtime.services
            (gone,) = services.topology.backends
            await runtime.port.load("mysql_servers", {"mysql_servers": []})
            services.hear(gone, object())
            assert services.profiles == {}

    with FakeBackend() as backend:
        run(work(backend.address))


def test_the_service_is_asked_as_one_worker(run: Run, tmp_path: Path) -> None:
    """The coroutines of the port: whoever uses them need not know how many workers there are."""

    async def work(address: str) -> None:
        async with working(config(tmp_path, address)) as runtime:
            port = runtime.port
            status = await port.status()
            assert (status["ready"], status["reasons"], status["sessions"]) == (True, [], 0)
            assert [each["role"] for each in status["processes"]] == ["single"]
            assert await port.reading("runtime_mysql_users") == port.read("runtime_mysql_users")
            names = [name for name, _ in await port.reading("stats_mysql_global")]
            assert "Questions" in names
            assert (await port.measured()).totals.keys() == set(names)
            assert await port.reading("stats_mysql_query_digest") == []
            version = status["config_version"]
            await port.load("mysql_users", {"mysql_users": [row("mysql_users", **ANN)]})
            await port.order("pause")
            status = await port.status()
            assert (status["ready"], status["reasons"]) == (False, ["paused"])
            assert status["config_version"] == version + 1
            with pytest.raises(AdminError, match="no such table"):
                await port.reading("nonsense")

    with FakeBackend() as backend:
        run(work(backend.address))
