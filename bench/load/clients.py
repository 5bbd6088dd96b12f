# SPDX-License-Identifier: Apache-2.0
"""Many clients on several workers: how fast they come in, what they cost, how they are spread.

    python -m bench.load.clients                                 10,000 clients, 2 workers
    python -m bench.load.clients --clients 64 --burst 0 --skew 20
    python -m bench.load.clients --scale 1,2 --threads 16        workers side by side under sysbench

`ci/services up` first.

    connect   processes of clients log in, ask one question, and stay; all of them at a time
    idle      memory by client, CPU while nobody says a word, and who still answers
    burst     sockets that connect within one breath: how many are greeted, and how soon
    skew      64 clients again and again: the least and the most that a worker got
    scale     point selects: queries a second and CPU by query, for each number of workers
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

from bench.load import proc
from bench.load.children import raise_fd_limit
from bench.load.mysql.client import Address
from bench.load.service import ask, schema, sysbench
from tests.support.proxy import Proxy
from tests.support.server import Server, find_server

PER_PROCESS = 2500
IDLE_S = 5.0
BURST_S = 60.0
SKEW_CLIENTS = 64
SPARE = 200


def started(server: Server, folder: Path, workers: int, clients: int, backends: int) -> Proxy:
    """A service whose sessions share backend connections."""
    return Proxy(
        folder,
        {
            "server": {
                "listen_addr": "127.0.0.1:0",
                "data_dir": str(folder / "data"),
                "max_connections": clients + SPARE,
            },
            "proxy": {"mode": "mysql", "auth": "table"},
            "logging": {"format": "json"},
            "mysql_servers": [
                {"hostname": server.host, "port": server.port, "max_connections": backends}
            ],
            "mysql_users": [
                {
                    "username": server.user,
                    "password": server.password,
                    "max_connections": clients + SPARE,
                }
            ],
        },
        ("--workers", str(workers)),
        single=False,
    )


def spread(proxy: Proxy, workers: int) -> list[int]:
    """Clients of each worker."""
    since = len(proxy.log)
    proxy.signal(signal.SIGUSR2)
    return [
        proxy.wait_for_log("state", since=since, worker=slot)["connections"]
        for slot in range(workers)
    ]


class Crowd:
    """Processes full of clients."""

    def __init__(self, address: Address, count: int) -> None:
        self._sizes = [min(PER_PROCESS, count - at) for at in range(0, count, PER_PROCESS)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.load.mysql.idle"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in self._sizes
        ]
        self._address = address

    def come(self) -> tuple[int, float, list[str]]:
        """All connect; how many did, in how long, and what went wrong."""
        begun = monotonic()
        for process, size in zip(self._processes, self._sizes, strict=True):
            self._tell(process, json.dumps({"address": asdict(self._address), "count": size}))
        heard = [self._hear(process) for process in self._processes]
        failures = [failure for told in heard for failure in told["failures"]]
        return sum(told["open"] for told in heard), monotonic() - begun, failures

    def alive(self) -> int:
        """How many still are answered."""
        for process in self._processes:
            self._tell(process, "")
        return sum(int(self._hear(process)["alive"]) for process in self._processes)

    def go(self) -> None:
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.communicate()

    @staticmethod
    def _tell(process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()

    @staticmethod
    def _hear(process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        told: dict[str, Any] = json.loads(process.stdout.readline())
        return told


def crowd(server: Server, workers: int, clients: int) -> None:
    """Connect them, look at what they cost, see them off."""
    with tempfile.TemporaryDirectory() as name:
        proxy = started(server, Path(name), workers, clients, 32)
        address = Address(proxy.host, proxy.port, server.user, server.password, "")
        people = Crowd(address, clients)
        try:
            tree = proc.tree(proxy.pid)
            before = proc.read_memory(tree)
            cpu = proc.read_cpu(tree)
            count, took, failures = people.come()
            used = proc.cpu_between(cpu, proc.read_cpu(tree)).total_us
            print(f"connect  {count} of {clients} in {took:.1f} s, {count / took:.0f} a second,"
                  f" {used / max(1, count):.0f} us of CPU each; {len(failures)} failures"
                  f" {failures[:1] or ''}")  # fmt: skip
            print(f"         by worker: {spread(proxy, workers)}")
            sleep(1.0)
            grown = proc.read_memory(tree)
            cpu, begun = proc.read_cpu(tree), monotonic()
            sleep(IDLE_S)
            idle = proc.cpu_between(cpu, proc.read_cpu(tree)).total_us / (monotonic() - begun)
            print(f"idle     {(grown.pss_kib - before.pss_kib) * 1024 / max(1, count):.0f} bytes"
                  f" each (Pss; all processes {before.pss_kib >> 10} -> {grown.pss_kib >> 10} MiB),"
                  f" CPU {idle / 10_000:.2f} % of one core")  # fmt: skip
            print(f"         {people.alive()} of {count} are answered")
        finally:
            people.go()
            proxy.stop()


def burst(server: Server, workers: int, count: int) -> None:
    """So many connects at once; everybody is to be greeted."""
    raise_fd_limit()
    with tempfile.TemporaryDirectory() as name:
        proxy = started(server, Path(name), workers, count, 32)
        try:
            with proxy_client(server, proxy):
                pass  # it has heard of its server
            greeted, lost, first, last, shares = knock(proxy, count, workers)
            print(f"burst    {count} connects: {greeted} greeted, {lost} lost;"
                  f" first after {first * 1000:.0f} ms, last after {last * 1000:.0f} ms;"
                  f" by worker: {shares}")  # fmt: skip
        finally:
            proxy.stop()


def knock(proxy: Proxy, count: int, workers: int) -> tuple[int, int, float, float, list[int]]:
    """Connect, wait for greetings: how many, how many without, the first and the last of them,
    and who has them."""
    begun = monotonic()
    poll = select.epoll()
    socks: dict[int, socket.socket] = {}
    times: list[float] = []
    lost = 0
    try:
        for _ in range(count):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((proxy.host, proxy.port))
            socks[sock.fileno()] = sock
            poll.register(sock, select.EPOLLIN)
        waiting = set(socks)
        while waiting and monotonic() - begun < BURST_S:
            for fd, _ in poll.poll(1.0):
                poll.unregister(fd)
                waiting.discard(fd)
                try:
                    greeting = socks[fd].recv(5)
                except OSError:
                    greeting = b""
                if greeting[4:5] == b"\x0a":
                    times.append(monotonic() - begun)
                else:
                    lost += 1
        lost += len(waiting)
        took = min(times, default=0.0), max(times, default=0.0)
        return len(times), lost, *took, spread(proxy, workers)
    finally:
        poll.close()
        for sock in socks.values():
            sock.close()


def skew(server: Server, workers: int, rounds: int) -> None:
    """What share of 64 clients a worker gets."""
    with tempfile.TemporaryDirectory() as name:
        proxy = started(server, Path(name), workers, SKEW_CLIENTS, 32)
        found: list[list[int]] = []
        try:
            for _ in range(rounds):
                with contextlib.ExitStack() as stack:
                    for _ in range(SKEW_CLIENTS):
                        stack.enter_context(proxy_client(server, proxy))
                    found.append(spread(proxy, workers))
                while sum(spread(proxy, workers)):
                    sleep(0.02)
        finally:
            proxy.stop()
    print(f"skew     {rounds} times {SKEW_CLIENTS} clients: least {min(map(min, found))},"
          f" most {max(map(max, found))}, median of the most"
          f" {median(map(max, found)):.0f}")  # fmt: skip


@contextlib.contextmanager
def proxy_client(server: Server, proxy: Proxy) -> Iterator[Any]:
    """One that has been greeted; it need not log in to be somebody's."""
    with socket.create_connection((proxy.host, proxy.port), 10) as sock:
        if sock.recv(5)[4:5] != b"\x0a":
            raise RuntimeError("not greeted")
        yield sock


def scale(server: Server, workers: list[int], threads: int, seconds: int) -> None:
    """Numbers of workers side by side, interleaved."""
    with schema(server) as database, contextlib.ExitStack() as stack:
        prepare = sysbench(server, server.host, server.port, database, "prepare")
        subprocess.run(prepare, check=True, capture_output=True)
        proxies = {}
        for number in workers:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            proxies[number] = started(server, folder, number, threads, 64)
            stack.callback(proxies[number].stop)
        found: dict[int, list[tuple[float, float]]] = {number: [] for number in workers}
        for _ in range(3):
            for number, proxy in proxies.items():
                found[number].append(loaded(server, proxy, database, threads, seconds))
        for number, rounds in found.items():
            rate, cost = (median(column) for column in zip(*rounds, strict=True))
            print(f"scale    {number} worker{'s' * (number > 1)}, {threads} clients:"
                  f" {rate:.0f} queries a second, {cost:.1f} us of CPU each")  # fmt: skip
        ask(server, "DO 0")


def loaded(
    server: Server, proxy: Proxy, database: str, threads: int, seconds: int
) -> tuple[float, float]:
    """Queries a second, and microseconds of CPU by query."""
    tree = proc.tree(proxy.pid)
    before = proc.read_cpu(tree)
    command = sysbench(
        server, proxy.host, proxy.port, database,
        f"--threads={threads}", f"--time={seconds}", "run",
    )  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60 + seconds)
    queries = sum(map(int, re.findall(r"^\s+total:\s+(\d+)$", done.stdout, re.MULTILINE)))
    return queries / seconds, proc.cpu_between(before, proc.read_cpu(tree)).total_us / queries


def main() -> None:
    """Print a line or two for each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--server", default="mariadb")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--burst", type=int, default=5000)
    parser.add_argument("--skew", type=int, default=0, metavar="ROUNDS")
    parser.add_argument("--scale", default="", metavar="1,2")
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    server = find_server(options.server)
    if options.scale:
        scale(server, [int(n) for n in options.scale.split(",")], options.threads, options.seconds)
        return
    if options.skew:
        skew(server, options.workers, options.skew)
    if options.burst:
        burst(server, options.workers, options.burst)
    if options.clients:
        crowd(server, options.workers, options.clients)


if __name__ == "__main__":
    main()
