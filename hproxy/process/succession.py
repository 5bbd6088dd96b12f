# SPDX-License-Identifier: Apache-2.0
"""What an angel does in an upgrade, on either side of it.

old   serving ── QUIT / order "upgrade" ─> head rests ─> hand ──┬─ new one serves ─> leaving
                 (the order starts the new one itself)          └─ it does not ─> head resumes,
leaving: workers give their sessions away, and see off the rest          serving as before
         up to server.upgrade_sec; then the end, with exit status 0

new   waiting ── handed ─> starts on the sockets ──┬─ serves ─> the old one is told
                                                   └─ refused ─> the old one is told; exit 1
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hproxy.errors import AdminError, ChannelClosed, HandoverError, HProxyError
from hproxy.process.channel import Channel, Facts, Message, pair
from hproxy.process.seat import Seat
from hproxy.process.upgrading import Handed, Heir, connected, hand, knows, upgrade_socket

if TYPE_CHECKING:
    from hproxy.process.angel import Angel

__all__ = ["Succession", "successor"]

ROOM_SEC = 10.0
"""The head lets go of its work by then; a LOAD that is under way is waited for."""
ANSWER_SEC = 1.0
"""Who asked the head for the upgrade hears of it before the head ends."""
POLL_SEC = 0.1
START_TRIES = 60


class Succession:
    """Of one service."""

    def __init__(self, angel: Angel) -> None:
        self._angel = angel
        self._path = upgrade_socket(angel.config)
        self._heir: Heir | None = None
        self.estate: Facts | None = None
        """What the old one ran on, for our first head."""
        self.legacy: dict[str, int] = {}
        """Sockets of the old one's head for that head, by use and address; they stay ours."""
        self.notes: Sequence[str] = ()
        """What that head does not run on."""
        self._under_way = False
        self._rests = False
        """Our head keeps its sockets until we know that the new one's has them."""
        self._room: dict[str, int] = {}
        """Copies of them, for the new one."""

    # -- new ---------------------------------------------------------------------

    async def inherit(self) -> None:
        """Wait for the old service, and have its sockets. Raises ConfigError, HandoverError."""
        angel = self._angel
        # Warm first: from when the old one is told, its head is gone until ours is there.
        await asyncio.gather(*(child.warm for child in angel.children.all), return_exceptions=True)
        heir = self._heir = Heir(self._path, self._take, angel.outside.user)
        angel.log.info("waiting for the service that runs", socket=str(self._path))
        angel.outside.waiting()
        await heir.handed()
        angel.sockets.adopt(heir.sockets, borrowed=True)
        angel.heirlooms |= heir.heirlooms
        angel.generation = heir.facts["generation"] + 1
        self.estate = heir.facts.get("estate")
        lent = heir.facts.get("lent", ())
        angel.operators |= {name: fd for name, fd in heir.operators.items() if name in lent}
        self.legacy = {name: fd for name, fd in heir.operators.items() if name not in lent}
        paused = heir.facts.get("paused")
        if paused is not None:
            angel.paused = True
            angel.sockets.rest(paused)
        angel.log.info("taking over", pid=heir.facts["pid"], version=heir.facts["version"])

    def settled(self) -> None:
        """Our first head has its sockets: what it closes from now on is to be closed."""
        while self.legacy:
            os.close(self.legacy.popitem()[1])

    def serves(self) -> None:
        """The old one may go, and what we share with it is ours."""
        if self._heir is not None:
            self._angel.sockets.own(self._heir.facts["borrowed"])
            self._heir.serves(self.notes)
        self.estate = None

    async def failed(self, error: HProxyError) -> None:
        """We do not serve: the old one has to go on."""
        if self._heir is not None:
            self._heir.failed(error)
            await self._heir.flushed()

    async def _take(self, slot: int, fd: int) -> None:
        """A worker of the old one has sessions for one of ours."""
        try:
            child = self._angel.workers[slot % len(self._angel.workers)].child
            if child is None:
                raise HandoverError("the worker is not there", slot=slot)
            taking = asyncio.ensure_future(child.channel.ask("take", fds=[fd]))
            await asyncio.sleep(0)  # it was sent: whoever has it alone is to close it
        finally:
            os.close(fd)
        await taking

    # -- old ---------------------------------------------------------------------

    async def upgrade(self, *, reload: bool = False) -> str:
        """Start the new one and hand over to it; what there is to say of it. `reload`: it shall
        heed what has changed in the file. Raises AdminError, HandoverError."""
        if os.getpid() == 1:
            raise AdminError(
                "the first process of a container cannot be replaced",
                code="upgrade",
                hint="start another container",
            )
        with contextlib.suppress(OSError):
            self._path.unlink()
        command = successor(sys.orig_argv, self._angel.origin.flags, reload=reload)
        # Not asyncio's: that kills what is left when its loop ends, and this one shall stay.
        process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, *command[1:]],
            stdin=subprocess.DEVNULL,
            env=os.environ | self._angel.outside.notifier.environ,
        )
        self._angel.log.info("new service started", pid=process.pid)
        watch = asyncio.ensure_future(watched(process))
        work = asyncio.ensure_future(self.hand_over(tries=START_TRIES))
        try:
            await asyncio.wait((watch, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise HandoverError("the new service ended before it served", status=watch.result())
            return str(work.result())
        except BaseException:
            work.cancel()
            process.kill()
            raise
        finally:
            await asyncio.gather(work, return_exceptions=True)
            watch.cancel()

    async def hand_over(self, tries: int | None = None) -> Handed:
        """To the one that waits; what it says. Raises HandoverError, and all is as before."""
        angel = self._angel
        if self._under_way or angel.ending:
            raise HandoverError("an upgrade is under way, or the end")
        self._under_way = True
        channel: Channel | None = None
        try:
            channel = await connected(self._path, tries)
            self._rests = await knows(channel, "operators")
            estate = await self._make_room()
            handed = await hand(
                channel,
                angel.sockets.all(),
                angel.heirlooms,
                self._room,
                lent=list(angel.operators),
                pid=os.getpid(),
                generation=angel.generation,
                borrowed=angel.sockets.borrowed,
                paused=angel.sockets.paused if angel.paused else None,
                estate=estate,
            )
        except BaseException:
            if channel is not None:
                channel.close()
            self._take_back()
            raise
        finally:
            self._under_way = False
            while self._room:
                os.close(self._room.popitem()[1])
        angel.log.info("handed over", version=handed.version, notes=list(handed.notes))
        angel.ending = True
        angel.spawn(self._leave(channel))
        return handed

    async def _make_room(self) -> Facts | None:
        """The head lets go of what the new one's will want. What it ran on."""
        head = self._angel.head
        head.hold()
        if head.child is None:
            return None
        try:
            answer = await head.child.channel.ask("release", timeout_sec=ROOM_SEC, keep=self._rests)
        except (HProxyError, TimeoutError):
            head.child.kill("it makes room for the new service's")
            await head.child.ended
            self._rests = False
            return None
        self._room = dict(zip(answer["fds_are"], answer.fds, strict=True))
        found: Facts = answer["estate"]
        return found

    def _take_back(self) -> None:
        head = self._angel.head
        if head.child is not None and head.held and self._rests:
            head.child.channel.tell("resume")
        elif head.child is not None and head.held:
            head.child.kill("there is no new service")  # one that has all its addresses follows
        head.release()

    async def _leave(self, channel: Channel) -> None:
        angel = self._angel
        angel.sockets.close(unlink=False)
        for seat in angel.workers:  # who comes from now on is the new one's
            if seat.child is not None and seat.serving:
                seat.child.channel.tell("close")
        await asyncio.sleep(ANSWER_SEC)
        if angel.head.child is not None:
            angel.head.child.channel.tell("stop")
        leaving = asyncio.gather(*(self._empty(seat, channel) for seat in angel.workers))
        hurry = asyncio.ensure_future(angel.hurry.wait())
        await asyncio.wait((leaving, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if leaving.done():
            angel.log.info("sessions left", left=sum(leaving.result()))
        leaving.cancel()
        channel.close()
        angel.finish(0)

    async def _empty(self, seat: Seat, channel: Channel) -> int:
        """Have a worker give its sessions to the new one's; how many it kept."""
        child, deadline_sec = seat.child, self._angel.config.server.upgrade_sec
        end = asyncio.get_running_loop().time() + deadline_sec
        if child is None:
            return 0
        one, other = pair()
        with one, other:
            asked = asyncio.gather(
                child.channel.ask("move", fds=[one.fileno()], deadline_sec=deadline_sec),
                channel.ask("session", slot=seat.slot, fds=[other.fileno()]),
                return_exceptions=True,
            )
            await asyncio.sleep(0)  # both have been sent, and are to hear of each other's end
        moved, took = await asked
        if isinstance(moved, Message):
            self._angel.log.info("sessions moved", worker=seat.slot, **moved.facts)
        else:
            reason = str(took if isinstance(moved, ChannelClosed) else moved)
            self._angel.log.warning("sessions stay", worker=seat.slot, reason=reason)
        try:
            left_sec = max(0.0, end - asyncio.get_running_loop().time())
            answer = await child.channel.ask("drain", deadline_sec=left_sec, gentle=True)
        except HProxyError:
            return 0
        return int(answer["left"])


async def watched(process: subprocess.Popen[bytes]) -> int:
    """Until it has failed; its status. One that goes into the background ends well."""
    while not (status := process.poll()):  # noqa: ASYNC110
        await asyncio.sleep(POLL_SEC)
    return status


def successor(
    command: Sequence[str], flags: Mapping[str, object], *, reload: bool = False
) -> list[str]:
    """The command line of the one that takes over from the one started with `command`.

    Addresses of sockets that systemd passed are flags that nobody wrote: they are written now."""
    once = ("-u", "--upgrade", "--reload", "--initial")
    kept = [word for word in command if word not in once]
    given = [
        word
        for name in ("listen", "admin", "http")
        if flags.get(name) is not None and not any(w.startswith(f"--{name}") for w in kept)
        for word in (f"--{name}", str(flags[name]))
    ]
    return [*kept, *given, "--upgrade", *["--reload"] * reload]
