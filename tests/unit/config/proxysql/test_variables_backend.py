# SPDX-License-Identifier: Apache-2.0
"""The variables of what faces backends: all act, and those tools set are there."""

from __future__ import annotations

from hproxy.config.proxysql.variables_backend import BACKEND


def test_all_act() -> None:
    assert {variable.acts for variable in BACKEND} == {"acts"}


def test_those_that_tools_set() -> None:
    assert {"mysql-free_connections_pct", "mysql-multiplexing", "mysql-ssl_p2s_ca"} <= {
        v.name for v in BACKEND
    }
