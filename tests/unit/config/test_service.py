# SPDX-License-Identifier: Apache-2.0
"""Peers, programs, routes and TLS per server have the columns and defaults of their tables."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hproxy.config.option import OptionModel
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.service import (
    MysqlServerSslParams,
    ProxysqlServer,
    RestapiRoute,
    SchedulerJob,
)

MODELS: dict[str, type[OptionModel]] = {
    "mysql_servers_ssl_params": MysqlServerSslParams,
    "proxysql_servers": ProxysqlServer,
    "restapi_routes": RestapiRoute,
    "scheduler": SchedulerJob,
}


@pytest.mark.parametrize("name", MODELS)
def test_columns_and_defaults_are_those_of_the_table(name: str) -> None:
    table = CONFIG_TABLES[name]
    assert tuple(MODELS[name].model_fields) == table.names
    for column in table.columns:
        field = MODELS[name].model_fields[column.name]
        if not field.is_required():
            assert field.default == column.initial


def test_a_command_ends_at_the_first_argument_that_is_not_given() -> None:
    job = SchedulerJob(id=1, interval_ms=100, filename="/bin/x", arg1="", arg2="b", arg4="d")
    assert job.command == ("/bin/x", "", "b")
    with pytest.raises(ValidationError):
        SchedulerJob(id=1, interval_ms=99, filename="/bin/x")


def test_a_method_comes_in_any_case() -> None:
    row = {"id": 1, "timeout_ms": 100, "method": "post", "uri": "a", "script": "/bin/x"}
    assert RestapiRoute.model_validate(row).method == "POST"
    with pytest.raises(ValidationError):
        RestapiRoute.model_validate(row | {"method": "PUT"})
