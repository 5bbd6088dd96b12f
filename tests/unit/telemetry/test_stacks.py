# SPDX-License-Identifier: Apache-2.0
"""Threads and tasks are told with the place they are at; many at one place once."""

from __future__ import annotations

import asyncio
import threading

from hproxy.telemetry.stacks import stacks
from tests.unit.conftest import Run


async def innermost(event: asyncio.Event) -> None:
    await event.wait()


async def outermost(event: asyncio.Event) -> None:
    await innermost(event)


def test_tasks_of_one_place_are_one_entry(run: Run) -> None:
    async def work() -> str:
        event = asyncio.Event()
        tasks = [asyncio.create_task(outermost(event), name=f"session {i}") for i in range(30)]
        await asyncio.sleep(0)
        text = stacks()
        event.set()
        await asyncio.gather(*tasks)
        return text

    text = run(work())
    assert "30 tasks: session 0, session 1, session 10, session 11, session 12 and 25 more" in text
    entry = text.partition("30 tasks")[2]
    assert entry.index(" outermost") < entry.index(" innermost") < entry.index("Event.wait")


def test_threads_have_names_and_frames(run: Run) -> None:
    async def work() -> str:
        gate = threading.Event()
        thread = threading.Thread(target=gate.wait, name="busy with nothing")
        thread.start()
        try:
            return stacks()
        finally:
            gate.set()
            thread.join()

    text = run(work())
    assert "thread: busy with nothing\n    " in text
    assert "thread: MainThread\n    " in text
    assert f"{__file__}:" in text
