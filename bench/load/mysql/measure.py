# SPDX-License-Identifier: Apache-2.0
"""Runs workloads against targets in turn and takes the readings around each run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.load import proc, syscalls
from bench.load.children import Children
from bench.load.errors import BenchError
from bench.load.mysql.client import Address
from bench.load.mysql.probe import Blind, Probe
from bench.load.mysql.server import ensure_tables
from bench.load.mysql.targets import Target
from bench.load.mysql.workloads import Outcome, Workload
from bench.load.pinning import Pinning
from bench.load.quiet import Bystanders, QuietWait
from bench.load.sample import Run, Sample

WARMUP_S = 1.0
SYSCALLS_S = 2.0


@dataclass(slots=True)
class Readings:
    """What is read of a proxy and of the database when the load begins, and while it is on."""

    pids: Sequence[int]
    database_pids: Sequence[int]
    database_port: int
    proxy: proc.CpuClock = field(init=False)
    database: proc.CpuClock = field(init=False)
    connections: int | None = None

    def __post_init__(self) -> None:
        self.started()

    def started(self) -> None:
        """Begin to count."""
        proc.reset_peak(self.pids)
        self.proxy = proc.read_cpu(self.pids)
        self.database = proc.read_cpu(self.database_pids)

    def midway(self) -> None:
        """See how many connections the load takes."""
        if self.pids:
            # The most: the last look may come when clients leave already.
            seen = proc.connections(self.pids, self.database_port)
            self.connections = max(seen, self.connections or 0)


@dataclass(slots=True)
class Measurement:
    """Everything a sample needs around it."""

    children: Children
    pinning: Pinning
    quiet: QuietWait
    database: Address
    database_pids: Sequence[int]
    targets: Sequence[Target]
    result: Run
    say: Callable[[str], None]

    def workload(self, workload: Workload, rounds: int, seconds: float) -> None:
        """Measure every target once per round, the order turned by one each round."""
        targets = [target for target in self.targets if workload.applies(target)]
        ensure_tables(self.database, self.children, self.say)
        self.quiet.wait()
        if workload.once:
            self._fresh(targets)
        else:
            warmup_s = min(WARMUP_S, seconds)
            targets = [
                target
                for target in targets
                if self._outcome(workload, target, warmup_s, Blind()) is not None
            ]
        for number in range(1 if workload.once else rounds):
            for target in rotated(targets, number):
                self._sample(workload, target, number, seconds)

    def count_syscalls(self, workload: Workload) -> None:
        """Run each proxy once more under perf, for the system calls of one operation."""
        for target in self.targets:
            pids = target.pids()
            if not pids or not workload.applies(target) or workload.once:
                continue
            work = partial(workload.run, self.children, target, SYSCALLS_S, Blind())
            try:
                made, outcome = syscalls.count(self.children, pids, work)
            except (BenchError, OSError) as error:
                self._failed(workload, target, error)
                continue
            per_target = self.result.syscalls.setdefault(workload.name, {})
            per_target[target.name] = made / max(1, outcome.operations)

    def pin(self) -> None:
        """Put every process where it belongs; again after a proxy was started."""
        self.pinning.pin_client(self.database_pids)
        for target in self.targets:
            self.pinning.pin_proxy(target.pids())

    def _sample(self, workload: Workload, target: Target, number: int, seconds: float) -> None:
        sample = self._once(workload, target, number, seconds)
        if sample is not None and not workload.once and sample.disturbed:
            self.say(f"  disturbed by others ({sample.other_cores:.2f} CPUs)")
            # Where it does not become quiet another try would be no better.
            again = self.quiet.wait() and self._once(workload, target, number, seconds)
            if again and again.other_cores < sample.other_cores:
                sample = again
        if sample is None:
            return
        self.result.samples.append(sample)
        rate = sample.operations / sample.seconds
        self.say(
            f"  {workload.name}: round {number + 1}, {target.name}: {rate:,.0f} {workload.unit}/s"
        )

    def _once(
        self, workload: Workload, target: Target, number: int, seconds: float
    ) -> Sample | None:
        pids = target.pids()
        readings = Readings(pids, self.database_pids, self.database.port)
        bystanders = Bystanders(self._own_pids())
        outcome = self._outcome(workload, target, seconds, readings)
        if outcome is None:
            return None
        other_cores = bystanders.cores()
        cpu = proc.cpu_between(readings.proxy, proc.read_cpu(pids)) if pids else None
        # In ticks: a database ends threads with their connections, nanoseconds with them.
        database = proc.cpu_between(readings.database, proc.read_cpu(self.database_pids))
        database_ticks = database.user_ticks + database.system_ticks
        return Sample(
            workload=workload.name,
            target=target.name,
            round=number,
            unit=workload.unit,
            seconds=outcome.seconds,
            operations=outcome.operations,
            p50_ms=outcome.p50_ms,
            p99_ms=outcome.p99_ms,
            cpu_us=cpu.total_us if cpu else None,
            user_ticks=cpu.user_ticks if cpu else 0,
            system_ticks=cpu.system_ticks if cpu else 0,
            database_us=float(database_ticks * proc.TICK_US) if self.database_pids else None,
            connections=readings.connections,
            peak_rss_kib=proc.read_memory(pids).peak_kib if pids else None,
            rss_bytes_per_client=outcome.rss_bytes_per_client,
            pss_bytes_per_client=outcome.pss_bytes_per_client,
            errors=outcome.errors,
            other_cores=other_cores,
        )

    def _outcome(
        self, workload: Workload, target: Target, seconds: float, probe: Probe
    ) -> Outcome | None:
        """Run it; a target that fails is noted and does not end the whole benchmark."""
        try:
            return workload.run(self.children, target, seconds, probe)
        except (BenchError, OSError) as error:
            self._failed(workload, target, error)
            return None

    def _failed(self, workload: Workload, target: Target, error: Exception) -> None:
        failure = f"{workload.name}: {target.name}: {error}"
        if last_words := target.last_words():
            failure += f"; {last_words}"
        self.say(f"  FAILED {failure}")
        if failure not in self.result.failures:
            self.result.failures.append(failure)

    def _fresh(self, targets: Iterable[Target]) -> None:
        for target in targets:
            if target.restart is not None:
                target.restart()
        self.pin()

    def _own_pids(self) -> list[int]:
        return [*self.database_pids, *(pid for target in self.targets for pid in target.pids())]


def rotated(targets: Sequence[Target], by: int) -> list[Target]:
    """Turn the order, so that no target always follows the same one."""
    shift = by % max(1, len(targets))
    return [*targets[shift:], *targets[:shift]]
