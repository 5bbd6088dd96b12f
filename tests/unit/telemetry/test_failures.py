# SPDX-License-Identifier: Apache-2.0
"""Errors of backends, counted in bounded memory."""

from __future__ import annotations

from hproxy.telemetry.failures import LONGEST, FailureKey, Failures


def key(errno: int) -> FailureKey:
    return FailureKey(1, "db1", 3306, "ann", "", "shop", errno)


def test_the_same_error_is_one_row() -> None:
    failures = Failures()
    failures.note(key(1062), "Duplicate entry '1'", 100.9)
    failures.note(key(1062), "Duplicate entry '2'", 105.1)
    assert failures.rows() == [
        (1, "db1", 3306, "ann", "", "shop", 1062, 2, 100, 105, "Duplicate entry '2'")
    ]
    assert failures.sums == {(1, "db1", 3306, 1062): 2}


def test_a_full_table_forgets_what_was_not_seen_for_longest() -> None:
    failures = Failures(most=2)
    for errno in (1, 2, 1, 3):
        failures.note(key(errno), "", 1.0)
    assert [row[6] for row in failures.rows()] == [1, 3]
    assert (failures.total, failures.dropped, len(failures)) == (4, 1, 2)


def test_texts_are_cut_and_rows_reset() -> None:
    failures = Failures()
    failures.note(key(1), "x" * 10_000, 1.0)
    assert len(str(failures.rows()[0][-1])) == LONGEST
    failures.reset()
    assert (failures.rows(), failures.total) == ([], 1)
    assert failures.sums == {(1, "db1", 3306, 1): 1}, "what only grows is not reset"
