# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from hproxy.routing.rules.model import COLUMNS, OUTCOMES, BadRule, Rule
from hproxy.routing.rules.pattern import RE2


def read(**columns: Any) -> Any:
    return Rule.read({"rule_id": 1} | columns, RE2)


def test_columns_are_proxysqls() -> None:
    assert len(COLUMNS) == 35
    assert set(OUTCOMES) < set(COLUMNS)


def test_everything_given() -> None:
    row = dict.fromkeys(COLUMNS)
    row |= {
        "rule_id": 3, "active": 1, "username": "ann", "flagIN": 2, "digest": "0xFF",
        "match_pattern": "a", "replace_pattern": "b", "apply": 1, "retries": 3, "comment": "x",
        "re_modifiers": "CASELESS,GLOBAL", "attributes": "", "error_msg": "no",
        "negate_match_pattern": 0,
    }  # fmt: skip
    rule = Rule.read(row, RE2)
    assert isinstance(rule, Rule)
    assert (rule.rule_id, rule.username, rule.flag_in, rule.digest) == (3, b"ann", 2, 255)
    assert rule.outcome == {"retries": 3, "error_msg": "no"}
    assert rule.apply
    assert rule.rewrite is not None
    assert rule.rewrite(b"Aa") == b"bb"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("destination_hostgroup", -1),
        ("destination_hostgroup", "many"),
        ("multiplex", 3),
        ("cache_ttl", 0),
        ("retries", 1001),
        ("proxy_port", 65536),
        ("re_modifiers", "EXTENDED"),
        ("match_digest", "["),
        ("match_pattern", "(?!a)"),
        ("replace_pattern", "x"),
        ("digest", "0xZ"),
        ("digest", "0x10000000000000000"),
        ("attributes", "[]"),
        ("attributes", "{"),
        ("attributes", '{"flagOUTs": [{"id": 1}]}'),
        ("attributes", '{"flagOUTs": 1}'),
        ("username", 5),
        ("colour", "red"),
    ],
)
def test_refused(column: str, value: object) -> None:
    bad = read(**{column: value})
    assert isinstance(bad, BadRule)
    assert (bad.rule_id, bad.column) == (1, column)
    assert column in str(bad)


def test_id_is_needed() -> None:
    assert Rule.read({}, RE2) == BadRule(None, "rule_id", "is missing")


def test_weights_of_nothing_are_none() -> None:
    assert read(attributes='{"flagOUTs": [{"id": 1, "weight": 0}]}').weighted == ()
    assert read(attributes='{"flagOUTs": [{"flagOUT": 4, "weight": 2}]}').weighted == ((4, 2),)
    assert read(attributes={"flagOUTs": []}).weighted == ()


def test_admits() -> None:
    rule = read(client_addr="192.168.%")
    assert rule.admits("192.168.3.4", "", 0)
    assert not rule.admits("192.16.3.4", "", 0)
    assert read(client_addr="1.2.3.4").admits("1.2.3.4", "", 0)
    assert not read(client_addr="1.2.3.4").admits("1.2.3.45", "", 0)
