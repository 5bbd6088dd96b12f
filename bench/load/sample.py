# SPDX-License-Identifier: Apache-2.0
"""One measurement, and the file a whole run is kept in."""

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

DIRECT = "direct"
HAPROXY = "haproxy"
HPROXY = "hproxy"
HPROXY_SESSION = "hproxy-session"  # one backend connection per client
PROXYSQL = "proxysql"
MYSQLROUTER = "mysqlrouter"

DISTURBED_CORES = 0.20  # CPUs taken by strangers from which on a sample counts as disturbed


@dataclass(frozen=True, slots=True)
class Sample:
    """What one target did in one round of one workload."""

    workload: str
    target: str
    round: int
    unit: str  # what `operations` counts: queries, connections, MiB, clients
    seconds: float
    operations: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    cpu_us: float | None = None  # on-CPU time of the proxy, all its processes
    user_ticks: int = 0
    system_ticks: int = 0
    database_us: float | None = None  # on-CPU time of the database, where it is visible
    connections: int | None = None  # of the proxy to the database, half-way through
    peak_rss_kib: int | None = None
    rss_bytes_per_client: float | None = None
    pss_bytes_per_client: float | None = None
    errors: int = 0
    other_cores: float = 0.0  # CPUs used by processes that have no part in the benchmark

    @property
    def disturbed(self) -> bool:
        """Whether strangers took so much that the figures say little."""
        return self.other_cores > DISTURBED_CORES


@dataclass(slots=True)
class Run:
    """Everything a benchmark measured, as it is written to and read from JSON."""

    title: str
    settings: dict[str, object]
    machine: dict[str, object] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    syscalls: dict[str, dict[str, float]] = field(default_factory=dict)  # per operation
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write everything, raw."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what save() wrote."""
        document = json.loads(path.read_text())
        document["samples"] = [Sample(**sample) for sample in document["samples"]]
        return cls(**document)


def describe_machine(cpus: int) -> dict[str, object]:
    """Say what the numbers were taken on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "cpu": model,
        "cpus": cpus,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
