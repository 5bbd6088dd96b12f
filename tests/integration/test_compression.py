# SPDX-License-Identifier: Apache-2.0
"""Compression with clients and with backends, each by itself: drivers, programs, TLS, sizes."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import mysql.connector
import MySQLdb
import pymysql
import pytest

from hproxy.protocols.mysql.replies import ErrPacket
from tests.integration.conftest import ProxyFactory
from tests.integration.route import Route
from tests.integration.test_programs import program, run
from tests.support.packed import PackedClient, pack
from tests.support.process import resident_kib
from tests.support.proxy import Proxy
from tests.support.recording_client import Login
from tests.support.server import Server

MIB = 1 << 20
LARGE = 20 * MIB
STATUS = "SHOW SESSION STATUS LIKE 'Compression%'"

algorithms = pytest.mark.parametrize("algorithm", ["zlib", "zstd"])


def towards(server: Server, **more: Any) -> dict[str, Any]:
    """The sections of a proxy whose connections to `server` are compressed."""
    row = {"hostname": server.host, "port": server.port, "compression": 1}
    return {"proxy": {"backends": [], **more}, "mysql_servers": [row]}


@pytest.fixture
def packed(proxy: ProxyFactory, server: Server, auth: str) -> Route:
    """Compressed towards the server; clients may choose."""
    return Route(server, auth, proxy(server, auth, **towards(server)))


def status(connection: Any) -> dict[str, str]:
    with closing(connection.cursor()) as cursor:
        cursor.execute(STATUS)
        return dict(cursor.fetchall())


def test_the_server_sees_what_its_row_says(
    proxy: ProxyFactory, server: Server, auth: str, packed: Route
) -> None:
    plain = Route(server, auth, proxy(server, auth))
    for route, expected in ((packed, "ON"), (plain, "OFF")):
        with closing(pymysql.connect(**route.options())) as connection:
            told = status(connection)
            assert told["Compression"] == expected
            if expected == "ON" and not route.is_mariadb:
                assert told["Compression_algorithm"] == "zstd"


# -- drivers --------------------------------------------------------------------


def by_connector(route: Route, **more: Any) -> Any:
    options = route.options(
        compress=True, allow_local_infile=True, charset="utf8mb4", use_pure=True
    )
    return mysql.connector.connect(**options | more)


def by_mysqlclient(route: Route) -> Any:
    return MySQLdb.connect(**route.options(compress=True, local_infile=1, charset="utf8mb4"))


def by_pymysql(route: Route) -> Any:
    """It knows no compression: only the backend's side has it."""
    return pymysql.connect(**route.options(local_infile=True, charset="utf8mb4"))


DRIVERS = (by_connector, by_mysqlclient, by_pymysql)


@pytest.mark.parametrize("connect", DRIVERS)
def test_large_values_both_ways(packed: Route, database: str, connect: Any, tmp_path: Path) -> None:
    unlike = hashlib.shake_256(b"seed").digest(LARGE // 2)
    alike = b"all work and no play " * (LARGE // 42)
    with closing(connect(packed)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"USE {database}")
        cursor.execute("CREATE TABLE t (id INT, data LONGBLOB)")
        for number, data in enumerate((unlike, alike, b"short")):
            sql = f"INSERT INTO t VALUES ({number}, x'{data.hex()}')"
            cursor.execute(sql)
        connection.commit()
        cursor.execute("SELECT id, LENGTH(data), SHA2(data, 256) FROM t ORDER BY id")
        told = [tuple(row) for row in cursor.fetchall()]
        expected = [
            (n, len(data), hashlib.sha256(data).hexdigest())
            for n, data in enumerate((unlike, alike, b"short"))
        ]
        assert told == expected
        cursor.execute("SELECT data FROM t ORDER BY id")
        rows = [bytes(row[0]) for row in cursor.fetchall()]
        same = rows == [unlike, alike, b"short"]  # too long to be shown
        assert same
        cursor.execute("SELECT REPEAT('z', 17000000) UNION ALL SELECT 'end'")
        rows = cursor.fetchall()
        assert [len(row[0]) for row in rows] == [17_000_000, 3]
        cursor.execute("SELECT 1")
        assert list(map(tuple, cursor.fetchall())) == [(1,)]


@pytest.mark.parametrize("connect", DRIVERS)
def test_a_file_of_many_packets(packed: Route, database: str, connect: Any, tmp_path: Path) -> None:
    lines = [f"{n}\tline {n} of the file that is loaded\n" for n in range(150_000)]
    (tmp_path / "rows").write_text("".join(lines))
    with closing(connect(packed)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"USE {database}")
        cursor.execute("CREATE TABLE t (id INT, v VARCHAR(60))")
        cursor.execute(f"LOAD DATA LOCAL INFILE '{tmp_path / 'rows'}' INTO TABLE t")
        connection.commit()
        cursor.execute("SELECT COUNT(*), SUM(id), MAX(v) FROM t")
        assert tuple(map(str, cursor.fetchone())) == (
            "150000", str(sum(range(150_000))), "line 99999 of the file that is loaded",
        )  # fmt: skip


def test_change_of_user(packed: Route) -> None:
    other = "native" if packed.is_mariadb else "sha2"
    with closing(by_mysqlclient(packed)) as connection:
        for user in (other, "hproxy", other, "empty"):
            connection.change_user(user, "" if user == "empty" else user, "test")
            with closing(connection.cursor()) as cursor:
                cursor.execute("SELECT CURRENT_USER(), REPEAT('x', 100000)")
                who, text = cursor.fetchone()
            assert (who, text) == (f"{user}@%", "x" * 100_000)


# -- programs -------------------------------------------------------------------


def vendor_options(route: Route) -> Iterator[tuple[str, list[str]]]:
    """Each way to ask for compression, with whose program can log in there."""
    yield "mariadb", ["--compress"]
    if route.is_mariadb and route.auth == "relay":
        return  # MySQL 9's programs do not know its accounts' plugin
    for chosen in ("zlib", "zstd", "zlib,zstd", "zstd,zlib,uncompressed"):
        yield "mysql", [f"--compression-algorithms={chosen}"]
    yield "mysql", ["--compression-algorithms=zstd", "--zstd-compression-level=19"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_interactive_clients(packed: Route, mysql9: Server, database: str, tls: bool) -> None:
    for vendor, options in vendor_options(packed):
        ssl_option = "--ssl" if vendor == "mariadb" else "--ssl-mode=REQUIRED"
        off = "--skip-ssl" if vendor == "mariadb" else "--ssl-mode=DISABLED"
        client = [program(vendor, "mysql", mysql9), *packed.arguments(), *options]
        client.append("--max-allowed-packet=64M")
        client += [ssl_option if tls else off, "--get-server-public-key"][: 1 + (vendor == "mysql")]
        said = run(
            *client,
            "--batch",
            "--skip-column-names",
            database,
            stdin=b"""
                DROP TABLE IF EXISTS t; CREATE TABLE t (v LONGTEXT);
                INSERT INTO t VALUES (REPEAT('compress me ', 2000000)), ('short');
                SELECT LENGTH(v), SHA2(v, 256) FROM t ORDER BY 1;
                SELECT v FROM t;
                DELIMITER //
                SELECT 1; SELECT 2; SELECT no_such_column; //
            """.replace(b"SELECT no_such_column; ", b"SELECT 3 "),
        )
        text = b"compress me " * 2_000_000
        lines = said.splitlines()
        assert lines[:2] == [
            b"5\tf9b0078b5df596d2ea19010c001bbd009e651de2c57e8fb7e355f31eb9d3f739",
            b"24000000\t" + hashlib.sha256(text).hexdigest().encode(),
        ]
        same = sorted(lines[2:4]) == sorted([text, b"short"])  # too long to be shown
        assert same
        assert lines[4:] == [b"1", b"2", b"3"]


@algorithms
def test_a_client_may_only_have_what_is_offered(
    proxy: ProxyFactory, mysql9: Server, algorithm: str
) -> None:
    running = proxy(mysql9, proxy={"compression": [algorithm]})
    route = Route(mysql9, "relay", running)
    login = Login()
    with PackedClient(route.host, route.port, login, algorithm) as client:
        assert client.query("SELECT 1")[-2] == b"\x011"
    other = "zstd" if algorithm == "zlib" else "zlib"
    with pytest.raises(AssertionError, match="not offered"):
        PackedClient(route.host, route.port, login, other)
    client_program = program("mysql", "mysql", mysql9)
    arguments = [*route.arguments(), "--skip-column-names", "--execute=SELECT 5"]
    said = run(client_program, *arguments, f"--compression-algorithms={algorithm}")
    assert said == b"5\n"


def test_dump_and_restore(packed: Route, mysql9: Server, database: str) -> None:
    with closing(by_mysqlclient(packed)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY, v LONGTEXT)")
        for n in range(40):
            cursor.execute(
                f"INSERT INTO {database}.t VALUES (%s, REPEAT(SHA2(%s, 256), 10000))", (n, n)
            )
        connection.commit()
        connection.select_db(database)
        arguments = [*packed.arguments(), "--compress", database]
        dumped = run(program("mariadb", "mysqldump", mysql9), *arguments)
        cursor.execute(f"CHECKSUM TABLE {database}.t")
        before = cursor.fetchone()
        cursor.execute(f"DROP TABLE {database}.t")
        run(program("mariadb", "mysql", mysql9), *arguments, stdin=dumped)
        cursor.execute(f"CHECKSUM TABLE {database}.t")
        assert cursor.fetchone() == before


# -- TLS ------------------------------------------------------------------------


def test_within_tls_on_both_sides(
    proxy: ProxyFactory, server: Server, auth: str, database: str
) -> None:
    tls = {"client": "required", "backend": "required"}
    route = Route(server, auth, proxy(server, auth, tls=tls, **towards(server)))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with closing(pymysql.connect(**route.options(ssl=context))) as connection:
        assert status(connection)["Compression"] == "ON"
    connections = [
        MySQLdb.connect(**route.options(compress=True, ssl={"cipher": "DEFAULT"})),
        by_connector(route, ssl_disabled=False),
    ]
    text = "within TLS " * 2_000_000
    for connection in connections:
        with closing(connection), closing(connection.cursor()) as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_version'")
            assert cursor.fetchone()[1].startswith("TLS")
            cursor.execute(f"SELECT LENGTH('{text}'), '{text}'")
            length, back = cursor.fetchone()
            assert length == len(text)
            same = back == text  # too long to be shown
            assert same


# -- what should not be -----------------------------------------------------------


@algorithms
@pytest.mark.parametrize(
    "data",
    [
        b"\x09\x00\x00\x00\x03SELECT 1" * 2,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        pack(b"\x05\x00\x00\x00\x03DO 1", 3, None),
        b"\x20\x00\x00\x00\xff\xff\xff" + b"\x28\xb5\x2f\xfd" * 8,
    ],
    ids=["uncompressed", "http", "order", "bomb"],
)
def test_a_client_that_breaks_its_frames(route: Route, algorithm: str, data: bytes) -> None:
    with PackedClient(route.host, route.port, Login(), algorithm) as client:
        client.socket.sock.sendall(data)  # type: ignore[attr-defined]
        client.socket.shutdown(1)
        client.socket._number = data[3] + 1  # type: ignore[attr-defined]
        told = ErrPacket.parse(client.packet())
        assert (told.number, told.sqlstate) == (1157, b"08S01")
        assert client.socket.recv(10) == b""


def test_small_frames_of_much_cost_little(proxy: ProxyFactory, mariadb: Server) -> None:
    """Thirty clients send 16 KiB that are a statement of 15 MiB, all at once."""
    running: Proxy = proxy(mariadb, **towards(mariadb))
    statement = b"\x03DO 1 -- " + b"x" * (15 * MIB)
    command = len(statement).to_bytes(3, "little") + b"\0" + statement
    frame = pack(command, 0, "zlib")
    assert len(frame) < 20_000
    clients = [PackedClient(running.host, running.port, Login(), "zlib") for _ in range(30)]
    before = resident_kib(running.pid)
    for client in clients:
        client.socket.sock.sendall(frame)  # type: ignore[attr-defined]
        client.socket._number = 1  # type: ignore[attr-defined]
    for client in clients:
        with client:
            assert client.packet()[0] == 0
    grown = resident_kib(running.pid) - before
    assert grown < 100 * 1024, f"{grown} KiB"
