# SPDX-License-Identifier: Apache-2.0
"""One worker from start to drained: who is let in, who is turned away, what is kept."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from hproxy._native.acceptor import accept as native_accept
from hproxy._native.channel import Channel
from hproxy._native.endpoint import Endpoint
from hproxy.config import section
from hproxy.errors import ConfigError, HProxyError
from hproxy.net import listener
from hproxy.net.resolver import connect
from hproxy.runtime import Runtime
from tests.support.fake_backend import Connection, FakeBackend, result
from tests.support.worker import HERE, Journal, call, configuration, refused, working
from tests.unit.conftest import Run, until

KEYS = ["rsa-private-key.pem", "server-cert.pem", "server-key.pem"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# -- serving ------------------------------------------------------------------


def test_a_client_is_served(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            caller = await call(runtime)
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            assert await caller.query("SELECT 2") == [b"\x04fine"]
            services = runtime.services
            assert (len(services.registry), services.reactor.size) == (1, 3)
            caller.close()
            await until(lambda: not len(services.registry))
            totals = services.registry.totals
            assert (totals.accepted, totals.logins, totals.commands) == (1, 1, 2)
            assert totals.bytes_from_clients > 0
            assert totals.bytes_to_clients > 0
        assert journal.loud == []

    with FakeBackend() as backend:
        run(work(backend.address))


def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"

    async def work(address: str) -> None:
        config = configuration(tmp_path, address, server={"listen_addr": str(path)})
        async with working(config) as runtime:
            fd = await connect("", 0, path=str(path))
            channel = Channel(Endpoint(runtime.services.reactor, fd), "backend", 1024)
            assert (await channel.read_packet())[0] == 10
            channel.close()
            await until(lambda: not len(runtime.services.registry))
        assert not path.exists()

    with FakeBackend() as backend:
        run(work(backend.address))


def test_one_more_than_max_connections_is_refused(run: Run, tmp_path: Path) -> None:
    journal = Journal()

    async def work(address: str) -> None:
        config = configuration(tmp_path, address, server={"max_connections": 2})
        async with working(config, journal) as runtime:
            first, second = await call(runtime), await call(runtime)
            assert await refused(runtime) == (1040, "Too many connections")
            registry = runtime.services.registry
            assert (len(registry), registry.totals.refused) == (2, 1)
            first.close()
            await until(lambda: len(registry) == 1)
            third = await call(runtime)
            assert await third.query("SELECT 1") == [b"\x04fine"]
            second.close()
            third.close()
            await until(lambda: not len(registry))
        assert [facts["code"] for _, _, facts in journal.loud] == ["client.limit"]

    with FakeBackend() as backend:
        run(work(backend.address))


def test_accepting_pauses_out_of_descriptors(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PAUSE_SEC", 0.02)
    journal = Journal()

    errors = [errno.EMFILE]

    def accept(listening: int) -> tuple[int, str] | None:
        if errors:
            number = errors.pop()
            raise OSError(number, os.strerror(number))
        return native_accept(listening)

    monkeypatch.setattr(listener, "accept", accept)

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address), journal) as runtime:
            caller = await call(runtime)
            assert await caller.query("SELECT 1") == [b"\x04fine"]
            caller.close()
            await until(lambda: not len(runtime.services.registry))
        (paused,) = journal.told("accepting paused")
        assert paused["code"] == "client.descriptors"
        assert paused["reason"] == "Too many open files"

    with FakeBackend() as backend:
        run(work(backend.address))


# -- start --------------------------------------------------------------------


def test_a_port_in_use_is_the_operators_mistake(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        with socket.create_server((HERE, 0)) as other:
            taken = f"{HERE}:{other.getsockname()[1]}"
            config = configuration(tmp_path, f"{HERE}:1", server={"listen_addr": taken})
            with pytest.raises(ConfigError) as caught:
                async with working(config):
                    raise AssertionError("started")
            assert caught.value.findings[0].key == "server.listen_addr"
            assert caught.value.findings[0].value == taken

    run(work())


def test_a_certificate_that_cannot_be_used_leaves_nothing_open(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        missing = {"client": "preferred", "cert": tmp_path / "no.pem", "key": tmp_path / "no.key"}
        with pytest.raises(ConfigError):
            Runtime(configuration(tmp_path, f"{HERE}:1", tls=missing), Journal())

    run(work())


def test_the_limit_of_descriptors_is_raised(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [100, 500]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.__setitem__(0, wanted[0]))
    journal = Journal()

    async def work(clients: int) -> None:
        config = configuration(tmp_path, f"{HERE}:1", server={"max_connections": clients})
        async with working(config, journal):
            pass

    run(work(200))
    assert limits[0] == 464
    assert journal.loud == []
    run(work(2000))
    assert limits[0] == 500
    (warned,) = journal.told("too few file descriptors for server.max_connections")
    assert (warned["limit"], warned["wanted"]) == (500, 4064)


# -- keys ---------------------------------------------------------------------


def test_keys_are_made_once_and_kept(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    config = configuration(folder, f"{HERE}:1", tls={"client": "preferred"})

    async def work() -> bytes:
        async with working(config) as runtime:
            return runtime.services.certificate

    first = run(work())
    before = files(folder)
    assert run(work()) == first
    assert files(folder) == before
    assert sorted(before) == KEYS
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict(zip(KEYS, (0o600, 0o644, 0o600), strict=True))


@pytest.mark.parametrize("name", ["rsa-private-key.pem", "server-cert.pem"])
def test_a_key_that_is_none_is_the_operators_mistake(run: Run, tmp_path: Path, name: str) -> None:
    async def work() -> None:
        config = configuration(tmp_path, f"{HERE}:1", tls={"client": "preferred"})
        async with working(config):
            pass
        (tmp_path / name).write_text("nonsense")
        with pytest.raises(ConfigError):
            Runtime(config, Journal())

    run(work())


def test_a_default_folder_that_cannot_be_written_is_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(section, "default_data_dir", lambda _: tmp_path / "file" / "hproxy")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    journal = Journal()

    def temporary() -> list[Path]:
        return list(tmp_path.glob("hproxy-*"))

    async def work() -> None:
        config = configuration(tmp_path, f"{HERE}:1", server={"data_dir": None})
        async with working(config, journal):
            (folder,) = temporary()
            assert sorted(files(folder))[0] == "rsa-private-key.pem"
        assert temporary() == []

    run(work())
    ((level, event, facts),) = journal.loud
    assert (level, event.partition(":")[0]) == ("warning", "keys are not kept over a restart")
    assert (facts["reason"], facts["hint"]) == ("Not a directory", "set server.data_dir")


def test_a_configured_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def work() -> None:
        with pytest.raises(ConfigError) as caught:
            Runtime(configuration(tmp_path / "file", f"{HERE}:1"), Journal())
        assert caught.value.findings[0].key == "server.data_dir"

    run(work())


# -- the end ------------------------------------------------------------------


def held(connection: Connection) -> None:
    """Never answers `hold`."""
    connection.log_in()
    while (packet := connection.read_packet()) != b"\x01":
        if packet[1:] == b"hold":
            connection.silence()
        connection.send(result("fine"))


def test_drain_closes_the_idle(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            callers = [await call(runtime) for _ in range(3)]
            port = runtime.listener.port
            assert await runtime.drain(10.0)
            assert runtime.draining
            with pytest.raises(HProxyError, match="refused"):
                await connect(HERE, port)
            for caller in callers:
                assert (await caller.ending())[0] == 0
                caller.close()

    with FakeBackend() as backend:
        run(work(backend.address))


def test_drain_waits_for_commands_until_the_deadline(run: Run, tmp_path: Path) -> None:
    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            idle, busy = await call(runtime), await call(runtime)
            asking = asyncio.ensure_future(busy.query("hold"))
            await until(lambda: any(c.session.state != "idle" for c in runtime.services.registry))
            assert not await runtime.drain(0.2)
            assert len(runtime.services.registry) == 1
            await runtime.stop()
            with pytest.raises(OSError, match="Server shutdown in progress") as caught:
                await asking
            assert caught.value.errno == 1053
            idle.close()
            busy.close()

    with FakeBackend(held) as backend:
        run(work(backend.address))


def test_stop_ends_who_is_logging_in(run: Run, tmp_path: Path) -> None:
    """Nothing is kept open for a client that has not said a word."""

    async def work(address: str) -> None:
        async with working(configuration(tmp_path, address)) as runtime:
            sock = socket.socket(fileno=await connect(HERE, runtime.listener.port))
            await until(lambda: len(runtime.services.registry) == 1)
        sock.settimeout(5)
        with sock:
            while await asyncio.to_thread(sock.recv, 4096):
                pass

    with FakeBackend() as backend:
        run(work(backend.address))


def test_stopping_twice(run: Run, tmp_path: Path) -> None:
    async def work() -> None:
        async with working(configuration(tmp_path, f"{HERE}:1")) as runtime:
            await runtime.stop()

    run(work())
