# SPDX-License-Identifier: Apache-2.0
"""Whose configuration is copied: the table on top of the module, line by line."""

from __future__ import annotations

import pytest

from hproxy.control.cluster.decision import Checksum, Seen, Verdict, verdict

OURS = Checksum(2, 100, "0xA")


def seen(version: int, epoch: int, checksum: str, diff_check: int = 3) -> Seen:
    return Seen(Checksum(version, epoch, checksum), 0, 0, diff_check)


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        (seen(2, 100, "0xA", 0), OURS, Verdict.NOTHING),
        (seen(2, 101, "0xA", 0), OURS, Verdict.AGE),
        (seen(1, 101, "0xA", 0), OURS, Verdict.NOTHING),  # it was only started later
        (seen(2, 99, "0xA", 0), OURS, Verdict.NOTHING),
        (seen(2, 101, "0xB"), OURS, Verdict.PULL),
        (seen(2, 101, "0xB", 2), OURS, Verdict.NOTHING),  # not often enough
        (seen(2, 99, "0xB"), OURS, Verdict.NOTHING),
        (seen(2, 100, "0xB"), OURS, Verdict.CONFLICT),
        (seen(1, 101, "0xB"), OURS, Verdict.NOTHING),  # never loaded
        (seen(2, 50, "0xB"), Checksum(1, 100, "0xA"), Verdict.PULL),  # ours was never loaded
        (seen(1, 200, "0xB"), Checksum(1, 100, "0xA"), Verdict.NOTHING),
        (seen(2, 101, "0xB"), None, Verdict.NOTHING),  # admin-checksum_... is off
    ],
)
def test_verdict(theirs: Seen, ours: Checksum | None, expected: Verdict) -> None:
    assert verdict(theirs, ours, 3) is expected
    assert verdict(theirs, ours, 0) is Verdict.NOTHING


def test_looks_are_counted_while_it_differs() -> None:
    found = seen(1, 1, "0xA", 0)
    found.look(Checksum(2, 5, "0xB"), OURS, 10)
    assert (found.diff_check, found.changed_at, found.updated_at) == (1, 10, 10)
    found.look(Checksum(2, 5, "0xB"), OURS, 11)
    assert (found.diff_check, found.changed_at, found.updated_at) == (2, 10, 11)
    found.look(Checksum(3, 6, "0xC"), OURS, 12)
    assert (found.diff_check, found.changed_at) == (1, 12)
    found.look(Checksum(4, 7, "0xA"), OURS, 13)
    assert (found.diff_check, found.changed_at) == (0, 13)
    found.look(Checksum(4, 7, "0xA"), None, 14)
    assert found.diff_check == 0
