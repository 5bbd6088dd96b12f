# SPDX-License-Identifier: Apache-2.0
"""Options of the pool: zero is "never" and "no limit", limits are reached at their value."""

from __future__ import annotations

import dataclasses

import pytest

from hproxy.pool import PoolSettings


def test_zero_is_never() -> None:
    never = PoolSettings(connection_max_age=0, ping_interval=0, queue_limit=0)
    assert not never.expired(1e9)
    assert not never.ping_due(1e9)
    assert not never.queue_full(10**9)


@pytest.mark.parametrize(("value", "reached"), [(0, False), (4.999, False), (5, True), (6, True)])
def test_limits_are_reached_at_their_value(value: float, reached: bool) -> None:
    settings = PoolSettings(connection_max_age=5, ping_interval=5, queue_limit=5)
    assert settings.expired(value) is reached
    assert settings.ping_due(value) is reached
    assert settings.queue_full(int(value)) is reached


def test_settings_are_swapped_not_changed() -> None:
    settings = PoolSettings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.fast_lane = False  # type: ignore[misc]
    assert dataclasses.replace(settings, fast_lane=False) != settings
