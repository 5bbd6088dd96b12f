# SPDX-License-Identifier: Apache-2.0
"""Its sockets: who is slow is cut, who idles makes room, TLS, Unix sockets, and the end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.control import server, serving
from hproxy.errors import ConfigError
from tests.support.api import ANSWER_S, Api, ServicePort, api
from tests.support.certificate import certificate_pem
from tests.support.process import eventually

ASK = b"GET /healthz/live HTTP/1.1\r\nhost: x\r\n\r\n"


def answered(sock: socket.socket) -> bytes:
    sock.sendall(ASK)
    return sock.recv(65_536)


def ended(sock: socket.socket) -> float:
    """Wait for its end; how long that took."""
    start = monotonic()
    try:
        while sock.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return monotonic() - start


def test_who_says_nothing_is_cut(tmp_path: Path) -> None:
    with api(tmp_path, timeout_sec=0.3) as served:
        served.get("/healthz/live")
        with served.connect() as silent:
            assert ended(silent) < 5
        with served.connect() as slow:
            slow.sendall(ASK[:20])
            assert ended(slow) < 5
        with served.connect() as later:
            assert answered(later).startswith(b"HTTP/1.1 200 ")
            later.sendall(ASK[:20])
            assert ended(later) < 5
        with served.connect() as drip:
            assert dripping(drip) < 5


def dripping(sock: socket.socket) -> float:
    """A byte now and then, until the other side has enough; how long that took."""
    sock.settimeout(0.05)
    start = monotonic()
    while monotonic() - start < 10:
        try:
            sock.sendall(b"x")
            if sock.recv(10) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return monotonic() - start


def test_who_does_not_read_is_cut(tmp_path: Path) -> None:
    with api(tmp_path, timeout_sec=0.5) as served:
        served.get("/healthz/live")
        served.port.tables["stats_mysql_errors"] = [("x" * 1000,) * 11 for _ in range(1000)]
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", served.number))
            sock.sendall(
                b"GET /api/v1/tables/stats_mysql_errors HTTP/1.1\r\nhost: x\r\n"
                b"authorization: Bearer 0123456789abcdef0123\r\n\r\n"
            )
            wait_for(served, 0)
        assert served.get("/healthz/live")


def wait_for(served: Api, number: int) -> None:
    """Until so many connections are left."""
    end = monotonic() + 15
    connections = served.server._connections
    assert connections is not None
    seen = False
    while monotonic() < end:
        count = served.call(lambda: len(connections.result()))
        seen = seen or count > number
        if seen and count == number:
            return
    raise AssertionError(f"not {number} connections in time")


def test_who_idles_longest_makes_room(tmp_path: Path) -> None:
    with api(tmp_path, max_connections=2) as served:
        first, second = served.connect(), served.connect()
        with first, second:
            assert answered(first)
            assert answered(second)
            assert served.get("/healthz/live")
            assert ended(first) < 5
            assert answered(second).startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_is_refused(tmp_path: Path) -> None:
    with api(tmp_path) as served:
        for words in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"nonsense\r\n\r\n",
        ):
            with served.connect() as sock:
                sock.sendall(words + b"\r\n\r\n")
                assert sock.recv(100)[:12] in (b"HTTP/1.1 400", b"")
        with served.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * 20_000)
            assert sock.recv(100).startswith(b"HTTP/1.1 400 ")
        assert served.get("/healthz/live")


def test_requests_behind_one_another(tmp_path: Path) -> None:
    with api(tmp_path) as served, served.connect() as sock:
        sock.sendall(ASK * 3)
        found = b""
        while found.count(b'{"live":true}') < 3:
            found += sock.recv(65_536)


def test_tls(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_bytes(certificate_pem())
    with api(tmp_path, cert=pem, timeout_sec=1) as served:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(served.connect()) as sock:
            assert answered(sock).startswith(b"HTTP/1.1 200 ")
        with served.connect() as silent:  # no handshake at all
            assert ended(silent) < 5
        with served.connect() as plain:
            plain.sendall(ASK)
            assert ended(plain) < 5
        pem.write_text("not a certificate")
        for _ in range(2):
            with context.wrap_socket(served.connect()) as sock:
                assert answered(sock).startswith(b"HTTP/1.1 200 ")
        assert len(served.log.told("certificate not reloaded")) == 1
        pem.write_bytes(b"\n" + certificate_pem())
        with context.wrap_socket(served.connect()) as sock:
            assert answered(sock).startswith(b"HTTP/1.1 200 ")
        assert len(served.log.told("certificate reloaded")) == 1


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with api(tmp_path, address=str(path)) as served:
        assert served.server.addresses == (str(path),)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            assert answered(sock).startswith(b"HTTP/1.1 200 ")
    assert not path.exists()


def test_an_address_that_was_asked_for_must_be_had(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"http\.address.*in use"):  # noqa: SIM117
            with api(tmp_path, address=f"127.0.0.1:{number}"):
                pass


def test_an_address_nobody_asked_for_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "AGAIN_SEC", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        address = f"127.0.0.1:{number}"
        with api(tmp_path, patient=True, address=address) as served:
            assert served.server.addresses == ()
            (told,) = served.log.told("the http api waits for its address")
            assert "in use" in told["reason"]
            taken.close()
            served.number = number
            eventually(lambda: served.server.addresses == (address,), "its address")
            assert served.get("/healthz/live")


def test_it_ends_although_somebody_stays(tmp_path: Path) -> None:
    start = monotonic()
    with api(tmp_path) as served:
        idle, half = served.connect(), served.connect()
        assert answered(idle)
        half.sendall(ASK[:10])
        start = monotonic()
    assert monotonic() - start < 5
    with idle, half:
        ended(idle)
        ended(half)


class SlowPort(ServicePort):
    """One whose state takes for ever, and some time when nobody waits for it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.over = False

    async def status(self) -> dict[str, Any]:
        self.asked = True
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            self.over = True
        return {}


def test_an_answer_that_takes_too_long_is_over_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it works with is closed right after."""
    monkeypatch.setattr(serving, "GRACE_SEC", 0.1)
    port = SlowPort()
    with api(tmp_path, port=port) as served, served.connect() as sock:
        sock.sendall(ASK.replace(b"live", b"ready"))
        eventually(lambda: port.asked, "the request is handled")
        stopping = asyncio.run_coroutine_threadsafe(served.server.stop(), served.loop)
        stopping.result(ANSWER_S)
        assert port.over
