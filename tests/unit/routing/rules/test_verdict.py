# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hproxy.routing.rules import Verdict


def test_nothing_said() -> None:
    assert Verdict().plain
    assert Verdict().why == ""


def test_why() -> None:
    assert Verdict(rules=(3, 5)).why == "query rule 3, 5"
    assert Verdict(rules=(3,), fast_routed=True).why == "fast routing"
    assert not Verdict(fast_routed=True).plain
    assert "comment" in Verdict(hinted=("hostgroup",), fast_routed=True).why
