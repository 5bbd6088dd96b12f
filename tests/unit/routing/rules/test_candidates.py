# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

from hproxy.routing.rules.candidates import MOST_KEPT, Candidates
from hproxy.routing.rules.model import Rule
from hproxy.routing.rules.pattern import RE2


def candidates(*rows: dict[str, Any]) -> Candidates:
    rules = []
    for number, row in enumerate(rows):
        rule = Rule.read({"rule_id": number} | row, RE2)
        assert isinstance(rule, Rule)
        rules.append(rule)
    return Candidates(rules)


def positions(found: Candidates, text: bytes = b"SELECT ?", digest: int = 1) -> list[int]:
    alive = found.alive(0, b"ann", b"shop", digest, text)
    return [] if alive is None else alive.positions


def test_only_what_can_match() -> None:
    found = candidates(
        {"username": "bob"},
        {"username": "ann", "schemaname": "shop"},
        {"flagIN": 1},
        {"digest": "0x1"},
        {"digest": "0x2"},
        {"match_digest": "^SELECT"},
        {"match_digest": "^INSERT"},
        {"match_digest": "^INSERT", "negate_match_pattern": 1},
        {},
    )
    assert positions(found) == [1, 3, 5, 7, 8]
    assert positions(found, b"INSERT", 2) == [1, 4, 6, 8]
    assert found.alive(3, b"ann", b"", 0, b"") is None


def test_those_that_look_at_the_text() -> None:
    few = candidates({}, {"match_pattern": "a"}).alive(0, b"", b"", 0, b"")
    assert few is not None
    assert few.by_text == [1]
    assert few.filter is None
    many = candidates({}, *({"match_pattern": "a"} for _ in range(30))).alive(0, b"", b"", 0, b"")
    assert many is not None
    assert many.filter is not None


def test_what_is_kept_is_bounded() -> None:
    found = candidates({"match_digest": "7$"})
    for number in range(MOST_KEPT * 2 + 3):
        assert positions(found, b"%d" % number) == ([0] if number % 10 == 7 else [])
    assert len(found._kept) <= MOST_KEPT
