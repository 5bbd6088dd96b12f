# SPDX-License-Identifier: Apache-2.0
"""PROXY headers with real peers: HAProxy in front, MariaDB with proxy_protocol_networks behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from hproxy.net.proxy_protocol import LOCAL_V1, LOCAL_V2, build
from tests.integration.conftest import ProxyFactory
from tests.support.own_server import haproxy, own_mariadb
from tests.support.proxy import Proxy
from tests.support.server import Server

CLIENT, BALANCER = ("192.0.2.7", 51234), ("192.0.2.1", 3306)
EVERYWHERE = {"proxy_protocol_networks": "127.0.0.0/8"}
WAYS = ("relay", "table", "multiplex")


def login(sock: socket.socket) -> pymysql.Connection:
    connection = pymysql.Connection(
        user="hproxy", password="hproxy", defer_connect=True, ssl_disabled=True
    )
    connection.connect(sock)
    return connection


def arrive(proxy: Proxy, *pieces: bytes) -> socket.socket:
    sock = socket.create_connection((proxy.host, proxy.port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        sock.sendall(piece)
    return sock


def ended(sock: socket.socket) -> bool:
    """Closed without a word, or reset because it had said more than was read."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def ask(connection: pymysql.Connection, sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall()
    return rows[0][0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", [1, 2])
def test_the_client_behind_it(way: str, version: int, mariadb: Server, proxy: ProxyFactory) -> None:
    running = proxy(mariadb, way, proxy=EVERYWHERE)
    header = build(version, CLIENT, BALANCER)
    for pieces in ([header], [header[:1], header[1:15], header[15:]], [*map(bytes, zip(header))]):
        since = len(running.log)
        with login(arrive(running, *pieces)) as connection:
            assert ask(connection, "SELECT 1 + 1") == 2
            line = running.wait_for_log("logged in", since=since)
            assert line["client"] == "192.0.2.7:51234"
            assert line["via"].startswith("127.0.0.1:")


@pytest.mark.parametrize("header", [LOCAL_V1, LOCAL_V2])
def test_the_balancer_itself(header: bytes, mariadb: Server, proxy: ProxyFactory) -> None:
    running = proxy(mariadb, "multiplex", proxy=EVERYWHERE)
    since = len(running.log)
    with login(arrive(running, header)) as connection:
        assert ask(connection, "SELECT 2") == 2
        assert running.wait_for_log("logged in", since=since)["client"].startswith("127.0.0.1:")


def test_silence_is_a_direct_client(mariadb: Server, proxy: ProxyFactory) -> None:
    running = proxy(mariadb, "multiplex", proxy=EVERYWHERE | {"proxy_protocol_timeout_ms": 50})
    with login(arrive(running)) as connection:
        assert ask(connection, "SELECT 3") == 3


def test_others_are_not_believed(mariadb: Server, proxy: ProxyFactory) -> None:
    running = proxy(mariadb, "multiplex", proxy={"proxy_protocol_networks": "10.0.0.0/8"})
    for version in (1, 2):
        since = len(running.log)
        with arrive(running, build(version, CLIENT, BALANCER)) as sock:
            sock.settimeout(10)
            while sock.recv(4096):
                pass
        line = running.wait_for_log("login failed", since=since)
        assert line["client"].startswith("127.0.0.1:")
        assert line["code"].startswith("client.")
    began = time.monotonic()
    with login(arrive(running)) as connection:  # and they wait for nothing
        assert ask(connection, "SELECT 4") == 4
    assert time.monotonic() - began < 1


def test_nonsense_is_refused(mariadb: Server, proxy: ProxyFactory) -> None:
    running = proxy(mariadb, "multiplex", proxy=EVERYWHERE | {"proxy_protocol_timeout_ms": 50})
    cases = {
        b"GET / HTTP/1.0\r\n": "client.malformed",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 x 1\r\n": "client.malformed",
        b"PROXY TCP4 1.2.3": "client.timeout",
    }
    for said, code in cases.items():
        since = len(running.log)
        with arrive(running, said) as sock:
            assert ended(sock)
        assert running.wait_for_log("login failed", since=since)["code"] == code


@pytest.mark.parametrize("way", WAYS)
def test_haproxy_in_front(way: str, mariadb: Server, proxy: ProxyFactory, tmp_path: Path) -> None:
    running = proxy(mariadb, way, proxy=EVERYWHERE)
    address = f"{running.host}:{running.port}"
    servers = {
        "v1": f"{address} send-proxy check inter 200ms",
        "v2": f"{address} send-proxy-v2 proxy-v2-options crc32c,unique-id",
    }
    with haproxy(tmp_path, servers) as ports:
        for port in ports.values():
            since = len(running.log)
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                own = sock.getsockname()[1]
                with login(sock) as connection:
                    assert ask(connection, "SELECT 5") == 5
                    running.wait_for_log("logged in", since=since, client=f"127.0.0.1:{own}")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MariaDB that reads headers from everybody here."""
    folder = tmp_path_factory.mktemp("behind")
    with own_mariadb(folder, "--proxy-protocol-networks=127.0.0.1") as server:
        yield server


@pytest.mark.parametrize("version", [1, 2])
def test_mariadb_behind(version: int, behind: Server, proxy: ProxyFactory) -> None:
    """A session with a backend of its own: the server sees the client, not us."""
    attributes = [{"hostgroup_id": 0, "hostgroup_settings": f'{{"proxy_protocol": {version}}}'}]
    running = proxy(behind, "table", proxy=EVERYWHERE, mysql_hostgroup_attributes=attributes)
    with login(arrive(running, build(2, CLIENT, BALANCER))) as connection:
        seen = ask(connection, "SELECT host FROM information_schema.processlist "
                   "WHERE id = CONNECTION_ID()")  # fmt: skip
        assert seen == "192.0.2.7:51234"
    sock = arrive(running, LOCAL_V2)
    with login(sock) as connection:
        mine = sock.getsockname()[1]
        seen = ask(connection, "SELECT host FROM information_schema.processlist "
                   "WHERE id = CONNECTION_ID()")  # fmt: skip
        assert seen == f"127.0.0.1:{mine}"


@pytest.mark.parametrize("version", [1, 2])
def test_shared_connections_are_ours(version: int, behind: Server, proxy: ProxyFactory) -> None:
    attributes = [{"hostgroup_id": 0, "hostgroup_settings": f'{{"proxy_protocol": {version}}}'}]
    running = proxy(behind, "multiplex", proxy=EVERYWHERE, mysql_hostgroup_attributes=attributes)
    with login(arrive(running, build(2, CLIENT, BALANCER))) as connection:
        seen = ask(connection, "SELECT USER()")
        assert seen == "hproxy@127.0.0.1"


def test_many_at_once(mariadb: Server, proxy: ProxyFactory) -> None:
    """Half-sent headers of some keep nobody else waiting, and none of them is left over."""
    running = proxy(mariadb, "multiplex", proxy=EVERYWHERE | {"proxy_protocol_timeout_ms": 300})
    header = build(2, CLIENT, BALANCER)
    half = [arrive(running, header[: 1 + i % 20]) for i in range(100)]
    with login(arrive(running, header)) as connection:
        assert ask(connection, "SELECT 6") == 6
    assert all(map(ended, half))
    for sock in half:
        sock.close()


def test_fast_forward_tells_the_client(behind: Server, proxy: ProxyFactory) -> None:
    """Its connection is nobody else's, though those of others are shared."""
    attributes = [{"hostgroup_id": 0, "hostgroup_settings": '{"proxy_protocol": 2}'}]
    users = [{"username": "hproxy", "password": "hproxy", "fast_forward": True}]
    running = proxy(
        behind, "multiplex", proxy=EVERYWHERE, mysql_hostgroup_attributes=attributes,
        mysql_users=users,
    )  # fmt: skip
    with login(arrive(running, build(2, CLIENT, BALANCER))) as connection:
        assert ask(connection, "SELECT USER()") == "hproxy@192.0.2.7"
