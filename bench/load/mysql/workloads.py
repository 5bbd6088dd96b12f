# SPDX-License-Identifier: Apache-2.0
"""The table of workloads, and how each kind puts load on a target."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, Protocol

from bench.load import proc
from bench.load.children import Children
from bench.load.errors import BenchError
from bench.load.mysql import sysbench
from bench.load.mysql.probe import Probe
from bench.load.mysql.server import allow_connections
from bench.load.mysql.targets import MAX_PAIRS, Target
from bench.load.sample import DIRECT, HPROXY_SESSION

MIB = 1 << 20
MANY = 1500
LATENCY_RATE = 300  # events a second of the one slow client: far from any queue
STREAM_GRACE_S = 30.0
IDLE_WARMUP = 50  # clients that come and go before the proxy's memory is first looked at
IDLE_HOLD_S = 3.0
IDLE_TIMEOUT_S = 180.0

OLTP = (
    "point_select",
    "read_only",
    "read_write",
    "write_only",
    "update_index",
    "insert",
    "delete",
)
DEFAULT = (
    "point_select",
    "point_select_prepared",
    "read_only",
    "read_write",
    "write_only",
    "many",
    "large",
    "rows",
    "connect",
    "latency",
    "idle",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a workload achieved; the part of a sample that only it can know."""

    operations: float
    seconds: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    errors: int = 0
    rss_bytes_per_client: float | None = None
    pss_bytes_per_client: float | None = None


class Workload(Protocol):
    """One way of putting load on a target."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def unit(self) -> str:
        """What is counted: queries, connections, MiB, clients."""

    @property
    def once(self) -> bool:
        """Whether one round on a freshly started proxy says it all."""

    def applies(self, target: Target) -> bool:
        """Whether this target can be measured so."""

    def run(self, children: Children, target: Target, seconds: float, probe: Probe) -> Outcome:
        """Put load on the target and tell the probe."""


@dataclass(frozen=True, slots=True)
class Sysbench:
    """A Lua script run by sysbench."""

    name: str
    script: str
    options: Sequence[str]
    unit: str = "queries"
    once: bool = False

    def applies(self, target: Target) -> bool:
        return True

    def run(self, children: Children, target: Target, seconds: float, probe: Probe) -> Outcome:
        options = [*self.options, self.script]
        report = sysbench.run(children, target.address, seconds, options, probe)
        operations = report.queries if self.unit == "queries" else report.events
        return Outcome(operations, report.seconds, report.p50_ms, report.p99_ms, report.errors)


@dataclass(frozen=True, slots=True)
class Many:
    """More clients than a database likes: point selects, every client always has one open."""

    name: str
    count: int
    unit: str = "queries"
    once: bool = False

    def applies(self, target: Target) -> bool:
        # With a connection per client it is what HAProxy shows already.
        return target.name != HPROXY_SESSION

    def run(self, children: Children, target: Target, seconds: float, probe: Probe) -> Outcome:
        restore = allow_connections(target.address, self.count)
        options = ("--db-ps-mode=disable", f"--threads={self.count}")
        try:
            point_select = Sysbench(self.name, "oltp_point_select", options)
            return point_select.run(children, target, seconds, probe)
        finally:
            restore()


@dataclass(frozen=True, slots=True)
class Stream:
    """Large results, read as fast as they come by one client."""

    name: str
    table: str
    unit: str = "MiB"
    once: bool = False

    def applies(self, target: Target) -> bool:
        return True

    def run(self, children: Children, target: Target, seconds: float, probe: Probe) -> Outcome:
        probe.started()
        order = {"address": _fields(target), "table": self.table, "seconds": seconds}
        answer = json.loads(
            children.run(
                [sys.executable, "-m", "bench.load.mysql.stream"],
                stdin=json.dumps(order) + "\n",
                timeout_s=seconds + STREAM_GRACE_S,
            )
        )
        percentiles = quantiles(answer["durations_ms"] * 2, n=100, method="inclusive")
        return Outcome(answer["bytes"] / MIB, answer["seconds"], percentiles[49], percentiles[98])


@dataclass(frozen=True, slots=True)
class Idle:
    """Clients that do nothing: what each costs the proxy in memory."""

    name: str
    count: int
    unit: str = "clients"
    once: bool = True

    def applies(self, target: Target) -> bool:
        return target.name != DIRECT and target.pid is not None

    def run(self, children: Children, target: Target, seconds: float, probe: Probe) -> Outcome:
        self._connect(children, target, IDLE_WARMUP, None)
        probe.started()
        return self._connect(children, target, min(self.count, MAX_PAIRS), probe)

    def _connect(
        self, children: Children, target: Target, count: int, probe: Probe | None
    ) -> Outcome:
        before = proc.read_memory(target.pids())
        restore = allow_connections(target.address, count)
        client = children.open([sys.executable, "-m", "bench.load.mysql.idle"])
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(json.dumps({"address": _fields(target), "count": count}) + "\n")
            client.stdin.flush()
            opened = _answer(client.stdout.readline())
            if opened["open"] < count:
                raise BenchError(f"only {opened['open']} clients: {opened['failures'][-1]}")
            if probe is not None:
                time.sleep(IDLE_HOLD_S)  # whatever the proxy tidies up late, it has tidied up
                probe.midway()
            after = proc.read_memory(target.pids())
            output, _ = client.communicate("\n", timeout=IDLE_TIMEOUT_S)
            alive = _answer(output)["alive"]
        finally:
            children.stop(client)
            restore()
        return Outcome(
            operations=alive,
            seconds=opened["seconds"],
            errors=count - alive,
            rss_bytes_per_client=(after.rss_kib - before.rss_kib) * 1024 / count,
            pss_bytes_per_client=(after.pss_kib - before.pss_kib) * 1024 / count,
        )


def select(
    names: Sequence[str], *, threads: Sequence[int], prepared: bool, idle: int
) -> list[Workload]:
    """Turn names into workloads, one for each number of threads where threads matter."""
    chosen: list[Workload] = []
    for name in names:
        base = name.removesuffix("_prepared")
        if base in OLTP:
            ready = prepared or name != base
            chosen.extend(_oltp(base, count, prepared=ready) for count in threads)
        elif name == "connect":
            chosen.extend(_connect(count) for count in threads)
        elif name == "many":
            chosen.append(Many(f"many: point_select, text, {MANY:,} threads", MANY))
        elif name in _OTHERS:
            chosen.append(_OTHERS[name])
        elif name == "idle":
            chosen.append(Idle(f"idle, {min(idle, MAX_PAIRS):,} clients", idle))
        else:
            known = ", ".join([*OLTP, "connect", "many", *_OTHERS, "idle"])
            raise BenchError(
                f"no workload {name}: there are {known}; the first ones take _prepared"
            )
    return chosen


def _oltp(name: str, threads: int, *, prepared: bool) -> Sysbench:
    kind = "prepared" if prepared else "text"
    mode = "auto" if prepared else "disable"
    options = (f"--db-ps-mode={mode}", f"--threads={threads}")
    return Sysbench(f"{name}, {kind}, {threads} threads", f"oltp_{name}", options)


def _connect(threads: int) -> Sysbench:
    script = str(Path(__file__).with_name("connect.lua"))
    options = (f"--threads={threads}",)
    return Sysbench(f"connect, {threads} threads", script, options, unit="connections")


def _fields(target: Target) -> dict[str, object]:
    return asdict(target.address)


def _answer(text: str) -> dict[str, Any]:
    """Read the line of JSON a client process answers with; anything else is its last words."""
    try:
        answer = json.loads(text)
    except ValueError:
        raise BenchError(f"the idle clients failed: {text.strip() or 'no answer'}") from None
    assert isinstance(answer, dict)
    return answer


_OTHERS: dict[str, Workload] = {
    "large": Stream("large results, 256 KiB rows", "stream_large"),
    "rows": Stream("large results, 205 B rows", "stream_rows"),
    "latency": Sysbench(
        f"latency at {LATENCY_RATE} queries/s, text, 1 thread",
        "oltp_point_select",
        ("--db-ps-mode=disable", "--threads=1", f"--rate={LATENCY_RATE}"),
    ),
}
