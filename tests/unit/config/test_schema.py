# SPDX-License-Identifier: Apache-2.0
"""The whole model: what is derived from several sections, and the checks across them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hproxy.config.option import Refusal, Refusals
from hproxy.config.schema import Config
from hproxy.errors import ConfigError


def config(**values: Any) -> Config:
    values.setdefault("proxy", {"backends": ["db"]})
    return Config.model_validate(values)


def refusals(**values: Any) -> list[tuple[tuple[str, ...], str]]:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(values)
    (item,) = raised.value.errors()
    cause = item["ctx"]["error"]
    assert isinstance(cause, Refusals)
    assert all(isinstance(refusal, Refusal) for refusal in cause.items)
    return [(refusal.keys, refusal.message) for refusal in cause.items]


def test_servers_are_the_short_ones_and_the_rows() -> None:
    whole = config(
        proxy={"backends": ["a", "/run/s"]},
        mysql_servers=[{"hostgroup": 1, "hostname": "a", "weight": 5}],
    )
    assert [(row.hostgroup_id, str(row.address), row.weight) for row in whole.servers] == [
        (0, "a:3306", 1),
        (0, "/run/s", 1),
        (1, "a:3306", 5),
    ]


def test_auth_mode_follows_from_the_users() -> None:
    users = [{"username": "app"}]
    assert config().auth_mode == "relay"
    assert config(mysql_users=users).auth_mode == "table"
    chosen = {"backends": ["db"], "auth": "relay"}
    assert config(proxy=chosen, mysql_users=users).auth_mode == "relay"


def test_table_needs_a_user_that_can_log_in() -> None:
    proxy = {"backends": ["db"], "auth": "table"}
    wanted = [(("proxy.auth", "mysql_users"), 'auth "table" needs at least one active user')]
    assert refusals(proxy=proxy) == wanted
    for off in ("active", "frontend"):
        assert refusals(proxy=proxy, mysql_users=[{"username": "a", off: 0}]) == wanted


def test_mysql_needs_a_backend() -> None:
    ((keys, message),) = refusals()
    assert keys[0] == "proxy.backends"
    assert message == "there is no backend to connect to"
    assert config(proxy={}, mysql_servers=[{"hostname": "db"}]).servers[0].hostname == "db"


@pytest.mark.parametrize(
    ("mode", "key"), [("redis", "cluster_nodes"), ("mongodb", "mongos_endpoints")]
)
def test_other_modes_need_their_list(mode: str, key: str) -> None:
    assert config(proxy={"mode": mode, key: ["h:1"]}).proxy.mode == mode
    assert refusals(proxy={"mode": mode}) == [
        ((f"proxy.{key}", "proxy.mode"), f'mode "{mode}" needs at least one')
    ]


def test_keys_of_another_mode_are_refused() -> None:
    found = refusals(proxy={"backends": ["db"], "max_redirects": 3, "mongos_endpoints": ["m"]})
    assert [keys[0] for keys, _ in found] == ["proxy.max_redirects", "proxy.mongos_endpoints"]
    assert found[0][1] == 'is for mode "redis", and the mode is "mysql"'
    found = refusals(proxy={"mode": "redis", "backends": ["r:1"]})
    assert [keys[0] for keys, _ in found] == ["proxy.backends", "proxy.cluster_nodes"]


def test_a_server_is_in_a_hostgroup_once() -> None:
    rows = [{"hostname": "A"}, {"hostname": "a", "hostgroup": 1}, {"hostname": "a", "hostgroup": 1}]
    assert refusals(proxy={"backends": ["a", "b", "a:3306"]}, mysql_servers=rows) == [
        (("proxy.backends[2]",), "a:3306 is in hostgroup 0 already"),
        (("mysql_servers[0]",), "A:3306 is in hostgroup 0 already"),
        (("mysql_servers[2]",), "a:3306 is in hostgroup 1 already"),
    ]


def test_a_user_is_there_once() -> None:
    users = [{"username": "a"}, {"username": "A"}, {"username": "a"}]
    assert refusals(proxy={"backends": ["db"]}, mysql_users=users) == [
        (("mysql_users[2].username",), "user 'a' is there already")
    ]


def test_only_mysql_runs() -> None:
    config().require_runnable()
    with pytest.raises(ConfigError, match='"redis" is not yet supported in this version'):
        config(proxy={"mode": "redis", "cluster_nodes": ["n"]}).require_runnable()


def test_dormant_keys_are_those_given_without_effect() -> None:
    assert config().dormant_keys() == ()
    whole = config(
        server={"daemon": {"enabled": True, "pid_file": "/p"}, "max_connections": 5},
        health={"interval_sec": 30},
        mysql_servers=[{"hostname": "x"}, {"hostname": "y", "gtid_port": 1}],
    )
    assert whole.dormant_keys() == (
        "server.daemon.enabled",
        "server.daemon.pid_file",
        "health.interval_sec",
        "mysql_servers[1].gtid_port",
    )
