# SPDX-License-Identifier: Apache-2.0
"""What else a session that has moved still has: password, clocks, id; and what goes wrong then."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mysql.connector
import pymysql
import pytest

from hproxy.errors import HandoverError
from tests.integration.test_handover import log_in, rows
from tests.support.handed import Pair, handover_of, perform
from tests.support.server import Server

HASH = "*" + hashlib.sha1(hashlib.sha1(b"hproxy").digest()).hexdigest().upper()


def test_a_password_that_only_a_login_tells(tmp_path: Path, mariadb: Server) -> None:
    """The new process has the hash; what opens backends comes with the session."""

    async def scene(both: Pair) -> None:
        for runtime in (both.old, both.new):
            account = runtime.services.users.find(b"hproxy")
            assert account is not None
            account.secret = runtime.services.protocol.secret(HASH)
            account.credential = account.configured = account.learned = None
        client = await both.ask(log_in, both)
        assert await both.ask(rows, client, "SELECT 1") == ((1,),)
        await both.move()
        assert await both.ask(rows, client, "SELECT 2") == ((2,),)
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)


def test_change_of_user(tmp_path: Path, server: Server) -> None:
    """COM_CHANGE_USER goes on from what was agreed at the login, in another process."""

    async def scene(both: Pair) -> None:
        def begin() -> Any:
            client = mysql.connector.connect(
                host="127.0.0.1", port=both.old.listener.port, user="hproxy", password="hproxy",
                use_pure=True, ssl_disabled=True,
            )  # fmt: skip
            ask(client, "SET @a = 7")
            return client

        def ask(client: Any, sql: str) -> Any:
            with client.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.with_rows else None

        client = await both.ask(begin)
        await both.move()
        await both.ask(lambda: client.cmd_change_user("hproxy", "hproxy", "test"))
        assert await both.ask(ask, client, "SELECT @a, DATABASE()") == [(None, "test")]
        await both.ask(client.close)

    perform(tmp_path, server, scene)


def test_clocks(tmp_path: Path, mariadb: Server) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "SET SESSION wait_timeout = 3")
        leaving = both.the_one()
        await both.at_rest(leaving)
        since, due = leaving.since, leaving.session.client.deadline
        arrived = await both.move()
        assert arrived.since == since
        assert arrived.session.client.deadline == due
        assert 0 < due - time.monotonic() < 3
        assert arrived.session.idle_timeout == 3
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)


def test_reads_after_a_write(tmp_path: Path, mariadb: Server) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        await both.ask(rows, client, "CREATE TABLE IF NOT EXISTS handed_w (a INT)")
        await both.ask(rows, client, "INSERT INTO handed_w VALUES (1)")
        facts, fds = handover_of(both.old).pack(await rested(both))
        assert facts["session"]["native"]["wrote_at"] > time.monotonic() - 10
        await back(both, facts, fds)
        await both.ask(rows, client, "DROP TABLE handed_w")
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)


async def rested(both: Pair) -> Any:
    leaving = both.the_one()
    await both.at_rest(leaving)
    return leaving


async def back(both: Pair, facts: Any, fds: Any) -> Any:
    here = handover_of(both.old)
    connection = await here.unpack(facts, fds)
    here.begin(connection, facts)
    return connection


def test_kill_finds_it(tmp_path: Path, mariadb: Server) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        arrived = await both.move()

        def kill() -> None:
            killer = pymysql.connect(
                host="127.0.0.1", port=both.new.listener.port, user="hproxy", password="hproxy",
                ssl_disabled=True,
            )  # fmt: skip
            with killer:
                rows(killer, f"KILL {client.thread_id()}")

        assert arrived.id == client.thread_id()
        await both.ask(kill)
        with pytest.raises(pymysql.OperationalError):
            await both.ask(rows, client, "SELECT 1")

    perform(tmp_path, mariadb, scene)


def test_who_leaves_meanwhile(tmp_path: Path, mariadb: Server) -> None:
    """Its client hangs up between the two processes: the session ends where it arrives."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        facts, fds = handover_of(both.old).pack(await rested(both))
        there = handover_of(both.new)
        arrived = await there.unpack(facts, fds)
        await both.ask(client.close)
        await asyncio.sleep(0.05)
        there.begin(arrived, facts)
        await both.until(lambda: len(both.new.services.registry) == 0)

    perform(tmp_path, mariadb, scene)


def test_it_does_not_begin_after_all(tmp_path: Path, mariadb: Server) -> None:
    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        facts, fds = handover_of(both.old).pack(await rested(both))
        there = handover_of(both.new)
        there.drop(await there.unpack(facts, [os.dup(fd) for fd in fds]))
        assert len(both.new.services.registry) == 0
        await back(both, facts, fds)
        assert await both.ask(rows, client, "SELECT 1") == ((1,),)
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: facts.pop("session"),
        lambda facts: facts["session"].pop("native"),
        lambda facts: facts["session"]["state"].pop("settings"),
        lambda facts: facts["session"]["state"]["settings"].update(schema=5),
        lambda facts: facts["session"]["native"].update(status="x"),
        lambda facts: facts["session"]["native"].update(inbox=None, row_count=None),
        lambda facts: facts["session"]["statements"].update(next_id=0, entries=[{}]),
        lambda facts: facts["session"]["login"].update(compression=["lzma", 3]),
        lambda facts: facts.update(gtids=5),
        lambda facts: facts.update(diagnostics=[1]),
    ],
)
def test_facts_that_make_no_sense(
    tmp_path: Path, mariadb: Server, spoil: Callable[[Any], Any]
) -> None:
    """Nothing is left of them, and the descriptor is closed."""

    async def scene(both: Pair) -> None:
        client = await both.ask(log_in, both)
        facts, fds = handover_of(both.old).pack(await rested(both))
        spoilt = copy.deepcopy(facts)
        spoil(spoilt)
        (given,) = (os.dup(fd) for fd in fds)
        with pytest.raises(HandoverError) as refused:
            await handover_of(both.new).unpack(spoilt, [given])
        assert refused.value.full_code == "handover.facts"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(given)
        assert len(both.new.services.registry) == 0
        account = both.new.services.users.find(b"hproxy")
        assert account is not None
        assert account.sessions == 0
        await back(both, facts, fds)
        assert await both.ask(rows, client, "SELECT 1") == ((1,),)
        await both.ask(client.close)

    perform(tmp_path, mariadb, scene)
