# SPDX-License-Identifier: Apache-2.0
"""A place and the children that fill it; children and angel are stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hproxy.errors import ChannelClosed, ConfigError, HProxyError, RemoteError
from hproxy.process.seat import Seat
from tests.support.worker import Journal

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class StandIn:
    """A child of few words."""

    def __init__(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = pid
        self.role, self.slot, self.state, self.why = "spare", 0, "warm", ""
        self.served, self.since = False, 0.0
        self.warm: asyncio.Future[None] = loop.create_future()
        self.warm.set_result(None)
        self.ended: asyncio.Future[int] = loop.create_future()
        self.channel = self
        self.closed: asyncio.Future[None] = loop.create_future()

    def kill(self, why: str) -> None:
        self.why = self.why or why
        self.end(-9)

    def end(self, status: int) -> None:
        if not self.ended.done():
            self.closed.set_result(None)
            self.ended.set_result(status)

    @property
    def row(self) -> dict[str, Any]:
        return {"pid": self.pid, "state": self.state}


class Keeper:
    """An angel that remembers."""

    def __init__(self, *refusals: HProxyError | None) -> None:
        self.ending = False
        self.children: list[StandIn] = []
        self.told: list[str] = []
        self._refusals = list(refusals)
        self.changed = asyncio.Event()

    def take(self) -> Any:
        self.children.append(StandIn(len(self.children) + 1))
        return self.children[-1]

    async def become(self, seat: Seat, child: Any) -> None:
        refusal = self._refusals.pop(0) if self._refusals else None
        if refusal is not None:
            raise refusal

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()

    def arrived(self, seat: Seat) -> None:
        assert seat.child is not None
        self._tell(f"arrived {seat.child.pid}")

    def left(self, seat: Seat, child: Any) -> None:
        self._tell(f"left {child.pid}")

    def give_up(self, seat: Seat) -> None:
        self.ending = True
        self._tell("gave up")

    async def until(self, what: str) -> None:
        async with asyncio.timeout(5):
            while what not in self.told:
                self.changed.clear()
                await self.changed.wait()


def test_who_ends_is_followed_by_another(run: Run) -> None:
    async def body() -> None:
        keeper, log = Keeper(), Journal()
        seat = Seat("worker", 3, keeper, log)
        task = asyncio.ensure_future(seat.keep())
        await keeper.until("arrived 1")
        assert seat.serving
        assert seat.row == {"pid": 1, "state": "serving", "restarts": 0}
        keeper.children[0].end(-11)
        await keeper.until("arrived 2")
        assert keeper.told == ["arrived 1", "left 1", "arrived 2"]
        (told,) = log.told("a process of the service ended")
        assert (told["role"], told["pid"], told["status"]) == ("worker 3", 1, -11)
        assert (told["reason"], told["again_in_sec"]) == ("signal 11", 0)
        keeper.ending = True
        keeper.children[1].end(0)
        await task

    run(body())


def test_a_refusal_at_the_start_is_the_services(run: Run) -> None:
    async def body() -> None:
        keeper = Keeper(RemoteError("configuration refused: port in use", remote="config"))
        seat = Seat("head", 0, keeper, Journal())
        task = asyncio.ensure_future(seat.keep())
        with pytest.raises(ConfigError, match="refused: port in use"):
            await seat.ready
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(body())


def test_one_that_keeps_failing_ends_the_service(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        keeper = Keeper(*(ChannelClosed(peer="x") for _ in range(6)))
        seat = Seat("worker", 0, keeper, Journal())
        waits = iter([0, 0, 0, 0, 0, None])
        monkeypatch.setattr(seat, "backoff", type("B", (), {
            "restarts": 0, "ended": lambda *_, **served: next(waits)
        })())  # fmt: skip
        await asyncio.wait_for(seat.keep(), 5)
        assert keeper.told[-1] == "gave up"
        assert len(keeper.children) == 6

    run(body())


def test_a_place_that_is_held_stays_empty(run: Run) -> None:
    async def body() -> None:
        keeper = Keeper()
        seat = Seat("head", 0, keeper, Journal())
        task = asyncio.ensure_future(seat.keep())
        await keeper.until("arrived 1")
        seat.hold()
        keeper.children[0].end(0)
        await keeper.until("left 1")
        await asyncio.sleep(0.05)
        assert len(keeper.children) == 1
        assert seat.row["state"] == "gone"
        seat.release()
        await keeper.until("arrived 2")
        keeper.ending = True
        keeper.children[1].end(0)
        await task

    run(body())
