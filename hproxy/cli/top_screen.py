# SPDX-License-Identifier: Apache-2.0
"""The screen of `hproxy top`: two looks at a service become lines of text; pure.

    Look, Look ──> lines(before, now, width, height)
                   ├── state, traffic          3 lines
                   ├── processes               1
                   ├── backends                a third of what is left
                   ├── pins                    a few
                   └── statements by the time they took since the last look     the rest

Rates are differences. A counter that is smaller than before was begun anew, and counts from 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hproxy.cli.ctl_show import headline, place
from hproxy.cli.remote import cell, columns

__all__ = ["Look", "lines"]

Row = Mapping[str, Any]
PIN_LINES = 4
LEAST_DIGESTS = 3
KIB = 1024.0
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one time."""

    at: float
    """Seconds on any clock that runs evenly."""
    status: Row
    counters: Mapping[str, int] = field(default_factory=dict)
    backends: Sequence[Row] = ()
    digests: Sequence[Row] = ()
    pins: Sequence[Row] = ()


def lines(
    before: Look, now: Look, width: int = 120, height: int = 40, *, order: str = "time"
) -> list[str]:
    """At most `height` lines of at most `width`; statements by "time" or "count"."""
    span = max(now.at - before.at, 0.001)
    found = [headline(now.status), _traffic(before, now, span), _processes(now), ""]
    left = height - len(found)
    pinned = _pins(now)
    room = max(3, (left - len(pinned)) // 3)
    table = _backends(before, now, span)
    if len(table) > room:
        table = [*table[: room - 1], f"... and {len(table) - room + 1} more"]
    found += [*table, ""]
    found += [*pinned, ""] if pinned else []
    rest = max(LEAST_DIGESTS + 1, height - len(found))
    found += _digests(before, now, span, order)[:rest]
    return [line[:width] for line in found[:height]]


def _rate(before: Row, now: Row, name: str, span: float) -> float:
    old, new = int(before.get(name) or 0), int(now.get(name) or 0)
    return (new - old if new >= old else new) / span


def _traffic(before: Look, now: Look, span: float) -> str:
    def rate(name: str) -> float:
        return _rate(before.counters, now.counters, name, span)

    return "   ".join(
        (
            f"{rate('Questions'):,.0f} queries/s",
            f"to clients {_bytes(rate('Queries_frontends_bytes_sent'))}/s",
            f"from clients {_bytes(rate('Queries_frontends_bytes_recv'))}/s",
            f"logins {rate('Client_Connections_created'):,.1f}/s",
            f"refused {rate('Client_Connections_aborted'):,.1f}/s",
            f"slow {rate('Slow_queries'):,.1f}/s",
        )
    )


def _bytes(size: float) -> str:
    for unit in UNITS:
        if size < KIB or unit == UNITS[-1]:
            break
        size /= KIB
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _processes(now: Look) -> str:
    parts = []
    for row in now.status.get("processes", ()):
        name = f"worker {row['slot']}" if row["role"] == "worker" else row["role"]
        state = "" if row.get("state") in (None, "running", "serving", "up") else f" {row['state']}"
        restarts = f" restarted {row['restarts']}x" if row.get("restarts") else ""
        memory = f" {_bytes((row.get('rss_kib') or 0) * KIB)}" if row.get("rss_kib") else ""
        parts.append(f"{name}{state}{memory}{restarts}")
    return " | ".join(parts)


def _backends(before: Look, now: Look, span: float) -> list[str]:
    old = {(row["hostgroup"], row["address"]): row for row in before.backends}
    rows = []
    for row in now.backends:
        was = old.get((row["hostgroup"], row["address"]), row)
        rows.append(
            {
                **row,
                "rate": _rate(was, row, "queries", span),
                "errors": _rate(was, row, "connect_errors", span),
                "ms": (row.get("latency_us") or 0) / 1000,
            }
        )
    names = ("hostgroup", "address", "status", "used", "free")
    titles = {name: name for name in names} | {
        "queries/s": "rate",
        "errors/s": "errors",
        "ping ms": "ms",
    }
    return columns(rows, titles)


def _digests(before: Look, now: Look, span: float, order: str) -> list[str]:
    old = {_key(row): row for row in before.digests}
    rows = []
    for row in now.digests:
        was = old.get(_key(row), {})
        count, time = _rate(was, row, "count_star", span), _rate(was, row, "sum_time", span)
        if count > 0:
            rows.append(
                {
                    "rate": count,
                    "time": time / 1000,
                    "mean": time / count / 1000,
                    "hostgroup": row["hostgroup"],
                    "user": row["username"],
                    "text": cell(row["digest_text"]),
                }
            )
    if not rows:
        return ["no statements since the last look"]
    rows.sort(key=lambda row: row["rate" if order == "count" else "time"], reverse=True)
    titles = {"per s": "rate", "ms per s": "time", "mean ms": "mean", "hostgroup": "hostgroup"}
    return columns(rows, titles | {"user": "user", "statement": "text"})


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(
        row.get(name)
        for name in ("hostgroup", "schemaname", "username", "client_address", "digest")
    )


def _pins(now: Look) -> list[str]:
    if not now.pins:
        return []
    reasons = Counter(row["reason"] for row in now.pins)
    sessions = len({row["session"] for row in now.pins})
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    longest = sorted(now.pins, key=lambda row: -(row.get("since_s") or 0))
    return [f"{sessions} sessions pinned: {told}", *_longest(longest[: PIN_LINES - 1])]


def _longest(rows: Iterable[Row]) -> list[str]:
    return [
        f"  session {row['session']} of {row['user']} on "
        f"{place(row.get('srv_host'), row.get('srv_port')) or '-'}, {row['reason']} for "
        f"{row['since_s']} s: {cell(row['statement'], 60)}"
        for row in rows
    ]
