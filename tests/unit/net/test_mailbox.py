# SPDX-License-Identifier: Apache-2.0
"""Descriptors and nudges from worker to worker, in messages that are never waited for."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable

import pytest

from hproxy.net import mailbox as module
from hproxy.net.mailbox import Mailbox, Postman, box

FULL = 10_000


class Heard:
    """What came out of a mailbox."""

    def __init__(self, fd: int) -> None:
        self.clients: list[tuple[int, str, str]] = []
        self.nudges: list[str] = []
        self.emptied = 0
        self.changed = asyncio.Event()
        self.mailbox = Mailbox(fd, self.client, self.nudge, self.empty)

    def client(self, fd: int, peer: str, address: str) -> None:
        self.clients.append((fd, peer, address))
        self.changed.set()

    def nudge(self, name: str) -> None:
        self.nudges.append(name)
        self.changed.set()

    def empty(self) -> None:
        self.emptied += 1
        self.changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not done():
                self.changed.clear()
                await self.changed.wait()


def test_a_client_and_a_nudge() -> None:
    async def scenario() -> None:
        read, write = box()
        heard = Heard(read.detach())
        postman = Postman({3: write.detach()})
        client, ours = socket.socketpair()
        with client:
            assert postman.send_client(3, ours.fileno(), "10.0.0.1:4711", "0.0.0.0:6033")
            ours.close()
            postman.nudge(3, "backend 0 db\udcff")
            await heard.until(lambda: bool(heard.nudges and heard.emptied))
            [(fd, peer, address)] = heard.clients
            assert (peer, address) == ("10.0.0.1:4711", "0.0.0.0:6033")
            assert not os.get_inheritable(fd)
            client.sendall(b"x")
            with socket.socket(fileno=fd) as there:
                assert there.recv(1) == b"x"
        assert heard.nudges == ["backend 0 db\udcff"]
        heard.mailbox.close()
        postman.close()

    asyncio.run(scenario())


def test_a_full_mailbox_is_not_waited_for() -> None:
    async def scenario() -> None:
        read, write = box()
        postman = Postman({0: write.detach()})
        with socket.socket() as client:
            sent = 0
            while postman.send_client(0, client.fileno(), "p", "a"):
                sent += 1
                assert sent < FULL
            postman.nudge(0, "forgotten")
            assert not postman.send_client(7, client.fileno(), "p", "a")  # there is none
            # Who reads it next, after the one who did is dead, finds them all.
            heard = Heard(os.dup(read.fileno()))
            await heard.until(lambda: len(heard.clients) == sent)
        for fd, _, _ in heard.clients:
            os.close(fd)
        heard.mailbox.close()
        heard.mailbox.close()
        read.close()
        postman.close()

    asyncio.run(scenario())


def test_no_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading waits until there is one: nobody is dropped."""
    monkeypatch.setattr(module, "PAUSE_SEC", 0.01)

    async def scenario() -> None:
        read, write = box()
        postman = Postman({0: write.detach()})
        with socket.socket() as client:
            assert postman.send_client(0, client.fileno(), "p", "a")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        heard = Heard(read.detach())
        taken = [os.dup(0)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, hard))
        try:
            await asyncio.sleep(0.1)
            assert heard.clients == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.close(taken[0])
        await heard.until(lambda: bool(heard.clients))
        os.close(heard.clients[0][0])
        heard.mailbox.close()
        postman.close()

    asyncio.run(scenario())


def test_nonsense_and_the_end() -> None:
    async def scenario() -> None:
        read, write = box()
        heard = Heard(read.detach())
        for data in (b"C", b"Cno descriptor", b"?", b"N"):
            write.send(data)
        socket.send_fds(write, [b"Nwith one"], [write.fileno()])
        await heard.until(lambda: len(heard.nudges) == 2)
        assert heard.nudges == ["", "with one"]
        assert heard.clients == []
        write.close()  # nobody writes any more: no reason to spin
        await asyncio.sleep(0.05)
        heard.mailbox.close()

    asyncio.run(scenario())
