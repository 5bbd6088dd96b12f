# SPDX-License-Identifier: Apache-2.0
"""One place in the service, and the children that fill it, one after the other.

take a warm child ─> become ─> serving ─> it ended ── policy ──> wait ─> take a warm child ...
                       │                                  └─ sixth quick death: the service ends
                       └ refused: at the start of the service its end, later a quick death
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from hproxy.errors import ChannelClosed, ConfigError, RemoteError
from hproxy.process.channel import Facts
from hproxy.process.children import Child
from hproxy.process.policy import Backoff

__all__ = ["Keeper", "Seat"]


class Keeper(Protocol):
    """What the angel does for its seats."""

    ending: bool

    def take(self) -> Child:
        """A child, warm or about to be. Raises OSError."""

    async def become(self, seat: Seat, child: Child) -> None:
        """Have it serve there. Raises RemoteError, ChannelClosed."""

    def arrived(self, seat: Seat) -> None:
        """It serves."""

    def left(self, seat: Seat, child: Child) -> None:
        """It does not any more."""

    def give_up(self, seat: Seat) -> None:
        """It cannot be kept alive."""


class Seat:
    """`role` "head" or "worker"; `slot` is the worker's number."""

    def __init__(self, role: str, slot: int, keeper: Keeper, log: Any) -> None:
        self.role = role
        self.slot = slot
        self.child: Child | None = None
        """The one that serves, or is about to."""
        self.backoff = Backoff()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once one has served; with ConfigError if the first was refused."""
        self.held = False
        """No other child is to follow the one there is, for now."""
        self._may = asyncio.Event()
        self._may.set()
        self._keeper = keeper
        self._log = log.bind(role=str(self))

    def __str__(self) -> str:
        return f"worker {self.slot}" if self.role == "worker" else self.role

    @property
    def serving(self) -> bool:
        """Whether a child does its work there now."""
        return self.child is not None and self.child.state == "serving"

    @property
    def row(self) -> Facts:
        """For people who ask what processes there are."""
        found = {"role": self.role, "slot": self.slot, "pid": 0, "state": "gone"}
        if self.child is not None:
            found = self.child.row
        return {**found, "restarts": self.backoff.restarts}

    def hold(self) -> None:
        """Whoever goes is not followed by another for now."""
        self.held = True
        self._may.clear()

    def release(self) -> None:
        """As before."""
        self.held = False
        self._may.set()

    async def keep(self) -> None:
        """Have a child there for as long as the service is."""
        loop = asyncio.get_running_loop()
        while not self._is_over():
            began = loop.time()
            why = ""
            pid, status, served = 0, None, False
            try:
                child = self.child = self._keeper.take()
            except OSError as error:
                why = f"cannot be started: {error.strerror or error}"
                if self.ready.done():  # the machine's trouble, which passes, and not the child's
                    self._log.error("no process can be started", reason=why, again_in_sec=AGAIN_SEC)
                    await asyncio.sleep(AGAIN_SEC)
                    continue
            else:
                child.role, child.slot = self.role, self.slot
                why = await self._serve(child)
                served = child.served
                pid, status = child.pid, await child.ended
                self._keeper.left(self, child)
                why = why or child.why
            self.child = None
            if self._is_over():
                return
            lived = loop.time() - began
            wait = self.backoff.ended(lived, served=served)
            self._log.error(
                "a process of the service ended",
                pid=pid,
                status=status,
                reason=why or _reason(status),
                lived_sec=round(lived, 1),
                again_in_sec=wait,
            )
            if wait is None:
                self._keeper.give_up(self)
                return
            await asyncio.sleep(wait)
            await self._may.wait()

    def _is_over(self) -> bool:
        return self._keeper.ending

    async def _serve(self, child: Child) -> str:
        """Until it has begun, or failed to; why it failed."""
        try:
            await child.warm
            child.state = "becoming"
            child.since = asyncio.get_running_loop().time()
            await self._keeper.become(self, child)
        except ChannelClosed:
            child.kill("it left its channel")
            return ""
        except OSError as error:
            child.kill(f"cannot be given what it needs: {error.strerror or error}")
            return ""
        except RemoteError as error:
            child.kill(error.reason)
            if not self.ready.done():
                reason = error.reason.removeprefix(f"{ConfigError.summary}: ")
                self.ready.set_exception(ConfigError(reason))
            return error.reason
        child.state, child.served = "serving", True
        if not self.ready.done():
            self.ready.set_result(None)
        self._keeper.arrived(self)
        await asyncio.wait((child.channel.closed, child.ended), return_when="FIRST_COMPLETED")
        if not child.ended.done():
            await asyncio.wait((child.ended,), timeout=LEAVING_SEC)
            child.kill("it left its channel")
        return ""


def _reason(status: int | None) -> str:
    return f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"


AGAIN_SEC = 2.0
"""Between two tries where there are no descriptors, or no memory."""
LEAVING_SEC = 0.5
"""Between a channel's end and the process's."""
