# SPDX-License-Identifier: Apache-2.0
"""The sessions of one worker go to the worker that takes its place.

    old: Departure                                      new: Arrival
    hello     format, version ─────────────────────────>  another format: refuses, all stay
    sessions  facts of up to BATCH, their descriptors ─>  put together, not begun
              <───────────────── number, refused (those are put together here again; some are
                                         only refused for now)
    go        number ──────────────────────────────────>  begun: what clients said is taken up
    end of the channel ────────────────────────────────>  what had no `go` is dropped

    idle ─────────────────────────────> goes at once; with the connection that it is pinned to,
                                        or in whose transaction it is
    in a command ─────────────────────> `leaving`: goes when its client's next command comes, with
                                        that unread
    has warnings to be asked for ─────> they are read first (Handover.relieve)
    TLS, a connection of its own ─────> stays: HOPELESS

A session is never served twice: here not after `pack`, there not before `go`. A process that dies
between the two takes its sessions with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Any

from hproxy import __version__
from hproxy.errors import HandoverError, HProxyError
from hproxy.process.channel import Channel, Facts, Message
from hproxy.runtime import Runtime
from hproxy.session.handover import Handover, Packed, descriptors_of
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.registry import Connection

__all__ = ["move_all", "receive"]

BATCH = 16
HELLO_SEC = 10.0
TAKE_SEC = 10.0
POLL_SEC = 0.02
AGAIN = "handover.later"
"""What was refused with it is offered again."""
HOPELESS = ("TLS", "own connection")
"""Reasons to stay that do not end."""


async def move_all(runtime: Runtime, sock: socket.socket, deadline_sec: float) -> Facts:
    """Give sessions away over `sock` until all are gone that can be, or the deadline has come.

    No clients are taken any more. How many have moved, are left, and why."""
    runtime.draining = True
    runtime.listeners.close()
    departure = Departure(runtime, sock)
    try:
        return await departure.run(deadline_sec)
    finally:
        departure.close()


async def receive(runtime: Runtime, sock: socket.socket) -> Facts:
    """Take the sessions that come over `sock`, until it ends. How many there were."""
    arrival = Arrival(runtime, sock)
    return {"taken": await arrival.run()}


def handover_of(runtime: Runtime) -> Handover:
    """Raises HandoverError where sessions do not share backend connections."""
    driver = runtime.driver
    if not isinstance(driver, MultiplexDriver):
        raise HandoverError("sessions keep their backend connections", code="mode")
    return Handover(runtime.services, driver)


class Departure:
    """The old side."""

    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        self._runtime = runtime
        self._registry = runtime.services.registry
        self._channel = Channel(sock, nothing, name="the new worker")
        self._handover: Handover | None = None
        self._wake = asyncio.Event()
        self._departing: list[Any] = []
        self._moved = 0
        self._refused: Counter[str] = Counter()
        self._stay: set[int] = set()
        """Ids of those that are not asked to leave again."""
        self._returned: set[int] = set()
        """... because the other side did not want them."""

    async def run(self, deadline_sec: float) -> Facts:
        """What there is to say of it."""
        began = monotonic()
        try:
            self._handover = handover_of(self._runtime)
            ours = self._runtime.services.protocol.portable.FORMAT
            await self._channel.ask(
                "hello", timeout_sec=HELLO_SEC, format=ours, version=__version__
            )
            self._handover.on_departure(self._departs)
            await self._give_away(began + deadline_sec)
        except (HProxyError, TimeoutError) as error:
            self._runtime.log.warning("sessions stay", reason=str(error) or "no answer")
            self._refused[getattr(error, "full_code", "timeout")] += 1
        why = Counter(self._reasons())
        return {
            "moved": self._moved,
            "left": len(self._registry),
            "why": dict(why + self._refused),
            "seconds": round(monotonic() - began, 3),
        }

    def _reasons(self) -> Iterator[str]:
        for connection in self._registry:
            if connection.id not in self._returned and self._handover is not None:
                yield self._handover.why_not(connection) or "late"

    def _departs(self, session: Any) -> None:
        """It has a command, and nothing binds it."""
        self._departing.append(session)
        self._wake.set()

    async def _give_away(self, end: float) -> None:
        """Who is idle first: others are kept waiting for none of them."""
        asking = False
        while monotonic() < end:
            self._wake.clear()
            hope, ready = self._look(asking)
            waiting = iter(ready)
            while batch := [*self._due(), *islice(waiting, BATCH)]:
                await self._send(batch)
            if not hope:
                return
            if asking:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), min(POLL_SEC, end - monotonic()))
            asking = True

    def _due(self) -> list[Connection]:
        """Those whose clients wait for an answer meanwhile; who cannot go after all stays."""
        assert self._handover is not None
        due, self._departing = self._departing, []
        found = []
        for session in due:
            connection: Connection = session.tag
            if connection.session is None or self._handover.why_not(connection) is None:
                found.append(connection)
            elif not self._handover.relieve(connection):
                session.stay()
        return found

    def _look(self, asking: bool) -> tuple[bool, list[Connection]]:
        """Whether anybody is left who may leave; those who can now. `asking`: the others are to
        leave as soon as they can."""
        assert self._handover is not None
        hope, ready = False, []
        for connection in self._registry:
            if connection.id in self._stay:
                continue
            why = self._handover.why_not(connection)
            if why in HOPELESS:
                self._keep(connection)
                continue
            hope = True
            if why is None:
                ready.append(connection)
                continue
            session = connection.session
            if session is not None and asking:
                session.leaving = True
                self._handover.relieve(connection)
        return hope, ready

    def _keep(self, connection: Connection) -> None:
        """It is not asked to leave again."""
        self._stay.add(connection.id)
        if connection.pooled and connection.session is not None:
            connection.session.stay()

    async def _send(self, batch: Sequence[Connection]) -> None:
        assert self._handover is not None
        packed: list[Packed] = [
            self._handover.pack(connection)
            for connection in dict.fromkeys(batch)
            if connection.session is not None and self._handover.why_not(connection) is None
        ]
        if not packed:
            return
        try:
            answer = await self._channel.ask(
                "sessions",
                timeout_sec=TAKE_SEC,
                fds=[fd for _, fds in packed for fd in fds],
                sessions=[facts for facts, _ in packed],
            )
        except BaseException:
            self._channel.close()  # whatever it has of them, it drops
            for facts, fds in packed:
                await self._back(facts, fds)
                self._handover.parted(facts)
            raise
        self._channel.tell("go", number=answer["number"])
        refused = dict(answer["refused"])
        for index, (facts, fds) in enumerate(packed):
            if index not in refused:
                for fd in fds:
                    os.close(fd)
                self._handover.parted(facts)
                self._moved += 1
                continue
            code, reason = refused[index]
            if code != AGAIN:
                self._refused[code] += 1
                self._stay.add(facts["id"])
                self._returned.add(facts["id"])
                self._runtime.log.info("session stays", conn=facts["id"], reason=reason)
            await self._back(facts, fds)
            self._handover.parted(facts)

    async def _back(self, facts: Facts, fds: Sequence[int]) -> None:
        """It goes on here."""
        assert self._handover is not None
        try:
            connection = await self._handover.unpack(facts, fds)
        except HProxyError as error:
            self._runtime.log.error(
                "session lost", code=error.full_code, conn=facts["id"], reason=str(error)
            )
            return
        self._handover.begin(connection, facts)

    def close(self) -> None:
        """Whoever is left takes commands here again."""
        self._channel.close()
        if self._handover is None:
            return
        self._handover.on_departure(None)
        for connection in self._registry:
            if connection.pooled and connection.session is not None:
                connection.session.stay()


class Arrival:
    """The new side."""

    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        self._runtime = runtime
        self._waiting: dict[int, list[tuple[Connection, Facts]]] = {}
        self._batches = 0
        self._taken = 0
        self._handover: Handover | None = None
        self._channel = Channel(sock, self._heard, name="the old worker")

    async def run(self) -> int:
        """Until the channel ends; how many sessions have begun."""
        try:
            await self._channel.closed
        finally:
            self._channel.close()
            for batch in self._waiting.values():
                self._drop(batch)
            self._waiting.clear()
        return self._taken

    def _heard(self, _: Channel, message: Message) -> Any:
        match message.verb:
            case "hello":
                return self._hello(message)
            case "sessions":
                return self._sessions(message)
            case "go":
                return self._go(message["number"])
        raise HandoverError("a worker does not do that", verb=message.verb)

    def _hello(self, message: Message) -> Facts:
        ours = self._runtime.services.protocol.portable.FORMAT
        if message["format"] != ours:
            raise HandoverError(
                "sessions are written in another format",
                code="format",
                theirs=message["format"],
                ours=ours,
                version=message["version"],
            )
        self._handover = handover_of(self._runtime)
        return {"version": __version__}

    async def _sessions(self, message: Message) -> Facts:
        if self._handover is None:
            for fd in message.fds:
                os.close(fd)
            raise HandoverError("nobody has said hello")
        self._batches += 1
        number = self._batches
        batch: list[tuple[Connection, Facts]] = []
        refused: list[tuple[int, tuple[str, str]]] = []
        there = iter(message.fds)
        for index, facts in enumerate(message["sessions"]):
            fds = list(islice(there, descriptors_of(facts)))
            try:
                batch.append((await self._handover.unpack(facts, fds), facts))
            except HProxyError as error:
                refused.append((index, (error.full_code, str(error))))
            except OSError as error:
                refused.append((index, ("handover.facts", f"cannot watch the socket: {error}")))
        if self._channel.closed.done():
            self._drop(batch)
        else:
            self._waiting[number] = batch
        return {"number": number, "refused": refused}

    def _go(self, number: int) -> None:
        assert self._handover is not None
        for connection, facts in self._waiting.pop(number, ()):
            self._handover.begin(connection, facts)
            self._taken += 1

    def _drop(self, batch: Sequence[tuple[Connection, Facts]]) -> None:
        assert self._handover is not None
        for connection, _ in batch:
            self._handover.drop(connection)


def nothing(_: Channel, message: Message) -> Facts:
    raise HandoverError("a worker that goes does not do that", verb=message.verb)
