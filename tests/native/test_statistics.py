# SPDX-License-Identifier: Apache-2.0
"""Histograms against sorted lists, digest counters against sums, the table against everything."""

from __future__ import annotations

import gc
import math
import random
import weakref
from collections import Counter
from collections.abc import Hashable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hproxy._native.statistics import DigestCounters, DigestTable, Histogram

US = 1_000
HOUR = 3_600_000_000_000
SINGLE = 0xFFFFFFFF  # what one 32-bit bucket holds

percents = st.floats(0, 100)
hours = st.integers(US, HOUR)
# Uniform integers are nearly all hours; times are spread over magnitudes.
times = st.floats(3, 12.5).map(lambda exponent: int(10**exponent))


def exact(values: Iterable[int], percent: float) -> int:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def filled(values: Iterable[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def call(
    counters: DigestCounters, ns: int = US, *, rows: int = 1, error: bool = False, now: float = 1.0
) -> None:
    counters.record(ns, rows, 2, 30, 400, error, now)


# Histogram


@given(st.one_of(hours, times))
def test_one_time_is_told_within_a_sixteenth(ns: int) -> None:
    told = filled([ns]).percentile(50)
    assert abs(told - ns) <= ns / 16


@given(st.lists(times, min_size=1, max_size=200), percents)
def test_percentiles_are_within_a_sixteenth_of_the_exact_ones(
    values: list[int], percent: float
) -> None:
    wanted = exact(values, percent)
    assert abs(filled(values).percentile(percent) - wanted) <= wanted / 16


def test_buckets_join_without_gap_and_hold_their_own_times() -> None:
    edge = 0
    seen = []
    while edge < 2**42:
        [(start, end, count)] = filled([edge]).rows()
        assert (start, count) == (edge, 1)
        assert filled([end - 1]).rows() == [(start, end, 1)]
        seen.append(start)
        edge = end
    assert edge == 2**42
    assert len(seen) == 264


@pytest.mark.parametrize("ns", [2**42 - 1, 2**42, 2**50, 2**63, 2**64 - 1])
def test_what_takes_longer_than_an_hour_is_in_the_last_bucket(ns: int) -> None:
    assert filled([ns]).rows() == [(15 << 38, 16 << 38, 1)]


def test_nothing_recorded_is_zero() -> None:
    histogram = Histogram()
    assert histogram.total == 0
    assert histogram.percentiles([0, 50, 100]) == [0, 0, 0]
    assert histogram.rows() == []


@pytest.mark.parametrize("percent", [-0.001, 100.001, math.nan, math.inf, -math.inf])
def test_percentiles_outside_the_scale_are_refused(percent: float) -> None:
    counters = DigestCounters()
    for asked in (Histogram(), counters):
        with pytest.raises(ValueError, match="between 0 and 100"):
            asked.percentiles([50, percent])
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentile(percent)


@pytest.mark.parametrize("ns", [-1, 2**64])
def test_times_that_64_bits_cannot_hold_are_refused(ns: int) -> None:
    histogram = Histogram()
    with pytest.raises(OverflowError):
        histogram.record(ns)
    assert histogram.total == 0


@given(st.lists(times), st.lists(times))
def test_merging_is_recording_both(left: list[int], right: list[int]) -> None:
    one, two = filled(left), filled(right)
    one.merge(two)
    assert one.rows() == filled(left + right).rows()
    assert one.total == len(left) + len(right)
    assert two.rows() == filled(right).rows()


@given(st.lists(times))
def test_rows_rebuild_the_histogram(values: list[int]) -> None:
    histogram = filled(values)
    copy = Histogram()
    copy.load(histogram.rows())
    assert copy.rows() == histogram.rows()
    assert copy.total == histogram.total


@pytest.mark.parametrize(
    "row", [(1, 128, 1), (0, 127, 1), (0, 256, 1), (2**63, 2**63 + 1, 1), (2**42, 2**43, 1)]
)
def test_rows_that_are_no_buckets_are_refused_whole(row: tuple[int, int, int]) -> None:
    histogram = Histogram()
    with pytest.raises(ValueError, match="no bucket"):
        histogram.load([(0, 128, 5), row])
    assert histogram.total == 0
    with pytest.raises(OverflowError):
        histogram.load([(0, 128, -1)])


def test_a_bucket_counts_on_beyond_32_bits() -> None:
    histogram = Histogram()
    histogram.load([(1024, 1152, SINGLE - 1)])
    for count in (SINGLE, SINGLE + 1, SINGLE + 2):
        histogram.record(1100)
        assert histogram.rows() == [(1024, 1152, count)]
        assert histogram.total == count
    histogram.merge(histogram)
    assert histogram.rows() == [(1024, 1152, 2 * (SINGLE + 2))]
    histogram.record(2000)
    assert histogram.percentiles([50, 100]) == [1088, 1984]


def test_ranks_that_a_double_cannot_hold_stay_within() -> None:
    histogram = Histogram()
    histogram.load([(1024, 1152, 2**60 + 1), (2048, 2304, 1)])
    assert histogram.percentiles([0, 50]) == [1088, 1088]
    assert histogram.percentile(100) in (1088, 2176)


# DigestCounters


@given(st.lists(st.tuples(times, st.integers(0, 9), st.booleans(), st.floats(0, 1e6)), max_size=30))
def test_counters_are_sums(calls: list[tuple[int, int, bool, float]]) -> None:
    counters = DigestCounters()
    for ns, rows, error, now in calls:
        counters.record(ns, rows, rows * 2, rows * 3, rows * 5, error, now)
    rows_sent = sum(rows for _, rows, _, _ in calls)
    row = counters.row()
    assert row.count_star == counters.count == len(calls)
    assert row.errors == sum(error for _, _, error, _ in calls)
    assert (row.rows_sent, row.rows_affected) == (rows_sent, rows_sent * 2)
    assert (row.bytes_in, row.bytes_out) == (rows_sent * 3, rows_sent * 5)
    assert row.sum_ns == sum(ns for ns, _, _, _ in calls)
    if calls:
        assert row.min_ns == min(ns for ns, _, _, _ in calls)
        assert row.max_ns == max(ns for ns, _, _, _ in calls)
        assert (row.first_seen, row.last_seen) == (calls[0][3], calls[-1][3])
        for percent, told in zip((50, 95, 99), row[12:15], strict=True):
            wanted = exact((ns for ns, _, _, _ in calls), percent)
            assert abs(told - wanted) <= wanted / 16
            assert row.min_ns <= told <= row.max_ns


@given(st.lists(times, min_size=1, max_size=8), percents)
def test_few_calls_have_exact_percentiles_and_no_histogram(
    values: list[int], percent: float
) -> None:
    counters = DigestCounters()
    for ns in values:
        call(counters, ns)
    assert counters.histogram is None
    assert counters.percentiles([percent]) == [exact(values, percent)]


def test_the_ninth_call_makes_a_histogram_of_all() -> None:
    counters = DigestCounters()
    for ns in range(US, 10 * US, US):
        call(counters, ns)
    assert counters.histogram is not None
    assert counters.histogram.rows() == filled(range(US, 10 * US, US)).rows()


@given(st.lists(times, max_size=20), st.lists(times, max_size=20))
def test_merged_counters_are_the_counters_of_all_calls(left: list[int], right: list[int]) -> None:
    one, two, both = DigestCounters(), DigestCounters(), DigestCounters()
    for number, ns in enumerate(left + right):
        call(both, ns, now=number)
        call(one if number < len(left) else two, ns, now=number)
    before = two.row()
    one.merge(two)
    assert one.row() == both.row()
    assert two.row() == before


def test_counters_merge_with_themselves() -> None:
    for calls in (3, 5, 9):
        counters = DigestCounters()
        for ns in range(calls):
            call(counters, US + ns)
        counters.merge(counters)
        assert counters.count == 2 * calls
        assert counters.sum_ns == 2 * sum(range(US, US + calls))
        told = counters.percentiles([0, 100])
        assert told == ([US, US + calls - 1] if calls == 3 else [US, US])  # one bucket then


def test_no_calls_are_a_row_of_zeroes() -> None:
    row = DigestCounters().row()
    assert row.key is None
    assert set(row[1:]) == {0}
    assert row._fields[0] == "key"


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("value", [-1, 2**64, "1", None])
def test_numbers_that_do_not_fit_are_refused(place: int, value: object) -> None:
    counters = DigestCounters()
    arguments: list[object] = [1, 1, 1, 1, 1]
    arguments[place] = value
    with pytest.raises((OverflowError, TypeError)):
        counters.record(*arguments, False, 1.0)  # type: ignore[arg-type,call-arg]
    assert counters.count == 0


# DigestTable


def key(number: int) -> tuple[int, bytes, bytes, bytes]:
    return 0, b"shop", b"app", b"SELECT %d" % number


def listed(table: DigestTable) -> dict[Hashable, int]:
    return {row.key: row.count_star for row in table.snapshot()}


def test_a_key_has_one_entry() -> None:
    table = DigestTable(2)
    entry = table.entry(key(1))
    assert table.entry(key(1)) is entry
    assert entry.key == key(1)
    assert table.entry((1, b"shop", b"app", b"SELECT 1")) is not entry
    assert len(table) == 2
    assert table.limit == 2


def test_what_was_not_called_is_not_told() -> None:
    table = DigestTable(2)
    table.entry(key(1))
    assert table.snapshot() == []
    assert table.total().count == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_a_table_lists_something(limit: int) -> None:
    with pytest.raises(ValueError, match="lists nothing"):
        DigestTable(limit)


def test_a_key_that_cannot_be_one_is_refused() -> None:
    table = DigestTable(1)
    with pytest.raises(TypeError, match="unhashable"):
        table.entry([b"SELECT 1"])  # type: ignore[arg-type]
    assert len(table) == 0


def test_the_least_called_gives_way_and_goes_to_other() -> None:
    table = DigestTable(2)
    often, seldom = table.entry(key(1)), table.entry(key(2))
    for _ in range(3):
        call(often)
    call(seldom, 7 * US, error=True)
    new = table.entry(key(3))
    call(new)
    assert listed(table) == {key(1): 3, key(3): 1}
    assert table.evicted == 1
    assert table.other.row()[:4] == (None, 1, 1, 1)
    assert table.other.percentiles([50]) == [7 * US]
    assert new.credit == 1  # what its predecessor had
    assert table.total().row()[1:4] == (5, 1, 5)


def test_of_equals_the_oldest_gives_way() -> None:
    table = DigestTable(3)
    for number in (1, 2, 3):
        call(table.entry(key(number)))
    table.entry(key(4))
    assert set(listed(table)) == {key(2), key(3)}


def test_old_fame_does_not_keep_a_place_for_ever() -> None:
    table = DigestTable(2)
    for _ in range(50):
        call(table.entry(key(1)))
    for number in range(2, 120):
        call(table.entry(key(number)))
    assert key(1) not in listed(table)
    assert table.total().count == 50 + 118


def test_held_counters_that_lost_their_place_count_for_other_then_come_back() -> None:
    table = DigestTable(1)
    held = table.entry(key(1))
    call(held)
    call(table.entry(key(2)))
    assert listed(table) == {key(2): 1}
    for _ in range(16):
        call(held)
    assert listed(table) == {key(2): 1}
    assert table.other.count == 17
    call(held)
    assert listed(table) == {key(1): 1}
    assert held.credit == 2
    assert table.other.count == 18
    assert table.total().count == 19


def test_counters_outside_join_the_listed_ones_of_their_key() -> None:
    table = DigestTable(2)
    held = table.entry(key(1))
    table.reset()
    again = table.entry(key(1))
    assert again is not held
    call(again)
    call(held)
    call(held)
    assert listed(table) == {key(1): 3}
    table.reset()  # the joined ones lose their place as well
    call(held)
    call(again)
    assert listed(table) == {key(1): 2}


def test_reset_starts_at_zero_and_held_counters_appear_with_their_next_call() -> None:
    table = DigestTable(1)
    held = table.entry(key(1))
    for ns in range(20):
        call(held, US + ns)
    call(table.entry(key(2)))
    held = table.entry(key(3))
    call(held)
    table.reset()
    assert table.snapshot() == []
    assert len(table) == 0
    assert table.other.count == table.total().count == 0
    call(held, 5 * US, now=9.0)
    [row] = table.snapshot()
    assert (row.key, row.count_star, row.min_ns, row.first_seen, row.credit) == (
        key(3),
        1,
        5 * US,
        9,
        0,
    )


def test_a_digest_with_more_than_its_share_of_calls_is_listed() -> None:
    choose = random.Random(7)
    table = DigestTable(20)
    held: dict[int, DigestCounters] = {}
    wanted: Counter[Hashable] = Counter()
    for step in range(20_000):
        # Three digests with a tenth of the calls each, the rest spread over 2,000.
        number = choose.randrange(3) if choose.random() < 0.3 else choose.randrange(3, 2_003)
        counters = held.get(number) or table.entry(key(number))
        if number < 3 or number % 2:
            held[number] = counters
        call(counters, now=step)
        wanted[key(number)] += 1
    told = listed(table)
    assert {key(0), key(1), key(2)} <= set(told)
    assert len(told) <= 20
    assert all(count <= wanted[key] for key, count in told.items())
    for row in table.snapshot():
        if row.key in (key(0), key(1), key(2)):
            assert row.count_star > 0.9 * wanted[row.key]
    assert table.total().count == 20_000


def test_a_table_that_nobody_holds_goes_away() -> None:
    class Key:
        """Something a weak reference can watch."""

    thing = Key()
    watched = weakref.ref(thing)
    table = DigestTable(1)
    call(table.entry(thing))
    call(table.entry(key(1)))
    call(table.entry(thing))
    del thing, table
    gc.collect()
    assert watched() is None


class TableMachine(RuleBasedStateMachine):
    """Whatever happens, every call is in exactly one row."""

    @initialize(limit=st.integers(1, 4))
    def start(self, limit: int) -> None:
        self.table = DigestTable(limit)
        self.held: list[DigestCounters] = []
        self.calls: list[int] = []

    @rule(number=st.integers(0, 7))
    def look_up(self, number: int) -> None:
        self.held.append(self.table.entry(key(number)))

    @rule(which=st.integers(0, 50), ns=times, repeat=st.sampled_from([1, 2, 20]))
    def call_held(self, which: int, ns: int, repeat: int) -> None:
        if self.held:
            for _ in range(repeat):
                call(self.held[which % len(self.held)], ns)
                self.calls.append(ns)

    @rule(which=st.integers(0, 50))
    def let_go(self, which: int) -> None:
        if self.held:
            self.held.pop(which % len(self.held))

    @rule()
    def reset(self) -> None:
        self.table.reset()
        self.calls.clear()

    @invariant()
    def all_is_counted_once(self) -> None:
        rows = [*self.table.snapshot(), self.table.other.row()]
        assert len(self.table) <= self.table.limit
        assert len({row.key for row in rows}) == len(rows)
        total = self.table.total().row()
        assert total.count_star == sum(row.count_star for row in rows) == len(self.calls)
        assert total.sum_ns == sum(row.sum_ns for row in rows) == sum(self.calls)
        if self.calls:
            assert (total.min_ns, total.max_ns) == (min(self.calls), max(self.calls))


TestTableMachine = TableMachine.TestCase
