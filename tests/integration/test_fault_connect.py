# SPDX-License-Identifier: Apache-2.0
"""Backends out of reach or greeting with nonsense: another serves, or the client is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from hproxy.protocols.mysql.replies import ErrPacket
from tests.support.fake_backend import Connection, FakeBackend, Script, frame, serving
from tests.support.process import eventually
from tests.support.rude_client import CLOSED
from tests.support.scene import Scene

TRY_MS = 1000
SOON_S = 10.0  # far below what all timeouts would add up to: the machine may be busy


def full(connection: Connection) -> None:
    connection.send(frame(ErrPacket(1040, b"Too many connections", b"08004").build(), 0))


def garbage(connection: Connection) -> None:
    connection.send(frame(b"\x0anot a version and no NUL" + bytes(range(1, 60)), 0))
    connection.silence()


def a_million_bytes(connection: Connection) -> None:
    connection.send(frame(b"\x0a" + b"9" * 999_999, 0))
    connection.silence()


def other_protocol(connection: Connection) -> None:
    connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def old_protocol(connection: Connection) -> None:
    connection.send(frame(b"\x094.0.27\0", 0))
    connection.silence()


def out_of_order(connection: Connection) -> None:
    connection.send(frame(b"\x0a8.0.39\0", 7))
    connection.silence()


def cut_off(connection: Connection) -> None:
    connection.send(frame(b"\x0a8.0.39\0", 0, length=70))


def empty(connection: Connection) -> None:
    connection.send(frame(b"", 0))
    connection.silence()


def a_byte_at_a_time(connection: Connection) -> None:
    connection.trickle(frame(b"\x0a" + b"8" * 70, 0), every_s=0.1)


BAD: dict[str, tuple[Script, str]] = {
    "full": (full, "pool.connect.refused"),
    "garbage": (garbage, "backend.protocol"),
    "a million bytes": (a_million_bytes, "backend.protocol.oversized"),
    "http": (other_protocol, "backend.protocol.sequence"),
    "protocol 9": (old_protocol, "backend.protocol"),
    "sequence": (out_of_order, "backend.protocol.sequence"),
    "empty": (empty, "backend.protocol"),
    "cut off": (cut_off, "backend.lost"),
    "close": (Connection.close, "backend.lost"),
    "half-close": (Connection.half_close, "backend.lost"),
    "silence": (Connection.silence, "pool.connect.timeout"),
    "a byte at a time": (a_byte_at_a_time, "pool.connect.timeout"),
}


@pytest.fixture
def good() -> Iterator[FakeBackend]:
    with FakeBackend() as backend:
        yield backend


def closed_port() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """An address that never answers a SYN: its queue of one is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


def moves_on(folder: Path, bad: str, good: FakeBackend, code: str) -> None:
    """A client that meets the bad backend first never notices, and no later one meets it."""
    with Scene(
        folder, bad, good.address, connect_timeout_ms=TRY_MS, shun_recovery_time_sec=60
    ) as scene:
        scene.since = 0
        line = scene.told(code, "backend not reachable")
        assert line["backend"] == bad
        assert line["reason"]
        for _ in range(5):
            scene.client().log_in().query("hello")
        scene.told(code)  # still only once: it is shunned
        scene.proxy.wait_until(
            lambda: len(scene.proxy.lines("logged in", backend=good.address)) == 6, "six logins"
        )


@pytest.mark.parametrize("name", BAD)
def test_moves_on_from(name: str, tmp_path: Path, good: FakeBackend) -> None:
    script, code = BAD[name]
    with FakeBackend(script) as bad:
        moves_on(tmp_path, bad.address, good, code)
        assert bad.accepted == 1


def test_moves_on_from_reset(tmp_path: Path, good: FakeBackend) -> None:
    with FakeBackend(Connection.reset) as bad, Scene(tmp_path, bad.address, good.address) as scene:
        # By when the RST comes it is the connect that failed, or what came after it.
        lines = scene.proxy.lines("backend not reachable")
        assert [line["code"] in ("pool.connect", "backend.lost") for line in lines] == [True]


def test_moves_on_from_refused(tmp_path: Path, good: FakeBackend) -> None:
    moves_on(tmp_path, closed_port(), good, "pool.connect")


def test_moves_on_from_black_hole(tmp_path: Path, good: FakeBackend, black_hole: str) -> None:
    moves_on(tmp_path, black_hole, good, "pool.connect.timeout")


def test_moves_on_when_stopped_in_its_backlog(tmp_path: Path, good: FakeBackend) -> None:
    with FakeBackend(accepting=False) as stopped:
        moves_on(tmp_path, stopped.address, good, "pool.connect.timeout")


def test_shunned_backend_returns(tmp_path: Path, good: FakeBackend) -> None:
    with (
        FakeBackend(full) as bad,
        Scene(tmp_path, bad.address, good.address, shun_recovery_time_sec=1) as scene,
    ):
        assert bad.accepted == 1
        bad.script = serving

        def served() -> bool:
            with scene.client().log_in():
                return bool(scene.proxy.lines("logged in", backend=bad.address))

        eventually(served, "the shunned backend serves again")


def refused_login(scene: Scene) -> tuple[int, str]:
    first, second = scene.client().endings()
    assert second == CLOSED
    return first


def test_none_reachable(tmp_path: Path) -> None:
    with Scene(tmp_path, closed_port(), closed_port(), witness=False) as scene:
        begun = monotonic()
        assert refused_login(scene) == (9002, "HY000")
        assert monotonic() - begun < SOON_S
        events = [line["event"] for line in scene.loud()]
        assert events == ["backend not reachable"] * 2 + ["login failed"]
        conn = {line["conn"] for line in scene.loud()}
        assert len(conn) == 1


def test_none_answers_in_time(tmp_path: Path) -> None:
    with (
        FakeBackend(Connection.silence) as one,
        FakeBackend(Connection.silence) as two,
        Scene(
            tmp_path,
            one.address,
            two.address,
            witness=False,
            connect_timeout_ms=TRY_MS,
            connect_timeout_max_ms=TRY_MS + 100,
        ) as scene,
    ):
        begun = monotonic()
        assert refused_login(scene) == (9001, "HY000")
        assert monotonic() - begun < SOON_S
        scene.told("pool.timeout", "login failed")


def test_only_backend_is_full(tmp_path: Path) -> None:
    """Its own words reach the client: 1040 is what drivers know how to handle."""
    with FakeBackend(full) as bad, Scene(tmp_path, bad.address, witness=False) as scene:
        assert refused_login(scene) == (1040, "08004")


def test_only_backend_garbage(tmp_path: Path) -> None:
    with FakeBackend(garbage) as bad, Scene(tmp_path, bad.address, witness=False) as scene:
        assert refused_login(scene) == (9002, "HY000")


def test_table_mode_moves_on(tmp_path: Path, good: FakeBackend) -> None:
    """The client is logged in already when its backend fails: it must not notice either."""
    with (
        FakeBackend() as bad,
        Scene(
            tmp_path,
            bad.address,
            good.address,
            users=[{"username": "hproxy", "password": "hproxy"}],
            default_auth_plugin="mysql_native_password",
            session_mode="session",
        ) as scene,
    ):
        bad.script = full
        client = scene.client().log_in()
        assert client.query("hello")
        scene.told("pool.connect.refused", "backend not reachable")
        scene.proxy.wait_for_log("logged in", since=scene.since, backend=good.address)
