# SPDX-License-Identifier: Apache-2.0
"""The processes the angel has: started warm, watched, ended.

    spawn ─> warming ── "warm" ─> warm ── become ─> serving ──┐
    a beat every BEAT_SEC; silent for too long ──> SIGKILL    ├──> gone: `ended` has its status
    stopped (SIGSTOP) for STOPPED_SEC ─────────> SIGKILL ─────┘

A child imports everything before it is needed: one warm spare takes the place of one that dies
within milliseconds. Every child dies with the angel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hproxy.errors import ChannelClosed
from hproxy.process.channel import Channel, Facts, Message, pair

__all__ = ["BEAT_SEC", "Child", "Children", "Heard"]

COMMAND = (sys.executable, "-m", "hproxy.process.child")
BEAT_SEC = 0.25
STOPPED_SEC = 0.2
WARMING_SEC = 60.0
"""To import everything, on a machine that is short of everything."""
BECOMING_SEC = 60.0
"""To build what a configuration of ten thousand rules asks for."""
LATE_SEC = 1.0
"""The angel itself did not run for so long: nobody's silence means anything."""

Heard = Callable[["Child", Message], Any]


class Child:
    """One process and the channel to it."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, heard: Heard) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self.role = "spare"
        self.slot = 0
        self.state = "warming"
        self.served = False
        self.since = self.beat = loop.time()
        self.why = ""
        """Why we killed it."""
        self.warm: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        """Its status as `os.waitstatus_to_exitcode` has it."""
        self._process = process
        self._heard = heard
        self._stopped: asyncio.TimerHandle | None = None
        self.channel = Channel(sock, self._handle, name=f"process {self.pid}")

    def __str__(self) -> str:
        return f"worker {self.slot}" if self.role == "worker" else self.role

    def _handle(self, _: Channel, message: Message) -> Any:
        if message.verb == "beat":
            self.beat = asyncio.get_running_loop().time()
            return None
        if message.verb == "warm":
            self.beat = asyncio.get_running_loop().time()
            self.state = "warm"
            if not self.warm.done():
                self.warm.set_result(None)
            return None
        return self._heard(self, message)

    @property
    def stopped(self) -> bool:
        """By SIGSTOP: it is killed unless it goes on in time."""
        return self._stopped is not None

    def kill(self, why: str) -> None:
        """End it at once."""
        if not self.ended.done():
            self.why = self.why or why
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Hear of it what the kernel knows; call when some child has changed."""
        if self.ended.done():
            return
        options = os.WNOHANG | os.WUNTRACED | os.WCONTINUED
        while True:
            try:
                pid, status = os.waitpid(self.pid, options)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                loop = asyncio.get_running_loop()
                self._stopped = loop.call_later(STOPPED_SEC, self.kill, "it was stopped")
            elif os.WIFCONTINUED(status):
                self._go_on()
            else:
                self._gone(os.waitstatus_to_exitcode(status))
                return

    def _go_on(self) -> None:
        if self._stopped is not None:
            self._stopped.cancel()
            self._stopped = None

    def _gone(self, status: int) -> None:
        self._go_on()
        self._process.returncode = status  # nobody is to wait for that number again
        self.state = "gone"
        self.channel.close()
        if not self.warm.done():
            self.warm.set_exception(ChannelClosed(peer=str(self)))
            self.warm.exception()  # somebody may wait for it, or not
        self.ended.set_result(status)

    @property
    def row(self) -> Facts:
        """For people who ask what processes there are."""
        now = asyncio.get_running_loop().time()
        return {
            "role": self.role,
            "slot": self.slot,
            "pid": self.pid,
            "state": self.state,
            "since_sec": round(now - self.since, 3),
            "beat_age_sec": round(now - self.beat, 3),
            "rss_kib": resident_kib(self.pid),
        }


class Children:
    """All of them; `heard(child, message)` gets what they say."""

    def __init__(self, heard: Heard, watchdog_sec: float, command: Sequence[str] = COMMAND) -> None:
        """`watchdog_sec`: silent for longer is hung; 0: nobody is watched."""
        self._heard = heard
        self._command = tuple(command)
        self._watchdog_sec = watchdog_sec
        self._loop = asyncio.get_running_loop()
        self._all: list[Child] = []
        self._spares: list[Child] = []
        self._ticked = self._loop.time()
        self._timer = self._loop.call_later(BEAT_SEC, self._watch)
        self.keeps_spare = False
        """Whether one is to be warm in advance."""
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    @property
    def all(self) -> tuple[Child, ...]:
        """Those alive."""
        return tuple(self._all)

    def spawn(self) -> Child:
        """A new one, warming. Raises OSError."""
        ours, its = pair()
        with its:
            os.set_inheritable(its.fileno(), True)
            process = subprocess.Popen(
                [*self._command, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
            )
        child = Child(process, ours, self._heard)
        self._all.append(child)
        return child

    def prepare(self, number: int) -> None:
        """So many are going to be taken soon. Raises OSError."""
        self._spares += [self.spawn() for _ in range(number)]

    def take(self) -> Child:
        """The spare, or a new one; await its `warm`. Raises OSError."""
        self._spares = [spare for spare in self._spares if not spare.ended.done()]
        found = self._spares.pop(0) if self._spares else self.spawn()
        if self.keeps_spare:
            self._loop.call_later(BEAT_SEC, self._make_spare)  # who starts now goes first
        return found

    def _make_spare(self) -> None:
        self._spares = [spare for spare in self._spares if not spare.ended.done()]
        if self.keeps_spare and not self._spares:
            with contextlib.suppress(OSError):  # then there is none, and one is made when needed
                self._spares.append(self.spawn())

    def keep_spare(self) -> None:
        """Have one warm from now on."""
        self.keeps_spare = True
        self._make_spare()

    def _reap(self) -> None:
        for child in tuple(self._all):
            child.reap()
            if child.ended.done():
                self._all.remove(child)

    def _watch(self) -> None:
        now = self._loop.time()
        late = now - self._ticked > BEAT_SEC + LATE_SEC
        self._ticked = now
        self._timer = self._loop.call_later(BEAT_SEC, self._watch)
        limits = {"warming": WARMING_SEC, "becoming": BECOMING_SEC}
        for child in tuple(self._all):
            if late:
                child.beat = now
            limit = limits.get(child.state, self._watchdog_sec)
            if limit and now - child.beat > limit:
                child.kill(f"silent for {now - child.beat:.1f} s")
        self._reap()

    def close(self) -> None:
        """Kill those left."""
        self.keeps_spare = False
        self._timer.cancel()
        for child in self._all:
            child.kill("the service ends")


def resident_kib(pid: int) -> int:
    """Memory of a process that is in RAM; 0 for one that is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, IndexError, ValueError):
        return 0
