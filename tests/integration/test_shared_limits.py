# SPDX-License-Identifier: Apache-2.0
"""Two workers, one limit: connections to a backend, of a user, clients.

clients ──┬── worker 0 ──┐                        ┌ the relay counts connections,
          └── worker 1 ──┴── a relay ── a server ─┘ and how many there were at most
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any

import pymysql
import pytest

from hproxy.session.registry import slot_of
from tests.conftest import running
from tests.support.proxy import Proxy
from tests.support.relay import SlowRelay

LIMIT = 4
CLIENTS = 9
SOON_S = 30.0
PLACES = 40
BURST = 500
GUESSES = 10
GREETING, ERROR = 10, 255
DENIED, BLOCKED = 1045, 1129


class Service:
    """Two workers before a relay that counts."""

    def __init__(self, proxy: Proxy, relay: SlowRelay) -> None:
        self.proxy, self.relay = proxy, relay

    def client(self, user: str = "hproxy") -> Any:
        return pymysql.connect(
            host=self.proxy.host,
            port=self.proxy.port,
            user=user,
            password=user,
            read_timeout=SOON_S,
            autocommit=True,
            ssl_disabled=True,
        )

    def workers(self) -> dict[int, dict[str, Any]]:
        since = len(self.proxy.log)
        self.proxy.signal(signal.SIGUSR2)
        told = self.proxy.wait_for_log("state", since=since, logger="angel")
        return {row["slot"]: row for row in told["processes"] if row["role"] == "worker"}

    def spread(self) -> list[int]:
        """Clients of each worker."""
        since = len(self.proxy.log)
        self.proxy.signal(signal.SIGUSR2)
        found = {}
        for slot in range(2):
            told = self.proxy.wait_for_log("state", since=since, worker=slot)
            found[slot] = told["connections"]
        return [found[slot] for slot in range(2)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("shared")
    server = running("mariadb")
    with SlowRelay(server.host, server.port) as relay:
        sections = {
            "server": {
                "listen_addr": "127.0.0.1:0",
                "data_dir": str(folder / "data"),
                "max_connections": PLACES,
            },
            "proxy": {
                "backends": [],
                "auth": "table",
                "session_mode": "multiplex",
                "login_failures_per_account": GUESSES,
            },
            "mysql_servers": [
                {"hostname": "127.0.0.1", "port": relay.port, "max_connections": LIMIT}
            ],
            "mysql_users": [
                {"username": "hproxy", "password": "hproxy"},
                {"username": "native", "password": "native", "max_connections": 3},
                {"username": "guessed", "password": "hard to guess"},
            ],
        }
        with Proxy(folder, sections, ("--workers", "2"), single=False) as proxy:
            yield Service(proxy, relay)


def eventually(done: Callable[[], bool], what: str) -> None:
    end = monotonic() + SOON_S
    while not done():
        assert monotonic() < end, what
        sleep(0.02)


def busy(
    service: Service,
    seconds: float,
    failures: list[str],
    client: Any | None = None,
    over: threading.Event | None = None,
) -> None:
    """Short transactions, so that connections are held and come back."""
    try:
        with ExitStack() as stack:
            session = client or stack.enter_context(service.client())
            cursor = stack.enter_context(session.cursor())
            end = monotonic() + seconds
            while monotonic() < end and not (over and over.is_set()):
                cursor.execute("BEGIN")
                cursor.execute("SELECT 1")
                sleep(0.005)
                cursor.execute("COMMIT")
    except Exception as error:
        failures.append(repr(error))


def run(service: Service, seconds: float, clients: int = CLIENTS) -> None:
    failures: list[str] = []
    threads = [
        threading.Thread(target=busy, args=(service, seconds, failures)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_clients_are_spread_evenly(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(service.client())
        one, other = service.spread()
        assert one + other == 32
        assert abs(one - other) <= 6


def test_a_burst_is_answered_to_the_last(service: Service) -> None:
    """Far more than may stay, within a breath: each is greeted or told why not."""
    socks = []
    for _ in range(BURST):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex((service.proxy.host, service.proxy.port))
        socks.append(sock)
    kinds = []
    for sock in socks:
        sock.settimeout(SOON_S)
        with sock:
            kinds.append(sock.recv(5)[4])
    assert len(kinds) == BURST
    assert set(kinds) == {GREETING, ERROR}
    assert kinds.count(GREETING) >= PLACES
    eventually(lambda: sum(service.spread()) == 0, "some are still there")


def test_the_limit_of_a_backend_is_for_both_workers(service: Service) -> None:
    service.relay.most = service.relay.open
    run(service, 2.0)
    assert 2 <= service.relay.most <= LIMIT


def test_connections_are_lent(service: Service) -> None:
    """All of them are one worker's, idle; each client of the other gets one in a moment."""
    service.relay.most = service.relay.open
    for _ in range(3):
        run(service, 0.3)
        begun = monotonic()
        with ExitStack() as stack:
            clients = [stack.enter_context(service.client()) for _ in range(LIMIT)]
            for client in clients:
                with client.cursor() as cursor:
                    cursor.execute("BEGIN")
                    cursor.execute("SELECT 1")
            assert monotonic() - begun < 3.0
            for client in clients:
                client.rollback()
    assert service.relay.most <= LIMIT


def test_a_worker_whose_places_are_all_held_gets_another(service: Service) -> None:
    """Transactions hold what one worker has, and the other is busy with the rest, with clients
    that wait all the time: who comes to the first is served nevertheless."""
    failures: list[str] = []
    with ExitStack() as stack:
        clients: dict[int, list[Any]] = {0: [], 1: []}
        while min(map(len, clients.values())) < 2 * LIMIT:
            client = stack.enter_context(service.client())
            clients[slot_of(client.thread_id())].append(client)
        holding, late = clients[0][: LIMIT // 2], clients[0][-1]
        for client in holding:
            with client.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT 1")
        over = threading.Event()
        threads = [
            threading.Thread(target=busy, args=(service, SOON_S, failures, client, over))
            for client in clients[1]
        ]
        for thread in threads:
            thread.start()
        try:
            with late.cursor() as cursor:
                cursor.execute("SELECT 1")  # not in time, it is refused after ten seconds
        finally:
            over.set()
            for thread in threads:
                thread.join()
        for client in holding:
            client.rollback()
    assert failures == []
    assert service.relay.most <= LIMIT


@pytest.mark.parametrize("slot", [0, 1])
def test_the_places_of_a_killed_worker_are_free(service: Service, slot: int) -> None:
    run(service, 0.3)
    before = service.workers()[slot]["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(
        lambda: (
            service.workers()[slot]["pid"] not in (0, before)
            and service.workers()[slot]["state"] == "serving"
        ),
        "it is not replaced",
    )
    run(service, 0.3)  # the new one has asked for the server's greeting, which is no connection
    service.relay.most = service.relay.open
    run(service, 0.7)
    with ExitStack() as stack:  # all of them can be had
        for _ in range(LIMIT):
            client = stack.enter_context(service.client())
            client.begin()
            with client.cursor() as cursor:
                cursor.execute("SELECT 1")
        assert service.relay.open == LIMIT
    assert service.relay.most <= LIMIT


def test_the_sessions_of_a_user_are_counted_in_all_workers(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(service.client("native"))
        for _ in range(6):  # whichever worker it comes to
            with pytest.raises(pymysql.err.OperationalError) as caught:
                service.client("native")
            assert caught.value.args[0] == 1226
    eventually(lambda: sum(service.spread()) == 0, "they are still there")
    service.client("native").close()


def test_clients_are_counted_in_all_workers(service: Service) -> None:
    eventually(lambda: sum(service.spread()) == 0, "some are still there")
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(service.client())
        for _ in range(4):
            with pytest.raises(pymysql.err.OperationalError) as caught:
                service.client()
            assert caught.value.args[0] == 1040
    eventually(lambda: sum(service.spread()) == 0, "they are still there")
    service.client().close()


def guess(service: Service) -> tuple[int, int]:
    """A wrong password: the answer, and which worker gave it."""
    client: Any = pymysql.connect(
        host=service.proxy.host,
        port=service.proxy.port,
        user="guessed",
        password="wrong",
        ssl_disabled=True,
        defer_connect=True,
    )
    with pytest.raises(pymysql.err.OperationalError) as caught:
        client.connect()
    return caught.value.args[0], slot_of(client.thread_id())


def test_guesses_are_counted_in_all_workers(service: Service) -> None:
    begun = monotonic()
    answers: list[int] = []
    workers: set[int] = set()
    with ExitStack() as stack:
        while len(workers) < 2 or BLOCKED not in answers:
            assert monotonic() < begun + SOON_S, "they are never blocked"
            answer, worker = guess(service)
            answers.append(answer)
            workers.add(worker)
            stack.enter_context(service.client())  # so that the next comes to another worker
    assert answers.count(DENIED) >= GUESSES
    # A worker that takes the place of a dead one goes on counting.
    before = service.workers()[0]["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(
        lambda: (
            service.workers()[0]["pid"] not in (0, before)
            and service.workers()[0]["state"] == "serving"
        ),
        "it is not replaced",
    )
    answers += [guess(service)[0] for _ in range(2 * GUESSES)]
    come_back = (monotonic() - begun) * GUESSES / 60
    assert answers.count(DENIED) <= GUESSES + come_back + 1
    assert set(answers) == {DENIED, BLOCKED}
