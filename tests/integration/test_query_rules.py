# SPDX-License-Identifier: Apache-2.0
"""Query rules before two unlike servers, which tell who answered: hostgroup 0 and hostgroup 1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hproxy.errors import ConfigError
from hproxy.routing.rules import RuleSet
from hproxy.runtime import Runtime
from hproxy.runtime.watched import Watched
from hproxy.session.explaining import decision_rows, explain, scene_of
from hproxy.session.ruling import hits, swap_rules
from hproxy.telemetry.clock import unix_time
from tests.integration.conftest import direct
from tests.support.pooled import USER, Client, ServerError, client, go, pooled, until
from tests.support.server import Server

PORT = "SELECT @@port"
Rows = list[dict[str, Any]]


def rule(rule_id: int, **columns: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, "active": 1} | columns


def load(runtime: Runtime, rows: Rows, fast: Rows | None = None) -> None:
    compiled = RuleSet.compile(rows, fast or [])
    assert compiled.bad == ()
    swap_rules(runtime.services, compiled)


@pytest.fixture(params=[True, False], ids=["fast lane", "slow lane"])
def lane(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


class World:
    """Two hostgroups and rules."""

    def __init__(self, folder: Path, mariadb: Server, mysql: Server, lane: bool) -> None:
        self.folder = folder
        self.ports = [str(mariadb.port), str(mysql.port)]
        self.rows = [
            {"hostname": s.host, "port": s.port, "hostgroup_id": hostgroup}
            for hostgroup, s in enumerate((mariadb, mysql))
        ]
        self.options = {"fast_lane": lane}

    @asynccontextmanager
    async def up(
        self, rows: Rows, fast: Rows | None = None, users: Any = (USER,)
    ) -> AsyncIterator[Runtime]:
        async with pooled(self.folder, *self.rows, users=users, proxy=self.options) as runtime:
            load(runtime, rows, fast)
            yield runtime

    async def where(self, session: Client, sql: str = PORT) -> int:
        """The hostgroup that has answered."""
        return self.ports.index(await session.value(sql) or "")


@pytest.fixture
def world(tmp_path: Path, mariadb: Server, mysql9: Server, lane: bool) -> World:
    return World(tmp_path, mariadb, mysql9, lane)


def test_routing_and_hits(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="^SELECT @@port$", destination_hostgroup=1, apply=1),
            rule(2, username="nobody", destination_hostgroup=0, apply=1),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            assert [await world.where(session) for _ in range(3)] == [1, 1, 1]
            assert await world.where(session, "SELECT @@port + 0") == 0
            assert hits(runtime.services) == {1: 3, 2: 0}
            await session.run("BEGIN")
            assert await world.where(session) == 0, "a transaction stays where it is"
            await session.run("COMMIT")
            assert await world.where(session) == 1
            statement = await session.prepare(PORT)
            for _ in range(4):
                [row] = await session.execute(statement)
                assert int.from_bytes(row[2:4], "little") == int(world.ports[1])
            assert hits(runtime.services)[1] == 10  # it was prepared once

    go(work())


def test_swapped_live(world: World) -> None:
    async def work() -> None:
        async with world.up([]) as runtime:
            session = await client(runtime)
            statement = await session.prepare(PORT)

            async def executed() -> int:
                [row] = await session.execute(statement)
                return world.ports.index(str(int.from_bytes(row[2:4], "little")))

            assert (await world.where(session), await executed()) == (0, 0)
            load(runtime, [rule(1, destination_hostgroup=1)])
            assert (await world.where(session), await executed()) == (1, 1)
            other = await client(runtime)
            assert await world.where(other) == 1
            load(runtime, [rule(1, destination_hostgroup=0)])
            assert (await world.where(session), await executed()) == (0, 0)
            assert await world.where(await client(runtime)) == 0
            assert hits(runtime.services) == {1: 3}

    go(work())


def test_rewritten(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(
                1, match_pattern=r"^SELECT (\d+) AS old$", replace_pattern=r"SELECT \1 + 1 AS new"
            ),
            rule(2, match_pattern="^SELECT 'x'$", replace_pattern="SET @a = 7"),
            rule(3, match_pattern="^SELECT COUNT$", replace_pattern="SELECT @a"),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            for number in (5, 6, 5):
                assert await session.value(f"SELECT {number} AS old") == str(number + 1)
            assert await session.value("SELECT 7 AS other") == "7"
            # What runs is followed, not what was sent.
            await session.run("SELECT 'x'")
            assert await session.value("SELECT COUNT") == "7"
            statement = await session.prepare("SELECT 20 AS old")
            [row] = await session.execute(statement)
            assert row[2] == 21
            assert hits(runtime.services) == {1: 5, 2: 1, 3: 1}

    go(work())


def test_answers_of_rules(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="DROP", error_msg="not here", apply=1),
            rule(2, match_digest="^FLUSH", OK_msg="flushed in spirit", apply=1),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            for _ in range(2):
                with pytest.raises(ServerError, match="not here") as caught:
                    await session.run("DROP TABLE test.whatever")
                assert caught.value.number == 1148
                assert await session.run("FLUSH TABLES") == []
            with pytest.raises(ServerError, match="not here"):
                await session.prepare("DROP TABLE test.whatever")
            assert await session.value("SELECT 1") == "1"
            assert hits(runtime.services) == {1: 3, 2: 2}

    go(work())


def test_hints(world: World) -> None:
    async def work() -> None:
        rows = [rule(1, destination_hostgroup=0, apply=1)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            assert await world.where(session, "/* hostgroup=1 */ SELECT @@port") == 1
            assert await world.where(session, "/* nothing=1 */ SELECT @@port") == 0
            assert await world.where(session, "SELECT /* HostGroup = 1;x=2 */ @@port") == 1
            assert await world.where(session, "SELECT /* a */ @@port /* hostgroup=1 */") == 0
            assert await world.where(session, "SELECT @@port # /* hostgroup=1 */") == 0
            assert await world.where(session, "SELECT @@port, '/* hostgroup=1 */'"[:13]) == 0
            with pytest.raises(ServerError) as caught:
                await session.run("/* hostgroup=4711 */ SELECT 1")
            assert caught.value.number == 9001
            statement = await session.prepare("/* hostgroup=1 */ SELECT @@port")
            [row] = await session.execute(statement)
            assert int.from_bytes(row[2:4], "little") == int(world.ports[1])

    go(work())


def test_chains_and_what_the_text_says(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="@@port", flagOUT=5),
            rule(2, flagIN=5, match_pattern="'reader'", destination_hostgroup=1, apply=1),
            rule(3, destination_hostgroup=1),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)

            async def ask(word: str) -> int:
                [[port, _]] = await session.run(f"SELECT @@port, '{word}'")
                return world.ports.index(port or "")

            assert [await ask(w) for w in ("reader", "writer", "reader")] == [1, 0, 1]
            assert hits(runtime.services) == {1: 3, 2: 2, 3: 0}

    go(work())


def test_lots(world: World) -> None:
    async def work() -> None:
        weights = '{"flagOUTs": [{"id": 1, "weight": 1}, {"id": 2, "weight": 1}]}'
        rows = [
            rule(1, attributes=weights),
            rule(2, flagIN=1, destination_hostgroup=0, apply=1),
            rule(3, flagIN=2, destination_hostgroup=1, apply=1),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            seen = {await world.where(session) for _ in range(64)}
            assert seen == {0, 1}
            counted = hits(runtime.services)
            assert counted[1] == counted[2] + counted[3] == 64

    go(work())


def test_next_query(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="^SELECT 'down'|^SELECT \\?$", next_query_flagIN=1, apply=1),
            rule(2, flagIN=1, match_digest="@@port$", destination_hostgroup=1, apply=1),
            rule(3, flagIN=1, match_digest="@@port\\+", next_query_flagIN=0, apply=1),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            assert await world.where(session) == 0
            await session.run("SELECT 'down'")
            assert [await world.where(session) for _ in range(2)] == [1, 1]
            assert await world.where(session, "SELECT @@port + 0") == 0
            assert await world.where(session) == 0
            assert await world.where(await client(runtime)) == 0

    go(work())


def test_fast_routing_by_schema(world: World) -> None:
    async def work() -> None:
        fast = [
            {
                "username": "hproxy",
                "schemaname": "hproxy_shard1",
                "flagIN": 0,
                "destination_hostgroup": 1,
            }
        ]
        async with world.up([], fast) as runtime:
            session = await client(runtime)
            assert await world.where(session) == 0
            await session.run("/* hostgroup=1 */ CREATE DATABASE IF NOT EXISTS hproxy_shard1")
            await session.run("USE hproxy_shard1")
            assert await session.value("SELECT DATABASE()") == "hproxy_shard1"
            assert await world.where(session) == 1
            direct = await client(runtime, database="hproxy_shard1")
            assert await world.where(direct) == 1
            await session.command(b"\x02mysql")
            assert await world.where(session) == 0
            await session.command(b"\x02hproxy_shard1")
            assert await world.where(session) == 1
            await session.run("DROP DATABASE hproxy_shard1")

    go(work())


def test_by_where_the_client_comes_from(world: World) -> None:
    async def work() -> None:
        async with world.up([rule(1, client_addr="127.0.%", destination_hostgroup=1)]) as runtime:
            assert await world.where(await client(runtime)) == 1
            assert await world.where(await client(runtime)) == 1  # admitted without a look
            load(runtime, [rule(1, client_addr="10.%", destination_hostgroup=1)])
            assert await world.where(await client(runtime)) == 0
            port = int(runtime.listener.address.rpartition(":")[2])
            load(runtime, [rule(1, proxy_port=port, destination_hostgroup=1)])
            session = await client(runtime)
            assert await world.where(session) == 1
            load(runtime, [rule(1, proxy_port=port + 1, destination_hostgroup=1)])
            assert await world.where(session) == 0

    go(work())


def test_multiplex(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="^SELECT 'keep'|^SELECT \\? AS keep", multiplex=0),
            rule(2, match_digest="AS free", multiplex=1),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)

            def pins() -> list[str]:
                return [row["reason"] for row in runtime.port.pins()]

            await session.run("SELECT 1 AS keep")
            assert pins() == ["NO_MULTIPLEX"]
            first = await session.value("SELECT CONNECTION_ID()")
            assert await session.value("SELECT CONNECTION_ID()") == first
            assert await world.where(session, "/* hostgroup=1 */ SELECT @@port") == 1
            assert pins() == ["NO_MULTIPLEX"]
            await session.run("SELECT 1 AS free")
            assert pins() == []
            await session.run("SELECT 1 AS keep")
            await session.command(b"\x1f")
            assert pins() == []

    go(work())


def test_large_statements_are_judged(world: World) -> None:
    async def work() -> None:
        rows = [rule(1, match_digest="^SELECT LENGTH", error_msg="too much", apply=1)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            for size in (60_000, 2_000_000):
                with pytest.raises(ServerError, match="too much"):
                    await session.run(f"SELECT LENGTH('{'x' * size}')")
            assert await session.value(f"SELECT 1 + LENGTH('{'x' * 100_000}')") == "100001"
            assert hits(runtime.services) == {1: 2}

    go(work())


def test_delay(world: World) -> None:
    async def work() -> None:
        rows = [rule(1, match_digest="AS late", delay=300), rule(2, match_digest="@@port", delay=0)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            await session.value("SELECT 1 AS late")
            begun = monotonic()
            assert await session.value("SELECT 2 AS late") == "2"
            assert monotonic() - begun > 0.29
            statement = await session.prepare("SELECT 3 AS late")
            begun = monotonic()
            await session.execute(statement)
            assert monotonic() - begun > 0.29
            begun = monotonic()
            await world.where(session)
            assert monotonic() - begun < 0.29
            # Who leaves meanwhile is not waited for.
            other = await client(runtime)
            await other.send("SELECT 4 AS late")
            other.close()
            await until(lambda: len(runtime.services.registry) == 1, "the client gone")

    go(work())


def test_timeout(world: World) -> None:
    async def work() -> None:
        rows = [rule(1, match_digest="SLEEP", timeout=300)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            for hostgroup in (0, 1):
                hint = f"/* hostgroup={hostgroup} */ "
                begun = monotonic()
                # MySQL's SLEEP() ends with 1 when it is killed, unlike what reads rows.
                sql = hint + "SELECT COUNT(*), SLEEP(20) FROM information_schema.tables"
                if hostgroup == 0:
                    with pytest.raises(ServerError) as caught:
                        await session.run(sql)
                    assert caught.value.number == 1907
                else:
                    await session.run(sql)
                assert 0.28 < monotonic() - begun < 5
                assert await session.value(hint + "SELECT 1") == "1"
            assert runtime.services.counts.killed_queries == 2
            assert await session.value("SELECT SLEEP(0.01)") == "0"
            await session.run("BEGIN")
            with pytest.raises(ServerError) as caught:
                await session.run("SELECT SLEEP(20)")
            assert caught.value.number == 1907
            assert await session.value("SELECT 5") == "5"
            await session.run("ROLLBACK")

    go(work())


def test_explained(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="^SELECT @@port", flagOUT=2, timeout=7000),
            rule(2, flagIN=2, match_pattern="port", replace_pattern="PORT"),
            rule(3, flagIN=2, destination_hostgroup=1, apply=1, client_addr="10.%"),
        ]
        async with world.up(rows) as runtime:
            told = dict(explain(scene_of(runtime.services), PORT, "hproxy", "", "10.1.1.1"))
            assert "match_digest ^SELECT @@port" in told["rule 1"]
            assert told["rewritten"] == "SELECT @@PORT"
            assert told["decision"].startswith("hostgroup 1: query rule 1, 2, 3 (timeout = 7000)")
            assert "for this text" in told["kept"]
            told = dict(explain(scene_of(runtime.services), PORT, "hproxy", "", "127.0.0.1"))
            assert "rule 3" not in told
            assert told["decision"].startswith("hostgroup 0: the account's hostgroup")
            told = dict(
                explain(scene_of(runtime.services), "/* hostgroup=9 */ SELECT 1", "who", "")
            )
            assert "refused" in told["decision"]
            assert "no account" in told["account"]
            load(runtime, [rule(1, error_msg="never")])
            told = dict(explain(scene_of(runtime.services), PORT, "hproxy", ""))
            assert told["decision"] == "answered by the proxy, error_msg: never"
            assert hits(runtime.services) == {1: 0}

    go(work())


def test_decisions_are_listed(world: World) -> None:
    async def work() -> None:
        rows = [rule(1, match_digest="@@port", destination_hostgroup=1, apply=1)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            for _ in range(3):
                await world.where(session)
            found = [row for row in decision_rows(runtime.services) if row[3] == "SELECT @@port"]
            if world.options["fast_lane"]:
                [row] = found
                assert (row[0], *row[4:]) == ("hproxy", 1, None, "1", "query rule 1", 3)
            else:
                assert found == [], "nothing is kept without a fast lane"

    go(work())


def test_transactions_that_are_not_persistent(world: World) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="@@port", destination_hostgroup=1, apply=1),
            rule(2, match_digest="^INSERT|FROM test", destination_hostgroup=0, apply=1),
        ]
        users = [USER | {"transaction_persistent": 0}]
        async with world.up(rows, users=users) as runtime:
            session, other = await client(runtime), await client(runtime)
            await session.run("CREATE TABLE IF NOT EXISTS test.j_roams (a INT)")
            await session.run("DELETE FROM test.j_roams")
            await session.run("BEGIN")
            await session.run("INSERT INTO test.j_roams VALUES (1)")
            for _ in range(3):
                assert await world.where(session) == 1
                assert await session.value("SELECT COUNT(*) FROM test.j_roams") == "1"
            assert await other.value("SELECT COUNT(*) FROM test.j_roams") == "0"
            # What is set meanwhile holds on both.
            await session.run("/* hostgroup=1 */ SET @a = 5")
            assert await session.value("SELECT @a + COUNT(*) FROM test.j_roams") == "6"
            assert await session.value("/* hostgroup=1 */ SELECT @a") == "5"
            await session.run("COMMIT")
            assert await other.value("SELECT COUNT(*) FROM test.j_roams") == "1"
            # A transaction that waits ends with its session.
            await session.run("BEGIN")
            await session.run("DELETE FROM test.j_roams")
            await session.send("SELECT SLEEP(5), @@port")
            await until(
                lambda: any(
                    c.session is not None and c.session.aside is not None
                    for c in runtime.services.registry
                ),
                "a transaction aside",
            )
            session.close()
            await until(lambda: len(runtime.services.registry) == 1, "the client gone")
            assert await other.value("SELECT COUNT(*) FROM test.j_roams FOR UPDATE") == "1"
            # Two transactions, one here and one there: each ends for itself.
            session = await client(runtime)
            await session.run("BEGIN")
            await session.run("INSERT INTO test.j_roams VALUES (2)")
            await session.run("ROLLBACK")
            assert await other.value("SELECT COUNT(*) FROM test.j_roams") == "1"
            await session.run("BEGIN")
            await session.run("INSERT INTO test.j_roams VALUES (3)")
            assert await world.where(session) == 1
            await session.command(b"\x1f")
            assert await other.value("SELECT COUNT(*) FROM test.j_roams FOR UPDATE") == "1"
            await other.run("DROP TABLE test.j_roams")

    go(work())


def test_persistent_transactions_stay(world: World) -> None:
    async def work() -> None:
        rows = [rule(1, match_digest="@@port", destination_hostgroup=1, apply=1)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            await session.run("BEGIN")
            assert await world.where(session) == 0
            await session.run("ROLLBACK")
            assert await world.where(session) == 1

    go(work())


def test_variables(world: World, tmp_path: Path) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="@@port", flagOUT=1),
            rule(2, flagIN=1, match_digest="(?<!x)@@port", destination_hostgroup=1, apply=1),
        ]
        engine = {"mysql-query_processor_regex": "1"}
        async with pooled(
            tmp_path,
            *world.rows,
            proxy=world.options,
            mysql_query_rules=rows,
            mysql_variables={"query_processor_regex": 1},
        ) as runtime:
            session = await client(runtime)

            async def change(**values: int) -> None:
                given = engine | {f"mysql-{name}": str(value) for name, value in values.items()}
                table = [
                    {"variable_name": name, "variable_value": given.get(name, value)}
                    for name, value in runtime.services.variables.items("mysql-")
                ]
                await runtime.port.load("mysql_variables", {"global_variables": table})

            assert await world.where(session) == 1
            with pytest.raises(ConfigError, match="match_digest"):
                await change(query_processor_regex=2)
            assert await world.where(session) == 1
            await change(default_query_timeout=1000)
            assert await session.error("SELECT SLEEP(9) FROM information_schema.tables") == 1907
            await change(default_query_delay=250)
            begun = monotonic()
            assert await world.where(session) == 1
            assert monotonic() - begun > 0.24
            await change(default_query_delay=0)
            begun = monotonic()
            assert await world.where(session) == 1
            assert monotonic() - begun < 0.24

    go(work())


def test_retries(world: World, mariadb: Server) -> None:
    async def work() -> None:
        rows = [
            rule(1, match_digest="AS never", retries=0),
            rule(2, match_digest="AS unused", reconnect=0, retries=3),
            rule(3, match_digest="AS again", retries=2),
        ]
        async with world.up(rows) as runtime:
            session = await client(runtime)

            async def killed(name: str, times: int = 1) -> None:
                """Ask, and have the connection killed under the statement."""
                await session.send(f"SELECT SLEEP(0.7) AS {name}")
                for _ in range(times):
                    [[number]] = await asyncio.to_thread(found, name)
                    await asyncio.to_thread(direct, mariadb, f"KILL {number}")

            def found(name: str) -> Any:
                end = monotonic() + 10
                ask = (
                    "SELECT id FROM information_schema.processlist WHERE command = 'Query' AND"
                    f" info LIKE 'SELECT SLEEP(0.7) AS {name}' AND state = 'User sleep'"
                )
                seen = direct(mariadb, ask)
                while not seen:
                    assert monotonic() < end
                    seen = direct(mariadb, ask)
                return seen

            for name in ("never", "unused"):
                await killed(name)
                with pytest.raises(ServerError):
                    await session.read()
            await killed("again", 2)
            assert await session.read() == [("0",)]

    go(work())


def test_hits_of_many_combinations(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hproxy.session.ruling.MOST_TALLIES", 3)

    async def work() -> None:
        rows = [rule(n, match_pattern=f"-{n}-") for n in range(1, 6)]
        async with world.up(rows) as runtime:
            session = await client(runtime)
            statement = await session.prepare("SELECT '-1-'")
            expected = {1: 1, 2: 0, 3: 0, 4: 0, 5: 0}
            for number in range(40):
                named = [n for n in range(1, 6) if number & 1 << n]
                await session.run(f"SELECT '{''.join(f'-{n}-' for n in named)}'")
                await session.execute(statement)
                for n in [1, *named]:
                    expected[n] += 1
            assert len(runtime.services.sharing.tallies) <= 3
            assert hits(runtime.services) == expected

    go(work())


def test_swapped_under_load(world: World) -> None:
    """Rules change all the time: no statement fails, none is lost, and the last set counts all."""

    async def work() -> None:
        async with world.up([]) as runtime:
            crowd = [await client(runtime) for _ in range(6)]
            statements = [await each.prepare(PORT) for each in crowd]
            going = True

            async def ask(session: Client, statement: int) -> int:
                asked = 0
                while going:
                    assert await session.value("SELECT 7 AS seven") == "7"
                    assert len(await session.execute(statement)) == 1
                    await session.run("SET @a = 1")
                    assert await session.value("SELECT @a") == "1"
                    asked += 1
                return asked

            work = [
                asyncio.create_task(ask(each, statement))
                for each, statement in zip(crowd, statements, strict=True)
            ]
            for turn in range(60):
                hostgroup = turn % 2
                rows = [rule(n, match_digest=f"t{n}") for n in range(2, 40)]
                rows.append(rule(1, match_digest="SELECT", destination_hostgroup=hostgroup))
                load(runtime, rows)
                await asyncio.sleep(0.01)
            going = False
            assert min(await asyncio.gather(*work)) > 0
            load(runtime, [rule(1, match_digest="SELECT")])
            for each, statement in zip(crowd, statements, strict=True):
                await each.value("SELECT 7 AS seven")
                await each.execute(statement)
            assert hits(runtime.services) == {1: 12}

    go(work())


def test_a_fresh_server_is_chosen_among_several(world: World, mysql9: Server) -> None:
    """The one that is behind is left out; where the others are full, the read goes home."""
    behind = {"hostname": mysql9.host, "port": mysql9.port, "hostgroup_id": 2}
    world.rows += [behind, world.rows[0] | {"hostgroup_id": 2, "max_connections": 2}]

    async def work() -> None:
        async with world.up([]) as runtime:
            session = await client(runtime)
            monitors = Watched(runtime)
            hint = "/* hostgroup=2; max_lag_ms=2000 */ "
            seen: set[int] = set()
            async with asyncio.timeout(20):
                while seen != {0, 1}:
                    seen.add(await world.where(session, hint + PORT))
            monitors.measured(2, mysql9.host, mysql9.port, 5)
            assert {await world.where(session, hint + PORT) for _ in range(40)} == {0}
            # Both connections there may be are taken.
            others = [await client(runtime) for _ in range(2)]
            for other in others:
                await other.run(hint + "SELECT GET_LOCK('fresh', 0)")
            delayed = runtime.services.counters.lag_delayed
            assert await world.where(session, hint + PORT) == 0  # at home, which is MariaDB too
            assert runtime.services.counters.lag_delayed == delayed + 1
            groups = runtime.services.sharing.pools.groups.values()
            assert sum(group.acquired for group in groups if group.hostgroup == 0)
            for other in others:
                await other.run("SELECT RELEASE_ALL_LOCKS()")

    go(work())


def test_a_connection_of_its_own(world: World) -> None:
    """create_new_connection: one that nobody had; where none may be opened, any."""
    world.rows[1] |= {"max_connections": 3}

    async def work() -> None:
        async with world.up([]) as runtime:
            session = await client(runtime)
            usual, wanted = "/* hostgroup=1 */ ", "/* hostgroup=1; create_new_connection=1 */ "
            sql = "SELECT CONNECTION_ID()"
            first = await session.value(usual + sql)
            assert await session.value(usual + sql) == first
            found = [await session.value(wanted + sql) for _ in range(2)]
            assert len({first, *found}) == 3
            # The hostgroup is full: what is there is used.
            assert await session.value(wanted + sql) in {first, *found}
            # A transaction stays on its connection.
            await session.run("/* hostgroup=1 */ BEGIN")
            inside = await session.value(usual + sql)
            assert await session.value(wanted + sql) == inside
            await session.run("ROLLBACK")

    go(work())


def test_hints_of_freshness(world: World, mysql9: Server) -> None:
    """A read that is to be fresh goes home from a hostgroup whose server is behind."""

    async def work() -> None:
        async with world.up([]) as runtime:
            counters, session = runtime.services.counters, await client(runtime)
            monitors = Watched(runtime)

            async def asked(hints: str) -> int:
                return await world.where(session, f"/* hostgroup=1; {hints} */ {PORT}")

            assert await asked("max_lag_ms=0") == 1  # not measured
            monitors.measured(1, mysql9.host, mysql9.port, 5)
            for _ in range(2):  # decided, and by what was decided
                assert await asked("max_lag_ms=4999") == 0
                assert await asked("max_lag_ms=5000") == 1
                now = int(unix_time() * 1000)
                assert await asked(f"min_epoch_ms={now - 1000}") == 0
                assert await asked(f"min_epoch_ms={now - 60_000}") == 1
                assert await asked(f"min_epoch_ms={now + 60_000}") == 1
                assert await asked(f"min_epoch_ms={now - 60_000}; max_lag_ms=10") == 0
            assert await asked("cache_ttl=0") == 1
            monitors.measured(1, mysql9.host, mysql9.port, 0)
            assert await asked("max_lag_ms=4999") == 1
            assert counters.lag_delayed == 6
            assert counters.lag_limited >= 12
            # A transaction stays where it began.
            monitors.measured(1, mysql9.host, mysql9.port, 5)
            await session.run("/* hostgroup=1 */ BEGIN")
            assert await asked("max_lag_ms=0") == 1
            await session.run("ROLLBACK")

    go(work())
