# SPDX-License-Identifier: Apache-2.0
"""Token buckets that processes share: never more than there are, whoever dies at what moment."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.buckets import FORMAT, Buckets

SECOND = 1_000_000_000
NOW = 1_000 * SECOND


@pytest.fixture
def fd() -> Iterator[int]:
    made = Buckets.create(2, 64)
    yield made
    os.close(made)


def taken(buckets: Buckets, tries: int, per_minute: int, now: int = NOW, key: bytes = b"a") -> int:
    return [buckets.take(0, key, per_minute, now) for _ in range(tries)].count(True)


def test_a_minute_s_worth(fd: int) -> None:
    buckets = Buckets(fd)
    assert taken(buckets, 100, 60) == 60
    assert not buckets.has(0, b"a", 60, NOW)
    assert taken(buckets, 100, 60, NOW + 5 * SECOND) == 5
    assert taken(buckets, 100, 60, NOW + 3600 * SECOND) == 60


@given(st.integers(1, 3000))
def test_exactly_so_many(per_minute: int) -> None:
    fd = Buckets.create(1, 8)
    buckets = Buckets(fd)
    os.close(fd)
    assert taken(buckets, per_minute + 10, per_minute) == per_minute


def test_of_one_process_alone() -> None:
    buckets = Buckets(-1, 2, 64)
    assert (taken(buckets, 10, 5), buckets.capacity) == (5, 128)
    with pytest.raises(ValueError, match="size"):
        Buckets(-1, 17, 64)


def test_given_back(fd: int) -> None:
    one, two = Buckets(fd), Buckets(fd)
    assert taken(one, 10, 5) == 5
    two.give(0, b"a", 5, NOW)
    two.give(0, b"never used", 5, NOW)
    assert taken(one, 10, 5) == 1
    for _ in range(20):
        two.give(0, b"a", 5, NOW)
    assert taken(one, 10, 5) == 5  # a full one does not overflow


def test_kinds_and_keys_are_apart(fd: int) -> None:
    buckets = Buckets(fd)
    taken(buckets, 5, 5)
    assert buckets.has(0, b"b", 5, NOW)
    assert buckets.has(1, b"a", 5, NOW)
    assert buckets.knows(0, b"a")
    assert not buckets.knows(1, b"a")
    with pytest.raises(ValueError, match="kind 2"):
        buckets.has(2, b"a", 5, NOW)


def test_debt_ends(fd: int) -> None:
    buckets = Buckets(fd)
    for _ in range(1000):
        assert buckets.take(0, b"a", 5, NOW, True)
    assert not buckets.take(0, b"a", 5, NOW + 60 * SECOND)
    assert buckets.take(0, b"a", 5, NOW + 150 * SECOND)


def test_the_fullest_are_forgotten(fd: int) -> None:
    buckets = Buckets(fd)
    taken(buckets, 5, 5, key=b"empty")
    for number in range(10_000):
        buckets.take(0, b"%d" % number, 5, NOW)
    assert not buckets.has(0, b"empty", 5, NOW)
    assert buckets.count <= buckets.capacity == 128


def test_who_was_touched_last_is_kept(fd: int) -> None:
    buckets = Buckets(fd)
    for number in range(10_000):
        buckets.touch(0, b"%d" % number, NOW + number)
        buckets.touch(0, b"often", NOW + number)
    assert buckets.knows(0, b"often")
    assert not buckets.knows(0, b"1")


def test_alerts(fd: int) -> None:
    one, two = Buckets(fd), Buckets(fd)
    one.alert(NOW)
    one.alert(NOW - SECOND)
    assert two.alerted(NOW)
    assert not two.alerted(NOW + 1)


def test_processes_together_take_no_more() -> None:
    """One is killed in between: what it took is gone for a minute, and nothing else."""
    fd = Buckets.create(1, 4096)
    children = []
    for number in range(4):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            buckets, random_ = Buckets(fd), random.Random(number)
            for turn in range(3000):
                for key in random_.sample((b"a", b"b", b"c"), 3):
                    if buckets.take(0, key, 500, NOW):
                        os.write(write, key)
                buckets.take(0, b"%d" % random_.randrange(20), 500, NOW)
                if number == 3 and turn == 100:
                    os.kill(os.getpid(), signal.SIGKILL)
            os._exit(0)
        os.close(write)
        children.append((pid, read))
    found = b""
    for pid, read in children:
        while part := os.read(read, 65_536):
            found += part
        os.close(read)
        os.waitpid(pid, 0)
    os.close(fd)
    # The first use of each by two processes at once may lose one token.
    assert all(500 <= found.count(key) <= 503 for key in (b"a", b"b", b"c"))


def test_what_is_none(fd: int) -> None:
    other = os.memfd_create("other")
    with pytest.raises(ValueError, match="not a table"):
        Buckets(other)
    os.ftruncate(other, 1 << 16)
    with pytest.raises(ValueError, match="another version"):
        Buckets(other)
    os.close(other)
    with pytest.raises(ValueError, match="size"):
        Buckets.create(0, 1)
    assert FORMAT == 1
