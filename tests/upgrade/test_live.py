# SPDX-License-Identifier: Apache-2.0
"""Upgrades under load: no client is told of one, and nobody has forgotten anything.

sysbench (prepared, transactions) ─┐
200 idle sessions with state ──────┴── old ── QUIT ──> new ── QUIT ──> newer
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.support.crowd import Crowd
from tests.support.server import Server
from tests.support.succession import Succession
from tests.support.sysbench import Sysbench

IDLE = 200
THREADS = 8
UPGRADES = 2
GOES_ON_S = 20.0


def goes_on(load: Sysbench) -> None:
    """Wait until it has done something since."""
    before = len(load.seconds)
    end = monotonic() + GOES_ON_S
    while not any(second.transactions for second in load.seconds[before + 1 :]):
        assert load.runs, load.text
        assert monotonic() < end, load.text
        sleep(0.1)


def test_nobody_hears_of_it(
    tmp_path: Path, server: Server, schema: str, sections: dict[str, Any]
) -> None:
    with (
        Succession(tmp_path, sections) as service,
        Sysbench(service.host, service.port, schema, threads=THREADS) as load,
        Crowd(service.host, service.port, IDLE) as crowd,
    ):
        goes_on(load)
        for _ in range(UPGRADES):
            upgraded = service.upgrade()
            assert upgraded.left == 0, upgraded.moved
            assert upgraded.sessions == IDLE + THREADS
            goes_on(load)
        assert crowd.forgotten() == []
        assert load.faults() == []
