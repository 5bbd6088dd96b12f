# SPDX-License-Identifier: Apache-2.0
"""Background tasks: kept while they run, heard when they fail, gone when cancelled."""

from __future__ import annotations

import asyncio

from hproxy.net.tasks import TaskSet
from tests.unit.conftest import Run, until


class Failures(list[tuple[str, BaseException]]):
    def __call__(self, name: str, error: BaseException) -> None:
        self.append((name, error))


def test_a_task_is_kept_until_done(run: Run) -> None:
    async def work() -> None:
        failures = Failures()
        tasks = TaskSet(failures)
        go = asyncio.Event()
        tasks.spawn(go.wait(), "waiting")
        await asyncio.sleep(0)
        assert len(tasks) == 1
        assert "waiting" in {task.get_name() for task in asyncio.all_tasks()}
        go.set()
        await until(lambda: not len(tasks))
        assert failures == []

    run(work())


def test_failures_are_told_by_name(run: Run) -> None:
    async def fails() -> None:
        raise ValueError("oops")

    async def work() -> None:
        failures = Failures()
        tasks = TaskSet(failures)
        tasks.spawn(fails(), "first")
        tasks.spawn(fails(), "second")
        await until(lambda: not len(tasks))
        assert [(name, str(error)) for name, error in failures] == [
            ("first", "oops"),
            ("second", "oops"),
        ]

    run(work())


def test_cancelling_is_no_failure(run: Run) -> None:
    async def work() -> None:
        failures = Failures()
        tasks = TaskSet(failures)
        cancel = tasks.spawn(asyncio.Event().wait(), "for ever")
        tasks.spawn(asyncio.Event().wait(), "too")
        cancel()
        await until(lambda: len(tasks) == 1)
        await tasks.cancel_all()
        assert len(tasks) == 0
        await tasks.cancel_all()
        assert failures == []

    run(work())


def test_cancel_all_waits_for_the_end(run: Run) -> None:
    ended = []

    async def slow_to_leave() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    async def work() -> None:
        tasks = TaskSet(Failures())
        tasks.spawn(slow_to_leave(), "slow")
        await asyncio.sleep(0)
        await tasks.cancel_all()
        assert ended == [True]

    run(work())


def test_what_is_cancelled_at_once_begins_and_cleans_up_if_it_must(run: Run) -> None:
    ended: list[str] = []

    async def cleans_up(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def work() -> None:
        tasks = TaskSet(Failures())
        tasks.spawn(cleans_up("must"), "must", begins=True)()
        tasks.spawn(cleans_up("need not"), "need not")()
        await until(lambda: not len(tasks))
        cancel = tasks.spawn(cleans_up("begun"), "begun", begins=True)
        await asyncio.sleep(0)
        cancel()
        await until(lambda: not len(tasks))
        assert ended == ["must", "begun"]

    run(work())
