# SPDX-License-Identifier: Apache-2.0
"""Guessing passwords at a real worker, and logins that are expensive to check."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import pytest

from hproxy.dial.converse import Refusal
from hproxy.protocols.mysql.scramble import sha256_crypt
from hproxy.runtime import Runtime
from tests.support.pooled import client, go, pooled
from tests.support.server import Server

SALT = b"abcdefghijklmnopqrst"
SLOW_HASH = f"$A$005${(SALT + sha256_crypt(b'hproxy', SALT, 5000)).decode()}"
DENIED, BLOCKED = 1045, 1129


def row(server: Server) -> dict[str, Any]:
    return {"hostname": server.host, "port": server.port}


async def outcome(runtime: Runtime, user: str, password: str) -> int:
    """The number of the refusal; 0 for who was let in."""
    try:
        (await client(runtime, user, password)).close()
    except Refusal as refusal:
        number = refusal.error.facts["number"]
        assert isinstance(number, int)
        return number
    return 0


async def guesses(runtime: Runtime, user: str, count: int) -> list[int]:
    return [await outcome(runtime, user, f"wrong{number}") for number in range(count)]


def test_guessing_ends(server: Server, tmp_path: Path) -> None:
    limits = {"login_failures_per_host": 20, "login_failures_per_account": 0}

    async def scenario() -> None:
        users = [{"username": name, "password": name} for name in ("hproxy", "other")]
        async with pooled(tmp_path, row(server), users=users, proxy=limits) as runtime:
            assert await outcome(runtime, "hproxy", "hproxy") == 0
            assert await outcome(runtime, "hproxy", "hproxy") == 0  # the fast greeter's
            found = await guesses(runtime, "other", 30)
            assert found == [DENIED] * 20 + [BLOCKED] * 10
            # Not even the right one is told from others, on neither lane ...
            assert await outcome(runtime, "other", "other") == BLOCKED
            # ... but who was here before is not locked out.
            assert await outcome(runtime, "hproxy", "hproxy") == 0
            assert runtime.services.guard.refused == 11

    go(scenario())


def test_the_fast_greeter_obeys(mariadb: Server, tmp_path: Path) -> None:
    """What it knows does not help a guesser whose address is blocked."""
    limits = {"login_failures_per_host": 20, "login_failures_per_account": 0}

    async def scenario() -> None:
        async with pooled(tmp_path, row(mariadb), proxy=limits) as runtime:
            assert await outcome(runtime, "hproxy", "hproxy") == 0
            assert await outcome(runtime, "hproxy", "hproxy") == 0
            await guesses(runtime, "hproxy", 60)
            # Its own small bucket is empty as well now.
            assert await outcome(runtime, "hproxy", "hproxy") == BLOCKED

    go(scenario())


def test_names_without_an_account_are_blocked_alike(mariadb: Server, tmp_path: Path) -> None:
    limits = {"login_failures_per_host": 0, "login_failures_per_account": 5}

    async def scenario() -> None:
        async with pooled(tmp_path, row(mariadb), proxy=limits) as runtime:
            assert await guesses(runtime, "hproxy", 8) == await guesses(runtime, "nobody", 8)

    go(scenario())


@pytest.mark.parametrize("secret", ["hproxy", SLOW_HASH])
def test_unknown_names_take_as_long(secret: str, mysql9: Server, tmp_path: Path) -> None:
    """Medians of interleaved guesses, with room for noise: a slow check is twenty times as long
    as all the rest."""

    async def scenario() -> None:
        users = [{"username": "hproxy", "password": secret}]
        async with pooled(
            tmp_path, row(mysql9), users=users, proxy={"login_failures_per_host": 0}
        ) as runtime:
            times: dict[str, list[float]] = {"hproxy": [], "nobody": []}
            for turn in range(30):
                for name, taken in times.items():
                    begun = perf_counter()
                    assert await outcome(runtime, name, f"wrong{turn}") == DENIED
                    taken.append(perf_counter() - begun)
            known, unknown = (sorted(taken)[15] for taken in times.values())
            assert unknown / known == pytest.approx(1, abs=0.5)

    go(scenario())


def test_a_flood_of_slow_checks_stalls_nobody(mysql9: Server, tmp_path: Path) -> None:
    async def scenario() -> None:
        users = [
            {"username": "hproxy", "password": "hproxy"},
            {"username": "slow", "password": SLOW_HASH},
        ]
        limits = {"login_failures_per_host": 0, "login_failures_per_account": 0}
        async with pooled(tmp_path, row(mysql9), users=users, proxy=limits) as runtime:
            session = await client(runtime)
            await session.run("SELECT 1")
            flood = [asyncio.ensure_future(guesses(runtime, "slow", 10)) for _ in range(20)]
            waits = []
            while not all(task.done() for task in flood):
                begun = monotonic()
                await session.run("SELECT 1")
                waits.append(monotonic() - begun)
            assert {number for task in flood for number in task.result()} == {DENIED}
            # One check takes 2.5 to 7 ms; 20 at once would keep a statement waiting for 50 to 140.
            assert sorted(waits)[len(waits) // 2] < 0.02

    go(scenario())
