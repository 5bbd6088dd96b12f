# SPDX-License-Identifier: Apache-2.0
"""A known number of statements of each kind is found, exactly, in the tables that count them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hproxy.config.proxysql.catalogue import STATS_TABLES
from hproxy.dial.converse import Refusal
from hproxy.protocols.mysql.constants import Capability
from hproxy.runtime import Runtime
from hproxy.runtime.exposition import exposition
from hproxy.runtime.sampling import Sampling
from hproxy.runtime.tables import READERS
from tests.integration.conftest import direct
from tests.support.pooled import Client, ServerError, client, clients, go, pooled, until
from tests.support.server import Server

RESET = "_reset"


@pytest.fixture
def table(server: Server) -> Iterator[str]:
    name = f"test.st_{secrets.token_hex(6)}"
    direct(
        server,
        f"CREATE TABLE {name} (id BIGINT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO {name} VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    )
    yield name
    direct(server, f"DROP TABLE {name}")


def server_row(server: Server, hostgroup: int = 0, **more: Any) -> dict[str, Any]:
    return {"hostname": server.host, "port": server.port, "hostgroup_id": hostgroup} | more


def read(runtime: Runtime, name: str) -> list[dict[str, Any]]:
    """Rows by the names of the catalogue's columns."""
    names = STATS_TABLES[name.removesuffix(RESET)].names
    return [dict(zip(names, row, strict=True)) for row in READERS[name](runtime)]


def totals(runtime: Runtime) -> dict[str, int]:
    rows = read(runtime, "stats_mysql_global")
    return {row["Variable_Name"]: int(row["Variable_Value"]) for row in rows}


def commands(runtime: Runtime) -> dict[str, int]:
    rows = read(runtime, "stats_mysql_commands_counters")
    for row in rows:
        cells = [value for name, value in row.items() if name.startswith("cnt_")]
        assert sum(cells) == row["Total_cnt"], row
        assert (row["Total_Time_us"] > 0) is (row["Total_cnt"] > 0), row
    return {row["Command"]: row["Total_cnt"] for row in rows if row["Total_cnt"]}


def digests(runtime: Runtime, name: str = "stats_mysql_query_digest") -> dict[str, dict[str, Any]]:
    return {row["digest_text"]: row for row in read(runtime, name)}


async def repeat(session: Client, sql: str, times: int) -> None:
    for turn in range(times):
        await session.run(sql.format(turn))


def test_text_statements(server: Server, table: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime)
            await repeat(ann, f"SELECT * FROM {table} WHERE id > {{}}", 7)
            await repeat(ann, f"UPDATE {table} SET v = 'x{{}}'", 3)
            await repeat(ann, f"INSERT INTO {table} VALUES (100 + {{}}, 'n')", 5)
            await repeat(ann, f"DELETE FROM {table} WHERE id = 100 + {{}}", 5)
            await repeat(ann, f"SELECT * FROM {table} WHERE id = {{}} FOR UPDATE", 2)
            for _ in range(4):
                await ann.run("BEGIN")
                await ann.run(f"SELECT COUNT(*) FROM {table}")
                await ann.run("COMMIT")
            await ann.run("START TRANSACTION")
            await ann.run("SAVEPOINT a")
            await ann.run("ROLLBACK TO SAVEPOINT a")
            await ann.run("ROLLBACK")
            await ann.run("SET NAMES utf8mb4")
            await ann.run("SET autocommit = 1")
            await ann.run("USE test")
            assert commands(runtime) == {
                "SELECT": 11, "UPDATE": 3, "INSERT": 5, "DELETE": 5, "SELECT_FOR_UPDATE": 2,
                "BEGIN": 4, "COMMIT": 4, "START_TRANSACTION": 1, "SAVEPOINT": 1,
                "ROLLBACK_SAVEPOINT": 1, "ROLLBACK": 1, "SET": 2, "USE": 1,
            }  # fmt: skip
            found = totals(runtime)
            assert found["Questions"] == 41
            assert (found["Com_commit"], found["Com_rollback"], found["Com_autocommit"]) == (
                4,
                1,
                1,
            )
            assert (found["Com_frontend_set_names"], found["Com_frontend_use_db"]) == (1, 1)
            assert found["Slow_queries"] == 0
            assert found["Client_Connections_created"] == found["Client_Connections_connected"] == 1
            listed = digests(runtime)
            text = f"SELECT * FROM {table} WHERE id>?"
            assert listed[text]["count_star"] == 7
            # 3, 2 and 1 of the first rows, then none.
            assert listed[text]["sum_rows_sent"] == 6
            assert listed[text]["username"] == "hproxy"
            assert listed[f"UPDATE {table} SET v=?"]["sum_rows_affected"] == 9
            assert sum(row["count_star"] for row in listed.values()) == 41
            [pool] = read(runtime, "stats_mysql_connection_pool")
            assert pool["Queries"] == 41
            assert (pool["ConnOK"], pool["ConnERR"], pool["MaxConnUsed"]) == (1, 0, 1)
            assert (pool["ConnUsed"], pool["ConnFree"]) == (0, 1)
            assert found["Queries_backends_bytes_sent"] == pool["Bytes_data_sent"] > 0
            assert found["Queries_backends_bytes_recv"] == pool["Bytes_data_recv"] > 0
            ann.close()

    go(work())


def test_prepared_statements(server: Server, table: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server, max_connections=1)) as runtime:
            ann, bob = await clients(runtime, 2)
            numbers = [await each.prepare(f"SELECT v FROM {table} WHERE id = ?")
                       for each in (ann, bob)]  # fmt: skip
            for turn in range(6):
                await ann.execute(numbers[0], turn)
            await bob.execute(numbers[1], 1)
            found = totals(runtime)
            assert found["Com_frontend_stmt_prepare"] == 2
            assert found["Com_frontend_stmt_execute"] == found["Com_backend_stmt_execute"] == 7
            assert found["Com_backend_stmt_prepare"] == 1, "answered from the cache"
            assert found["Questions"] == 9
            assert (found["Stmt_Client_Active_Total"], found["Stmt_Client_Active_Unique"]) == (2, 1)
            assert (found["Stmt_Server_Active_Total"], found["Stmt_Cached"]) == (1, 1)
            assert commands(runtime) == {"SELECT": 7}
            [info] = read(runtime, "stats_mysql_prepared_statements_info")
            assert info["query"] == f"SELECT v FROM {table} WHERE id = ?"
            assert (info["ref_count_client"], info["ref_count_server"]) == (2, 1)
            assert (info["num_columns"], info["num_params"], info["username"]) == (1, 1, "hproxy")
            ann.post(b"\x19" + numbers[0].to_bytes(4, "little"))
            await ann.run("SELECT 1")
            found = totals(runtime)
            assert (found["Com_frontend_stmt_close"], found["Stmt_Client_Active_Total"]) == (1, 1)
            for each in (ann, bob):
                each.close()

    go(work())


def test_readers_and_writers_count_for_themselves(
    server: Server, table: str, tmp_path: Path
) -> None:
    async def work() -> None:
        rows = [server_row(server, hostgroup) for hostgroup in (0, 1)]
        pairs = [{"writer_hostgroup": 0, "reader_hostgroup": 1}]
        async with pooled(
            tmp_path, *rows, mysql_replication_hostgroups=pairs,
            proxy={"read_your_writes_ms": 0},
        ) as runtime:  # fmt: skip
            ann = await client(runtime)
            await repeat(ann, f"SELECT v FROM {table} WHERE id = {{}}", 8)
            await repeat(ann, f"UPDATE {table} SET v = 'y' WHERE id = {{}}", 4)
            await ann.run("BEGIN")
            await repeat(ann, f"SELECT v FROM {table} WHERE id = {{}}", 3)
            await ann.run("COMMIT")
            counted = {
                (row["hostgroup"], row["digest_text"].split()[0]): row["count_star"]
                for row in read(runtime, "stats_mysql_query_digest")
            }
            assert counted == {
                (1, "SELECT"): 8, (0, "SELECT"): 3, (0, "UPDATE"): 4,
                (0, "BEGIN"): 1, (0, "COMMIT"): 1,
            }  # fmt: skip
            queries = {row["hostgroup"]: row["Queries"]
                       for row in read(runtime, "stats_mysql_connection_pool")}  # fmt: skip
            assert queries == {0: 9, 1: 8}
            waits = read(runtime, "stats_mysql_hostgroup_connection_pool")
            acquired = {row["hostgroup"]: row["acquisitions_total"] for row in waits}
            assert acquired == {0: 5 + 1, 1: 8}  # the first login asks what the server is like
            ann.close()

    go(work())


def test_a_reset_loses_nothing(server: Server, table: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime)
            counted = {"digest": 0, "pool": 0}
            for turn in range(1, 6):
                await repeat(ann, "SELECT {}", turn)
                if turn % 2:
                    rows = read(runtime, f"stats_mysql_query_digest{RESET}")
                    counted["digest"] += sum(row["count_star"] for row in rows)
                    rows = read(runtime, f"stats_mysql_connection_pool{RESET}")
                    counted["pool"] += sum(row["Queries"] for row in rows)
            assert counted == {"digest": 15, "pool": 15}
            assert read(runtime, "stats_mysql_query_digest") == []
            [pool] = read(runtime, "stats_mysql_connection_pool")
            assert (pool["Queries"], pool["ConnOK"], pool["Bytes_data_sent"]) == (0, 0, 0)
            # What totals are made of goes on.
            assert totals(runtime)["Queries_backends_bytes_sent"] > 0
            assert commands(runtime) == {"SELECT": 15}
            ann.close()

    go(work())


def test_errors_of_backends(server: Server, table: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime, database="test")
            for turn in range(3):
                assert await ann.error(f"INSERT INTO {table} VALUES (1, '{turn}')") == 1062
            assert await ann.error("SELECT nonsense") == 1054
            with pytest.raises(ServerError):
                await ann.prepare("SELECT more nonsense FROM nowhere")
            rows = {row["errno"]: row for row in read(runtime, "stats_mysql_errors")}
            assert {errno: row["count_star"] for errno, row in rows.items()} == {
                1062: 3, 1054: 1, 1146: 1,
            }  # fmt: skip
            row = rows[1062]
            assert (row["hostgroup"], row["hostname"], row["port"]) == (
                0, server.host, server.port,
            )  # fmt: skip
            assert (row["username"], row["schemaname"]) == ("hproxy", "test")
            assert row["last_error"].startswith("Duplicate entry '1' for key")
            assert row["first_seen"] <= row["last_seen"]
            assert len(read(runtime, f"stats_mysql_errors{RESET}")) == 3
            assert read(runtime, "stats_mysql_errors") == []
            await ann.run(f"SELECT * FROM {table}")  # its warnings hold the connection no longer
            ann.close()

    go(work())


def test_who_waits_and_what_runs(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server, max_connections=1)) as runtime:
            ann, bob, cat = await clients(runtime, 3)
            await ann.run("USE test")
            [before] = read(runtime, "stats_mysql_hostgroup_connection_pool_reset")
            assert before["waits_total"] <= 3, "logins that ask what the server is like"
            await ann.send("SELECT SLEEP(1.2), 'x'")
            await until(lambda: totals(runtime)["Client_Connections_non_idle"] == 1, "runs")
            await bob.send("SELECT 2")
            await until(lambda: totals(runtime)["Client_Connections_non_idle"] == 2, "waits")
            rows = {row["info"]: row for row in read(runtime, "stats_mysql_processlist")}
            assert set(rows) == {"SELECT SLEEP(1.2), 'x'", "SELECT ?", None}
            runs = rows["SELECT SLEEP(1.2), 'x'"]
            assert (runs["command"], runs["db"], runs["hostgroup"]) == ("Query", "test", 0)
            assert (runs["srv_host"], runs["srv_port"]) == (server.host, server.port)
            assert (runs["l_srv_host"], runs["cli_host"]) == ("127.0.0.1", "127.0.0.1")
            assert 0 <= runs["time_ms"] < 1200
            assert runs["l_srv_port"] > 0
            assert runs["cli_port"] > 0
            assert rows["SELECT ?"]["command"] == "Connect"
            assert (rows[None]["command"], rows[None]["srv_host"]) == ("Sleep", None)
            assert [row["user"] for row in rows.values()] == ["hproxy"] * 3
            await ann.read()
            await bob.read()
            [group] = read(runtime, "stats_mysql_hostgroup_connection_pool")
            assert (group["waits_total"], group["waiters"]) == (1, 0)
            assert group["wait_time_us_total"] > 500_000
            assert totals(runtime)["Slow_queries"] == 1
            assert [row["command"] for row in read(runtime, "stats_mysql_processlist")] == [
                "Sleep"
            ] * 3
            [users] = read(runtime, "stats_mysql_users")
            assert users == {
                "username": "hproxy", "frontend_connections": 3, "frontend_max_connections": 10000,
            }  # fmt: skip
            for each in (ann, bob, cat):
                each.close()

    go(work())


def test_logins_that_fail(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        users = [
            {"username": "hproxy", "password": "hproxy", "max_connections": 1},
        ]
        async with pooled(
            tmp_path, server_row(server), users=users, server={"max_connections": 2}
        ) as runtime:
            for _ in range(3):
                with pytest.raises(Refusal):
                    await client(runtime, password="wrong")
            ann = await client(runtime)
            with pytest.raises(Refusal):
                await client(runtime)
            found = totals(runtime)
            assert found["Access_Denied_Wrong_Password"] == 3
            assert found["Access_Denied_Max_User_Connections"] == 1
            assert found["Client_Connections_aborted"] == 4
            assert found["Client_Connections_created"] == 5
            assert found["generated_error_packets"] >= 1
            ann.close()

    go(work())


def test_hosts_that_fail_too_often(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            runtime.services.variables.update(
                {"mysql-client_host_cache_size": "10", "mysql-client_host_error_counts": "2"}
            )
            for _ in range(2):
                with pytest.raises(Refusal):
                    await client(runtime, password="wrong")
            [host] = read(runtime, "stats_mysql_client_host_cache")
            assert (host["client_address"], host["error_count"]) == ("127.0.0.1", 2)
            with pytest.raises(Refusal) as refused:
                await client(runtime)
            assert b"is blocked because of many connection errors" in (refused.value.packet or b"")
            assert totals(runtime)["client_host_error_killed_connections"] == 1
            assert len(read(runtime, f"stats_mysql_client_host_cache{RESET}")) == 1
            ann = await client(runtime)
            assert await ann.value("SELECT 1") == "1"
            assert read(runtime, "stats_mysql_client_host_cache") == []
            ann.close()

    go(work())


def test_what_a_session_is_like(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime, more=int(Capability.SESSION_TRACK))
            await ann.run("USE test")
            await ann.run("BEGIN")
            told = await ann.value("PROXYSQL INTERNAL SESSION")
            info = json.loads(told or "")
            assert info["hproxy"]["schema"] == "test"
            assert info["hproxy"]["pins"] == ["TRANSACTION"]
            assert info["active_transactions"] == 1
            assert info["backends"][0]["port"] == server.port
            assert info["client"]["userinfo"]["username"] == "hproxy"
            assert await ann.error("PROXYSQL INTERNAL NONSENSE") == 1064
            [pin] = read(runtime, "stats_hproxy_pins")
            assert (pin["reason"], pin["db"], pin["srv_port"]) == (
                "TRANSACTION", "test", server.port,
            )  # fmt: skip
            assert pin["statement"] == "BEGIN"
            await ann.run("COMMIT")
            assert read(runtime, "stats_hproxy_pins") == []
            ann.close()

    go(work())


def test_idle_connections(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime)
            await ann.run("SET time_zone = '+05:00'")
            await ann.run("USE test")
            [row] = read(runtime, "stats_mysql_free_connections")
            assert (row["user"], row["schema"], row["time_zone"]) == ("hproxy", "test", "+05:00")
            assert row["autocommit"] == "ON"
            assert json.loads(row["statistics"])["queries"] >= 2
            assert json.loads(row["mysql_info"])["thread_id"] > 0
            ann.close()

    go(work())


def test_digests_by_client_or_not_at_all(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            runtime.services.variables.update({"mysql-query_digests_track_hostname": "true"})
            ann = await client(runtime)
            await ann.run("SELECT 1")
            [row] = read(runtime, "stats_mysql_query_digest")
            assert row["client_address"] == "127.0.0.1"
            runtime.services.variables.update({"mysql-query_digests": "false"})
            await ann.run("SELECT 1")
            [row] = read(runtime, "stats_mysql_query_digest")
            assert row["count_star"] == 1
            assert commands(runtime) == {"SELECT": 2}
            runtime.services.variables.update({"mysql-commands_stats": "false"})
            await ann.run("SELECT 1")
            assert commands(runtime) == {"SELECT": 2}
            assert totals(runtime)["Questions"] == 3
            ann.close()

    go(work())


def test_every_table_can_be_read(server: Server, tmp_path: Path) -> None:
    """Rows as wide as the catalogue says, also while nobody is connected."""

    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            for name in STATS_TABLES:
                for found in READERS[name](runtime):
                    assert len(found) == len(STATS_TABLES[name].names), name

    go(work())


def test_metrics_of_a_running_worker(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime)
            await repeat(ann, "SELECT {}", 5)
            assert await ann.error("SELECT nonsense") == 1054
            found = {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(exposition(runtime))
                for sample in family.samples
            }
            place = (("endpoint", f"{server.host}:{server.port}"), ("hostgroup", "0"))
            assert found["proxysql_questions_total", ()] == 6
            assert found["proxysql_connpool_conns_queries_total", place] == 6
            assert found["proxysql_mysql_error_total", (("code", "1054"), *place)] == 1
            assert found["hproxy_query_duration_seconds_count", (("hostgroup", "0"),)] == 6
            taken = found["hproxy_query_duration_seconds_sum", (("hostgroup", "0"),)]
            assert taken == pytest.approx(found["proxysql_backend_query_time_seconds_total", ()])
            await ann.run("SELECT * FROM information_schema.schemata")
            # Counters only grow, whatever tables are reset to.
            read(runtime, f"stats_mysql_connection_pool{RESET}")
            read(runtime, f"stats_mysql_errors{RESET}")
            text = exposition(runtime)
            assert 'code="1054"' in text
            assert 'hostgroup="0",status="ok"} 1.0' in text
            ann.close()

    go(work())


def test_samples_over_time(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "hproxy_stats.db"

    async def work() -> None:
        async with pooled(tmp_path, server_row(server)) as runtime:
            ann = await client(runtime)
            await repeat(ann, "SELECT {}", 5)
            sampling = Sampling(runtime.port, path, runtime.log)
            first = await sampling.look(1000.0)
            assert set(first) == {
                "mysql_connections", "mysql_connection_pool", "mysql_query_cache", "system_cpu",
                "system_memory",
            }  # fmt: skip
            assert await sampling.look(1059.0) == []
            runtime.services.variables.update({"admin-stats_system_cpu": "10"})
            assert await sampling.look(1059.5) == ["system_cpu"]
            assert set(await sampling.look(1060.0)) == set(first) - {"system_cpu"}
            assert await sampling.save_digests() == 1
            assert read(runtime, "stats_mysql_query_digest") == []
            await sampling.stop()
            ann.close()

    go(work())
    database = apsw.Connection(str(path))
    [row] = database.execute(
        "SELECT Questions, Client_Connections_connected FROM mysql_connections LIMIT 1"
    )
    assert row == (5, 1)
    [row] = database.execute("SELECT digest_text, count_star FROM history_mysql_query_digest")
    assert row == ("SELECT ?", 5)
    [row] = database.execute("SELECT Queries FROM history_stats_mysql_connection_pool LIMIT 1")
    assert row == (5,)
    [row] = database.execute("SELECT resident > 1000000 FROM system_memory LIMIT 1")
    assert row == (1,)
    database.close()


def test_sessions_with_connections_of_their_own(server: Server, tmp_path: Path) -> None:
    async def work() -> None:
        async with pooled(
            tmp_path, server_row(server), proxy={"session_mode": "session"}
        ) as runtime:
            ann, bob = await clients(runtime, 2)
            await repeat(ann, "SELECT {}", 4)
            bob.close()
            await until(lambda: len(runtime.services.registry) == 1, "one is gone")
            [pool] = read(runtime, "stats_mysql_connection_pool")
            assert (pool["ConnUsed"], pool["ConnOK"], pool["ConnERR"]) == (1, 2, 0)
            found = totals(runtime)
            assert found["Questions"] == 4
            assert found["Server_Connections_created"] == 2
            rows = read(runtime, "stats_mysql_processlist")
            assert [row["command"] for row in rows] == ["Sleep"]
            assert commands(runtime) == {}
            ann.close()

    go(work())
