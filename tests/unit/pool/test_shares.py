# SPDX-License-Identifier: Apache-2.0
"""The share of one worker, and of the only one."""

from __future__ import annotations

import os

import pytest

from hproxy.pool.shares import Row, Shares, create
from hproxy.topology import Backend

BACKEND = Backend("db", 3306, hostgroup=7)


def test_the_only_worker_asks_nobody() -> None:
    alone = Shares()
    assert alone.backend(BACKEND) is None
    assert alone.account(b"ann") is alone.sessions(b"ann") is None
    assert alone.clients() is alone.hostgroup(0) is None
    assert alone.part(7) == alone.limit(7, None) == 7
    alone.freed(None)


def test_rows_are_of_all_workers() -> None:
    fd = create(2)
    one, two = (Shares.join(os.dup(fd), column, 2) for column in range(2))
    os.close(fd)
    rows = [
        (one.backend(BACKEND), two.backend(BACKEND)),
        (one.account(b"\xff"), two.account(b"\xff")),
        (one.sessions(b"ann"), two.sessions(b"ann")),
        (one.clients(), two.clients()),
        (one.hostgroup(3), two.hostgroup(3)),
    ]
    for count, (mine, theirs) in enumerate(rows):
        assert mine is not None
        assert theirs is not None
        for _ in range(count):
            mine.enter()
        assert theirs.taken == count
    assert one.clients() is rows[3][0]
    assert [one.part(whole) for whole in (0, 1, 2, 7)] == [0, 1, 1, 4]


def test_who_has_places_is_nudged() -> None:
    fd = create(3)
    one, two, _ = (Shares.join(os.dup(fd), column, 3) for column in range(3))
    os.close(fd)
    heard: list[tuple[int, str]] = []

    def nudge(column: int, row: Row) -> None:
        heard.append((column, row.name))

    one.nudge = two.nudge = nudge
    mine, theirs = one.backend(BACKEND), two.backend(BACKEND)
    assert mine is not None
    assert theirs is not None
    theirs.enter()
    one.want(mine, 2)
    two.freed(theirs)
    assert heard == [(1, "backend 7 db:3306"), (0, "backend 7 db:3306")]
    one.want(mine, 0)
    two.freed(theirs)
    assert len(heard) == 2


def test_a_full_ledger_counts_alone() -> None:
    fd = create(1)
    shares = Shares.join(fd, 0, 1)
    assert shares.ledger is not None
    for number in range(shares.ledger.capacity):
        shares.row(str(number))
    assert shares.clients() is None
    assert shares.clients() is None
    shares.workers = 3
    assert shares.limit(10, None) == 3
    assert shares.limit(10, shares.row("7")) == 10


def test_what_is_no_ledger() -> None:
    fd = os.memfd_create("other")
    with pytest.raises(ValueError, match="not a ledger"):
        Shares.join(fd, 0, 1)
    with pytest.raises(OSError, match="Bad file"):
        os.close(fd)
