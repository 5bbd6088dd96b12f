# SPDX-License-Identifier: Apache-2.0
"""Tells who else uses the machine, and waits, within a budget, until nobody does."""

import resource
import time
from collections.abc import Callable, Sequence

from bench.load import proc

QUIET_IDLE_SHARE = 0.90  # of all CPUs together
CHECK_S = 1.0


class QuietWait:
    """One budget of waiting for a whole benchmark, so that a busy machine cannot stretch it."""

    def __init__(self, budget_s: float, say: Callable[[str], None], notes: list[str]) -> None:
        self._left_s = budget_s
        self._say = say
        self._notes = notes

    def wait(self) -> bool:
        """Look at the idle share, one second at a time; False when it went on unquiet."""
        waited_s = 0.0
        while True:
            idle = idle_share(CHECK_S)
            if idle >= QUIET_IDLE_SHARE:
                return True
            if self._left_s < CHECK_S:
                self._go_on(idle)
                return False
            if not waited_s:
                self._say(f"waiting for a quiet machine ({idle:.0%} idle) ...")
            waited_s += CHECK_S
            self._left_s -= CHECK_S

    def _go_on(self, idle: float) -> None:
        note = "the machine was not quiet and the time for waiting was used up: expect noise"
        self._say(f"{note} ({idle:.0%} idle)")
        if note not in self._notes:
            self._notes.append(note)


class Bystanders:
    """Watches how much CPU is used by processes that are no part of the benchmark."""

    def __init__(self, own_pids: Sequence[int]) -> None:
        self._pids = own_pids
        self._before = self._read()

    def cores(self) -> float:
        """Give the CPUs strangers used since the start; stolen time is theirs too."""
        busy, idle, own = (a - b for a, b in zip(self._read(), self._before, strict=True))
        cpus = proc.cpu_count()
        return max(0.0, (busy - own) / (busy + idle)) * cpus if busy + idle > 0 else 0.0

    def _read(self) -> tuple[float, float, float]:
        busy, idle = proc.machine_times_us()
        servers = proc.read_cpu(self._pids)
        clients = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = resource.getrusage(resource.RUSAGE_SELF)
        seconds = clients.ru_utime + clients.ru_stime + own.ru_utime + own.ru_stime
        ticks = servers.user_ticks + servers.system_ticks
        return busy, idle, ticks * proc.TICK_US + seconds * 1e6


def idle_share(seconds: float) -> float:
    """Watch the machine for a while and give the idle share of all its CPUs."""
    busy, idle = proc.machine_times_us()
    time.sleep(seconds)
    busy_after, idle_after = proc.machine_times_us()
    spent = busy_after - busy + idle_after - idle
    return (idle_after - idle) / spent if spent > 0 else 0.0
