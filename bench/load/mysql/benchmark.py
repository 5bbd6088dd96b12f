# SPDX-License-Identifier: Apache-2.0
"""One whole benchmark: start the targets, measure, print the table, judge, stop everything."""

import dataclasses
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import report
from bench.load import proc
from bench.load.children import Children, raise_fd_limit
from bench.load.errors import BenchError
from bench.load.mysql import budgets, gate, server, workloads
from bench.load.mysql.client import Address
from bench.load.mysql.limits import failed_workloads, judge
from bench.load.mysql.measure import Measurement
from bench.load.mysql.targets import Launcher, Target
from bench.load.mysql.workloads import Workload
from bench.load.pinning import Pinning
from bench.load.quiet import QuietWait
from bench.load.sample import HAPROXY, Run, describe_machine


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says; the field names are the options' names."""

    server: str
    workloads: tuple[str, ...]
    threads: tuple[int, ...]
    prepared: bool
    rounds: int
    seconds: float
    idle: int
    targets: tuple[str, ...]
    pool: int
    mysqlrouter: bool
    proxysql: Path | None
    second_haproxy: bool
    hproxy: bool
    session: bool
    rules: tuple[int, ...]
    hproxy_options: str
    syscalls: bool
    pin: bool
    quiet_wait: float
    json: Path | None
    budgets: bool
    quick: bool

    def completed(self) -> "Settings":
        """Give what --quick or --budgets measure, whatever else was asked for."""
        if self.quick:
            return dataclasses.replace(
                self,
                workloads=gate.WORKLOADS,
                threads=(gate.THREADS,),
                prepared=False,
                rounds=gate.ROUNDS,
                seconds=gate.ROUND_S,
                idle=gate.IDLE,
            )
        if self.budgets:
            return dataclasses.replace(
                self,
                workloads=budgets.WORKLOADS,
                threads=budgets.THREADS,
                prepared=False,
                idle=budgets.IDLE,
            )
        return self


def run(settings: Settings) -> bool:
    """Do it all; False when a target failed or the gate says no."""
    settings = settings.completed()
    chosen = workloads.select(
        settings.workloads,
        threads=settings.threads,
        prepared=settings.prepared,
        idle=settings.idle,
    )
    raise_fd_limit()
    with ExitStack() as stack:
        children = stack.enter_context(Children())
        pinning = stack.enter_context(Pinning(enabled=settings.pin))
        database = server.find(settings.server)
        targets = _targets(settings, Launcher(children, database, settings.pool))
        measurement = _measurement(settings, children, pinning, database, targets)
        stack.callback(_tell, measurement.result, settings.json)  # also after Ctrl-C
        for workload in chosen:
            measurement.workload(workload, settings.rounds, settings.seconds)
            if settings.syscalls:
                measurement.count_syscalls(workload)
        if settings.budgets:
            checks = judge(measurement.result, budgets.LIMITS)
            measurement.result.verdict = [str(check) for check in checks]
        passed = not settings.quick or _gate(settings, measurement, chosen)
        return passed and not measurement.result.failures


def say(text: str) -> None:
    """Tell how it goes, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def _targets(settings: Settings, launcher: Launcher) -> list[Target]:
    targets = [launcher.direct(), launcher.haproxy()]
    if settings.second_haproxy:
        targets.append(launcher.haproxy(f"{HAPROXY}-2"))
    if settings.hproxy:
        targets.append(launcher.hproxy(settings.hproxy_options))
    targets.extend(launcher.hproxy_rules(count) for count in settings.rules)
    if settings.session:
        targets.append(launcher.hproxy_session())
    if settings.mysqlrouter:
        targets.append(launcher.mysqlrouter())
    if settings.proxysql is not None:
        targets.append(launcher.proxysql(settings.proxysql))
    targets.extend(launcher.extra(text) for text in settings.targets)
    names = [target.name for target in targets]
    if len(set(names)) < len(names):
        raise BenchError(f"two targets have the same name: {', '.join(names)}")
    return targets


def _measurement(
    settings: Settings,
    children: Children,
    pinning: Pinning,
    database: Address,
    targets: list[Target],
) -> Measurement:
    cpus = len(os.sched_getaffinity(0))
    result = Run(
        title=f"{settings.server}, {settings.rounds} rounds of {settings.seconds:g} s, medians; "
        + pinning.describe(),
        settings={
            **asdict(settings),
            "json": str(settings.json),
            "proxysql": str(settings.proxysql),
        },
        machine=describe_machine(cpus),
    )
    pid = proc.listener_pid(database.port) if database.host == "127.0.0.1" else None
    if pid is None:
        result.notes.append("the database's process is not visible from here: it was not pinned")
    quiet = QuietWait(settings.quiet_wait, say, result.notes)
    measurement = Measurement(
        children, pinning, quiet, database, [] if pid is None else [pid], targets, result, say
    )
    pinning.pin_client([os.getpid()])  # and with it every client started from now on
    measurement.pin()
    return measurement


def _gate(settings: Settings, measurement: Measurement, chosen: list[Workload]) -> bool:
    result = measurement.result
    checks = judge(result, gate.LIMITS)
    for _ in range(gate.ATTEMPTS - 1):
        again = failed_workloads(checks)
        for workload in (one for one in chosen if one.name in again):
            say(f"{workload.name} fails the gate: measuring it once more")
            result.notes.append(f"{workload.name} was measured anew: the first figures failed")
            result.samples = [s for s in result.samples if s.workload != workload.name]
            measurement.workload(workload, settings.rounds, settings.seconds)
        checks = judge(result, gate.LIMITS)
    result.verdict = [str(check) for check in checks]
    return not failed_workloads(checks)


def _tell(result: Run, json_file: Path | None) -> None:
    if not result.samples:
        return
    print(report.table(result), flush=True)
    if json_file is not None:
        result.save(json_file)
