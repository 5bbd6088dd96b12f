# SPDX-License-Identifier: Apache-2.0
"""A worker whose sessions share backend connections, inside the test, and clients to try it.

async with pooled(folder, gateway.row | {"max_connections": 4}) as runtime:
    ann = await client(runtime)
    await ann.run("SET @a = 1")
    assert await ann.value("SELECT @a") == "1"
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from hproxy.config.schema import Config
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.refusal import read_error
from hproxy.protocols.mysql.replies import ErrPacket
from hproxy.protocols.mysql.rows import TextResult
from hproxy.runtime import Runtime
from tests.support.worker import Caller, Journal, call, working

__all__ = ["Client", "ServerError", "client", "clients", "go", "pooled", "row", "until"]

USER = {"username": "hproxy", "password": "hproxy"}


class ServerError(Exception):
    """An ERR packet: (number, text)."""

    @property
    def number(self) -> int:
        number: int = self.args[0]
        return number


def configuration(
    folder: Path, servers: Sequence[Mapping[str, Any]], users: Sequence[Mapping[str, Any]],
    sections: Mapping[str, Any],
) -> Config:  # fmt: skip
    server = {"listen_addr": "127.0.0.1:0", "data_dir": folder, "max_connections": 2000}
    given: dict[str, Any] = {
        **sections,
        "server": server | sections.get("server", {}),
        "tls": {"client": "off"},
        "proxy": {"mode": "mysql", "session_mode": "multiplex"} | sections.get("proxy", {}),
        "mysql_servers": list(servers),
        "mysql_users": list(users),
    }
    return Config(**given)


@asynccontextmanager
async def pooled(
    folder: Path,
    *servers: Mapping[str, Any],
    users: Sequence[Mapping[str, Any]] = (USER,),
    journal: Journal | None = None,
    **sections: Any,
) -> AsyncIterator[Runtime]:
    """A worker before `servers`: rows of [[mysql_servers]]. `sections` are merged in."""
    config = configuration(folder, servers, users, sections)
    async with working(config, journal) as runtime:
        yield runtime


class Client:
    """A session; statements in, values out."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.capabilities = Capability(caller.login.capabilities)
        self.status = 0
        """Server status of the last answer."""

    async def run(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows of the answer. Raises ServerError; OSError and others when it never ends."""
        await self.send(sql)
        return await self.read()

    async def send(self, sql: str) -> None:
        self._caller.channel.seq = 0
        self._caller.channel.write_packet(b"\x03" + sql.encode())

    async def read(self) -> list[tuple[str | None, ...]]:
        """The rows of an answer that is on its way."""
        result = TextResult(self.capabilities)
        while not result.take(packet := await self._caller.channel.read_packet()):
            pass
        if result.error is not None:
            raise ServerError(result.error.number, result.error.message.decode())
        self.status = int.from_bytes(packet[3:5], "little")
        return [
            tuple(None if value is None else value.decode("utf-8", "replace") for value in row)
            for row in result.rows
        ]

    async def value(self, sql: str) -> str | None:
        """The only value of the answer."""
        [[value]] = await self.run(sql)
        return value

    async def error(self, sql: str) -> int:
        """The number of the error that must come, 0 when the connection ends instead."""
        try:
            rows = await self.run(sql)
        except ServerError as error:
            return error.number
        except Exception:  # whatever the channel calls its end
            return 0
        raise AssertionError(f"{sql} was answered: {rows}")

    async def prepare(self, sql: str) -> int:
        """The id of a prepared statement; definitions are read over."""
        first = await self.command(b"\x16" + sql.encode())
        columns, parameters = (int.from_bytes(first[at : at + 2], "little") for at in (5, 7))
        for count in (parameters, columns):
            for _ in range(count + 1 if count else 0):
                await self._caller.channel.read_packet()
        return int.from_bytes(first[1:5], "little")

    async def execute(self, statement: int, *numbers: int) -> list[bytes]:
        """Rows of a binary result as they come."""
        payload = b"\x17" + statement.to_bytes(4, "little") + b"\x00\x01\x00\x00\x00"
        if numbers:
            payload += bytes((len(numbers) + 7) // 8) + b"\x01" + b"\x08\x00" * len(numbers)
            payload += b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
        first = await self.command(payload)
        if first[0] == 0:
            return []
        rows: list[bytes] = []
        ends = 0
        while ends < 2:
            packet = await self._caller.channel.read_packet()
            if packet[0] == 0xFE and len(packet) < 9:
                ends += 1
            elif packet[0] == 0xFF:
                error = ErrPacket.parse(packet)
                raise ServerError(error.number, error.message.decode())
            elif ends:
                rows.append(packet)
        return rows

    async def command(self, payload: bytes) -> bytes:
        """The first packet of the answer to a command. Raises ServerError."""
        packet = await self._caller.ask(payload)
        number, text = read_error(packet)
        if number:
            raise ServerError(number, text)
        return packet

    def post(self, payload: bytes) -> None:
        """A command that is not answered."""
        self._caller.channel.seq = 0
        self._caller.channel.write_packet(payload)

    def close(self) -> None:
        self._caller.close()


async def client(
    runtime: Runtime,
    user: str = "hproxy",
    password: str = "",
    database: str = "",
    more: int = 0,
) -> Client:
    """Logged in. Raises Refusal."""
    return Client(await call(runtime, user, password or user, database=database, more=more))


async def clients(runtime: Runtime, count: int, **login: Any) -> list[Client]:
    return list(await asyncio.gather(*(client(runtime, **login) for _ in range(count))))


def row(runtime: Runtime) -> Mapping[str, Any]:
    """The only pool there is."""
    [found] = runtime.port.pools()
    return found


async def until(condition: Callable[[], bool], what: str, within_s: float = 15.0) -> None:
    """Look until `condition` holds."""
    end = monotonic() + within_s
    while not condition():
        assert monotonic() < end, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.005)


def go(work: Coroutine[Any, Any, None], within_s: float = 60.0) -> None:
    """Run a test's work to its end."""
    asyncio.run(asyncio.wait_for(work, within_s))
