# SPDX-License-Identifier: Apache-2.0
"""Children that speak, fall silent, are stopped and die; small stand-ins for the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps

from hproxy.process.children import STOPPED_SEC, Child, Children

CHILD = """
import json, os, sys, time
fd = int(sys.argv[1])
def say(**facts):
    body = json.dumps(facts).encode()
    os.write(fd, (len(body) + 1).to_bytes(4, "big") + b"\\0" + body)
say(verb="warm")
say(verb="hello", pid=os.getpid())
while True:
    time.sleep(0.1)
    if not BEATS:
        time.sleep(60)
    say(verb="beat")
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def on_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """The angel's is a plain one: it hears of its children by signals."""

    @wraps(test)
    def run() -> None:
        async def body() -> None:
            await test()

        asyncio.run(body())

    return run


@asynccontextmanager
async def children(beats: bool = True, watchdog_sec: float = 5) -> AsyncIterator[Children]:
    said: list[tuple[Child, str]] = []
    program = CHILD.replace("BEATS", str(beats))
    made = Children(
        lambda child, message: said.append((child, message.verb)),
        watchdog_sec,
        (sys.executable, "-c", program),
    )
    try:
        yield made
        assert {verb for _, verb in said} <= {"hello"}
    finally:
        left = made.all
        made.close()
        await asyncio.gather(*(child.ended for child in left))


@on_a_loop
async def test_one_that_is_killed_ends_at_once() -> None:
    async with children() as made:
        child = made.take()
        await asyncio.wait_for(child.warm, 10)
        assert (child.state, str(child)) == ("warm", "spare")
        os.kill(child.pid, signal.SIGKILL)
        assert await asyncio.wait_for(child.ended, 2) == -9
        assert child.channel.closed.done()
        assert made.all == ()
        assert child.row["rss_kib"] == 0


@on_a_loop
async def test_one_that_is_stopped_is_killed() -> None:
    async with children() as made:
        child = made.take()
        await asyncio.wait_for(child.warm, 10)
        os.kill(child.pid, signal.SIGSTOP)
        assert await asyncio.wait_for(child.ended, 2) == -9
        assert child.why == "it was stopped"


@on_a_loop
async def test_one_that_goes_on_in_time_is_left_alone() -> None:
    async with children() as made:
        child = made.take()
        await asyncio.wait_for(child.warm, 10)
        os.kill(child.pid, signal.SIGSTOP)
        await until(lambda: child.stopped)
        began = child.beat
        os.kill(child.pid, signal.SIGCONT)
        await until(lambda: child.beat > began + 2 * STOPPED_SEC)
        assert not child.ended.done()


@on_a_loop
async def test_one_that_is_silent_is_killed() -> None:
    async with children(beats=False, watchdog_sec=0.5) as made:
        child = made.take()
        assert await asyncio.wait_for(child.ended, 10) == -9
        assert child.why.startswith("silent for ")


@on_a_loop
async def test_one_that_speaks_is_not() -> None:
    async with children(watchdog_sec=0.5) as made:
        child = made.take()
        await asyncio.wait_for(child.warm, 10)
        began = child.beat
        await until(lambda: child.beat > began + 1.2)
        assert not child.ended.done()


@on_a_loop
async def test_a_spare_is_there_before_it_is_needed() -> None:
    async with children() as made:
        made.keep_spare()
        (spare,) = made.all
        await asyncio.wait_for(spare.warm, 10)
        assert made.take() is spare
        await until(lambda: len(made.all) == 2)
        assert spare not in made.all[1:]
