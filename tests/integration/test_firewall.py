# SPDX-License-Identifier: Apache-2.0
"""The firewall before real servers: what is not listed is answered here, by every way to run it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hproxy.routing.firewall import Firewall
from hproxy.runtime import Runtime
from hproxy.session.screening import Screening, swap_firewall
from hproxy.telemetry.digests import digest_id
from tests.support.pooled import Client, ServerError, client, go, pooled
from tests.support.server import Server
from tests.support.worker import Journal

BLOCKED = 1148
LISTED = (b"SELECT ?", b"SELECT ?+?", b"SELECT id FROM t WHERE id=?")


def firewall(
    mode: str, digests: Iterable[bytes] = LISTED, client_address: str = "", **more: Any
) -> Firewall:
    rules = [
        {"username": "hproxy", "client_address": client_address, "schemaname": "",
         "digest": digest_id(digest)}
        for digest in digests
    ]  # fmt: skip
    users = [{"username": "hproxy", "client_address": client_address, "mode": mode}]
    return Firewall.compile(users, rules, **{"enabled": True} | more)


def row(server: Server) -> dict[str, Any]:
    return {"hostname": server.host, "port": server.port}


def screening(runtime: Runtime) -> Screening:
    found: Screening = runtime._driver.decider.screening  # type: ignore[attr-defined]
    return found


async def refused(session: Client, sql: str) -> str:
    with pytest.raises(ServerError) as raised:
        await session.run(sql)
    assert raised.value.number == BLOCKED
    return str(raised.value.args[1])


def test_protecting(server: Server, tmp_path: Path) -> None:
    journal = Journal()

    async def scenario() -> None:
        async with pooled(tmp_path, row(server), journal=journal) as runtime:
            before = await client(runtime)
            assert await before.value("SELECT 1") == "1"
            assert await before.run("SELECT 'a', 'b'") == [("a", "b")]
            swap_firewall(runtime.services, firewall("PROTECTING", errormsg="not here"))
            for session in (before, await client(runtime), await client(runtime)):
                assert await session.value("SELECT 2") == "2"
                assert "not here" in await refused(session, "SELECT 'a', 'b'")
                assert "not here" in await refused(session, "SET @a = 1")
                assert "not here" in await refused(session, f"SELECT '{'x' * 400_000}', 'b'")
                assert await session.value("SELECT 3") == "3"
            assert screening(runtime).blocked == 9
            swap_firewall(runtime.services, Firewall.off())
            assert await before.run("SELECT 'a', 'b'") == [("a", "b")]

    go(scenario())
    told = [event for _, event, _ in journal.entries if event == "firewall blocks a statement"]
    assert 2 <= len(told) < 9  # once per decision


def test_detecting_and_off(mariadb: Server, tmp_path: Path) -> None:
    journal = Journal()

    async def scenario() -> None:
        async with pooled(tmp_path, row(mariadb), journal=journal) as runtime:
            session = await client(runtime)
            swap_firewall(runtime.services, firewall("DETECTING"))
            for _ in range(3):
                assert await session.run("SELECT 'a', 'b'") == [("a", "b")]
            assert screening(runtime).detected == 1
            swap_firewall(runtime.services, firewall("OFF"))
            assert await session.run("SELECT 'a', 'b', 'c'")
            assert screening(runtime).detected == 1

    go(scenario())
    assert [event for _, event, _ in journal.entries if event == "firewall detected a statement"]


def test_by_address(mariadb: Server, tmp_path: Path) -> None:
    """An address of its own counts, and clients who came by the fast greeter have theirs, too."""

    async def scenario() -> None:
        async with pooled(tmp_path, row(mariadb)) as runtime:
            swap_firewall(runtime.services, firewall("PROTECTING", client_address="127.0.0.1"))
            sessions = [await client(runtime) for _ in range(3)]
            for session in sessions:
                assert await session.value("SELECT 1") == "1"
                await refused(session, "SELECT 'a', 'b'")
            swap_firewall(runtime.services, firewall("PROTECTING", client_address="10.9.9.9"))
            for session in (sessions[0], await client(runtime)):
                await refused(session, "SELECT 1")

    go(scenario())


def test_prepared(server: Server, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pooled(tmp_path, row(server)) as runtime:
            session = await client(runtime)
            number = await session.prepare("SELECT 'a', 'b'")
            await session.execute(number)
            swap_firewall(runtime.services, firewall("PROTECTING"))
            for attempt in (session.execute(number), session.prepare("SELECT 'c', 'd'")):
                with pytest.raises(ServerError) as raised:
                    await attempt
                assert raised.value.number == BLOCKED
            assert await session.value("SELECT 4") == "4"

    go(scenario())
