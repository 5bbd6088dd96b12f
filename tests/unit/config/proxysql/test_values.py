# SPDX-License-Identifier: Apache-2.0
"""Live values: all of a change or nothing of it, and who listens is told what differs."""

from __future__ import annotations

import pytest

from hproxy.config.option import Refusal
from hproxy.config.proxysql.binding import variables_of
from hproxy.config.proxysql.values import Values, refused
from hproxy.config.schema import Config
from hproxy.errors import ConfigError


def test_defaults_and_kinds() -> None:
    values = Values()
    assert values.text("mysql-long_query_time") == "1000"
    assert values.number("mysql-long_query_time") == 1000
    assert values.flag("mysql-multiplexing") is True
    assert ("admin-strict", "true") in values.items("admin-")
    assert all(name.startswith("admin-") for name, _ in values.items("admin-"))
    with pytest.raises(KeyError):
        values.number("mysql-nothing")


def test_a_change_is_told_once_with_what_differs() -> None:
    values = Values({"mysql-long_query_time": "5"})
    told: list[set[str]] = []
    values.on_change.append(told.append)
    changed = values.update(
        {"MYSQL-multiplexing": "0", "mysql-long_query_time": "005", "mysql-commands_stats": "true"}
    )
    assert changed == {"mysql-multiplexing"}
    assert told == [{"mysql-multiplexing"}]
    assert values.flag("mysql-multiplexing") is False
    assert values.update({"mysql-multiplexing": "false"}) == set()
    assert len(told) == 1


def test_one_wrong_value_leaves_all_as_they_were() -> None:
    values = Values()
    with pytest.raises(ConfigError) as caught:
        values.update(
            {
                "mysql-multiplexing": "false",
                "mysql-long_query_time": "soon",
                "mysql-nothing": "x",
                "admin-admin_credentials": "no-colon",
            }
        )
    assert values.flag("mysql-multiplexing") is True
    assert [finding.key for finding in caught.value.findings] == [
        "mysql-long_query_time",
        "mysql-nothing",
        "admin-admin_credentials",
    ]
    assert "no-colon" not in str(caught.value)
    assert 'must be a whole number, got "soon"' in str(caught.value)


def test_what_only_the_file_can_say_is_left_alone() -> None:
    values = Values({"mysql-ping_interval_server_msec": "0"})  # the variable begins at 1000
    assert values.update({"mysql-ping_interval_server_msec": "0"}) == set()
    with pytest.raises(ConfigError):
        values.update({"mysql-ping_interval_server_msec": "1"})


def test_settling_drops_what_is_wrong() -> None:
    changed, findings = Values().settle({"mysql-multiplexing": "no", "mysql-max_connections": "0"})
    assert changed == {"mysql-multiplexing": "false"}
    assert [finding.key for finding in findings] == ["mysql-max_connections"]


def test_a_value_that_cannot_be_printed_is_escaped() -> None:
    finding = refused("mysql-init_connect", "a\x1b[31m", Refusal("no"), "x.cnf:3")
    assert (finding.source, finding.value) == ("x.cnf:3", r"'a\x1b[31m'")
    assert refused("mysql-what", "secret", Refusal("unknown variable")).value is None


def test_what_the_options_say_is_adopted() -> None:
    health = {"interval_sec": 0.1, "timeout_sec": 0.05}
    config = Config.model_validate({"health": health}, context={"live": True})
    values = Values()
    told: list[set[str]] = []
    values.on_change.append(told.append)
    changed = values.adopt(variables_of(config))
    assert told == [changed]
    # Less than the variable may be set to, but so it is.
    assert values.number("mysql-monitor_ping_timeout") == 50
    assert values.adopt(variables_of(config)) == set()
