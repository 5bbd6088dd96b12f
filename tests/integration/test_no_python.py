# SPDX-License-Identifier: Apache-2.0
"""A worker before real servers runs no Python for a statement it has seen before.

The loop's thread is profiled while clients in another thread ask. What remains is what the clock
starts, not clients: it is bounded by the seconds it took, whatever the number of statements.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest
import uvloop

import hproxy
from hproxy._native.pool import BackendConnection
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.wire import frames
from hproxy.routing.rules import RuleSet
from hproxy.runtime import Runtime
from hproxy.session.ruling import swap_rules
from tests.integration.conftest import direct
from tests.integration.scripts import statement_id
from tests.support.pooled import pooled, until
from tests.support.recording_client import COMMON, Login, RecordingClient
from tests.support.server import Server

ROUNDS = 10_000
SESSIONS = 4
CONNECTIONS = 1  # to the writer, and to the reader: sessions wait for each other
WARM_UP = 20
TIMEOUT_S = 120.0
SOURCE = str(Path(hproxy.__file__).parent)

# What the clock starts, and how often in a second: everything else runs within one of them.
PER_SECOND = {"ReactorLoop._sweep": 1, "Runtime._upkeep": 10, "TransactionLimits._again": 1}
# Within each are loops over hostgroups, groups, connections and sessions: all of them are few.
CALLS_WITHIN = 100


class Calls:
    """Python functions of hproxy called in this thread, from entry to exit."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        """Those that no other function of hproxy called."""
        self.total = 0

    def __enter__(self) -> Calls:
        gc.disable()
        self._begun = monotonic()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        self.seconds = monotonic() - self._begun
        gc.enable()

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(SOURCE):
            return
        self.total += 1
        caller = frame.f_back
        while caller is not None:
            if caller.f_code.co_filename.startswith(SOURCE):
                return
            caller = caller.f_back
        self.started[frame.f_code.co_qualname] += 1


@dataclass(frozen=True)
class Exchange:
    """A command, and its answer: the same bytes each time."""

    command: bytes
    answer: bytes

    def repeat(self, sock: socket.socket) -> None:
        sock.sendall(self.command)
        heard = b""
        while len(heard) < len(self.answer):
            data = sock.recv(len(self.answer) - len(heard))
            assert data, "closed by the proxy"
            heard += data
        assert heard == self.answer


class Session:
    """A client, and what it asks in turn: reads and writes, as text and prepared."""

    def __init__(self, port: int, table: str, number: int) -> None:
        login = Login(capabilities=COMMON | Capability.DEPRECATE_EOF)
        self.client = RecordingClient("127.0.0.1", port, login)
        read = f"SELECT id, v FROM {table} WHERE id = "
        write = f"UPDATE {table} SET v = 'same' WHERE id = "
        self.kinds = {
            "query": [self._learned(b"\x03" + f"{sql}{number}".encode()) for sql in (read, write)],
            "execute": [
                self._learned(
                    struct.pack("<BIBIBBHq", 0x17, self._prepared(sql), 0, 1, 0, 1, 8, number)
                )
                for sql in (f"{read}?", f"{write}?")
            ],
        }

    def _prepared(self, sql: str) -> int:
        return statement_id(self.client.command(b"\x16" + sql.encode()))

    def _learned(self, command: bytes) -> Exchange:
        self.client.take()
        first = self.client.command(command)[0]
        assert first[0] != 0xFF, first
        answer = b"".join(packet(frame.payload, frame.sequence) for frame in self.client.take())
        return Exchange(packet(command), answer)

    def ask(self, kind: str, times: int) -> None:
        for turn in range(times):
            self.kinds[kind][turn % 2].repeat(self.client.socket)


def packet(payload: bytes, sequence: int = 0) -> bytes:
    (frame,) = frames(payload, sequence)
    return frame


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"test.it_{secrets.token_hex(6)}"
    values = ", ".join(f"({number}, 'same')" for number in range(SESSIONS))
    direct(
        server,
        f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO {name} VALUES {values}",
    )
    yield name
    direct(server, f"DROP TABLE {name}")


async def measured(
    folder: Path,
    server: Server,
    table: str,
    kind: str,
    sessions: int,
    rounds: int,
    rules: int = 0,
    **proxy: Any,
) -> Calls:
    """What is called while so many sessions ask so much altogether, under so many query rules."""
    # A writer and its reader: the same server, so that both know the table at once.
    rows = [
        {
            "hostname": server.host,
            "port": server.port,
            "hostgroup_id": hostgroup,
            "max_connections": CONNECTIONS,
        }
        for hostgroup in range(2)
    ]
    loop = asyncio.get_running_loop()
    pairs = [{"writer_hostgroup": 0, "reader_hostgroup": 1}]
    options = {"read_your_writes_ms": 0} | proxy
    with ThreadPoolExecutor(sessions) as pool, ExitStack() as stack:
        async with pooled(
            folder, *rows, mysql_replication_hostgroups=pairs, proxy=options
        ) as runtime:
            swap_rules(runtime.services, RuleSet.compile(rule_rows(rules)))
            crowd: list[Session] = []
            for number in range(sessions):
                make = partial(Session, runtime.listener.port, table, number)
                crowd.append(await loop.run_in_executor(pool, make))
                stack.callback(crowd[-1].client.close)

            async def all_ask(times: int) -> None:
                work = [
                    loop.run_in_executor(pool, session.ask, kind, times // sessions)
                    for session in crowd
                ]
                await asyncio.gather(*work)

            await all_ask(WARM_UP * sessions)
            waited = waits(runtime)
            before = answered(runtime)
            with Calls() as calls:
                await all_ask(rounds)
            asked = [now - then for now, then in zip(answered(runtime), before, strict=True)]
            assert asked == [rounds // 2, rounds // 2], "not split"
            assert (waits(runtime) > waited) is (sessions > 1)
            stack.close()
            await until(lambda: not len(runtime.services.registry), "clients gone")
    return calls


def rule_rows(count: int) -> list[dict[str, Any]]:
    """Rules of which the last two say what the split says by itself."""
    rows: list[dict[str, Any]] = [
        {"match_digest": f"^SELECT a FROM t{n} WHERE"} for n in range(count - 2)
    ]
    if count:
        rows.append({"match_digest": "^SELECT id", "destination_hostgroup": 1, "apply": 1})
        rows.append({"match_digest": "^UPDATE", "destination_hostgroup": 0, "timeout": 60_000})
    return [{"rule_id": at, "active": 1} | row for at, row in enumerate(rows)]


def used(runtime: Runtime) -> list[list[BackendConnection]]:
    """The idle connections to the writer, and to the reader."""
    shared = runtime.services.multiplex
    assert shared is not None
    found: list[list[BackendConnection]] = [[], []]
    for bucket in shared.pools:
        found[bucket.group.key.hostgroup] += bucket.connections()
    return found


def answered(runtime: Runtime) -> list[int]:
    """Statements that were run by the writer, and by the reader."""
    return [sum(each.uses for each in connections) for connections in used(runtime)]


def waits(runtime: Runtime) -> int:
    """How often a session had to wait for a connection."""
    shared = runtime.services.multiplex
    assert shared is not None
    return sum(group.waited for group in shared.pools.groups.values())


def profiled(*arguments: Any, **proxy: Any) -> Calls:
    work = measured(*arguments, **proxy)
    return uvloop.run(asyncio.wait_for(work, TIMEOUT_S))


@pytest.mark.parametrize("sessions", [1, SESSIONS], ids=["alone", "in_turns"])
@pytest.mark.parametrize("kind", ["query", "execute"])
def test_only_the_clock_runs_python(
    server: Server, table: str, tmp_path: Path, kind: str, sessions: int
) -> None:
    calls = profiled(tmp_path, server, table, kind, sessions, ROUNDS)
    assert set(calls.started) <= set(PER_SECOND), calls.started
    for name, often in PER_SECOND.items():
        assert calls.started[name] <= often * calls.seconds + 1, (name, calls.seconds)
    assert calls.total <= CALLS_WITHIN * calls.started.total()


@pytest.mark.parametrize("rules", [100, 10_000])
@pytest.mark.parametrize("kind", ["query", "execute"])
def test_rules_run_no_python(
    server: Server, table: str, tmp_path: Path, kind: str, rules: int
) -> None:
    calls = profiled(tmp_path, server, table, kind, SESSIONS, ROUNDS // 2, rules=rules)
    assert set(calls.started) <= set(PER_SECOND), calls.started


@pytest.mark.parametrize("kind", ["query", "execute"])
def test_the_profiler_would_see_it(server: Server, table: str, tmp_path: Path, kind: str) -> None:
    """The counterpart: with the fast lane off each statement comes up to Python."""
    calls = profiled(tmp_path, server, table, kind, 1, 100, fast_lane=False)
    assert calls.started["MultiplexDriver.statement"] == 100
