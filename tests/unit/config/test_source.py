# SPDX-License-Identifier: Apache-2.0
"""File, environment and flags as layers: what each accepts, and what its places are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from hproxy.config.source import (
    ENV_ALIASES,
    ENV_TABLES,
    FLAGS,
    field_type,
    is_cnf,
    read_env,
    read_file,
    read_flags,
)
from hproxy.errors import ConfigError, ConfigFinding


def refused(path: Path) -> ConfigFinding:
    with pytest.raises(ConfigError) as raised:
        read_file(path)
    (finding,) = raised.value.findings
    return finding


def test_file_gives_values_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('\n[proxy]\nbackends = ["a"]\n')
    read = read_file(path)
    tree, places = read.tree, read.places
    assert not read.cnf
    assert tree == {"proxy": {"backends": ["a"]}}
    assert places[("proxy",)] == f"{path}:2"
    assert places[("proxy", "backends", 0)] == f"{path}:3"


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf[proxy]\n")
    assert read_file(path).tree == {"proxy": {}}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    finding = refused(tmp_path / "none.toml")
    assert (finding.source, finding.message) == (
        str(tmp_path / "none.toml"),
        "cannot be read: No such file or directory",
    )
    assert refused(tmp_path).message == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"[proxy]\nbackends = ?\n", 2, "is not TOML: Invalid value at column 12"),
        (b"[proxy\n", 1, "is not TOML: Expected ']' at the end of a table declaration"),
        (b"a = 1\nb = [1,", 2, "is not TOML: Invalid value at the end of the file"),
        (b"[a]\n\n[a]\n", 3, "is not TOML: Cannot declare"),
        (b"a = 1\nb = '\xff'\n", 2, "is not UTF-8 text"),
    ],
)
def test_syntax_error_names_line_and_column(
    tmp_path: Path, text: bytes, line: int, message: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(text)
    finding = refused(path)
    assert finding.source == f"{path}:{line}"
    assert finding.message.startswith(message)


def test_absurd_input_is_refused_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"a = {'[' * 5000}{']' * 5000}")
    assert refused(path).message == "is nested too deeply"
    path.write_text(f"a = {'1' * 5000}")
    assert refused(path).message.startswith("is not TOML: Exceeds the limit")


def test_environment_long_and_short_names() -> None:
    layer = read_env(
        {
            "HPROXY_SERVER__LISTEN_ADDR": ":1",
            "HPROXY_LISTEN": ":2",
            "HPROXY_BACKENDS": "a, b:1,,",
            "HPROXY_AUTH": "",
            "HPROXY_SERVER__DAEMON__PID_FILE": "/p",
            "HPROXY_PORT": "tcp://10.0.0.1:6033",
            "HPROXY_SERVICE_HOST": "10.0.0.1",
            "HPROXY_CONFIG": "x.toml",
            "HPROXY_DEBUG": "1",
            "OTHER__THING": "x",
        }
    )
    assert layer.findings == []
    assert layer.values == {
        ("server", "listen_addr"): ":1",
        ("proxy", "backends"): ["a", "b:1"],
        ("server", "daemon", "pid_file"): "/p",
    }
    assert layer.places[("server", "listen_addr")] == "env HPROXY_SERVER__LISTEN_ADDR"
    assert layer.places[("proxy", "backends")] == "env HPROXY_BACKENDS"


def test_environment_near_miss() -> None:
    (finding,) = read_env({"HPROXY_BACKENS": "a"}).findings
    assert str(finding) == "env HPROXY_BACKENS: unknown name (did you mean HPROXY_BACKENDS?)"


def test_environment_rows() -> None:
    layer = read_env({"HPROXY_MYSQL_USERS": '[{username = "a", password = "b"}]'})
    assert layer.values == {("mysql_users",): [{"username": "a", "password": "b"}]}
    layer = read_env({"HPROXY_MYSQL_USERS__0__PASSWORD": "hush"})
    assert layer.values == {("mysql_users", 0, "password"): "hush"}


def test_environment_rows_must_be_toml() -> None:
    layer = read_env({"HPROXY_MYSQL_USERS": "app:hush"})
    assert layer.values == {}
    assert str(layer.findings[0]) == (
        "env HPROXY_MYSQL_USERS: mysql_users: is not a TOML array of tables "
        '(like [{username = "app", password = "..."}])'
    )


@pytest.mark.parametrize("name", sorted(ENV_ALIASES | ENV_TABLES))
def test_aliases_lead_to_options(name: str) -> None:
    assert field_type((ENV_ALIASES | ENV_TABLES)[name]) is not None


@pytest.mark.parametrize("name", sorted(FLAGS))
def test_flags_lead_to_options(name: str) -> None:
    assert field_type(FLAGS[name]) is not None


def test_flags() -> None:
    layer = read_flags(
        {
            "listen": ":1",
            "backend": ("a,b", "c"),
            "auth": None,
            "log_level": "debug",
            "proxy.idle_timeout_sec": 5,
            "proxy.cluster_nodes": ["n"],
        }
    )
    assert layer.values == {
        ("server", "listen_addr"): ":1",
        ("proxy", "backends"): ["a", "b", "c"],
        ("logging", "level"): "debug",
        ("proxy", "idle_timeout_sec"): 5,
        ("proxy", "cluster_nodes"): ["n"],
    }
    assert layer.places[("proxy", "backends")] == "flag --backend"
    assert layer.places[("logging", "level")] == "flag --log-level"
    assert layer.places[("proxy", "idle_timeout_sec")] == "flag proxy.idle_timeout_sec"
    assert read_flags({"backend": ()}).values == {}
    assert read_flags({"backend": [5]}).values == {("proxy", "backends"): [5]}


def test_field_type() -> None:
    assert field_type(("proxy", "connect_timeout_ms")) is int
    assert field_type(("tls", "cert")) is Path
    assert field_type(("server", "worker_threads")) is int
    assert field_type(("mysql_users", 3, "password")) is str
    assert field_type(("proxy", "none")) is None
    assert field_type(("proxy", "mode", "x")) is None
    assert field_type(("proxy", 0)) is None


@pytest.mark.parametrize(
    ("name", "text", "cnf"),
    [
        ("proxysql.cnf", "", True),
        ("p.CFG", "", True),
        ("h.toml", "mysql_servers = (\n", False),
        ("config", "mysql_servers =\n(\n { address = 'a' }\n)", True),
        ("config", "# x\n  mysql_variables=\n{\n threads=4\n}", True),
        ("config", "[proxy]\nmysql_variables = {}\n", False),
        ("config", "mysql_variables = { threads = 4 }\n", False),
        ("config", "[[mysql_servers]]\nhostname = 'a'\n", False),
    ],
)
def test_a_proxysql_file_is_known_by_name_or_by_how_it_begins(
    name: str, text: str, cnf: bool
) -> None:
    assert is_cnf(Path(name), text) is cnf


def test_a_column_in_capitals_is_found() -> None:
    layer = read_env({"HPROXY_MYSQL_QUERY_RULES__0__FLAGIN": "3", "HPROXY_PROXY__NOTHING": "1"})
    assert layer.values == {
        ("mysql_query_rules", 0, "flagIN"): "3",
        ("proxy", "nothing"): "1",
    }
