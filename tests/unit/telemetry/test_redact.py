# SPDX-License-Identifier: Apache-2.0
"""No password reaches a log, however the statement around it is written."""

from __future__ import annotations

import pytest

from hproxy.telemetry.redact import shown

ANSI_QUOTES, NO_BACKSLASH_ESCAPES = 1, 2


@pytest.mark.parametrize(
    "statement",
    [
        "SET PASSWORD = 'hunter2'",
        "SET PASSWORD FOR 'bob'@'%' = PASSWORD('hunter2')",
        "set/**/password='hunter2'",
        "CREATE USER bob IDENTIFIED BY 'hunter2'",
        "create user bob Identified With mysql_native_password as 'hunter2'",
        'ALTER USER bob IDENTIFIED BY "hunter2" REPLACE "hunter2"',
        "GRANT ALL ON *.* TO bob IDENTIFIED BY 'hunter2'",
        "CHANGE MASTER TO MASTER_USER='r', MASTER_PASSWORD='hunter2'",
        "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='hunter2'",
        "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'u', PASSWORD 'hunter2')",
        "UPDATE mysql.user SET authentication_string='hunter2' WHERE user='bob'",
        "INSERT INTO mysql_users (username, password) VALUES ('bob', 'hunter2')",
        "INSERT INTO mysql_users VALUES ('bob', 'hunter2', 1)",
        "SET admin-admin_credentials='admin:hunter2'",
        "UPDATE global_variables SET variable_value='admin:hunter2' "
        "WHERE variable_name='admin-stats_credentials'",
        "SET mysql-monitor_password='hunter2'",
        r"SET PASSWORD = 'x\'hunter2'",
    ],
)
@pytest.mark.parametrize("modes", [0, ANSI_QUOTES, NO_BACKSLASH_ESCAPES, 3])
def test_hidden(statement: str, modes: int) -> None:
    told = shown(statement.encode(), modes)
    assert "hunter2" not in told
    assert "?" in told or "..." in told


def test_everything_else_is_shown() -> None:
    assert shown(b"SELECT 'a' FROM t WHERE b = 3") == "SELECT 'a' FROM t WHERE b = 3"
    assert shown(b"SELECT '\xff'") == r"SELECT '\xff'"
