# SPDX-License-Identifier: Apache-2.0
"""Bytes no client should send: a clear error where there is a way to say it, one line, the end."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from hproxy.protocols.mysql.wire import frames
from tests.support.fake_backend import FakeBackend, frame
from tests.support.mutation import mutated
from tests.support.process import descriptors, eventually, resident_kib
from tests.support.rude_client import CLOSED, WANTED, Answer, RudeClient
from tests.support.scene import Scene
from tests.support.server import Server

MALFORMED = Answer(1043, "08S01")
ORDER = Answer(1156, "08S01")
OVERSIZED = Answer(1153, "08S01")
USERS = [{"username": "hproxy", "password": "hproxy"}]
CONVERSATIONS = 10_000
AT_ONCE = 8
SEED = 20_240_229
GROWTH_KIB = 8 * 1024
BOUND_S = 150.0  # a dozen seconds on an idle machine


@pytest.fixture(params=["relay", "table"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    users = USERS if request.param == "table" else []
    with (
        FakeBackend() as backend,
        Scene(
            tmp_path, backend.address, users=users, default_auth_plugin="mysql_native_password"
        ) as scene,
    ):
        yield scene


def client_hello() -> bytes:
    """What a TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="db.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


STRANGERS = {
    "http": b"GET / HTTP/1.1\r\nHost: db.example\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "random": random.Random(SEED).randbytes(4096),
    "zeros": bytes(4096),
    "tls": client_hello(),
}


@pytest.mark.parametrize("who", STRANGERS)
def test_other_protocols(who: str, scene: Scene) -> None:
    """They read a greeting, then why they are sent away."""
    client = scene.client()
    client.sock.sendall(STRANGERS[who])
    assert client.endings() == (ORDER, CLOSED)
    line = scene.told("client.sequence", "login failed")
    assert line["reason"]


def test_login_of_a_million_bytes(scene: Scene) -> None:
    client = scene.client()
    client.response()
    client.sock.sendall(frame(bytes(1_000_000), 1))
    assert client.endings() == (OVERSIZED, CLOSED)
    scene.told("client.oversized", "login failed")


def test_login_that_only_announces_a_lot(scene: Scene) -> None:
    client = scene.client()
    client.response()
    client.sock.sendall(frame(b"", 1, length=0xFFFFFE))
    assert client.endings() == (OVERSIZED, CLOSED)
    scene.told("client.oversized", "login failed")


@pytest.mark.parametrize("sequence", [0, 2, 255])
def test_login_out_of_order(sequence: int, scene: Scene) -> None:
    client = scene.client()
    client.sock.sendall(frame(client.response(), sequence))
    assert client.endings() == (ORDER, CLOSED)
    scene.told("client.sequence", "login failed")


@pytest.mark.parametrize("length", [0, 1, 3, 4, 31, 33, 36, 40])
def test_login_cut_short(length: int, scene: Scene) -> None:
    """A whole frame around the beginning of a login."""
    client = scene.client()
    client.sock.sendall(frame(client.response()[:length], 1))
    assert client.endings() == (MALFORMED, CLOSED)
    scene.told("client.malformed", "login failed")


def test_login_older_than_4_1(scene: Scene) -> None:
    client = scene.client()
    client.response()
    client.sock.sendall(frame(b"\x05\x24\x00\x00\x01user\0pw\0", 1))
    assert client.endings() == (MALFORMED, CLOSED)
    scene.told("client.malformed", "login failed")


def test_login_with_lying_lengths(scene: Scene) -> None:
    """The password claims to be longer than the packet."""
    client = scene.client()
    client.response()
    head = int(WANTED).to_bytes(4, "little") + bytes(4) + b"\x2d" + bytes(23)
    client.sock.sendall(frame(head + b"hproxy\0" + b"\xfd\xff\xff\xff" + b"short", 1))
    assert client.endings() == (MALFORMED, CLOSED)
    scene.told("client.malformed", "login failed")


def test_tls_without_an_offer(scene: Scene) -> None:
    client = scene.client()
    request = bytearray(client.response()[:32])
    request[1] |= 0x08  # CLIENT_SSL
    client.sock.sendall(frame(bytes(request), 1))
    assert client.endings() == (MALFORMED, CLOSED)
    scene.told("client.malformed", "login failed")


def test_leaving_before_login_is_not_worth_a_line(scene: Scene) -> None:
    """Health checks of load balancers do nothing else."""
    scene.client().close()
    scene.client().reset()
    half = scene.client()
    half.sock.sendall(frame(half.response(), 1)[:20])
    half.close()
    scene.proxy.wait_until(
        lambda: len(scene.proxy.lines("login failed", since=scene.since, code="client.gone")) == 3,
        "three who left",
    )
    assert scene.silent()


# -- after login ----------------------------------------------------------------------


@pytest.mark.parametrize("sequence", [1, 128, 255])
def test_command_out_of_order(sequence: int, scene: Scene) -> None:
    client = scene.client().log_in()
    client.sock.sendall(frame(b"\x03hello", sequence))
    assert client.endings() == (ORDER, CLOSED)
    scene.told("client.sequence", "client broke the protocol")


def test_continuation_out_of_order(scene: Scene) -> None:
    client = scene.client().log_in()
    client.sock.sendall(frame(b"\x03" + bytes(0xFFFFFE), 0) + frame(b"rest", 9))
    assert client.endings() == (ORDER, CLOSED)
    scene.told("client.sequence", "client broke the protocol")


@pytest.mark.parametrize("size", [100_001, 0xFFFFFF + 100_000])
def test_command_beyond_the_limit(size: int, tmp_path: Path) -> None:
    """proxy.max_allowed_packet: refused by what the frames announce, before it is all here."""
    limit = 100_000 if size < 0xFFFFFF else 0xFFFFFF + 99_999
    with (
        FakeBackend() as backend,
        Scene(tmp_path, backend.address, max_allowed_packet=limit) as scene,
    ):
        client = scene.client().log_in()
        assert client.query("x" * 90_000) == [b"\x04fine"]
        packet = b"".join(frames(b"\x03" + b"x" * (size - 1)))
        client.sock.sendall(packet[: -(size % 0xFFFFFF) + 10])
        assert client.endings() == (OVERSIZED, CLOSED)
        scene.told("client.oversized", "client broke the protocol")


def test_file_out_of_order(tmp_path: Path, mariadb: Server) -> None:
    with Scene(tmp_path, mariadb.address) as scene:
        client = scene.client().log_in()
        client.query("CREATE TEMPORARY TABLE test.bad_input (v TEXT)")
        client.send_query("LOAD DATA LOCAL INFILE 'x' INTO TABLE test.bad_input")
        assert client.read_packet() == b"\xfbx"
        client.sock.sendall(frame(b"one\n", 7))
        assert client.endings() == (ORDER, CLOSED)
        scene.told("client.sequence", "client broke the protocol")


def test_empty_and_unknown_commands(tmp_path: Path, mariadb: Server) -> None:
    """What the server has an answer to is the server's to answer; the session goes on."""
    with Scene(tmp_path, mariadb.address) as scene:
        client = scene.client().log_in()
        for payload in (b"", b"\x00", b"\x2a", b"\xfe", b"\x03"):
            client.sock.sendall(frame(payload, 0))
            answer = client.read_packet()
            assert answer[:1] == b"\xff", (payload, answer)
        assert client.query("SELECT 1") == [b"\x011"]
        assert scene.silent()


def test_stranger_after_login(scene: Scene) -> None:
    client = scene.client().log_in()
    client.sock.sendall(STRANGERS["http"])
    assert client.endings() == (ORDER, CLOSED)
    scene.told("client.sequence", "client broke the protocol")


def test_commands_sent_ahead_are_answered_in_order(scene: Scene) -> None:
    """Unusual, not forbidden: one read brings many commands, whole and in pieces."""
    client = scene.client().log_in()
    whole = b"".join(frames(b"\x03SELECT 1")) * 500
    for start in range(0, len(whole), 777):
        client.sock.sendall(whole[start : start + 777])
    for _ in range(500):
        assert client.read_rows() == [b"\x04fine"]
    assert scene.silent()


# -- ten thousand ----------------------------------------------------------------------


def converse(scene: Scene, number: int) -> None:
    """One mutated conversation; whatever it brings, it ends soon."""
    random_ = random.Random(SEED + number)
    with RudeClient(scene.proxy.host, scene.proxy.port) as client:
        client.sock.settimeout(10)
        try:
            if random_.random() < 0.5:
                login = b"".join(frames(client.response(), 1))
                client.sock.sendall(mutated(random_, login))
            else:
                client.log_in()
                statements = (b"\x03SELECT 1", b"\x0e", b"\x16SELECT ?", b"\x03DO 1", b"\x1f")
                talk = b"".join(frame(random_.choice(statements), 0) for _ in range(4))
                client.sock.sendall(mutated(random_, talk))
            if random_.random() < 0.5:
                client.reset()
            else:
                client.sock.shutdown(1)
                while client.sock.recv(65536):
                    pass
        except TimeoutError:
            pytest.fail(f"conversation {number} hangs")
        except (OSError, EOFError):
            pass


@pytest.mark.fuzz
@pytest.mark.timeout(300)
def test_ten_thousand_mutated_conversations(tmp_path: Path, mariadb: Server) -> None:
    with Scene(tmp_path, mariadb.address) as scene:
        done = threading.Event()
        with ThreadPoolExecutor(AT_ONCE + 1) as pool:
            list(pool.map(lambda n: converse(scene, -n), range(500)))
            eventually(lambda: descriptors(scene.proxy.pid) <= scene.descriptors, "warm-up is over")
            before = resident_kib(scene.proxy.pid)

            def healthy() -> int:
                count = 0
                assert scene.witness is not None
                while not done.is_set():
                    assert scene.witness.query("SELECT 'fine'") == [b"\x04fine"]
                    count += 1
                return count

            queries = pool.submit(healthy)
            begun = monotonic()
            try:
                list(pool.map(lambda n: converse(scene, n), range(CONVERSATIONS)))
            finally:
                done.set()
            assert queries.result() > 100
        eventually(lambda: descriptors(scene.proxy.pid) <= scene.descriptors, "all are gone")
        assert resident_kib(scene.proxy.pid) - before < GROWTH_KIB
        assert monotonic() - begun < BOUND_S
        assert not scene.proxy.lines("internal error"), scene.proxy.lines("internal error")
