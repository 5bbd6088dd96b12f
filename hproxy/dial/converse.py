# SPDX-License-Identifier: Apache-2.0
"""Performs a login conversation: the machine decides, this sends, reads, secures and awaits.

Whoever holds the channels uses it: the proxy between a client and a backend, and servers and
clients of our own. Bounding the time is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from hproxy.errors import HProxyError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import (
    AccountFound,
    Action,
    Compress,
    Done,
    Event,
    Login,
    Lookup,
    PacketArrived,
    Read,
    ReadAny,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
    Work,
    Worked,
)

__all__ = ["Channels", "Refusal", "converse"]

Channels = Mapping[Side, Any]
Find = Callable[[bytes], Any]
Secure = Callable[[Side, Any], Awaitable[None]]


class Refusal(Exception):
    """A login was refused for good; `packet` is what the client shall read, if already said."""

    def __init__(self, error: HProxyError, packet: bytes | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.packet = packet


async def converse(
    machine: Login,
    channels: Channels,
    *,
    find: Find | None = None,
    secure: Secure | None = None,
    first: Event | None = None,
    turn: AbstractAsyncContextManager[Any] | None = None,
) -> LoginResult:
    """Run `machine` to its end; `first` is an event that came before it was there.

    `turn` is entered for work that takes long: a semaphore lets one login work at a time.

    `find` answers for accounts by name, `secure(side, channel)` runs the TLS handshake; leave
    out what the machine cannot ask for. Raises Refusal, ClientError, BackendError.
    """
    actions: Sequence[Action] = machine.start()
    if first is not None:
        actions = machine.receive(first)
    turns = _Turns(channels)
    try:
        while True:
            event: Event | None = None
            for action in actions:
                match action:
                    case Send(side, payload):
                        channels[side].write_packet(payload)
                    case Read(side):
                        event = PacketArrived(side, await turns.read(side))
                    case ReadAny():
                        event = await turns.read_any()
                    case StartTls(side) if secure is not None:
                        await secure(side, channels[side])
                        event = Secured(side)
                    case Compress(side, codec):
                        channels[side].start_compression(codec)
                    case Lookup(user) if find is not None:
                        event = AccountFound(find(user))
                    case Work(steps):
                        async with turn or nullcontext():
                            event = Worked(await _worked(steps))
                    case Done(result):
                        login: LoginResult = result
                        return login
                    case Refuse(error, packet):
                        raise Refusal(error, packet)
            if event is None:
                raise RuntimeError(f"{type(machine).__name__} waits for nothing: {actions!r}")
            actions = machine.receive(event)
    finally:
        turns.cancel()


async def _worked(steps: Generator[None, None, Any]) -> Any:
    """What `steps` return; after each the loop serves everybody else."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await asyncio.sleep(0)


class _Turns:
    """Reads from one side or from whichever speaks first, losing nothing in between."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._reads: dict[Side, asyncio.Task[bytes]] = {}

    async def read(self, side: Side) -> bytes:
        if side in self._reads:
            return await self._reads.pop(side)
        packet: bytes = await self._channels[side].read_packet()
        return packet

    async def read_any(self) -> PacketArrived:
        for side, channel in self._channels.items():
            if side not in self._reads:
                self._reads[side] = asyncio.ensure_future(channel.read_packet())
        await asyncio.wait(self._reads.values(), return_when=asyncio.FIRST_COMPLETED)
        side = next(side for side, task in self._reads.items() if task.done())
        return PacketArrived(side, self._reads.pop(side).result())

    def cancel(self) -> None:
        for task in self._reads.values():
            task.cancel()
