# SPDX-License-Identifier: Apache-2.0
"""Limits and timeouts: what a client is told, that the place is given back, and no spinning."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic

import pymysql
import pytest

from hproxy.protocols.mysql.wire import MalformedPacket, frames
from tests.support.fake_backend import FakeBackend, frame
from tests.support.process import cpu_seconds, descriptors, eventually
from tests.support.rude_client import CLOSED, Answer, RudeClient
from tests.support.scene import Scene
from tests.support.server import Server

TIMED_OUT = Answer(1159, "08S01")
SOON_S = 10.0
USER = {"username": "hproxy", "password": "hproxy"}


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    with FakeBackend() as backend:
        yield backend


# -- time --------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["relay", "table"])
def test_client_that_says_nothing(auth: str, tmp_path: Path, backend: FakeBackend) -> None:
    users = [USER] if auth == "table" else []
    with Scene(tmp_path, backend.address, users=users, login_timeout_ms=1000) as scene:
        begun = monotonic()
        assert scene.client().endings() == (TIMED_OUT, CLOSED)
        assert 0.9 < monotonic() - begun < SOON_S
        scene.told("client.timeout", "login failed")


def test_client_of_one_byte_a_second(tmp_path: Path, backend: FakeBackend) -> None:
    """Every byte is a sign of life, and none of them buys more time."""
    with Scene(tmp_path, backend.address, login_timeout_ms=1500) as scene:
        client = scene.client()
        login = b"".join(frames(client.response(), 1))
        client.sock.settimeout(0.1)
        seen = None
        for byte in login:
            client.sock.sendall(bytes([byte]))
            try:
                seen = client.ending()
                break
            except TimeoutError:
                continue
        assert seen == TIMED_OUT
        scene.told("client.timeout", "login failed")


def test_idle_client(tmp_path: Path, backend: FakeBackend) -> None:
    with Scene(tmp_path, backend.address, witness=False, idle_timeout_sec=1) as scene:
        client = scene.client().log_in()
        client.query("hello")
        begun = monotonic()
        assert client.ending() == CLOSED
        assert 0.9 < monotonic() - begun < SOON_S
        scene.told("client.idle", "idle timeout")


def test_half_a_command_is_idle(tmp_path: Path, backend: FakeBackend) -> None:
    with Scene(tmp_path, backend.address, witness=False, idle_timeout_sec=1) as scene:
        client = scene.client().log_in()
        client.sock.sendall(frame(b"\x03hello", 0, length=100))
        assert client.ending() == CLOSED
        scene.told("client.idle", "idle timeout")


def test_long_query_is_not_idle(tmp_path: Path, mariadb: Server) -> None:
    with Scene(tmp_path, mariadb.address, witness=False, idle_timeout_sec=1) as scene:
        client = scene.client().log_in()
        assert client.query("SELECT SLEEP(3)") == [b"\x010"]
        assert scene.silent()


# -- places ------------------------------------------------------------------------


def test_too_many_connections(tmp_path: Path, backend: FakeBackend) -> None:
    """1040 is the first packet: no greeting, so that every driver understands it."""
    with Scene(tmp_path, backend.address, server={"max_connections": 3}) as scene:
        one, two = scene.client().log_in(), scene.client().log_in()
        refused = scene.client()
        packet = refused.read_packet()
        assert packet[:3] == b"\xff\x10\x04"
        assert refused.sequence == 1  # it was numbered 0, as a greeting is
        assert refused.ending() == CLOSED
        scene.told("client.limit", "too many connections")
        with pytest.raises(pymysql.err.OperationalError) as driver:
            pymysql.connect(host=scene.proxy.host, port=scene.proxy.port, user="hproxy")
        assert driver.value.args[0] == 1040
        one.quit()
        two.reset()
        scene.proxy.wait_until(
            lambda: len(scene.proxy.lines("session ended")) == 2, "both places are free"
        )
        for _ in range(2):
            assert scene.client().log_in().query("hello")


def test_silent_clients_hold_places_only_until_the_login_timeout(
    tmp_path: Path, backend: FakeBackend
) -> None:
    with Scene(
        tmp_path, backend.address, server={"max_connections": 3}, login_timeout_ms=1000
    ) as scene:
        silent = [scene.client(), scene.client()]
        assert [client.endings()[0] for client in silent] == [TIMED_OUT] * 2
        assert scene.client().log_in().query("hello")


def test_user_with_too_many_connections(tmp_path: Path, backend: FakeBackend) -> None:
    with Scene(
        tmp_path,
        backend.address,
        users=[{**USER, "max_connections": 2}],
        default_auth_plugin="mysql_native_password",
    ) as scene:
        second = scene.client().log_in()
        third = scene.client()
        third.write_packet(third.response())
        assert third.endings() == (Answer(1226, "42000"), CLOSED)
        scene.told("client.user_limit", "login failed")
        second.quit()
        scene.proxy.wait_for_log("session ended", since=scene.since)
        assert scene.client().log_in().query("hello")


def test_backend_with_too_many_connections(tmp_path: Path, backend: FakeBackend) -> None:
    """mysql_servers.max_connections: no room is an answer, not a wait for a timeout."""
    with Scene(tmp_path, backend.address, backend_limit=2) as scene:
        second = scene.client().log_in()
        begun = monotonic()
        assert scene.client().endings() == (Answer(9002, "HY000"), CLOSED)
        assert monotonic() - begun < SOON_S
        assert "max_connections" in scene.told("pool.connect", "login failed")["reason"]
        second.quit()
        scene.proxy.wait_for_log("session ended", since=scene.since)
        assert scene.client().log_in().query("hello")


# -- file descriptors ----------------------------------------------------------------


def test_no_descriptors_left(tmp_path: Path, backend: FakeBackend) -> None:
    """Accepting pauses without burning time, sessions go on, and it resumes by itself."""
    with Scene(tmp_path, backend.address) as scene, ExitStack() as stack:
        pid = scene.proxy.pid
        room = descriptors(pid) + 20
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, room))
        crowd = [
            stack.enter_context(RudeClient(scene.proxy.host, scene.proxy.port)) for _ in range(60)
        ]
        scene.proxy.wait_for_log("accepting paused", since=scene.since, code="client.descriptors")
        for _ in range(100):
            scene.check_witness()
        assert not spins(pid)
        for client in crowd:
            client.close()
        eventually(lambda: descriptors(pid) <= room - 20, "the crowd is gone")
        # Those of the crowd that nobody had accepted come first, and may use up what there is.
        eventually(lambda: is_served(scene), "a client is served")
        assert len(scene.proxy.lines("accepting paused")) == 1
        # Whoever got in but found no descriptor for its backend is told; no backend is blamed.
        for line in scene.proxy.lines("backend not reachable"):
            assert line["code"] == "pool.connect.local"


def is_served(scene: Scene) -> bool:
    with suppress(OSError, MalformedPacket):
        return bool(scene.client().log_in().query("hello"))
    return False


def spins(pid: int) -> bool:
    """Whether it uses more than a twentieth of a CPU while nothing happens."""
    before, begun = cpu_seconds(pid), monotonic()
    eventually(lambda: monotonic() - begun > 1, "a second passes")
    return cpu_seconds(pid) - before > 0.05
