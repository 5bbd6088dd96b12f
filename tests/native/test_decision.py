# SPDX-License-Identifier: Apache-2.0
"""Decisions are found again, the ones nobody asks for are forgotten, and none is leaked."""

from __future__ import annotations

import random
import sys

import pytest

from hproxy._native.decision import Decision, DecisionCache, Tally
from hproxy._native.pool import Group
from hproxy._native.statistics import DigestCounters

GROUP = Group("group", None, 10)
HALF = 2**64


def decision(text: bytes = b"SELECT ?") -> Decision:
    return Decision(1, GROUP, None, DigestCounters(), "traits", text)


def test_a_decision_says_what_was_decided() -> None:
    counters, reader = DigestCounters(), Group("readers", None, 10)
    found = Decision(65537, GROUP, reader, counters, "traits", b"SELECT ?")
    assert (found.flags, found.writer, found.reader) == (65537, GROUP, reader)
    assert (found.counters, found.traits, found.text) == (counters, "traits", b"SELECT ?")


@pytest.mark.parametrize("missing", ["writer", "counters", "text"])
def test_a_decision_lacks_nothing(missing: str) -> None:
    given = {
        "flags": 0, "writer": GROUP, "reader": None, "counters": DigestCounters(),
        "traits": None, "text": b"",
    } | {missing: None}  # fmt: skip
    with pytest.raises(TypeError):
        Decision(**given)  # type: ignore[arg-type]


def test_a_decision_is_found_by_both_halves_of_its_key() -> None:
    cache = DecisionCache(10)
    one, other = decision(), decision()
    cache.store(7, 1, one)
    cache.store(7, 2, other)
    assert (cache.find(7, 1), cache.find(7, 2), cache.find(7, 3), cache.find(8, 1)) == (
        one, other, None, None,
    )  # fmt: skip
    assert (cache.hits, cache.misses, len(cache)) == (2, 2, 2)


def test_a_new_decision_takes_the_place_of_the_old() -> None:
    cache = DecisionCache(10)
    old, new = decision(), decision()
    cache.store(1, 1, old)
    held = sys.getrefcount(old)
    cache.store(1, 1, new)
    assert cache.find(1, 1) is new
    assert (len(cache), sys.getrefcount(old)) == (1, held - 1)


def test_what_is_asked_for_survives_and_the_rest_is_forgotten() -> None:
    cache = DecisionCache(20)
    assert cache.limit == 10
    wanted = decision()
    cache.store(0, 0, wanted)
    for number in range(1, 1000):
        cache.store(number, 0, decision())
        assert cache.find(0, 0) is wanted
        assert len(cache) <= 20
    assert cache.find(1, 0) is None
    assert cache.find(999, 0) is not None


@pytest.mark.parametrize("limit", [2, 3, 16, 17, 1000])
def test_keys_that_meet_in_one_slot_are_kept_apart(limit: int) -> None:
    cache = DecisionCache(limit)
    step = 1 << 20
    stored = {number * step: decision(b"%d" % number) for number in range(cache.limit)}
    for low, each in stored.items():
        cache.store(low, HALF - 1, each)
    assert all(cache.find(low, HALF - 1) is each for low, each in stored.items())
    assert cache.find(0, 0) is None


def test_it_behaves_like_two_dictionaries() -> None:
    rng = random.Random(1)
    cache = DecisionCache(16)
    young: dict[int, Decision] = {}
    old: dict[int, Decision] = {}
    for _ in range(20_000):
        key = rng.randrange(40)
        if rng.random() < 0.3:
            put = decision()
            cache.store(key, key, put)
        else:
            found = young.get(key)
            expected = found or old.get(key)
            assert cache.find(key, key) is expected
            if found is not None or expected is None:
                continue
            put = expected
        if len(young) >= cache.limit:
            young, old = {}, young
        young[key] = put


def test_nothing_is_leaked() -> None:
    kept = decision()
    before = sys.getrefcount(kept)
    cache = DecisionCache(8)
    for number in range(100):
        cache.store(number, 0, kept)
    assert sys.getrefcount(kept) > before
    cache.clear()
    assert (len(cache), sys.getrefcount(kept)) == (0, before)
    cache.store(1, 1, kept)
    del cache
    assert sys.getrefcount(kept) == before


@pytest.mark.parametrize("limit", [-1, 0, 1, (1 << 24) + 1])
def test_a_limit_has_limits(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be"):
        DecisionCache(limit)


def test_what_query_rules_add() -> None:
    plain = decision()
    assert (plain.verdict, plain.tally, plain.time_limit) == (None, None, 0)
    assert (plain.next_flag, plain.multiplex, plain.uses) == (-1, -1, 0)
    tally = Tally((3, 5))
    ruled = Decision(
        0, GROUP, None, DigestCounters(), None, b"", verdict="verdict", tally=tally,
        time_limit=1.5, next_flag=7, multiplex=0,
    )  # fmt: skip
    assert (ruled.verdict, ruled.tally, ruled.time_limit) == ("verdict", tally, 1.5)
    assert (ruled.next_flag, ruled.multiplex) == (7, 0)
    assert (tally.rules, tally.count) == ((3, 5), 0)
    with pytest.raises(TypeError):
        Tally(None)  # type: ignore[arg-type]


def test_entries_are_told_once() -> None:
    cache = DecisionCache(8)
    kept = [decision(b"%d" % number) for number in range(6)]
    for number, each in enumerate(kept):
        cache.store(number, number, each)
    for number in range(2, 6):
        cache.find(number, number)  # the old ones are young again
    found = cache.entries()
    assert len(found) == len({id(each) for each in found})
    assert {each.text for each in found} >= {b"2", b"3", b"4", b"5"}
    assert cache.texts is None
    cache.clear()
    assert cache.entries() == []
