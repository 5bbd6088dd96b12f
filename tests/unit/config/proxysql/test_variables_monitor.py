# SPDX-License-Identifier: Apache-2.0
"""The variables of the monitors have ProxySQL's thresholds."""

from __future__ import annotations

from hproxy.config.proxysql.variables_monitor import MONITOR

DEFAULTS = {
    "connect_interval": 120_000,
    "connect_timeout": 600,
    "ping_interval": 8000,
    "ping_max_failures": 3,
    "read_only_interval": 1000,
    "read_only_timeout": 800,
    "read_only_max_timeout_count": 3,
    "replication_lag_interval": 10_000,
    "replication_lag_count": 1,
    "slave_lag_when_null": 60,
    "galera_healthcheck_interval": 5000,
}


def test_thresholds() -> None:
    found = {variable.name.removeprefix("mysql-monitor_"): variable for variable in MONITOR}
    assert {name: int(found[name].default) for name in DEFAULTS} == DEFAULTS
    assert found["galera_healthcheck_timeout"].low == 50
    assert found["password"].secret
