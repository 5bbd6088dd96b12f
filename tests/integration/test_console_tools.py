# SPDX-License-Identifier: Apache-2.0
"""What third-party tools send to a ProxySQL admin, each with its driver's way of sending it.

The statements are those of the tools' sources; the answers are what each needs to go on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import MySQLdb
import pymysql
import pytest

from hproxy.admin.console import File
from tests.support.console import Admin, FakePort, Served, row, serving

CNF = """
admin_variables = { admin_credentials = "admin:admin;radmin:radmin" }
mysql_variables = { max_connections = 2048 }
mysql_servers = ( { address = "10.0.0.1", port = 3306, hostgroup = 10 } )
mysql_users = ( { username = "app", password = "app", default_hostgroup = 10 } )
mysql_query_rules = ( { rule_id = 1, match_digest = "^SELECT", destination_hostgroup = 10 } )
proxysql_servers = ( { hostname = "proxysql-core", port = 6032 } )
"""
POOL = [
    (10, "10.0.0.1", 3306, "ONLINE", 2, 3, 40, 1, 5, 100, 0, 9000, 8000, 420),
    (20, "10.0.0.2", 3306, "SHUNNED", 0, 0, 4, 7, 1, 10, 0, 900, 800, 990),
]
PROCESSES = [
    (0, 1, "app", "d", "10.9.0.1", 1, 10, "l", 1, "10.0.0.1", 3306, "Sleep", 0, None, 0, None),
    (0, 2, "app", "d", "10.9.0.1", 2, 10, "l", 1, "10.0.0.1", 3306, "Query", 9, "S", 0, None),
]
COMMANDS = [("SELECT", *range(14)), ("UPDATE", *range(14)), ("BEGIN", *range(14))]
CLI = ["mariadb", "--no-defaults", "--protocol=TCP", "-h127.0.0.1"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = FakePort()
    port.loaded["mysql_servers"] = [
        row("mysql_servers", hostgroup_id=10, hostname="10.0.0.1"),
        row("mysql_servers", hostgroup_id=20, hostname="10.0.0.2"),
    ]
    port.tables |= {
        "stats_mysql_global": [("ProxySQL_Uptime", "12"), ("Questions", "5")],
        "stats_memory_metrics": [("SQLite3_memory_bytes", "4096")],
        "stats_mysql_connection_pool": list(POOL),
        "stats_mysql_processlist": list(PROCESSES),
        "stats_mysql_commands_counters": list(COMMANDS),
        "stats_mysql_users": [("app", 3, 10000)],
        "stats_mysql_query_rules": [(1, 17)],
        "mysql_server_ping_log": [("10.0.0.1", 3306, 1, 200, None)],
    }
    path = tmp_path_factory.mktemp("console") / "proxysql.cnf"
    path.write_text(CNF)
    with serving(port, config_file=File(path)) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        yield made


def cli(served: Served, *statements: str, user: str = "admin", flags: str = "-BN") -> str:
    """What the client prints."""
    command = [*CLI, f"-P{served.number}", f"-u{user}", f"-p{user}", flags]
    done = subprocess.run(
        [*command, "-e", " ".join(statements)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ansible(served: Served) -> None:
    """community.proxysql: PyMySQL with a dict cursor, autocommit off."""
    connection = served.connect(autocommit=False, cursorclass=pymysql.cursors.DictCursor)
    cursor = connection.cursor()
    run = cursor.execute
    run("select version();")
    numbers, _ = cursor.fetchone()["version()"].split("-", 1)
    assert len(numbers.split(".")) == 3
    run("show tables")
    for found in cursor.fetchall():
        run(f"select * from {found['tables']}")
        cursor.fetchall()
    key = (30, "10.1.0.1", 3306)
    where = "WHERE hostgroup_id = %s AND hostname = %s AND port = %s"
    count = f"SELECT count(*) AS `host_count` FROM mysql_servers {where}"
    run(count, key)
    assert int(cursor.fetchone()["host_count"]) == 0
    run("INSERT INTO mysql_servers (hostgroup_id, hostname, port) VALUES (%s, %s, %s)", key)
    assert cursor.rowcount == 1
    run(f"{count} AND weight = %s AND comment = %s", (*key, 1, ""))
    assert int(cursor.fetchone()["host_count"]) == 1
    run(f"UPDATE mysql_servers SET weight = %s, comment = %s {where}", (5, "it's \\ here", *key))
    run(f"SELECT * FROM mysql_servers {where}", key)
    assert cursor.fetchone()["comment"] == "it's \\ here"
    run(f"DELETE FROM mysql_servers {where}", key)
    assert cursor.rowcount == 1
    run(
        "SELECT count(*) AS `user_count` FROM mysql_users"
        " WHERE username = %s AND backend = %s AND frontend = %s",
        ("app", 1, 1),
    )
    run("SELECT count(*) AS `rule_count` FROM mysql_query_rules WHERE rule_id = %s", (1,))
    run("SELECT count(*) AS `repl_groups` FROM mysql_replication_hostgroups")
    run("SELECT count(*) AS `galera_groups` FROM mysql_galera_hostgroups")
    run("SELECT count(*) AS `schedule_count` FROM scheduler")
    pair = ("mysql-max_connections", "4096")
    run("UPDATE global_variables SET variable_value = %s WHERE variable_name = %s", pair[::-1])
    run(
        "SELECT count(*) AS `variable_count` FROM global_variables"
        " WHERE variable_name = %s and variable_value = %s",
        pair,
    )
    assert int(cursor.fetchone()["variable_count"]) == 1
    for section in ("MYSQL SERVERS", "MYSQL USERS", "MYSQL QUERY RULES", "MYSQL VARIABLES",
                    "ADMIN VARIABLES", " SCHEDULER"):  # fmt: skip
        run(f"LOAD {section} TO RUNTIME")
        run(f"SAVE {section} TO DISK")
    for action in ("LOAD {} FROM MEMORY", "LOAD {} FROM DISK", "SAVE {} FROM RUNTIME",
                   "LOAD {} FROM CONFIG", "SAVE {} FROM MEMORY"):  # fmt: skip
        run(action.format("MYSQL USERS"))
    connection.commit()
    connection.close()
    served.port.loaded["mysql_servers"] = [
        row("mysql_servers", hostgroup_id=10, hostname="10.0.0.1"),
        row("mysql_servers", hostgroup_id=20, hostname="10.0.0.2"),
    ]


def test_ansible_with_the_c_client(served: Served) -> None:
    """The same module over MySQLdb."""
    connection: Any = MySQLdb.connect(
        host="127.0.0.1", port=served.number, user="admin", passwd="admin", ssl_mode="DISABLED"
    )
    cursor = connection.cursor()
    cursor.execute("INSERT INTO mysql_query_rules (match_pattern) VALUES (%s)", (r"^a\.b 'x'$",))
    cursor.execute("SELECT match_pattern FROM mysql_query_rules")
    assert cursor.fetchall()[-1] == (r"^a\.b 'x'$",)
    cursor.execute("DELETE FROM mysql_query_rules")
    connection.close()


def test_exporter(admin: Admin) -> None:
    """percona/proxysql_exporter."""
    assert dict(admin("SELECT Variable_Name, Variable_Value FROM stats_mysql_global"))
    rows = admin("SELECT hostgroup, srv_host, srv_port, * FROM stats_mysql_connection_pool")
    assert rows[0][:6] == ("10", "10.0.0.1", "3306", "10", "10.0.0.1", "3306")
    rows = admin("SELECT hostgroup_id, hostname, port, gtid_port, * FROM runtime_mysql_servers")
    assert len(rows[0]) == 4 + 12
    assert admin(
        "SELECT COUNT(cli_host) as connection_count, cli_host FROM stats_mysql_processlist"
        " GROUP BY cli_host"
    ) == [("2", "10.9.0.1")]
    assert admin(
        "SELECT user, db, cli_host, hostgroup, COUNT(*) as count from stats_mysql_processlist"
        " group by user, db, cli_host, hostgroup"
    ) == [("app", "d", "10.9.0.1", "10", "2")]
    rows = admin(
        "SELECT Command, Total_Time_us, Total_cnt, cnt_100us, cnt_500us, cnt_1ms, cnt_5ms,"
        " cnt_10ms, cnt_50ms, cnt_100ms, cnt_500ms, cnt_1s, cnt_5s, cnt_10s, cnt_INFs"
        " FROM stats_mysql_commands_counters WHERE Command IN ('CREATE_TEMPORARY','DELETE',"
        "'INSERT','LOCK_TABLES','SELECT','SELECT_FOR_UPDATE','UPDATE')"
    )
    assert [found[0] for found in rows] == ["SELECT", "UPDATE"]
    assert admin("select Variable_Name, Variable_Value  from stats_memory_metrics")


def test_agent_core(served: Served, admin: Admin) -> None:
    """persona-id/proxysql-agent, the core pods."""
    for section in ("ADMIN VARIABLES", "MYSQL VARIABLES", "MYSQL SERVERS", "MYSQL USERS",
                    "MYSQL QUERY RULES"):  # fmt: skip
        admin(f"LOAD {section} FROM CONFIG")
        admin(f"LOAD {section} TO RUNTIME")
    assert served.port.variables.number("mysql-max_connections") == 2048
    assert admin.one('SELECT count(*) FROM proxysql_servers WHERE hostname = "10.0.9.1"') == "0"
    admin('INSERT INTO proxysql_servers VALUES ("10.0.9.1", 6032, 0, "pod-1")')
    assert admin("SELECT hostname FROM proxysql_servers") == [("10.0.9.1",)]
    admin("LOAD PROXYSQL SERVERS TO RUNTIME")
    admin("DELETE FROM proxysql_servers WHERE hostname = 'proxysql-core'")
    admin('DELETE FROM proxysql_servers WHERE hostname = "10.0.9.1"')


def test_agent_satellite_and_probes(served: Served, admin: Admin) -> None:
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
    ((total, online, shunned),) = admin(counts)
    assert int(total) == int(online) > 0
    assert shunned == "0"
    admin(
        "SELECT Client_Connections_connected FROM mysql_connections ORDER BY timestamp DESC LIMIT 1"
    )
    assert admin.one("SELECT COUNT(*) FROM stats_mysql_query_digest") == "0"
    admin("SELECT * FROM stats_mysql_query_digest")
    admin("PROXYSQL PAUSE")
    admin("PROXYSQL SHUTDOWN")
    assert served.port.orders[-2:] == [("pause",), ("shutdown",)]


def test_pxc_operator(served: Served, admin: Admin) -> None:
    """percona-xtradb-cluster-operator: Go with interpolation, and scripts with the CLI."""
    for name, value in (
        ("admin-admin_credentials", "admin:admin;proxyadmin:pw"),
        ("admin-cluster_password", "pw"),
        ("mysql-monitor_password", "mp"),
    ):
        admin("UPDATE global_variables SET variable_value=%s WHERE variable_name=%s", value, name)
    for command in ("LOAD ADMIN VARIABLES TO RUNTIME", "SAVE ADMIN VARIABLES TO DISK",
                    "LOAD MYSQL VARIABLES TO RUNTIME", "SAVE MYSQL VARIABLES TO DISK"):  # fmt: skip
        admin(command)
    assert served.port.variables.text("mysql-monitor_password") == "mp"
    admin("SELECT status FROM mysql_servers WHERE hostname LIKE %s;", "10.0.0.%")
    count = "SELECT COUNT(*) FROM runtime_mysql_servers WHERE hostgroup_id=%s AND hostname LIKE %s"
    assert admin.one(count, 10, "10.0.0%") == "1"
    admin("SELECT hostname FROM runtime_mysql_servers WHERE hostgroup_id = %s", 10)
    admin(
        "SELECT DISTINCT hostname FROM runtime_mysql_servers WHERE hostgroup_id != %s AND"
        " status='ONLINE' AND hostname NOT IN (SELECT hostname FROM runtime_mysql_servers"
        " WHERE hostgroup_id = %s)",
        10,
        10,
    )
    sql = 'SELECT variable_value FROM global_variables WHERE variable_name="mysql-have_ssl"'
    assert cli(served, f"{sql};").strip() in ("true", "false")
    out = cli(
        served,
        "UPDATE mysql_servers SET weight=1000 WHERE hostgroup_id IN (10, 8010)"
        ' AND hostname LIKE "pod%";',
        "SELECT count(*) FROM runtime_scheduler;",
        "SELECT COUNT(DISTINCT(hostname)) FROM mysql_servers;",
        "REPLACE INTO proxysql_servers VALUES ('10.2.0.1', 6032, 0, '');",
        "LOAD PROXYSQL SERVERS TO RUNTIME; SAVE PROXYSQL SERVERS TO DISK;",
    )
    assert out.split()[0] == "0"


def test_proxysql_admin_and_status(served: Served, admin: Admin) -> None:
    """percona proxysql-admin: the CLI in scripts."""
    cli(
        served,
        "DELETE FROM mysql_galera_hostgroups;",
        "INSERT INTO mysql_galera_hostgroups VALUES (10, 12, 11, 13, 1, 1, 2, 100, NULL);",
        "DELETE FROM  mysql_query_rules_fast_routing;",
        "LOAD mysql servers TO RUNTIME; SAVE MYSQL SERVERS FROM RUNTIME;",
    )
    for table in ("mysql_galera_hostgroups", "runtime_mysql_galera_hostgroups"):
        sql = f"SELECT writer_hostgroup || ',' || backup_writer_hostgroup FROM {table};"
        assert cli(served, sql) == "10,12\n"
    admin("INSERT INTO mysql_users (username, password) VALUES ('hexed', 'ab')")
    out = cli(served, "SELECT username,HEX(password) FROM mysql_users WHERE username='hexed';")
    assert out == "hexed\t6162\n"
    sql = "SELECT * FROM runtime_global_variables WHERE variable_name='mysql-interfaces';"
    assert cli(served, sql).startswith("mysql-interfaces\t")
    for schema in ("main", "stats", "monitor"):
        for table in cli(served, f"SHOW TABLES FROM {schema};").split():
            cli(served, f"SELECT * FROM {schema}.{table};")
    # A script that reads every table zeroes counters, here as there.
    assert "stats_mysql_connection_pool" not in served.port.tables
    served.port.tables["stats_mysql_connection_pool"] = list(POOL)
    admin("DELETE FROM mysql_users")
    admin("DELETE FROM mysql_galera_hostgroups")


def test_pxc_scheduler_handler(admin: Admin) -> None:
    """Tusamarco/pxc_scheduler_handler."""
    columns = (
        "hostgroup_id,hostname,port,gtid_port,status,weight,compression,max_connections,"
        "max_replication_lag,use_ssl,max_latency_ms,comment"
    )
    admin(
        f"INSERT INTO mysql_servers ({columns}) VALUES"
        " (8010,'10.3.0.1',3306,0,'ONLINE',1,0,100,0,0,0,'x')"
    )
    for change in ("status='OFFLINE_SOFT'", "status='ONLINE'", "comment='y'", "hostgroup_id=8011"):
        admin(f"UPDATE mysql_servers SET {change} WHERE hostname='10.3.0.1' AND port=3306")
    admin("LOAD mysql servers to RUN")
    admin("SAVE mysql servers to DISK")
    admin("LOAD proxysql servers to RUN")
    assert ("8011",) in admin("SELECT hostgroup_id FROM runtime_mysql_servers")


def test_replication_manager(served: Served, admin: Admin) -> None:
    """signal18/replication-manager."""
    admin("REPLACE INTO mysql_servers (hostgroup_id, hostname) VALUES (10, '10.0.0.1')")
    admin("REPLACE INTO mysql_users (username, password) VALUES ('rm', 'x')")
    admin("REPLACE INTO mysql_replication_hostgroups VALUES (10, 20, 'read_only', '')")
    admin("INSERT IGNORE INTO mysql_query_rules_fast_routing VALUES ('u', 's', 0, 10, '')")
    rows = admin(
        "SELECT hostgroup,status,ConnUsed,Bytes_data_sent,Bytes_data_recv,Latency_us FROM"
        " stats.stats_mysql_connection_pool INNER JOIN mysql_replication_hostgroups ON"
        " mysql_replication_hostgroups.writer_hostgroup = hostgroup"
    )
    assert rows == [("10", "ONLINE", "2", "9000", "8000", "420")]
    assert "-" in admin.one("SELECT @@admin-version")
    hosts = admin.one(
        "SELECT GROUP_CONCAT(host) AS hostlist FROM"
        " (SELECT hostname || ':' || port AS host FROM runtime_mysql_servers)"
    )
    assert ":3306" in hosts
    names = admin("SELECT UPPER(Variable_name), variable_value FROM runtime_global_variables")
    assert "MYSQL-MAX_CONNECTIONS" in dict(names)
    assert admin.one("SELECT max(default_hostgroup)+1 FROM mysql_users") == "1"
    admin("SELECT * FROM stats_history.history_mysql_query_digest ORDER BY sum_time DESC")
    admin("PROXYSQL RELOAD TLS")
    admin("PROXYSQL KILL")
    assert served.port.orders[-2:] == [("reload_tls",), ("kill",)]
    for table in ("mysql_users", "mysql_replication_hostgroups"):
        admin(f"DELETE FROM {table}")


def test_proxysql_on_k8s(admin: Admin) -> None:
    """ProxySQL/proxysql-on-k8s: DELETE, one INSERT of many rows, LOAD, SAVE, drift check."""
    admin("DELETE FROM mysql_query_rules")
    admin(
        "INSERT INTO mysql_query_rules (rule_id, active, match_digest, error_msg, replace_pattern)"
        " VALUES (1, 1, '^SELECT', NULL, NULL), (2, 1, '^DROP', '', NULL)"
    )
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    admin("SAVE MYSQL QUERY RULES TO DISK")
    rows = admin("SELECT rule_id, error_msg, replace_pattern FROM runtime_mysql_query_rules")
    assert rows == [("1", None, None), ("2", "", None)]
    admin("PROXYSQL RELOAD TLS")
    admin("SELECT * FROM stats_tls_certificates")
    admin("SELECT * FROM stats_mysql_hostgroup_connection_pool")
    admin("DELETE FROM mysql_query_rules")


def test_puppet(served: Served) -> None:
    """voxpupuli/puppet-proxysql: back-ticks and tab-separated output."""
    out = cli(
        served,
        "INSERT INTO `mysql_servers` (`hostgroup_id`, `hostname`, `port`) VALUES (77, 'p', 3306);",
        "SELECT `hostgroup_id`, `hostname`, `comment` FROM `mysql_servers`"
        " WHERE `hostgroup_id` = 77;",
        "DELETE FROM `mysql_servers` WHERE `hostgroup_id` = 77;",
    )
    assert out == "77\tp\t\n"
    assert "admin-admin_credentials\t" in cli(served, "SHOW GLOBAL VARIABLES;")
    sql = "SELECT variable_value FROM global_variables WHERE variable_name='admin-mysql_ifaces';"
    assert cli(served, sql)
    cli(
        served,
        "LOAD ADMIN VARIABLES FROM CONFIG; LOAD ADMIN VARIABLES TO RUNTIME;",
        "SAVE ADMIN VARIABLES TO DISK;",
    )
    assert cli(served, "SELECT replace_pattern FROM (SELECT NULL AS replace_pattern);") == "NULL\n"


def test_vinted_chef(served: Served) -> None:
    for section in ("MYSQL SERVERS", "MYSQL USERS", "MYSQL QUERY RULES", "MYSQL VARIABLES"):
        cli(
            served,
            f"LOAD {section} FROM DISK; LOAD {section} TO RUNTIME; SAVE {section} TO DISK;",
        )
    sql = "SELECT count(*) FROM monitor.mysql_server_ping_log WHERE ping_error IS NOT NULL;"
    assert cli(served, sql) == "0\n"


def test_datadog(served: Served) -> None:
    """The stats user, over PyMySQL with a dict cursor."""
    connection = served.connect("stats", "stats", cursorclass=pymysql.cursors.DictCursor)
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for sql in (
            "SELECT * FROM stats.stats_mysql_global",
            "SELECT Command, Total_time_us, Total_cnt, cnt_100us, cnt_INFs"
            " FROM stats.stats_mysql_commands_counters",
            "SELECT hostgroup, srv_host, srv_port, status, ConnUsed, ConnFree, ConnOK, ConnERR,"
            " Queries, Bytes_data_sent, Bytes_data_recv, Latency_us"
            " FROM stats.stats_mysql_connection_pool",
            "SELECT username, frontend_connections, frontend_max_connections"
            " FROM stats.stats_mysql_users",
            "SELECT * FROM stats.stats_memory_metrics",
            "SELECT rule_id, hits FROM stats.stats_mysql_query_rules",
            "SELECT * FROM stats_mysql_global",
        ):
            cursor.execute(sql)
            rows = cursor.fetchall()
            assert rows, sql
            found |= rows[0]
    assert {"Variable_Value", "Total_Time_us", "frontend_connections", "hits"} <= found.keys()
    connection.close()


def test_netdata(admin: Admin) -> None:
    assert admin.one("select version();")
    for table in ("stats_mysql_global", "stats_memory_metrics", "stats_mysql_commands_counters",
                  "stats_mysql_users", "stats_mysql_connection_pool"):  # fmt: skip
        assert admin(f"SELECT * FROM {table};")


def test_monitor_scripts(served: Served, admin: Admin) -> None:
    served.port.tables["stats_mysql_errors"] = [
        (1, "h", 3306, "u", "", "s", 1064, 3, 1, 2, "text"),
        (2, "h", 3306, "u", "", "s", 1064, 3, 1, 2, "text"),
    ]
    assert len(admin("SELECT * FROM stats_mysql_errors_reset LIMIT 1")) == 1
    assert admin("SELECT * FROM stats_mysql_errors") == []
    assert admin.one("SELECT @@version_comment AS version;")
    assert admin.names == ("version",)


@pytest.mark.parametrize("table", ["mysql_servers", "mysql_users", "global_variables"])
def test_user_interfaces(admin: Admin, table: str) -> None:
    """Three layers side by side."""
    for name in (f"main.{table}", f"disk.{table}", f"runtime_{table}"):
        admin(f"SELECT * FROM {name}")
    for name in ("stats_proxysql_servers_checksums", "stats_proxysql_servers_metrics",
                 "stats_proxysql_servers_status", "stats_history.mysql_connections",
                 "monitor.mysql_server_ping_log", "monitor.mysql_server_connect_log"):  # fmt: skip
        admin(f"SELECT * FROM {name}")


def test_twindb(admin: Admin) -> None:
    """twindb proxysql-tools and go-proxysql."""
    admin("REPLACE INTO mysql_servers (hostgroup_id, hostname, port) VALUES (50, 't', 3306)")
    key = "WHERE hostgroup_id = 50 AND hostname = 't' AND port = 3306"
    assert admin(f"SELECT status FROM mysql_servers {key}") == [("ONLINE",)]
    admin("REPLACE INTO mysql_users (username, default_hostgroup) VALUES ('t', 50)")
    for section in ("SERVERS", "USERS"):
        admin(f"LOAD MYSQL {section} TO RUNTIME")
        admin(f"SAVE MYSQL {section} TO DISK")
    admin(f"DELETE FROM mysql_servers {key}")


def test_the_interactive_client(served: Served, tmp_path: Path) -> None:
    """Start-up questions, columns in a table, an error's number and SQLSTATE, a file of SQL."""
    script = tmp_path / "script.sql"
    script.write_text(
        "/*!40101 SET NAMES utf8 */;\n-- a remark\nUSE main;\nBEGIN;\n"
        "SHOW DATABASES;\nSELECT DATABASE();\nCOMMIT;\nnonsense;\n"
    )
    command = [*CLI, f"-P{served.number}", "-uadmin", "-padmin", "-t"]
    done = subprocess.run(
        command, input=script.read_text(), capture_output=True, text=True, check=False
    )
    assert "| seq  | name " in done.stdout
    assert "stats_history" in done.stdout
    assert "ERROR 1045 (28000)" in done.stderr
    assert "ProxySQL Admin Error: near" in done.stderr


def test_a_dump_can_be_read_back(served: Served, admin: Admin) -> None:
    admin("DELETE FROM mysql_query_rules")
    admin("INSERT INTO mysql_query_rules (rule_id, match_pattern) VALUES (5, %s)", r"it's \d")
    wanted = admin("SELECT * FROM mysql_query_rules")
    command = ["mariadb-dump", *CLI[1:], f"-P{served.number}", "-uadmin", "-padmin"]
    flags = ["--no-create-info", "--no-tablespaces", "--skip-triggers"]
    dump = subprocess.run(
        [*command, *flags, "main", "mysql_query_rules"], capture_output=True, text=True, check=False
    )
    assert dump.returncode == 0, dump.stderr
    admin("DELETE FROM mysql_query_rules")
    back = subprocess.run(
        [*CLI, f"-P{served.number}", "-uadmin", "-padmin"],
        input=dump.stdout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert back.returncode == 0, back.stderr
    assert admin("SELECT * FROM mysql_query_rules") == wanted
    admin("DELETE FROM mysql_query_rules")
