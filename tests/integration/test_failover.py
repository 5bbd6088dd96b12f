# SPDX-License-Identifier: Apache-2.0
"""A real proxy before a real primary with two replicas, under traffic, when servers come and go.

What is measured: seconds without a write and without a read, errors that clients saw, and that
no write that was acknowledged is missing. `python -m bench.load.failover` prints the same numbers.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pymysql
import pytest

from tests.conftest import running
from tests.support.failover import READER, WRITER, Stage, durable, promote_survivor
from tests.support.process import eventually
from tests.support.relay import SlowRelay
from tests.support.traffic import Traffic
from tests.support.trio import Node, Trio

# As an operator who wants to be quick would have it; read_only is looked at once a second.
BRISK = {
    "monitor_ping_interval": 200,
    "monitor_ping_timeout": 150,
    "monitor_replication_lag_interval": 300,
    "monitor_connect_interval": 1000,
}
READ_ONLY_S = 1.0
WRITES_BACK_S = READ_ONLY_S + 2.0
READS_STOP_S = 2.0
LOST, READ_ONLY, NO_BACKEND = 2013, 1290, 9001


@pytest.fixture(scope="module")
def trio() -> Trio:
    return Trio({name: running(name) for name in ("primary", "replica1", "replica2")})


@pytest.fixture
def restored(trio: Trio) -> Iterator[Trio]:
    """For tests after which others would be the primary."""
    trio.restore()
    yield trio
    trio.restore()


@pytest.fixture
def stage(trio: Trio, tmp_path: Path) -> Iterator[Stage]:
    with staged(trio, tmp_path) as stage:
        yield stage


@contextmanager
def staged(
    trio: Trio, folder: Path, servers: list[dict[str, object]] | None = None
) -> Iterator[Stage]:
    stage = Stage(trio, folder, BRISK, servers)
    with stage.proxy:
        yield stage


@contextmanager
def traffic(stage: Stage, readers: int = 3) -> Iterator[Traffic]:
    """Under way: everybody has done something before it begins, and does after it ends."""
    name = f"test.f_{secrets.token_hex(4)}"
    with Traffic(stage.host, stage.port, name, readers=readers) as going:
        flows(going)
        yield going
    rows = stage.trio.nodes[
        "replica1" if stage.trio.replica1.address.port in stage.members(WRITER) else "primary"
    ].ask(f"SELECT who, n FROM {name}")
    assert going.missing({(row["who"], row["n"]) for row in rows}) == set()


def flows(going: Traffic, reads: bool = True, seconds: float = 15.0) -> None:
    """Wait until there are writes, and reads, from now on."""
    now = monotonic()
    soon(
        lambda: going.written_after(now) and (not reads or going.reads.first(now) is not None),
        seconds=seconds,
    )


def soon(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    eventually(condition, "what the test waits for here", seconds)


def ports(*nodes: Node) -> set[int]:
    return {node.address.port for node in nodes}


# -- the primary goes -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill -9", "shutdown"])
def test_primary_is_lost(restored: Trio, tmp_path: Path, how: str) -> None:
    trio = restored
    with durable(trio), staged(trio, tmp_path) as stage, traffic(stage) as going:
        began = monotonic()
        os.kill(trio.primary.pid, signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
        soon(lambda: not trio.primary.server.answers())
        promoted = promote_survivor(trio)
        flows(going)
        back = going.writes.first(promoted)
        assert back is not None
        assert back - promoted < WRITES_BACK_S
        assert going.reads.longest(began) < READS_STOP_S
        # What ran on it when it went; whoever waited since then was served in the end.
        errors = going.errors()
        assert {number for _, number in errors} <= {LOST}
        assert sum(errors.values()) <= 5, "one for each client that writes"
        assert going.lost_connections == 0
        assert stage.members(WRITER)[trio.replica1.address.port] == "ONLINE"
        gone = trio.primary.address.port
        soon(lambda: "SHUNNED" in (stage.members(WRITER) | stage.members(READER))[gone])
        log = stage.admin("SELECT port, read_only FROM monitor.mysql_server_read_only_log")
        assert (str(trio.replica1.address.port), "0") in log
        pings = f"SELECT ping_error FROM monitor.mysql_server_ping_log WHERE port={gone}"
        soon(lambda: any("refused" in str(error) for (error,) in stage.admin(pings)))


def test_planned_change(restored: Trio, tmp_path: Path) -> None:
    trio = restored
    with staged(trio, tmp_path) as stage, traffic(stage) as going:
        began = monotonic()
        trio.promote("replica1")
        promoted = monotonic()
        flows(going)
        assert going.writes.longest(promoted) < WRITES_BACK_S
        assert going.reads.longest(began) < READS_STOP_S
        # Transactions that were under way; single statements waited.
        errors = going.errors()
        assert set(errors) <= {("move", READ_ONLY)}, going.failures
        assert going.lost_connections == 0
        assert stage.members(WRITER) == {trio.replica1.address.port: "ONLINE"}
        assert set(stage.members(READER)) == ports(*trio.nodes.values())

        # The operator's tables still have the old primary as the writer.
        since = monotonic()
        rows = stage.admin(
            "SELECT port FROM mysql_servers WHERE hostgroup_id = 10",
        )
        assert rows == ((str(trio.primary.address.port),),)
        for _ in range(3):
            stage.admin("LOAD MYSQL SERVERS TO RUNTIME")
            assert stage.members(WRITER) == {trio.replica1.address.port: "ONLINE"}
            flows(going)
        assert going.errors(since) == {}


# -- servers that are not there for a while --------------------------------------------------


def test_replica_stops_dies_and_returns(stage: Stage, trio: Trio) -> None:
    node = trio.replica2
    port = node.address.port
    with traffic(stage) as going:
        began = monotonic()
        os.kill(node.pid, signal.SIGSTOP)
        try:
            soon(lambda: stage.members(READER)[port] == "SHUNNED")
            flows(going)
        finally:
            os.kill(node.pid, signal.SIGCONT)
        soon(lambda: stage.members(READER)[port] == "ONLINE")
        flows(going)
        assert going.reads.longest(began) < READS_STOP_S
        log = stage.admin(f"SELECT ping_error FROM monitor.mysql_server_ping_log WHERE port={port}")
        assert any("timeout" in str(error) for (error,) in log)

        began = monotonic()
        os.kill(node.pid, signal.SIGKILL)
        soon(lambda: stage.members(READER)[port] == "SHUNNED")
        flows(going)
        assert going.reads.longest(began) < READS_STOP_S
        pool = stage.admin(
            "SELECT status, ConnUsed, ConnERR FROM stats_mysql_connection_pool "
            f"WHERE srv_port={port}"
        )
        assert pool[0][:2] == ("SHUNNED", "0")
        node.start()
        soon(lambda: stage.members(READER)[port] == "ONLINE")
        assert going.errors() == {}, going.failures


def test_primary_stops_and_goes_on(stage: Stage, trio: Trio) -> None:
    port = trio.primary.address.port
    with traffic(stage) as going:
        # Writes that wait must not do so for longer than the test takes to go on.
        began = monotonic()
        os.kill(trio.primary.pid, signal.SIGSTOP)
        try:
            soon(lambda: stage.members(WRITER).get(port) != "ONLINE")
            flows_from = monotonic()
            soon(lambda: going.reads.first(flows_from) is not None)
        finally:
            os.kill(trio.primary.pid, signal.SIGCONT)
        soon(lambda: stage.members(WRITER) == {port: "ONLINE"})
        flows(going)
        assert going.reads.longest(began) < READS_STOP_S
        assert {number for _, number in going.errors()} <= {LOST}


def test_lagging_replica_leaves_and_returns(stage: Stage, trio: Trio) -> None:
    node = trio.replica1
    port = node.address.port
    stage.admin("UPDATE mysql_servers SET max_replication_lag=2", "LOAD MYSQL SERVERS TO RUNTIME")
    with traffic(stage) as going:
        node.ask("STOP SLAVE SQL_THREAD")
        try:
            soon(lambda: stage.members(READER)[port] == "SHUNNED_REPLICATION_LAG")
            before = served(stage, port)
            flows(going)
            assert served(stage, port) - before <= 3, "what was under way"
        finally:
            node.ask("START SLAVE SQL_THREAD")
        soon(lambda: stage.members(READER)[port] == "ONLINE")
        before = served(stage, port)
        soon(lambda: served(stage, port) > before)
        assert going.errors() == {}


def served(stage: Stage, port: int) -> int:
    """Statements a reader has answered."""
    rows = stage.admin(
        f"SELECT Queries FROM stats_mysql_connection_pool WHERE hostgroup=20 AND srv_port={port}"
    )
    return int(rows[0][0])


# -- what operators do ---------------------------------------------------------------------------


def test_offline_soft_drains_and_hard_cuts(stage: Stage, trio: Trio) -> None:
    reader, writer = trio.replica1.address.port, trio.primary.address.port

    def become(port: int, status: str) -> None:
        stage.admin(
            f"UPDATE mysql_servers SET status='{status}' WHERE port={port}",
            "LOAD MYSQL SERVERS TO RUNTIME",
        )

    with traffic(stage) as going:
        for status in ("OFFLINE_SOFT", "ONLINE", "OFFLINE_HARD", "ONLINE"):
            become(reader, status)
            flows(going)
        assert going.errors() == {}, going.failures
        with stage.connect(autocommit=False) as inside, inside.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {going.table} LIMIT 1 FOR UPDATE")
            become(writer, "OFFLINE_SOFT")
            gap = monotonic()
            cursor.execute("SELECT @@port")
            assert cursor.fetchone() == (writer,), "its transaction may end"
            inside.commit()
            soon(lambda: used(stage, writer) == 0)
            become(writer, "ONLINE")
            flows(going)
            assert going.writes.longest(gap) < WRITES_BACK_S
            assert going.errors() == {}, going.failures
            cursor.execute(f"SELECT * FROM {going.table} LIMIT 1 FOR UPDATE")
            become(writer, "OFFLINE_HARD")
            with pytest.raises(pymysql.OperationalError) as cut:
                cursor.execute("SELECT @@port")
            assert cut.value.args[0] == LOST
            become(writer, "ONLINE")
            flows(going)
        assert {number for _, number in going.errors()} <= {LOST}


def used(stage: Stage, port: int) -> int:
    """Connections to a writer that sessions hold."""
    rows = stage.admin(
        f"SELECT ConnUsed FROM stats_mysql_connection_pool WHERE hostgroup=10 AND srv_port={port}"
    )
    return int(rows[0][0]) if rows else 0


def test_without_a_writer_statements_wait(stage: Stage, trio: Trio) -> None:
    stage.set(connect_timeout_server_max=1500)
    with stage.connect() as client, client.cursor() as cursor:
        cursor.execute("DO 1")
        trio.primary.read_only(True)
        try:
            soon(lambda: stage.members(WRITER) == {})
            began = monotonic()
            with pytest.raises(pymysql.MySQLError) as failed:
                cursor.execute("DO 2")
            assert failed.value.args[0] == NO_BACKEND
            assert 1.4 < monotonic() - began < 3.0
            with suppress(pymysql.MySQLError), stage.connect() as new, new.cursor() as late:
                late.execute("DO 3")
                raise AssertionError("nobody can have answered")

            # Whoever waits is served as soon as there is one, old client or new.
            stage.set(connect_timeout_server_max=10_000)
            answers: list[float] = []

            def ask() -> None:
                with stage.connect() as new, new.cursor() as other:
                    other.execute("DO 4")
                answers.append(monotonic())

            waiting = [Thread(target=ask) for _ in range(4)]
            for thread in waiting:
                thread.start()
            sleep(0.3)
            assert answers == []
        finally:
            trio.primary.read_only(False)
        written = monotonic()
        cursor.execute("DO 5")
        for thread in waiting:
            thread.join()
        assert len(answers) == 4
        assert max(answers) - written < 1.0


def test_slow_server_is_avoided(trio: Trio, tmp_path: Path) -> None:
    near, far = trio.replica1, trio.replica2
    with SlowRelay(far.address.host, far.address.port) as relay:
        servers: list[dict[str, object]] = [
            {"hostgroup_id": WRITER, "hostname": "127.0.0.1", "port": trio.primary.address.port},
            {"hostgroup_id": READER, "hostname": "127.0.0.1", "port": near.address.port},
            {"hostgroup_id": READER, "hostname": "127.0.0.1", "port": relay.port},
        ]
        with staged(trio, tmp_path, servers) as stage, traffic(stage, readers=4) as going:
            # Far enough apart for a machine that is busy with four servers and their clients.
            stage.set(default_max_latency_ms=100, monitor_ping_timeout=2000)
            soon(lambda: served(stage, relay.port) > 0)
            relay.delay = 0.25
            soon(lambda: settles(stage, going, relay.port))
            relay.delay = 0.0
            before = served(stage, relay.port)
            soon(lambda: served(stage, relay.port) > before)
            # A limit of its own counts for one server.
            relay.delay = 0.25
            stage.admin(
                f"UPDATE mysql_servers SET max_latency_ms=5000 WHERE port={relay.port}",
                "LOAD MYSQL SERVERS TO RUNTIME",
            )
            before = served(stage, relay.port)
            soon(lambda: served(stage, relay.port) > before + 5)
            assert going.errors() == {}
            latency = (
                f"SELECT Latency_us FROM stats_mysql_connection_pool WHERE srv_port={relay.port}"
            )
            soon(lambda: int(stage.admin(latency)[0][0]) > 250_000)


def settles(stage: Stage, going: Traffic, port: int) -> bool:
    """Whether reads go on, and not there."""
    before = served(stage, port)
    flows(going)
    return served(stage, port) == before


def test_monitors_without_an_account_shun_nobody(stage: Stage, trio: Trio) -> None:
    pings = "SELECT COUNT(*), SUM(ping_error LIKE '%Access denied%') FROM mysql_server_ping_log"

    def denied() -> int:
        return int(stage.admin("USE monitor", pings)[0][1] or 0)

    with traffic(stage) as going:
        stage.set(monitor_username="nobody")
        stage.proxy.wait_for_log("monitor check failed", check="ping", failure="denied")
        soon(lambda: denied() > 9)
        assert set(stage.members(WRITER).values()) == {"ONLINE"}
        assert set(stage.members(READER).values()) == {"ONLINE"}
        stage.set(monitor_username="monitor")
        stage.proxy.wait_for_log("monitor check succeeds again", check="ping")

        stage.set(monitor_enabled="false")
        count = int(stage.admin("USE monitor", pings)[0][0])
        trio.primary.read_only(True)
        try:
            sleep(READ_ONLY_S + 0.5)  # nothing is to be seen: no condition to wait for
            assert stage.members(WRITER) == {trio.primary.address.port: "ONLINE"}
            assert int(stage.admin("USE monitor", pings)[0][0]) <= count + 3
            stage.set(monitor_enabled="true")
            soon(lambda: stage.members(WRITER) == {})
        finally:
            trio.primary.read_only(False)
        flows(going)
        assert {number for _, number in going.errors()} <= {READ_ONLY}
