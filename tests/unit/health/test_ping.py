# SPDX-License-Identifier: Apache-2.0
"""Pings: so many failures in a row, and none that is our own mistake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.health.outcome import Failure, Kind
from hproxy.health.ping import Pings, Verdict


def failed(kind: Kind) -> Failure:
    return Failure(kind, kind.value)


def test_shunned_at_the_threshold_and_again_while_silent() -> None:
    pings = Pings()
    verdicts = [pings.take(failed(Kind.SILENT), 3) for _ in range(4)]
    assert verdicts == [Verdict.NOTHING, Verdict.NOTHING, Verdict.SHUN, Verdict.SHUN]


def test_back_once_after_a_good_ping() -> None:
    pings = Pings()
    for _ in range(3):
        pings.take(failed(Kind.DOWN), 3)
    assert [pings.take(None, 3) for _ in range(2)] == [Verdict.BACK, Verdict.NOTHING]
    assert not pings.down


@pytest.mark.parametrize("kind", [Kind.DENIED])
def test_access_denied_means_it_lives(kind: Kind) -> None:
    pings = Pings()
    for failure in (Kind.SILENT, Kind.SILENT, kind, Kind.SILENT, Kind.SILENT):
        assert pings.take(failed(failure), 3) is Verdict.NOTHING
    assert pings.take(failed(Kind.SILENT), 3) is Verdict.SHUN
    assert pings.take(failed(kind), 3) is Verdict.BACK


def test_trouble_of_our_own_says_nothing() -> None:
    pings = Pings()
    for _ in range(5):
        assert pings.take(failed(Kind.OURS), 1) is Verdict.NOTHING
    assert pings.failed == 0


@given(st.lists(st.sampled_from([None, *Kind])), st.integers(1, 5))
def test_down_exactly_while_the_last_pings_failed(outcomes: list[Kind | None], limit: int) -> None:
    """Against the rule as ProxySQL writes it: the last `limit` rows of the log all failed."""
    pings = Pings()
    rows: list[bool] = []
    for outcome in outcomes:
        pings.take(None if outcome is None else failed(outcome), limit)
        if outcome is not Kind.OURS:
            rows.append(outcome not in (None, Kind.DENIED))
        assert pings.down == (len(rows) >= limit and all(rows[-limit:]))
