# SPDX-License-Identifier: Apache-2.0
"""What clients see of a service whose processes are killed or stopped, and of its reloads.

    python -m bench.load.service                        kill -9 and SIGSTOP, in turn, two minutes
    python -m bench.load.service --how kill --seconds 30 --clients 16
    python -m bench.load.service --reloads 50 --rotations 20

`ci/services up` first. sysbench's point selects go on with so many clients, and eight probes
remember when they were answered. Each worker, the head and a child not in use are hurt in turn.

    replaced   until another process serves in its place      victims   probes that had an error
    back       until the last victim was answered again       others    the longest wait of the rest
"""

from __future__ import annotations

import argparse
import contextlib
import re
import secrets
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Self

import pymysql

from tests.support.process import eventually
from tests.support.proxy import Proxy
from tests.support.server import Server, find_server
from tests.support.service import Probes, Service, Size

TABLES, ROWS = 2, 2000
WORKLOAD = "oltp_point_select"
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
# A client of a worker that is killed has lost its connection, and connects again by itself.
LOST = (2003, 2006, 2013, 2055)
WARM_UP_S = 2.0
CALM_S = 0.5
"""After a process is back: what it does to the others is seen until then."""
RELOADED_S = 30.0
BACKENDS = 40

HEAD = f"{'signal':8}{'process':12}{'replaced':>10}{'victims':>9}{'back':>8}{'others':>8}"


@contextlib.contextmanager
def schema(server: Server) -> Iterator[str]:
    """A database of its own."""
    name = f"service_{secrets.token_hex(4)}"
    ask(server, f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        ask(server, f"DROP DATABASE {name}")


def ask(server: Server, statement: str) -> None:
    with pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password
    ) as connection:
        connection.cursor().execute(statement)


def started(server: Server, folder: Path, workers: int, log_file: Path | None = None) -> Proxy:
    """A service whose sessions share backend connections."""
    logging = {"format": "json"} | ({"file": str(log_file)} if log_file else {})
    return Proxy(
        folder,
        {
            "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder / "data")},
            "proxy": {"mode": "mysql", "auth": "table"},
            "logging": logging,
            "admin": {"address": "127.0.0.1:0"},
            "http": {"address": ""},
            "mysql_servers": [
                {"hostname": server.host, "port": server.port, "max_connections": BACKENDS}
            ],
            "mysql_users": [{"username": server.user, "password": server.password}],
            "mysql_variables": {"monitor_enabled": False},
        },
        ("--workers", str(workers)),
        single=False,
    )


def sysbench(server: Server, host: str, port: int, name: str, *more: str) -> list[str]:
    return [
        "sysbench",
        WORKLOAD,
        "--db-driver=mysql",
        f"--mysql-host={host}",
        f"--mysql-port={port}",
        f"--mysql-user={server.user}",
        f"--mysql-password={server.password}",
        f"--mysql-db={name}",
        f"--mysql-ignore-errors={','.join(map(str, LOST))}",
        f"--tables={TABLES}",
        f"--table-size={ROWS}",
        *more,
    ]


class Load:
    """sysbench, as long as the block lasts: begun again when it ends, for its own way to connect
    again may crash it (a second attempt, on a handle whose first one failed)."""

    def __init__(self, server: Server, proxy: Proxy, name: str, clients: int) -> None:
        prepare = sysbench(server, server.host, server.port, name, "prepare")
        subprocess.run(prepare, check=True, capture_output=True)
        self.begun = 0
        self.said = ""
        self._command = sysbench(
            server, proxy.host, proxy.port, name,
            f"--threads={clients}", "--time=0", "--db-ps-mode=disable", "run",
        )  # fmt: skip
        self._over = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def _keep(self) -> None:
        while not self._over.is_set():
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            self.begun += 1
            if self._over.is_set():
                self._process.kill()
            self.said, _ = self._process.communicate()

    def __enter__(self) -> Self:
        self._keeper.start()
        sleep(WARM_UP_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._process is not None:
            self._process.kill()
        self._keeper.join()


def hurt_all(
    service: Service, probes: Probes, hows: list[str], seconds: float, every: float
) -> float:
    """One after the other until the time is over; the longest time that traffic was away."""
    worst = 0.0
    print(HEAD, flush=True)
    names = [name for name in service.rows() if name not in ("angel", "spare")]
    turns = [(how, name) for how in hows for name in names]
    end, turn = monotonic() + seconds, 0
    while monotonic() < end:
        how, name = turns[turn % len(turns)]
        turn += 1
        service.ready()
        began = monotonic()
        replaced = service.hurt(name, SIGNALS[how])
        sleep(CALM_S)
        back = probes.settled(began)
        others, victims = probes.gap(began), len(probes.lost(began))
        worst = max(worst, back)
        print(f"{how:8}{name:12}{replaced:9.2f}s{victims:9}{back:7.2f}s{others:7.2f}s", flush=True)
        sleep(max(0.0, every - (monotonic() - began)))
    return worst


def reload_and_rotate(
    service: Service, log_file: Path, reloads: int, rotations: int
) -> tuple[dict[str, Size], dict[str, Size]]:
    """So many, each awaited; sizes after the first tenth and at the end."""
    proxy = service.proxy
    before = service.sizes()
    text = proxy.config.read_text()
    for number in range(reloads):
        # Something has to be new.
        option = f"[proxy]\nconnect_timeout_ms = {3000 + number}"
        proxy.config.write_text(re.sub(r"(?m)^\[proxy\]$", option, text))
        since = len(proxy.log)
        proxy.signal(signal.SIGHUP)
        proxy.wait_for_log("reloaded", since=since, deadline_s=RELOADED_S)
        if number < rotations:
            log_file.rename(f"{log_file}.{number}")
            proxy.signal(signal.SIGUSR1)
            eventually(log_file.exists, "a new log file")
        if number == reloads // 10:
            before = service.sizes()
    return before, service.sizes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--every", type=float, default=5, help="seconds from one to the next")
    parser.add_argument("--how", default="kill,stop", help="of kill and stop")
    parser.add_argument("--reloads", type=int, default=0, help="instead: so many reloads")
    parser.add_argument("--rotations", type=int, default=20, help="and so many log rotations")
    options = parser.parse_args()
    server = find_server("mariadb")
    with tempfile.TemporaryDirectory() as folder, schema(server) as name:
        log_file = Path(folder, "hproxy.log")
        where = {"host": "127.0.0.1", "user": server.user, "password": server.password}
        with started(server, Path(folder), options.workers, log_file) as proxy:
            service = Service(proxy)
            with (
                Load(server, proxy, name, options.clients) as load,
                Probes(where | {"port": proxy.port}) as probes,
            ):
                service.ready()
                if options.reloads:
                    before, after = reload_and_rotate(
                        service, log_file, options.reloads, options.rotations
                    )
                    for who, size in after.items():
                        was = before[who]
                        print(f"{who:12} RSS {was.rss_kib:8} -> {size.rss_kib:8} KiB"
                              f"   descriptors {was.fds:5} -> {size.fds:5}")  # fmt: skip
                    print(f"errors of probes: {dict(probes.errors()) or 'none'}; "
                          f"sysbench begun {load.begun} times")  # fmt: skip
                else:
                    hows = options.how.split(",")
                    worst = hurt_all(service, probes, hows, options.seconds, options.every)
                    print(f"sysbench had to be begun {load.begun} times")
                    print(f"back within {worst:.2f} s each time; errors: {dict(probes.errors())}")


if __name__ == "__main__":
    main()
