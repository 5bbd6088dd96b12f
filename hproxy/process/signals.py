# SPDX-License-Identifier: Apache-2.0
"""What signals have the service do; they come to the angel alone.

TERM, INT   drain up to server.drain_sec, exit 0; a second one exits at once
HUP         reload (the head does it)          USR1  reopen logs
QUIT        hand over to the one that waits    USR2  state to the log
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from hproxy.errors import HProxyError

if TYPE_CHECKING:
    from hproxy.process.angel import Angel

__all__ = ["Signals"]

RELOAD_SEC = 60.0


class Signals:
    """To one angel; `listen` on its loop."""

    def __init__(self, angel: Angel) -> None:
        self._angel = angel

    def listen(self) -> None:
        """From now on."""
        angel = self._angel
        heard = {
            signal.SIGTERM: angel.stop,
            signal.SIGINT: angel.stop,
            signal.SIGHUP: lambda: angel.spawn(self._reload()),
            signal.SIGQUIT: lambda: angel.spawn(self._hand_over()),
            signal.SIGUSR1: angel.reopen,
            signal.SIGUSR2: self._dump,
        }
        loop = asyncio.get_running_loop()
        for number, act in heard.items():
            loop.add_signal_handler(number, act)

    def _dump(self) -> None:
        angel = self._angel
        angel.log.info("state", version=angel.version, processes=angel.rows(),
                       address=";".join(angel.sockets.addresses))  # fmt: skip
        angel.tell("dump", head=True)

    async def _hand_over(self) -> None:
        try:
            await self._angel.succession.hand_over()
        except HProxyError as error:
            self._angel.log.error("not handed over: the service goes on", reason=str(error))

    async def _reload(self) -> None:
        angel = self._angel
        child = angel.head.child
        if child is None or not angel.head.serving:
            angel.log.warning("not reloaded: the head is not there", signal="HUP")
            return
        angel.outside.reloading()
        try:
            answer = await child.channel.ask("reload", timeout_sec=RELOAD_SEC)
        except (HProxyError, TimeoutError) as error:
            angel.log.error("not reloaded: nothing has changed", reason=str(error))
        else:
            angel.log.info("reloaded", **answer.facts)
        angel.outside.serving(angel.summary())
