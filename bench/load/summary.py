# SPDX-License-Identifier: Apache-2.0
"""Turns the samples of several rounds into one line per workload and target.

Medians over the calm rounds, or over all where none was calm. The user share of CPU time comes from
sampled ticks, so those of all these rounds are added up first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.load.sample import Run, Sample


@dataclass(frozen=True, slots=True)
class Summary:
    """What the rounds of one target in one workload come to."""

    workload: str
    target: str
    unit: str
    rounds: int
    calm: int  # rounds that strangers left alone
    operations: float
    rate: float  # operations per second
    best_rate: float
    spread: float  # (fastest - slowest round) / median
    p50_ms: float | None
    p99_ms: float | None
    best_p99_ms: float | None
    cpu_us: float | None  # of the proxy, per operation
    user_us: float | None
    system_us: float | None
    database_us: float | None  # of the database, per operation
    connections: float | None  # of the proxy to the database
    peak_rss_kib: float | None
    rss_bytes_per_client: float | None
    pss_bytes_per_client: float | None
    syscalls: float | None  # of the proxy, per operation
    other_cores: float
    errors: int


def summarise(run: Run) -> dict[str, dict[str, Summary]]:
    """Give workload -> target -> summary, in the order they were first measured."""
    groups: dict[str, dict[str, list[Sample]]] = {}
    for sample in run.samples:
        targets = groups.setdefault(sample.workload, {})
        targets.setdefault(sample.target, []).append(sample)
    return {
        workload: {
            target: _summary(rounds, run.syscalls.get(workload, {}).get(target))
            for target, rounds in targets.items()
        }
        for workload, targets in groups.items()
    }


def ratio(value: float | None, other: float | None) -> float | None:
    """Divide where both are known and it means something."""
    return value / other if value is not None and other else None


def _summary(rounds: Sequence[Sample], syscalls: float | None) -> Summary:
    first = rounds[0]
    calm = [sample for sample in rounds if not sample.disturbed]
    samples = calm or rounds
    rates = [sample.operations / sample.seconds for sample in samples]
    rate = median(rates)
    cpu_us = _median(samples, lambda s: ratio(s.cpu_us, s.operations))
    user = sum(sample.user_ticks for sample in samples)
    ticks = user + sum(sample.system_ticks for sample in samples)
    user_us = cpu_us * user / ticks if cpu_us is not None and ticks else None
    return Summary(
        workload=first.workload,
        target=first.target,
        unit=first.unit,
        rounds=len(rounds),
        calm=len(calm),
        operations=median(sample.operations for sample in samples),
        rate=rate,
        best_rate=max(rates),
        spread=(max(rates) - min(rates)) / rate if rate else 0.0,
        p50_ms=_median(samples, lambda s: s.p50_ms),
        p99_ms=_median(samples, lambda s: s.p99_ms),
        best_p99_ms=min((s.p99_ms for s in samples if s.p99_ms is not None), default=None),
        cpu_us=cpu_us,
        user_us=user_us,
        system_us=cpu_us - user_us if cpu_us is not None and user_us is not None else None,
        database_us=_median(samples, lambda s: ratio(s.database_us, s.operations)),
        connections=_median(samples, lambda s: s.connections),
        peak_rss_kib=_median(samples, lambda s: s.peak_rss_kib),
        rss_bytes_per_client=_median(samples, lambda s: s.rss_bytes_per_client),
        pss_bytes_per_client=_median(samples, lambda s: s.pss_bytes_per_client),
        syscalls=syscalls,
        other_cores=median(sample.other_cores for sample in samples),
        errors=sum(sample.errors for sample in rounds),
    )


def _median(samples: Sequence[Sample], value: Callable[[Sample], float | None]) -> float | None:
    known = [v for sample in samples if (v := value(sample)) is not None]
    return median(known) if known else None
