# SPDX-License-Identifier: Apache-2.0
"""Background tasks that are named, referenced until done, and never fail unheard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

__all__ = ["TaskSet"]


class TaskSet:
    """Spawns tasks and keeps them; `failed(name, error)` hears of unexpected exceptions."""

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed = failed

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self, coroutine: Coroutine[Any, Any, Any], name: str, *, begins: bool = False
    ) -> Callable[[], object]:
        """Run `coroutine` in the background; the result cancels it.

        `begins`: not before its first step, so that what it does in the end is done."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if not begins:
            return task.cancel

        def cancel() -> None:
            if getcoroutinestate(coroutine) == CORO_CREATED:
                loop.call_soon(task.cancel)
            else:
                task.cancel()

        return cancel

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(task.get_name(), error)

    async def cancel_all(self) -> None:
        """Cancel what runs and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
