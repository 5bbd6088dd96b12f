# SPDX-License-Identifier: Apache-2.0
"""A client that vanishes: its query ends, its transaction is undone, nothing stays behind."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.database import Side
from tests.support.fake_backend import frame
from tests.support.process import eventually
from tests.support.rude_client import CLOSED, Answer, RudeClient
from tests.support.scene import Scene
from tests.support.server import Server

MONITOR: Mapping[str, Any] = {"monitor_username": "hproxy", "monitor_password": "hproxy"}
USERS = [{"username": "hproxy", "password": "hproxy"}]
LEAVES: Mapping[str, Callable[[RudeClient], None]] = {
    "close": RudeClient.close,
    "reset": RudeClient.reset,
}


@pytest.fixture
def side(mariadb: Server) -> Iterator[Side]:
    with Side(mariadb) as side:
        yield side


def scene_of(folder: Path, server: Server, mode: str) -> Scene:
    if mode == "relay":
        return Scene(folder, server.address, **MONITOR)
    kept = "multiplex" if mode == "multiplex" else "session"
    return Scene(folder, server.address, users=USERS, session_mode=kept)


@pytest.mark.parametrize("leave", LEAVES)
@pytest.mark.parametrize("mode", ["relay", "table", "multiplex"])
def test_query_is_killed(
    mode: str, leave: str, tmp_path: Path, mariadb: Server, side: Side
) -> None:
    with scene_of(tmp_path, mariadb, mode) as scene:
        mark = secrets.token_hex(8)
        client = scene.client().log_in()
        client.send_query(f"SELECT SLEEP(30) /* {mark} */")
        eventually(lambda: side.runs(mark), "the query runs")
        LEAVES[leave](client)
        eventually(lambda: not side.runs(mark), "the query is gone")
        assert scene.told("client.gone")["state"] == "response"
        assert scene.proxy.wait_for_log("orphaned query killed", since=scene.since)


def test_query_is_killed_on_mysql(tmp_path: Path, mysql9: Server) -> None:
    with Side(mysql9) as side, Scene(tmp_path, mysql9.address, users=USERS) as scene:
        mark = secrets.token_hex(8)
        client = scene.client().log_in()
        client.send_query(f"SELECT SLEEP(30) /* {mark} */")
        eventually(lambda: side.runs(mark), "the query runs")
        client.reset()
        eventually(lambda: not side.runs(mark), "the query is gone")
        assert scene.proxy.wait_for_log("orphaned query killed", since=scene.since)


def test_without_a_password_the_log_says_so(tmp_path: Path, mariadb: Server, side: Side) -> None:
    with Scene(tmp_path, mariadb.address) as scene:
        mark = secrets.token_hex(8)
        client = scene.client().log_in()
        client.send_query(f"SELECT SLEEP(20) /* {mark} */")
        eventually(lambda: side.runs(mark), "the query runs")
        client.reset()
        line = scene.proxy.wait_for_log(
            "orphaned query left to the backend: no password is known to kill it with",
            since=scene.since,
        )
        assert line["conn"] == scene.told("client.gone")["conn"]
        assert "proxy.monitor_username" in line["hint"]
        assert side.runs(mark)
        side.kill(mark)


def test_not_killed_when_not_wanted(tmp_path: Path, mariadb: Server, side: Side) -> None:
    with Scene(tmp_path, mariadb.address, kill_query_on_disconnect=False, **MONITOR) as scene:
        mark = secrets.token_hex(8)
        client = scene.client().log_in()
        client.send_query(f"SELECT SLEEP(20) /* {mark} */")
        eventually(lambda: side.runs(mark), "the query runs")
        client.reset()
        scene.proxy.wait_for_log("session ended", since=scene.since)
        assert side.runs(mark)
        side.kill(mark)


@pytest.mark.parametrize("leave", LEAVES)
def test_transaction_is_undone(leave: str, tmp_path: Path, mariadb: Server, side: Side) -> None:
    with side.table("id INT PRIMARY KEY") as table, Scene(tmp_path, mariadb.address) as scene:
        client = scene.client().log_in()
        client.query("BEGIN")
        client.query(f"INSERT INTO test.{table} VALUES (1)")
        assert client.query(f"SELECT id FROM test.{table}") == [b"\x011"]
        LEAVES[leave](client)
        # Waits for the row lock, so it succeeds only once the transaction has ended.
        side.run(f"INSERT INTO test.{table} VALUES (1)")
        assert scene.silent()  # a client may leave between two commands


def test_in_the_middle_of_a_result(tmp_path: Path, mariadb: Server, side: Side) -> None:
    with Scene(tmp_path, mariadb.address, **MONITOR) as scene:
        mark = secrets.token_hex(8)
        client = scene.client().log_in()
        client.send_query(f"SELECT REPEAT('x', 1000000) /* {mark} */ AS v FROM test.seq_1_to_1000")
        for _ in range(10):
            client.read_packet()
        client.reset()
        eventually(lambda: not side.runs(mark), "the query is gone")
        scene.told("client.gone")


def test_in_the_middle_of_a_file(tmp_path: Path, mariadb: Server, side: Side) -> None:
    with side.table("v VARCHAR(20)") as table, Scene(tmp_path, mariadb.address) as scene:
        client = scene.client().log_in()
        client.send_query(f"LOAD DATA LOCAL INFILE 'x.csv' INTO TABLE test.{table}")
        assert client.read_packet() == b"\xfbx.csv"
        client.write_packet(b"one\n" * 1000)
        client.sock.sendall(frame(b"two\n", client.sequence, length=4000))
        client.reset()
        assert scene.told("client.gone")["state"] == "infile"
        eventually(lambda: not side.runs(table), "the statement is gone")
        assert side.run(f"SELECT COUNT(*) FROM test.{table} WHERE v = 'two'") == ((0,),)


@pytest.mark.parametrize("sent", [1, 3, 4, 5, 100])
@pytest.mark.parametrize("leave", LEAVES)
def test_with_half_a_packet(sent: int, leave: str, tmp_path: Path, mariadb: Server) -> None:
    with Scene(tmp_path, mariadb.address) as scene:
        client = scene.client().log_in()
        client.sock.sendall(frame(b"\x03SELECT " + b"1" * 200, 0)[:sent])
        LEAVES[leave](client)
        scene.proxy.wait_for_log("session ended", since=scene.since)


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "in a query"])
def test_killed_by_somebody_else(idle: bool, tmp_path: Path, mariadb: Server, side: Side) -> None:
    """The other end of it: the session's connection is killed on the server."""
    with Scene(tmp_path, mariadb.address) as scene:
        mark = secrets.token_hex(8)
        client = scene.client().log_in()
        [row] = client.query("SELECT CONNECTION_ID()")
        backend_id = int(row[1:])
        if not idle:
            client.send_query(f"SELECT SLEEP(30) /* {mark} */")
            eventually(lambda: side.runs(mark), "the query runs")
        side.run(f"KILL CONNECTION {backend_id}")
        # MariaDB just closes, which the proxy can put into words only where an answer is due.
        assert client.ending() == (CLOSED if idle else Answer(2013, "HY000"))
        assert scene.told("backend.lost", "backend lost")["state"] == (
            "idle" if idle else "response"
        )
