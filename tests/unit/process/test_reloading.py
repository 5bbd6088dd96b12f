# SPDX-License-Identifier: Apache-2.0
"""What a file that was read anew makes of what runs: three states, and who wins."""

from __future__ import annotations

from typing import Any

from hproxy.config.proxysql.rows import variables_of, with_rows, with_variables
from hproxy.config.schema import Config
from hproxy.process.reloading import renewed

ANN = {"username": "ann", "password": "pw"}
BOB = {"username": "bob", "password": "pw"}


def file(*users: dict[str, Any], **sections: Any) -> Config:
    tables = {"mysql_servers": [{"hostname": "db"}], "mysql_users": list(users)}
    return Config.model_validate({"proxy": {"mode": "mysql"}} | tables | sections)


def names(config: Config) -> list[str]:
    return [row.username for row in config.mysql_users]


def test_what_the_file_changes_acts_and_what_was_loaded_stays() -> None:
    before = file(ANN)
    running = with_rows(before, "mysql_servers", {"mysql_servers": [{"hostname": "loaded"}]})
    running = with_variables(running, {"mysql-max_connections": "77"})
    found = renewed(running, before, file(ANN, BOB), ())
    assert names(found) == ["ann", "bob"]
    assert [row.hostname for row in found.servers] == ["loaded"]
    assert variables_of(found)["mysql-max_connections"] == "77"


def test_a_file_that_says_what_it_said_changes_nothing() -> None:
    before = file(ANN)
    running = with_rows(before, "mysql_users", {"mysql_users": [BOB]})
    assert names(renewed(running, before, file(ANN), ())) == ["bob"]


def test_a_variable_of_the_file_acts_and_others_stay() -> None:
    before = file(ANN)
    running = with_variables(before, {"mysql-max_connections": "77", "mysql-wait_timeout": "5000"})
    now = file(ANN, server={"max_connections": 99})
    values = variables_of(renewed(running, before, now, ()))
    assert (values["mysql-max_connections"], values["mysql-wait_timeout"]) == ("99", "5000")


def test_what_was_saved_counts_and_not_the_file() -> None:
    before = file(ANN)
    now = file(ANN, BOB, server={"max_connections": 99})
    found = renewed(before, before, now, ("mysql_users", "mysql_variables"))
    assert names(found) == ["ann"]
    values = variables_of(before)
    assert variables_of(found)["mysql-max_connections"] == values["mysql-max_connections"]


def test_options_that_no_table_has_are_those_of_the_file() -> None:
    found = renewed(file(ANN), file(ANN), file(ANN, logging={"level": "debug"}), ())
    assert found.logging.level == "debug"
