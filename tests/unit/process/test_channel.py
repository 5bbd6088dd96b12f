# SPDX-License-Identifier: Apache-2.0
"""Two ends of a channel in one loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hproxy.errors import AdminError, ChannelClosed, RemoteError
from hproxy.process.channel import HEAD, Channel, Facts, Message, pair

SOON = 5.0
Answer = Callable[[Channel, Message], Any]


def nobody(_: Channel, message: Message) -> None:
    raise AssertionError(message.verb)


@asynccontextmanager
async def ends(left: Answer = nobody, right: Answer = nobody) -> AsyncIterator[list[Channel]]:
    both = [
        Channel(sock, handler, name=name)
        for sock, handler, name in zip(pair(), (left, right), ("right", "left"), strict=True)
    ]
    try:
        yield both
    finally:
        for channel in both:
            channel.close()


def run(test: Callable[[], Any]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(SOON):
            await test()

    asyncio.run(limited())


def test_an_answer_comes_to_who_asked_even_when_another_takes_longer() -> None:
    gate = asyncio.Event()

    async def answers(_: Channel, message: Message) -> Facts:
        if message.verb == "slow":
            await gate.wait()
        else:
            gate.set()
        return {"verb_was": message.verb, "n": message["n"]}

    async def test() -> None:
        async with ends(right=answers) as (left, _):
            slow, quick = await asyncio.gather(left.ask("slow", n=1), left.ask("quick", n=2))
            assert (slow["verb_was"], slow["n"]) == ("slow", 1)
            assert (quick["verb_was"], quick["n"]) == ("quick", 2)

    run(test)


def test_refusals_and_mistakes_come_back_as_errors() -> None:
    def refuses(_: Channel, message: Message) -> Facts:
        if message.verb == "refuse":
            raise AdminError("not today", code="order")
        raise ZeroDivisionError

    async def test() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: told.append(facts))
        async with ends(right=refuses) as (left, _):
            with pytest.raises(RemoteError, match=r"not today.*admin\.order"):
                await left.ask("refuse")
            with pytest.raises(RemoteError, match="ZeroDivisionError"):
                await left.ask("break")
        assert [type(facts["exception"]) for facts in told] == [ZeroDivisionError]

    run(test)


def test_descriptors_go_with_their_own_message_among_large_ones() -> None:
    """More data than the socket takes at once, and descriptors both ways."""

    def reads(_: Channel, message: Message) -> Facts:
        texts = [os.read(fd, 100).decode() for fd in message.fds]
        for fd in message.fds:
            os.close(fd)
        back, there = os.pipe()
        os.write(there, b"answer")
        os.close(there)
        return {"texts": texts, "size": len(message["body"]), "fds": [back]}

    async def test() -> None:
        async with ends(right=reads) as (left, _):
            asked = []
            for number in range(20):
                fds = []
                for part in range(number % 4):
                    read, write = os.pipe()
                    os.write(write, f"{number}.{part}".encode())
                    os.close(write)
                    fds.append(read)
                asked.append(left.ask("read", fds=fds, body="x" * (number * 50_000)))
            for number, answer in enumerate(await asyncio.gather(*asked)):
                assert answer["texts"] == [f"{number}.{part}" for part in range(number % 4)]
                assert answer["size"] == number * 50_000
                assert os.read(answer.fds[0], 100) == b"answer"

    run(test)


def test_a_peer_that_goes_ends_every_wait() -> None:
    async def never(_: Channel, __: Message) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        async with ends(right=never) as (left, right):
            waits = asyncio.ensure_future(left.ask("anything"))
            await asyncio.sleep(0)
            right.close()
            with pytest.raises(ChannelClosed):
                await waits
            assert left.closed.done()
            with pytest.raises(ChannelClosed):
                await left.ask("anything")
            left.tell("anything")  # nobody hears it, and that is no error

    run(test)


def test_an_answer_that_does_not_come_in_time_is_not_waited_for() -> None:
    async def never(_: Channel, __: Message) -> None:
        await asyncio.Event().wait()

    async def test() -> None:
        async with ends(right=never) as (left, _):
            with pytest.raises(TimeoutError):
                await left.ask("anything", timeout_sec=0.01)
            assert not left.closed.done()

    run(test)


@pytest.mark.parametrize("rubbish", [b"\xff" * 20, HEAD.pack(0, 0), HEAD.pack(4, 0) + b"{{{"])
def test_what_cannot_be_read_ends_the_channel(rubbish: bytes) -> None:
    async def test() -> None:
        mine, theirs = socket.socketpair()
        channel = Channel(mine, nobody)
        theirs.sendall(rubbish)
        await channel.closed
        theirs.close()

    run(test)
