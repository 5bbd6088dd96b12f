# SPDX-License-Identifier: Apache-2.0
"""The schedule against a dictionary of due times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hproxy.health.schedule import Schedule

KEYS = st.sampled_from("abcdefgh")
TIMES = st.integers(0, 50).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, TIMES),
        st.tuples(st.just("drop"), KEYS, TIMES),
        st.tuples(st.just("take"), KEYS, TIMES),
    )
)


@given(STEPS)
def test_like_a_dictionary(steps: list[tuple[str, str, float]]) -> None:
    schedule: Schedule[str] = Schedule()
    twin: dict[str, float] = {}
    for step, key, time in steps:
        if step == "put":
            schedule.put(key, time)
            twin[key] = time
        elif step == "drop":
            schedule.drop(key)
            twin.pop(key, None)
        else:
            taken = schedule.take(time)
            assert sorted(taken) == sorted(k for k, due in twin.items() if due <= time)
            due = [twin.pop(k) for k in taken]
            assert due == sorted(due)
        assert set(schedule) == twin.keys()
        assert len(schedule) == len(twin)
        assert schedule.next_due() == min(twin.values(), default=None)


def test_moving_does_not_pile_up() -> None:
    schedule: Schedule[int] = Schedule()
    for time in range(10_000):
        schedule.put(1, float(time))
    assert len(schedule._heap) < 100
    assert schedule.take(9_998.0) == []
    assert schedule.take(9_999.0) == [1]
    assert 1 not in schedule
