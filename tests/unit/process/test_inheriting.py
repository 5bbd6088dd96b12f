# SPDX-License-Identifier: Apache-2.0
"""What the next service makes of what the one before ran on."""

from __future__ import annotations

from typing import Any

import pytest

from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import rows_in, variables_of, with_variables
from hproxy.config.schema import Config
from hproxy.process.estate import Estate
from hproxy.process.inheriting import inherit

FILE: dict[str, Any] = {
    "mysql_servers": [{"hostgroup_id": 0, "hostname": "db1", "port": 3306}],
    "mysql_users": [{"username": "app", "password": "one"}],
    "mysql_query_rules": [{"rule_id": 1, "match_digest": "^SELECT", "apply": True}],
}
RULES = "mysql_query_rules"


def config(**more: Any) -> Config:
    return Config.model_validate(FILE | more)


def rows(source: Config) -> dict[str, dict[str, list[dict[str, Any]]]]:
    return {
        name: {
            table: [
                row for row in rows_in(source, table)
                if row.get("variable_name", module.prefix).startswith(module.prefix)
            ]
            for table in module.tables
        }
        for name, module in MODULES.items()
    }  # fmt: skip


def left(source: Config, *, file: Config | None = None, memory: Any = None) -> Estate:
    running = rows(source)
    return Estate(running, running if memory is None else memory, file, version="0.0.9")


def test_all_as_it_was() -> None:
    ran = with_variables(
        config(mysql_users=[{"username": "late", "password": "two"}]),
        {"mysql-max_connections": "321", "admin-stats_mysql_connections": "7"},
    )
    found = inherit(left(ran, file=config()), config(), config(), ())
    assert found.notes == ()
    assert rows(found.config) == rows(ran)
    assert found.memory == rows(ran)
    assert set(found.origins) == {"mysql_users", "mysql_variables", "admin_variables"}
    assert "version 0.0.9" in found.origins["mysql_users"]


def test_nothing_was_loaded() -> None:
    found = inherit(left(config(), file=config()), stored := config(), config(), ())
    assert (found.notes, found.origins) == ((), {})
    assert found.config is stored


def test_options_without_a_table_are_the_files() -> None:
    now = config(logging={"level": "debug"})
    found = inherit(left(config(), file=config()), now, now, ())
    assert found.config.logging.level == "debug"
    assert found.notes == ()


def test_rows_that_are_refused_are_as_stored_or_left_out() -> None:
    estate = left(config())
    rules: Any = estate.running[RULES][RULES]
    (rule,) = rules
    rules[:] = [
        rule | {"match_digest": "(unfinished"},
        rule | {"rule_id": 2, "match_digest": "^UPDATE"},
        rule | {"rule_id": 3, "flagIN": -7},
        rule | {"rule_id": 4, "re_modifiers": "NONSENSE"},
    ]
    found = inherit(estate, config(), config(), ())
    kept = {row["rule_id"]: row["match_digest"] for row in rows_in(found.config, RULES)}
    assert kept == {1: "^SELECT", 2: "^UPDATE"}
    one, *others = sorted(note for note in found.notes if not note.startswith("memory"))
    assert one.startswith("mysql_query_rules (1): match_digest")
    assert one.endswith("as stored")
    assert [note.rpartition(": ")[2] for note in others] == ["left out", "left out"]


def test_what_this_version_has_no_name_for() -> None:
    estate = left(config(), memory={})
    servers: Any = estate.running["mysql_servers"]["mysql_servers"]
    servers[0] |= {"of_tomorrow": 1, "weight": 7}
    values: Any = estate.running["mysql_variables"]["global_variables"]
    values.append({"variable_name": "mysql-of_tomorrow", "variable_value": "1"})
    for row in values:
        if row["variable_name"] == "mysql-max_connections":
            row["variable_value"] = "-1"
        if row["variable_name"] == "mysql-default_query_delay":
            row["variable_value"] = "5"
    found = inherit(estate, config(), config(), ())
    assert found.config.servers[0].weight == 7
    ran = variables_of(found.config)
    assert ran["mysql-max_connections"] == variables_of(config())["mysql-max_connections"]
    assert ran["mysql-default_query_delay"] == "5"
    told = " ".join(found.notes)
    for text in ("mysql_servers.of_tomorrow", "mysql-of_tomorrow", "mysql-max_connections"):
        assert text in told


def test_memory_that_could_not_be_loaded_is_as_it_runs() -> None:
    memory = rows(config())
    for row in memory["mysql_variables"]["global_variables"]:
        if row["variable_name"] == "mysql-max_connections":
            row["variable_value"] = "a few"
    found = inherit(left(config(), memory=memory), config(), config(), ())
    assert found.memory == rows(config())
    assert found.notes[0].startswith("memory: mysql-max_connections")


@pytest.mark.parametrize("saved", [(), ("mysql_users",)])
def test_a_file_that_has_changed(saved: tuple[str, ...]) -> None:
    ran = with_variables(config(), {"mysql-max_connections": "321"})
    now = config(mysql_users=[{"username": "new", "password": "two"}])
    estate = left(ran, file=config())
    found = inherit(estate, config() if saved else now, now, saved)
    assert [user.username for user in found.config.mysql_users] == ["app"]
    assert [note.partition(":")[0] for note in found.notes] == ([] if saved else ["mysql_users"])
    assert found.file == config()  # so that a reload still sees the change
    reloaded = inherit(estate, config() if saved else now, now, saved, reload=True)
    assert [u.username for u in reloaded.config.mysql_users] == ["app" if saved else "new"]
    assert variables_of(reloaded.config)["mysql-max_connections"] == "321"
    assert ("mysql_users" in reloaded.memory) == bool(saved)
    assert reloaded.notes == ()
