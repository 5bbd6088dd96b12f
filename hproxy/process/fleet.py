# SPDX-License-Identifier: Apache-2.0
"""The workers as the head sees them: a channel each, questions to all, and one configuration.

    peer (angel) ── attach ──> state? ── other version ──> load ──> statuses ──> in step
                                 └ it is older than this head: what it knows of servers is learned
    the worker ends ──> its channel closes ──> left out until the angel brings the next one

    LOAD ── begin ── load to each ──┬ all did ──> the head becomes it, too
                                    └ one refused ──> those that did are set back
    what monitors see ── say ──> all

A worker that does not answer is left out of sums; the angel sees to it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hproxy.errors import ChannelClosed, HProxyError, RemoteError
from hproxy.net.tasks import TaskSet
from hproxy.process.channel import Channel, Message
from hproxy.process.refusal import original

__all__ = ["Fleet"]

ANSWER_SEC = 5.0
LOAD_SEC = 60.0

Attached = Callable[[int, Channel], Awaitable[None]]
Event = Callable[[int, Message], Any]


class Fleet:
    """Use it on the head's loop."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.channels: dict[int, Channel] = {}
        """Of workers that are there, by slot."""
        self.turn = asyncio.Lock()
        """Held while the workers become another configuration."""
        self.attached: Attached | None = None
        """Brings a new worker up to date."""
        self.heard: Event = lambda slot, message: None
        """Hears what a worker says of itself, or asks; `slot` is whose."""
        self._tasks = TaskSet(self._failed)

    def _failed(self, name: str, error: BaseException) -> None:
        self._log.error("internal error", code="internal", task=name, exc_info=error)

    def attach(self, slot: int, sock: socket.socket) -> None:
        """The other end is the worker of that slot, from now on."""
        old = self.channels.pop(slot, None)
        if old is not None:
            old.close()

        def hear(_: Channel, message: Message) -> Any:
            return self.heard(slot, message)

        channel = self.channels[slot] = Channel(sock, hear, name=f"worker {slot}")
        channel.closed.add_done_callback(lambda _: self._gone(slot, channel))
        if self.attached is not None:
            self._tasks.spawn(self._bring_up(slot, channel), f"worker {slot} attached")

    async def _bring_up(self, slot: int, channel: Channel) -> None:
        assert self.attached is not None
        try:
            await self.attached(slot, channel)
        except (HProxyError, TimeoutError) as error:
            if not channel.closed.done():
                self._log.error("worker not up to date", slot=slot, reason=str(error))

    def _gone(self, slot: int, channel: Channel) -> None:
        if self.channels.get(slot) is channel:
            del self.channels[slot]

    async def close(self) -> None:
        """Leave the workers alone."""
        await self._tasks.cancel_all()
        for channel in tuple(self.channels.values()):
            channel.close()

    # -- asking ------------------------------------------------------------------------

    async def ask(self, verb: str, **facts: Any) -> dict[int, Message | HProxyError]:
        """What each answers, or refuses with; those that are gone are left out."""
        asked = dict(self.channels)
        answers = await asyncio.gather(
            *(channel.ask(verb, timeout_sec=ANSWER_SEC, **facts) for channel in asked.values()),
            return_exceptions=True,
        )
        found: dict[int, Message | HProxyError] = {}
        for slot, answer in sorted(zip(asked, answers, strict=True)):
            if isinstance(answer, RemoteError):
                found[slot] = original(answer)
            elif isinstance(answer, Message):
                found[slot] = answer
            elif not isinstance(answer, ChannelClosed | TimeoutError):
                raise answer
        return found

    async def answers(self, verb: str, **facts: Any) -> dict[int, Message]:
        """The same, when none may refuse. Raises what one refused with."""
        found: dict[int, Message] = {}
        for slot, answer in (await self.ask(verb, **facts)).items():
            if isinstance(answer, HProxyError):
                raise answer
            found[slot] = answer
        return found

    def say(self, act: str, *arguments: Any, but: int | None = None, **facts: Any) -> None:
        """Something about servers, to all workers but one."""
        for slot, channel in self.channels.items():
            if slot != but:
                channel.tell("health", act=act, arguments=list(arguments), **facts)

    # -- one configuration -------------------------------------------------------------

    async def load(self, text: str, version: int, before: Callable[[], Mapping[str, Any]]) -> None:
        """Have all run on it. Raises what one refused with; then all are as they were.

        `before` gives text and version of what they run on."""
        asked = dict(self.channels)
        answers = await asyncio.gather(
            *(
                channel.ask("load", timeout_sec=LOAD_SEC, text=text, version=version)
                for channel in asked.values()
            ),
            return_exceptions=True,
        )
        refused = next((each for each in answers if isinstance(each, RemoteError)), None)
        if refused is None:
            return
        again = before()
        await asyncio.gather(
            *(
                channel.ask("load", timeout_sec=LOAD_SEC, **again)
                for channel, answer in zip(asked.values(), answers, strict=True)
                if isinstance(answer, Message)
            ),
            return_exceptions=True,
        )
        raise original(refused)
