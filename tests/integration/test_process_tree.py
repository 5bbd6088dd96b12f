# SPDX-License-Identifier: Apache-2.0
"""The service as processes: who is killed is replaced, and the others do not notice.

clients ── reuseport ──┬── worker 0 ──┐
                       └── worker 1 ──┴── one small server in the test
angel: state on USR2, which names all processes
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pymysql
import pytest

from tests.support.embedded import threaded
from tests.support.proxy import Proxy
from tests.support.service import Service

BACK_SEC = 1.0
"""The promise: traffic is back within it."""


class Tree(Service):
    """A running one with two workers."""

    def client(self) -> Any:
        return pymysql.connect(
            host=self.proxy.host,
            port=self.proxy.port,
            user="demo",
            password="demo",
            read_timeout=10,
        )

    def hurt(self, name: str, number: int) -> float:
        self.ready()
        return super().hurt(name, number)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    folder = tmp_path_factory.mktemp("tree")
    with threaded() as server:
        sections = {
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
            "proxy": {"backends": [f"127.0.0.1:{server.port}"]},
        }
        with Proxy(folder, sections, ("--workers", "2"), single=False) as proxy:
            yield Tree(proxy)


def test_all_workers_serve_one_port(service: Tree) -> None:
    processes = service.rows()
    assert {"angel", "head", "worker 0", "worker 1"} <= set(processes)
    assert len({row["pid"] for row in processes.values()}) == len(processes)
    for _ in range(8):
        with service.client() as client, client.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == ((1,),)


@pytest.mark.parametrize(
    ("name", "number"), [("worker 0", signal.SIGKILL), ("worker 1", signal.SIGSTOP)]
)
def test_a_lost_worker_is_replaced_and_others_do_not_notice(
    service: Tree, name: str, number: int
) -> None:
    clients = [service.client() for _ in range(6)]
    took = service.hurt(name, number)
    kept = [client for client in clients if alive(client)]
    assert 0 < len(kept) <= len(clients)
    for client in kept:
        client.close()
    assert took < BACK_SEC
    for _ in range(8):
        with service.client() as client:
            assert alive(client)


def test_who_waits_in_the_queue_of_a_lost_worker_is_served_by_the_next(service: Tree) -> None:
    """The sockets are the angel's: what the kernel has accepted for them is kept."""
    service.ready()
    pids = [service.rows()[f"worker {slot}"]["pid"] for slot in (0, 1)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    waiting = [socket.create_connection((service.proxy.host, service.proxy.port)) for _ in range(9)]
    for sock in waiting:
        sock.settimeout(15)
        assert sock.recv(5)[4] == 10  # the greeting, of protocol 10
        sock.close()


def test_the_head_may_go_and_no_client_hears_of_it(service: Tree) -> None:
    with service.client() as client:
        assert service.hurt("head", signal.SIGKILL) < 3 * BACK_SEC
        assert alive(client)


def test_children_never_outlive_the_angel(tmp_path: Path) -> None:
    with threaded() as server:
        sections = {
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(tmp_path / "data")},
            "proxy": {"backends": [f"127.0.0.1:{server.port}"]},
        }
        proxy = Proxy(tmp_path, sections, ("--workers", "1"), single=False)
        pids = [row["pid"] for row in Service(proxy).rows().values()]
        assert len(pids) >= 3
        proxy.kill()
        end = monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert monotonic() < end
            sleep(0.02)


def test_a_drain_lets_a_transaction_end(service: Tree) -> None:
    """The last test: nothing is left of the service."""
    proxy = service.proxy
    client = service.client()
    with client.cursor() as cursor:
        cursor.execute("BEGIN")
        proxy.signal(signal.SIGTERM)
        proxy.wait_for_log("draining", worker=0)
        proxy.wait_for_log("draining", worker=1)
        # The angel's socket, in whose queue nobody is served any more, is closed a moment later.
        proxy.wait_until(lambda: refused(proxy.host, proxy.port), "its port is closed")
        cursor.execute("SELECT 2")
        assert cursor.fetchall() == ((2,),)
        cursor.execute("COMMIT")
    proxy.wait_for_log("stopped", status=0)
    proxy.wait_until(lambda: not proxy.running, "gone")
    client.close()


def alive(client: Any) -> bool:
    try:
        with client.cursor() as cursor:
            cursor.execute("SELECT 1")
            return bool(cursor.fetchall() == ((1,),))
    except pymysql.err.OperationalError:
        return False


def refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return True
    return False
