# SPDX-License-Identifier: Apache-2.0
"""A service of processes in front of a real server, hurt on purpose while clients watch.

service = Service(proxy)           the processes, as the first one tells them on USR2
service.hurt("worker 0", SIGKILL)  seconds until another one serves in its place
with Probes(...) as probes:        clients that ask all the time and remember when
    probes.of(0)                   whom worker 0 serves
    probes.lost(since)             who had an error, and when that client was answered again
    probes.gap(since)              the longest wait of those who had none
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import pymysql

from hproxy.session.registry import slot_of
from tests.support.process import descriptors, resident_kib
from tests.support.proxy import Proxy

__all__ = ["Probe", "Probes", "Service", "Size"]

REPLACED_S = 30.0
LOOK_EVERY_S = 0.01
PAUSE_S = 0.01
"""Between two questions of a probe: it is about waiting, not about speed."""
ANSWER_S = 30
JOIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Size:
    """What one process holds."""

    rss_kib: int
    fds: int


class Service:
    """Its processes by name: "angel", "head", "worker 0", ..., "spare"."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def rows(self) -> dict[str, dict[str, Any]]:
        since = len(self.proxy.log)
        self.proxy.signal(signal.SIGUSR2)
        told = self.proxy.wait_for_log("state", since=since, logger="angel")
        return {
            f"worker {row['slot']}" if row["role"] == "worker" else row["role"]: row
            for row in told["processes"]
        }

    def sizes(self) -> dict[str, Size]:
        """Of all but the spare, which may come and go."""
        rows = {name: row["pid"] for name, row in self.rows().items() if name != "spare"}
        return {name: Size(resident_kib(pid), descriptors(pid)) for name, pid in rows.items()}

    def ready(self) -> None:
        """Wait until all serve and a spare is warm: what follows is about how fast it steps in."""
        end = monotonic() + REPLACED_S
        while not _whole(self.rows()):
            assert monotonic() < end, self.proxy.story()[-4000:]
            sleep(0.1)

    def hurt(self, name: str, number: int) -> float:
        """Send a signal to a process; seconds until another one serves in its place."""
        before = self.rows()[name]["pid"]
        began = monotonic()
        os.kill(before, number)
        while (row := self.rows()[name])["pid"] == before or row["state"] != "serving":
            assert monotonic() < began + REPLACED_S, self.proxy.story()[-4000:]
            sleep(LOOK_EVERY_S)
        return monotonic() - began


def _whole(rows: dict[str, dict[str, Any]]) -> bool:
    seats = [row["state"] for name, row in rows.items() if name not in ("angel", "spare")]
    return rows.get("spare", {}).get("state") == "warm" and set(seats) == {"serving"}


@dataclass(eq=False)
class Probe:
    """One client's memory."""

    answered: list[float] = field(default_factory=list)
    failed: list[tuple[float, int, str]] = field(default_factory=list)
    worker: int = -1
    """Who serves it."""

    def back(self, since: float) -> float:
        """Seconds from `since` to the first answer after its last error; inf: none yet."""
        last = max(at for at, _, _ in self.failed if at >= since)
        return next((at for at in self.answered if at > last), float("inf")) - since

    def gap(self, since: float, until: float) -> float:
        times = [since, *(at for at in self.answered if since <= at <= until), until]
        return max(b - a for a, b in pairwise(times))


class Probes:
    """Clients that ask `SELECT 1` over and over, and connect anew when they have to."""

    def __init__(self, where: dict[str, Any], number: int = 8) -> None:
        self._where = where
        self._over = threading.Event()
        self.each = [Probe() for _ in range(number)]
        self._threads = [
            threading.Thread(target=self._ask, args=(probe,), daemon=True) for probe in self.each
        ]

    def _ask(self, probe: Probe) -> None:
        connection: Any = None
        while not self._over.wait(PAUSE_S):
            try:
                if connection is None:
                    connection = pymysql.connect(**self._where, read_timeout=ANSWER_S)
                    probe.worker = slot_of(connection.thread_id())
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    assert cursor.fetchall() == ((1,),)
                probe.answered.append(monotonic())
            except (pymysql.MySQLError, OSError) as error:
                number = error.args[0] if error.args else 0
                probe.failed.append((monotonic(), int(number or 0), str(error)))
                connection = None
        if connection is not None:
            connection.close()

    def of(self, worker: int) -> list[Probe]:
        """Those it serves now."""
        return [probe for probe in self.each if probe.worker == worker]

    def lost(self, since: float) -> list[Probe]:
        """Those who had an error after `since`."""
        return [p for p in self.each if any(at >= since for at, _, _ in list(p.failed))]

    def settled(self, since: float, limit_s: float = REPLACED_S) -> float:
        """Seconds from `since` until everybody who had an error is answered again."""
        end = monotonic() + limit_s
        while any(probe.back(since) == float("inf") for probe in self.lost(since)):
            assert monotonic() < end, [probe.failed[-1] for probe in self.lost(since)]
            sleep(LOOK_EVERY_S)
        return max((probe.back(since) for probe in self.lost(since)), default=0.0)

    def gap(self, since: float) -> float:
        """The longest wait, since then, of those who had no error."""
        until, lost = monotonic(), self.lost(since)
        return max((p.gap(since, until) for p in self.each if p not in lost), default=0.0)

    def errors(self, since: float = 0.0) -> Counter[int]:
        return Counter(number for p in self.each for at, number, _ in list(p.failed) if at >= since)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        end = monotonic() + REPLACED_S
        while not all(probe.answered for probe in self.each):
            assert monotonic() < end, [probe.failed[-1:] for probe in self.each]
            sleep(LOOK_EVERY_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(JOIN_S)
            assert not thread.is_alive(), "a probe hangs"
