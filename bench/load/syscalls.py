# SPDX-License-Identifier: Apache-2.0
"""Counts the system calls of running processes with perf.

Only in runs of its own: counting costs every call a little, which would show in CPU time.
"""

import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TypeVar

from bench.load.children import STOP_S, Children
from bench.load.errors import BenchError

EVENT = "raw_syscalls:sys_enter"

Result = TypeVar("Result")


def count(
    children: Children, pids: Sequence[int], work: Callable[[], Result]
) -> tuple[int, Result]:
    """Do some work and give the system calls these processes made meanwhile."""
    program = shutil.which("perf")
    if program is None:
        raise BenchError("perf is missing: apt-get install linux-perf")
    output = children.folder / "perf.csv"
    output.unlink(missing_ok=True)
    watched = ",".join(map(str, pids))
    perf = children.start(
        "perf",
        [program, "stat", "-x", ",", "-o", str(output), "-e", EVENT, "-p", watched],
        output.exists,
    )
    try:
        result = work()
        perf.send_signal(signal.SIGINT)
        perf.wait(STOP_S)
    except TimeoutExpired:
        raise BenchError("perf did not end when asked to") from None
    finally:
        children.stop(perf)
    return _parse(output), result


def _parse(output: Path) -> int:
    for line in output.read_text().splitlines():
        value, *rest = line.split(",")
        if EVENT in rest and value.isdigit():
            return int(value)
    raise BenchError(f"perf counted nothing: {output.read_text().strip()}")
