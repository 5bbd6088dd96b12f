# SPDX-License-Identifier: Apache-2.0
"""The guard against guessing: who is slowed down, who is not, and what it remembers."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.auth.guard import PAIR_PER_MINUTE, Buckets, Guard, create
from hproxy.errors import AuthError, ClientError

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(guard: Guard, host: str, user: bytes, times: int) -> int:
    """How many of the wrong guesses were looked at."""
    looked = 0
    for _ in range(times):
        if guard.admit(host, user):
            guard.failed(host, user)
            looked += 1
    return looked


def test_off(clock: Clock) -> None:
    guard = Guard(clock)
    assert fail(guard, HERE, b"ann", 5000) == 5000
    assert (guard.on, guard.alert, guard.refused, guard.remembered) == (False, False, 0, 0)


def test_an_address(clock: Clock) -> None:
    guard = Guard(clock, per_host=60)
    assert sum(fail(guard, HERE, b"user%d" % number, 1) for number in range(100)) == 60
    assert (guard.alert, guard.refused) == (True, 40)
    assert fail(guard, THERE, b"ann", 10) == 10
    clock.now += 5
    assert fail(guard, HERE, b"ann", 100) == 5
    clock.now += 3600
    assert (guard.is_open(HERE, b"ann"), guard.alert) == (True, False)
    assert fail(guard, HERE, b"ann", 100) == 60


def test_a_name_from_everywhere(clock: Clock) -> None:
    guard = Guard(clock, per_account=30)
    assert sum(fail(guard, f"10.0.0.{i}", b"ann", 1) for i in range(100)) == 30
    assert sum(fail(guard, f"10.0.0.{i}", b"nobody", 1) for i in range(100)) == 30
    assert guard.admit(HERE, b"bob")


def test_right_ones_cost_nothing(clock: Clock) -> None:
    guard = Guard(clock, per_host=5, per_account=5)
    for _ in range(1000):
        assert guard.admit(HERE, b"ann")
        guard.succeeded(HERE, b"ann")
        assert guard.admit(HERE, b"bob")
        guard.abandoned(HERE, b"bob")
    assert fail(guard, HERE, b"bob", 10) == 5


def test_many_at_once_are_no_way_around(clock: Clock) -> None:
    guard = Guard(clock, per_host=10)
    assert [guard.admit(HERE, b"ann") for _ in range(100)].count(True) == 10


def test_who_was_here_before_is_not_locked_out(clock: Clock) -> None:
    guard = Guard(clock, per_host=50, per_account=50)
    guard.welcome(HERE, b"ann")
    fail(guard, HERE, b"bob", 1000)
    fail(guard, THERE, b"ann", 1000)
    for _ in range(100):
        assert guard.admit(HERE, b"ann")
        guard.succeeded(HERE, b"ann")
    assert not guard.admit(THERE, b"ann")
    assert not guard.admit(HERE, b"cat")
    # And is no way to guess that very account.
    assert fail(guard, HERE, b"ann", 1000) == PAIR_PER_MINUTE


def test_networks(clock: Clock) -> None:
    guard = Guard(clock, per_host=10)
    assert sum(fail(guard, f"2001:db8:1:2::{i:x}", b"a", 1) for i in range(1, 100)) == 10
    assert guard.admit("2001:db8:1:3::1", b"a")
    assert guard.admit("strange:name", b"a")


def test_memory(clock: Clock) -> None:
    guard = Guard(clock, per_host=10, per_account=10, most=100)
    for number in range(10_000):
        guard.welcome(f"h{number}", b"u%d" % number)
        fail(guard, f"h{number}", b"u%d" % number, 1)
        # The one that is asked for again and again is not forgotten.
        fail(guard, HERE, b"ann", 1)
    assert guard.remembered <= 3 * 104
    assert not guard.is_open(HERE, b"bob")


def test_workers_count_together(clock: Clock) -> None:
    fd = create()
    workers = [Guard(clock, per_host=50, per_account=50, buckets=Buckets(fd)) for _ in range(4)]
    assert sum(fail(guard, HERE, b"ann", 50) for guard in workers) == 50
    assert [guard.alert for guard in workers] == [True] * 4
    # Who has been here is known to all, and has tokens of their own once, not once in each.
    workers[0].welcome(HERE, b"bob")
    assert sum(fail(guard, HERE, b"bob", 50) for guard in workers) == PAIR_PER_MINUTE
    # One that takes the place of a dead one goes on.
    del workers[:]
    late = Guard(clock, per_host=50, per_account=50, buckets=Buckets(fd))
    os.close(fd)
    assert not late.is_open(HERE, b"ann")
    clock.now += 120
    assert fail(late, HERE, b"ann", 100) == 50


@given(st.integers(1, 1000), st.integers(0, 2**32), st.integers(1, 50))
def test_never_more_than_allowed(per_minute: int, seed: int, minutes: int) -> None:
    rng, clock = random.Random(seed), Clock()
    guard = Guard(clock, per_host=per_minute)
    looked = 0
    for _ in range(20):
        looked += fail(guard, HERE, b"ann", rng.randrange(1, per_minute + 10))
        clock.now += rng.random() * minutes * 3
    spent = clock.now - 1000.0
    assert looked <= per_minute * (1 + spent / 60) + 1


def attempted(
    guard: Guard,
    raised: BaseException | None,
    find: Callable[[bytes], object],
    user: bytes = b"ann",
) -> None:
    with guard.attempt(HERE) as attempt:
        attempt.over(find)(user)
        if raised is not None:
            raise raised


def test_attempts(clock: Clock) -> None:
    guard = Guard(clock, per_host=3)
    attempted(guard, None, lambda user: user)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            attempted(guard, TimeoutError(), lambda user: user)
    wrapped = ValueError()
    wrapped.error = AuthError()  # type: ignore[attr-defined]
    for error in (AuthError(), wrapped, AuthError()):
        with pytest.raises(type(error)):
            attempted(guard, error, lambda user: None)
    with pytest.raises(ClientError, match="too many failed logins") as raised:
        attempted(guard, None, lambda user: user, b"bob")  # Ann has tokens of her own
    assert raised.value.full_code == "client.blocked"
    with guard.attempt(HERE):
        pass  # gone before it said who it is
