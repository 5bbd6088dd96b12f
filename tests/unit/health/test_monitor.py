# SPDX-License-Identifier: Apache-2.0
"""The scheduler with servers that answer, hang, refuse and die; intervals of milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hproxy.errors import BackendError
from hproxy.health import (
    Address,
    ClusterHostgroups,
    NameCache,
    ReplicationHostgroups,
    Server,
    View,
)
from tests.support.health import (
    Fakes,
    FakeValues,
    World,
    answers,
    apply,
    monitoring,
    show,
    until,
)

A, B, C = (Address(host, 3306) for host in "abc")
PAIR = ReplicationHostgroups(writer=10, reader=20)
QUICK = {
    "monitor_connect_interval": 30,
    "monitor_ping_interval": 30,
    "monitor_read_only_interval": 20,
    "monitor_replication_lag_interval": 20,
    "monitor_groupreplication_healthcheck_interval": 20,
    "monitor_galera_healthcheck_interval": 20,
    "monitor_connect_timeout": 60,
    "monitor_ping_timeout": 60,
    "monitor_read_only_timeout": 60,
    "monitor_replication_lag_timeout": 60,
    "monitor_groupreplication_healthcheck_timeout": 60,
    "monitor_galera_healthcheck_timeout": 60,
}
PING, CONNECT, READ_ONLY, LAG = (
    f"mysql_server_{name}_log" for name in ("ping", "connect", "read_only", "replication_lag")
)


class Log:
    """Lines, for tests that count them."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def info(self, event: str, /, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, /, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, /, **fields: Any) -> None:
        self.lines.append(("error", event, fields))


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(bounded())


def two(read_only_a: int = 0, read_only_b: int = 1) -> tuple[World, Fakes]:
    """a writes, b reads."""
    world = World([Server(10, "a", 3306), Server(20, "b", 3306)], replication=[PAIR])
    fakes = Fakes()
    fakes[A].answers["SELECT @@global.read_only"] = answers(read_only=read_only_a)
    fakes[B].answers["SELECT @@global.read_only"] = answers(read_only=read_only_b)
    return world, fakes


def test_all_is_well() -> None:
    async def scene() -> None:
        world, fakes = two()
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 10, "read_only rows")
            await until(lambda: len(monitor.rows(PING)) >= 4, "ping rows")
            counters = monitor.counters()
            rows = {row[:2]: row for row in monitor.rows(READ_ONLY)}
            assert rows[A][4:] == (0, None)
            assert rows[B][4:] == (1, None)
            assert all(row[3] > 0 for row in monitor.rows(READ_ONLY))
            assert {row[4] for row in monitor.rows(PING)} == {None}
        assert world.events == []
        # One connection per server is kept, whatever is asked on it, and closed in the end.
        connects = len(monitor.rows(CONNECT))
        assert fakes[A].dials + fakes[B].dials <= connects + 4
        assert fakes[A].connections == fakes[B].connections == []
        assert counters["MySQL_Monitor_read_only_check_OK"] >= 10
        assert counters["MySQL_Monitor_read_only_check_ERR"] == 0
        assert any(sql.startswith("SET wait_timeout=") for sql in fakes[A].asked)

    play(scene)


def test_roles_are_swapped() -> None:
    async def scene() -> None:
        world, fakes = two()
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 2)
            fakes[A].answers["SELECT @@global.read_only"] = answers(read_only=1)
            fakes[B].answers["SELECT @@global.read_only"] = answers(read_only=0)
            await until(lambda: world.members(10) == {B} and world.members(20) == {A, B})

    play(scene)


def test_silent_server_is_shunned_and_returns() -> None:
    async def scene() -> None:
        world, fakes = two()
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(PING)) >= 2)
            fakes[A].hush()
            await until(lambda: A in world.shunned, "shunned")
            # One probe waits for it, and no other check troubles it; b is served as before.
            assert fakes[A].most_waiting == 1
            before = [len([r for r in monitor.rows(READ_ONLY) if r[:2] == x]) for x in (A, B)]
            await until(
                lambda: len([r for r in monitor.rows(READ_ONLY) if r[:2] == B]) > before[1] + 5
            )
            assert len([r for r in monitor.rows(READ_ONLY) if r[:2] == A]) <= before[0] + 1
            fakes[A].wake()
            await until(lambda: A not in world.shunned, "back")
            assert B not in world.shunned
        shuns = [event for event in world.events if event[0] == "shun"]
        assert shuns[0][2].startswith("3 pings in a row failed: timeout")
        assert [event for event in world.events if event[0] == "back"] == [("back", A)]

    play(scene)


def test_silent_writer_becomes_reader() -> None:
    async def scene() -> None:
        world, fakes = two()
        values = FakeValues(**QUICK | {"monitor_ping_interval": 10_000})
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 2)
            fakes[A].hush()
            await until(lambda: world.members(10) == set(), "no writer")
            late = [row for row in monitor.rows(READ_ONLY) if row[:2] == A and row[5] is not None]
            assert len(late) >= 3
            assert all(row[3] == 0 and row[4] is None for row in late)
            fakes[A].wake()
            await until(lambda: world.members(10) == {A}, "writer again")

    play(scene)


def test_silent_writer_that_refuses_us_is_writer_again_when_it_answers() -> None:
    """The monitor's account was never made there: no `read_only = 0` will ever bring it back."""

    async def scene() -> None:
        world, fakes = two()
        values = FakeValues(**QUICK | {"monitor_ping_interval": 10_000})
        fakes[A].password = "another"
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 2)
            fakes[A].hush()
            await until(lambda: world.members(10) == set(), "no writer")
            fakes[A].wake()
            await until(lambda: world.members(10) == {A}, "writer again")

    play(scene)


def test_killed_server_is_asked_again_when_it_is_back() -> None:
    async def scene() -> None:
        world, fakes = two()
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(PING)) >= 2)
            fakes[A].die()
            await until(lambda: A in world.shunned)
            assert any("Connection refused" in str(row[4]) for row in monitor.rows(PING))
            fakes[A].gone = False
            await until(lambda: A not in world.shunned)

    play(scene)


def test_a_connection_lost_while_idle_is_no_failure() -> None:
    async def scene() -> None:
        world, fakes = two()
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 4)
            for connection in fakes[A].connections:
                connection.lost = True
            rows = len(monitor.rows(READ_ONLY))
            await until(lambda: len(monitor.rows(READ_ONLY)) >= rows + 6)
            assert all(row[5] is None for row in monitor.rows(READ_ONLY))

    play(scene)


def test_without_an_account_refusals_are_no_news() -> None:
    async def scene() -> None:
        world, fakes = two()
        log = Log()
        values = FakeValues(**QUICK, monitor_username="", monitor_password="wrong")
        async with monitoring(world, fakes.dial, values, log=log) as monitor:
            await until(lambda: len(monitor.rows(PING)) >= 4)
            assert [line for line in log.lines if line[0] == "warning"] == []
            assert world.events == [], "who refuses lives"

    play(scene)


def test_wrong_password_is_told_once_per_ping_and_shuns_nobody() -> None:
    async def scene() -> None:
        world, fakes = two()
        log = Log()
        values = FakeValues(**QUICK, monitor_password="wrong")
        async with monitoring(world, fakes.dial, values, log=log) as monitor:
            await until(lambda: len(monitor.rows(PING)) >= 12)
            pings = len(monitor.rows(PING))
            warnings = [line for line in log.lines if line[0] == "warning"]
            assert abs(len(warnings) - pings) <= 2
            assert {line[2]["failure"] for line in warnings} == {"denied"}
            assert "wrong" not in str(log.lines)
            assert world.events == []
            # The right one acts at once, whatever the intervals.
            values.set(monitor_ping_interval=60_000, monitor_read_only_interval=60_000)
            values.set(monitor_password="monitor")
            took = await until(lambda: monitor.counters()["MySQL_Monitor_read_only_check_OK"] >= 2)
            assert took < 5

    play(scene)


def test_a_new_account_closes_what_was_opened_as_the_old_one() -> None:
    async def scene() -> None:
        world, fakes = two()
        values = FakeValues(**QUICK)
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 4)
            old = list(fakes[A].connections)
            values.set(monitor_username="other")
            await until(lambda: not set(map(id, old)) & set(map(id, fakes[A].connections)))
            rows = len(monitor.rows(READ_ONLY))
            await until(lambda: len(monitor.rows(READ_ONLY)) >= rows + 4)

    play(scene)


def test_switched_off_and_on() -> None:
    async def scene() -> None:
        world, fakes = two()
        values = FakeValues(**QUICK)
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: len(monitor.rows(PING)) >= 2)
            values.set(monitor_enabled="false")
            await until(lambda: not fakes[A].connections and not fakes[B].connections)
            rows = len(monitor.rows(PING))
            await asyncio.sleep(0.1)
            assert len(monitor.rows(PING)) == rows
            values.set(monitor_enabled="true")
            await until(lambda: len(monitor.rows(PING)) >= rows + 2)

    play(scene)


def test_a_changed_interval_acts_at_once() -> None:
    async def scene() -> None:
        world, fakes = two()
        values = FakeValues(**QUICK | {"monitor_ping_interval": 600_000})
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: len(monitor.rows(PING)) == 2)
            values.set(monitor_ping_interval=20)
            assert await until(lambda: len(monitor.rows(PING)) >= 10) < 5

    play(scene)


def test_lag() -> None:
    async def scene() -> None:
        world = World([Server(20, "b", 3306, max_replication_lag=10), Server(20, "c", 3306)])
        fakes = Fakes()
        status = fakes[B].answers
        status["SHOW REPLICA STATUS"] = answers(Seconds_Behind_Source=3)
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(LAG)) >= 3)
            assert world.events == []
            assert world.lags == {(20, B): 3}
            status["SHOW REPLICA STATUS"] = answers(Seconds_Behind_Source=11)
            await until(lambda: (20, B) in world.late)
            assert world.lags == {(20, B): 11}
            status["SHOW REPLICA STATUS"] = [{"Seconds_Behind_Source": None}]
            await until(lambda: world.events[-1] == ("lagging", 20, B, 60))
            status["SHOW REPLICA STATUS"] = []
            await until(lambda: not world.late)
            assert world.lags == {(20, B): 0}
            assert {row[:2] for row in monitor.rows(LAG)} == {B}
            assert {row[4] for row in monitor.rows(LAG)} == {3, 11, 60, None}
            # What the server does not understand it is asked once.
            assert fakes[B].asked.count("SHOW ALL SLAVES STATUS") == 1

    play(scene)


def test_answers_that_make_no_sense_are_failures() -> None:
    async def scene() -> None:
        world = World([Server(20, "b", 3306, max_replication_lag=10)])
        fakes, log = Fakes(), Log()
        fakes[B].answers["SHOW ALL SLAVES STATUS"] = answers(Seconds_Behind_Master="soon")
        fakes[B].answers["SET "] = BackendError("no such variable", number=1193)
        async with monitoring(world, fakes.dial, FakeValues(**QUICK), log=log) as monitor:
            await until(lambda: len(monitor.rows(LAG)) >= 3)
            assert "soon" in str(monitor.rows(LAG)[-1][5])
            assert {row[4] for row in monitor.rows(PING)} == {None}
        assert {line[0] for line in log.lines} == {"warning"}

    play(scene)


def test_lag_limit_is_lifted() -> None:
    async def scene() -> None:
        world = World([Server(20, "b", 3306, max_replication_lag=10)])
        fakes = Fakes()
        fakes[B].answers["SHOW ALL SLAVES STATUS"] = answers(Seconds_Behind_Master=99)
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: world.late)
            world.servers = [Server(20, "b", 3306)]
            monitor.refresh()
            assert not world.late
            assert world.events[-1] == ("caught_up", 20, B)

    play(scene)


def test_what_was_said_is_taken_back_when_monitoring_ends() -> None:
    async def scene() -> None:
        world = World([Server(20, "b", 3306, max_replication_lag=10), Server(20, "c", 3306)])
        fakes = Fakes()
        fakes[B].answers["SHOW ALL SLAVES STATUS"] = answers(Seconds_Behind_Master=99)
        fakes[C].hush()
        values = FakeValues(**QUICK)
        async with monitoring(world, fakes.dial, values):
            await until(lambda: world.late == {(20, B)} and world.shunned == {C})
            values.set(monitor_enabled="false")
            assert not world.late
            assert not world.shunned

    play(scene)


def test_tls_is_begun_on_new_connections() -> None:
    async def scene() -> None:
        world, fakes = two()
        used: list[bool] = []

        async def dial(host: str, port: int, use_ssl: bool, user: str, password: str) -> Any:
            used.append(use_ssl)
            return await fakes.dial(host, port, use_ssl, user, password)

        values = FakeValues(**QUICK | {"monitor_connect_interval": 60_000})
        async with monitoring(world, dial, values) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) >= 6)
            assert len(used) == 4  # to each: one kept, one of the connect check
            world.servers = [Server(10, "a", 3306, use_ssl=True), Server(20, "b", 3306)]
            monitor.refresh()
            await until(lambda: True in used)
            rows = len(monitor.rows(READ_ONLY))
            await until(lambda: len(monitor.rows(READ_ONLY)) >= rows + 6)
            assert used[4:].count(False) == 0
            assert all(row[5] is None for row in monitor.rows(READ_ONLY))
            monitor.reconnect()
            await until(lambda: len(used) >= 8)

    play(scene)


def test_a_name_that_moved_is_followed() -> None:
    async def scene() -> None:
        world, fakes = two()
        addresses = {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}

        async def lookup(name: str) -> list[str]:
            return addresses[name]

        refresh = {"monitor_local_dns_cache_refresh_interval": 20}
        values = FakeValues(**QUICK | refresh)
        names = NameCache(values, lookup)

        async def dial(host: str, port: int, use_ssl: bool, user: str, password: str) -> Any:
            connection = await fakes.dial(host, port, use_ssl, user, password)
            dialled.append((host, await names.resolve(host)))
            return connection

        dialled: list[tuple[str, str]] = []
        async with monitoring(world, dial, values, names=names) as monitor:
            await until(lambda: ("a", "10.0.0.1") in dialled and ("b", "10.0.0.2") in dialled)
            values.set(monitor_connect_interval=60_000)
            addresses["a"] = ["10.0.0.9"]
            await until(lambda: ("a", "10.0.0.9") in dialled)
            assert monitor.counters()["MySQL_Monitor_dns_cache_record_updated"] >= 3

    play(scene)


def test_heartbeat_table() -> None:
    async def scene() -> None:
        world = World([Server(20, "b", 3306, max_replication_lag=10)])
        fakes = Fakes()
        fakes[B].answers["SELECT MAX(ROUND("] = answers(Seconds_Behind_Source=12)
        values = FakeValues(**QUICK, monitor_replication_lag_use_percona_heartbeat="p.heartbeat")
        async with monitoring(world, fakes.dial, values):
            await until(lambda: (20, B) in world.late)

    play(scene)


def member(own: str, read_only: int, behind: int = 0) -> list[dict[str, str | None]]:
    return [
        {
            "member": name,
            "state": "ONLINE",
            "own": own,
            "read_only": str(read_only),
            "super_read_only": str(read_only),
            "behind": str(behind),
        }
        for name in "abc"
    ]


def test_group_replication() -> None:
    async def scene() -> None:
        row = ClusterHostgroups(1, 2, 3, 4, max_transactions_behind=100)
        servers = [Server(3, host, 3306) for host in "abc"]
        world, fakes = World(servers, group_replication=[row]), Fakes()
        for host, read_only in (("a", 0), ("b", 1), ("c", 1)):
            fakes[Address(host, 3306)].answers["SELECT m.MEMBER_ID"] = member(host, read_only)
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: world.members(1) == {A} and world.members(3) == {B, C})
            fakes[B].answers["SELECT m.MEMBER_ID"] = member("b", 1, 101)
            await until(lambda: (3, B) in world.late)
            fakes[B].answers["SELECT m.MEMBER_ID"] = member("b", 1, 0)
            await until(lambda: not world.late)
            fakes[A].die()
            fakes[B].answers["SELECT m.MEMBER_ID"] = member("b", 0)
            await until(lambda: world.members(1) == {B} and world.members(4) == {A})
            assert world.members(3) == {C}
            rows = monitor.rows("mysql_server_group_replication_log")
            assert {row[4:7] for row in rows if row[:2] == C} == {("YES", "YES", 0)}
            assert any(row[4:7] == (None, None, None) and row[7] for row in rows)

    play(scene)


def test_galera() -> None:
    async def scene() -> None:
        row = ClusterHostgroups(1, 2, 3, 4, writer_is_also_reader=2)
        servers = [Server(1, host, 3306, weight=1 + (host == "c")) for host in "abc"]
        world, fakes = World(servers, galera=[row]), Fakes()
        synced = {"wsrep_local_state": 4, "wsrep_cluster_status": "Primary"}
        for host in "abc":
            said = fakes[Address(host, 3306)].answers
            said["SHOW GLOBAL STATUS"] = show(synced)
            said["SHOW GLOBAL VARIABLES"] = show({"read_only": "OFF", "wsrep_desync": "OFF"})
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: world.members(1) == {C} and world.members(3) == {A, B})
            fakes[C].answers["SHOW GLOBAL VARIABLES"] = show({"wsrep_desync": "ON"})
            await until(lambda: world.members(1) == {B} and world.members(4) == {C})
            fakes[C].answers["SHOW GLOBAL STATUS"] = BackendError("no", number=1227)
            await until(lambda: any(row[-1] for row in monitor.rows("mysql_server_galera_log")))
            assert world.members(4) == {C}

    play(scene)


def test_pings_say_that_a_member_is_lost() -> None:
    async def scene() -> None:
        row = ClusterHostgroups(1, 2, 3, 4)
        world = World([Server(1, "a", 3306), Server(2, "b", 3306)], group_replication=[row])
        fakes = Fakes()
        for host in "ab":
            fakes[Address(host, 3306)].answers["SELECT m.MEMBER_ID"] = member(host, 0)
        slow = {"monitor_groupreplication_healthcheck_interval": 60_000}
        values = FakeValues(**QUICK | slow)
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: len(monitor.rows("mysql_server_group_replication_log")) == 2)
            fakes[A].hush()
            await until(lambda: world.members(1) == {B} and world.members(4) == {A})

    play(scene)


def test_servers_come_and_go() -> None:
    async def scene() -> None:
        world, fakes = two()
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            await until(lambda: len(monitor.rows(PING)) >= 2)
            world.servers = [Server(20, "b", 3306, "OFFLINE_SOFT"), Server(10, "c", 3306)]
            fakes[C].answers["SELECT @@global.read_only"] = answers(read_only=0)
            monitor.refresh()
            assert not fakes[A].connections
            rows = len(monitor.rows(READ_ONLY))
            await until(lambda: len(monitor.rows(READ_ONLY)) >= rows + 3)
            # Who drains is pinged; its role is the operator's affair.
            assert {row[:2] for row in monitor.rows(READ_ONLY)[rows + 1 :]} == {C}
            pings = len(monitor.rows(PING))
            await until(lambda: len(monitor.rows(PING)) >= pings + 4)
            assert {row[:2] for row in monitor.rows(PING)[pings + 1 :]} == {B, C}
            world.servers = []
            monitor.refresh()
            assert not fakes[B].connections

    play(scene)


def test_dead_servers_do_not_hold_up_living_ones() -> None:
    async def scene() -> None:
        servers = [Server(10, f"dead{n}", 3306) for n in range(100)] + [Server(10, "b", 3306)]
        world, fakes = World(servers), Fakes()
        for dead in servers[:-1]:
            fakes[dead.address].hush()
        values = FakeValues(
            **QUICK | {"monitor_threads_max": 4, "monitor_connect_interval": 60_000}
        )
        async with monitoring(world, fakes.dial, values) as monitor:
            await until(lambda: sum(f.dials > 1 for f in fakes.values()) > 50)  # all are known now
            rows = len([row for row in monitor.rows(PING) if row[:2] == B])
            took = await until(
                lambda: len([row for row in monitor.rows(PING) if row[:2] == B]) >= rows + 20
            )
            assert took < 3
            assert max(fake.most_waiting for fake in fakes.values()) == 1
            assert sum(fake.waiting for fake in fakes.values()) <= 4

    play(scene)


def test_what_traffic_saw_is_looked_at_at_once() -> None:
    async def scene() -> None:
        world, fakes = two()
        slow = QUICK | {"monitor_read_only_interval": 60_000}
        async with monitoring(world, fakes.dial, FakeValues(**slow)) as monitor:
            await until(lambda: len(monitor.rows(READ_ONLY)) == 2)
            fakes[A].answers["SELECT @@global.read_only"] = answers(read_only=1)
            assert monitor.look(*A)
            assert not monitor.look("c", 3306), "nobody follows it"
            await until(lambda: world.members(10) == set(), seconds=2)
            assert len(monitor.rows(READ_ONLY)) == 3

    play(scene)


def test_what_is_known_arranges_what_is_loaded() -> None:
    async def scene() -> None:
        world, fakes = two(read_only_a=1, read_only_b=0)
        async with monitoring(world, fakes.dial, FakeValues(**QUICK)) as monitor:
            assert monitor.arrangement(world.view()) == []
            await until(lambda: world.members(10) == {B} and world.members(20) == {A, B})
            a, b, c = (Server(10 if name == "a" else 20, name, 3306) for name in "abc")
            loaded = View((a, b, c), replication=(PAIR,))
            changes = monitor.arrangement(loaded)
            assert {(s.hostgroup, s.host) for s in apply(loaded.servers, changes)} == {
                (20, "a"), (10, "b"), (20, "b"), (20, "c"),
            }  # fmt: skip

    play(scene)
