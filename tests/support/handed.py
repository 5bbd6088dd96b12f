# SPDX-License-Identifier: Apache-2.0
"""Two workers in one process, and sessions that go from the first to the second."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hproxy.config.load import load_config
from hproxy.config.schema import Config
from hproxy.pool.shares import Ledger, Shares, create
from hproxy.runtime import Runtime
from hproxy.session.handover import Handover
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.registry import Connection
from tests.support.server import Server
from tests.support.worker import Journal, working

__all__ = ["Pair", "Scene", "handover_of", "pair", "perform"]

REST_S = 5.0


def handover_of(runtime: Runtime) -> Handover:
    """What takes its sessions apart."""
    driver = runtime.driver
    assert isinstance(driver, MultiplexDriver)
    return Handover(runtime.services, driver)


def configuration(
    folder: Path, server: Server, name: str, more: str = "", columns: str = ""
) -> Config:
    path = folder / f"{name}.toml"
    state = folder / name
    state.mkdir()
    path.write_text(
        f'[server]\nlisten_addr = "127.0.0.1:0"\ndata_dir = "{state}"\n'
        f'[[mysql_servers]]\nhostname = "{server.host}"\nport = {server.port}\n{columns}\n'
        '[proxy]\nsession_mode = "multiplex"\n'
        'monitor_username = "hproxy"\nmonitor_password = "hproxy"\n'
        f'[[mysql_users]]\nusername = "hproxy"\npassword = "hproxy"\n{more}'
    )
    return load_config(path, {}, {})


class Pair:
    """`old` has the clients, `new` gets them."""

    def __init__(self, old: Runtime, new: Runtime) -> None:
        self.old = old
        self.new = new

    async def ask(self, work: Callable[..., Any], *args: Any) -> Any:
        """A client's work, which waits for answers, in a thread."""
        return await asyncio.to_thread(work, *args)

    def the_one(self, runtime: Runtime | None = None) -> Connection:
        """The only client there."""
        (connection,) = (runtime or self.old).services.registry
        return connection

    async def until(self, true: Callable[[], bool]) -> None:
        """Until it is so."""
        end = asyncio.get_running_loop().time() + REST_S
        while not true():
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.002)

    async def at_rest(self, connection: Connection) -> None:
        """Until nothing keeps it."""
        handover = handover_of(self.old)
        end = asyncio.get_running_loop().time() + REST_S
        while (why := handover.why_not(connection)) is not None:
            assert asyncio.get_running_loop().time() < end, why
            handover.relieve(connection)
            await asyncio.sleep(0.005)

    async def move(self, connection: Connection | None = None) -> Connection:
        """To the new one."""
        leaving = connection or self.the_one()
        await self.at_rest(leaving)
        leaves = handover_of(self.old)
        facts, fds = leaves.pack(leaving)
        facts = json.loads(json.dumps(facts))
        copies = [os.dup(fd) for fd in fds]  # as the kernel makes them on the way
        for fd in fds:
            os.close(fd)
        there = handover_of(self.new)
        arrived = await there.unpack(facts, copies)
        leaves.parted(facts)
        there.begin(arrived, facts)
        return arrived


@asynccontextmanager
async def pair(
    folder: Path, server: Server, more: str = "", columns: str = ""
) -> AsyncIterator[Pair]:
    """Both serve `server` within limits they share; each listens at a port of its own."""
    old_config, new_config = (
        configuration(folder, server, name, more, columns) for name in ("old", "new")
    )
    fd = create(2)
    ledger = Ledger(fd)
    first = ledger.claim(os.getpid(), 2)
    shares = [Shares.join(os.dup(fd), first + slot, 2) for slot in range(2)]
    os.close(fd)
    async with (
        working(old_config, Journal(), shares=shares[0]) as old,
        working(new_config, Journal(), shares=shares[1]) as new,
    ):
        yield Pair(old, new)


Scene = Callable[[Pair], Awaitable[None]]


def perform(folder: Path, server: Server, scene: Scene, more: str = "", columns: str = "") -> None:
    """Play a scene before both workers; `columns` of the server's row."""

    async def whole() -> None:
        async with pair(folder, server, more, columns) as both:
            await scene(both)

    asyncio.run(whole())
