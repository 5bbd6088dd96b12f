# SPDX-License-Identifier: Apache-2.0
"""Pins processes to CPUs for the time of a benchmark and puts everything back afterwards.

Client and database share one CPU, the proxy has another to itself: left to the scheduler, the same
proxy varies by half from run to run.
"""

import os
from collections.abc import Iterable

from bench.load import proc
from bench.load.errors import BenchError


class Pinning:
    """Remembers the CPU set of every thread it touches."""

    def __init__(self, *, enabled: bool) -> None:
        available = sorted(os.sched_getaffinity(0))
        self.enabled = enabled and len(available) > 1
        self.client_cpu = available[0]
        self.proxy_cpu = available[-1] if len(available) < 3 else available[1]
        self._saved: dict[int, dict[int, set[int]]] = {}  # process -> thread -> CPUs

    def __enter__(self) -> "Pinning":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def describe(self) -> str:
        """Say in the table's heading who ran where."""
        if not self.enabled:
            return "not pinned"
        return f"client and database on CPU {self.client_cpu}, proxies on CPU {self.proxy_cpu}"

    def pin_client(self, pids: Iterable[int]) -> None:
        """Put a load generator or a database on the shared CPU."""
        self._pin(pids, self.client_cpu)

    def pin_proxy(self, pids: Iterable[int]) -> None:
        """Put a proxy on the CPU that is kept for proxies."""
        self._pin(pids, self.proxy_cpu)

    def restore(self) -> None:
        """Give every thread its CPUs back; threads born since get those of their process."""
        for pid, saved in self._saved.items():
            if not saved:
                continue
            usual = saved.get(pid, next(iter(saved.values())))
            for thread in proc.threads(pid):
                _set(thread, saved.get(thread, usual))
        self._saved.clear()

    def _pin(self, pids: Iterable[int], cpu: int) -> None:
        if not self.enabled:
            return
        for pid in pids:
            saved = self._saved.setdefault(pid, {})
            for thread in proc.threads(pid):
                try:
                    saved.setdefault(thread, os.sched_getaffinity(thread))
                    os.sched_setaffinity(thread, {cpu})
                except ProcessLookupError:
                    continue
                except PermissionError as error:
                    raise BenchError(
                        f"may not pin process {pid} to CPU {cpu}: run as the user that started "
                        "it, or use --no-pin"
                    ) from error


def _set(thread: int, cpus: set[int]) -> None:
    try:
        os.sched_setaffinity(thread, cpus)
    except OSError:
        return  # it ended meanwhile
