# SPDX-License-Identifier: Apache-2.0
"""What a process costs, read from /proc, and waiting for something to come true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

__all__ = ["cpu_seconds", "descriptors", "eventually", "resident_kib"]

WAIT_S = 10.0
LOOK_EVERY_S = 0.02
TICKS = os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """Open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid: int, kind: str = "Rss") -> int:
    """Resident memory in KiB: Rss, or Pss, which shares common pages fairly."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1])
    raise ValueError(kind)


def cpu_seconds(pid: int) -> float:
    """User and system time used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def eventually(condition: Callable[[], bool], what: str, deadline_s: float = WAIT_S) -> None:
    """Look until `condition` holds; fails after `deadline_s`."""
    end = monotonic() + deadline_s
    while not condition():
        if monotonic() >= end:
            raise AssertionError(f"not within {deadline_s:g} s: {what}")
        sleep(LOOK_EVERY_S)
