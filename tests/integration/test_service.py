# SPDX-License-Identifier: Apache-2.0
"""A service under load loses its processes one by one, and clients hardly notice.

`python -m bench.load.service` does the same for minutes and with more clients.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from bench.load.service import Load, reload_and_rotate, schema, started
from tests.conftest import running
from tests.support.service import Probes, Service

CLIENTS = 16
WORKERS = ("worker 0", "worker 1")
BACK_S = 5.0
"""A second is the promise, and `bench` measures it; this machine may run other tests as well."""
OTHERS_S = 3.0


@dataclass
class Scene:
    service: Service
    probes: Probes
    load: Load
    log_file: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server = running("mariadb")
    folder = tmp_path_factory.mktemp("service")
    log_file = folder / "hproxy.log"
    with schema(server) as name, started(server, folder, len(WORKERS), log_file) as proxy:
        where = {"host": proxy.host, "port": proxy.port}
        account = {"user": server.user, "password": server.password}
        with Load(server, proxy, name, CLIENTS) as load, Probes(where | account) as probes:
            yield Scene(Service(proxy), probes, load, log_file)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("worker 0", signal.SIGKILL),
        ("worker 1", signal.SIGKILL),
        ("head", signal.SIGKILL),
        ("worker 0", signal.SIGSTOP),
    ],
    ids=["kill-0", "kill-1", "kill-head", "stop-0"],
)
def test_a_lost_process_is_soon_replaced(scene: Scene, name: str, number: int) -> None:
    scene.service.ready()
    victims = scene.probes.of(WORKERS.index(name)) if name in WORKERS else []
    began = monotonic()
    scene.service.hurt(name, number)
    assert scene.probes.settled(began) < BACK_S
    assert scene.probes.gap(began) < OTHERS_S
    assert scene.probes.lost(began) == victims


def test_reloads_and_rotations_disturb_nobody_and_leave_nothing(scene: Scene) -> None:
    scene.service.ready()
    began = monotonic()
    before, after = reload_and_rotate(scene.service, scene.log_file, 5, 5)
    assert not scene.probes.errors(began)
    assert {who: size.fds for who, size in after.items()}.keys() == before.keys()
    for who, size in after.items():
        if who in ("angel", "head"):  # workers' descriptors are those of clients and backends
            assert size.fds <= before[who].fds + 2, (before, after)
