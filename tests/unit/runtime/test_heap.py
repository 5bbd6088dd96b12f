# SPDX-License-Identifier: Apache-2.0
"""The summary names what takes memory, and with tracing on where it was allocated."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import Iterator

import pytest

from hproxy.runtime import heap
from tests.unit.conftest import Run


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    yield
    tracemalloc.stop()


class Hoarded:
    """Many of these must be seen."""

    def __init__(self) -> None:
        self.me = self


class Unsizable:
    """An extension's object may answer anything."""

    def __init__(self) -> None:
        self.me = self

    def __sizeof__(self) -> int:
        raise ValueError("no")


def test_tells_process_allocator_and_types(run: Run) -> None:
    kept = [Hoarded() for _ in range(5_000)]
    odd = Unsizable()
    text = run(heap.report())
    assert text.startswith(f"process {os.getpid()}: ")
    assert "resident " in text
    assert "allocator: " in text
    (line,) = [line for line in text.splitlines() if line.endswith(f"{__name__}.Hoarded")]
    assert int(line.split()[0]) >= len(kept)  # and what other tests left
    assert text.endswith("allocations are not traced")
    del odd


def test_the_loop_gets_its_turns(run: Run) -> None:
    async def work() -> int:
        kept = [Hoarded() for _ in range(5 * heap.AT_ONCE)]
        turns = 0
        task = asyncio.ensure_future(heap.report())
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert kept
        return turns

    assert run(work()) >= 5


def test_tracing_names_the_line(run: Run) -> None:
    async def work() -> str:
        assert heap.trace(3) == "allocations are traced from now on, 3 frames deep"
        kept = [bytearray(4096) for _ in range(500)]
        text = await heap.report()
        assert kept
        return text

    text = run(work())
    assert "traced: " in text
    assert f"{__file__}:" in text.partition("allocated at")[2]
    assert heap.trace(0) == "allocations are not traced"
    assert not tracemalloc.is_tracing()


def test_tracing_is_never_deeper_than_it_may_be() -> None:
    assert heap.trace(1000).endswith(f"{heap.MAX_FRAMES} frames deep")
    assert heap.trace(1).endswith("1 frames deep")
