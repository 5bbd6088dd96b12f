# SPDX-License-Identifier: Apache-2.0
"""What monitoring costs: CPU of one process that monitors many servers at ProxySQL's intervals.

    python -m bench.load.monitors [--servers 1000] [--seconds 30] [--silent 0]

Servers are addresses 127.1.x.y of one child process that answers logins, pings and read_only;
`--silent` of them accept and say nothing. One in ten is a writer; all others have a limit of lag.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
from collections.abc import Sequence
from multiprocessing.connection import Connection
from time import monotonic, process_time
from typing import cast

import uvloop

from hproxy.dial.probe import Dialler
from hproxy.health import Change, Monitor, ReplicationHostgroups, Server, View
from hproxy.net.loop import ReactorLoop
from hproxy.net.tls_params import TlsParams, make_context
from hproxy.protocols.base import load_protocol
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import Greeting
from hproxy.protocols.mysql.results import column, ok, text_resultset
from hproxy.protocols.mysql.wire import join
from tests.support.health import FakeValues

PER_CLUSTER = 10
WARM_UP_S = 15.0
CAPABILITIES = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.CONNECT_WITH_DB
)
GREETING = Greeting(
    server_version=b"8.0.39-bench",
    thread_id=1,
    scramble=b"abcdefghijklmnopqrst",
    capabilities=CAPABILITIES,
    plugin=b"mysql_native_password",
)
QUERY, PING_COMMAND = 3, 14


def host(number: int) -> str:
    return f"127.1.{number >> 8}.{number & 255}"


def answer(name: str, value: str) -> bytes:
    return join(text_resultset([column(name)], [(value,)], CAPABILITIES), 1)[0]


class Speaker(asyncio.Protocol):
    """One connection of a server."""

    silent: frozenset[str] = frozenset()
    OK = join([ok()], 1)[0]
    LOGIN_OK = join([ok()], 2)[0]
    HELLO = join([GREETING.build()], 0)[0]
    WRITER, READER = answer("read_only", "0"), answer("read_only", "1")
    LAG = answer("Seconds_Behind_Master", "0")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.host = str(transport.get_extra_info("sockname")[0])
        number = int(self.host.rsplit(".", 1)[1]) + 256 * int(self.host.split(".")[2])
        self.read_only = self.WRITER if number % PER_CLUSTER == 0 else self.READER
        self.quiet = self.host in self.silent
        self.logged_in = False
        if not self.quiet:
            self.transport.write(self.HELLO)

    def data_received(self, data: bytes) -> None:
        if self.quiet:
            return
        if not self.logged_in:
            self.logged_in = True
            self.transport.write(self.LOGIN_OK)
            return
        if data[4] == QUERY:
            sql = data[5:12]
            known = {b"SELECT ": self.read_only, b"SHOW AL": self.LAG}
            self.transport.write(known.get(sql, self.OK))
        elif data[4] == PING_COMMAND:
            self.transport.write(self.OK)
        else:
            self.transport.close()


def serve(pipe: Connection, silent: frozenset[str]) -> None:
    Speaker.silent = silent

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Speaker, "0.0.0.0", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


class Nothing:
    """Acts on nothing, counts."""

    acts = 0

    def shun(self, host: str, port: int, reason: str) -> None:
        self.acts += 1

    def back(self, host: str, port: int) -> None:
        self.acts += 1

    def lagging(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        self.acts += 1

    def caught_up(self, hostgroup: int, host: str, port: int) -> None:
        self.acts += 1

    def measured(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        pass

    def place(self, changes: Sequence[Change]) -> None:
        self.acts += 1


async def measure(port: int, servers: int, seconds: float) -> None:
    clusters = (servers + PER_CLUSTER - 1) // PER_CLUSTER
    pairs = tuple(ReplicationHostgroups(2 * n + 1, 2 * n + 2) for n in range(clusters))
    rows = tuple(
        Server(
            hostgroup=2 * (n // PER_CLUSTER) + (1 if n % PER_CLUSTER == 0 else 2),
            host=host(n),
            port=port,
            max_replication_lag=0 if n % PER_CLUSTER == 0 else 10,
        )
        for n in range(servers)
    )
    reactor, act = ReactorLoop(), Nothing()
    context = make_context(TlsParams())
    dial = Dialler(load_protocol("mysql"), reactor.reactor, lambda *_: context)
    monitor = Monitor(lambda: View(rows, pairs), act, dial, FakeValues())
    began = monotonic()
    monitor.start()
    started = monotonic() - began
    await asyncio.sleep(WARM_UP_S)
    before, cpu, at = monitor.counters(), process_time(), monotonic()
    await asyncio.sleep(seconds)
    took, used = monotonic() - at, process_time() - cpu
    after = monitor.counters()
    probes = {
        name: (after[name] - before[name]) / took
        for name in after
        if name.endswith(("_OK", "_ERR")) and after[name] != before[name]
    }
    total = sum(probes.values())
    print(f"{servers} servers, started in {started * 1000:.0f} ms, {act.acts} acts")
    for name, rate in probes.items():
        print(f"  {name:45} {rate:8.1f} /s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"CPU {100 * used / took:.1f} % of one core, {1e6 * used / took / total:.0f} µs a probe")
    print(f"memory {memory:.0f} MiB at most")
    await monitor.stop()
    reactor.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--silent", type=int, default=0)
    arguments = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    silent = frozenset(host(n * 3 + 1) for n in range(arguments.silent))
    child = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, silent), daemon=True
    )
    child.start()
    try:
        uvloop.run(measure(ours.recv(), arguments.servers, arguments.seconds))
    finally:
        child.terminate()
        child.join()


if __name__ == "__main__":
    main()
