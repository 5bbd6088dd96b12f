# SPDX-License-Identifier: Apache-2.0
"""The twelve quirks of ProxySQL's admin that tools rely on, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pymysql
import pytest

from hproxy.config.proxysql.catalogue import STATS_TABLES
from tests.support.console import Admin, FakePort, Served, row, serving

POOL = [
    (1, "10.0.0.1", 3306, "ONLINE", 2, 3, 40, 1, 5, 100, 0, 9000, 8000, 420),
    (2, "10.0.0.2", 3306, "SHUNNED", 0, 0, 4, 7, 1, 10, 0, 900, 800, 990),
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    port = FakePort()
    port.tables["stats_mysql_connection_pool"] = list(POOL)
    with serving(port) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        for table in ("mysql_servers", "mysql_query_rules", "mysql_replication_hostgroups"):
            made(f"DELETE FROM {table}")
        yield made


# 1: five schemas, names without one resolve across all of them


def test_databases_are_three_columns(admin: Admin) -> None:
    rows = admin("SHOW DATABASES")
    assert admin.names == ("seq", "name", "file")
    assert [name for _, name, _ in rows] == ["main", "disk", "stats", "monitor", "stats_history"]
    assert [seq for seq, _, _ in rows] == ["0", "2", "3", "4", "5"]


def test_bare_names_are_found_in_every_schema(served: Served, admin: Admin) -> None:
    assert admin("SELECT Client_Connections_connected FROM mysql_connections") == []
    assert admin("SELECT * FROM mysql_server_ping_log") == []
    assert admin("SELECT * FROM monitor.mysql_server_ping_log") == []
    assert len(admin("SELECT * FROM stats_mysql_connection_pool")) == 2
    assert len(admin("SELECT * FROM stats.stats_mysql_connection_pool")) == 2


def test_disk_is_a_schema_that_can_be_read_and_written(admin: Admin) -> None:
    admin("DELETE FROM disk.mysql_servers")
    admin("INSERT INTO disk.mysql_servers (hostname) VALUES ('saved')")
    assert admin("SELECT hostname FROM disk.mysql_servers") == [("saved",)]
    assert admin("SELECT hostname FROM main.mysql_servers") == []


# 2: SQLite's semantics


def test_duplicate_columns_come_back_as_sent(admin: Admin) -> None:
    rows = admin("SELECT hostgroup, srv_host, srv_port, * FROM stats_mysql_connection_pool")
    assert admin.names[:5] == ("hostgroup", "srv_host", "srv_port", "hostgroup", "srv_host")
    assert rows[0][:5] == ("1", "10.0.0.1", "3306", "1", "10.0.0.1")


def test_double_quotes_make_strings(admin: Admin) -> None:
    admin('INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (1, "10.0.0.1")')
    assert admin.one('SELECT count(*) FROM mysql_servers WHERE hostname = "10.0.0.1"') == "1"


def test_concatenation_and_group_concat(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a'), ('b')")
    sql = "SELECT GROUP_CONCAT(h) FROM (SELECT hostname || ':' || port AS h FROM mysql_servers)"
    assert admin.one(sql) == "a:3306,b:3306"


def test_joins_across_schemas(admin: Admin) -> None:
    admin("INSERT INTO mysql_replication_hostgroups VALUES (1, 2, 'read_only', 'c')")
    rows = admin(
        "SELECT hostgroup, status, ConnUsed FROM stats.stats_mysql_connection_pool AS pool"
        " INNER JOIN mysql_replication_hostgroups AS hg ON hg.reader_hostgroup = pool.hostgroup"
    )
    assert rows == [("2", "SHUNNED", "0")]


def test_like_does_not_mind_the_case(admin: Admin) -> None:
    sql = "SELECT srv_host FROM stats_mysql_connection_pool WHERE status LIKE 'shun%'"
    assert admin(sql) == [("10.0.0.2",)]


def test_replace_backticks_sub_selects_and_json(admin: Admin) -> None:
    admin("REPLACE INTO `mysql_servers` (`hostname`, `weight`) VALUES ('a', 1)")
    admin("REPLACE INTO mysql_servers (hostname, weight) VALUES ('a', 9)")
    sql = "SELECT weight FROM mysql_servers WHERE hostname IN (SELECT hostname FROM mysql_servers)"
    assert admin(sql) == [("9",)]
    number, text = admin.refused("INSERT INTO mysql_users (username, attributes) VALUES ('u', '{')")
    assert number == 1045
    assert "JSON_VALID" in text


def test_insert_ignore_is_kinder_than_the_original(admin: Admin) -> None:
    admin("DELETE FROM mysql_query_rules_fast_routing")
    sql = "INSERT IGNORE INTO mysql_query_rules_fast_routing VALUES ('u', 's', 0, 1, '')"
    admin(sql)
    assert admin.affected == 1
    admin(sql)
    assert admin.affected == 0


def test_truncate(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a'), ('b')")
    admin("TRUNCATE TABLE mysql_servers")
    assert admin("SELECT * FROM mysql_servers") == []


# 3: text protocol; prepared statements are an extension here (tested with a real driver)
# 4: no backslash escapes


def test_drivers_leave_backslashes_alone(admin: Admin) -> None:
    pattern = r"^SELECT \* FROM `t\.x` WHERE a='b'$"
    admin("INSERT INTO mysql_query_rules (rule_id, match_pattern) VALUES (1, %s)", pattern)
    assert admin.one("SELECT match_pattern FROM mysql_query_rules WHERE rule_id = 1") == pattern


def test_every_answer_says_so(served: Served) -> None:
    connection = served.connect()
    flag = pymysql.constants.SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES
    for sql in ("SELECT 1", "SET NAMES utf8", "SHOW TABLES"):
        with connection.cursor() as cursor:
            cursor.execute(sql)
            assert connection.server_status & flag
    connection.close()


# 5: blanks and case


@pytest.mark.parametrize(
    "sql",
    [
        "LOAD  SCHEDULER TO RUNTIME",
        "SAVE  SCHEDULER TO DISK",
        "  load\n\tmysql   servers TO run ; ",
        "LOAD mysql servers to RUN",
        "SELECT VERSION( );".replace("( )", "()"),
        "/* from a tool */ LOAD ADMIN VARIABLES TO RUNTIME;",
        "-- a remark\nSHOW TABLES",
    ],
)
def test_commands_in_any_shape(admin: Admin, sql: str) -> None:
    admin(sql)


# 6: accepted, and nothing happens


@pytest.mark.parametrize(
    "sql",
    [
        "SET NAMES utf8mb4",
        "SET NAMES 'utf8' COLLATE 'utf8_general_ci'",
        "SET AUTOCOMMIT = 0",
        "set autocommit=1",
        "SET @@session.autocommit = OFF",
        "SET character_set_results = NULL",
        "SET SESSION character_set_results = NULL",
        "SET SQL_AUTO_IS_NULL = 0",
        "SET SQL_SAFE_UPDATES=1",
        "SET SQL_QUOTE_SHOW_CREATE=1",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET @OLD_SQL_MODE=@@SQL_MODE",
        "BEGIN",
        "START TRANSACTION",
        "COMMIT",
        "ROLLBACK",
        "USE main",
        "use `stats`",
        "LOCK TABLES mysql_servers READ",
        "UNLOCK TABLES",
        "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */",
        "/*!40103 SET TIME_ZONE='+00:00' */;",
    ],
)
def test_accepted_without_effect(admin: Admin, sql: str) -> None:
    assert admin(sql) == []
    assert not admin.info


# 7: canned answers


@pytest.mark.parametrize(
    ("sql", "names", "row"),
    [
        ("select version();", ("version()",), None),
        ("SELECT @@version", ("@@version",), None),
        ("SELECT @@version_comment limit 1", ("@@version_comment",), None),
        ("SELECT @@version_comment AS version;", ("version",), None),
        ("select concat(@@version, ' ', @@version_comment)",
         ("concat(@@version, ' ', @@version_comment)",), None),
        ("SELECT DATABASE()", ("DATABASE()",), ("main",)),
        ("SELECT DATABASE() AS name", ("name",), ("main",)),
        ("select DATABASE(), USER() limit 1", ("DATABASE()", "USER()"),
         ("main", "admin@127.0.0.1")),
        ("SELECT USER()", ("USER()",), ("admin@127.0.0.1",)),
        ("SELECT CURRENT_USER()", ("CURRENT_USER()",), ("admin@127.0.0.1",)),
        ("SELECT CONNECTION_ID()", ("CONNECTION_ID()",), ("0",)),
        ("SELECT @@global.read_only", ("@@global.read_only",), ("0",)),
        ("SELECT @@max_allowed_packet", ("@@max_allowed_packet",), ("67108864",)),
        ("SELECT @@collation_database", ("@@collation_database",), ("utf8_general_ci",)),
        ("SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())", None, ("00:00:00",)),
        ("SELECT @@mysql-max_connections", ("@@mysql-max_connections",), None),
        ("SELECT @@mysql-query_cache_size_MB", ("@@mysql-query_cache_size_MB",), None),
        ("select @@session.tx_read_only", ("@@session.tx_read_only",), ("0",)),
        ("SELECT @@session.auto_increment_increment AS auto_increment_increment, "
         "@@character_set_client AS character_set_client, @@time_zone AS time_zone",
         ("auto_increment_increment", "character_set_client", "time_zone"),
         ("1", "utf8mb4", "SYSTEM")),
        ("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE table_schema='performance_schema'"
         " AND table_name='session_variables'", ("COUNT(*)",), ("0",)),
    ],
)  # fmt: skip
def test_canned(
    admin: Admin, sql: str, names: tuple[str, ...] | None, row: tuple[str, ...] | None
) -> None:
    (found,) = admin(sql)
    assert names is None or admin.names == names
    assert found == row if row is not None else all(found)


def test_the_version_can_be_taken_apart(admin: Admin) -> None:
    numbers, suffix = admin.one("select version()").split("-", 1)
    assert len([int(part) for part in numbers.split(".")]) == 3
    assert suffix
    assert admin.one("SELECT @@admin-version") == admin.one("SELECT @@version")


def test_a_variable_is_asked_of_memory(admin: Admin) -> None:
    admin("SET mysql-max_connections = 77")
    assert admin.one("SELECT @@mysql-max_connections") == "77"
    assert admin("SHOW VARIABLES LIKE 'mysql-max_connections'")[0][1] == "77"


def test_variables_that_clients_ask_any_server_for(admin: Admin) -> None:
    rows = dict(
        admin(
            "SHOW VARIABLES WHERE Variable_name in ('max_allowed_packet','system_time_zone',"
            "'time_zone','auto_increment_increment')"
        )
    )
    assert rows.keys() == {
        "max_allowed_packet", "system_time_zone", "time_zone", "auto_increment_increment",
    }  # fmt: skip
    assert admin("SHOW GLOBAL VARIABLES LIKE 'read_only'") == [("read_only", "OFF")]
    ((name, version),) = admin("SHOW GLOBAL VARIABLES LIKE 'version'")
    assert (name, version) == ("version", admin.one("SELECT version()"))
    assert admin("SHOW GLOBAL VARIABLES LIKE 'ndbinfo_version'") == []
    assert admin("SHOW STATUS LIKE 'binlog_snapshot_gtid_executed'") == []
    assert admin.names == ("Variable_name", "Value")


def test_the_dollar_quote_probe_fits_the_announced_version(served: Served, admin: Admin) -> None:
    assert admin.refused("SELECT $$") == (1054, "Unknown column '$$' in 'field list'")
    served.port.variables.update({"mysql-server_version": "8.1.0"})
    assert admin.refused("SELECT $$")[0] == 1064
    served.port.variables.update({"mysql-server_version": ""})


# 8: SHOW TABLES and its kin


def test_show_tables(admin: Admin) -> None:
    names = [name for (name,) in admin("SHOW TABLES")]
    assert admin.names == ("tables",)
    assert {"mysql_servers", "runtime_mysql_servers", "global_variables"} <= set(names)
    assert names == sorted(names)
    for name in names:
        admin(f"select * from {name}")
    stats = {name for (name,) in admin("SHOW TABLES FROM stats")}
    assert stats == {name for (name,) in admin("show tables in stats")} == set(STATS_TABLES)
    assert [n for (n,) in admin("SHOW TABLES LIKE 'mysql_serv%'")] == [
        "mysql_servers", "mysql_servers_ssl_params",
    ]  # fmt: skip
    assert admin("SHOW TABLES FROM stats LIKE 'stats\\_mysql\\_glob%'") == []
    assert admin("SHOW TABLES FROM stats LIKE 'stats_mysql_glob%'") == [("stats_mysql_global",)]
    assert admin.refused("SHOW TABLES FROM nowhere")[0] == 1045


def test_show_create_table(admin: Admin) -> None:
    ((name, ddl),) = admin("SHOW CREATE TABLE mysql_servers")
    assert admin.names == ("table", "Create Table")
    assert name == "mysql_servers"
    assert ddl.startswith("CREATE TABLE mysql_servers (hostgroup_id INT CHECK")
    assert "PRIMARY KEY (hostgroup_id, hostname, port)" in ddl
    ((_, ddl),) = admin("show create table `stats`.`stats_mysql_global`;")
    assert ddl.startswith("CREATE TABLE stats_mysql_global (")
    assert admin.refused("SHOW CREATE TABLE nosuch")[0] == 1146


def test_show_fields_and_table_status(admin: Admin) -> None:
    fields = {row[0]: row for row in admin("SHOW FIELDS FROM mysql_servers")}
    assert admin.names == ("Field", "Type", "Null", "Key", "Default", "Extra")
    assert fields["port"] == ("port", "int", "NO", "PRI", "3306", "")
    assert admin("DESC mysql_servers") == list(fields.values())  # an extension
    status = admin("SHOW TABLE STATUS LIKE 'mysql_users'")
    assert [r[0] for r in status] == ["mysql_users"]
    assert len(admin.names) == 18


# 9: SET


def test_set_is_an_update_of_global_variables(admin: Admin) -> None:
    admin("SET mysql-max_connections=1234")
    sql = "SELECT variable_value FROM global_variables WHERE variable_name='mysql-max_connections'"
    assert admin.one(sql) == "1234"
    admin("set `MYSQL-max_connections` = '4321';")
    assert admin.one(sql) == "4321"


def test_set_of_an_unknown_name_is_ok_with_a_text(admin: Admin) -> None:
    admin("SET mysql-nosuch=1")
    assert admin.info.startswith("ERROR: Unknown global variable")
    assert admin.warnings() == ["Unknown global variable: 'mysql-nosuch'"]


def test_init_connect_cannot_be_set(admin: Admin) -> None:
    assert admin.refused("SET mysql-init_connect='SELECT 1'")[0] == 1045


# 10: runtime_* and stats_* are read when asked for, `_reset` zeroes


def test_a_statement_reads_each_table_once(served: Served, admin: Admin) -> None:
    served.port.reads.clear()
    admin(
        "SELECT a.hostgroup FROM stats_mysql_connection_pool a, stats_mysql_connection_pool b"
        " WHERE a.hostgroup < b.hostgroup"
    )
    assert served.port.reads == ["stats_mysql_connection_pool"]


def test_a_name_in_a_string_reads_nothing(served: Served, admin: Admin) -> None:
    served.port.reads.clear()
    admin("SELECT 'stats_mysql_query_digest_reset'")
    assert served.port.reads == []


def test_reset_zeroes_even_with_a_limit(served: Served, admin: Admin) -> None:
    digests = [(1, "s", "u", "", f"0x{i:016X}", "q", 1, 0, 0, 1, 1, 1, 0, 0) for i in range(3)]
    served.port.tables["stats_mysql_query_digest"] = digests
    assert len(admin("SELECT * FROM stats_mysql_query_digest")) == 3
    assert len(admin("SELECT * FROM stats_mysql_query_digest_reset LIMIT 1")) == 1
    assert admin("SELECT * FROM stats_mysql_query_digest") == []


# 11: DELETE, INSERT, LOAD; what is not active does not run


def test_reconcile(served: Served, admin: Admin) -> None:
    admin("DELETE FROM mysql_servers")
    admin("INSERT INTO mysql_servers (hostgroup_id, hostname) VALUES (1,'a'),(2,'b')")
    admin("LOAD MYSQL SERVERS TO RUNTIME")
    rows = admin("SELECT hostgroup_id, hostname FROM runtime_mysql_servers ORDER BY 1")
    assert rows == [("1", "a"), ("2", "b")]


def test_inactive_rows_are_not_loaded(served: Served, admin: Admin) -> None:
    admin("DELETE FROM mysql_users")
    admin("INSERT INTO mysql_users (username, active) VALUES ('on', 1), ('off', 0)")
    admin("LOAD MYSQL USERS TO RUNTIME")
    assert admin.affected == 1
    assert admin("SELECT username FROM runtime_mysql_users") == [("on",)]
    admin("SAVE MYSQL USERS FROM RUNTIME")
    assert admin("SELECT username, active FROM mysql_users ORDER BY 1") == [
        ("off", "0"), ("on", "1"),
    ]  # fmt: skip
    admin("INSERT INTO mysql_query_rules (rule_id, active) VALUES (1, 1), (2, 0)")
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    assert admin("SELECT rule_id FROM runtime_mysql_query_rules") == [("1",)]


# 12: errors


def test_errors_are_1045_28000_with_a_prefix(served: Served) -> None:
    connection = served.connect()
    with connection.cursor() as cursor, pytest.raises(pymysql.err.OperationalError) as caught:
        cursor.execute("SELEKT 1")
    assert caught.value.args == (1045, 'ProxySQL Admin Error: near "SELEKT": syntax error')
    connection.close()


def test_null_and_empty_are_kept_apart(admin: Admin) -> None:
    admin(
        "INSERT INTO mysql_query_rules (rule_id, error_msg, OK_msg) VALUES (1, '', NULL)",
    )
    assert admin("SELECT error_msg, OK_msg FROM mysql_query_rules") == [("", None)]


def test_defaults_are_those_of_the_catalogue(admin: Admin) -> None:
    admin("INSERT INTO mysql_servers (hostname) VALUES ('a')")
    (found,) = admin("SELECT * FROM mysql_servers")
    wanted = row("mysql_servers", hostname="a")
    assert found == tuple(None if v is None else str(v) for v in wanted.values())
