# SPDX-License-Identifier: Apache-2.0
"""`run`: a coroutine on each of the two loops, and nothing left behind afterwards."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

LIMIT_S = 30.0

LOOK_EVERY_S = 0.002

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def until(condition: Callable[[], bool]) -> None:
    """Look until `condition` holds."""
    async with asyncio.timeout(LIMIT_S / 3):
        while not condition():  # noqa: ASYNC110 - what is waited for knows no events
            await asyncio.sleep(LOOK_EVERY_S)


def open_files() -> set[str]:
    return {f"{fd} {path}" for fd, path in _links()}


def _links() -> Iterator[tuple[str, str]]:
    for fd in os.listdir("/proc/self/fd"):
        try:
            yield fd, os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # the listing itself
            continue


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """What uvloop opens once for the whole process is no leak of the first test."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine to its end; fails for tasks, descriptors or exceptions it leaves."""
    uv = request.param == "uvloop"
    before = open_files()
    unheard: list[dict[str, Any]] = []
    with asyncio.Runner(
        debug=not uv, loop_factory=uvloop.new_event_loop if uv else asyncio.new_event_loop
    ) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(context))

        def go(work: Coroutine[Any, Any, Any]) -> Any:
            result = runner.run(asyncio.wait_for(work, LIMIT_S))
            assert not [task.get_name() for task in asyncio.all_tasks(loop)]
            return result

        yield go
    if open_files() - before:
        gc.collect()  # only what nobody refers to any more may wait for it
    assert unheard == []
    assert sorted(open_files() - before) == []
