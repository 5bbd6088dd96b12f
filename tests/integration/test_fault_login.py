# SPDX-License-Identifier: Apache-2.0
"""Who vanishes in the middle of a login, or of COM_CHANGE_USER, takes nothing along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import AuthMoreData, AuthSwitchRequest, ChangeUser
from hproxy.protocols.mysql.results import ok
from tests.support.fake_backend import Connection, FakeBackend, frame
from tests.support.process import eventually, resident_kib
from tests.support.rude_client import CLOSED, WANTED, Answer, RudeClient
from tests.support.scene import Scene
from tests.support.server import Server

LOST = Answer(2013, "HY000")
TIMED_OUT = Answer(1159, "08S01")
UNKNOWN = AuthSwitchRequest(b"some_plugin_of_tomorrow", b"question\0").build()
ENDS = {"close": Connection.close, "reset": Connection.reset, "half-close": Connection.half_close}
LEAVES: Mapping[str, Callable[[RudeClient], None]] = {
    "close": RudeClient.close,
    "reset": RudeClient.reset,
}
FLOOD = bytes(200 << 20)
GROWTH_KIB = 8 * 1024


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    with FakeBackend() as backend:
        yield backend


def asks(connection: Connection) -> None:
    """Greet, then ask something only a plugin we do not know can answer."""
    connection.greet()
    connection.read_packet()
    connection.send(frame(UNKNOWN, 2))


def logging_in(client: RudeClient) -> RudeClient:
    client.write_packet(client.response())
    return client


@pytest.mark.parametrize("end", ENDS)
def test_backend_dies_before_its_verdict(end: str, tmp_path: Path, backend: FakeBackend) -> None:
    def dies(connection: Connection) -> None:
        connection.greet()
        connection.read_packet()
        ENDS[end](connection)

    with Scene(tmp_path, backend.address) as scene:
        backend.script = dies
        assert logging_in(scene.client()).endings() == (LOST, CLOSED)
        scene.told("backend.lost", "login failed")


@pytest.mark.parametrize("end", ENDS)
def test_backend_dies_while_both_may_speak(end: str, tmp_path: Path, backend: FakeBackend) -> None:
    def dies(connection: Connection) -> None:
        asks(connection)
        ENDS[end](connection)

    with Scene(tmp_path, backend.address) as scene:
        backend.script = dies
        assert logging_in(scene.client()).endings() == (LOST, CLOSED)
        scene.told("backend.lost", "login failed")


@pytest.mark.parametrize("leave", LEAVES)
def test_client_leaves_while_both_may_speak(
    leave: str, tmp_path: Path, backend: FakeBackend
) -> None:
    def waits(connection: Connection) -> None:
        asks(connection)
        connection.silence()

    with Scene(tmp_path, backend.address) as scene:
        backend.script = waits
        client = logging_in(scene.client())
        assert client.read_packet() == UNKNOWN
        LEAVES[leave](client)
        scene.proxy.wait_for_log("login failed", since=scene.since, code="client.gone")
        assert scene.silent()


def test_both_vanish_at_once(tmp_path: Path, backend: FakeBackend) -> None:
    """Two reads fail in the same moment; neither may be lost in the log as nobody's exception."""
    with Scene(tmp_path, backend.address) as scene:
        for _ in range(20):
            clients: list[RudeClient] = []

            def dies(connection: Connection, clients: list[RudeClient] = clients) -> None:
                asks(connection)
                eventually(lambda: bool(clients), "the client waits")
                clients[0].reset()
                connection.reset()

            backend.script = dies
            client = logging_in(scene.client())
            assert client.read_packet() == UNKNOWN
            clients.append(client)
        scene.proxy.wait_until(
            lambda: len(scene.proxy.lines("login failed", since=scene.since)) == 20, "20 failures"
        )


def test_backend_never_gives_its_verdict(tmp_path: Path, backend: FakeBackend) -> None:
    def waits(connection: Connection) -> None:
        connection.greet()
        connection.silence()

    with Scene(tmp_path, backend.address, login_timeout_ms=1000) as scene:
        backend.script = waits
        assert logging_in(scene.client()).endings() == (TIMED_OUT, CLOSED)
        scene.told("client.timeout", "login failed")


@pytest.mark.parametrize("greets", [True, False])
def test_client_that_floods_while_we_wait(
    greets: bool, tmp_path: Path, backend: FakeBackend
) -> None:
    """Nobody reads what it sends: it is kept out, not kept."""

    def waits(connection: Connection) -> None:
        if greets:
            connection.greet()
        connection.silence()

    with Scene(tmp_path, backend.address, login_timeout_ms=2000, connect_timeout_ms=2000) as scene:
        backend.script = waits
        client = scene.client()
        if greets:
            logging_in(client)
        before = resident_kib(scene.proxy.pid)
        client.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.sock.sendall(FLOOD)
        assert resident_kib(scene.proxy.pid) - before < GROWTH_KIB
        scene.check_witness()
        scene.proxy.wait_for_log("login failed", since=scene.since)


# -- TLS -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leaves", "resets", "garbage", "silence"])
def test_tls_handshake_that_fails(how: str, tmp_path: Path, backend: FakeBackend) -> None:
    with Scene(tmp_path, backend.address, tls="preferred", login_timeout_ms=1000) as scene:
        client = scene.client()
        request = bytearray(client.response()[:32])
        request[1] |= Capability.SSL >> 8
        client.sock.sendall(frame(bytes(request), 1))
        match how:
            case "leaves":
                client.close()
            case "resets":
                client.reset()
            case "garbage":
                client.sock.sendall(b"\x16\x03\x01\x00\x05hello" * 20)
                assert client.ending_of_bytes() in ("closed", "reset")
            case "silence":
                assert client.ending_of_bytes() == "closed"
        line = scene.proxy.wait_for_log("login failed", since=scene.since)
        assert line["code"] in (
            ("client.gone", "client.tls") if how in ("leaves", "resets")
            else ("client.tls",) if how == "garbage" else ("client.timeout",)
        )  # fmt: skip


def test_tls_client_vanishes_in_a_query(tmp_path: Path, mariadb: Server) -> None:
    with Scene(tmp_path, mariadb.address, tls="preferred") as scene:
        client = scene.client().log_in(tls=True)
        client.send_query("SELECT SLEEP(1)")
        client.reset()
        assert scene.told("client.gone")["state"] == "response"


# -- COM_CHANGE_USER --------------------------------------------------------------------


def change(client: RudeClient) -> None:
    client.sequence = 0
    client.write_packet(ChangeUser(b"other", b"", b"").build(WANTED))


def test_backend_dies_in_a_change_of_user(tmp_path: Path, backend: FakeBackend) -> None:
    def dies(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()
        connection.reset()

    with Scene(tmp_path, backend.address) as scene:
        backend.script = dies
        client = scene.client().log_in()
        change(client)
        assert client.endings() == (LOST, CLOSED)
        scene.told("backend.lost", "change of user failed")


@pytest.mark.parametrize("leave", LEAVES)
def test_client_leaves_in_a_change_of_user(
    leave: str, tmp_path: Path, backend: FakeBackend
) -> None:
    def asks_more(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()
        connection.send(frame(UNKNOWN, 1))
        connection.silence()

    with Scene(tmp_path, backend.address) as scene:
        backend.script = asks_more
        client = scene.client().log_in()
        change(client)
        assert client.read_packet() == UNKNOWN
        LEAVES[leave](client)
        scene.proxy.wait_for_log("session ended", since=scene.since)
        scene.told("client.gone", "change of user failed")


def test_change_of_user_that_never_ends(tmp_path: Path, backend: FakeBackend) -> None:
    def waits(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()
        connection.silence()

    with Scene(tmp_path, backend.address, login_timeout_ms=1000) as scene:
        backend.script = waits
        client = scene.client().log_in()
        change(client)
        assert client.endings() == (TIMED_OUT, CLOSED)
        scene.told("client.timeout", "change of user failed")


def test_change_of_user_answered_with_nonsense(tmp_path: Path, backend: FakeBackend) -> None:
    def nonsense(connection: Connection) -> None:
        connection.log_in()
        connection.read_packet()
        connection.send(frame(AuthMoreData(b"what").build(), 1) + frame(ok(), 9))
        connection.silence()

    with Scene(tmp_path, backend.address) as scene:
        backend.script = nonsense
        client = scene.client().log_in()
        change(client)
        client.read_packet()
        client.write_packet(b"")
        assert client.ending() in (Answer(2027, "HY000"), CLOSED)
        scene.proxy.wait_for_log("session ended", since=scene.since)
