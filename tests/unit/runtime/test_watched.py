# SPDX-License-Identifier: Apache-2.0
"""What monitors do to a worker."""

from __future__ import annotations

from pathlib import Path

from hproxy.config.schema import Config
from hproxy.health import Add, Remove
from hproxy.runtime import Runtime
from hproxy.runtime.watched import Watched
from hproxy.topology import Status
from tests.support.worker import configuration, working
from tests.unit.conftest import Run

WRITER, READER = 10, 20


def config(folder: Path) -> Config:
    return configuration(
        folder,
        mysql_servers=[
            {"hostgroup_id": WRITER, "hostname": "127.0.0.1", "port": 1, "weight": 7},
            {"hostgroup_id": READER, "hostname": "127.0.0.1", "port": 2},
        ],
        mysql_replication_hostgroups=[{"writer_hostgroup": WRITER, "reader_hostgroup": READER}],
    )


def members(runtime: Runtime) -> set[tuple[int, int, int]]:
    return {(b.hostgroup, b.port, b.weight) for b in runtime.services.topology.backends}


def test_a_writer_becomes_a_reader(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        async with working(config(tmp_path)) as runtime:
            watched = Watched(runtime)
            writer, reader = watched.view().servers
            # As ReadOnlyCheck orders them: what the new row is like has gone by then.
            watched.place([Remove(writer), Add(READER, writer)])
            assert members(runtime) == {(READER, 1, 7), (READER, 2, 1)}
            watched.place([Remove(reader), Add(WRITER, reader)])
            assert members(runtime) == {(READER, 1, 7), (WRITER, 2, 1)}

    run(work())


def test_one_that_is_gone_meanwhile_is_not_added(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        async with working(config(tmp_path)) as runtime:
            watched = Watched(runtime)
            _, reader = watched.view().servers
            watched.place([Remove(reader)])
            watched.place([Add(WRITER, reader)])
            assert members(runtime) == {(WRITER, 1, 7)}

    run(work())


def test_an_address_is_one_server(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        async with working(config(tmp_path)) as runtime:
            watched, topology = Watched(runtime), runtime.services.topology
            writer, _ = watched.view().servers
            watched.place([Add(READER, writer)])
            watched.shun(writer.host, writer.port, "3 pings in a row failed")
            both = topology.at(writer.host, writer.port)
            assert [topology.status(b) for b in both] == [Status.SHUNNED] * 2
            watched.back(writer.host, writer.port)
            assert [topology.status(b) for b in both] == [Status.ONLINE] * 2
            watched.answered(writer.host, writer.port, 0.25)
            assert [topology.latency[b] for b in both] == [0.25] * 2
            assert runtime.services.sources.latencies == {("127.0.0.1", 1): 250_000}

    run(work())
