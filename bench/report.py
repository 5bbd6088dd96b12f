# SPDX-License-Identifier: Apache-2.0
"""Turns the samples of a load benchmark into one table: `python -m bench.report FILE.json ...`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.sample import DIRECT, HAPROXY, Run
from bench.load.summary import Summary, ratio, summarise

Peers = dict[str, Summary]  # the targets of one workload


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cell is made."""

    heading: str
    cell: Callable[[Summary, Peers], str]


def table(run: Run) -> str:
    """Give all workloads under one set of columns, then notes, failures and the verdict."""
    summaries = summarise(run)
    busy = [(name, peers) for name, peers in summaries.items() if not _is_idle(peers)]
    idle = [(name, peers) for name, peers in summaries.items() if _is_idle(peers)]
    parts = [run.title, ""]
    for columns, blocks in ((_TRAFFIC, busy), (_IDLE, idle)):
        if blocks:
            parts += [*_aligned(columns, blocks), ""]
    parts += [f"note: {note}" for note in run.notes]
    parts += [f"FAILED: {failure}" for failure in run.failures]
    parts += ["limits:", *(f"  {line}" for line in run.verdict)] if run.verdict else []
    return "\n".join(parts).rstrip()


def _aligned(columns: Sequence[Column], blocks: Sequence[tuple[str, Peers]]) -> list[str]:
    lines: list[list[str] | str] = []
    for name, peers in blocks:
        unit = next(iter(peers.values())).unit
        lines += ["", f"{name} ({unit})", [column.heading for column in columns]]
        lines += [[column.cell(one, peers) for column in columns] for one in peers.values()]
    rows = [line for line in lines if not isinstance(line, str)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [line if isinstance(line, str) else _row(line, widths) for line in lines][1:]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join(["  " + first[0].ljust(first[1]), *(c.rjust(w) for c, w in rest)])


def _is_idle(peers: Peers) -> bool:
    return any(one.rss_bytes_per_client is not None for one in peers.values())


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _rate(one: Summary, _: Peers) -> str:
    return _number(one.rate, 0 if one.rate >= 100 else 1)


def _percentile(value: float | None) -> str:
    return _number(value, 3 if value is not None and value < 10 else 1)


def _cpu(value: float | None) -> str:
    return _number(value, 1 if value is not None and value < 1000 else 0)


def _against(
    peer: str, value: Callable[[Summary], float | None]
) -> Callable[[Summary, Peers], str]:
    def cell(one: Summary, peers: Peers) -> str:
        return _number(ratio(value(one), value(peers[peer])), 2) if peer in peers else "-"

    return cell


def _mib(kib: float | None) -> str:
    return _number(None if kib is None else kib / 1024, 1)


def _kib(size: float | None) -> str:
    return _number(None if size is None else size / 1024, 2)


_TARGET = Column("target", lambda one, _: one.target)
_ERRORS = Column("errors", lambda one, _: f"{one.errors}")

_TRAFFIC = (
    _TARGET,
    Column("per s", _rate),
    Column("/direct", _against(DIRECT, lambda one: one.rate)),
    Column("/haproxy", _against(HAPROXY, lambda one: one.rate)),
    Column("p50 ms", lambda one, _: _percentile(one.p50_ms)),
    Column("p99 ms", lambda one, _: _percentile(one.p99_ms)),
    Column("p99/direct", _against(DIRECT, lambda one: one.p99_ms)),
    Column("/haproxy", _against(HAPROXY, lambda one: one.p99_ms)),
    Column("CPU µs", lambda one, _: _cpu(one.cpu_us)),
    Column("user", lambda one, _: _cpu(one.user_us)),
    Column("system", lambda one, _: _cpu(one.system_us)),
    Column("CPU/haproxy", _against(HAPROXY, lambda one: one.cpu_us)),
    Column("DB CPU", lambda one, _: _cpu(one.database_us)),
    Column("backend", lambda one, _: _number(one.connections, 0)),
    Column("RSS MiB", lambda one, _: _mib(one.peak_rss_kib)),
    Column("syscalls", lambda one, _: _number(one.syscalls, 1)),
    Column("calm", lambda one, _: f"{one.calm}/{one.rounds}"),
    Column("spread", lambda one, _: f"{one.spread:.0%}"),
    Column("others", lambda one, _: f"{one.other_cores:.2f}"),
    _ERRORS,
)

_IDLE = (
    _TARGET,
    Column("held", lambda one, _: f"{one.operations:,.0f}"),
    Column("logins/s", _rate),
    Column("RSS KiB each", lambda one, _: _kib(one.rss_bytes_per_client)),
    Column("PSS KiB each", lambda one, _: _kib(one.pss_bytes_per_client)),
    Column("RSS/haproxy", _against(HAPROXY, lambda one: one.rss_bytes_per_client)),
    Column("backend", lambda one, _: _number(one.connections, 0)),
    Column("RSS MiB", lambda one, _: _mib(one.peak_rss_kib)),
    _ERRORS,
)


def main() -> None:
    """Print the table of each file."""
    files = sys.argv[1:]
    if not files or files[0].startswith("-"):
        sys.exit("usage: python -m bench.report FILE.json ...")
    print("\n\n".join(table(Run.load(Path(file))) for file in files))


if __name__ == "__main__":
    main()
