# SPDX-License-Identifier: Apache-2.0
"""Ten thousand clients come and go, politely and not: the proxy ends as it began."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hproxy.protocols.mysql.wire import frames
from tests.integration.database import Side
from tests.support.process import descriptors, eventually, resident_kib
from tests.support.rude_client import RudeClient
from tests.support.scene import Scene
from tests.support.server import Server

POOLED = 4  # backend connections that multiplexed sessions share
CYCLES = 10_000
WARM_UP = 1_000
AT_ONCE = 8
# 10,000 forgotten objects of 100 bytes, or one forgotten 16 KiB chunk per 16 cycles, show.
GROWTH_KIB = 1_024
USERS = [{"username": "hproxy", "password": "hproxy"}]


def polite(client: RudeClient) -> None:
    assert client.log_in().query("SELECT 1") == [b"\x011"]
    client.quit()


def abrupt(client: RudeClient) -> None:
    client.log_in().query("SELECT 1")
    client.close()


def resets(client: RudeClient) -> None:
    client.log_in().query("SELECT 1")
    client.reset()


def resets_in_a_query(client: RudeClient) -> None:
    client.log_in().send_query("SELECT 1 FROM test.seq_1_to_1000")
    client.reset()


def resets_in_login(client: RudeClient) -> None:
    login = b"".join(frames(client.response(), 1))
    client.sock.sendall(login[: len(login) // 2])
    client.reset()


def bad_password(client: RudeClient) -> None:
    client.password = "wrong"
    with pytest.raises(ConnectionRefusedError) as refused:
        client.log_in()
    assert refused.value.errno == 1045


def under_tls(client: RudeClient) -> None:
    assert client.log_in(tls=True).query("SELECT 1") == [b"\x011"]
    client.quit()


def resets_under_tls(client: RudeClient) -> None:
    client.log_in(tls=True).send_query("SELECT 1")
    client.reset()


def leaves_in_the_tls_handshake(client: RudeClient) -> None:
    request = bytearray(client.response()[:32])
    request[1] |= 0x08
    client.write_packet(bytes(request))
    client.reset()


def nonsense(client: RudeClient) -> None:
    client.log_in().sock.sendall(b"\xff" * 100)
    client.ending()


WAYS: list[Callable[[RudeClient], None]] = [
    polite, polite, abrupt, resets, resets_in_a_query, resets_in_login, bad_password, nonsense,
]  # fmt: skip


TLS_WAYS = [under_tls, resets_under_tls, leaves_in_the_tls_handshake, polite]


def run(scene: Scene, ways: list[Callable[[RudeClient], None]], cycles: int) -> None:
    def cycle(number: int) -> None:
        with RudeClient(scene.proxy.host, scene.proxy.port) as client:
            ways[number % len(ways)](client)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(cycle, range(cycles)):
            pass


def settled(scene: Scene) -> None:
    eventually(
        lambda: descriptors(scene.proxy.pid) <= scene.descriptors,
        f"no more than {scene.descriptors} descriptors",
        deadline_s=20,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "ways", "cycles"),
    [
        ("relay", WAYS, CYCLES),
        ("table", WAYS, CYCLES // 5),
        ("multiplex", WAYS, CYCLES // 5),
        ("relay", TLS_WAYS, CYCLES // 10),
    ],
    ids=["relay", "table", "multiplex", "tls"],
)
def test_connect_and_kill(
    mode: str,
    ways: list[Callable[[RudeClient], None]],
    cycles: int,
    tmp_path: Path,
    mariadb: Server,
) -> None:
    pooled = POOLED if mode == "multiplex" else 0
    with (
        Side(mariadb) as side,
        Scene(
            tmp_path,
            mariadb.address,
            users=[] if mode == "relay" else USERS,
            session_mode="multiplex" if pooled else "session",
            backend_limit=pooled or 1000,
            monitor_username="hproxy",
            monitor_password="hproxy",
            log_level="info",
            tls="preferred",
        ) as scene,
    ):
        scene.descriptors += pooled  # they are no session's
        # What was there of others: several test runs may share the server.
        run(scene, ways, WARM_UP)
        settled(scene)
        before = resident_kib(scene.proxy.pid)
        try:
            run(scene, ways, cycles)
        finally:
            with suppress(Exception):  # bad logins in a row must not lock out who comes next
                side.run("FLUSH HOSTS")
        settled(scene)
        grown = resident_kib(scene.proxy.pid) - before
        assert grown < GROWTH_KIB, f"{grown} KiB more after {cycles} cycles"
        assert not scene.proxy.lines("internal error"), scene.proxy.lines("internal error")
        assert not scene.proxy.lines("backend lost")
