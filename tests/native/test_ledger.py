# SPDX-License-Identifier: Apache-2.0
"""Counters that processes share: never above a limit in sum, whoever dies at whatever moment."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from hproxy._native.ledger import FORMAT, Ledger, Row


@pytest.fixture
def fd() -> Iterator[int]:
    made = Ledger.create(4, 64)
    yield made
    os.close(made)


def views(fd: int, count: int = 2) -> list[Ledger]:
    return [Ledger(fd, column) for column in range(count)]


def rows(fd: int, count: int = 2, name: str = "a") -> list[Row]:
    return [view.row(name) for view in views(fd, count)]


# -- places -----------------------------------------------------------------------------


def test_a_limit_holds_over_all_columns(fd: int) -> None:
    one, two = rows(fd)
    assert [one.take(3), two.take(3), one.take(3), two.take(3)] == [True, True, True, False]
    assert (one.taken, two.taken, one.mine, two.mine) == (3, 3, 2, 1)
    assert one.all == (2, 1, 0, 0)
    assert not one.has_room(3)
    assert one.has_room(4)
    one.give()
    assert two.take(3)
    assert (one.of(0), one.of(1)) == (1, 2)


def test_a_limit_may_become_lower_than_what_is_taken(fd: int) -> None:
    one, two = rows(fd)
    assert all(row.take(10) for row in (one, two) * 3)
    assert not one.take(4)
    two.enter()  # whatever the limit
    assert two.taken == 7
    assert not two.take(0)


def test_rows_are_found_by_name_in_any_order(fd: int) -> None:
    one, two = views(fd)
    names = [f"row {number}" for number in range(20)]
    for view in (one, two):
        random.shuffle(names)
        for name in names:
            view.row(name).enter()
    assert one.count == two.count == 20
    assert {one.row(name).taken for name in names} == {2}
    assert one.row("row 3").name == "row 3"


def test_a_full_ledger_says_so(fd: int) -> None:
    view = Ledger(fd, 0)
    for number in range(view.capacity):
        view.row(str(number))
    assert view.row("7").taken == 0
    with pytest.raises(LookupError):
        view.row("one more")


def test_who_looks_on_takes_nothing(fd: int) -> None:
    [row] = rows(fd, 1)
    row.enter()
    onlooker = Ledger(fd)
    assert onlooker.column == -1
    assert onlooker.row_of("a", 0).mine == 1
    with pytest.raises(ValueError, match="looks on"):
        onlooker.row("a")
    with pytest.raises(ValueError, match="no column 4"):
        onlooker.row_of("a", 4)
    with pytest.raises(TypeError):
        Row()  # type: ignore[call-arg]


# -- who waits --------------------------------------------------------------------------


def test_the_last_places_are_for_those_who_wait_and_have_less(fd: int) -> None:
    rich, poor = rows(fd)
    assert all(rich.take(4) for _ in range(3))
    poor.want = 2
    assert (rich.wanted, rich.wanting(), rich.owed, poor.wanted) == (2, [1], 1, 0)
    assert not rich.take(4)  # the place that is left
    assert not rich.has_room(4)
    assert not rich.take(5)  # with one more than now it would have two too many
    assert rich.take(6)
    assert rich.owed == 2
    assert not rich.take(6)
    assert [poor.take(6), poor.take(6), poor.take(6)] == [True, True, False]
    poor.want = 0
    assert (rich.owed, rich.wanting()) == (0, [])


def test_who_has_as_much_is_owed_nothing(fd: int) -> None:
    one, two = rows(fd)
    assert all(row.take(10) for row in (one, two))
    two.want = 5
    assert one.owed == 0
    assert one.take(3)
    assert one.owed == 0  # one more than the other, who has some
    assert not one.take(4)  # the next is for the other
    assert one.take(5)
    assert one.owed == 1
    two.give()
    assert one.owed == 1
    one.give()
    one.give()
    assert one.owed == 1  # the only one there is: its turn


def test_wants_have_bounds(fd: int) -> None:
    [row] = rows(fd, 1)
    row.want = -3
    assert row.want == 0
    row.want = 1 << 40
    assert row.want == 1 << 30


# -- events per second ------------------------------------------------------------------


def test_events_of_one_second(fd: int) -> None:
    one, two = rows(fd)
    assert [one.passes(7, 2), two.passes(7, 2), one.passes(7, 2)] == [True, True, False]
    assert two.passes(8, 1)
    assert not two.passes(8, 0)


# -- columns ----------------------------------------------------------------------------


def test_columns_are_claimed_side_by_side(fd: int) -> None:
    view = Ledger(fd)
    assert view.claim(100, 2) == 0
    assert view.claim(101) == 2
    with pytest.raises(LookupError):
        view.claim(102, 2)
    assert [view.owner(column) for column in range(4)] == [100, 100, 101, 0]
    view.clear(1, release=True)
    assert view.claim(103) == 1
    with pytest.raises(ValueError, match="claimed by a process"):
        view.claim(0)


def test_who_starves_has_a_turn(fd: int) -> None:
    """Whatever it has does not come back: it counts as nothing, unless we starve as well."""
    one, two = rows(fd)
    assert all(row.take(4) for row in (one, one, two, two))
    two.want = 3
    assert one.owed == 0
    two.starving = True
    assert (one.owed, one.wanted, one.wanting(), two.want) == (1, 3, [1], 3)
    two.want = 5
    assert two.starving, "how many wait is another matter"
    one.want = 1
    one.starving = True
    assert (one.owed, two.owed) == (0, 0)
    one.starving = False
    assert one.owed == 1
    one.want = 0
    one.give()
    assert not one.has_room(4), "the last place is for who starves"
    assert two.has_room(4)
    two.want = 0
    assert (two.starving, one.owed) == (False, 0)


def test_what_the_dead_one_had_is_free(fd: int) -> None:
    one, two = rows(fd)
    assert all(row.take(4) for row in (one, two, two, one))
    two.want = 9
    assert not one.take(4)
    Ledger(fd).clear(1)
    assert (one.taken, one.owed, one.mine) == (2, 0, 2)
    assert one.take(4)


def test_clients_under_way(fd: int) -> None:
    one, two = views(fd)
    one.passed(1)
    one.passed(1)
    one.passed(1)
    one.returned(1)
    assert one.under_way(1) == 2
    two.received()
    assert one.under_way(1) == 1
    two.settled()
    two.received()
    assert one.under_way(1) == 0
    two.close(0)
    assert one.is_closed(0)
    one.clear(0)
    assert not one.is_closed(0)


def test_the_lightest_worker(fd: int) -> None:
    mine, *others = rows(fd, 4)
    assert mine.lighter(0, 4) == -1
    for _ in range(3):
        mine.enter()
    others[0].enter()
    assert mine.lighter(0, 4) == 2
    assert mine.lighter(0, 2) == -1  # two more are not much
    others[0].give()
    assert mine.lighter(0, 2) == 1
    mine.ledger.passed(1)
    assert mine.lighter(0, 2) == -1
    assert mine.lighter(0, 3) == 2
    mine.ledger.close(2)
    assert mine.lighter(0, 3) == -1
    for _ in range(61):
        mine.enter()
    for _ in range(57):
        others[1].enter()
    mine.ledger.close(2, False)
    assert mine.lighter(2, 1) == 2
    others[1].enter()
    assert mine.lighter(2, 1) == -1
    with pytest.raises(ValueError, match="no column"):
        mine.lighter(2, 3)


# -- what may be wrong ------------------------------------------------------------------


def test_anything_else_is_refused(fd: int) -> None:
    empty = os.memfd_create("empty")
    for size in (0, 4096, 1 << 20):
        os.ftruncate(empty, size)
        with pytest.raises(ValueError, match="not a ledger"):
            Ledger(empty)
    os.pwrite(empty, os.pread(fd, 8, 0) + bytes([FORMAT + 1, 0, 0, 0, 1, 0, 0, 0]), 0)
    with pytest.raises(ValueError, match="another version"):
        Ledger(empty)
    os.close(empty)
    for column in (-2, 4):
        with pytest.raises(ValueError, match="no column"):
            Ledger(fd, column)
    for columns, count in ((0, 1), (1, 0), (5000, 1)):
        with pytest.raises(ValueError, match="cannot be"):
            Ledger.create(columns, count)


def test_nobody_makes_it_shorter(fd: int) -> None:
    assert not os.get_inheritable(fd)
    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


def test_memory_is_used_as_rows_are() -> None:
    fd = Ledger.create(64, 1 << 16)
    view = Ledger(fd, 0)
    view.row("a").enter()
    view.clear(0)
    assert os.fstat(fd).st_blocks * 512 < 1 << 17
    del view
    os.close(fd)


# -- processes --------------------------------------------------------------------------

LIMIT = 5


def hammer(fd: int, column: int, rounds: int, told: int) -> None:
    """Take and give; whatever another sees meanwhile, no more than LIMIT are taken for good."""
    row = Ledger(fd, column).row("a")
    held = 0
    for _ in range(rounds):
        if random.random() < 0.5 and row.take(LIMIT):
            held += 1
        elif held:
            row.give()
            held -= 1
        if row.mine != held:
            os.write(told, b"own column")
        row.want = held & 1
    os.write(told, b".")


def fork(body: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
    finally:
        os._exit(0)


def test_many_processes(fd: int) -> None:
    heard, told = os.pipe()
    children = [
        fork(lambda column=column: hammer(fd, column, 20_000, told))  # type: ignore[misc]
        for column in range(3)
    ]
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    os.close(told)
    assert os.read(heard, 1000) == b"..."
    os.close(heard)
    row = Ledger(fd, 3).row("a")
    assert 0 <= row.taken <= LIMIT
    for column in range(3):
        Ledger(fd).clear(column)
    assert row.taken == 0


def test_killed_at_any_moment(fd: int) -> None:
    """Whatever instruction it died at: its column cleared, the sum is what others have."""
    heard, told = os.pipe()
    row = Ledger(fd, 1).row("a")
    assert row.take(LIMIT)
    for _ in range(10):
        pid = fork(lambda: hammer(fd, 0, 1 << 40, told))
        deadline = time.monotonic() + 5
        while row.of(0) == 0 and time.monotonic() < deadline:
            assert row.taken <= LIMIT + 1  # one that is about to be taken back
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        Ledger(fd).clear(0)
        assert row.taken == 1
    assert [row.take(LIMIT) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    os.close(heard)
    os.close(told)
