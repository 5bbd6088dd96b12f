# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest

from hproxy.routing.rules.pattern import (
    PCRE,
    RE2,
    SET_MOST,
    Pattern,
    PatternFilter,
    PatternRefused,
    check_regex,
    read_modifiers,
)


@pytest.mark.parametrize("engine", [PCRE, RE2])
def test_found(engine: int) -> None:
    assert Pattern(b"^select", True, engine).found_in(b"SELECT 1")
    assert not Pattern(b"^select", False, engine).found_in(b"SELECT 1")
    assert Pattern(b"\xff.\xfe", True, engine).found_in(b"a\xff\x80\xfeb")


def test_engines_differ_where_they_are_said_to() -> None:
    line = b"SELECT 1 FOR UPDATE\n"
    assert Pattern(b"UPDATE$", True, PCRE).found_in(line)
    assert not Pattern(b"UPDATE$", True, RE2).found_in(line)
    assert not Pattern(b"UPDATE$", True, PCRE).linear
    assert Pattern(b"^UPDATE", True, PCRE).linear
    assert Pattern(b"UPDATE$", True, PCRE, one_line=True).linear
    assert Pattern(b"(?<!x)a", True, PCRE).found_in(b"ya")
    with pytest.raises(PatternRefused, match="PCRE takes it: mysql-query_processor_regex = 1"):
        Pattern(b"(?<!x)a", True, RE2)
    assert "PCRE takes it" not in check_regex("(a", engine=RE2)


def test_evil_pattern_ends() -> None:
    evil = Pattern(rb"^(\w+\s?)*$", True, PCRE)
    begun = time.thread_time()
    assert not evil.found_in(b"a" * 60 + b"!")
    assert evil.overruns == 1
    assert time.thread_time() - begun < 1
    assert evil.rewriter(b"x", True)(b"a" * 60 + b"!") == b"a" * 60 + b"!"


def test_limits_are_ours() -> None:
    assert "limits" in check_regex("(*LIMIT_MATCH=4000000000)a$", engine=PCRE)


@pytest.mark.parametrize("engine", [PCRE, RE2])
@pytest.mark.parametrize("source", [b"(a)(b)?", b"(a)(b)?(?:$|.)"])
def test_replacement(engine: int, source: bytes) -> None:
    pattern = Pattern(source, True, engine)
    assert pattern.rewriter(rb"<\2\\\1\0>", False)(b"--ab") == rb"--<b\aab>"
    assert pattern.rewriter(rb"[\2]", False)(b"a") == b"[]"
    for wrong in (rb"\3", rb"\x", b"\\"):
        with pytest.raises(PatternRefused):
            pattern.rewriter(wrong, False)


def test_modifiers() -> None:
    assert read_modifiers(" caseless, GLOBAL,") == {"CASELESS", "GLOBAL"}
    with pytest.raises(PatternRefused, match="MULTILINE"):
        read_modifiers("MULTILINE")


def test_check() -> None:
    assert check_regex("^SELECT") == ""
    assert check_regex("(") != ""
    assert check_regex("a", "WRONG") != ""


def test_many_at_once() -> None:
    patterns = [Pattern(b"^q%d_" % n, n % 2 == 0, RE2) for n in range(50)]
    patterns.append(Pattern(b"q(?=7)", True, PCRE))
    assert PatternFilter(patterns).found_in(b"q7_x") == {7, 50}
    assert PatternFilter(patterns).found_in(b"Q8_x") == {8}
    assert PatternFilter(patterns[:3]).found_in(b"Q0_x") == {0}


def test_set_that_outgrows_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hproxy.routing.rules.pattern.SET_MEMORY", 1 << 10)
    patterns = [Pattern(b"x.{%d}y" % n, True, RE2) for n in range(1, 40)]
    assert PatternFilter(patterns).found_in(b"x1234y") == {3}


def test_patterns_have_a_limit() -> None:
    with pytest.raises(PatternRefused, match="longer than 64 KiB"):
        Pattern(b"a" * (1 << 20), True, PCRE)


def test_more_patterns_than_one_set_takes() -> None:
    patterns = [Pattern(b"q%d_" % i, False, RE2) for i in range(2 * SET_MOST + 20)]
    assert PatternFilter(patterns).found_in(b"q7_ q4010_ q2000_") == {7, 4010, 2000}
