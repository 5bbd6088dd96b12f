# SPDX-License-Identifier: Apache-2.0
"""A way to a server that takes its time, in a thread of its own, for tests that block.

with SlowRelay(host, port) as relay:       # relay.port: what the proxy is told
    relay.delay = 0.05                     # seconds, each way and each piece, from now on
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

__all__ = ["SlowRelay"]

CHUNK = 1 << 16
READY_S = 10.0


class SlowRelay:
    """Listens on a loopback port of its own and passes bytes on."""

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self.port = 0
        self.delay = 0.0
        self.open = 0
        """Connections there are."""
        self.most = 0
        """That there were at a time."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._over: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _run(self) -> None:
        self._over, self._loop = asyncio.Event(), asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            there, behind = await asyncio.open_connection(*self._there)
            ends.append(behind)
            ways = [self._pass(reader, behind), self._pass(there, writer)]
            await asyncio.gather(*ways)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1  # before whoever connects in its place hears of it
            for end in ends:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(READY_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        assert self._over is not None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(READY_S)
