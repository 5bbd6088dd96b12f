# SPDX-License-Identifier: Apache-2.0
"""A process of the service before it knows what it is: `python -m hproxy.process.child FD`.

    everything imported ─> "warm" ─> beats ── "become" ─> leader, or worker ── "stop" ─> 0
                                              the angel is gone ──────────────> 1, at once

FD is one end of a channel to the angel. Signals are the angel's business: systemd and terminals
send them to all processes of a service, and here they mean nothing. Who dies with the angel leaves
no orphan: the kernel kills it (PR_SET_PDEATHSIG), and the channel's end does.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import uvloop

from hproxy.config import snapshot
from hproxy.errors import HandoverError
from hproxy.process.channel import Channel, Facts, Message
from hproxy.process.children import BEAT_SEC
from hproxy.process.leader import Leader
from hproxy.process.outside import likewise, reopen
from hproxy.process.worker import Worker
from hproxy.telemetry import log as logs

__all__ = ["Role", "main"]

PR_SET_PDEATHSIG = 1
SWITCH_SEC = 0.001
"""Threads of the head read what they were given while its loop serves: it waits no longer."""
LEFT_TO_THE_ANGEL = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Role(Protocol):
    """What a child becomes."""

    async def start(self, message: Message) -> Facts:
        """Serve; `message` is "become". Raises ConfigError; then nothing is left."""

    async def handle(self, message: Message) -> Facts | None:
        """Do what the angel says, "stop" left aside."""

    async def stop(self) -> None:
        """Orderly."""


class Child:
    """This process."""

    def __init__(self, sock: socket.socket) -> None:
        self.channel = Channel(sock, self._handle, name="angel")
        self._role: Role | None = None
        self._error_log = ""
        self._ended = asyncio.Event()
        self.channel.closed.add_done_callback(lambda _: os._exit(1))

    async def live(self) -> None:
        """Until the angel says stop."""
        beats = asyncio.ensure_future(self._beat())
        self.channel.tell("warm")
        await self._ended.wait()
        if self._role is not None:
            await self._role.stop()
        beats.cancel()

    async def _beat(self) -> None:
        while True:
            with suppress(MemoryError):  # the next one may find some
                self.channel.tell("beat")
            await asyncio.sleep(BEAT_SEC)

    async def _handle(self, _: Channel, message: Message) -> Facts | None:
        match message.verb:
            case "become":
                return await self._become(message)
            case "stop":
                self._ended.set()
            case "reopen":
                logs.reopen()
                if self._error_log:
                    reopen(Path(self._error_log))
            case _ if self._role is not None:
                return await self._role.handle(message)
            case _:
                raise HandoverError("it has not become anything yet", verb=message.verb)
        return None

    async def _become(self, message: Message) -> Facts:
        likewise(message["outside"])
        die_with_parent()  # another user: the kernel has forgotten it
        config = snapshot.load(message["snapshot"])
        self._error_log = message["outside"]["error_log"]
        logs.configure(config.logging)
        log: Any = logs.get_logger("hproxy")
        kind = Worker if message["role"] == "worker" else Leader
        self._role = kind(self.channel, config, log)
        return await self._role.start(message)


def die_with_parent() -> None:
    """Have the kernel kill us when the thread that started us ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def _live(sock: socket.socket) -> None:
    await Child(sock).live()


def main() -> None:
    """Ends with 0 when told to, with 1 when there is nobody to tell."""
    die_with_parent()
    for number in LEFT_TO_THE_ANGEL:
        # Not SIG_IGN: that would be inherited by the programs the scheduler starts.
        signal.signal(number, lambda *_: None)
    sys.setswitchinterval(SWITCH_SEC)
    uvloop.run(_live(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
