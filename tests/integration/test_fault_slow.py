# SPDX-License-Identifier: Apache-2.0
"""Peers that take nothing for a while: memory stays bounded, others stay fast, nothing is lost."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from hproxy.protocols.mysql.results import ok
from hproxy.protocols.mysql.wire import frames
from tests.integration.database import Side
from tests.support.fake_backend import Connection, FakeBackend, frame
from tests.support.process import eventually, resident_kib
from tests.support.rude_client import RudeClient
from tests.support.scene import Scene
from tests.support.server import Server

MIB = 1 << 20
GROWTH_KIB = 20 * 1024
ROWS, ROW_BYTES = 200, MIB
FAST_S = 10.0  # for 100 queries: whoever is blocked never ends
RESULT = f"SELECT REPEAT(CHAR(64 + seq MOD 26), {ROW_BYTES}) AS v FROM test.seq_1_to_{ROWS}"


@pytest.fixture
def side(mariadb: Server) -> Iterator[Side]:
    with Side(mariadb) as side:
        yield side


def narrow(client: RudeClient) -> RudeClient:
    """Little room in its own kernel, so that what is not read is somebody else's to hold."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    return client


def test_reader_that_stops_and_goes_on(tmp_path: Path, mariadb: Server, side: Side) -> None:
    with Scene(tmp_path, mariadb.address) as scene:
        client = narrow(scene.client()).log_in()
        before = resident_kib(scene.proxy.pid)
        client.send_query(RESULT)
        # MariaDB is stuck in sending: all buffers on the way are full.
        eventually(
            lambda: bool(
                side.run(
                    "SELECT 1 FROM information_schema.processlist "
                    "WHERE info LIKE 'SELECT REPEAT(CHAR(64%' AND state LIKE 'Writing to net%'"
                )
            ),
            "the server waits for us",
        )
        begun = monotonic()
        for _ in range(100):
            scene.check_witness()
        assert monotonic() - begun < FAST_S
        grown = resident_kib(scene.proxy.pid) - before
        assert grown < GROWTH_KIB, f"{grown} KiB"
        rows = client.read_rows()
        assert len(rows) == ROWS
        expected = [bytes([64 + number % 26]) * ROW_BYTES for number in range(1, ROWS + 1)]
        # 0xFD and three bytes of length before each.
        assert [hashlib.md5(row[4:]).digest() for row in rows] == [
            hashlib.md5(row).digest() for row in expected
        ]
        assert resident_kib(scene.proxy.pid) - before < GROWTH_KIB
        assert client.query("SELECT 1") == [b"\x011"]
        assert scene.silent()


def test_reader_that_never_comes_back(tmp_path: Path, mariadb: Server, side: Side) -> None:
    """Its session, and the query on the backend, end when it is gone."""
    with Scene(tmp_path, mariadb.address) as scene:
        client = narrow(scene.client()).log_in()
        client.send_query(RESULT.replace("AS v", "AS never"))
        eventually(lambda: side.runs("AS never"), "the query runs")
        client.reset()
        eventually(lambda: not side.runs("AS never"), "the query is gone")
        scene.told("client.gone")


def test_backend_that_takes_nothing(tmp_path: Path) -> None:
    """A statement of 100 MiB, sent while the backend does not read, arrives whole."""
    statement = hashlib.sha256(b"seed").digest() * (100 * MIB // 32)
    sent = b"".join(frames(b"\x03" + statement))
    go_on = threading.Event()
    arrived = hashlib.md5()

    def stuck(connection: Connection) -> None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.log_in()
        assert go_on.wait(30)
        left = len(sent)
        while left:
            data = connection.sock.recv(min(left, MIB))
            arrived.update(data)
            left -= len(data)
        # The answer's number follows that of the statement's last frame.
        connection.send(frame(ok(), len(statement) // 0xFFFFFF + 1))
        connection.serve()

    with FakeBackend() as backend, Scene(tmp_path, backend.address) as scene:
        backend.script = stuck
        client = scene.client().log_in()
        before = resident_kib(scene.proxy.pid)
        client.sequence = 0
        sender = threading.Thread(target=client.write_packet, args=(b"\x03" + statement,))
        client.sock.settimeout(60)
        sender.start()
        begun = monotonic()
        for _ in range(100):
            scene.check_witness()
        assert monotonic() - begun < FAST_S
        assert sender.is_alive()
        assert resident_kib(scene.proxy.pid) - before < GROWTH_KIB
        go_on.set()
        sender.join(60)
        assert client.read_packet()[0] == 0
        assert arrived.digest() == hashlib.md5(sent).digest()
        assert resident_kib(scene.proxy.pid) - before < GROWTH_KIB
        assert client.query("hello") == [b"\x04fine"]
