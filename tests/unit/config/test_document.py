# SPDX-License-Identifier: Apache-2.0
"""Manual and template: nothing of the schema is missing, and the files in the tree are fresh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci import config_docs
from hproxy.config.document import Option, manual, sections, template, toml_value
from hproxy.config.load import load_config
from hproxy.config.source import ENV_ALIASES

OPTIONS = [option for section in sections() for option in section.options]


def option(*path: str) -> Option:
    (found,) = [option for option in OPTIONS if option.path == path]
    return found


def test_sections_in_the_order_of_the_schema() -> None:
    assert [section.header for section in sections()] == [
        "[server]",
        "[server.daemon]",
        "[proxy]",
        "[tls]",
        "[health]",
        "[logging]",
        "[admin]",
        "[http]",
        "[[mysql_servers]]",
        "[[mysql_users]]",
        "[[mysql_replication_hostgroups]]",
        "[[mysql_hostgroup_attributes]]",
        "[[mysql_group_replication_hostgroups]]",
        "[[mysql_galera_hostgroups]]",
        "[[mysql_aws_aurora_hostgroups]]",
        "[[mysql_servers_ssl_params]]",
        "[[mysql_query_rules]]",
        "[[mysql_query_rules_fast_routing]]",
        "[[mysql_firewall_whitelist_users]]",
        "[[mysql_firewall_whitelist_rules]]",
        "[[mysql_firewall_whitelist_sqli_fingerprints]]",
        "[[proxysql_servers]]",
        "[[scheduler]]",
        "[[restapi_routes]]",
    ]
    assert all(section.doc for section in sections())


def test_what_an_option_shows() -> None:
    timeout = option("proxy", "connect_timeout_ms")
    assert (timeout.kind, timeout.default, timeout.apply) == ("whole number", 3000, "live")
    assert timeout.limits == "1 to 2147483647 milliseconds"
    assert timeout.env == "HPROXY_PROXY__CONNECT_TIMEOUT_MS"
    assert option("proxy", "max_allowed_packet").limits == "1024 to 1073741824 bytes"
    throttle = option("proxy", "throttle_connections_per_sec")
    assert throttle.limits == "1 to 100000000 per second"
    assert option("health", "interval_sec").limits.startswith("above 0 up to ")
    assert option("health", "success_threshold").acts is False
    assert option("proxy", "backends").kind == "list of text"
    assert option("proxy", "max_redirects").mode == "redis"
    assert option("tls", "cert").kind == "path"
    assert option("logging", "stdout").kind == "true or false"
    assert option("proxy", "idle_timeout_sec").kind == "number"
    assert option("tls", "client").kind == '"off", "preferred", "required"'
    assert option("mysql_servers", "hostname").required
    assert not option("proxy", "auth").required


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (5, "5"), (0.5, "0.5"), ("a", '"a"'), (("a", 1), '["a", 1]'), ((), "[]")],
)
def test_toml_value(value: object, text: str) -> None:
    assert toml_value(value) == text


def test_template_loads_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(template())
    config = load_config(path, {}, {})
    assert config.proxy.backends == ("127.0.0.1:3306",)
    assert config.model_copy(update={"proxy": None, "server": None}) == load_config(
        None, {"backend": "127.0.0.1:3306"}, {}
    ).model_copy(update={"proxy": None, "server": None})


def test_template_loads_with_every_line_switched_on(tmp_path: Path) -> None:
    """Every commented default is valid TOML and is accepted as a value of its option."""
    text = re.sub(
        r'^# (\[+[a-z_.]+\]+|[a-z_]+ = (?!"\.\.\.").*)$', r"\1", template(), flags=re.MULTILINE
    )
    path = tmp_path / "t.toml"
    path.write_text(text)
    config = load_config(path, {}, {})
    assert [row.hostname for row in config.mysql_servers] == ["10.0.0.1"]
    assert [row.username for row in config.mysql_users] == ["app"]
    (pair,) = config.mysql_replication_hostgroups
    assert (pair.writer_hostgroup, pair.reader_hostgroup) == (10, 20)
    assert [row.hostgroup_id for row in config.mysql_hostgroup_attributes] == [10]
    assert config.server.daemon is not None


def test_template_is_only_about_its_mode() -> None:
    names = set(re.findall(r"^(?:# )?(\w+) = ", template(), flags=re.MULTILINE))
    assert names == {option.name for option in OPTIONS if option.mode in ("", "mysql")}
    assert max(map(len, template().splitlines())) <= 100


def test_manual_names_every_option_and_variable() -> None:
    text = manual()
    assert all(f"| `{option.name}` |" in text for option in OPTIONS)
    assert all(f"`{name}`" in text for name in ENV_ALIASES)
    assert all(line.count(" | ") == 4 for line in text.splitlines() if line.startswith("| `"))


def test_generated_files_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert config_docs.main(["--check"]) == 0, capsys.readouterr().err


def test_stale_files_are_named_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config_docs, "ROOT", tmp_path)
    assert config_docs.main(["--check"]) == 1
    assert "docs/operations/config.md" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert config_docs.main([]) == 0
    assert (tmp_path / "examples/reference.toml").read_text() == template()
    assert config_docs.main(["--check"]) == 0
