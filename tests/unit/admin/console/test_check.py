# SPDX-License-Identifier: Apache-2.0
"""Wrong values: refused when written, or let in and repaired at LOAD when not strict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.console import Admin, Served, serving

EVIL = "(unclosed"


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[Admin]:
    with served.admin() as made:
        yield made


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("UPDATE global_variables SET variable_value = '0'"
         " WHERE variable_name = 'mysql-max_connections'", "must be at least 1"),
        ("UPDATE global_variables SET variable_value = 'much'"
         " WHERE variable_name = 'mysql-max_connections'", "must be a whole number"),
        ("UPDATE global_variables SET variable_value = 'maybe'"
         " WHERE variable_name = 'mysql-multiplexing'", "must be true or false"),
        ("INSERT INTO global_variables VALUES ('mysql-max_conections', '5')",
         "mysql-max_connections"),
        ("INSERT OR REPLACE INTO global_variables VALUES ('mysql-Max_Connections', '5')",
         "is spelled mysql-max_connections"),
        ("SET mysql-max_connections = 99999999999", "must be at most"),
        ("SET admin-admin_credentials = 'nobody'", "is not USER:PASSWORD"),
        (f"INSERT INTO mysql_query_rules (match_pattern) VALUES ('{EVIL}')", "match_pattern: "),
        (f"INSERT INTO mysql_query_rules (match_digest) VALUES ('{EVIL}')", "match_digest: "),
        ("INSERT INTO mysql_servers (hostname, port) VALUES ('a', 70000)", "CHECK constraint"),
        ("INSERT INTO mysql_servers (hostname, weight) VALUES ('a', 'heavy')",
         "must be a whole number, got 'heavy'"),
        ("INSERT INTO mysql_users (username, default_hostgroup) VALUES ('u', 'first')",
         "mysql_users.default_hostgroup must be a whole number"),
        ("INSERT INTO mysql_query_rules (destination_hostgroup) VALUES (1.5)",
         "must be a whole number, got 1.5"),
        ("INSERT INTO mysql_servers (hostname, status) VALUES ('a', 'ON')", "CHECK constraint"),
        ("INSERT INTO mysql_servers (hostname) VALUES (NULL)", "NOT NULL constraint"),
    ],
)  # fmt: skip
def test_refused_with_the_reason(admin: Admin, sql: str, reason: str) -> None:
    number, text = admin.refused(sql)
    assert number == 1045
    assert reason in text


def test_an_update_is_looked_at_as_well(admin: Admin) -> None:
    admin("INSERT INTO mysql_query_rules (rule_id, match_pattern) VALUES (1, '^SELECT')")
    sql = f"UPDATE mysql_query_rules SET match_pattern = '{EVIL}'"
    assert "match_pattern: " in admin.refused(sql)[1]
    assert admin("SELECT match_pattern FROM mysql_query_rules") == [("^SELECT",)]


def test_one_wrong_row_refuses_all(admin: Admin) -> None:
    sql = "INSERT INTO mysql_servers (hostname, port) VALUES ('a', 1), ('b', 70000)"
    assert admin.refused(sql)[0] == 1045
    assert admin("SELECT * FROM mysql_servers") == []


def test_a_secret_is_not_in_the_reason(admin: Admin) -> None:
    assert "geheim" not in admin.refused("SET admin-admin_credentials = 'geheim'")[1]


def lenient(served: Served) -> None:
    served.port.variables.update({"admin-strict": "false"})


def test_not_strict_variables_are_reset_at_load(served: Served, admin: Admin) -> None:
    lenient(served)
    admin("SET mysql-max_connections = 0")
    admin("INSERT INTO global_variables VALUES ('mysql-nosuch', '1')")
    admin("SET mysql-wait_timeout = 90000")
    admin("LOAD MYSQL VARIABLES TO RUNTIME")
    unknown, wrong = sorted(admin.warnings(), key=lambda text: "nosuch" not in text)
    assert "mysql-max_connections" in wrong
    assert wrong.endswith("reset to what runs")
    assert unknown.endswith("deleted")
    values = served.port.variables
    assert (values.number("mysql-max_connections"), values.number("mysql-wait_timeout")) == (
        10000, 90000,
    )  # fmt: skip
    memory = dict(admin("SELECT * FROM global_variables"))
    assert memory["mysql-max_connections"] == "10000"
    assert "mysql-nosuch" not in memory


def test_not_strict_rules_are_switched_off_at_load(served: Served, admin: Admin) -> None:
    lenient(served)
    admin(
        "INSERT INTO mysql_query_rules (rule_id, active, match_pattern)"
        f" VALUES (1, 1, '{EVIL}'), (2, 1, 'fine')"
    )
    admin("LOAD MYSQL QUERY RULES TO RUNTIME")
    (warning,) = admin.warnings()
    assert warning.startswith("rule 1, match_pattern: ")
    assert admin("SELECT rule_id FROM runtime_mysql_query_rules") == [("2",)]


def test_one_spelling_is_kept(served: Served, admin: Admin) -> None:
    admin("SET mysql-multiplexing = FALSE")
    admin("LOAD MYSQL VARIABLES TO RUNTIME")
    assert admin.warnings() == []
    assert admin("LOAD MYSQL VARIABLES TO RUNTIME DRY RUN") == []
    sql = "SELECT variable_value FROM global_variables WHERE variable_name = 'mysql-multiplexing'"
    assert admin.one(sql) == "false"
