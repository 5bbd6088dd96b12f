# SPDX-License-Identifier: Apache-2.0
"""SQL text: statements told apart, commands' form, MySQL's spellings, what logs may keep."""

from __future__ import annotations

import time

import pytest

from hproxy.admin.console import sql


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ; ;; ", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT 2 ;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'", ["SELECT ';'"]),
        ('SELECT "a;b", `c;d`, [e;f]', ['SELECT "a;b", `c;d`, [e;f]']),
        ("SELECT 'it''s; here'; x", ["SELECT 'it''s; here'", "x"]),
        (r"SELECT '\'; DELETE FROM t", [r"SELECT '\'", "DELETE FROM t"]),
        ("/* a; b */ SELECT 1 -- c; d", ["SELECT 1 -- c; d"]),
        ("-- remark\nSELECT 1", ["SELECT 1"]),
        ("# remark\nSELECT 1", ["SELECT 1"]),
        ("/*!40101 SET NAMES utf8 */;", ["/*!40101 SET NAMES utf8 */"]),
        ("SELECT 'open; SELECT 2", ["SELECT 'open; SELECT 2"]),
    ],
)
def test_statements(text: str, found: list[str]) -> None:
    assert sql.statements(text) == found


@pytest.mark.parametrize(
    ("text", "count"),
    [("SELECT ?", 1), ("SELECT '?', \"?\", `?`", 0), ("SELECT ? /* ? */ -- ?", 1), ("?,?", 2)],
)
def test_parameters(text: str, count: int) -> None:
    assert sql.parameters(text) == count


def test_collapse() -> None:
    assert sql.collapse("  LOAD \n\t SCHEDULER   TO RUNTIME ; ; ") == "LOAD SCHEDULER TO RUNTIME"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("INSERT IGNORE INTO t VALUES (1)", "INSERT OR IGNORE INTO t VALUES (1)"),
        ("insert  ignore t VALUES (1)", "INSERT OR IGNORE INTO t VALUES (1)"),
        ("INSERT INTO t VALUES ('INSERT IGNORE INTO')", None),
        ("TRUNCATE TABLE stats.x", "DELETE FROM stats.x"),
        ("truncate x", "DELETE FROM x"),
        ("PROXY_SELECT 1", "SELECT 1"),
        ("SELECT 1", None),
        (
            "SELECT * FROM STATS_HISTORY.stats_mysql_query_digest",
            "SELECT * FROM stats.stats_mysql_query_digest",
        ),
        ("SELECT * FROM stats_history.mysql_connections", None),
        ("SELECT 'stats_history.stats_mysql_query_digest'", None),
    ],
)
def test_dialect(text: str, said: str | None) -> None:
    assert sql.dialect(text) == (text if said is None else said)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("SELECT 'x'", "SELECT 'x'"),
        ("UPDATE mysql_users SET password='x'", "UPDATE mysql_users SET password='***'"),
        ('UPDATE `mysql_users` SET `comment`="x"', "UPDATE `mysql_users` SET `comment`='***'"),
        ("SET admin-admin_credentials=a:b;c:d", "SET admin-admin_credentials= '***'"),
        ("SET mysql-monitor_password = 'a'", "SET mysql-monitor_password = '***'"),
        ("SET mysql-wait_timeout = 5", "SET mysql-wait_timeout = 5"),
        ("UPDATE mysql_users SET password=1234", "UPDATE mysql_users SET password='***'"),
        ("UPDATE mysql_users SET `password` = 1.5e3", "UPDATE mysql_users SET `password` = '***'"),
        ("UPDATE mysql_users SET active=0", "UPDATE mysql_users SET active=0"),
        (
            "INSERT INTO mysql_users VALUES ('a', 1234,1)",
            "INSERT INTO mysql_users VALUES ('***', '***','***')",
        ),
        ("INSERT INTO mysql_users VALUES ('a','hu", "INSERT INTO mysql_users VALUES ('***','***'"),
        (
            "EXPLAIN ROUTE CREATE USER u IDENTIFIED BY 'x'",
            "EXPLAIN ROUTE CREATE USER u IDENTIFIED BY '***'",
        ),
    ],
)
def test_redact(text: str, kept: str) -> None:
    assert sql.redact(text) == kept


def test_names_in_quotes() -> None:
    assert sql.unquoted(" 'it''s' ") == "it's"
    assert sql.unquoted("`a`") == "a"
    assert sql.unquoted("a") == "a"
    assert sql.quoted("it's") == "'it''s'"
    assert sql.unquoted("'") == "'"


@pytest.mark.parametrize(
    "text", ["'" * 300_001, "/*" * 200_000, "[" * 300_000, "-" * 300_000, "a;/*" * 90_000]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    began = time.process_time()
    sql.statements(text)
    sql.parameters(text)
    sql.redact("password " + text)
    sql.redact("password" * 40_000 + "," * 100_000 + " " * 100_000)
    assert time.process_time() - began < 5
