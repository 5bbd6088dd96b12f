# SPDX-License-Identifier: Apache-2.0
"""A running event loop around a reactor, for what awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hproxy._native.reactor import Reactor

__all__ = ["in_loop", "until"]

PATIENCE_S = 10.0


def in_loop(work: Callable[[Reactor], Coroutine[Any, Any, None]]) -> None:
    """Run `work` with a reactor that the loop serves."""

    async def run() -> None:
        loop, reactor = asyncio.get_running_loop(), Reactor()
        loop.add_reader(reactor.fileno(), reactor.poll)
        try:
            async with asyncio.timeout(PATIENCE_S * 3):
                await work(reactor)
        finally:
            loop.remove_reader(reactor.fileno())

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition` holds. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (the reactor tells nobody)
            await asyncio.sleep(0)
