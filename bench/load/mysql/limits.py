# SPDX-License-Identifier: Apache-2.0
"""Holds a run against a table of limits: figures of one target, or ratios to another's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.load.sample import Run
from bench.load.summary import Summary, ratio, summarise

Figure = Callable[[Summary], float | None]


@dataclass(frozen=True, slots=True)
class Limit:
    """One line of a table."""

    workload: str  # how the names of the workloads it is about begin
    target: str
    what: str
    figure: Figure
    bound: float
    against: str | None = None  # divide by this target's figure
    share_of: Figure | None = None  # ... by this one of its figures; None: by the same one
    at_most: bool = True
    optional: bool = False  # nothing is wrong when it was not measured


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


def judge(run: Run, limits: Sequence[Limit]) -> list[Check]:
    """Give a check for every workload a limit is about."""
    summaries = summarise(run)
    checks = []
    for limit in limits:
        about = [name for name in summaries if name.startswith(limit.workload)]
        for name in about or [limit.workload]:
            value = _value(limit, summaries.get(name, {}))
            if value is not None or not limit.optional:
                what = f"{limit.target} {limit.what}"
                checks.append(Check(name, what, value, limit.bound, limit.at_most))
    return checks


def failed_workloads(checks: Sequence[Check]) -> set[str]:
    """Name the workloads that are worth a second look."""
    return {check.workload for check in checks if not check.passed}


def _value(limit: Limit, peers: dict[str, Summary]) -> float | None:
    if limit.target not in peers:
        return None
    value = limit.figure(peers[limit.target])
    if limit.against is None:
        return value
    if limit.against not in peers:
        return None
    return ratio(value, (limit.share_of or limit.figure)(peers[limit.against]))
