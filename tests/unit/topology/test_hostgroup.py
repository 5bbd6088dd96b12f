# SPDX-License-Identifier: Apache-2.0
"""Attributes of hostgroups: how many idle connections a percentage is."""

from __future__ import annotations

import pytest

from hproxy.topology import HostgroupAttributes


@pytest.mark.parametrize(
    ("percent", "limit", "kept"),
    [
        (10, 1000, 100),
        (10, 5, 1),
        (10, 19, 1),
        (10, 20, 2),
        (100, 7, 7),
        (0, 1000, 0),
        (10, 0, 0),
        (1, 2**31 - 1, 21_474_836),
    ],
)
def test_idle_limit(percent: int, limit: int, kept: int) -> None:
    assert HostgroupAttributes(free_connections_pct=percent).idle_limit(limit) == kept
