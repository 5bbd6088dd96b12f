# SPDX-License-Identifier: Apache-2.0
"""What stands beside a worker: the admin port, and samples over time, from the first start on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw

from hproxy.config.schema import Config
from hproxy.config.store import Store
from hproxy.process.head import Head, Origin
from hproxy.runtime.sampling import FILE
from tests.support.worker import HERE, Journal, configuration, working
from tests.unit.conftest import Run

ANN = {"username": "ann", "password": "pw"}


def config(folder: Path, **sections: object) -> Config:
    admin = {"address": f"{HERE}:0"}
    servers = [{"hostname": HERE, "port": 3306}]
    return configuration(
        folder, **{"admin": admin, "mysql_servers": servers, "mysql_users": [ANN]} | sections
    )


def test_samples_and_the_console_share_a_new_file(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        async with working(config(tmp_path)) as runtime:
            runtime.log = journal = Journal()
            store = Store.open(tmp_path / "store.db")
            head = Head(runtime, store, Origin(), journal)
            await head.start()
            try:
                assert journal.told("history not written") == []
                file = apsw.Connection(str(tmp_path / FILE), flags=apsw.SQLITE_OPEN_READONLY)
                assert file.execute("SELECT count(*) FROM mysql_connections").get == 1
                file.close()
                assert journal.told("admin port open")
            finally:
                await head.stop()

    run(work())


def test_a_reload_under_way_is_finished_before_the_end(run: Run, tmp_path: Path) -> None:
    """HUP and at once TERM: what it works with is there until it has answered."""

    async def work() -> None:
        file = tmp_path / "hproxy.toml"
        file.write_text(
            f'[server]\nlisten_addr = "{HERE}:0"\ndata_dir = "{tmp_path}"\n'
            '[proxy]\nmode = "mysql"\n[[mysql_servers]]\nhostname = "db"\n'
        )
        async with working(config(tmp_path)) as runtime:
            store = Store.open(tmp_path / "store.db")
            head = Head(runtime, store, Origin(path=file), Journal())
            await head.start()
            reload = asyncio.ensure_future(head.reload())
            await asyncio.sleep(0)  # it has begun
            assert not reload.done()
            await head.stop()
            assert "rows changed" in reload.result().text

    run(work())


def test_modules_of_variables_are_two(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        async with working(config(tmp_path)) as runtime:
            for module, prefix in (("mysql_variables", "mysql-"), ("admin_variables", "admin-")):
                rows = runtime.port.rows(module)["global_variables"]
                assert rows
                assert {row["variable_name"][:6] for row in rows} == {prefix}

    run(work())


def test_a_load_warns_of_its_own_rows_and_of_what_it_brought_about(
    run: Run, tmp_path: Path
) -> None:
    async def work() -> None:
        doubtful = config(tmp_path, mysql_users=[ANN | {"default_hostgroup": 7}])
        async with working(doubtful) as runtime:
            port = runtime.port
            report = await port.load("mysql_users", port.rows("mysql_users"))
            (warning,) = report.warnings
            assert warning.startswith("mysql_users[0].default_hostgroup: no server is in this")
            report = await port.load("mysql_variables", port.rows("mysql_variables"))
            assert report.warnings == (), "nothing of its doing"
            report = await port.load("mysql_servers", {"mysql_servers": []})
            assert "no backend is left" in report.warnings[-1]

    run(work())
