# SPDX-License-Identifier: Apache-2.0
"""A process that gets no more memory (RLIMIT_AS): who is served already is served on, new clients
wait, what is too large ends its own session only, and all is well once there is memory again."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from hproxy.net.memory import RESERVE
from tests.support.proxy import Proxy
from tests.support.server import Server
from tests.support.service import Service

MIB = 1 << 20
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
PACKET = 12 * MIB
REPEATED = f"SELECT REPEAT('x', {PACKET})"
CROWD = 200
COMMAND = b"\x03SELECT '" + b"x" * 100_000 + b"'"
HALF, REST = (len(COMMAND).to_bytes(4, "little") + COMMAND)[:60_000], COMMAND[59_996:]


@pytest.fixture(scope="module", params=["single", "worker"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mariadb: Server
) -> Iterator[Proxy]:
    """Alone, and as a worker of a service; `pid` is of who serves clients."""
    sections = {
        "server": {"listen_addr": "127.0.0.1:0", "worker_threads": 1},
        "proxy": {"mode": "mysql", "backends": [mariadb.address], "auth": "table"},
        "mysql_users": [{"username": "hproxy", "password": "hproxy"}],
    }
    single = request.param == "single"
    with Proxy(tmp_path_factory.mktemp("memory"), sections, single=single) as proxy:
        if not single:
            proxy.pid = Service(proxy).rows()["worker 0"]["pid"]
        yield proxy


@pytest.fixture
def clients(proxy: Proxy) -> Iterator[list[Any]]:
    """Who was there before."""
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(connect(proxy))) for _ in range(5)]
        assert all(map(served, clients))
        yield clients


@pytest.fixture(autouse=True)
def unlimited(proxy: Proxy) -> Iterator[None]:
    """Every test leaves a process that may have what it wants, and works."""
    yield
    resource.prlimit(proxy.pid, resource.RLIMIT_AS, UNLIMITED)
    with closing(connect(proxy)) as client:
        assert served(client)
        assert measured(client, PACKET) == PACKET


def leave(proxy: Proxy, spare: int) -> None:
    """It may have that many bytes more than it has, no more."""
    pages = int(Path(f"/proc/{proxy.pid}/statm").read_text().split()[0])
    resource.prlimit(
        proxy.pid, resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGESIZE") + spare, UNLIMITED[1])
    )


def connect(proxy: Proxy) -> Any:
    return pymysql.connect(
        host=proxy.host, port=proxy.port, user="hproxy", password="hproxy", autocommit=True,
        connect_timeout=60, read_timeout=60, max_allowed_packet=64 * MIB, ssl_disabled=True,
    )  # fmt: skip


def address(client: Any) -> str:
    host, port = client._sock.getsockname()
    return f"{host}:{port}"


def asked(client: Any, sql: str) -> Any:
    with client.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()[0][0]


def served(client: Any) -> bool:
    return bool(asked(client, "SELECT 7") == 7)


def measured(client: Any, length: int) -> int:
    """What the database says of a text that long."""
    return int(asked(client, f"SELECT LENGTH('{'x' * length}')"))


def test_new_clients_wait_until_there_is_memory(proxy: Proxy, clients: list[Any]) -> None:
    since = len(proxy.log)
    leave(proxy, RESERVE // 2)
    with ThreadPoolExecutor(200) as crowd:
        coming = [crowd.submit(connect, proxy) for _ in range(200)]
        try:
            told = proxy.wait_for_log("accepting paused", since=since, code="client.memory")
            assert told["reason"] == "Cannot allocate memory"
            assert all(served(client) for _ in range(20) for client in clients)
            assert not all(future.done() for future in coming)
            leave(proxy, 0)  # they go on with what they have
            assert all(served(client) for _ in range(20) for client in clients)
        finally:
            resource.prlimit(proxy.pid, resource.RLIMIT_AS, UNLIMITED)
        for future in coming:
            with closing(future.result()) as client:
                assert served(client)
    assert not proxy.lines("login failed", since)


def test_huge_packets_and_results_need_none(proxy: Proxy, clients: list[Any]) -> None:
    """They are passed on as they come, however large."""
    leave(proxy, MIB)
    with ThreadPoolExecutor() as crowd:
        large = [crowd.submit(measured, client, 3 * PACKET) for client in clients[:3]]
        while not all(future.done() for future in large):
            assert all(map(served, clients[3:]))
        assert [future.result() for future in large] == [3 * PACKET] * 3
        results = [crowd.submit(asked, client, REPEATED) for client in clients[:3]]
        assert [len(future.result()) for future in results] == [PACKET] * 3


def test_who_needs_more_than_there_is(proxy: Proxy, clients: list[Any]) -> None:
    """Halves of commands are kept until the rest comes: where they cannot be, that session ends."""
    since = len(proxy.log)
    with ExitStack() as stack:
        crowd = [stack.enter_context(closing(connect(proxy))) for _ in range(CROWD)]
        leave(proxy, 0)
        for client in crowd:
            client._sock.sendall(HALF)
        told = proxy.wait_for_log("out of memory", since=since, code="memory")
        assert told["client"] in {address(client) for client in crowd}, told
        assert all(served(client) for _ in range(20) for client in clients)
        resource.prlimit(proxy.pid, resource.RLIMIT_AS, UNLIMITED)
        whole = 0
        for client in crowd:
            with suppress(OSError, pymysql.Error):
                client._sock.sendall(REST)
                client._read_query_result()
                whole += 1
        # A line that there was no memory for is dropped, and counted.
        assert 0 < len(proxy.lines("out of memory", since)) <= CROWD - whole
