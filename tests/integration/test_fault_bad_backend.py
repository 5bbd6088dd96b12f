# SPDX-License-Identifier: Apache-2.0
"""Backends whose bytes are nearly right, thousands of them: every client hears how it ended."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hproxy.errors import HProxyError
from hproxy.protocols.mysql.constants import ServerStatus
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.protocols.mysql.results import column, ok, prepare_ok, text_resultset
from hproxy.protocols.mysql.wire import MalformedPacket, join
from tests.support.fake_backend import CAPABILITIES, Connection, FakeBackend, frame, result
from tests.support.mutation import mutated
from tests.support.process import descriptors, eventually, resident_kib
from tests.support.rude_client import CLOSED, Answer, RudeClient
from tests.support.scene import Scene

CONVERSATIONS = 2_000
WARM_UP = 200
AT_ONCE = 6
SEED = 20_241_121
GROWTH_KIB = 4 * 1024
CROWD = 300

MORE = ServerStatus.AUTOCOMMIT | ServerStatus.MORE_RESULTS_EXISTS
COLUMNS = [column("a"), column("b", int), column("c")]
ANSWERS = [
    frame(ok(info="fine"), 1),
    frame(ErrPacket(1064, b"syntax", b"42000").build(), 1),
    result(*"abcdefgh"),
    join(text_resultset(COLUMNS, [("x" * 300, 1, None)] * 20, CAPABILITIES), 1)[0],
    join(
        [
            *text_resultset(COLUMNS, [("x", 1, "y")], CAPABILITIES, MORE),
            ok(status=MORE),
            *text_resultset(COLUMNS, [], CAPABILITIES),
        ],
        1,
    )[0],
]
PREPARED = join(prepare_ok(1, 2, COLUMNS, CAPABILITIES), 1)[0]
LAST: list[Callable[[Connection], None]] = [
    Connection.close,
    Connection.reset,
    Connection.half_close,
]


def nearly_right(connection: Connection) -> None:
    """Wrong at one of three places, by a dice that every run throws the same."""
    dice = random.Random(SEED + connection.number)
    place = dice.randrange(6)
    if place == 0:
        connection.mutate = lambda data: mutated(dice, data)
    connection.greet()
    connection.mutate = None
    connection.read_packet()
    verdict = frame(ok(), 2)
    connection.send(mutated(dice, verdict) if place == 1 else verdict)
    command = connection.read_packet()
    answer = PREPARED if command[:1] == b"\x16" else dice.choice(ANSWERS)
    connection.send(mutated(dice, answer))
    dice.choice(LAST)(connection)


def meet(scene: Scene, number: int) -> None:
    """One client of such a backend: it must be told something, or closed, soon."""
    with RudeClient(scene.proxy.host, scene.proxy.port) as client:
        client.sock.settimeout(15)
        try:
            client.log_in().sequence = 0
            client.write_packet(b"\x16SELECT ?" if number % 4 == 0 else b"\x03SELECT 1")
            while client.sock.recv(65536):
                pass
        except TimeoutError:
            pytest.fail(f"conversation {number} hangs")
        except (OSError, EOFError, MalformedPacket, HProxyError, KeyError, ValueError):
            pass  # what a client makes of nonsense is its own affair


@pytest.mark.fuzz
@pytest.mark.timeout(180)
def test_thousands_of_mutated_backends(tmp_path: Path) -> None:
    with (
        FakeBackend() as backend,
        Scene(
            tmp_path,
            backend.address,
            log_level="info",
            # Half of a greeting or a verdict is waited for, by design.
            connect_timeout_ms=100,
            login_timeout_ms=200,
            shun_recovery_time_sec=0,
        ) as scene,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        backend.script = nearly_right
        list(pool.map(lambda number: meet(scene, number), range(WARM_UP)))
        eventually(lambda: descriptors(scene.proxy.pid) <= scene.descriptors, "warm-up is over")
        before = resident_kib(scene.proxy.pid)
        list(pool.map(lambda number: meet(scene, number), range(CONVERSATIONS)))
        eventually(lambda: descriptors(scene.proxy.pid) <= scene.descriptors, "all are gone")
        assert resident_kib(scene.proxy.pid) - before < GROWTH_KIB
        assert not scene.proxy.lines("internal error"), scene.proxy.lines("internal error")


def test_backend_dies_with_hundreds_of_sessions(tmp_path: Path) -> None:
    """All of them are told, each with its line, and those of another backend are not."""
    with (
        FakeBackend() as good,
        FakeBackend() as bad,
        Scene(tmp_path, bad.address, good.address) as scene,
    ):
        sessions = [scene.client().log_in() for _ in range(CROWD)]
        for session in sessions[::2]:
            session.send_query("wait")
        bad.script = Connection.close
        bad.cut()
        seen = [session.ending() for session in sessions]
        assert set(seen[::2]) <= {Answer(2013, "HY000"), CLOSED}
        assert set(seen[1::2]) == {CLOSED}
        scene.witness = None  # it was one of them
        scene.proxy.wait_until(
            lambda: len(scene.proxy.lines("session ended", since=scene.since)) == CROWD + 1,
            "all sessions have ended",
        )
        lost = scene.proxy.lines("backend lost", since=scene.since)
        assert len({line["conn"] for line in lost}) == len(lost) == CROWD + 1
        assert scene.client().log_in().query("hello") == [b"\x04fine"]
