# SPDX-License-Identifier: Apache-2.0
"""Hostgroups with roles have the columns of their tables, and four hostgroups that differ."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hproxy.config.hostgroup import (
    MysqlAwsAuroraHostgroup,
    MysqlGaleraHostgroup,
    MysqlGroupReplicationHostgroup,
)
from hproxy.config.option import OptionModel
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES

FOUR = {
    "writer_hostgroup": 1,
    "backup_writer_hostgroup": 2,
    "reader_hostgroup": 3,
    "offline_hostgroup": 4,
}
MODELS: dict[str, type[OptionModel]] = {
    "mysql_group_replication_hostgroups": MysqlGroupReplicationHostgroup,
    "mysql_galera_hostgroups": MysqlGaleraHostgroup,
    "mysql_aws_aurora_hostgroups": MysqlAwsAuroraHostgroup,
}


@pytest.mark.parametrize("name", MODELS)
def test_columns_and_defaults_are_those_of_the_table(name: str) -> None:
    table = CONFIG_TABLES[name]
    assert tuple(MODELS[name].model_fields) == table.names
    for column in table.columns:
        field = MODELS[name].model_fields[column.name]
        if not field.is_required():
            assert field.default == column.initial


@pytest.mark.parametrize("column", ["backup_writer_hostgroup", "offline_hostgroup"])
def test_hostgroups_differ(column: str) -> None:
    with pytest.raises(ValidationError, match="must differ from"):
        MysqlGaleraHostgroup.model_validate(FOUR | {column: 3})
    assert MysqlGroupReplicationHostgroup.model_validate(FOUR).max_writers == 1


def test_aurora() -> None:
    row = {"writer_hostgroup": 1, "reader_hostgroup": 2, "domain_name": ".example.com"}
    assert MysqlAwsAuroraHostgroup.model_validate(row).lag_num_checks == 1
    for wrong in ({"domain_name": "example.com"}, {"reader_hostgroup": 1}):
        with pytest.raises(ValidationError):
            MysqlAwsAuroraHostgroup.model_validate(row | wrong)
