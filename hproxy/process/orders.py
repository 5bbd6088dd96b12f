# SPDX-License-Identifier: Apache-2.0
"""What operators may have the whole service do, by name: the head passes it on to the angel.

    PROXYSQL PAUSE, hproxy ctl drain ──> head ── "order" ──> Orders ──> the angel does it
                                              <── told ─────           what there is to say of it

    kill, shutdown   at once, without a word     pause, resume   no new clients; again
    shutdown_slow    drained first               drain           clients are seen off
    restart          drained, and begun anew     upgrade         the next version takes over
    flush_logs       reopened by all processes

Orders to what runs, not to the processes, are `runtime.control`'s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hproxy.errors import AdminError, HandoverError
from hproxy.process.channel import Facts

if TYPE_CHECKING:
    from hproxy.process.angel import Angel

__all__ = ["Orders"]


class Orders:
    """To one angel."""

    def __init__(self, angel: Angel) -> None:
        self._angel = angel

    async def order(self, name: str, arguments: Sequence[str]) -> Facts:
        """Do what an operator says; what there is to say of it. Raises AdminError."""
        do = getattr(self, f"_order_{name}", None)
        if do is None:
            raise AdminError(f"no such order: {name}", code="order")
        return {"told": await do(*arguments)}

    async def _order_kill(self) -> str:
        # Without a word, as ProxySQL does; children go with us.
        self._angel.sockets.close()
        self._angel.outside.stopped()
        os._exit(0)

    _order_shutdown = _order_kill

    async def _order_shutdown_slow(self) -> str:
        self._angel.stop()
        return "shutting down"

    async def _order_restart(self) -> str:
        self._angel.again = True
        self._angel.stop()
        return "restarting"

    async def _order_drain(self, seconds: str = "") -> str:
        angel = self._angel
        left = await angel.drain(float(seconds) if seconds else angel.config.server.drain_sec)
        return f"{left} clients left"

    async def _order_pause(self) -> str:
        self._angel.paused = True
        self._angel.sockets.pause()
        return ""

    async def _order_resume(self) -> str:
        angel = self._angel
        angel.sockets.resume()
        angel.paused = False
        await angel.hand_out(angel.sockets.names)
        return ""

    async def _order_upgrade(self, how: str = "") -> str:
        try:
            return await self._angel.succession.upgrade(reload=how == "reload")
        except HandoverError as error:
            self._angel.log.error("not upgraded: the service goes on", reason=str(error))
            raise AdminError(f"not upgraded: {error}", code="upgrade") from error

    async def _order_flush_logs(self) -> str:
        self._angel.reopen()
        return ""
