# SPDX-License-Identifier: Apache-2.0
"""How many connections are opened, who gets them, and when they are closed.

The worker runs inside the test; a gateway in front of the real server counts what arrives there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.pool import upkeep
from hproxy.runtime import Runtime
from tests.support.gateway import Gateway
from tests.support.pooled import Client, ServerError, client, clients, go, pooled, row, until
from tests.support.server import Server
from tests.support.worker import Journal

USERS = [{"username": name, "password": name} for name in ("hproxy", "ed", "native")]


async def demand(sessions: list[Client], seconds: float) -> list[int]:
    """Every session asks as fast as it is answered; how often each was."""
    end = monotonic() + seconds

    async def ask(session: Client) -> int:
        asked = 0
        while monotonic() < end:
            await session.run("SELECT 1")
            asked += 1
        return asked

    return list(await asyncio.gather(*map(ask, sessions)))


async def longest_gap(sessions: list[Client], seconds: float) -> int:
    """As `demand`: the most answers others had between two of one session.

    Totals drift apart in a perfect line too: two requests that arrive in one turn of
    the loop are read in any order, and the places won and lost so add up. For the same
    reason, and because loopback delivers a packet late now and then, a gap may pass one
    round of all; without a line it is hundreds of rounds.
    """
    end = monotonic() + seconds
    answered = 0
    gaps: list[int] = []

    async def ask(session: Client) -> None:
        nonlocal answered
        last = answered
        while monotonic() < end:
            await session.run("SELECT 1")
            gaps.append(answered - last)
            answered += 1
            last = answered

    await asyncio.gather(*map(ask, sessions))
    assert len(gaps) >= 2 * len(sessions)
    return max(gaps)


async def settled(gateway: Gateway, runtime: Runtime) -> None:
    """The questions of the start are answered; what is counted from now on is pools'."""
    await until(lambda: not len(runtime.services.tasks) - 1, "nothing but upkeep is under way")
    gateway.peak = gateway.open


# -- limits -------------------------------------------------------------------


def test_limit_holds_over_all_users_and_kinds(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": 5}, users=USERS) as runtime,
        ):
            everybody: list[Client] = []
            for user in ("hproxy", "ed", "native"):
                for database in ("", "test"):
                    login = {"user": user, "database": database}
                    if user == "hproxy" or not database:
                        everybody += await clients(runtime, 5, **login)
            await settled(gateway, runtime)
            asked = await demand(everybody, 1.5)
            assert min(asked) > 0
            assert gateway.peak <= 5
            [backend] = runtime.port.backends()
            assert backend.connections <= 5

    go(work())


def two_rows(limit: int) -> list[dict[str, Any]]:
    """Many clients of a user that may have few connections to backends."""
    user = {"username": "hproxy", "password": "hproxy"}
    return [
        user | {"backend": 0},
        user | {"frontend": 0, "max_connections": limit},
        USERS[1],
    ]


def test_limit_of_a_user(tmp_path: Path, mariadb: Server) -> None:
    """It holds over all groups of the user, which take turns; others are not held up."""

    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": 20}, users=two_rows(2)) as runtime,
        ):
            mine = await clients(runtime, 5)
            mine += await clients(runtime, 5, database="test")
            await settled(gateway, runtime)
            assert min(await demand(mine, 1.0)) > 0
            assert gateway.peak == 2
            other = await client(runtime, "ed")
            begun = monotonic()
            await other.run("SELECT 1")
            assert monotonic() - begun < 1.0

    go(work())


@pytest.mark.parametrize("databases", [("", "test"), ("test", "")])
def test_an_idle_connection_of_the_same_user_gives_way(
    tmp_path: Path, mariadb: Server, databases: tuple[str, str]
) -> None:
    """A user at its limit is not locked out by what another of its groups does not use."""

    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row, users=two_rows(1)) as runtime,
        ):
            for database in databases * 2:
                session = await client(runtime, database=database)
                begun = monotonic()
                await session.run("SELECT 1")
                assert monotonic() - begun < 2.0
            await settled(gateway, runtime)
            assert gateway.open == 1

    go(work())


def test_wait_ends_with_how_long_it_was(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        journal = Journal()
        async with (
            Gateway(mariadb) as gateway,
            pooled(
                tmp_path,
                gateway.row | {"max_connections": 1},
                journal=journal,
                proxy={"connect_timeout_max_ms": 700, "connect_timeout_ms": 500},
            ) as runtime,
        ):
            holder, waiter = await clients(runtime, 2)
            await holder.run("BEGIN")
            begun = monotonic()
            with pytest.raises(ServerError) as refused:
                await waiter.run("SELECT 1")
            took = (monotonic() - begun) * 1000
            assert refused.value.number == 9001
            told = int(str(refused.value.args[1]).split("after ")[1].split("ms")[0])
            assert 700 <= told <= took + 20
            assert took < 2500
            [line] = journal.told("no connection in time")
            assert line["code"] == "pool.timeout"
            assert line["pins"] == {"TRANSACTION": 1}
            await holder.run("COMMIT")
            assert await waiter.value("SELECT 2") == "2"  # the session lives on

    go(work())


def test_queue_has_a_limit(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(
                tmp_path, gateway.row | {"max_connections": 1}, proxy={"queue_limit": 3}
            ) as runtime,
        ):
            holder, *others = await clients(runtime, 5)
            await holder.run("BEGIN")
            for waiter in others[:3]:
                await waiter.send("SELECT 3")
            await until(lambda: row(runtime)["waiting"] == 3, "three wait")
            assert await others[3].error("SELECT 3") == 9001
            await holder.run("COMMIT")
            for waiter in others[:3]:
                assert await waiter.read() == [("3",)]
            assert await others[3].value("SELECT 4") == "4"

    go(work())


def test_throttled_opening(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row, proxy={"throttle_connections_per_sec": 3}) as runtime,
        ):
            sessions = await clients(runtime, 7)
            await settled(gateway, runtime)
            begun = monotonic()
            await asyncio.gather(*(session.run("BEGIN") for session in sessions))
            # Seven at three a second, one of them open before: two full seconds at least.
            assert 1.0 < monotonic() - begun < 5.0
            assert gateway.open == 7

    go(work())


# -- sharing ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "demands"),
    [
        (4, {"hproxy": 8, "ed": 8}),
        (5, {"hproxy": 8, "ed": 8}),
        (4, {"hproxy": 12, "ed": 1}),
        (6, {"hproxy": 8, "ed": 8, "native": 8}),
    ],
)
def test_a_full_backend_is_shared(
    tmp_path: Path, mariadb: Server, limit: int, demands: dict[str, int]
) -> None:
    """Everybody gets a part, and the parts do not change hands all the time."""

    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": limit}, users=USERS) as runtime,
        ):
            sessions = {u: await clients(runtime, n, user=u) for u, n in demands.items()}
            await settled(gateway, runtime)
            await demand([s for each in sessions.values() for s in each], 0.5)
            logins = gateway.opened
            await asyncio.gather(*(demand(each, 1.0) for each in sessions.values()))
            has = {str(each["user"]): each["used"] + each["free"] for each in runtime.port.pools()}
            assert sum(has.values()) == limit
            for user, wanted in demands.items():
                assert has[user] >= min(wanted, limit // len(demands)), has
            assert gateway.opened - logins <= 2
            assert gateway.peak <= limit

    go(work())


def test_more_users_than_connections_take_turns(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": 2}, users=USERS) as runtime,
        ):
            sessions = [await clients(runtime, 4, user=str(u["username"])) for u in USERS]
            await settled(gateway, runtime)
            logins = gateway.opened
            asked = await asyncio.gather(*(demand(each, 3.0) for each in sessions))
            parts = [sum(each) for each in asked]
            assert min(parts) * 6 > max(parts), parts
            # A turn lasts a tenth of a second or so.
            assert gateway.opened - logins < 60
            assert gateway.peak <= 2

    go(work())


def test_a_third_user_gets_in_at_once(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": 4}, users=USERS) as runtime,
        ):
            busy = await clients(runtime, 8) + await clients(runtime, 8, user="ed")
            load = asyncio.ensure_future(demand(busy, 3.0))
            third = await client(runtime, "native")
            await asyncio.sleep(0.5)
            begun = monotonic()
            await third.run("SELECT 1")
            assert monotonic() - begun < 1.0
            assert min(await load) > 0

    go(work())


def test_sessions_of_a_user_wait_in_line(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": 2}) as runtime,
        ):
            assert await longest_gap(await clients(runtime, 30), 1.5) < 4 * 30

    go(work())


def test_many_clients_on_few_connections(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row | {"max_connections": 16}) as runtime,
        ):
            sessions: list[Client] = []
            for _ in range(15):
                sessions += await clients(runtime, 100)
            await settled(gateway, runtime)
            begun = monotonic()
            answers = await asyncio.gather(
                *(s.value(f"SELECT {n}") for n, s in enumerate(sessions))
            )
            assert answers == [str(n) for n in range(1500)]
            took = monotonic() - begun
            assert await longest_gap(sessions, 3.0) < 4 * len(sessions)
            assert gateway.peak <= 16
            assert took < 10.0
            assert row(runtime)["waiting"] == 0

    go(work(), 110.0)


# -- no herd ------------------------------------------------------------------


def test_no_more_are_opened_than_wait(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with Gateway(mariadb) as gateway, pooled(tmp_path, gateway.row) as runtime:
            sessions = await clients(runtime, 3)
            await settled(gateway, runtime)
            for _ in range(50):
                await asyncio.gather(*(session.run("SELECT 1") for session in sessions))
            assert gateway.peak <= 3

    go(work())


def test_a_dead_backend_is_tried_once_at_a_time(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        journal = Journal()
        async with (
            Gateway(mariadb) as gateway,
            pooled(tmp_path, gateway.row, journal=journal) as runtime,
        ):
            sessions = await clients(runtime, 60)
            await settled(gateway, runtime)
            gateway.close()
            await until(lambda: row(runtime)["free"] == 0, "idle connections are gone")
            asked = gateway.attempts
            for session in sessions:
                await session.send("SELECT 7")
            # The first try fails for all that were begun with it.
            await until(lambda: gateway.attempts > asked + 1, "it is tried again")
            await until(lambda: row(runtime)["connecting"] <= 1, "one at a time")
            first, begun = gateway.attempts, monotonic()
            await until(lambda: gateway.attempts >= first + 8, "and again")
            assert monotonic() - begun >= 1.0  # every 0.2 s
            assert gateway.attempts - asked <= 64 + 12
            gateway.reopen()
            for session in sessions:
                assert await session.read() == [("7",)]

    go(work())


# -- upkeep -------------------------------------------------------------------


def test_idle_ones_beyond_the_share_are_closed(
    tmp_path: Path, mariadb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "IDLE_SPARE_SEC", 2.0)

    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            # Pings are no use of a connection: those asked every second are spare all the same.
            pooled(
                tmp_path,
                gateway.row | {"max_connections": 20},
                users=USERS,
                proxy={"free_connections_pct": 10, "ping_interval_server_msec": 1000},
            ) as runtime,
        ):
            sessions = await clients(runtime, 6) + await clients(runtime, 3, user="ed")
            await asyncio.gather(*(session.run("BEGIN") for session in sessions))
            await asyncio.gather(*(session.run("COMMIT") for session in sessions))
            assert gateway.open == 9
            await until(lambda: gateway.open == 2, "a tenth of twenty is left")
            shared = runtime.services.multiplex
            assert shared is not None
            idle = [each for bucket in shared.pools for each in bucket.connections()]
            asked = [each.asked_at for each in idle]
            await until(
                lambda: all(
                    each.asked_at > before for each, before in zip(idle, asked, strict=True)
                ),
                "both were asked once more",
            )
            assert gateway.open == 2

    go(work())


def test_old_connections_are_closed(tmp_path: Path, mariadb: Server) -> None:
    """Idle or in constant use: none is kept beyond its age."""

    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(
                tmp_path,
                gateway.row | {"max_connections": 2},
                proxy={"connection_max_age_ms": 1000},
            ) as runtime,
        ):
            sessions = await clients(runtime, 8)
            seen: set[str | None] = set()
            end = monotonic() + 3.5
            while monotonic() < end:
                seen.update(
                    await asyncio.gather(*(s.value("SELECT CONNECTION_ID()") for s in sessions))
                )
            assert 4 <= len(seen) <= 12
            assert gateway.peak <= 3
            await until(lambda: gateway.open == 0, "idle ones grow old as well")
            assert await sessions[0].value("SELECT 1") == "1"

    go(work())


def test_a_ping_finds_a_silent_death(tmp_path: Path, mariadb: Server) -> None:
    """A black hole says nothing: who asks finds out, before a client does."""

    async def work() -> None:
        journal = Journal()
        async with (
            Gateway(mariadb) as gateway,
            pooled(
                tmp_path,
                gateway.row,
                journal=journal,
                proxy={"ping_interval_server_msec": 500, "ping_timeout_server": 100},
            ) as runtime,
        ):
            session = await client(runtime)
            await session.run("SET @a = 5")
            before = await session.value("SELECT CONNECTION_ID()")
            gateway.freeze()
            await until(
                lambda: journal.told("idle connection does not answer") != [], "it is found"
            )
            gateway.thaw()
            assert await session.value("SELECT @a") == "5"
            assert await session.value("SELECT CONNECTION_ID()") != before

    go(work())


def test_warming(tmp_path: Path, mariadb: Server) -> None:
    async def work() -> None:
        async with (
            Gateway(mariadb) as gateway,
            pooled(
                tmp_path,
                gateway.row | {"max_connections": 8},
                proxy={"connection_warming": True, "free_connections_pct": 50},
            ) as runtime,
        ):
            session = await client(runtime)
            await until(lambda: row(runtime)["free"] == 4, "half of eight are there")
            assert gateway.open == 4
            gateway.cut()
            await until(lambda: row(runtime)["free"] == 4, "and there again")
            assert await session.value("SELECT 1") == "1"

    go(work())
