# SPDX-License-Identifier: Apache-2.0
"""Runs sysbench and reads its report.

Version 1.0 gives one percentile only, so both are computed from its latency histogram, whose
buckets grow by 1.8 %.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load.children import Children, complaint
from bench.load.errors import BenchError
from bench.load.mysql.client import Address
from bench.load.mysql.probe import Probe
from bench.load.mysql.server import sysbench

GRACE_S = 60.0  # beyond the run itself: connecting, preparing, reporting
STARTED = "Threads started!"  # all clients are connected and prepared

_BUCKET = re.compile(r"^\s*(\d+\.\d+) \|\**\s+(\d+)$", re.MULTILINE)
_QUERIES = re.compile(r"^\s*queries:\s+(\d+)", re.MULTILINE)
_EVENTS = re.compile(r"^\s*total number of events:\s+(\d+)", re.MULTILINE)
_SECONDS = re.compile(r"^\s*total time:\s+([\d.]+)s", re.MULTILINE)
_ERRORS = re.compile(r"^\s*(?:ignored errors|reconnects):\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of sysbench did."""

    queries: int
    events: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int


def run(
    children: Children, address: Address, seconds: float, options: Sequence[str], probe: Probe
) -> Report:
    """Run a workload for some time; the probe sees the load alone, without the connecting."""
    command = sysbench(
        address,
        "--histogram=on",
        f"--time={seconds:g}",
        "--verbosity=3",
        # An interim report, for the moment it comes.
        f"--report-interval={max(1, int(seconds / 2))}",
        *options,
        "run",
    )
    lines = []
    for line in children.follow(command, timeout_s=seconds + GRACE_S):
        lines.append(line)
        if line.startswith(STARTED):
            probe.started()
        elif line.startswith("[ "):
            probe.midway()
    return parse("".join(lines))


def parse(text: str) -> Report:
    """Read the report; BenchError when it is not one."""
    buckets = [(float(value), int(count)) for value, count in _BUCKET.findall(text)]
    queries, events, seconds = (p.search(text) for p in (_QUERIES, _EVENTS, _SECONDS))
    if not (queries and events and seconds):
        raise BenchError(f"sysbench failed: {complaint(text)}")
    if not buckets or int(events[1]) == 0:
        raise BenchError("sysbench got no answer to any query in the whole run")
    return Report(
        queries=int(queries[1]),
        events=int(events[1]),
        seconds=float(seconds[1]),
        p50_ms=percentile(buckets, 0.50),
        p99_ms=percentile(buckets, 0.99),
        errors=sum(int(count) for count in _ERRORS.findall(text)),
    )


def percentile(buckets: Sequence[tuple[float, int]], share: float) -> float:
    """Give the value below which `share` of all counts lie (nearest rank)."""
    left = share * sum(count for _, count in buckets)
    for value, count in buckets:
        left -= count
        if left <= 0:
            return value
    return buckets[-1][0]
