# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hproxy.routing import CompiledRoute, Request, Route, Router
from hproxy.routing.policies import QueryRules


def test_without_a_rule_it_says_nothing() -> None:
    assert QueryRules().decide(Request(True, 1)) is None


def test_hostgroup_zero_is_one() -> None:
    assert QueryRules().decide(Request(True, 1, ruled=0, ruled_by="rule 1")) == Route(0, "rule 1")


def test_rules_come_before_the_split() -> None:
    router = Router.split([(1, 2)], 1.0)
    assert router.compile(Request(True, 1)) == CompiledRoute(1, 2, "a read")
    ruled = Request(True, 1, ruled=7, ruled_by="query rule 3")
    assert router.compile(ruled) == CompiledRoute(7, None, "query rule 3")
