# SPDX-License-Identifier: Apache-2.0
"""Starts that cannot be, and ends: what is drained, what is cut, and the exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic

import pytest

from tests.integration.database import Side
from tests.support.fake_backend import FakeBackend
from tests.support.process import eventually
from tests.support.proxy import toml
from tests.support.rude_client import CLOSED, Answer
from tests.support.scene import Scene
from tests.support.server import Server

SOON_S = 8.0  # below the login timeout, which would be the wrong reason to end
SHUTDOWN = Answer(1053, "08S01")


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    with FakeBackend() as backend:
        yield backend


def ends(scene: Scene, within_s: float = SOON_S) -> None:
    eventually(lambda: scene.proxy.status is not None, "the process ends", within_s)
    assert scene.proxy.status == 0, scene.proxy.story()


def refuses(scene: Scene) -> bool:
    try:
        scene.client().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_sessions_are_closed(
    number: signal.Signals, tmp_path: Path, backend: FakeBackend
) -> None:
    with Scene(tmp_path, backend.address) as scene:
        clients = [scene.client().log_in() for _ in range(5)]
        scene.proxy.signal(number)
        assert [client.ending() for client in clients] == [CLOSED] * 5
        ends(scene)
        assert scene.proxy.wait_for_log("stopped")["cut_off"] == 0


def test_running_query_is_finished(tmp_path: Path, mariadb: Server) -> None:
    with Side(mariadb) as side, Scene(tmp_path, mariadb.address, witness=False) as scene:
        client = scene.client().log_in()
        client.send_query("SELECT SLEEP(1.5) /* drained */")
        eventually(lambda: side.runs("drained"), "the query runs")
        scene.proxy.signal(signal.SIGTERM)
        eventually(lambda: refuses(scene), "new clients are refused")
        assert client.read_rows() == [b"\x010"]
        assert client.ending() == CLOSED
        ends(scene)
        assert scene.proxy.wait_for_log("stopped")["cut_off"] == 0


def test_transaction_is_finished(tmp_path: Path, mariadb: Server) -> None:
    with Scene(tmp_path, mariadb.address, witness=False) as scene:
        idle, client = scene.client().log_in(), scene.client().log_in()
        client.query("BEGIN")
        scene.proxy.signal(signal.SIGTERM)
        assert idle.ending() == CLOSED
        client.query("DO 1")
        client.query("COMMIT")
        assert client.ending() == CLOSED
        ends(scene)
        assert scene.proxy.wait_for_log("stopped")["cut_off"] == 0


def test_second_signal_ends_at_once(tmp_path: Path, mariadb: Server) -> None:
    with Side(mariadb) as side, Scene(tmp_path, mariadb.address, witness=False) as scene:
        client = scene.client().log_in()
        client.send_query("SELECT SLEEP(60) /* cut off */")
        eventually(lambda: side.runs("cut off"), "the query runs")
        scene.proxy.signal(signal.SIGTERM)
        scene.proxy.wait_for_log("draining")
        scene.proxy.signal(signal.SIGTERM)
        assert client.endings() == (SHUTDOWN, CLOSED)
        ends(scene)
        assert scene.proxy.wait_for_log("stopped")["cut_off"] == 1
        side.kill("cut off")


def test_silent_client_does_not_hold_the_end_up(tmp_path: Path, backend: FakeBackend) -> None:
    """Connected, not logged in: nobody's work is lost by closing it."""
    with Scene(tmp_path, backend.address, witness=False) as scene:
        client = scene.client()
        client.response()
        begun = monotonic()
        scene.proxy.signal(signal.SIGTERM)
        assert client.ending() == CLOSED
        ends(scene)
        assert monotonic() - begun < SOON_S


def test_killed_outright(tmp_path: Path, mariadb: Server) -> None:
    """SIGKILL: the sockets go with the process, and the server undoes what was open."""
    with Side(mariadb) as side, side.table("id INT PRIMARY KEY") as table:
        with Scene(tmp_path, mariadb.address, witness=False) as scene:
            client = scene.client().log_in()
            client.query("BEGIN")
            client.query(f"INSERT INTO test.{table} VALUES (1)")
            scene.proxy.kill()
        side.run(f"INSERT INTO {table} VALUES (1)")


# -- starts that cannot be ----------------------------------------------------------


def hproxy(folder: Path, *arguments: str, **sections: Mapping[str, object]) -> tuple[int, str]:
    """Exit code and everything said by a `hproxy run` that must end by itself."""
    path = folder / "hproxy.toml"
    base: dict[str, dict[str, object]] = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder)},
        "proxy": {"backends": ["127.0.0.1:1"]},
    }
    merged = {name: {**base.get(name, {}), **sections.get(name, {})} for name in base | sections}
    path.write_text(toml(merged))
    done = subprocess.run(
        [sys.executable, "-m", "hproxy.cli.main", "run", "--single", "-c", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        status, said = hproxy(tmp_path, server={"listen_addr": address})
    assert status == 1
    assert address in said
    assert "in use" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("what", ["missing", "garbage"])
def test_certificate_that_cannot_be_used(what: str, tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    if what == "garbage":
        cert.write_text("-----BEGIN CERTIFICATE-----\nnot\n-----END CERTIFICATE-----\n")
    status, said = hproxy(tmp_path, tls={"cert": str(cert), "key": str(cert)})
    assert status == 1
    assert "tls.cert" in said
    assert str(cert) in said
    assert "Traceback" not in said


def test_data_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = hproxy(tmp_path, server={"data_dir": str(tmp_path / "file/below")})
    assert status == 1
    assert "server.data_dir" in said
    assert "Traceback" not in said


def test_broken_rsa_key(tmp_path: Path) -> None:
    (tmp_path / "rsa-private-key.pem").write_text("not a key")
    status, said = hproxy(tmp_path)
    assert status == 1
    assert "rsa-private-key.pem" in said
    assert "Traceback" not in said


def test_test_flag(tmp_path: Path) -> None:
    status, said = hproxy(tmp_path, "--test")
    assert (status, said.strip()) == (0, "Server Test passed, exiting")
    assert os.listdir(tmp_path) == ["hproxy.toml"]


def test_test_flag_loads_everything(tmp_path: Path) -> None:
    """A certificate that cannot be read is found by --test, not by the restart after it."""
    status, said = hproxy(tmp_path, "--test", tls={"cert": str(tmp_path / "none.pem")})
    assert status == 1
    assert "tls.cert" in said
