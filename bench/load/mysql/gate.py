# SPDX-License-Identifier: Apache-2.0
"""The gate CI holds hproxy to: ratios to HAProxy in the same run, with generous margins.

The aims are much closer (CPU per query 1.15 x HAProxy, 3 µs of it in user mode, p99 1.2 x, large
results 0.9 x); a shared two-core machine only lets gross mistakes be told from noise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.load.sample import HAPROXY, HPROXY, Run
from bench.load.summary import Summary, ratio, summarise

MAX_CPU_RATIO = 1.6  # CPU per query, hproxy / HAProxy
MAX_USER_US = 6.0  # user time per query
MAX_P99_RATIO = 2.0  # best rounds
MIN_STREAM_RATIO = 0.7  # bytes per second of large results, best rounds

# What is measured for it, with how much patience.
WORKLOADS = ("point_select", "large")
THREADS = 8
ROUNDS = 3
ROUND_S = 4.0
ATTEMPTS = 2  # a workload that fails is measured once more before it counts


@dataclass(frozen=True, slots=True)
class Check:
    """One figure and its limit."""

    workload: str
    what: str
    value: float | None  # None: not measured, which is a failure
    limit: float
    at_most: bool = True

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        word = "ok  " if self.passed else "FAIL"
        value = "not measured" if self.value is None else f"{self.value:.2f}"
        bound = "at most" if self.at_most else "at least"
        return f"{word}  {self.workload}: {self.what} {value} ({bound} {self.limit:g})"


def judge(run: Run, *, query_workload: str, stream_workload: str) -> list[Check]:
    """Hold a run against the limits.

    CPU per query is taken as the median. What strangers on the machine can only worsen, p99 and
    bytes per second, is taken from the best round of each target.
    """
    summaries = summarise(run)
    queries = _pair(summaries, query_workload)
    streams = _pair(summaries, stream_workload)
    user_us = queries[0].user_us if queries else None
    return [
        Check(
            query_workload,
            "CPU per query / HAProxy",
            _ratio(queries, lambda one: one.cpu_us),
            MAX_CPU_RATIO,
        ),
        Check(query_workload, "user µs per query", user_us, MAX_USER_US),
        Check(
            query_workload,
            "p99 / HAProxy",
            _ratio(queries, lambda one: one.best_p99_ms),
            MAX_P99_RATIO,
        ),
        Check(
            stream_workload,
            "bytes per second / HAProxy",
            _ratio(streams, lambda one: one.best_rate),
            MIN_STREAM_RATIO,
            at_most=False,
        ),
    ]


def failed_workloads(checks: Sequence[Check]) -> set[str]:
    """Name the workloads that are worth a second look."""
    return {check.workload for check in checks if not check.passed}


def _pair(
    summaries: Mapping[str, Mapping[str, Summary]], workload: str
) -> tuple[Summary, Summary] | None:
    targets = summaries.get(workload, {})
    if HPROXY not in targets or HAPROXY not in targets:
        return None
    return targets[HPROXY], targets[HAPROXY]


def _ratio(
    pair: tuple[Summary, Summary] | None, figure: Callable[[Summary], float | None]
) -> float | None:
    return ratio(figure(pair[0]), figure(pair[1])) if pair else None
