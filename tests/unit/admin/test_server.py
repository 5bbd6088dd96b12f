# SPDX-License-Identifier: Apache-2.0
"""A server of ours and its clients' connections: logins, garbage, limits, what is left after."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pymysql
import pytest

from hproxy.net.tls import client_context, ensure_certificate
from tests.support.embedded import Threaded, threaded

WAIT_S = 10.0
GARBAGE = {
    "nothing": b"",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 100,
    "huge": b"\xff\xff\xff\x01" + b"x" * 100_000,
    "out of order": b"\x01\0\0\x07x",
    "empty packet": b"\0\0\0\x01",
    "old protocol": b"\x0a\0\0\x01" + b"\0" * 10,
    "random": os.urandom(300),
}


def connect(served: Threaded, **options: Any) -> pymysql.Connection[Any]:
    account: dict[str, Any] = {"host": "127.0.0.1", "user": "demo", "password": "demo"} | options
    # Else it would load all certificates of the machine for each connection.
    account.setdefault("ssl_disabled", "ssl" not in options)
    return pymysql.connect(port=served.port, **account)


def works(connection: pymysql.Connection[Any]) -> bool:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchall() == ((1,),))


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_instead_of_a_login(kind: str) -> None:
    with threaded() as served:
        with socket.create_connection(("127.0.0.1", served.port), WAIT_S) as peer:
            assert peer.recv(4096)[4] == 10  # the greeting
            peer.sendall(GARBAGE[kind])
            peer.shutdown(socket.SHUT_WR)
            # An error packet or nothing, and then the end.
            while peer.recv(4096):
                pass
        assert works(connect(served))
        assert served.server.counters.connections == 1


def test_a_client_that_never_logs_in_is_told_and_left() -> None:
    with (
        threaded(login_sec=0.1) as served,
        socket.create_connection(("127.0.0.1", served.port), WAIT_S) as peer,
    ):
        answer = b""
        while part := peer.recv(4096):
            answer += part
        assert b"timeout" in answer


def test_tls(tmp_path: Path) -> None:
    cert, key = ensure_certificate(tmp_path)
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False
    with threaded(tls=client_context(cert, key)) as served:
        assert works(connect(served, ssl=context))
        assert works(connect(served))


def test_logins_side_by_side_leave_nothing() -> None:
    failures: list[BaseException] = []

    def cycle(served: Threaded) -> None:
        try:
            for _ in range(15):
                assert works(connect(served, database="demo"))
        except BaseException as error:
            failures.append(error)

    with threaded() as served:
        assert works(connect(served))
        before = len(os.listdir("/proc/self/fd"))
        threads = [threading.Thread(target=cycle, args=(served,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with connect(served).cursor() as cursor:  # its server has seen all others leave
            while True:
                cursor.execute("SHOW PROCESSLIST")
                if len(cursor.fetchall()) == 1:
                    break
        assert failures == []
        assert len(os.listdir("/proc/self/fd")) <= before + 10
        assert served.server.counters.connections == 62


def test_counters() -> None:
    with threaded() as served:
        assert works(connect(served))
        with pytest.raises(pymysql.err.OperationalError):
            connect(served, password="wrong")
    counters = served.server.counters
    assert (counters.connections, counters.refused) == (1, 1)
    assert counters.commands >= 2
    assert counters.bytes_in > 100
    assert counters.bytes_out > 100
