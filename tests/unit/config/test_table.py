# SPDX-License-Identifier: Apache-2.0
"""Rows of the admin tables: ProxySQL's columns, defaults and ranges, our spellings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hproxy.config.address import Address
from hproxy.config.table import (
    MysqlHostgroupAttributes,
    MysqlReplicationHostgroup,
    MysqlServer,
    MysqlUser,
)


def refusal(model: type, values: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(values)  # type: ignore[attr-defined]
    return str(raised.value)


def test_server_defaults() -> None:
    row = MysqlServer(hostname="db")
    assert row.model_dump() == {
        "hostgroup_id": 0,
        "hostname": "db",
        "port": 3306,
        "gtid_port": 0,
        "status": "ONLINE",
        "weight": 1,
        "compression": False,
        "max_connections": 1000,
        "max_replication_lag": 0,
        "use_ssl": False,
        "max_latency_ms": 0,
        "comment": "",
    }


def test_user_defaults() -> None:
    row = MysqlUser(username="app")
    assert row.model_dump() == {
        "username": "app",
        "password": "",
        "active": True,
        "use_ssl": False,
        "default_hostgroup": 0,
        "default_schema": None,
        "schema_locked": False,
        "transaction_persistent": True,
        "fast_forward": False,
        "backend": True,
        "frontend": True,
        "max_connections": 10_000,
        "attributes": "",
        "comment": "",
    }


def test_hostgroup_has_two_names() -> None:
    for name in ("hostgroup", "hostgroup_id"):
        assert MysqlServer.model_validate({name: 7, "hostname": "db"}).hostgroup_id == 7
    assert "Extra" in refusal(MysqlServer, {"hostgroup": 1, "hostgroup_id": 2, "hostname": "db"})


@pytest.mark.parametrize(
    ("hostname", "port", "address"),
    [
        ("db", 3307, Address("db", 3307)),
        ("::1", 3306, Address("::1", 3306)),
        ("[::1]", 3306, Address("::1", 3306)),
        ("/run/mysqld.sock", 0, Address(path="/run/mysqld.sock")),
        ("/run/mysqld.sock", 3306, Address(path="/run/mysqld.sock")),
    ],
)
def test_address(hostname: str, port: int, address: Address) -> None:
    row = MysqlServer(hostname=hostname, port=port)
    assert row.address == address
    assert MysqlServer.from_address(address).address == address


@pytest.mark.parametrize("value", ["online", "Offline_Soft", "SHUNNED", "offline_hard"])
def test_status_in_any_case(value: str) -> None:
    row = MysqlServer.model_validate({"hostname": "db", "status": value})
    assert row.status == value.upper()


@pytest.mark.parametrize("value", [1, True, "1", "true"])
def test_flags_as_numbers(value: object) -> None:
    row = MysqlServer.model_validate({"hostname": "db", "use_ssl": value, "compression": 0})
    assert row.use_ssl is True
    assert row.compression is False


@pytest.mark.parametrize(
    "values",
    [
        {"hostname": ""},
        {"hostname": "a b"},
        {"hostname": "10.0.0.300"},
        {"port": 0},
        {"port": 65536},
        {"port": -1},
        {"gtid_port": 3306},
        {"hostgroup_id": -1},
        {"status": "DOWN"},
        {"status": 1},
        {"weight": 10_000_001},
        {"max_connections": -1},
        {"max_replication_lag": 126_144_001},
        {"use_ssl": 2},
        {"weight": True},
    ],
)
def test_server_refused(values: dict[str, object]) -> None:
    refusal(MysqlServer, {"hostname": "db", **values})


def test_the_guilty_column_is_named() -> None:
    with pytest.raises(ValidationError) as raised:
        MysqlServer(hostname="db", port=0)
    assert raised.value.errors()[0]["ctx"]["error"].keys == ("port",)
    with pytest.raises(ValidationError) as raised:
        MysqlServer(hostname="", port=0)
    assert raised.value.errors()[0]["ctx"]["error"].keys == ("hostname",)


@pytest.mark.parametrize(
    "values",
    [
        {"username": ""},
        {"username": "x" * 129},
        {"active": 2},
        {"max_connections": -1},
        {"default_hostgroup": -1},
        {"attributes": "{"},
        {"attributes": "[]"},
        {"attributes": 5},
        {"password": None},
    ],
)
def test_user_refused(values: dict[str, object]) -> None:
    refusal(MysqlUser, {"username": "app", **values})


def test_attributes_as_json_or_table() -> None:
    for value in ('{"a": 1}', {"a": 1}):
        row = MysqlUser.model_validate({"username": "app", "attributes": value})
        assert row.attributes == '{"a": 1}'


def test_password_stays_out_of_the_representation() -> None:
    assert "hush" not in repr(MysqlUser(username="app", password="hush"))


def test_pair_defaults() -> None:
    row = MysqlReplicationHostgroup(writer_hostgroup=10, reader_hostgroup=20)
    assert row.model_dump() == {
        "writer_hostgroup": 10,
        "reader_hostgroup": 20,
        "check_type": "read_only",
        "comment": "",
    }


@pytest.mark.parametrize(
    "value", ["Read_Only", "innodb_read_only", "SUPER_READ_ONLY", "read_only|innodb_read_only"]
)
def test_check_type_in_any_case(value: str) -> None:
    row = MysqlReplicationHostgroup.model_validate(
        {"writer_hostgroup": 0, "reader_hostgroup": 1, "check_type": value}
    )
    assert row.check_type == value.lower()


@pytest.mark.parametrize(
    "values",
    [
        {"reader_hostgroup": 10},
        {"reader_hostgroup": -1},
        {"reader_hostgroup": None},
        {"writer_hostgroup": -1},
        {"writer_hostgroup": 2**31},
        {"check_type": "readonly"},
        {"check_type": 1},
        {"backup_writer_hostgroup": 3},
    ],
)
def test_pair_refused(values: dict[str, object]) -> None:
    row = {"writer_hostgroup": 10, "reader_hostgroup": 20, **values}
    refusal(MysqlReplicationHostgroup, row)


def test_attributes_defaults() -> None:
    row = MysqlHostgroupAttributes.model_validate({"hostgroup": 3})
    assert row.model_dump() == {
        "hostgroup_id": 3,
        "max_num_online_servers": 1_000_000,
        "autocommit": -1,
        "free_connections_pct": 10,
        "init_connect": "",
        "multiplex": True,
        "connection_warming": False,
        "throttle_connections_per_sec": 1_000_000,
        "ignore_session_variables": "",
        "hostgroup_settings": "",
        "servers_defaults": "",
        "comment": "",
    }
    assert row.ignored_variables == frozenset()


@pytest.mark.parametrize("value", ['["SQL_mode", "x"]', ["SQL_mode", "x"]])
def test_ignored_variables_as_json_or_list(value: object) -> None:
    row = MysqlHostgroupAttributes.model_validate(
        {"hostgroup_id": 0, "ignore_session_variables": value}
    )
    assert row.ignored_variables == {"sql_mode", "x"}
    assert row.ignore_session_variables == '["SQL_mode", "x"]'


@pytest.mark.parametrize(
    "values",
    [
        {"hostgroup_id": -1},
        {"max_num_online_servers": 1_000_001},
        {"autocommit": 2},
        {"autocommit": -2},
        {"free_connections_pct": 101},
        {"multiplex": 2},
        {"throttle_connections_per_sec": 0},
        {"throttle_connections_per_sec": 1_000_001},
        {"ignore_session_variables": "sql_mode"},
        {"ignore_session_variables": '{"a": 1}'},
        {"ignore_session_variables": [1]},
        {"ignore_session_variables": [""]},
        {"hostgroup_settings": "[]"},
        {"servers_defaults": "{"},
    ],
)
def test_attributes_refused(values: dict[str, object]) -> None:
    refusal(MysqlHostgroupAttributes, {"hostgroup_id": 1, **values})


def test_hostgroup_settings() -> None:
    row = MysqlHostgroupAttributes(hostgroup_id=1, hostgroup_settings='{"proxy_protocol": 2}')
    assert row.proxy_protocol == 2
    assert MysqlHostgroupAttributes(hostgroup_id=1).proxy_protocol == 0
    for wrong in ('{"proxy_protocol": 3}', '{"proxy_protocol": true}', '{"proxy_protocol": "2"}'):
        with pytest.raises(ValidationError, match="does not exist"):
            MysqlHostgroupAttributes(hostgroup_id=1, hostgroup_settings=wrong)
