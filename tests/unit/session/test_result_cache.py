# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

from hproxy.session.result_cache import MOST_BYTES, OVERHEAD, ResultCache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def cache(limit: int = 1 << 20) -> tuple[ResultCache, Clock]:
    clock = Clock()
    return ResultCache(lambda: limit, clock), clock


def test_told_until_it_expires() -> None:
    found, clock = cache()
    assert found.get("k") is None
    assert found.put("k", b"frames", 3, 10, 500)
    assert found.get("k") == (b"frames", 3)
    clock.now += 0.49
    assert found.get("k") == (b"frames", 3)
    clock.now += 0.02
    assert found.get("k") is None
    counts = found.counts
    assert (counts.count_GET, counts.count_GET_OK, counts.count_SET) == (4, 2, 1)
    assert (counts.Entries, counts.Memory_bytes, counts.Purged) == (0, 0, 1)
    assert counts.bytes_IN == OVERHEAD + 16
    assert counts.bytes_OUT == 2 * counts.bytes_IN


def test_soft_limit_lets_one_through() -> None:
    found, clock = cache()
    found.put("k", b"old", 1, 0, 1000)
    clock.now += 0.5
    assert found.get("k", 60) is not None
    clock.now += 0.2
    assert found.get("k", 60) is None
    assert found.get("k", 60) == (b"old", 1)
    assert found.get("k", 0) == (b"old", 1)
    found.put("k", b"new", 1, 0, 1000)
    assert found.get("k", 60) == (b"new", 1)
    assert len(found) == 1


def test_bounded() -> None:
    found, _ = cache(100_000)
    for number in range(1000):
        assert found.put(number, b"x" * 1000, 1, 0, 60_000)
        assert found.counts.Memory_bytes <= 100_000
        assert found.get(0) is not None or number > 90
        found.get(0)
    assert found.get(999) is not None
    assert found.get(500) is None
    assert not found.put("large", b"x" * 25_001, 1, 0, 60_000)
    assert not cache(1 << 30)[0].put("large", b"x" * (MOST_BYTES + 1), 1, 0, 1)
    assert not cache(0)[0].put("none", b"x", 1, 0, 1)


def test_expired_goes_before_what_is_wanted() -> None:
    found, clock = cache(10_000)
    found.put("wanted", b"x" * 2000, 1, 0, 60_000)
    found.put("gone", b"x" * 2000, 1, 0, 1)
    found.put("also", b"x" * 2000, 1, 0, 60_000)
    clock.now += 1
    found.put("next", b"x" * 2000, 1, 0, 60_000)
    assert found.get("wanted") is not None
    assert found.counts.Purged == 1


def test_flush() -> None:
    found, _ = cache()
    for number in range(3):
        found.put(number, b"", 0, 0, 1000)
    assert found.flush() == 3
    assert (found.counts.Memory_bytes, found.counts.Purged) == (0, 3)


def test_the_sums_are_right() -> None:
    found, clock = cache(50_000)
    rng = random.Random(3)
    for _ in range(3000):
        key = rng.randrange(60)
        if rng.random() < 0.5:
            found.put(key, b"x" * rng.randrange(3000), 1, rng.randrange(50), rng.randrange(1, 900))
        else:
            found.get(key, rng.choice([0, 50]))
        clock.now += 0.01
        if rng.random() < 0.02:
            found.purge()
        sizes = [entry.size for entry in found._entries.values()]
        assert (sum(sizes), len(sizes)) == (found.counts.Memory_bytes, found.counts.Entries)
        assert found.counts.Memory_bytes <= 50_000


def test_a_long_text_is_bounded_as_well() -> None:
    found, _ = cache(100_000)
    found.put("k", b"x", 1, 10, 60_000)
    assert not found.put("long", b"x", 1, 100_000, 60_000)
    assert found.get("k") is not None


def test_a_full_cache_is_not_looked_through_for_each_result() -> None:
    found, clock = cache(100_000)
    looks = 0

    def purge() -> None:
        nonlocal looks
        looks += 1
        ResultCache.purge(found)

    found.purge = purge  # type: ignore[method-assign]
    for number in range(1000):
        found.put(number, b"x" * 1000, 1, 0, 100)
    assert looks == 1
    clock.now += 2
    found.put("k", b"x" * 1000, 1, 0, 100)
    assert looks == 2
    assert len(found) == 1
