# SPDX-License-Identifier: Apache-2.0
"""Variables and options are one thing: what is set as one is read as the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hproxy.config.load import load_config
from hproxy.config.proxysql.binding import variables_of, with_variables
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.config.schema import Config
from hproxy.errors import ConfigError

BASE = Config.model_validate({"proxy": {"backends": ["10.0.0.1"]}})
NUMBERS = [v for v in VARIABLES.values() if v.option and v.kind == "int"]
SPECIAL: dict[str, tuple[str, Any]] = {
    "mysql-have_ssl": ("false", ("tls", "client", "off")),
    "mysql-have_compress": ("false", ("proxy", "compression", ())),
    "mysql-use_tcp_keepalive": ("false", ("proxy", "tcp_keepalive_sec", 0)),
    "mysql-interfaces": ("127.0.0.1:6033", ("server", "listen_addr", "127.0.0.1:6033")),
    "admin-mysql_ifaces": (":6032", ("admin", "address", ":6032")),
    "mysql-server_version": ("8.0.30", ("proxy", "server_version", "8.0.30")),
    "mysql-ssl_p2s_ca": ("/etc/ca.pem", ("tls", "backend_ca", Path("/etc/ca.pem"))),
    "mysql-monitor_password": ("x", ("proxy", "monitor_password", "x")),
    "mysql-connection_warming": ("true", ("proxy", "connection_warming", True)),
    "mysql-wait_timeout": ("1500", ("proxy", "idle_timeout_sec", 1.5)),
    "admin-admin_credentials": ("a:b", ("admin", "credentials", "a:b")),
}


@pytest.mark.parametrize("variable", NUMBERS, ids=[v.name for v in NUMBERS])
def test_every_number_a_variable_may_be_the_option_may_be(variable: Variable) -> None:
    for value in {str(variable.low), str(variable.high)}:
        assert variables_of(with_variables(BASE, {variable.name: value}))[variable.name] == value


@pytest.mark.parametrize("name", SPECIAL)
def test_an_option_follows_its_variable(name: str) -> None:
    value, (section, key, wanted) = SPECIAL[name]
    changed = with_variables(BASE, {name: value})
    assert getattr(getattr(changed, section), key) == wanted
    assert variables_of(changed)[name] == value
    # And back to what it was.
    back = with_variables(changed, {name: variables_of(BASE)[name]})
    assert getattr(getattr(back, section), key) == getattr(getattr(BASE, section), key)
    assert variables_of(back) == variables_of(BASE)


def test_others_are_kept_as_variables() -> None:
    changed = with_variables(
        BASE,
        {
            "mysql-mirror_max_queue_length": "7",
            "admin-strict": "0",
            "mysql-mirror_max_concurrency": "16",
        },
    )
    assert changed.mysql_variables == {"mirror_max_queue_length": "7"}
    assert changed.admin_variables == {"strict": "false"}
    assert changed.proxy.backends == BASE.proxy.backends
    assert with_variables(changed, {"mysql-mirror_max_queue_length": "32000"}).mysql_variables == {}


def test_several_interfaces_are_kept_whole() -> None:
    text = "127.0.0.1:6033;/tmp/p.sock"
    changed = with_variables(BASE, {"mysql-interfaces": text})
    assert changed.server.listen_addr == text
    assert variables_of(changed)["mysql-interfaces"] == text
    fewer = with_variables(changed, {"mysql-interfaces": "127.0.0.1:6033"})
    assert fewer.server.listen_addr == "127.0.0.1:6033"


def test_keepalive_remembers_its_time_while_off() -> None:
    off = with_variables(
        BASE, {"mysql-tcp_keepalive_time": "60", "mysql-use_tcp_keepalive": "false"}
    )
    assert off.proxy.tcp_keepalive_sec == 0
    values = variables_of(off)
    assert (values["mysql-use_tcp_keepalive"], values["mysql-tcp_keepalive_time"]) == (
        "false",
        "60",
    )
    assert with_variables(off, values) is off
    on = with_variables(off, {"mysql-use_tcp_keepalive": "true"})
    assert on.proxy.tcp_keepalive_sec == 60
    assert on.mysql_variables == {}


def test_a_partner_that_was_not_given_stays() -> None:
    """Or memory would say another value than the one that runs, and the next LOAD be refused."""
    changed = with_variables(BASE, {"mysql-monitor_ping_interval": "2000"})
    assert (changed.health.interval_sec, changed.health.timeout_sec) == (2, 5)
    changed = with_variables(BASE, {"mysql-connect_timeout_server": "20000"})
    assert changed.proxy.connect_timeout_max_ms == 10_000
    assert with_variables(changed, variables_of(changed)) is changed


def test_in_a_file_the_partner_yields(tmp_path: Path) -> None:
    text = "[mysql_variables]\nmonitor_ping_interval = 2000\n[proxy]\nbackends = ['a:1']\n"
    health = load(tmp_path, text).health
    assert (health.interval_sec, health.timeout_sec) == (2, 1)


def test_nothing_that_differs_is_the_same_config() -> None:
    assert with_variables(BASE, variables_of(BASE)) is BASE


def load(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "h.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {}, environ)


HEAD = '[proxy]\nbackends = ["10.0.0.1"]\n'


def test_a_file_may_say_variables(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        HEAD
        + "[mysql_variables]\nmax_connections = 5\nhave_ssl = false\nlong_query_time = 9\n"
        + "eventslog_default_log = 1\nunshun_algorithm = 1\n"
        + 'query_cache_size_mb = 1\nwait_timeout = 2500\ninterfaces = "127.0.0.1:1;127.0.0.1:2"\n'
        + "[admin_variables]\nread_only = true\n",
        HPROXY_MYSQL_VARIABLES__SHUN_ON_FAILURES="2",
    )
    assert config.server.max_connections == 5
    assert config.tls.client == "off"
    assert config.proxy.idle_timeout_sec == 2.5
    assert config.proxy.long_query_time == 9
    assert config.proxy.eventslog_default_log is True
    assert variables_of(config)["mysql-eventslog_default_log"] == "1"
    assert config.server.listen_addr == "127.0.0.1:1;127.0.0.1:2"
    assert config.mysql_variables == {
        "unshun_algorithm": "1",
        "query_cache_size_MB": "1",
    }
    assert config.admin_variables == {"read_only": "true"}


def test_mistakes_in_a_file_are_told_by_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            tmp_path,
            HEAD
            + "connect_timeout_ms = 5\n[mysql_variables]\nmax_connections = 0\n"
            + "lng_query_time = 3\nmirror_max_concurrency = -1\nconnect_timeout_server = 10\n",
        )
    told = {(f.source.rpartition(":")[2], f.key): f for f in caught.value.findings}
    assert set(told) == {
        ("5", "mysql-max_connections"),
        ("6", "mysql_variables.lng_query_time"),
        ("7", "mysql_variables.mirror_max_concurrency"),
        ("8", "mysql_variables.connect_timeout_server"),
    }
    assert told["6", "mysql_variables.lng_query_time"].hint == "did you mean long_query_time?"


def test_a_section_that_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "proxy = 3\nhealth = 1\nmysql_variables = 3\nadmin_variables = {strict = 7}")
    keys = {finding.key for finding in caught.value.findings}
    assert {"proxy", "health", "mysql_variables", "admin_variables.strict"} <= keys
