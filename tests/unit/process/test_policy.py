# SPDX-License-Identifier: Apache-2.0
"""When children are started again."""

from __future__ import annotations

import pytest

from hproxy.process.policy import LONG_SEC, Backoff


def test_quick_deaths_wait_ever_longer_and_the_sixth_is_the_last() -> None:
    backoff = Backoff()
    assert [backoff.ended(0.1, served=False) for _ in range(6)] == [2, 4, 8, 16, 32, None]


def test_a_long_life_is_followed_at_once_and_forgets() -> None:
    backoff = Backoff()
    for _ in range(6):
        assert backoff.ended(9.9) is not None
    assert backoff.ended(LONG_SEC) == 0
    assert backoff.quick == 0
    assert backoff.restarts == 7


def test_the_first_that_served_is_excused() -> None:
    backoff = Backoff()
    assert [backoff.ended(1), backoff.ended(1), backoff.ended(1)] == [0, 2, 4]


def test_one_quick_death_after_a_long_life_is_excused() -> None:
    backoff = Backoff()
    assert [backoff.ended(lived) for lived in (60, 3, 3, 3)] == [0, 0, 2, 4]


@pytest.mark.parametrize("lived", [LONG_SEC, 1e6])
def test_who_dies_late_always_starts_at_once(lived: float) -> None:
    backoff = Backoff()
    assert [backoff.ended(lived) for _ in range(20)] == [0.0] * 20
