# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of three proxies in front of two databases, as in examples/cascade.

    8 clients ──> edge ──┬──> middle 1 ──┐
    SELECT, autocommit   ├──> middle 2 ──┼──> database 1, database 2
                         └──> middle 3 ──┘

Proxies in the middle and databases (mariadbd itself) are killed by SIGKILL and started again, one
after the other; no client may see an error, nor wait for long. The example's own files are what
runs here, but for ports and accounts.
"""

from __future__ import annotations

import os
import signal
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pymysql
import pytest

from tests.support.own_server import OwnMariadb, free_port
from tests.support.process import eventually
from tests.support.proxy import Proxy

EXAMPLES = Path(__file__).parents[2] / "examples/cascade"
CLIENTS = 8
LONGEST_S = 3.0
"""A read may meet a server that is gone, wait for a new connection, and find another; no more."""


@dataclass
class Readers:
    """Clients that read all the time."""

    port: int
    reads: int = 0
    errors: list[str] = field(default_factory=list)
    longest: float = 0.0
    begun: dict[int, float] = field(default_factory=dict)
    """By client, when the read under way began."""
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Readers:
        self._threads = [threading.Thread(target=self._read, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 200) -> None:
        """Wait until that many more were answered."""
        wanted = self.reads + count
        eventually(lambda: self.reads >= wanted or bool(self.errors), f"{count} reads")

    def slowest_now(self) -> float:
        """Seconds that the longest of those under way has taken."""
        return monotonic() - min(self.begun.values())

    def _read(self, number: int) -> None:
        with pymysql.connect(
            host="127.0.0.1", port=self.port, user="hproxy", password="hproxy", autocommit=True,
            read_timeout=20,
        ) as client, client.cursor() as cursor:  # fmt: skip
            turn = number
            while not self._over.is_set():
                turn += CLIENTS
                begun = self.begun[number] = monotonic()
                try:
                    cursor.execute(f"SELECT {turn}, @@character_set_client")
                    assert cursor.fetchall() == ((turn, "utf8mb4"),)
                except (pymysql.Error, AssertionError) as error:
                    self.errors.append(f"{monotonic():.2f} {error!r}")
                    return
                self.longest = max(self.longest, monotonic() - begun)
                self.reads += 1


def example(name: str, listen: int, *servers: int) -> dict[str, Any]:
    """The example's sections, on ports of ours."""
    sections = tomllib.loads((EXAMPLES / name).read_text())
    sections["server"]["listen_addr"] = f"127.0.0.1:{listen}"
    sections["admin"] = {"address": ""}
    assert len(sections["mysql_servers"]) == len(servers)
    for row, port in zip(sections["mysql_servers"], servers, strict=True):
        row["port"] = port
    sections["mysql_users"] = [{"username": "hproxy", "password": "hproxy"}]
    # So that a test need not wait for what the example waits for.
    sections["health"] = {"interval_sec": 0.5, "timeout_sec": 0.4}
    sections["proxy"] |= {"monitor_username": "hproxy", "monitor_password": "hproxy"}
    return sections


@dataclass
class Cascade:
    """All of them."""

    folder: Path
    databases: list[OwnMariadb]
    middles: dict[int, Proxy] = field(default_factory=dict)
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(3)])
    edge: Proxy = field(init=False)

    def end(self) -> None:
        for middle in self.middles.values():
            middle.kill()

    def start(self, *numbers: int) -> None:
        """Start those in the middle."""
        with ThreadPoolExecutor() as side_by_side:
            self.middles |= zip(numbers, side_by_side.map(self._middle, numbers), strict=True)

    def _middle(self, number: int) -> Proxy:
        databases = [database.server.port for database in self.databases]
        sections = example("middle.toml", self.ports[number], *databases)
        return Proxy(self.folder / f"middle{number}", sections)


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cascade]:
    """Whole at the end of every test."""
    tmp_path = tmp_path_factory.mktemp("cascade")
    with ExitStack() as stack, ThreadPoolExecutor() as side_by_side:
        databases = list(side_by_side.map(OwnMariadb, [tmp_path / "1", tmp_path / "2"]))
        for database in databases:
            stack.callback(database.kill)
        made = Cascade(tmp_path, databases)
        stack.callback(made.end)
        made.start(0, 1, 2)
        made.edge = stack.enter_context(
            Proxy(tmp_path / "edge", example("edge.toml", free_port(), *made.ports))
        )
        yield made


def unhurt(cascade: Cascade, readers: Readers) -> None:
    assert not readers.errors, f"{readers.errors}\n{cascade.edge.story()}"
    assert readers.longest < LONGEST_S


def test_a_proxy_in_the_middle_is_killed(cascade: Cascade) -> None:
    with Readers(cascade.edge.port) as readers:
        readers.more()
        for killed in ((0, 1), (2,)):
            for number in killed:
                cascade.middles[number].kill()
                readers.more()
            cascade.start(*killed)
            readers.more()
    unhurt(cascade, readers)
    assert cascade.edge.lines("backend lost", repeated=True)


def test_a_proxy_in_the_middle_hangs(cascade: Cascade) -> None:
    """Its pings tell; what waited for it is sent to another."""
    with Readers(cascade.edge.port) as readers:
        readers.more()
        os.kill(cascade.middles[1].pid, signal.SIGSTOP)
        try:
            eventually(lambda: readers.slowest_now() > 0.5, "somebody waits for it")
            eventually(lambda: readers.slowest_now() < 0.2, "nobody does any more")
            readers.more()
        finally:
            os.kill(cascade.middles[1].pid, signal.SIGCONT)
        readers.more()
    unhurt(cascade, readers)


def test_a_database_is_killed(cascade: Cascade) -> None:
    with Readers(cascade.edge.port) as readers:
        readers.more()
        for turn in range(4):
            cascade.databases[turn % 2].kill()
            readers.more()
            cascade.databases[turn % 2].start()
            readers.more()
    unhurt(cascade, readers)
    middles = cascade.middles.values()
    assert any(middle.lines("backend lost", repeated=True) for middle in middles)


def test_a_proxy_and_a_database_are_killed_together(cascade: Cascade) -> None:
    with Readers(cascade.edge.port) as readers:
        readers.more()
        cascade.databases[0].kill()
        cascade.middles[1].kill()
        readers.more()
        cascade.databases[0].start()
        cascade.start(1)
        readers.more()
    unhurt(cascade, readers)
