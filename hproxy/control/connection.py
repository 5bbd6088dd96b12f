# SPDX-License-Identifier: Apache-2.0
"""One HTTP connection: uvicorn's h11 protocol, with an end to waiting.

    accepted ──┐                                 ┌ first byte of the next one
    first byte ┴─> the head is due ── here ──> handled ── answer ──> idle, KEEP_SEC
                        └ late: cut               └ not taken by the client in time: cut

How long a handler works is its own affair. A body is waited for in `gate`, which can say that it
is late; a head that does not come in time has nobody to be told.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

__all__ = ["Connection", "Connections"]

KEEP_SEC = 30
HEAD_BYTES = 16_384
# What it would tell goes nowhere: clients are told, and our log hears of what fails.
for name in ("uvicorn.error", "uvicorn.access"):
    logging.getLogger(name).addHandler(logging.NullHandler())
    logging.getLogger(name).propagate = False


class Connection(H11Protocol):
    """See above."""

    def __init__(self, owner: Connections) -> None:
        super().__init__(owner.config, owner.state, {})
        self._owner = owner
        self._due: asyncio.TimerHandle | None = None
        self._full = False
        self.idle_since = monotonic()

    @property
    def busy(self) -> bool:
        """Whether a request is being handled."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self._expect()
        super().data_received(data)
        if self.busy and not self._full:
            self._unexpect()

    def on_response_complete(self) -> None:
        if not self._full:  # else much of it is still here
            self._unexpect()
        self.idle_since = monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._full = True
        self._expect()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._full = False
        self._unexpect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unexpect()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def cut(self) -> None:
        """End it at once."""
        self.transport.abort()

    def _expect(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(self._owner.timeout_sec, self.cut)

    def _unexpect(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class Connections:
    """All of one API: what they share, and how many there may be."""

    def __init__(self, app: ASGIApp, *, most: int, timeout_sec: float) -> None:
        self.timeout_sec = timeout_sec
        self._most = most
        self.config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_SEC,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        self.config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"server", b"hproxy")]

    def __len__(self) -> int:
        return len(self.state.connections)

    def make_room(self) -> bool:
        """Whether one more may come; who idles longest is closed for it."""
        connections: set[Any] = self.state.connections
        if len(connections) < self._most:
            return True
        idle = [one for one in connections if not one.busy]
        if not idle:
            return False
        min(idle, key=lambda one: one.idle_since).cut()
        return True

    def make(self) -> Connection:
        return Connection(self)

    async def end(self, grace_sec: float) -> None:
        """Answer what is being handled, up to `grace_sec`; the rest is cancelled, and has as long
        for its end. Then all are gone."""
        connections: set[Any] = self.state.connections
        for one in list(connections):
            one.shutdown()
        if self.state.tasks:
            await asyncio.wait(set(self.state.tasks), timeout=grace_sec)
        left = set(self.state.tasks)
        for task in left:
            task.cancel()
        if left:  # what they have open is closed before what it belongs to
            await asyncio.wait(left, timeout=grace_sec)
        for one in list(connections):
            one.cut()
