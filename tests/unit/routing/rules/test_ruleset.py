# SPDX-License-Identifier: Apache-2.0
"""The walk through the rules, and its twin in tests/support that asks each of them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hproxy.routing.rules import PCRE, RE2, Question, RuleSet
from tests.support.rules_reference import OVERRIDES, answer

Q = Question(b"ann", b"shop", b"SELECT 1", b"SELECT ?", digest=7)


def rule(rule_id: int, **columns: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, "active": 1} | columns


class Fixed:
    """A draw with a known end."""

    def __init__(self, point: int) -> None:
        self.point = point

    def __call__(self, _: int) -> int:
        return self.point


def judge(rows: list[dict[str, Any]], question: Question = Q, **options: Any) -> Any:
    compiled = RuleSet.compile(rows, **options)
    assert compiled.bad == ()
    return compiled.judge(question)


def test_no_rule() -> None:
    assert judge([]).plain


@pytest.mark.parametrize(
    ("columns", "matches"),
    [
        ({"username": "ann"}, True),
        ({"username": "bob"}, False),
        ({"username": ""}, True),
        ({"schemaname": "shop"}, True),
        ({"schemaname": "other"}, False),
        ({"client_addr": "10.0.0.1"}, True),
        ({"client_addr": "10.0.0.%"}, True),
        ({"client_addr": "10.0.1.%"}, False),
        ({"client_addr": "%"}, True),
        ({"proxy_addr": "127.0.0.1"}, True),
        ({"proxy_addr": "127.0.0.2"}, False),
        ({"proxy_port": 6033}, True),
        ({"proxy_port": 6034}, False),
        ({"digest": "0x7"}, True),
        ({"digest": "0x8"}, False),
        ({"match_digest": "^select \\?$"}, True),
        ({"match_digest": "^select \\?$", "re_modifiers": ""}, False),
        ({"match_digest": "INSERT"}, False),
        ({"match_digest": "INSERT", "negate_match_pattern": 1}, True),
        ({"match_pattern": "1$"}, True),
        ({"match_pattern": "2"}, False),
        ({"match_pattern": "2", "negate_match_pattern": 1}, True),
        ({"flagIN": 1}, False),
        ({"active": 0}, False),
    ],
)
def test_condition(columns: dict[str, Any], matches: bool) -> None:
    question = replace(Q, client="10.0.0.1", proxy_addr="127.0.0.1", proxy_port=6033)
    assert judge([rule(1, **columns)], question).rules == ((1,) if matches else ())


def test_order_and_apply() -> None:
    rows = [
        rule(3, destination_hostgroup=3),
        rule(1, destination_hostgroup=1, timeout=5),
        rule(2, destination_hostgroup=2, apply=1),
    ]
    found = judge(rows)
    assert (found.rules, found.destination_hostgroup, found.timeout) == ((1, 2), 2, 5)


def test_chain() -> None:
    rows = [
        rule(1, flagIN=9, error_msg="before its time"),
        rule(2, flagOUT=9),
        rule(3, destination_hostgroup=3),
        rule(4, flagIN=9, destination_hostgroup=4),
    ]
    assert judge(rows).rules == (2, 4)
    assert judge(rows, iterations=1).rules == (2, 1, 4)


def test_iterations_end() -> None:
    rows = [rule(1, flagOUT=0)]
    assert judge(rows, iterations=5).rules == (1,) * 6


def test_rewritten_text_is_what_later_patterns_see() -> None:
    rows = [
        rule(1, match_pattern="SELECT (\\d)", replace_pattern="SELECT \\1+\\1"),
        rule(2, match_pattern="^SELECT 1\\+1$", OK_msg="seen"),
        rule(3, match_digest="\\+", error_msg="the digest is the client's"),
    ]
    found = judge(rows)
    assert (found.text, found.rules) == (b"SELECT 1+1", (1, 2))


def test_replace_once_or_everywhere() -> None:
    question = replace(Q, text=b"aXbxc")
    row = rule(1, match_pattern="x", replace_pattern="-")
    assert judge([row], question).text == b"a-bxc"
    assert judge([row | {"re_modifiers": "CASELESS,GLOBAL"}], question).text == b"a-b-c"
    assert judge([row | {"re_modifiers": "GLOBAL"}], question).text == b"aXb-c"


def test_weights() -> None:
    attributes = '{"flagOUTs": [{"id": 1, "weight": 1}, {"id": 2, "weight": 3}]}'
    rows = [
        rule(1, attributes=attributes),
        rule(2, flagIN=1, destination_hostgroup=1),
        rule(3, flagIN=2, destination_hostgroup=2),
    ]
    compiled = RuleSet.compile(rows)
    drawn = [compiled.judge(Q, draw=Fixed(at)) for at in range(4)]
    assert [v.destination_hostgroup for v in drawn] == [1, 2, 2, 2]
    assert all(v.by_chance for v in drawn)


def test_fast_routing() -> None:
    fast = [
        {"username": "ann", "schemaname": "shop", "flagIN": 0, "destination_hostgroup": 5},
        {"username": "ann", "schemaname": "shop", "flagIN": 1, "destination_hostgroup": 6},
    ]
    assert judge([], fast_routing_rows=fast).destination_hostgroup == 5
    over = [rule(1, destination_hostgroup=1)]
    assert judge(over, fast_routing_rows=fast).destination_hostgroup == 5
    assert judge([rule(1, flagOUT=1)], fast_routing_rows=fast).destination_hostgroup == 6
    applied = [rule(1, destination_hostgroup=1, apply=1)]
    assert judge(applied, fast_routing_rows=fast).destination_hostgroup == 1
    assert judge([rule(1, username="bob", apply=1)], fast_routing_rows=fast).fast_routed


def test_comment_has_the_last_word() -> None:
    question = replace(Q, comment=b" hostgroup=8; query_timeout=9 ")
    found = judge([rule(1, destination_hostgroup=1, timeout=2, apply=1)], question)
    assert (found.destination_hostgroup, found.timeout) == (8, 9)
    assert found.hinted == ("hostgroup", "query_timeout")
    assert "comment" in found.why


def test_what_an_answer_rests_on() -> None:
    by_text = [rule(1, username="bob", match_pattern="x"), rule(2, match_digest="SELECT")]
    assert not judge(by_text).by_text
    assert judge(by_text, replace(Q, user=b"bob")).by_text
    behind = [rule(1, apply=1), rule(2, match_pattern="x")]
    assert not judge(behind).by_text
    many = [rule(1, apply=1), *(rule(n, match_pattern=f"x{n}") for n in range(2, 60))]
    assert not judge(many).by_text
    assert judge(many[1:]).by_text


def test_client_classes() -> None:
    compiled = RuleSet.compile(
        [rule(1, client_addr="10.0.%"), rule(2, client_addr="10.0.0.7"), rule(3)]
    )
    assert compiled.asks_client
    assert not compiled.asks_proxy
    same = {compiled.client_class(f"10.0.1.{n}") for n in range(1, 20)}
    assert len(same) == 1
    others = {compiled.client_class(a) for a in ("10.0.0.7", "10.1.0.1", "10.0.0.8")}
    assert len(others) == 3
    ports = RuleSet.compile([rule(1, proxy_port=6033)])
    assert ports.asks_proxy
    assert ports.proxy_class("a", 6033) != ports.proxy_class("a", 6034)


def test_bad_rows_are_told() -> None:
    compiled = RuleSet.compile(
        [
            rule(1, match_digest="("),
            rule(2, match_pattern="(a)", replace_pattern="\\2"),
            rule(3),
            rule(3),
            rule(4, retries=1001),
            rule(5, match_digest="(?=x)"),
        ],
        [{"username": "ann"}],
    )
    assert [(bad.rule_id, bad.column) for bad in compiled.bad] == [
        (1, "match_digest"),
        (2, "replace_pattern"),
        (3, "rule_id"),
        (4, "retries"),
        (5, "match_digest"),
        (None, "mysql_query_rules_fast_routing"),
    ]
    assert RuleSet.compile([rule(5, match_digest="(?=x)")], engine=PCRE).bad == ()
    with pytest.raises(ValueError, match="no such engine"):
        RuleSet.compile([], engine=3)


def test_explained() -> None:
    told: list[str] = []
    rows = [rule(1, username="ann", flagOUT=2), rule(2, flagIN=2, match_digest="x", apply=1)]
    RuleSet.compile(rows).judge(Q, trace=lambda *step: told.append(": ".join(step)))
    assert told == ["rule 1: matched by flagIN 0, username ann: flagOUT = 2"]


def test_ten_thousand_rules() -> None:
    """Not each of them is asked: a hundred times the rules, nowhere near that time."""
    rows = [
        rule(n + 1, match_digest=f"^SELECT a FROM t{n} ", destination_hostgroup=n, apply=1)
        for n in range(10_000)
    ]
    compiled = RuleSet.compile(rows)
    assert compiled.bad == ()

    def asked(n: int) -> float:
        question = replace(Q, digest_text=b"SELECT a FROM t%d WHERE id=?" % n)
        begun = time.thread_time()
        assert compiled.judge(question).rules == (n + 1,)
        return time.thread_time() - begun

    asked(0)
    assert min(asked(n) for n in range(5000, 5020)) < 0.05


WORDS = st.sampled_from(["a", "b", "ab", "^a", "b$", "a.b", "[ab]+", "x|b", "(a)(b)?", ""])
TEXTS = st.text("abxAB ", max_size=6).map(str.encode)


@st.composite
def rows_of_rules(draw: Any) -> list[dict[str, Any]]:
    rows = []
    for number in range(draw(st.integers(0, 40))):
        row: dict[str, Any] = {"rule_id": number + 1, "active": 1}

        def put(name: str, values: Any, odds: int = 4, row: dict[str, Any] = row) -> None:
            if draw(st.integers(0, odds)) == 0:
                row[name] = draw(values)

        put("active", st.just(0), 12)
        put("username", st.sampled_from(["ann", "bob", ""]))
        put("schemaname", st.sampled_from(["shop", "x"]))
        put("flagIN", st.integers(0, 2), 1)
        put("client_addr", st.sampled_from(["10.0.0.1", "10.%", "%", "9.%"]), 8)
        put("proxy_port", st.sampled_from([1, 2]), 8)
        put("digest", st.sampled_from(["0x7", "0x8"]), 6)
        put("match_digest", WORDS, 1)
        put("match_pattern", WORDS, 2)
        put("negate_match_pattern", st.just(1), 4)
        put("re_modifiers", st.sampled_from(["", "GLOBAL", "CASELESS,GLOBAL"]))
        put("flagOUT", st.integers(0, 2))
        put("apply", st.just(1), 6)
        put(
            "attributes",
            st.just('{"flagOUTs": [{"id": 1, "weight": 2}, {"id": 2, "weight": 1}]}'),
            8,
        )
        if "match_pattern" in row and not row.get("negate_match_pattern"):
            put("replace_pattern", st.sampled_from(["", "b", "x\\0"]), 3)
        for column in ("destination_hostgroup", "timeout", "next_query_flagIN", "multiplex"):
            put(column, st.integers(0, 2), 3)
        put("error_msg", st.sampled_from(["no", "never"]), 6)
        rows.append(row)
    return rows


@settings(max_examples=150, deadline=None)
@given(
    rows_of_rules(),
    TEXTS,
    TEXTS,
    st.sampled_from([b"ann", b"bob"]),
    st.integers(0, 2),
    st.integers(0, 3),
    st.booleans(),
)
def test_same_as_reference(
    rows: list[dict[str, Any]],
    text: bytes,
    digest_text: bytes,
    user: bytes,
    flag: int,
    iterations: int,
    pcre: bool,
) -> None:
    question = Question(user, b"shop", text, digest_text, 7, flag, client="10.0.0.1", proxy_port=1)
    fast = [
        {"username": "ann", "schemaname": "shop", "flagIN": n, "destination_hostgroup": 50 + n}
        for n in (0, 2)
    ]
    compiled = RuleSet.compile(rows, fast, PCRE if pcre else RE2, iterations)
    assert compiled.bad == ()
    verdict = compiled.judge(question, draw=lambda n: n - 1)
    expected = answer(rows, compiled.fast_routes, question, iterations, lambda n: n - 1)
    shown = {
        name: getattr(verdict, name)
        for name in (*OVERRIDES, "text")
        if getattr(verdict, name) is not None
    }
    assert shown | {"rules": verdict.rules} == expected


@settings(max_examples=60, deadline=None)
@given(rows_of_rules(), TEXTS, TEXTS, TEXTS)
def test_what_is_not_by_text_holds_for_every_text(
    rows: list[dict[str, Any]], one: bytes, other: bytes, digest_text: bytes
) -> None:
    compiled = RuleSet.compile(rows)
    first, second = (
        compiled.judge(Question(b"ann", b"shop", text, digest_text), draw=lambda n: 0)
        for text in (one, other)
    )
    if not first.by_text:
        assert first == second
