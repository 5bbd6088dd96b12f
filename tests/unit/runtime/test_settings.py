# SPDX-License-Identifier: Apache-2.0
"""From the configuration to settings, backends, accounts and the RSA key."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path
from typing import Any

import pytest

from hproxy.auth import UserTable
from hproxy.config.schema import Config
from hproxy.errors import ConfigError
from hproxy.pool import PoolSettings
from hproxy.protocols.base import load_protocol
from hproxy.protocols.mysql.auth import Credential, Form
from hproxy.runtime import settings as build
from hproxy.session.services import Settings
from hproxy.topology import Backend, Health, HostgroupAttributes, Status

PROTOCOL = load_protocol("mysql")


def config(**sections: Any) -> Config:
    proxy = {"mode": "mysql", "backends": ["db1", "db2:3307"]} | sections.pop("proxy", {})
    return Config(proxy=proxy, **sections)


def test_the_defaults_of_both_sides_agree() -> None:
    """`Settings` is made of the configuration; its own defaults are for tests and tools."""
    made, own = build.settings(config()), Settings()
    differing = {
        field.name
        for field in dataclasses.fields(Settings)
        if getattr(made, field.name) != getattr(own, field.name)
    }
    assert differing <= {"client_tls", "backend_tls"}


def test_settings() -> None:
    made = build.settings(
        config(
            server={"max_connections": 7, "connection_timeout_sec": 2},
            proxy={
                "connect_timeout_ms": 1500,
                "connect_timeout_max_ms": 4500,
                "login_timeout_ms": 9000,
                "idle_timeout_sec": 33,
                "monitor_username": "watch",
                "monitor_password": "dog",
                "server_version": "8.0.99",
                "kill_query_on_disconnect": False,
            },
            tls={"backend": "required", "backend_server_name": "db.example"},
        )
    )
    assert made.auth_mode == "relay"
    assert made.max_connections == 7
    assert (made.connect_timeout, made.connect_timeout_max) == (1.5, 4.5)
    assert made.login_timeout == 2.0  # the shorter of the two
    assert made.idle_timeout == 33
    assert (made.monitor_user, made.monitor_password) == (b"watch", b"dog")
    assert made.server_version == "8.0.99"
    assert made.kill_on_disconnect is False
    assert (made.backend_tls, made.backend_server_name) == ("required", "db.example")


def test_settings_do_not_show_the_monitors_password() -> None:
    made = build.settings(config(proxy={"monitor_username": "m", "monitor_password": "hush"}))
    assert "hush" not in repr(made)


def test_the_lowest_hostgroup_is_where_relays_go() -> None:
    rows: Any = [{"hostgroup_id": group, "hostname": "db"} for group in (30, 20)]
    assert build.settings(Config(mysql_servers=rows)).hostgroup == 20


def test_backends_of_both_notations() -> None:
    rows: list[dict[str, Any]] = [
        {
            "hostgroup_id": 1,
            "hostname": "db3",
            "port": 3310,
            "weight": 5,
            "max_connections": 9,
            "use_ssl": 1,
            "status": "OFFLINE_SOFT",
        },
        {"hostgroup_id": 1, "hostname": "/run/db.sock"},
    ]
    made = config(mysql_servers=rows)
    first, second, third, fourth = build.backends(made)
    assert (first.host, first.port, first.hostgroup) == ("db1", 3306, 0)
    assert (second.host, second.port, second.path) == ("db2", 3307, None)
    assert third == Backend("db3", 3310, hostgroup=1, weight=5, max_connections=9, use_tls=True)
    assert (fourth.host, fourth.path, fourth.hostgroup) == ("", "/run/db.sock", 1)
    assert build.health(made)[third] == Health(status=Status.OFFLINE_SOFT)
    assert build.health(made)[first] == Health()


def test_the_defaults_of_the_pool_agree() -> None:
    table = config(mysql_users=({"username": "app"},))
    assert build.pool(table) == PoolSettings()
    assert build.pool(config()) == PoolSettings(session_mode="session")
    assert build.hostgroups(config())[0] == HostgroupAttributes()
    assert build.pairs(config()) == ()


def test_pool() -> None:
    options = {
        "connect_timeout_ms": 1500,
        "connect_timeout_max_ms": 2500,
        "connection_max_age_ms": 60_000,
        "ping_interval_server_msec": 500,
        "ping_timeout_server": 50,
        "queue_limit": 3,
        "query_retries_on_failure": 0,
        "max_stmts_per_connection": 4,
        "max_stmts_cache": 5,
        "max_stmts_cache_bytes": 65_536,
        "read_your_writes_ms": 250,
        "fast_lane": False,
        "decisions_max": 6,
        "digests_max": 7,
        "session_tracking": "off",
    }
    assert build.pool(config(proxy=options)) == PoolSettings(
        session_mode="session",
        fast_lane=False,
        session_tracking=False,
        read_your_writes=0.25,
        connect_timeout=1.5,
        connect_timeout_max=2.5,
        queue_limit=3,
        query_retries_on_failure=0,
        connection_max_age=60.0,
        ping_interval=0.5,
        ping_timeout=0.05,
        max_stmts_per_connection=4,
        max_stmts_cache=5,
        max_stmts_cache_bytes=65_536,
        decisions_max=6,
        digests_max=7,
    )


def test_pairs_and_attributes_of_hostgroups() -> None:
    made = config(
        proxy={"free_connections_pct": 30, "connection_warming": True},
        mysql_replication_hostgroups=[
            {"writer_hostgroup": 0, "reader_hostgroup": 1},
            {"writer_hostgroup": 4, "reader_hostgroup": 2},
        ],
        mysql_hostgroup_attributes=[
            {"hostgroup": 1, "free_connections_pct": 10, "init_connect": "SET @a = 1"},
            {"hostgroup": 9, "multiplex": 0, "ignore_session_variables": ["SQL_Mode"]},
        ],
        mysql_users=[{"username": "app", "default_hostgroup": 7}],
    )
    assert build.pairs(made) == ((0, 1), (4, 2))
    common = HostgroupAttributes(free_connections_pct=30, connection_warming=True)
    found = build.hostgroups(made)
    assert [found[hostgroup] for hostgroup in (0, 2, 4, 7)] == [common] * 4
    assert found == {
        # Given in the row, if only as its default: that counts, not the proxy's.
        1: dataclasses.replace(common, free_connections_pct=10, init_connect="SET @a = 1"),
        9: dataclasses.replace(common, multiplex=False, ignored_variables=frozenset({"sql_mode"})),
    }


def test_a_row_for_backends_has_its_own_password_and_limit() -> None:
    rows = [
        {"username": "ann", "password": "outside", "backend": 0, "max_connections": 500},
        {"username": "ann", "password": "inside", "frontend": 0, "max_connections": 20},
        {"username": "bob", "password": "pw", "max_connections": 3},
        {"username": "off", "password": "pw", "active": 0},
    ]
    made = config(mysql_users=rows)
    users = UserTable(build.users(made, PROTOCOL))
    ann, bob = users.find(b"ann"), users.find(b"bob")
    assert len(users) == 2
    assert ann is not None
    assert bob is not None
    assert (ann.secret.credential, ann.credential) == (
        Credential(b"outside"),
        Credential(b"inside"),
    )
    assert (ann.max_connections, bob.credential) == (500, Credential(b"pw"))
    assert build.user_limits(made) == {b"ann": 20, b"bob": 3}


def test_accounts() -> None:
    rows: list[dict[str, Any]] = [
        {
            "username": "ann",
            "password": "pw",
            "default_schema": "shop",
            "default_hostgroup": 3,
            "max_connections": 4,
            "use_ssl": 1,
            "attributes": '{"auth_plugin": "client_ed25519"}',
        },
        {"username": "bob", "password": "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"},
        {"username": "eve"},
        {"username": "off", "password": "pw", "active": 0},
    ]
    users = UserTable(build.users(config(mysql_users=rows), PROTOCOL))
    assert len(users) == 3
    ann, bob, eve = (users.find(name) for name in (b"ann", b"bob", b"eve"))
    assert users.find(b"off") is None
    assert ann is not None
    assert (ann.default_schema, ann.hostgroup, ann.max_connections) == (b"shop", 3, 4)
    assert (ann.require_tls, ann.plugin) == (True, "client_ed25519")
    assert ann.credential == Credential(b"pw")
    assert bob is not None
    assert (bob.secret.form, bob.credential, bob.plugin) == (Form.NATIVE_HASH, None, None)
    assert eve is not None
    assert (eve.secret.form, eve.credential) == (Form.EMPTY, Credential(b""))


@pytest.mark.parametrize("attributes", ["", "{}", '{"auth_plugin": 3}', "[]", '"x"'])
def test_attributes_without_a_plugin(attributes: str) -> None:
    rows = [{"username": "ann", "password": "pw", "attributes": attributes}]
    try:
        made = config(mysql_users=rows)
    except ConfigError:
        return
    except ValueError:
        return  # the schema refuses what is no object
    ann = UserTable(build.users(made, PROTOCOL)).find(b"ann")
    assert ann is not None
    assert ann.plugin is None


def test_the_rsa_key_is_kept(tmp_path: Path) -> None:
    first = build.rsa_key(tmp_path, PROTOCOL)
    path = tmp_path / "rsa-private-key.pem"
    pem = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = build.rsa_key(tmp_path, PROTOCOL)
    assert again.public_key() == first.public_key()
    assert path.read_bytes() == pem


def test_an_rsa_key_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "rsa-private-key.pem"
    path.write_text("nonsense")
    with pytest.raises(ConfigError) as caught:
        build.rsa_key(tmp_path, PROTOCOL)
    assert (caught.value.findings[0].key, caught.value.findings[0].value) == (
        "server.data_dir",
        str(path),
    )
    assert path.read_text() == "nonsense"
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        build.rsa_key(tmp_path, PROTOCOL)
