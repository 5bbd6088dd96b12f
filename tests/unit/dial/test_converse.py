# SPDX-License-Identifier: Apache-2.0
"""The performer of login conversations, with a scripted machine and channels of queues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hproxy.dial.converse import Refusal, converse
from hproxy.errors import AuthError
from hproxy.protocols.base import LoginResult
from hproxy.protocols.model import (
    AccountFound,
    Action,
    Done,
    Event,
    Lookup,
    PacketArrived,
    Read,
    ReadAny,
    Refuse,
    Secured,
    Send,
    Side,
    StartTls,
)

CLIENT, BACKEND = Side.CLIENT, Side.BACKEND
DONE = Done(LoginResult(user=b"me"))


class Script:
    """A machine that answers its nth event with the nth list of actions."""

    def __init__(self, *turns: Sequence[Action]) -> None:
        self.turns = list(turns)
        self.events: list[Event] = []

    def start(self) -> Sequence[Action]:
        return self.turns.pop(0)

    def receive(self, event: Event) -> Sequence[Action]:
        self.events.append(event)
        return self.turns.pop(0)


class Channel:
    """What is put into `packets` can be read; what was written is kept."""

    def __init__(self, *packets: bytes) -> None:
        self.packets: asyncio.Queue[bytes] = asyncio.Queue()
        for packet in packets:
            self.packets.put_nowait(packet)
        self.written: list[bytes] = []

    async def read_packet(self) -> bytes:
        return await self.packets.get()

    def write_packet(self, payload: bytes) -> None:
        self.written.append(payload)


async def run(machine: Script, client: Channel, backend: Channel, **answers: Any) -> LoginResult:
    async with asyncio.timeout(5):
        return await converse(machine, {CLIENT: client, BACKEND: backend}, **answers)


def test_actions_are_performed_in_order() -> None:
    async def case() -> None:
        machine = Script(
            [Send(CLIENT, b"hello"), Read(CLIENT)],
            [StartTls(CLIENT)],
            [Lookup(b"me")],
            [Send(BACKEND, b"ask"), Read(BACKEND)],
            [DONE],
        )
        client, backend = Channel(b"hi"), Channel(b"yes")
        secured: list[object] = []

        async def secure(side: Side, channel: object) -> None:
            secured.append((side, channel))

        login = await run(machine, client, backend, find={b"me": "account"}.get, secure=secure)
        assert login.user == b"me"
        assert machine.events == [
            PacketArrived(CLIENT, b"hi"),
            Secured(CLIENT),
            AccountFound("account"),
            PacketArrived(BACKEND, b"yes"),
        ]
        assert (client.written, backend.written) == ([b"hello"], [b"ask"])
        assert secured == [(CLIENT, client)]

    asyncio.run(case())


def test_the_first_event_may_have_come_before() -> None:
    async def case() -> None:
        machine = Script([Read(BACKEND)], [DONE])
        first = PacketArrived(BACKEND, b"greeting")
        await run(machine, Channel(), Channel(b"not read"), first=first)
        assert machine.events == [first]

    asyncio.run(case())


def test_a_read_that_lost_against_the_other_side_is_not_lost() -> None:
    async def case() -> None:
        machine = Script([ReadAny()], [ReadAny()], [Read(CLIENT)], [DONE])
        client, backend = Channel(), Channel(b"b1", b"b2")
        asyncio.get_running_loop().call_later(0.01, client.packets.put_nowait, b"c1")
        await run(machine, client, backend)
        assert machine.events == [
            PacketArrived(BACKEND, b"b1"),
            PacketArrived(BACKEND, b"b2"),
            PacketArrived(CLIENT, b"c1"),
        ]

    asyncio.run(case())


def test_refusal() -> None:
    async def case() -> None:
        with pytest.raises(Refusal) as caught:
            await run(Script([Refuse(AuthError(), b"packet")]), Channel(), Channel())
        assert caught.value.packet == b"packet"

    asyncio.run(case())


@pytest.mark.parametrize("action", [Lookup(b"me"), StartTls(CLIENT), Send(CLIENT, b"x")])
def test_what_cannot_be_answered_is_our_own_mistake(action: Action) -> None:
    async def case() -> None:
        with pytest.raises(RuntimeError, match="waits for nothing"):
            await run(Script([action]), Channel(), Channel())

    asyncio.run(case())
