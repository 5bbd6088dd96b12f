# SPDX-License-Identifier: Apache-2.0
"""What third-party tools send to a ProxySQL admin, to a real process with traffic behind it.

test_console_tools.py asks whether each tool gets its answers, here they must also be true:

    proxysql.cnf ── hproxy run ── writes to hostgroup 10, SELECTs to 20: one real server each
    clients      ── a known number of statements, one session within a transaction
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mysql.connector
import MySQLdb
import pymysql
import pytest

from tests.support.console import Admin
from tests.support.operated import Operated
from tests.support.process import eventually
from tests.support.server import Server

CLI = ["mariadb", "--no-defaults", "--protocol=TCP", "-h127.0.0.1"]
WRITES, READS = 5, 20
CNF = """
datadir = "{folder}/data"
admin_variables = {{
    mysql_ifaces = "127.0.0.1:0"; admin_credentials = "admin:admin;radmin:radmin"
}}
mysql_variables = {{
    interfaces = "127.0.0.1:0"; max_connections = 2048
    monitor_username = "hproxy"; monitor_password = "hproxy"; monitor_ping_interval = 1000
}}
mysql_servers = (
    {{ address = "{writer.host}"; port = {writer.port}; hostgroup = 10; max_connections = 100 }},
    {{ address = "{reader.host}"; port = {reader.port}; hostgroup = 20; max_connections = 100 }}
)
mysql_users = ( {{ username = "hproxy"; password = "hproxy"; default_hostgroup = 10 }} )
mysql_query_rules = (
    {{ rule_id = 1; active = 1; match_digest = "^SELECT"; destination_hostgroup = 20; apply = 1 }}
)
proxysql_servers = ( {{ hostname = "proxysql-core"; port = 6032 }} )
"""


@dataclass(frozen=True)
class World:
    proxy: Operated
    writer: Server
    reader: Server

    @property
    def addresses(self) -> set[tuple[str, str, str]]:
        return {
            ("10", self.writer.host, str(self.writer.port)),
            ("20", self.reader.host, str(self.reader.port)),
        }


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, mariadb: Server, mysql9: Server
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("tools")
    file = folder / "proxysql.cnf"
    file.write_text(CNF.format(folder=folder, writer=mariadb, reader=mysql9))
    with (
        Operated(folder, file) as proxy,
        proxy.admin() as admin,
        proxy.client() as client,
        proxy.client() as busy,
    ):
        client("CREATE TEMPORARY TABLE tools (id INT)")
        for number in range(WRITES):
            client("INSERT INTO tools VALUES (%s)", number)
        for number in range(READS):
            busy(f"SELECT {number} FROM DUAL")
        client("DROP TEMPORARY TABLE tools")
        busy("BEGIN")
        busy("DO 1")  # only now the transaction needs a server
        latencies = "SELECT count(*) FROM stats_mysql_connection_pool WHERE Latency_us > 0"
        eventually(lambda: admin.one(latencies) == "2", "both servers were pinged")
        yield World(proxy, mariadb, mysql9)
        busy("ROLLBACK")


@pytest.fixture
def admin(world: World) -> Iterator[Admin]:
    """An operator; what runs and what memory holds is put back afterwards."""
    modules = ("MYSQL SERVERS", "MYSQL USERS", "MYSQL QUERY RULES", "MYSQL VARIABLES",
               "ADMIN VARIABLES", "PROXYSQL SERVERS", "SCHEDULER")  # fmt: skip
    with world.proxy.admin() as made:
        version = made.one("SELECT max(version) FROM hproxy_config_history")
        yield made
    with world.proxy.admin() as again:
        again(f"ROLLBACK CONFIG TO {version}")
        for module in modules:
            again(f"SAVE {module} FROM RUNTIME")


def cli(proxy: Operated, *statements: str, user: str = "admin") -> str:
    """What the client prints."""
    command = [*CLI, f"-P{proxy.number}", f"-u{user}", f"-p{user}", "-BN"]
    done = subprocess.run(
        [*command, "-e", " ".join(statements)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(text: str | None) -> int:
    """A count: no sign, nothing else."""
    assert text is not None
    assert re.fullmatch(r"\d+", text), text
    return int(text)


def test_ansible(world: World, admin: Admin) -> None:
    """community.proxysql: PyMySQL with a dict cursor, autocommit off."""
    connection = world.proxy.connect(
        autocommit=False, cursorclass=pymysql.cursors.DictCursor, database=""
    )
    cursor = connection.cursor()
    run = cursor.execute
    run("select version();")
    numbers, _ = cursor.fetchone()["version()"].split("-", 1)
    assert len(numbers.split(".")) == 3
    run("show tables")
    tables = [found["tables"] for found in cursor.fetchall()]
    for table in tables:
        run(f"select * from {table}")
        rows = cursor.fetchall()
        if table == "runtime_mysql_servers":
            assert {(r["hostgroup_id"], r["hostname"], r["port"]) for r in rows} == world.addresses
    assert {"mysql_servers", "runtime_mysql_users", "scheduler"} <= set(tables)
    key = (20, world.writer.host, world.writer.port)
    where = "WHERE hostgroup_id = %s AND hostname = %s AND port = %s"
    run(f"SELECT count(*) AS `host_count` FROM mysql_servers {where}", key)
    assert int(cursor.fetchone()["host_count"]) == 0
    run("INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (%s, %s, %s)", key)
    run(f"UPDATE mysql_servers SET weight = %s, comment = %s {where}", (1000, "it's \\ here", *key))
    assert cursor.rowcount == 1
    run("UPDATE global_variables SET variable_value = %s WHERE variable_name = %s",
        ("4096", "mysql-max_connections"))  # fmt: skip
    for section in ("MYSQL SERVERS", "MYSQL USERS", "MYSQL QUERY RULES", "MYSQL VARIABLES",
                    "ADMIN VARIABLES", " SCHEDULER"):  # fmt: skip
        run(f"LOAD {section} TO RUNTIME")
        run(f"SAVE {section} TO DISK")
    run("SELECT comment FROM runtime_mysql_servers WHERE weight = 1000")
    assert cursor.fetchall() == [{"comment": "it's \\ here"}]
    run("SELECT variable_value AS v FROM runtime_global_variables"
        " WHERE variable_name = 'mysql-max_connections'")  # fmt: skip
    assert cursor.fetchone()["v"] == "4096"
    run(f"DELETE FROM mysql_servers {where}", key)
    run("LOAD MYSQL SERVERS TO RUNTIME")
    connection.commit()
    connection.close()
    with world.proxy.client() as client:
        assert client.one("SELECT 1") == 1


def test_ansible_with_the_c_client(world: World, admin: Admin) -> None:
    """The same module over MySQLdb: a user that can log in at once."""
    connection: Any = MySQLdb.connect(
        host="127.0.0.1", port=world.proxy.number, user="admin", passwd="admin",
        ssl_mode="DISABLED",
    )  # fmt: skip
    cursor = connection.cursor()
    user = ("sha2", "sha2", 20)
    cursor.execute(
        "INSERT INTO mysql_users (username, password, default_hostgroup) VALUES (%s, %s, %s)", user
    )
    cursor.execute("LOAD MYSQL USERS TO RUNTIME")
    connection.close()
    with world.proxy.client("sha2", "sha2") as client:
        assert client.one("SELECT 1") == 1


def test_exporter(world: World, admin: Admin) -> None:
    """percona/proxysql_exporter."""
    totals = dict(admin("SELECT Variable_Name, Variable_Value FROM stats_mysql_global"))
    assert number(totals["Questions"]) >= WRITES + READS
    assert number(totals["Client_Connections_connected"]) >= 2
    assert number(totals["Active_Transactions"]) == 1
    assert number(totals["Server_Connections_created"]) >= 2
    pool = admin("SELECT hostgroup, srv_host, srv_port, * FROM stats_mysql_connection_pool")
    assert {row[:3] for row in pool} == {row[3:6] for row in pool} == world.addresses
    by_group = {row[0]: dict(zip(admin.names[3:], row[3:], strict=True)) for row in pool}
    assert {row["status"] for row in by_group.values()} == {"ONLINE"}
    assert number(by_group["10"]["ConnUsed"]) >= 1
    assert number(by_group["20"]["Queries"]) >= READS
    assert all(0 < number(row["Latency_us"]) < 1_000_000 for row in by_group.values())
    assert all(number(row["Bytes_data_recv"]) > 0 for row in by_group.values())
    rows = admin("SELECT hostgroup_id, hostname, port, gtid_port, * FROM runtime_mysql_servers")
    assert {row[:3] for row in rows} == world.addresses
    hosts = admin(
        "SELECT COUNT(cli_host) as connection_count, cli_host FROM stats_mysql_processlist"
        " GROUP BY cli_host"
    )
    assert hosts == [("2", "127.0.0.1")]
    assert ("hproxy", "test", "127.0.0.1", "10", "2") in admin(
        "SELECT user, db, cli_host, hostgroup, COUNT(*) as count from stats_mysql_processlist"
        " group by user, db, cli_host, hostgroup"
    )
    rows = admin(
        "SELECT Command, Total_Time_us, Total_cnt, cnt_100us, cnt_500us, cnt_1ms, cnt_5ms,"
        " cnt_10ms, cnt_50ms, cnt_100ms, cnt_500ms, cnt_1s, cnt_5s, cnt_10s, cnt_INFs"
        " FROM stats_mysql_commands_counters WHERE Command IN ('CREATE_TEMPORARY','DELETE',"
        "'INSERT','LOCK_TABLES','SELECT','SELECT_FOR_UPDATE','UPDATE')"
    )
    for _, total_us, total, *cells in rows:
        assert sum(map(number, cells)) == number(total)
        assert (number(total_us) > 0) == (number(total) > 0)
    counts = {row[0]: number(row[2]) for row in rows}
    assert counts["INSERT"] == WRITES
    assert counts["SELECT"] >= READS
    memory = dict(admin("select Variable_Name, Variable_Value  from stats_memory_metrics"))
    assert number(memory["SQLite3_memory_bytes"]) > 0


def test_agent_core(world: World, admin: Admin) -> None:
    """persona-id/proxysql-agent, the core pods."""
    admin("DELETE FROM mysql_servers")
    for section in ("ADMIN VARIABLES", "MYSQL VARIABLES", "MYSQL SERVERS", "MYSQL USERS",
                    "MYSQL QUERY RULES"):  # fmt: skip
        admin(f"LOAD {section} FROM CONFIG")
        admin(f"LOAD {section} TO RUNTIME")
    rows = admin("SELECT hostgroup_id, hostname, port FROM runtime_mysql_servers")
    assert set(rows) == world.addresses
    assert admin.one('SELECT count(*) FROM proxysql_servers WHERE hostname = "10.0.9.1"') == "0"
    admin('INSERT INTO proxysql_servers VALUES ("10.0.9.1", 6032, 0, "pod-1")')
    admin("LOAD PROXYSQL SERVERS TO RUNTIME")
    assert ("10.0.9.1",) in admin("SELECT hostname FROM runtime_proxysql_servers")
    admin('DELETE FROM proxysql_servers WHERE hostname = "10.0.9.1"')
    admin("DELETE FROM proxysql_servers WHERE hostname = 'proxysql-core'")
    assert admin("SELECT hostname FROM proxysql_servers") == []
    with world.proxy.client() as client:
        assert client.one("SELECT 1") == 1


def test_agent_satellite_and_probes(world: World, admin: Admin) -> None:
    missing = (
        "SELECT COUNT(hostname) FROM stats_proxysql_servers_metrics WHERE last_check_ms > 30000"
        " AND hostname != 'proxysql-core' AND Uptime_s > 0"
    )
    assert admin.one(missing) == "0"
    admin("DELETE FROM proxysql_servers")
    admin("LOAD PROXYSQL SERVERS FROM CONFIG")
    admin("LOAD PROXYSQL SERVERS TO RUNTIME")
    assert admin("SELECT hostname FROM runtime_proxysql_servers") == [("proxysql-core",)]
    counts = (
        "SELECT COUNT(*) AS total, COALESCE(SUM(CASE WHEN status='ONLINE' THEN 1 ELSE 0 END),0)"
        " AS online, COALESCE(SUM(CASE WHEN status LIKE '%SHUNNED%' THEN 1 ELSE 0 END),0)"
        " AS shunned FROM runtime_mysql_servers"
    )
    assert admin(counts) == [("2", "2", "0")]
    connected = (
        "SELECT Client_Connections_connected FROM mysql_connections ORDER BY timestamp DESC LIMIT 1"
    )
    number(admin.one(connected))
    many = number(admin.one("SELECT COUNT(*) FROM stats_mysql_query_digest"))
    digests = [row[5] for row in admin("SELECT * FROM stats_mysql_query_digest")]
    assert len(digests) == many
    assert "SELECT ? FROM DUAL" in digests
    try:
        admin("PROXYSQL PAUSE")
        with pytest.raises(pymysql.err.OperationalError):
            world.proxy.client().__enter__()
    finally:
        admin("PROXYSQL RESUME")
    with world.proxy.client() as client:
        assert client.one("SELECT 1") == 1


def test_pxc_operator(world: World, admin: Admin) -> None:
    """percona-xtradb-cluster-operator: Go with interpolation, and scripts with the CLI."""
    update = "UPDATE global_variables SET variable_value=%s WHERE variable_name=%s"
    admin(update, "admin:admin;proxyadmin:pw", "admin-admin_credentials")
    admin(update, "pw", "admin-cluster_password")
    admin(update, "hproxy", "mysql-monitor_password")
    for command in ("LOAD ADMIN VARIABLES TO RUNTIME", "SAVE ADMIN VARIABLES TO DISK",
                    "LOAD MYSQL VARIABLES TO RUNTIME", "SAVE MYSQL VARIABLES TO DISK"):  # fmt: skip
        admin(command)
    with world.proxy.admin("proxyadmin", "pw") as other:
        assert other("SELECT status FROM mysql_servers WHERE hostname LIKE %s;", "127.0.0.%")
    count = "SELECT COUNT(*) FROM runtime_mysql_servers WHERE hostgroup_id=%s AND hostname LIKE %s"
    assert admin.one(count, 10, "127.0.0%") == "1"
    assert admin("SELECT hostname FROM runtime_mysql_servers WHERE hostgroup_id = %s", 10)
    admin(
        "SELECT DISTINCT hostname FROM runtime_mysql_servers WHERE hostgroup_id != %s AND"
        " status='ONLINE' AND hostname NOT IN (SELECT hostname FROM runtime_mysql_servers"
        " WHERE hostgroup_id = %s)",
        10,
        10,
    )
    sql = 'SELECT variable_value FROM global_variables WHERE variable_name="mysql-have_ssl"'
    assert cli(world.proxy, f"{sql};").strip() == "true"
    out = cli(
        world.proxy,
        "UPDATE mysql_servers SET weight=1000 WHERE hostgroup_id IN (10, 8010)"
        ' AND hostname LIKE "127.%";',
        "SELECT count(*) FROM runtime_scheduler;",
        "SELECT COUNT(DISTINCT(hostname)) FROM mysql_servers;",
        "REPLACE INTO proxysql_servers VALUES ('10.2.0.1', 6032, 0, '');",
        "LOAD PROXYSQL SERVERS TO RUNTIME; SAVE PROXYSQL SERVERS TO DISK;",
        "LOAD MYSQL SERVERS TO RUNTIME;",
    )
    assert out.split() == ["0", "1"]
    weights = admin("SELECT weight FROM runtime_mysql_servers ORDER BY hostgroup_id")
    assert weights == [("1000",), ("1",)]


def test_proxysql_admin_and_status(world: World, admin: Admin) -> None:
    """percona proxysql-admin: the CLI in scripts."""
    cli(
        world.proxy,
        "DELETE FROM mysql_galera_hostgroups;",
        "INSERT INTO mysql_galera_hostgroups VALUES (30, 32, 31, 33, 0, 1, 2, 100, NULL);",
        "DELETE FROM  mysql_query_rules_fast_routing;",
        "LOAD mysql servers TO RUNTIME; SAVE MYSQL SERVERS FROM RUNTIME;",
    )
    for table in ("mysql_galera_hostgroups", "runtime_mysql_galera_hostgroups"):
        sql = f"SELECT writer_hostgroup || ',' || backup_writer_hostgroup FROM {table};"
        assert cli(world.proxy, sql) == "30,32\n"
    out = cli(world.proxy, "SELECT username,HEX(password) FROM mysql_users;")
    assert out == f"hproxy\t{b'hproxy'.hex().upper()}\n"
    sql = "SELECT * FROM runtime_global_variables WHERE variable_name='mysql-interfaces';"
    assert cli(world.proxy, sql).startswith("mysql-interfaces\t127.0.0.1:")
    for schema in ("stats", "monitor"):
        for table in cli(world.proxy, f"SHOW TABLES FROM {schema};").split():
            if not table.endswith("_reset"):
                cli(world.proxy, f"SELECT * FROM {schema}.{table};")
    pings = cli(world.proxy, "SELECT * FROM monitor.mysql_server_ping_log;").splitlines()
    for line in pings:
        host, port, _, took, error = line.split("\t")
        assert (host, error) == ("127.0.0.1", "NULL")
        assert port in {str(world.writer.port), str(world.reader.port)}
        assert 0 < int(took) < 5_000_000


def test_pxc_scheduler_handler(world: World, admin: Admin) -> None:
    """Tusamarco/pxc_scheduler_handler: a server comes, is set aside, moves."""
    columns = (
        "hostgroup_id,hostname,port,gtid_port,status,weight,compression,max_connections,"
        "max_replication_lag,use_ssl,max_latency_ms,comment"
    )
    key = f"hostname='{world.reader.host}' AND port={world.reader.port} AND hostgroup_id"
    admin(
        f"INSERT INTO mysql_servers ({columns}) VALUES"
        f" (8010,'{world.reader.host}',{world.reader.port},0,'ONLINE',1,0,100,0,0,0,'x')"
    )
    for change in ("status='OFFLINE_SOFT'", "comment='y'"):
        admin(f"UPDATE mysql_servers SET {change} WHERE {key}=8010")
        admin("LOAD mysql servers to RUN")
    found = "SELECT hostgroup, status FROM stats_mysql_connection_pool WHERE hostgroup >= 8010"
    assert admin(found) == [("8010", "OFFLINE_SOFT")]
    for change in ("status='ONLINE'", "hostgroup_id=8011"):
        admin(f"UPDATE mysql_servers SET {change} WHERE {key}=8010")
    admin("LOAD mysql servers to RUN")
    admin("SAVE mysql servers to DISK")
    admin("LOAD proxysql servers to RUN")
    assert admin(found) == [("8011", "ONLINE")]


def test_replication_manager(world: World, admin: Admin) -> None:
    """signal18/replication-manager."""
    admin(
        "REPLACE INTO mysql_servers (hostgroup_id, hostname, port) VALUES (10, %s, %s)",
        world.writer.host,
        world.writer.port,
    )
    admin("REPLACE INTO mysql_users (username, password) VALUES ('rm', 'x')")
    admin("REPLACE INTO mysql_replication_hostgroups VALUES (10, 20, 'read_only', '')")
    admin("INSERT IGNORE INTO mysql_query_rules_fast_routing VALUES ('u', 's', 0, 10, '')")
    ((group, status, used, sent, received, latency),) = admin(
        "SELECT hostgroup,status,ConnUsed,Bytes_data_sent,Bytes_data_recv,Latency_us FROM"
        " stats.stats_mysql_connection_pool INNER JOIN mysql_replication_hostgroups ON"
        " mysql_replication_hostgroups.writer_hostgroup = hostgroup"
    )
    assert (group, status) == ("10", "ONLINE")
    assert all(number(value) > 0 for value in (used, sent, received, latency))
    assert "-" in admin.one("SELECT @@admin-version")
    hosts = admin.one(
        "SELECT GROUP_CONCAT(host) AS hostlist FROM"
        " (SELECT hostname || ':' || port AS host FROM runtime_mysql_servers)"
    )
    assert set(hosts.split(",")) == {world.writer.address, world.reader.address}
    names = admin("SELECT UPPER(Variable_name), variable_value FROM runtime_global_variables")
    assert dict(names)["MYSQL-MAX_CONNECTIONS"] == "2048"
    assert admin.one("SELECT max(default_hostgroup)+1 FROM mysql_users") == "11"
    digests = admin("SELECT * FROM stats_history.stats_mysql_query_digest ORDER BY sum_time DESC")
    times = [number(row[admin.names.index("sum_time")]) for row in digests]
    assert times == sorted(times, reverse=True)
    assert times[0] > 0
    admin("SELECT * FROM stats_history.history_mysql_query_digest ORDER BY sum_time DESC")
    admin("PROXYSQL RELOAD TLS")


def test_replication_manager_moves_a_server(world: World, admin: Admin) -> None:
    """Numbers in quotes, rows made of rows, prepared statements, booleans as numbers."""
    host, port = world.reader.host, world.reader.port
    admin(
        "REPLACE INTO mysql_servers (hostgroup_id,hostname, port,weight,max_replication_lag,"
        f"max_connections,compression,use_ssl) VALUES('31','{host}','{port}','1','0','100','0','0')"
    )
    admin(
        f"UPDATE mysql_servers SET hostgroup_id='666' WHERE hostname='{host}' AND port='{port}'"
        "  AND hostgroup_id in ('31')"
    )
    columns = (
        "hostname, port, gtid_port, status, weight, compression, max_connections,"
        " max_replication_lag, use_ssl, max_latency_ms"
    )
    admin(
        f"REPLACE INTO mysql_servers (hostgroup_id, {columns}) SELECT '30', {columns} FROM"
        f" mysql_servers WHERE  hostgroup_id = '666' AND hostname = '{host}' AND port = '{port}'"
    )
    assert admin.affected == 1
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    groups = admin("SELECT hostgroup_id FROM runtime_mysql_servers WHERE hostgroup_id > 20")
    assert groups == [("30",), ("666",)]
    found = admin(
        "SELECT hostgroup, status, ConnUsed, Bytes_data_sent , Bytes_data_recv , Latency_us FROM"
        f" stats.stats_mysql_connection_pool WHERE hostgroup='30' AND srv_host='{host}'"
        f" AND srv_port='{port}'"
    )
    assert found[0][:3] == ("30", "ONLINE", "0")
    admin("SET mysql-monitor_writer_is_also_reader = 0")
    admin("LOAD MYSQL VARIABLES TO RUNTIME")
    value = (
        "SELECT UPPER(Variable_Value) AS value FROM runtime_global_variables WHERE"
        " variable_name = 'mysql-monitor_writer_is_also_reader'"
    )
    assert admin.one(value) == "FALSE"
    connection = mysql.connector.connect(
        host="127.0.0.1", port=world.proxy.number, user="admin", password="admin", use_pure=True,
        ssl_disabled=True,
    )  # fmt: skip
    cursor = connection.cursor(prepared=True)
    cursor.execute(
        "insert into mysql_query_rules (rule_id,active,username,schemaname,digest,match_digest,"
        "match_pattern, destination_hostgroup,mirror_hostgroup,multiplex,apply) "
        " VALUES(?,?,?,?,?,?,?,?,?,?,?)",
        (44, 1, None, None, None, "^SELECT 44", None, 30, None, None, 1),
    )
    connection.close()
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    rules = admin(
        "select rule_id,active,username,schemaname AS schemaname,digest,match_digest,"
        "match_pattern, destination_hostgroup,mirror_hostgroup,multiplex,apply"
        " from runtime_mysql_query_rules WHERE rule_id = 44"
    )
    assert rules == [("44", "1", None, None, None, "^SELECT 44", None, "30", None, None, "1")]


def test_proxysql_on_k8s(world: World, admin: Admin) -> None:
    """ProxySQL/proxysql-on-k8s: DELETE, one INSERT of many rows, LOAD, SAVE, drift check."""
    admin("DELETE FROM mysql_query_rules")
    admin(
        "INSERT INTO mysql_query_rules (rule_id, active, match_digest, error_msg, OK_msg)"
        " VALUES (1, 1, '^SELECT secret', 'no', NULL), (2, 1, '^DROP', NULL, '')"
    )
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    admin("SAVE MYSQL QUERY RULES TO DISK")
    rows = admin("SELECT rule_id, error_msg, OK_msg FROM runtime_mysql_query_rules")
    assert rows == [("1", "no", None), ("2", None, "")]
    with world.proxy.client() as client:
        assert client.refused("SELECT secret")[1] == "no"
        client("DROP TABLE nothing_of_this_name")  # answered by the rule: OK
    assert ("2", "1") in admin("SELECT rule_id, hits FROM stats_mysql_query_rules")
    admin("PROXYSQL RELOAD TLS")
    ((kind, days),) = admin("SELECT cert_type, days_until_expiry FROM stats_tls_certificates")
    assert kind == "server"
    assert number(days) > 0
    assert len(admin("SELECT * FROM stats_mysql_hostgroup_connection_pool")) == 2


def test_puppet(world: World, admin: Admin) -> None:
    """voxpupuli/puppet-proxysql: back-ticks and tab-separated output."""
    out = cli(
        world.proxy,
        "INSERT INTO `mysql_servers` (`hostgroup_id`, `hostname`, `port`) VALUES (77, 'p', 3306);",
        "SELECT `hostgroup_id`, `hostname`, `comment` FROM `mysql_servers`"
        " WHERE `hostgroup_id` = 77;",
        "DELETE FROM `mysql_servers` WHERE `hostgroup_id` = 77;",
    )
    assert out == "77\tp\t\n"
    assert "admin-admin_credentials\t" in cli(world.proxy, "SHOW GLOBAL VARIABLES;")
    sql = "SELECT variable_value FROM global_variables WHERE variable_name='admin-mysql_ifaces';"
    assert cli(world.proxy, sql).startswith("127.0.0.1:")
    cli(
        world.proxy,
        "LOAD ADMIN VARIABLES FROM CONFIG; LOAD ADMIN VARIABLES TO RUNTIME;",
        "SAVE ADMIN VARIABLES TO DISK;",
    )


def test_vinted_chef(world: World, admin: Admin) -> None:
    for section in ("MYSQL SERVERS", "MYSQL USERS", "MYSQL QUERY RULES", "MYSQL VARIABLES"):
        cli(
            world.proxy,
            f"LOAD {section} FROM CONFIG; LOAD {section} TO RUNTIME; SAVE {section} TO DISK;",
            f"LOAD {section} FROM DISK; LOAD {section} TO RUNTIME;",
        )
    sql = "SELECT count(*) FROM monitor.mysql_server_ping_log WHERE ping_error IS NOT NULL;"
    assert cli(world.proxy, sql) == "0\n"
    rows = admin("SELECT hostgroup_id, hostname, port FROM runtime_mysql_servers")
    assert set(rows) == world.addresses


def test_datadog(world: World) -> None:
    """The stats user, over PyMySQL with a dict cursor."""
    connection = world.proxy.connect("stats", "stats", cursorclass=pymysql.cursors.DictCursor)
    with connection.cursor() as cursor:

        def rows(sql: str) -> list[dict[str, Any]]:
            cursor.execute(sql)
            return list(cursor.fetchall())

        assert rows("SELECT * FROM stats.stats_mysql_global") or rows("SELECT 1")
        counters = rows(
            "SELECT Command, Total_time_us, Total_cnt, cnt_100us, cnt_INFs"
            " FROM stats.stats_mysql_commands_counters WHERE Total_cnt > 0"
        )
        assert {"SELECT", "INSERT"} <= {row["Command"] for row in counters}
        pool = rows(
            "SELECT hostgroup, srv_host, srv_port, status, ConnUsed, ConnFree, ConnOK, ConnERR,"
            " Queries, Bytes_data_sent, Bytes_data_recv, Latency_us"
            " FROM stats.stats_mysql_connection_pool"
        )
        assert {row["ConnERR"] for row in pool} == {"0"}
        assert all(number(row["ConnOK"]) > 0 for row in pool)
        (user,) = rows(
            "SELECT username, frontend_connections, frontend_max_connections"
            " FROM stats.stats_mysql_users"
        )
        assert (user["username"], user["frontend_connections"]) == ("hproxy", "2")
        assert rows("SELECT * FROM stats.stats_memory_metrics")
        (rule,) = rows("SELECT rule_id, hits FROM stats.stats_mysql_query_rules")
        assert number(rule["hits"]) >= 0
        assert rows("SELECT * FROM stats_mysql_global")
        with pytest.raises(pymysql.err.MySQLError):
            rows("SELECT * FROM mysql_users")
    connection.close()


def test_netdata(world: World, admin: Admin) -> None:
    assert admin.one("select version();")
    for table in ("stats_mysql_global", "stats_memory_metrics", "stats_mysql_commands_counters",
                  "stats_mysql_users", "stats_mysql_connection_pool"):  # fmt: skip
        assert admin(f"SELECT * FROM {table};")


def test_monitor_scripts(world: World, admin: Admin) -> None:
    with world.proxy.client() as client:
        for name in ("nowhere_1", "nowhere_2"):
            assert client.refused(f"SELECT * FROM {name}")[0] == 1146
    assert number(admin.one("SELECT sum(count_star) FROM stats_mysql_errors")) >= 2
    assert len(admin("SELECT * FROM stats_mysql_errors_reset LIMIT 1")) == 1
    assert admin("SELECT * FROM stats_mysql_errors") == []
    assert admin.one("SELECT @@version_comment AS version;")
    assert admin.names == ("version",)


@pytest.mark.parametrize("table", ["mysql_servers", "mysql_users", "global_variables"])
def test_user_interfaces(world: World, admin: Admin, table: str) -> None:
    """Three layers side by side: the same once all is saved."""
    for module in ("SERVERS", "USERS", "VARIABLES"):
        admin(f"SAVE MYSQL {module} TO DISK")
    admin("SAVE ADMIN VARIABLES TO DISK")
    memory = admin(f"SELECT * FROM main.{table}")
    assert memory
    names = [f"disk.{table}", f"runtime_{table}"]
    if table == "mysql_users":  # whose passwords run hashed, in a row for each side
        assert set(admin("SELECT username FROM runtime_mysql_users")) == {("hproxy",)}
        names.pop()
    for name in names:
        assert sorted(admin(f"SELECT * FROM {name}"), key=str) == sorted(memory, key=str), name
    for name in ("stats_proxysql_servers_checksums", "stats_proxysql_servers_metrics",
                 "stats_proxysql_servers_status", "stats_history.mysql_connections",
                 "monitor.mysql_server_ping_log", "monitor.mysql_server_connect_log"):  # fmt: skip
        admin(f"SELECT * FROM {name}")


def test_twindb(world: World, admin: Admin) -> None:
    """twindb proxysql-tools and go-proxysql."""
    values = (20, world.writer.host, world.writer.port)
    admin("REPLACE INTO mysql_servers (hostgroup_id, hostname, port) VALUES (%s, %s, %s)", *values)
    key = "WHERE hostgroup_id = %s AND hostname = %s AND port = %s"
    assert admin(f"SELECT status FROM mysql_servers {key}", *values) == [("ONLINE",)]
    admin("REPLACE INTO mysql_users (username, default_hostgroup) VALUES ('t', 20)")
    for section in ("SERVERS", "USERS"):
        admin(f"LOAD MYSQL {section} TO RUNTIME")
        admin(f"SAVE MYSQL {section} TO DISK")
    assert admin(f"SELECT status FROM runtime_mysql_servers {key}", *values) == [("ONLINE",)]
    assert ("t",) in admin("SELECT username FROM runtime_mysql_users")
