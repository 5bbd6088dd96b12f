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


def test_what_is_left_to_the_admin_port_may_come_later() -> None:
    left = {"proxy": {"auth": "table"}}
    made = Config.model_validate({"admin": {"address": "127.0.0.1:6032"}, **left})
    assert made.servers == ()
    assert len(made.warnings()) == 2
    for nowhere in ({}, {"address": ""}):
        with pytest.raises(ValidationError, match="no backend"):
            Config.model_validate({"admin": nowhere, **left})


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


def test_a_user_may_have_one_row_for_clients_and_one_for_backends() -> None:
    client = {"username": "a", "backend": 0}
    backend = {"username": "a", "frontend": 0}
    assert len(config(mysql_users=[client, backend]).mysql_users) == 2
    for third in ({"username": "a"}, client, backend):
        assert refusals(proxy={"backends": ["db"]}, mysql_users=[client, backend, third]) == [
            (("mysql_users[2].username",), "user 'a' is there already")
        ]


@pytest.mark.parametrize("more", [[], [{"username": "a", "frontend": 0, "active": 0}]])
def test_a_user_needs_a_row_that_opens_backends(more: list[dict[str, object]]) -> None:
    users = [{"username": "a", "backend": 0}, *more]
    assert refusals(proxy={"backends": ["db"]}, mysql_users=users) == [
        (
            ("mysql_users[0].backend",),
            "no active row of user 'a' is valid towards backends",
        )
    ]


def test_only_mysql_runs() -> None:
    config().require_runnable()
    with pytest.raises(ConfigError, match='"redis" is not yet supported in this version'):
        config(proxy={"mode": "redis", "cluster_nodes": ["n"]}).require_runnable()


def test_dormant_keys_are_those_given_without_effect() -> None:
    assert config().dormant_keys() == ()
    whole = config(
        server={"daemon": {"enabled": True}, "max_connections": 5},
        health={"success_threshold": 3},
        mysql_servers=[{"hostname": "x"}, {"hostname": "y", "gtid_port": 1}],
    )
    assert whole.dormant_keys() == (
        "health.success_threshold",
        "mysql_servers[1].gtid_port",
    )


def test_session_mode_follows_from_who_checks_passwords() -> None:
    users = [{"username": "app"}]
    assert config().session_mode == "session"
    assert config(mysql_users=users).session_mode == "multiplex"
    chosen = {"backends": ["db"], "session_mode": "session"}
    assert config(proxy=chosen, mysql_users=users).session_mode == "session"
    relay = {"backends": ["db"], "auth": "relay"}
    assert config(proxy=relay, mysql_users=users).session_mode == "session"


def test_multiplexing_needs_passwords() -> None:
    wanted = [(("proxy.session_mode", "proxy.auth", "mysql_users"), 'needs auth "table"')]
    proxy = {"backends": ["db"], "session_mode": "multiplex"}
    assert refusals(proxy=proxy) == wanted
    users = [{"username": "app"}]
    assert refusals(proxy=proxy | {"auth": "relay"}, mysql_users=users) == wanted


def test_a_hostgroup_has_one_partner_and_one_row_of_attributes() -> None:
    pairs = [
        {"writer_hostgroup": 0, "reader_hostgroup": 1},
        {"writer_hostgroup": 0, "reader_hostgroup": 2},
        {"writer_hostgroup": 3, "reader_hostgroup": 1},
    ]
    found = refusals(
        proxy={"backends": ["db"]},
        mysql_replication_hostgroups=pairs,
        mysql_hostgroup_attributes=[{"hostgroup_id": 4}, {"hostgroup_id": 4}],
    )
    assert found == [
        (
            ("mysql_replication_hostgroups[1].writer_hostgroup",),
            "hostgroup 0 is there already",
        ),
        (
            ("mysql_replication_hostgroups[2].reader_hostgroup",),
            "hostgroup 1 is there already",
        ),
        (("mysql_hostgroup_attributes[1].hostgroup_id",), "hostgroup 4 is there already"),
    ]


def test_hostgroups_without_servers_are_doubted() -> None:
    whole = config(
        mysql_users=[
            {"username": "a"},
            {"username": "b", "default_hostgroup": 7},
            {"username": "c", "default_hostgroup": 8, "active": 0},
        ],
        mysql_replication_hostgroups=[{"writer_hostgroup": 0, "reader_hostgroup": 1}],
        mysql_hostgroup_attributes=[{"hostgroup": 0}, {"hostgroup": 5}],
    )
    assert [(doubt.key, doubt.value) for doubt in whole.warnings()] == [
        ("mysql_replication_hostgroups[0].reader_hostgroup", "1"),
        ("mysql_hostgroup_attributes[1].hostgroup_id", "5"),
        ("mysql_users[1].default_hostgroup", "7"),
    ]
    assert str(whole.warnings()[0]) == (
        "mysql_replication_hostgroups[0].reader_hostgroup: no server is in this hostgroup, got 1 "
        "(add a row of mysql_servers with hostgroup_id = 1)"
    )
    watched = whole.model_copy(
        update={"proxy": whole.proxy.model_copy(update={"monitor_username": "monitor"})}
    )
    assert watched.served_hostgroups == {0, 1}, "monitors make readers"
    assert len(watched.warnings()) == 2


def test_pairs_that_are_each_others_readers_are_doubted() -> None:
    rows = [{"hostname": f"db{hostgroup}", "hostgroup": hostgroup} for hostgroup in (0, 1)]
    pairs = [{"writer_hostgroup": writer, "reader_hostgroup": 1 - writer} for writer in (0, 1)]
    whole = config(
        mysql_servers=rows, mysql_replication_hostgroups=pairs, mysql_users=[{"username": "a"}]
    )
    assert [doubt.key for doubt in whole.warnings()] == [
        "mysql_replication_hostgroups[0]", "mysql_replication_hostgroups[1]"
    ]  # fmt: skip


def test_a_split_that_cannot_act_is_doubted() -> None:
    rows = [{"hostname": "db", "hostgroup": 1}]
    pairs = [{"writer_hostgroup": 0, "reader_hostgroup": 1}]
    whole = config(mysql_servers=rows, mysql_replication_hostgroups=pairs)
    assert [doubt.key for doubt in whole.warnings()] == ["mysql_replication_hostgroups"]
    users = [{"username": "a"}]
    assert (
        config(mysql_servers=rows, mysql_replication_hostgroups=pairs, mysql_users=users).warnings()
        == ()
    )


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("mysql_query_rules", {"rule_id": 1}, "rule_id 1 is there already"),
        (
            "mysql_query_rules_fast_routing",
            {"username": "a", "schemaname": "b", "destination_hostgroup": 1},
            "username 'a', schemaname 'b', flagIN 0 is there already",
        ),
        (
            "mysql_galera_hostgroups",
            {
                "writer_hostgroup": 1,
                "backup_writer_hostgroup": 2,
                "reader_hostgroup": 3,
                "offline_hostgroup": 4,
            },
            "hostgroup 1 is there already",
        ),
        ("scheduler", {"id": 1, "interval_ms": 100, "filename": "/x"}, "id 1 is there already"),
    ],
)
def test_keys_of_the_admin_tables_hold(table: str, row: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**{table: [row, row]})


def test_an_admin_may_leave_nothing_to_serve() -> None:
    tree = {"proxy": {"auth": "table"}}
    with pytest.raises(ValidationError):
        Config.model_validate(tree)
    made = Config.model_validate(tree, context={"live": True})
    assert made.servers == ()
    assert [doubt.message for doubt in made.warnings()] == [
        "there is no backend to connect to",
        'auth "table" needs at least one active user',
    ]


def test_rules_that_lead_nowhere_are_told_once_by_hostgroup() -> None:
    rules: list[dict[str, object]] = [
        {"rule_id": n, "active": n != 1, "destination_hostgroup": 7, "mirror_hostgroup": 0}
        for n in range(1, 5)
    ]
    ways = [{"username": "", "schemaname": "", "destination_hostgroup": 8}]
    whole = config(mysql_query_rules=rules, mysql_query_rules_fast_routing=ways)
    assert [doubt.key for doubt in whole.warnings()] == [
        "mysql_query_rules[1].destination_hostgroup",
        "mysql_query_rules_fast_routing[0].destination_hostgroup",
    ]


def test_variables_are_text_and_checked() -> None:
    made = config(
        mysql_variables={"commands_stats": False, "unshun_algorithm": 1, "threads": "8"},
        admin_variables={"read_only": "1"},
    )
    assert made.mysql_variables == {
        "commands_stats": "false",
        "unshun_algorithm": "1",
        "threads": "8",
    }
    assert made.admin_variables == {"read_only": "true"}
    assert made.dormant_keys() == ("mysql_variables.threads",)
    with pytest.raises(ValidationError, match="unknown variable"):
        config(mysql_variables={"nothing": 1})
    with pytest.raises(ValidationError, match=r"is proxy\.long_query_time"):
        config(mysql_variables={"long_query_time": 1})
