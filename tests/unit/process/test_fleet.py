# SPDX-License-Identifier: Apache-2.0
"""A head and its workers in one process, each with its end of a channel: as if they were apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hproxy.config import snapshot
from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.schema import Config
from hproxy.errors import AdminError, ConfigError
from hproxy.health import Add
from hproxy.health import Server as Probed
from hproxy.process.channel import Channel, Facts, Message, pair
from hproxy.process.leader import Led
from hproxy.process.responder import Responder
from hproxy.runtime import Runtime
from hproxy.telemetry.numbered_file import Share
from hproxy.topology import Backend, Status
from tests.support.fake_backend import FakeBackend
from tests.support.worker import HERE, Journal, call, configuration, refused
from tests.unit.conftest import Run

ANN = {"username": "ann", "password": "pw"}
BOB = {"username": "bob", "password": "pw"}


def row(table: str, **values: Any) -> dict[str, Any]:
    return {column.name: column.initial for column in CONFIG_TABLES[table].columns} | values


class Angel:
    """Remembers what it is told, and does nothing."""

    def __init__(self, sock: Any) -> None:
        self.told: list[tuple[str, Facts]] = []
        self.refuse = ""
        self.channel = Channel(sock, self._hear, name="head")

    def _hear(self, _: Channel, message: Message) -> Facts | None:
        self.told.append((message.verb, message.facts))
        if self.refuse and message.verb == "open":
            raise ConfigError(self.refuse)
        answers: dict[str, Facts] = {
            "order": {"told": ""},
            "processes": {"processes": []},
            "open": {"addresses": []},
        }
        return answers.get(message.verb)

    def of(self, verb: str) -> list[Facts]:
        return [facts for told, facts in self.told if told == verb]


class Service:
    """One head, two workers, on one loop."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.log = Journal()
        head, angel = pair()
        self.angel = Angel(angel)
        self._channel = Channel(head, lambda *_: None, name="angel")
        self.workers: dict[int, tuple[Runtime, Responder]] = {}
        self.config = config
        self.led = self.lead(config, 1)

    def lead(self, config: Config, version: int) -> Led:
        return Led(config, self._channel, self.log, version=version, share=Share.FIRST)

    def worker(self, slot: int, config: Config | None = None, version: int = 1) -> Runtime:
        runtime = Runtime(config or self.config, self.log, slot=slot, share=Share.FOLLOWER)
        runtime.start()
        self.workers[slot] = runtime, Responder(runtime, slot=slot, version=version)
        return runtime

    def introduce(self, slot: int) -> None:
        one, other = pair()
        self.workers[slot][1].attach(other)
        self.led.fleet.attach(slot, one)

    @property
    def runtimes(self) -> list[Runtime]:
        return [runtime for runtime, _ in self.workers.values()]

    async def in_step(self) -> None:
        """Everybody attached is up to date."""
        await until(lambda: not self.led.fleet._tasks)
        async with self.led.fleet.turn:
            await self.led.fleet.answers("state")

    async def stop(self) -> None:
        await self.led.stop()
        for runtime, responder in self.workers.values():
            responder.close()
            await runtime.stop()
        self.angel.channel.close()
        self._channel.close()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 (nobody would set an event)
            await asyncio.sleep(0.005)


def is_online(runtime: Runtime, backend: Backend) -> bool:
    return runtime.services.topology.status(backend) is Status.ONLINE


def config(folder: Path, address: str, **more: Any) -> Config:
    host, _, port = address.rpartition(":")
    return configuration(
        folder,
        mysql_servers=[{"hostname": host, "port": int(port)}],
        mysql_users=[ANN],
        **{"proxy": {"session_mode": "multiplex"}} | more,
    )


@asynccontextmanager
async def serving(folder: Path, address: str, **more: Any) -> AsyncIterator[Service]:
    service = Service(folder, config(folder, address, **more))
    try:
        for slot in (0, 1):
            service.worker(slot)
            service.introduce(slot)
        await service.in_step()
        yield service
    finally:
        await service.stop()
    assert service.log.told("internal error") == []


def test_a_load_reaches_all_workers_and_whoever_starts_later(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            port = service.led.port
            users = [row("mysql_users", **each) for each in (ANN, BOB)]
            report = await port.load("mysql_users", {"mysql_users": users})
            assert report.changed == 1
            for runtime in service.runtimes:
                (await call(runtime, "bob")).close()
            await until(lambda: service.angel.of("snapshot"))
            (told,) = service.angel.of("snapshot")
            assert told["version"] == port.control.version == 2
            assert len(snapshot.load(told["text"]).mysql_users) == 2
            assert len(await port.reading("runtime_mysql_users")) == 4
            # One that was away begins on what it had, and becomes what the others are.
            late = service.worker(2)
            await refused(late, "bob")
            service.introduce(2)
            await service.in_step()
            assert late.port.control.version == 2
            (await call(late, "bob")).close()

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_refusal_by_anybody_changes_nothing(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            port, (first, second) = service.led.port, service.runtimes
            users = {"mysql_users": [row("mysql_users", **BOB)]}
            before = [runtime.config for runtime in service.runtimes]

            async def take(*_: Any) -> Any:
                raise ConfigError("no room", key="mysql_users")

            second.port.control.take = take  # type: ignore[method-assign, assignment]
            with pytest.raises(ConfigError, match="no room"):
                await port.load("mysql_users", users)
            assert [runtime.config.mysql_users for runtime in service.runtimes] == [
                each.mysql_users for each in before
            ]
            assert service.led.model.config is before[0] or service.led.version == 1
            assert first.port.control.version == 1
            (await call(first, "ann")).close()
            assert service.angel.of("snapshot") == []
            del second.port.control.take
            service.angel.refuse = "cannot listen"
            rows = port.rows("mysql_variables")["global_variables"]
            for each in rows:
                if each["variable_name"] == "mysql-interfaces":
                    each["variable_value"] = f"{HERE}:1"
            with pytest.raises(ConfigError, match="cannot listen"):
                await port.load("mysql_variables", {"global_variables": rows})
            await until(lambda: len(service.angel.of("keep")) == 2)
            assert service.angel.of("keep")[-1] == {"addresses": [f"{HERE}:0"]}
            assert service.led.version == 1

    with FakeBackend() as backend:
        run(work(backend.address))


def test_numbers_are_sums_and_sessions_those_of_all(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            port = service.led.port
            callers = [await call(runtime) for runtime in service.runtimes for _ in range(2)]
            for caller in callers:
                await caller.query("SELECT 1")
            totals = dict(await port.reading("stats_mysql_global"))
            assert totals["Questions"] == "4"
            assert totals["Client_Connections_connected"] == "4"
            assert totals["MySQL_Thread_Workers"] == "2"
            assert totals["Client_Connections_created"] == "4"
            processes = await port.reading("stats_mysql_processlist")
            assert [each[0] for each in processes] == [0, 0, 1, 1]
            assert len({each[1] for each in processes}) == 4
            (user,) = await port.reading("stats_mysql_users")
            assert user[:2] == ("ann", 4)
            (digest,) = await port.reading("stats_mysql_query_digest")
            assert digest[6] == 4
            measured = await port.measured()
            assert measured.totals["Questions"] == 4
            assert [(s.status, s.queries) for s in measured.servers] == [("ONLINE", 4)]
            status = await port.status()
            assert (status["ready"], status["sessions"]) == (True, 4)
            (pool,) = await port.reading("stats_mysql_connection_pool_reset")
            assert pool[9] == 4
            (pool,) = await port.reading("stats_mysql_connection_pool")
            assert pool[9] == 0
            for caller in callers:
                caller.close()

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_kill_finds_the_session_wherever_it_is(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            port, (first, second) = service.led.port, service.runtimes
            one, other = await call(first), await call(second)
            ids = [int(each[1]) for each in await port.reading("stats_mysql_processlist")]
            await port.order("kill_connection", str(ids[1]))
            assert await other.ending()
            await until(lambda: not len(second.services.registry))
            with pytest.raises(AdminError, match="Unknown thread id: 77") as caught:
                await port.order("kill_connection", "77")
            assert caught.value.facts["number"] == 1094
            # A client may kill its own user's sessions in other workers, and no others.
            third = await call(second)
            (number,) = [c.id for c in second.services.registry]
            assert (await one.ask(f"\x03KILL {number}".encode()))[0] == 0
            assert await third.ending()
            assert (await one.ask(f"\x03KILL {number}".encode()))[0] == 0xFF
            one.close()

    with FakeBackend() as backend:
        run(work(backend.address))


def test_what_one_sees_of_a_server_all_know(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            led, (first, second) = service.led, service.runtimes
            topologies = [r.services.topology for r in (led.model, first, second)]
            (backend,) = first.services.topology.backends

            def all_are(status: Status) -> bool:
                return all(t.status(backend) is status for t in topologies)

            now = asyncio.get_running_loop().time()
            for _ in range(10):
                first.services.topology.failed(backend, "refused", now)
            await until(lambda: all_are(Status.SHUNNED))
            second.services.topology.opened(backend)
            await until(lambda: all_are(Status.ONLINE))
            led.watched.shun(backend.host, backend.port, "silent")
            await until(lambda: all_are(Status.SHUNNED))
            led.watched.back(backend.host, backend.port)
            await until(lambda: all_are(Status.ONLINE))
            assert await led.port.setting_status(0, str(backend), "OFFLINE_SOFT") == 1
            assert all_are(Status.OFFLINE_SOFT)
            like = Probed(0, backend.host, backend.port)
            led.watched.place([Add(9, like)])
            await until(lambda: all(r.port.control.version == 2 for r in service.runtimes))
            for topology in topologies:
                assert {b.hostgroup for b in topology.backends} == {0, 9}

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_new_head_learns_from_the_workers(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            led, runtimes = service.led, service.runtimes
            (backend,) = led.model.services.topology.backends
            led.watched.shun(backend.host, backend.port, "silent")
            users = [row("mysql_users", **each) for each in (ANN, BOB)]
            await led.port.load("mysql_users", {"mysql_users": users})
            await until(lambda: service.angel.of("snapshot"))
            await led.stop()
            told = service.angel.of("snapshot")[-1]
            service.led = led = service.lead(snapshot.load(told["text"]), told["version"])
            for slot in service.workers:
                service.introduce(slot)
            await service.in_step()
            assert led.model.services.topology.status(backend) is Status.SHUNNED
            assert len(led.model.config.mysql_users) == 2
            assert [r.port.control.version for r in runtimes] == [led.version] * 2
            # Its monitors have never said that the server is silent, and yet take it back.
            led.watched.answered(backend.host, backend.port, 0.001)
            for runtime in (led.model, *runtimes):
                await until(partial(is_online, runtime, backend))

    with FakeBackend() as backend:
        run(work(backend.address))


def test_orders_go_where_they_belong(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with serving(tmp_path, address) as service:
            port = service.led.port
            await port.order("pause")
            assert all(runtime.listeners.paused for runtime in service.runtimes)
            assert (await port.status())["reasons"] == ["paused"]
            with pytest.raises(AdminError, match="already paused"):
                await port.order("pause")
            await port.order("resume")
            assert not any(runtime.listeners.paused for runtime in service.runtimes)
            with pytest.raises(AdminError, match="is not paused"):
                await port.order("resume")
            assert await port.order("flush_query_cache") == "0 results dropped"
            await port.order("readonly")
            for runtime in service.runtimes:
                assert runtime.services.variables.flag("admin-read_only")
            await port.order("drain", "3")
            asked = [(each["name"], each["arguments"]) for each in service.angel.of("order")]
            assert asked == [("pause", []), ("resume", []), ("drain", ["3"])]
            with pytest.raises(AdminError, match="no such order"):
                await port.order("nonsense")

    with FakeBackend() as backend:
        run(work(backend.address))


def test_what_sessions_miss_monitors_hear_of(run: Run, tmp_path: Path) -> None:
    """A writer that refuses writes, a hostgroup without one: said in a worker, looked at here."""
    heard: list[Any] = []

    class Roles:
        def refuses_writes(self, backend: Backend, /) -> bool:
            heard.append((backend.hostgroup, str(backend)))
            return True

        def wanted(self, hostgroup: int, /) -> None:
            heard.append(hostgroup)

    async def work(address: str) -> None:
        pair = {"writer_hostgroup": 0, "reader_hostgroup": 1}
        async with serving(tmp_path, address, mysql_replication_hostgroups=[pair]) as service:
            service.led.model.services.roles = Roles()
            roles = service.runtimes[1].services.roles
            assert roles is not None
            (backend,) = service.runtimes[1].services.topology.backends
            assert roles.refuses_writes(backend)
            roles.wanted(0)
            await until(lambda: len(heard) == 2)
            assert heard == [(0, str(backend)), 0]
            await service.led.fleet.close()
            await until(lambda: not roles.refuses_writes(backend))  # nobody is there to see to it

    with FakeBackend() as backend:
        run(work(backend.address))
    heard.clear()
