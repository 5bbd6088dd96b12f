# SPDX-License-Identifier: Apache-2.0
"""Another configuration under a running worker: what acts, what stays, what is refused."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from hproxy.config.schema import Config
from hproxy.errors import ConfigError
from hproxy.runtime.apply import apply, restart_keys
from hproxy.runtime.tables.totals import metrics
from hproxy.topology import Status
from tests.support.fake_backend import FakeBackend
from tests.support.worker import HERE, call, configuration, refused, working
from tests.unit.conftest import Run, until

ANN = {"username": "ann", "password": "pw"}


def server(address: str, **more: Any) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"hostname": host, "port": int(port)} | more


def config(folder: Path, *servers: dict[str, Any], **sections: Any) -> Config:
    return configuration(folder, **{"mysql_servers": servers, "mysql_users": [ANN]} | sections)


def test_sessions_stay_while_backends_change(run: Run, tmp_path: Path) -> None:
    async def work(first: str, second: str) -> None:
        async with working(config(tmp_path, server(first))) as runtime:
            caller = await call(runtime)
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            apply(runtime, config(tmp_path, server(second, weight=3)))
            topology = runtime.services.topology
            assert [str(b) for b in topology.backends] == [second]
            assert await caller.query("SELECT 2") == [b"\x04fine"], "it drains"
            later = await call(runtime)
            assert await later.query("SELECT 3") == [b"\x04fine"]
            assert later is not None
            (backend,) = topology.backends
            assert topology.connections[backend] == 1
            caller.close()
            await until(lambda: len(topology.connections) == 1)
            later.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as one, FakeBackend() as two:
        run(work(one.address, two.address))


def test_accounts(run: Run, tmp_path: Path) -> None:
    bob = {"username": "bob", "password": "secret"}

    async def work(address: str) -> None:
        async with working(config(tmp_path, server(address))) as runtime:
            caller = await call(runtime)
            assert (await refused(runtime, "bob", "secret"))[0] == 1045
            changed = ANN | {"password": "other", "max_connections": 1}
            apply(runtime, config(tmp_path, server(address), mysql_users=[changed, bob]))
            assert await caller.query("SELECT 1") == [b"\x04fine"], "logged in is logged in"
            assert (await refused(runtime, "ann", "pw"))[0] == 1045
            assert (await refused(runtime, "ann", "other"))[0] == 1226, "who is in counts"
            (await call(runtime, "bob", "secret")).close()
            caller.close()
            await until(lambda: not len(runtime.services.registry))
            (await call(runtime, "ann", "other")).close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend:
        run(work(backend.address))


def test_relay_becomes_table_with_the_first_account(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        alone = configuration(tmp_path, mysql_servers=[server(address)])
        async with working(alone) as runtime:
            assert runtime.config.auth_mode == "relay"
            assert not runtime.services.profiles
            apply(runtime, config(tmp_path, server(address)))
            await until(lambda: len(runtime.services.profiles) == 1)  # greeted with what it can
            assert (await refused(runtime, "eve", "pw"))[0] == 1045
            caller = await call(runtime)
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            caller.close()
            await until(lambda: not len(runtime.services.registry))

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_refused_address_changes_nothing(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(config(tmp_path, server(address))) as runtime:
            before = runtime.config
            with socket.socket() as taken:
                taken.bind((HERE, 0))
                taken.listen()
                where = f"{HERE}:{taken.getsockname()[1]}"
                wanted = config(tmp_path, server(address, status="OFFLINE_SOFT"))
                wanted = wanted.model_copy(
                    update={"server": wanted.server.model_copy(update={"listen_addr": where})}
                )
                with pytest.raises(ConfigError, match="cannot listen"):
                    apply(runtime, wanted)
            assert runtime.config is before
            (backend,) = runtime.services.topology.backends
            assert runtime.services.topology.status(backend) is Status.ONLINE

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_refused_certificate_changes_nothing(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(config(tmp_path, server(address))) as runtime:
            shown = runtime.services.certificate
            with pytest.raises(ConfigError, match="cannot use the certificate"):
                apply(
                    runtime,
                    config(tmp_path, server(address), tls={"cert": tmp_path / "nothing.pem"}),
                )
            assert runtime.services.certificate == shown

    with FakeBackend() as backend:
        run(work(backend.address))


def test_options_reach_running_sessions(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        multiplex = {"session_mode": "multiplex"}
        async with working(config(tmp_path, server(address), proxy=multiplex)) as runtime:
            wanted = multiplex | {"connect_timeout_max_ms": 4000, "read_your_writes_ms": 0}
            apply(runtime, config(tmp_path, server(address), proxy=wanted))
            assert runtime.services.settings.connect_timeout_max == 4.0
            assert runtime.services.sharing.pools.settings.read_your_writes == 0

    with FakeBackend() as backend:
        run(work(backend.address))


def test_what_takes_a_restart_is_named(tmp_path: Path) -> None:
    before = configuration(tmp_path, "db:1")
    after = configuration(
        tmp_path, "db:1", server={"worker_threads": 3}, logging={"format": "json", "level": "warn"}
    )
    assert tuple(restart_keys(before, after)) == ("server.worker_threads", "logging.format")


def test_offline_hard_cuts_and_offline_soft_does_not(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(config(tmp_path, server(address))) as runtime:
            caller = await call(runtime)
            apply(runtime, config(tmp_path, server(address, status="OFFLINE_SOFT")))
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            apply(runtime, config(tmp_path, server(address, status="OFFLINE_HARD")))
            await until(lambda: not len(runtime.services.registry))
            assert (await caller.ending())[0] == 0
            caller.close()

    with FakeBackend() as backend:
        run(work(backend.address))


def test_totals_only_grow(run: Run, tmp_path: Path) -> None:
    async def work(first: str, second: str) -> None:
        shared = {"session_mode": "multiplex"}
        async with working(config(tmp_path, server(first), proxy=shared)) as runtime:
            caller = await call(runtime)
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            before = metrics(runtime)
            apply(runtime, config(tmp_path, server(second), proxy=shared))
            caller.close()
            pools = runtime.services.sharing.pools
            await until(lambda: not pools.leaving or pools.tick())
            after = metrics(runtime)
            assert [str(b) for b in pools.servers] == [second], "the first is gone"
            for name in (
                "Server_Connections_created",
                "Queries_backends_bytes_sent",
                "Queries_backends_bytes_recv",
                "MyHGM_myconnpoll_destroy",
            ):
                assert after[name] >= before[name], name
            assert after["Server_Connections_created"] == 1

    with FakeBackend() as one, FakeBackend() as two:
        run(work(one.address, two.address))
