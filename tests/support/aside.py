# SPDX-License-Identifier: Apache-2.0
"""A server on an event loop in a thread of its own, while the test asks it from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import uvloop

__all__ = ["aside"]

READY_S = 15.0
Made = TypeVar("Made")


@contextmanager
def aside(make: Callable[[], AsyncIterator[Made]], name: str) -> Iterator[Made]:
    """What `make` yields in that thread, until the end of the block.

    What it raises, before or after, is raised here."""
    ready, running = threading.Event(), list[tuple[Made, Callable[[], object]]]()
    failed: list[BaseException] = []

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with asynccontextmanager(make)() as made:
            running.append((made, lambda: loop.call_soon_threadsafe(stop.set)))
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            uvloop.run(main())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        assert ready.wait(READY_S)
        if failed:
            raise failed[0]
        yield running[0][0]
    finally:
        for _, stop in running:
            stop()
        thread.join()
    if failed:
        raise failed[0]
