# SPDX-License-Identifier: Apache-2.0
"""The parent of the service: keeps sockets and children, and does as little else as can be.

hproxy run ── angel ──┬── head        admin port, HTTP, monitors, store
                      ├── worker 0..  clients
                      └── spare       warm, takes the place of one that dies

signals, orders ──> signals.py, orders.py      an upgrade ──> succession.py

sockets: opened here, workers get duplicates: a worker's queue survives it
snapshot: what the head told last is what the next child starts on
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any

from hproxy import __version__
from hproxy.config import snapshot
from hproxy.config.schema import Config
from hproxy.errors import AdminError, ConfigError, HProxyError
from hproxy.process.channel import Facts, Message, pair
from hproxy.process.children import Child, Children, resident_kib
from hproxy.process.commons import Commons
from hproxy.process.orders import Orders
from hproxy.process.origin import Origin
from hproxy.process.outside import Outside
from hproxy.process.seat import Seat
from hproxy.process.signals import Signals
from hproxy.process.sockets import Sockets
from hproxy.process.succession import Succession
from hproxy.telemetry import log as logs

__all__ = ["Angel", "guard"]

STOP_SEC = 5.0
"""A child that was told to stop does so, or is killed."""
AGAIN_SEC = 1.0
"""Between two tries to have what there are no descriptors for."""
HANDED_SEC = 5.0
"""A worker takes sockets it is given, or does not matter."""


def guard(
    config: Config,
    origin: Origin,
    outside: Outside | None = None,
    *,
    initial: bool = False,
    workers: int,
) -> int:
    """Have the service run until a signal ends it; the exit status.

    Raises ConfigError when it cannot start."""

    async def live() -> int:
        return await Angel(config, origin, outside, initial=initial, workers=workers).run()

    return asyncio.run(live())


class Angel:
    """Use within a running event loop."""

    def __init__(
        self,
        config: Config,
        origin: Origin,
        outside: Outside | None = None,
        *,
        initial: bool = False,
        workers: int,
    ) -> None:
        self.config = config
        self.log: Any = logs.get_logger("angel")
        self.ending = False
        self.generation = 0
        """How many services before this one handed over to it."""
        self.sockets = Sockets(workers)
        self.children = Children(self._heard, config.server.watchdog_sec)
        self.head = Seat("head", 0, self, self.log)
        self.workers = [Seat("worker", slot, self, self.log) for slot in range(workers)]
        self.commons: Commons | None = None
        """What workers share; None until there are some."""
        self.gifts: dict[str, int] = {}
        """Further descriptors every child gets, by name; they stay ours."""
        self.heirlooms: dict[str, int] = {}
        """Descriptors that go from service to service in an upgrade, by name; they stay ours."""
        self.snapshot = snapshot.dump(config)
        self.version = 0
        self.paused = False
        self.since = monotonic()
        self.outside = outside or Outside()
        """Who started us: a shell, systemd."""
        self.operators: dict[str, int] = {}
        """Listening sockets for the head that systemd opened, by name."""
        self.origin = origin
        self._initial = initial
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        self.hurry = asyncio.Event()
        """Somebody cannot wait for the end of a drain."""
        self.succession = Succession(self)
        self.again = False
        """Begun anew once it is over."""
        self._orders = Orders(self)
        self._signals = Signals(self)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def seats(self) -> list[Seat]:
        """All there are."""
        return [self.head, *self.workers]

    # -- from start to end ---------------------------------------------------------------

    async def run(self) -> int:
        """Until a signal or an order ends it. Raises ConfigError when it cannot start."""
        self.log.info("starting", version=__version__, workers=len(self.workers))
        self._signals.listen()
        try:
            await self._begin()
        except HProxyError as error:
            self.log.error("cannot start", code=error.full_code, reason=str(error))
            self.ending = True
            await self.succession.failed(error)
            await self._end()
            raise
        if not self._over.done():
            self.children.keep_spare()
            self.succession.serves()
            self.outside.serving(self.summary())
            self.spawn(self.outside.beats())
            self.log.info("serving", address=";".join(self.sockets.addresses),
                          mode=self.config.proxy.mode, workers=len(self.workers))  # fmt: skip
        status = await self._over
        await self._end()
        self.log.info("stopped", status=status)
        if self.again:
            self.outside.stopped()
            self.outside.again()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return status

    async def _begin(self) -> None:
        self.sockets.adopt(self.outside.given.take("listen"), borrowed=True)
        for use in ("admin", "http"):
            self.operators |= named(f"{use}:", dict(self.outside.given.take(use)))
        with refusing():
            self.children.prepare(1 + len(self.workers))
        if self.outside.upgrade:
            await self._unless_over(self.succession.inherit())
            if self._over.done():
                return
        with refusing():
            old = self.heirlooms
            self.commons = Commons(len(self.workers), old.get("ledger"), old.get("guesses"))
        self.heirlooms |= self.commons.heirlooms
        self.spawn(self.head.keep())
        await self._first(self.head)
        for seat in self.workers:
            self.spawn(seat.keep())
        for seat in self.workers:
            await self._first(seat)
        self.outside.opened()

    def summary(self) -> str:
        """Of what it does, for systemd."""
        workers = len(self.workers)
        return f"serves on {';'.join(self.sockets.addresses)}, {workers} workers"

    async def _unless_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, unless a signal comes first."""
        task = asyncio.ensure_future(work)
        await asyncio.wait((task, self._over), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        task.cancel()

    async def _first(self, seat: Seat) -> None:
        await asyncio.wait((seat.ready, self._over), return_when=asyncio.FIRST_COMPLETED)
        if seat.ready.done():
            seat.ready.result()

    def finish(self, status: int) -> None:
        """The service is over; what is left is to end its processes."""
        self.ending = True
        if not self._over.done():
            self._over.set_result(status)

    async def _end(self) -> None:
        self.ending = True
        self.sockets.close()
        self.children.keeps_spare = False
        alive = self.children.all
        for child in alive:
            if child.state == "serving":
                child.channel.tell("stop")
            else:
                child.kill("the service ends")
        if alive:
            await asyncio.wait([child.ended for child in alive], timeout=STOP_SEC)
        self.children.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.commons is not None:
            self.commons.close()

    async def drain(self, deadline_sec: float) -> int:
        """Take no clients any more and see off those there are; how many are left."""
        self.log.info("draining", deadline_sec=deadline_sec)
        if self.head.child is not None:
            self.head.child.channel.tell("draining")
        self.paused = True  # a worker that is started again takes none either
        self.sockets.pause()
        asked = [
            seat.child.channel.ask("drain", deadline_sec=deadline_sec)
            for seat in self.workers
            if seat.child is not None and seat.serving
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return sum(answer["left"] for answer in answers if isinstance(answer, Message))

    async def _see_off(self) -> None:
        """Drain, and be over; at once when somebody cannot wait."""
        drain = asyncio.ensure_future(self.drain(self.config.server.drain_sec))
        hurry = asyncio.ensure_future(self.hurry.wait())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if drain.done():
            self.log.info("drained", left=drain.result())
        drain.cancel()
        self.finish(0)

    # -- what seats want of us -----------------------------------------------------------

    def take(self) -> Child:
        """A child, warm or about to be. Raises OSError."""
        return self.children.take()

    async def become(self, seat: Seat, child: Child) -> None:
        """Have it serve there. Raises RemoteError, ChannelClosed."""
        given = dict(self.gifts)
        if seat.role == "worker":
            given |= named("listen:", self.sockets.of(seat.slot))
            if self.commons is not None:
                given |= self.commons.given(seat.slot)
        else:
            given |= self.operators | named("once:", self.succession.legacy)
        answer = await child.channel.ask(
            "become",
            fds=list(given.values()),
            fds_are=list(given),
            role=seat.role,
            slot=seat.slot,
            workers=len(self.workers),
            column=self.commons.first if self.commons is not None else 0,
            generation=self.generation,
            snapshot=self.snapshot,
            version=self.version,
            origin=self.origin.facts,
            outside=self.outside.facts,
            initial=self._initial,
            first=self.version == 0,
            paused=self.paused,
            upgrade=self.outside.upgrade,
            reload=self.outside.reload,
            estate=self.succession.estate if seat is self.head else None,
        )
        if seat is self.head:
            self.succession.notes = answer.facts.get("notes", ())

    def arrived(self, seat: Seat) -> None:
        """It serves: it and those it speaks with get a channel."""
        if seat is self.head:
            self._initial = False
            self.succession.settled()
        for worker in self.workers if seat is self.head else [seat]:
            self._introduce(worker)

    def _introduce(self, worker: Seat) -> None:
        """Give both a channel to each other; out of descriptors, a moment later."""
        if self.ending or not (worker.serving and self.head.serving):
            return
        assert worker.child is not None
        assert self.head.child is not None
        try:
            one, other = pair()
            with one, other:
                self.head.child.channel.tell("peer", slot=worker.slot, fds=[one.fileno()])
                worker.child.channel.tell("peer", slot=worker.slot, fds=[other.fileno()])
        except OSError as error:
            self.log.warning("the head and a worker wait for a channel", worker=worker.slot,
                             reason=error.strerror, again_in_sec=AGAIN_SEC)  # fmt: skip
            self._loop.call_later(AGAIN_SEC, self._introduce, worker)

    def left(self, seat: Seat, child: Child) -> None:
        """It does not serve any more, and neither does its process."""
        if self.commons is not None and seat.role == "worker":
            self.commons.left(seat.slot)

    def give_up(self, seat: Seat) -> None:
        """It cannot be kept alive."""
        self.log.error("the service ends: a process of it keeps ending", role=str(seat))
        self.finish(1)

    # -- what children say ---------------------------------------------------------------

    def _heard(self, child: Child, message: Message) -> Any:
        match message.verb:
            case "snapshot":
                self.snapshot, self.version = message["text"], message["version"]
                return None
            case "open":
                return self._open(message["addresses"])
            case "keep":
                return self._keep(message["addresses"])
            case "order":
                return self._orders.order(message["name"], message["arguments"])
            case "processes":
                return {"processes": self.rows()}
        raise AdminError("the angel does not do that", code="order", verb=message.verb)

    def rows(self) -> list[Facts]:
        """What processes there are."""
        pid = os.getpid()
        angel = {"role": "angel", "slot": 0, "pid": pid, "state": "serving", "restarts": 0,
                 "since_sec": round(monotonic() - self.since, 3),
                 "rss_kib": resident_kib(pid)}  # fmt: skip
        spares = [
            child.row | {"restarts": 0} for child in self.children.all if child.role == "spare"
        ]
        return [angel, *(seat.row for seat in self.seats), *spares]

    async def _open(self, addresses: Sequence[str]) -> Facts:
        if not self.paused:
            await self.hand_out(self.sockets.open(addresses))
        return {"addresses": self.sockets.addresses}

    async def hand_out(self, names: Sequence[str]) -> None:
        """Give every worker its sockets of these addresses."""
        asked = []
        for seat in self.workers:
            if seat.child is not None and seat.child.state in ("becoming", "serving") and names:
                given = named("listen:", self.sockets.of(seat.slot, names))
                asked.append(
                    seat.child.channel.ask(
                        "sockets",
                        timeout_sec=HANDED_SEC,
                        fds=list(given.values()),
                        fds_are=list(given),
                    )
                )
        await asyncio.gather(*asked, return_exceptions=True)

    def _keep(self, addresses: Sequence[str]) -> None:
        if not self.paused:
            self.sockets.keep(addresses)
        self.tell("keep", addresses=list(self.sockets.names))

    def tell(self, verb: str, *, head: bool = False, **facts: Any) -> None:
        """All workers, and the head where it is meant too."""
        for seat in self.seats if head else self.workers:
            if seat.child is not None and seat.child.state in ("becoming", "serving"):
                seat.child.channel.tell(verb, **facts)

    # -- what orders and signals have us do ----------------------------------------------

    def stop(self) -> None:
        """Drain, and be over; at once when that was said before."""
        if self.ending:
            self.hurry.set()
            return
        self.ending = True
        self.outside.stopping("draining", self.config.server.drain_sec + STOP_SEC, self.again)
        if any(seat.serving for seat in self.workers):
            self.spawn(self._see_off())
        else:
            self.finish(0)

    def reopen(self) -> None:
        """Logs, in all processes."""
        logs.reopen()
        self.outside.reopen()
        self.tell("reopen", head=True)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do it beside everything else; a failure is ours."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error("internal error", code="internal", exc_info=error)
            self.finish(1)


def named(prefix: str, fds: dict[str, int]) -> dict[str, int]:
    """With the prefix that says what they are."""
    return {f"{prefix}{name}": fd for name, fd in fds.items()}


@contextlib.contextmanager
def refusing() -> Any:
    """What the machine refuses at the start is a refusal of ours."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot start: {error.strerror or error}") from error
