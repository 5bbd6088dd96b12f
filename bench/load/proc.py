# SPDX-License-Identifier: Apache-2.0
"""What /proc says about processes and the machine: CPU time, memory, trees, listeners.

CPU time comes from two places because neither is enough. `schedstat` counts nanoseconds on a CPU
but does not tell user from system time and forgets threads that ended; `stat` tells them apart and
remembers, in ticks of 10 ms whose split is sampled. So totals are taken from schedstat and divided
by the share that `stat` gives, which steadies as runs get longer.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_ESTABLISHED, _LISTEN = "01", "0A"  # the state column of /proc/net/tcp


@dataclass(frozen=True, slots=True)
class CpuClock:
    """CPU used so far by a set of processes."""

    scheduled_ns: int  # sum over live threads
    user_ticks: int
    system_ticks: int
    threads: frozenset[int]


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU used between two readings."""

    total_us: float
    user_ticks: int
    system_ticks: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a set of processes, in KiB."""

    rss_kib: int
    pss_kib: int
    peak_kib: int  # since the last reset_peak()


def tree(pid: int) -> list[int]:
    """Give `pid` and all its living descendants: a supervisor and its workers are one proxy."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, ()))
    return found


def threads(pid: int) -> list[int]:
    """Give the thread ids of a process; empty when it is gone."""
    try:
        return [int(name) for name in os.listdir(PROC / str(pid) / "task")]
    except OSError:
        return []


def read_cpu(pids: Iterable[int]) -> CpuClock:
    """Read the CPU clock of these processes; one that is gone counts nothing."""
    scheduled = user = system = 0
    seen: set[int] = set()
    for pid in pids:
        if (fields := _stat_fields(pid)) is None:
            continue
        user += int(fields[11])
        system += int(fields[12])
        for thread in threads(pid):
            text = _read(PROC / str(pid) / "task" / str(thread) / "schedstat")
            if text is not None:
                seen.add(thread)
                scheduled += int(text.split()[0])
    return CpuClock(scheduled, user, system, frozenset(seen))


def cpu_between(before: CpuClock, after: CpuClock) -> CpuTime:
    """Give what was used between two readings of the same processes."""
    user = after.user_ticks - before.user_ticks
    system = after.system_ticks - before.system_ticks
    if before.threads <= after.threads:
        total_us = (after.scheduled_ns - before.scheduled_ns) / 1000
    else:  # a thread ended and took its nanoseconds along
        total_us = float((user + system) * TICK_US)
    return CpuTime(total_us, user, system)


def read_memory(pids: Iterable[int]) -> Memory:
    """Sum the resident memory of these processes (Pss shares common pages fairly)."""
    rss = pss = peak = 0
    for pid in pids:
        rollup = _fields_kib(PROC / str(pid) / "smaps_rollup")
        rss += rollup.get("Rss", 0)
        pss += rollup.get("Pss", 0)
        peak += _fields_kib(PROC / str(pid) / "status").get("VmHWM", 0)
    return Memory(rss, pss, peak)


def reset_peak(pids: Iterable[int]) -> None:
    """Start a new peak of resident memory; where it may not, the old peak stays and counts."""
    for pid in pids:
        try:
            (PROC / str(pid) / "clear_refs").write_text("5")
        except OSError:
            continue


def machine_times_us() -> tuple[int, int]:
    """Give (busy, idle) microseconds of all CPUs since boot; stolen time counts as busy."""
    text = _read(PROC / "stat") or ""
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(field) for field in text.splitlines()[0].split()[1:9]
    )
    busy = user + nice + system + irq + softirq + steal
    return busy * TICK_US, (idle + iowait) * TICK_US


def cpu_count() -> int:
    """Give the number of CPUs machine_times_us() sums over."""
    text = _read(PROC / "stat") or ""
    return sum(line.startswith("cpu") for line in text.splitlines()) - 1


def listener_pid(port: int) -> int | None:
    """Give the oldest process listening on a TCP port; None when none is visible to us."""
    inodes = {
        fields[9] for fields in _sockets() if fields[3] == _LISTEN and _port(fields[1]) == port
    }
    pids = sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return next((pid for pid in pids if inodes and inodes & _held(pid)), None)


def connections(pids: Iterable[int], port: int) -> int:
    """Count the TCP connections these processes hold to a port."""
    held = set().union(*map(_held, pids))
    return sum(
        fields[3] == _ESTABLISHED and _port(fields[2]) == port and fields[9] in held
        for fields in _sockets()
    )


def _sockets() -> Iterator[list[str]]:
    for table in ("net/tcp", "net/tcp6"):
        for line in (_read(PROC / table) or "").splitlines()[1:]:
            yield line.split()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _held(pid: int) -> set[str]:
    """Give the inodes of a process's sockets."""
    try:
        descriptors = list((PROC / str(pid) / "fd").iterdir())
    except OSError:
        return set()
    found = set()
    for descriptor in descriptors:
        try:
            kind, _, inode = os.readlink(descriptor).partition(":[")
        except OSError:
            continue
        if kind == "socket":
            found.add(inode.rstrip("]"))
    return found


def _stat_fields(pid: int) -> list[str] | None:
    """Give /proc/PID/stat from its third field (state) on: the second may contain anything."""
    text = _read(PROC / str(pid) / "stat")
    return None if text is None else text.rpartition(")")[2].split()


def _fields_kib(path: Path) -> dict[str, int]:
    result: dict[str, int] = {}
    for line in (_read(path) or "").splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            result[name] = int(rest.split()[0])
    return result


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
