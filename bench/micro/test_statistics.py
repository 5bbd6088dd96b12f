# SPDX-License-Identifier: Apache-2.0
"""What counting costs; a call from Python is most of the first two figures (see the yardstick)."""

from __future__ import annotations

from itertools import count

from pytest_benchmark.fixture import BenchmarkFixture

from hproxy._native.statistics import DigestTable, Histogram

LISTED = 5_000
ROUND = 1_000  # calls


def full_table() -> DigestTable:
    table = DigestTable(LISTED)
    for number in range(LISTED):
        counters = table.entry((0, b"shop", b"app", b"SELECT %d" % number))
        for ns in range(20):
            counters.record(ns * 10_000, 1, 0, 30, 200, False, 1.0)
    return table


def test_recording_1000_times(benchmark: BenchmarkFixture) -> None:
    histogram = Histogram()

    def record() -> None:
        for ns in range(ROUND):
            histogram.record(ns)

    benchmark(record)

    assert histogram.total >= ROUND


def test_counting_1000_statements(benchmark: BenchmarkFixture) -> None:
    counters = DigestTable(1).entry((0, b"shop", b"app", b"SELECT ?"))

    def calls() -> None:
        for ns in range(ROUND):
            counters.record(ns, 1, 0, 30, 200, False, 1.0)

    benchmark(calls)

    assert counters.count >= ROUND


def test_1000_calls_that_do_nothing(benchmark: BenchmarkFixture) -> None:
    """The yardstick for the two above."""
    nothing = abs

    def calls() -> None:
        for ns in range(ROUND):
            nothing(ns)

    benchmark(calls)


def test_a_new_digest_in_a_full_table(benchmark: BenchmarkFixture) -> None:
    table = full_table()
    numbers = count()
    benchmark(lambda: table.entry(next(numbers)).record(1_000, 1, 0, 30, 200, False, 1.0))
    assert len(table) == LISTED


def test_a_snapshot_of_5000_digests(benchmark: BenchmarkFixture) -> None:
    assert len(benchmark(full_table().snapshot)) == LISTED
