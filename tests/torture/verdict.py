# SPDX-License-Identifier: Apache-2.0
"""Plays a plan for a test: nothing to say, or the shortest script that differs."""

from __future__ import annotations

from tests.support.recording_client import Login
from tests.torture.campaign import Campaign, Plan
from tests.torture.shrink import Replay, report, shrink
from tests.torture.stage import Stage
from tests.torture.writer import login_of

__all__ = ["Address", "verdict"]

Address = tuple[str, int]
SHRINK_S = 20.0


def verdict(stage: Stage, plan: Plan, actual: Address, expected: Address | None = None) -> str:
    """Empty when the way to `actual` answers as the one to `expected` does, the server itself."""
    campaign = Campaign(stage, plan, actual, expected)
    result = campaign.run()
    if not result.differences:
        assert result.steps == plan.steps
        assert result.errors > plan.steps // 100, "scripts that never fail try too little"
        return ""
    replay = Replay(stage, campaign.expected, campaign.actual)

    def login(session: int) -> Login:
        return login_of(plan.seed, session, stage.server.name, plan.capabilities)

    first = result.differences[0]
    told = report(first, shrink(replay, first, login, SHRINK_S))
    return (
        f"{len(result.differences)} sessions differ within {result.steps} steps"
        f" of seed {plan.seed}\n{told}"
    )
