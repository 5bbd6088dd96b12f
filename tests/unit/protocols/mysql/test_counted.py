# SPDX-License-Identifier: Apache-2.0
"""Each kind of statement counts as what ProxySQL calls it."""

from __future__ import annotations

import pytest

from hproxy._native.digest import digest
from hproxy.protocols.mysql.counted import COMMAND_NAMES, command_name
from hproxy.protocols.mysql.statement import COMMAND_TRAITS
from hproxy.protocols.mysql.traits import classify


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT 1", "SELECT"),
        ("  /* c */ select * from t where a in (1, 2)", "SELECT"),
        ("(SELECT 1)", "SELECT"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "SELECT"),
        ("TABLE t", "SELECT"),
        ("SELECT * FROM t WHERE id = 1 FOR UPDATE", "SELECT_FOR_UPDATE"),
        ("INSERT INTO t VALUES (1)", "INSERT"),
        ("REPLACE INTO t VALUES (1)", "REPLACE"),
        ("UPDATE t SET a = 1", "UPDATE"),
        ("DELETE FROM t", "DELETE"),
        ("CREATE TABLE t (a INT)", "CREATE_TABLE"),
        ("CREATE TEMPORARY TABLE t (a INT)", "CREATE_TEMPORARY"),
        ("CREATE DATABASE d", "CREATE_DATABASE"),
        ("CREATE SCHEMA d", "CREATE_DATABASE"),
        ("CREATE UNIQUE INDEX i ON t (a)", "CREATE_INDEX"),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE_VIEW"),
        ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @a = 1", "CREATE_TRIGGER"),
        ("CREATE USER u", "CREATE_USER"),
        ("ALTER TABLE t ADD b INT", "ALTER_TABLE"),
        ("ALTER VIEW v AS SELECT 1", "ALTER_VIEW"),
        ("DROP TABLE t", "DROP_TABLE"),
        ("DROP DATABASE d", "DROP_DATABASE"),
        ("DROP VIEW v", "DROP_VIEW"),
        ("RENAME TABLE a TO b", "RENAME_TABLE"),
        ("TRUNCATE TABLE t", "TRUNCATE_TABLE"),
        ("BEGIN", "BEGIN"),
        ("START TRANSACTION READ ONLY", "START_TRANSACTION"),
        ("COMMIT", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("ROLLBACK TO SAVEPOINT a", "ROLLBACK_SAVEPOINT"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("RELEASE SAVEPOINT a", "RELEASE_SAVEPOINT"),
        ("SET NAMES utf8mb4", "SET"),
        ("SET TRANSACTION READ ONLY", "SET"),
        ("SET PASSWORD = 'x'", "SET"),
        ("USE d", "USE"),
        ("SHOW TABLES", "SHOW"),
        ("SHOW TABLE STATUS", "SHOW_TABLE_STATUS"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("DESC t", "DESCRIBE"),
        ("DESCRIBE t", "DESCRIBE"),
        ("LOCK TABLES t READ", "LOCK_TABLE"),
        ("UNLOCK TABLES", "UNLOCK_TABLES"),
        ("LOAD DATA INFILE 'f' INTO TABLE t", "LOAD"),
        ("ANALYZE TABLE t", "ANALYZE_TABLE"),
        ("ANALYZE SELECT 1", "UNKNOWN"),
        ("OPTIMIZE TABLE t", "OPTIMIZE"),
        ("FLUSH TABLES", "FLUSH"),
        ("KILL 5", "KILL"),
        ("CALL p()", "CALL"),
        ("PREPARE s FROM 'SELECT 1'", "PREPARE"),
        ("EXECUTE s", "EXECUTE"),
        ("DEALLOCATE PREPARE s", "DEALLOCATE"),
        ("DROP PREPARE s", "DEALLOCATE"),
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("REVOKE SELECT ON t FROM u", "REVOKE"),
        ("RESET MASTER", "RESET_MASTER"),
        ("RESET REPLICA", "RESET_SLAVE"),
        ("RESET QUERY CACHE", "UNKNOWN"),
        ("CHANGE MASTER TO MASTER_HOST = 'x'", "CHANGE_MASTER"),
        ("PURGE BINARY LOGS TO 'x'", "PURGE"),
        ("DO SLEEP(0)", "UNKNOWN"),
        ("nonsense", "UNKNOWN"),
        ("", "UNKNOWN"),
        ("INSERT INTO t VALUES (1); SELECT 1", "INSERT"),
    ],
)
def test_name_of_a_statement(sql: str, name: str) -> None:
    found = command_name(classify(sql.encode()), digest(sql.encode()))
    assert found == name
    assert found in COMMAND_NAMES


def test_commands_without_a_text_are_no_statements() -> None:
    assert command_name(COMMAND_TRAITS, b"") == ""


def test_all_names_that_tools_ask_for_are_there() -> None:
    assert len(COMMAND_NAMES) == len(set(COMMAND_NAMES)) == 54
