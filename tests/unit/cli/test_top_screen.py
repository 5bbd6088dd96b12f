# SPDX-License-Identifier: Apache-2.0
"""Two looks become a screen: rates, the largest first, never more than there is room for."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy.cli.top_screen import Look, lines
from tests.unit.cli.conftest import BACKEND, DIGEST, PIN, STATUS


def a_look(at: float, **parts: Any) -> Look:
    return Look(at=at, status=STATUS, **parts)


def digest(name: str, count: int, time: int) -> dict[str, Any]:
    text = f"SELECT {name}"
    return DIGEST | {"digest": name, "digest_text": text, "count_star": count, "sum_time": time}


def test_rates_are_differences() -> None:
    before = a_look(
        10, counters={"Questions": 1000}, backends=[BACKEND], digests=[digest("a", 10, 20_000)]
    )
    now = a_look(
        12,
        counters={"Questions": 3000, "Queries_frontends_bytes_sent": 4 << 20},
        backends=[BACKEND | {"queries": 300}],
        digests=[digest("a", 30, 60_000)],
        pins=[PIN],
    )
    shown = lines(before, now)
    assert shown[0].startswith("hproxy 9.9  ready  up 1h 2m  12 sessions")
    assert shown[1].startswith("1,000 queries/s   to clients 2.0 MiB/s")
    assert shown[2] == "worker 0 50.0 MiB restarted 1x"
    (backend,) = [line for line in shown if "db:3306" in line and "ONLINE" in line]
    assert backend.split() == ["1", "db:3306", "ONLINE", "2", "3", "100.0", "0.0", "0.2"]
    assert "1 sessions pinned: TRANSACTION 1" in shown
    assert shown[-1].split() == ["10.0", "20.0", "2.0", "1", "app", "SELECT", "a"]


@pytest.mark.parametrize(("order", "first"), [("time", "slow"), ("count", "often")])
def test_statements_in_order(order: str, first: str) -> None:
    now = a_look(2, digests=[digest("slow", 1, 9_000_000), digest("often", 1000, 1000)])
    shown = lines(a_look(1), now, order=order)
    assert f"SELECT {first}" in shown[-2]


def test_statements_that_did_not_run_are_left_out() -> None:
    same = [digest("a", 10, 10)]
    shown = lines(a_look(1, digests=same), a_look(2, digests=same))
    assert shown[-1] == "no statements since the last look"


def test_a_counter_begun_anew_counts_from_0() -> None:
    shown = lines(a_look(1, counters={"Questions": 500}), a_look(2, counters={"Questions": 7}))
    assert shown[1].startswith("7 queries/s")


@pytest.mark.parametrize("height", [1, 8, 12, 24, 60])
@pytest.mark.parametrize("width", [10, 80])
def test_never_larger_than_the_terminal(width: int, height: int) -> None:
    now = a_look(
        2,
        backends=[BACKEND | {"address": f"db{number}:3306"} for number in range(50)],
        digests=[digest(f"d{number}", 5, 5) for number in range(50)],
        pins=[PIN | {"session": number} for number in range(50)],
    )
    shown = lines(a_look(1), now, width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    if height >= 24 and width == 80:
        assert any(line.startswith("... and ") for line in shown)
        assert sum("SELECT d" in line for line in shown) >= 3


def test_nothing_at_all() -> None:
    empty = STATUS | {"processes": [], "sessions": 0}
    shown = lines(Look(1, empty), Look(1, empty))
    assert shown[-1] == "no statements since the last look"


def test_what_clients_send_cannot_disturb_the_terminal() -> None:
    bad = PIN | {"statement": "SELECT '\x1b[2J\n\r'"}
    shown = lines(a_look(1), a_look(2, pins=[bad], digests=[DIGEST]))
    assert all(line.isprintable() for line in shown)
