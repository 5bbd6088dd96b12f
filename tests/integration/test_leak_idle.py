# SPDX-License-Identifier: Apache-2.0
"""Thousands of idle clients: what each costs, and that it is given back."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.fake_backend import FakeBackend
from tests.support.process import descriptors, eventually, resident_kib
from tests.support.rude_client import RudeClient
from tests.support.scene import Scene

CLIENTS = int(os.environ.get("HPROXY_TEST_IDLE_CLIENTS", "2000"))
WARM_UP = 200
PAIR_KIB = 8.0
"""The budget for a client and its backend connection together."""


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    """Its ends of the connections and the clients' are both in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with FakeBackend() as backend:
        yield backend
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(240)
def test_idle_clients(tmp_path: Path, backend: FakeBackend) -> None:
    with Scene(
        tmp_path,
        backend.address,
        server={"max_connections": CLIENTS + WARM_UP + 10},
        backend_limit=CLIENTS + WARM_UP + 10,
    ) as scene:
        pid = scene.proxy.pid

        def crowd(stack: ExitStack, size: int) -> list[RudeClient]:
            def one(_: int) -> RudeClient:
                client = RudeClient(scene.proxy.host, scene.proxy.port).log_in()
                assert client.query("hello") == [b"\x04fine"]
                return client

            with ThreadPoolExecutor(4) as pool:
                return [stack.enter_context(client) for client in pool.map(one, range(size))]

        # The first few also pay for what all share: imports, pools, hash tables.
        with ExitStack() as stack:
            crowd(stack, WARM_UP)
        eventually(lambda: descriptors(pid) <= scene.descriptors, "the first ones have left")
        before = {kind: resident_kib(pid, kind) for kind in ("Rss", "Pss")}
        with ExitStack() as stack:
            clients = crowd(stack, CLIENTS)
            pair = {kind: (resident_kib(pid, kind) - before[kind]) / CLIENTS for kind in before}
            sys.stdout.write(f"KiB per idle client and its backend connection: {pair}\n")
            for client in clients[:: CLIENTS // 20]:
                assert client.query("hello") == [b"\x04fine"]
            scene.check_witness()
        assert pair["Rss"] < PAIR_KIB, pair
        eventually(lambda: descriptors(pid) <= scene.descriptors, "all have left", deadline_s=30)
