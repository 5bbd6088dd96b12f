# SPDX-License-Identifier: Apache-2.0
"""All sessions of a worker go to another one, idle and busy ones, over a channel."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mysql.connector
import pymysql
import pytest

from hproxy.process import moving
from hproxy.process.moving import move_all, receive
from tests.integration.database import Side
from tests.integration.test_handover import log_in, rows
from tests.support.handed import Pair, perform
from tests.support.server import Server

LONG_S = 20.0
IDLE = 30


async def moved(both: Pair, deadline_sec: float = LONG_S) -> tuple[Any, Any]:
    """What both sides say of it."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return await asyncio.gather(
        move_all(both.old, one, deadline_sec), receive(both.new, other)
    )  # fmt: skip


def test_idle_sessions(tmp_path: Path, server: Server) -> None:
    async def scene(both: Pair) -> None:
        clients = [await both.ask(log_in, both) for _ in range(IDLE)]
        for number, client in enumerate(clients):
            await both.ask(rows, client, f"SET @mine = {number}")
        told, took = await moved(both)
        assert (told["moved"], told["left"], told["why"]) == (IDLE, 0, {})
        assert took == {"taken": IDLE}
        assert len(both.new.services.registry) == IDLE
        for number, client in enumerate(clients):
            assert await both.ask(rows, client, "SELECT @mine") == ((number,),)
            await both.ask(client.close)

    perform(tmp_path, server, scene)


class Busy:
    """A client that rests only between two commands; all it is told has to be right."""

    def __init__(self, port: int, table: str, number: int) -> None:
        self.error: BaseException | None = None
        self.turns = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port, table, number))
        self._thread.start()

    def _run(self, port: int, table: str, number: int) -> None:
        try:
            client = mysql.connector.connect(
                host="127.0.0.1", port=port, user="hproxy", password="hproxy", database="test",
                use_pure=True, ssl_disabled=True,
            )  # fmt: skip
            plain = client.cursor()
            plain.execute(f"SET @mine = {number}")
            prepared = client.cursor(prepared=True)
            while not self.over.is_set():
                client.start_transaction()
                prepared.execute(f"UPDATE {table} SET v = v + ? WHERE id = ?", (1, number))
                plain.execute(f"SELECT v, @mine FROM {table} WHERE id = {number}")
                assert plain.fetchall() == [(self.turns + 1, number)]
                client.commit()
                self.turns += 1
            client.close()
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        self.over.set()
        self._thread.join(LONG_S)


def test_busy_sessions(tmp_path: Path, server: Server) -> None:
    async def scene(both: Pair) -> None:
        with Side(server) as side, side.table("id INT PRIMARY KEY, v INT") as table:
            side.run(f"INSERT INTO {table} VALUES (0, 0), (1, 0), (2, 0), (3, 0)")
            clients = [Busy(both.old.listener.port, table, number) for number in range(4)]
            try:
                await both.until(lambda: all(client.turns > 5 for client in clients))
                told, _ = await moved(both)
                before = [client.turns for client in clients]
                await both.until(
                    lambda: all(c.turns > b for c, b in zip(clients, before, strict=True))
                )
            finally:
                for client in clients:
                    await both.ask(client.join)
            assert [client.error for client in clients] == [None] * 4
            assert (told["moved"], told["left"]) == (4, 0)
            found = side.run(f"SELECT v FROM {table} ORDER BY id")
            assert found == tuple((client.turns,) for client in clients)

    perform(tmp_path, server, scene)


def test_what_cannot_go_stays_and_works(tmp_path: Path, server: Server) -> None:
    async def scene(both: Pair) -> None:
        secure = await both.ask(lambda: log_in(both, ssl_disabled=False))
        held = await both.ask(log_in, both)
        await both.ask(rows, held, "BEGIN")
        free = await both.ask(log_in, both)
        told, took = await moved(both, 0.3)
        assert (told["moved"], told["left"], took) == (2, 1, {"taken": 2})
        assert told["why"] == {"TLS": 1}
        for client in (secure, held, free):
            assert await both.ask(rows, client, "SELECT 7") == ((7,),)
            await both.ask(client.close)

    perform(tmp_path, server, scene)


def test_another_format(tmp_path: Path, mariadb: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        both.new.services.protocol = other_format(both.new.services.protocol)
        told, took = await moved(both)
        assert (told["moved"], told["left"], took) == (0, 1, {"taken": 0})
        assert told["why"]["handover.remote"] == 1
        assert await both.ask(rows, client, "SELECT 7") == ((7,),)
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)


def other_format(protocol: Any) -> Any:
    return replace(protocol, portable=SimpleNamespace(FORMAT=protocol.portable.FORMAT + 1))


def test_an_account_that_is_not_there(tmp_path: Path, mariadb: Server) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "SET @a = 7")
        both.new.services.users.replace([])
        told, _ = await moved(both)
        assert (told["moved"], told["left"]) == (0, 1)
        assert told["why"] == {"handover.account": 1}
        assert await both.ask(rows, client, "SELECT @a") == ((7,),)
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)


@pytest.mark.parametrize("verb", ["hello", "sessions"])
def test_the_other_side_ends(
    tmp_path: Path, mariadb: Server, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Nobody has answered: all goes on here."""

    def ends(self: Any, channel: Any, message: Any) -> Any:
        if message.verb == verb:
            channel.close()
            return None
        return heard(self, channel, message)

    heard: Callable[..., Any] = moving.Arrival._heard
    monkeypatch.setattr(moving.Arrival, "_heard", ends)

    async def scene(both: Pair) -> None:
        client: pymysql.Connection[Any] = await both.ask(log_in, both)
        await both.ask(rows, client, "SET @a = 7")
        told, took = await moved(both)
        assert (told["moved"], told["left"], took) == (0, 1, {"taken": 0})
        assert await both.ask(rows, client, "SELECT @a") == ((7,),)
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)
