# SPDX-License-Identifier: Apache-2.0
"""A way to a real server that can be counted, cut, frozen and closed, inside the test's loop.

async with Gateway(server) as gateway:       # gateway.address: what the proxy is told
    gateway.cut()        every connection ends now        gateway.opened   ever
    gateway.freeze()     nothing is passed on any more    gateway.peak     at one time
    gateway.close()      nobody is let in any more        gateway.logins   that were accepted
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.support.server import Server

__all__ = ["Gateway"]

CHUNK = 1 << 16


class Gateway:
    """Listens on a loopback port of its own and passes bytes on to `server`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = 0
        self.opened = 0
        self.peak = 0
        self.attempts = 0
        """Connections that were asked for, refused ones included."""
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._letting_in = True
        self._listener: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def row(self) -> dict[str, object]:
        """The start of a row of [[mysql_servers]]."""
        return {"hostname": "127.0.0.1", "port": self.port}

    @property
    def open(self) -> int:
        """Connections there are now."""
        return len(self._open)

    def cut(self) -> None:
        """End every connection there is; new ones are welcome."""
        for writer in list(self._open):
            writer.transport.abort()

    def close(self) -> None:
        """Cut everybody and let nobody in."""
        self._letting_in = False
        self.cut()

    def reopen(self) -> None:
        self._letting_in = True

    def freeze(self) -> None:
        """A black hole: connections stay, and nothing passes."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.attempts += 1
        if not self._letting_in:
            writer.transport.abort()
            return
        self.opened += 1
        self._open.add(writer)
        self.peak = max(self.peak, len(self._open))
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        behind: asyncio.StreamWriter | None = None
        try:
            there, behind = await asyncio.open_connection(self.server.host, self.server.port)
            ways = [
                asyncio.ensure_future(self._pass(reader, behind)),
                asyncio.ensure_future(self._pass(there, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            for end in (writer, behind):
                if end is not None:
                    end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)
