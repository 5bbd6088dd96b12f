# SPDX-License-Identifier: Apache-2.0
"""A worker inside this process: what it counts and holds returns to its start."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from hproxy._native.buffer import pool_stats
from hproxy._native.endpoint import Endpoint
from hproxy._native.reactor import Reactor
from hproxy.config.load import load_config
from hproxy.runtime import Runtime
from hproxy.session.registry import Connection
from hproxy.telemetry.log import get_logger, set_level
from tests.integration.test_leak_cycles import WAYS
from tests.support.fake_backend import FakeBackend, answering
from tests.support.rude_client import RudeClient
from tests.support.server import Server

CYCLES = 400
AT_ONCE = 4
DEADLINE_S = 15.0


class Held(NamedTuple):
    """Everything a session takes."""

    registered: int
    tasks: int
    all_tasks: int
    sockets: int
    backends: tuple[int, ...]
    sessions: tuple[int, ...]
    chunks: int
    descriptors: int


def held(runtime: Runtime) -> Held:
    services = runtime.services
    hproxy = services.users.find(b"hproxy")
    pooled = upkeep = 0
    if services.multiplex is not None:  # what is pooled is no session's, nor is who looks after it
        pooled = sum(bucket.opened + bucket.connecting for bucket in services.multiplex.pools)
        upkeep = 1
    return Held(
        registered=len(services.registry),
        tasks=len(services.tasks) - upkeep,
        all_tasks=len(asyncio.all_tasks()),
        sockets=services.reactor.size - pooled,
        backends=tuple(services.topology.connections.values()),
        sessions=() if hproxy is None else (hproxy.sessions,),
        chunks=pool_stats()[0],
        descriptors=len(os.listdir("/proc/self/fd")) - pooled,
    )


def lingering_objects() -> int:
    """Connections still in memory: a cycle the collector frees is fine, a reference is not."""
    gc.collect()
    return sum(isinstance(thing, Connection) for thing in gc.get_objects())


async def settles(runtime: Runtime, start: Held | None, quiet: Callable[[], bool]) -> None:
    """Until it holds what it held at the start, or else no session at all.

    A backend in this process closes its end in a thread: it has to be `quiet`, too."""
    end = asyncio.get_running_loop().time() + DEADLINE_S
    while True:
        now = held(runtime)
        empty = start is None and not (now.registered or now.tasks or now.sockets)
        if quiet() and (now == start or empty):
            return
        assert asyncio.get_running_loop().time() < end, (now, start)
        await asyncio.sleep(0.02)


async def exercise(
    folder: Path,
    address: str,
    auth: str,
    run: Callable[[int], None],
    quiet: Callable[[], bool] = lambda: True,
) -> None:
    """Serve here while `run(port)` makes trouble in threads, then compare."""
    lines = [
        f'[server]\nlisten_addr = "127.0.0.1:0"\ndata_dir = "{folder}"',
        f'[proxy]\nbackends = ["{address}"]\nmonitor_username = "hproxy"',
        f'session_mode = "{"multiplex" if auth == "multiplex" else "session"}"',
        'monitor_password = "hproxy"\n[tls]\nclient = "off"',
    ]
    if auth != "relay":
        lines.append('[[mysql_users]]\nusername = "hproxy"\npassword = "hproxy"')
    path = folder / "hproxy.toml"
    path.write_text("\n".join(lines))
    runtime = Runtime(load_config(path, {}, {}), get_logger("test"))
    runtime.start()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        loop = asyncio.get_running_loop()

        async def crowd(size: int) -> None:
            port = runtime.listener.port
            await asyncio.gather(*(loop.run_in_executor(pool, run, port) for _ in range(size)))

        try:
            await crowd(AT_ONCE * 2)  # pools and threads exist now
            await settles(runtime, None, quiet)
            objects = lingering_objects()  # collected first: what other tests left is no part of it
            start = held(runtime)
            await crowd(CYCLES)
            await settles(runtime, start, quiet)
            assert lingering_objects() <= objects
        finally:
            await runtime.stop()
    assert runtime.services.reactor.size == 0


@pytest.fixture(autouse=True)
def quiet() -> None:
    set_level("error")


@pytest.mark.parametrize("auth", ["relay", "table", "multiplex"])
def test_sessions(auth: str, tmp_path: Path, mariadb: Server) -> None:
    turns = iter(range(10 * CYCLES))

    def run(port: int) -> None:
        with RudeClient("127.0.0.1", port) as client:
            WAYS[next(turns) % len(WAYS)](client)

    asyncio.run(exercise(tmp_path, mariadb.address, auth, run))


def test_sessions_whose_backend_dies(tmp_path: Path) -> None:
    def run(port: int) -> None:
        with RudeClient("127.0.0.1", port) as client:
            client.log_in().send_query("break")
            client.ending()

    with FakeBackend(answering(lambda connection: connection.reset())) as backend:
        asyncio.run(exercise(tmp_path, backend.address, "relay", run, lambda: backend.quiet))


def test_socket_that_cannot_be_watched() -> None:
    """Ours from the call on: epoll refuses plain files, and the descriptor must not stay."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
        with pytest.raises(PermissionError):
            Endpoint(Reactor(), descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
