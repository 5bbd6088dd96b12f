# SPDX-License-Identifier: Apache-2.0
"""Twenty minutes of mixed load on a service of processes: what it holds at the start and the end.

    python -m bench.load.soak                   twenty minutes; `ci/services up` first
    python -m bench.load.soak --minutes 5

    sysbench   transactions with prepared statements, and point selects as text
    churn      clients that log in, set variables, prepare, make a temporary table, read a large
               result, and leave, some of them without a word
    operator   a reload and new log files every minute, tables of statistics read every ten seconds

Medians of the second and of the last fifth of the samples are compared: the first fifth warms up.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import statistics
import tempfile
import threading
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

import pymysql

from bench.load.service import schema, started
from tests.support.process import descriptors, resident_kib
from tests.support.proxy import Proxy
from tests.support.server import find_server
from tests.support.service import Service
from tests.support.sysbench import Sysbench

EVERY_S = 10.0
RELOAD_EVERY = 6
"""Samples from one reload to the next."""
CHURNERS = 4
LARGE = "SELECT REPEAT('x', 1000) FROM sbtest1 a JOIN sbtest1 b ON b.id <= 4"
WORK = (
    "SET @mine = 7",
    "SET SESSION sql_mode = 'ANSI'",
    "PREPARE s FROM 'SELECT ? + @mine'",
    "EXECUTE s USING @mine",
    "DEALLOCATE PREPARE s",
    "CREATE TEMPORARY TABLE t (a INT)",
    "INSERT INTO t VALUES (1)",
    "DROP TEMPORARY TABLE t",
    LARGE,
)
Sample = dict[str, tuple[int, int, int]]
"""By process: KiB resident, descriptors, tasks."""


class Churn:
    """Clients that come, do all of WORK and go."""

    def __init__(self, where: dict[str, Any]) -> None:
        self.done = 0
        self.errors: Counter[str] = Counter()
        self._where = where
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(CHURNERS)]

    def _go_on(self) -> None:
        while not self._over.is_set():
            try:
                connection = pymysql.connect(**self._where, read_timeout=30)
                with connection.cursor() as cursor:
                    for statement in WORK:
                        cursor.execute(statement)
                        cursor.fetchall()
                self.done += 1
                if self.done % 3:
                    connection.close()
                else:  # as one whose machine was switched off
                    connection._force_close()  # type: ignore[attr-defined]
            except (pymysql.MySQLError, OSError) as error:
                self.errors[str(error)] += 1

    def __enter__(self) -> Churn:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def sample(service: Service) -> Sample:
    """What each process holds now."""
    proxy = service.proxy
    since = len(proxy.log)
    pids = {name: row["pid"] for name, row in service.rows().items() if name != "spare"}
    tasks = dict.fromkeys(pids, 0)
    for name in pids:
        if name.startswith("worker"):
            slot = int(name.split()[1])
            tasks[name] = proxy.wait_for_log("state", since=since, worker=slot)["tasks"]
    return {n: (resident_kib(pid), descriptors(pid), tasks[n]) for n, pid in pids.items()}


def look(admin_port: int) -> None:
    """As monitoring does."""
    with (
        contextlib.closing(
            pymysql.connect(host="127.0.0.1", port=admin_port, user="admin", password="admin")
        ) as connection,
        connection.cursor() as cursor,
    ):
        for table in ("stats_mysql_query_digest", "stats_mysql_processlist", "stats_mysql_global"):
            cursor.execute(f"SELECT * FROM {table}")
            cursor.fetchall()


def reload(proxy: Proxy, log_file: Path, number: int) -> None:
    text = proxy.config.read_text()
    head, _, rest = text.partition("[proxy]\n")
    kept = "\n".join(x for x in rest.splitlines() if not x.startswith("connect_timeout_ms"))
    proxy.config.write_text(f"{head}[proxy]\nconnect_timeout_ms = {3000 + number}\n{kept}\n")
    since = len(proxy.log)
    proxy.signal(signal.SIGHUP)
    proxy.wait_for_log("reloaded", since=since, deadline_s=60)
    log_file.replace(f"{log_file}.old")
    proxy.signal(signal.SIGUSR1)


def soak(service: Service, log_file: Path, minutes: float) -> list[Sample]:
    proxy = service.proxy
    opened = proxy.wait_for_log("admin port open")
    admin_port = int(opened["address"].rpartition(":")[2])
    samples: list[Sample] = []
    pause, end = threading.Event(), monotonic() + 60 * minutes
    while monotonic() < end:
        pause.wait(EVERY_S)
        look(admin_port)
        samples.append(sample(service))
        if len(samples) % RELOAD_EVERY == 0:
            reload(proxy, log_file, len(samples))
            print(f"{len(samples) * EVERY_S / 60:5.1f} min  {samples[-1]}", flush=True)
    return samples


def report(samples: list[Sample]) -> None:
    fifth = max(1, len(samples) // 5)
    early, late = samples[fifth : 2 * fifth] or samples, samples[-fifth:]
    print(f"{'process':10} {'RSS KiB':>20} {'descriptors':>16} {'tasks':>12}")
    for name in samples[-1]:
        cells = []
        for which in range(3):
            was, now = (
                statistics.median(s[name][which] for s in part if name in s)
                for part in (early, late)
            )
            cells.append(f"{was:g} -> {now:g}")
        print(f"{name:10} {cells[0]:>20} {cells[1]:>16} {cells[2]:>12}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    server = find_server("mariadb")
    with tempfile.TemporaryDirectory() as folder, schema(server) as name:
        log_file = Path(folder, "hproxy.log")
        with started(server, Path(folder), options.workers, log_file) as proxy:
            service = Service(proxy)
            where = {
                "host": "127.0.0.1", "port": proxy.port, "user": server.user,
                "password": server.password, "database": name,
            }  # fmt: skip
            with (
                Sysbench("127.0.0.1", proxy.port, name, threads=6) as written,
                Sysbench(
                    "127.0.0.1", proxy.port, name, threads=4, workload="oltp_point_select",
                    prepared=False, tables=1, prepare=False,
                ) as read,
                Churn(where) as churn,
            ):  # fmt: skip
                samples = soak(service, log_file, options.minutes)
                faults = written.faults() + read.faults()
                seconds = [*written.seconds, *read.seconds]
            report(samples)
            queries = sum(second.queries for second in seconds)
            print(f"{queries:.0f} queries of sysbench, {churn.done} clients came and went")
            print(f"errors: {dict(churn.errors) or 'none'}; sysbench: {faults or 'none'}")


if __name__ == "__main__":
    main()
