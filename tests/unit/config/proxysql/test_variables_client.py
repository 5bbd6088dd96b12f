# SPDX-License-Identifier: Apache-2.0
"""The variables of what faces clients: all act, and those tools set are there."""

from __future__ import annotations

from hproxy.config.proxysql.variables_client import CLIENT


def test_all_act() -> None:
    assert {variable.acts for variable in CLIENT} == {"acts"}


def test_those_that_tools_set() -> None:
    assert {"mysql-max_connections", "mysql-have_ssl", "mysql-proxy_protocol_networks"} <= {
        v.name for v in CLIENT
    }
