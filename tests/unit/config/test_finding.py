# SPDX-License-Identifier: Apache-2.0
"""Refusals as findings: our words, the right key, a hint, and no password anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hproxy.config.finding import dotted, findings_of, path_of
from hproxy.config.schema import Config
from hproxy.errors import ConfigFinding

BACKENDS = {"backends": ["db"]}
NAN = float("nan")


def findings(**values: Any) -> list[ConfigFinding]:
    values.setdefault("proxy", BACKENDS)
    try:
        Config.model_validate(values)
    except ValidationError as error:
        return [finding for _, finding in findings_of(error, lambda path: "here")]
    return []


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("servers", {}, "unknown key (did you mean server?)"),
        ("listen_addr", ":1", "unknown key (it belongs in [server])"),
        ("xyz", {}, "unknown key"),
        ("server.listen_adr", 1, "unknown key (did you mean listen_addr?)"),
        ("server.interval_sec", 1, "unknown key (it belongs in [health])"),
        ("server", 5, "must be a table"),
        ("server.daemon", 5, "must be a table"),
        ("server.daemon.enabled", "x", 'must be true or false, got "x"'),
        ("server.daemon.enabled", [], "must be true or false"),
        ("server.max_connections", "many", 'must be a whole number, got "many"'),
        ("server.max_connections", 1.5, "must be a whole number, got 1.5"),
        ("server.max_connections", [], "must be a whole number"),
        ("server.max_connections", 0, "must be at least 1, got 0"),
        ("server.max_connections", True, "must be a number, not true or false, got true"),
        ("server.listen_addr", 5, "must be text in quotes, got 5"),
        ("server.listen_addr", "a", 'has no port, got "a" (write a:PORT)'),
        ("server.data_dir", 5, "must be a path in quotes, got 5"),
        ("server.connection_timeout_sec", 0, "must be above 0, got 0 (seconds)"),
        ("server.connection_timeout_sec", "1m", 'must be a number, got "1m" (seconds)'),
        ("server.connection_timeout_sec", [], "must be a number (seconds)"),
        ("server.connection_timeout_sec", NAN, "must be a finite number, got nan (seconds)"),
        ("proxy.backends", "db", 'must be a list, like ["a", "b"], got "db"'),
        ("proxy.max_allowed_packet", 2**31, "must be at most 1073741824, got 2147483648 (bytes)"),
        ("proxy.mode", "pg", 'must be one of mysql, redis, mongodb, got "pg"'),
        ("mysql_servers", {"hostname": "a"}, "must be rows, each under [[mysql_servers]]"),
    ],
)
def test_message_of_a_key(key: str, value: object, text: str) -> None:
    tree: dict[str, Any] = {"proxy": dict(BACKENDS)}
    node = tree
    *outer, last = key.split(".")
    for name in outer:
        node = node.setdefault(name, {})
    node[last] = value
    (finding,) = findings(**tree)
    assert str(finding) == f"here: {key}: {text}"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"proxy": {"backends": ["db", 5]}},
            "proxy.backends[1]: must be text in quotes, got 5",
        ),
        (
            {"proxy": {**BACKENDS, "connect_timeout_ms": 20_000}},
            "proxy.connect_timeout_max_ms: must not be below proxy.connect_timeout_ms (20000)",
        ),
        ({"mysql_servers": [{"port": 1}]}, "mysql_servers[0].hostname: is required"),
        (
            {"mysql_servers": [{"hostname": "a", "port": 0}]},
            "mysql_servers[0].port: port 0 cannot be connected to",
        ),
        (
            {"mysql_users": [{"username": ""}]},
            'mysql_users[0].username: must have at least 1 characters, got ""',
        ),
        ({"mysql_users": [5]}, "mysql_users[0]: must be a table"),
    ],
)
def test_message_in_rows_and_pairs(values: dict[str, Any], text: str) -> None:
    (finding,) = findings(**values)
    assert str(finding) == f"here: {text}"


@pytest.mark.parametrize(
    "values",
    [
        {"mysql_users": [{"username": "a", "password": 123456}]},
        {"mysql_users": [{"password": "hush", "username": 5}]},
        {"mysql_users": ["hush"]},
        {"mysql_users": "hush"},
        {"mysql_users": [{"username": "a", "pasword": "hush"}]},
        {"proxy": {**BACKENDS, "monitor_password": ["hush"]}},
        {"proxy": {**BACKENDS, "monitor_pass": "hush"}},
        {"proxy": [["hush"]]},
        {"admin": {"credentials": 123456}},
        {"mysql_users": {"password": "hush"}},
    ],
)
def test_no_password_is_told(values: dict[str, Any]) -> None:
    told = " ".join(map(str, findings(**values)))
    assert told
    assert "hush" not in told
    assert "123456" not in told


def test_a_value_is_told_short_and_printable() -> None:
    (finding,) = findings(server={"listen_addr": "\x1b[31m" + "x" * 200})
    assert finding.value is not None
    assert finding.value.isprintable()
    assert len(finding.value) <= 83


def test_a_pair_is_about_all_its_keys() -> None:
    with pytest.raises(ValidationError) as raised:
        Config.model_validate({"proxy": BACKENDS, "health": {"interval_sec": 1}})
    ((about, finding),) = findings_of(raised.value, dotted)
    assert about == (("health", "timeout_sec"), ("health", "interval_sec"))
    assert (finding.source, finding.key) == ("health.timeout_sec", "health.timeout_sec")


keys = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True)


@given(st.tuples(keys, st.lists(keys | st.integers(0, 99), max_size=4)))
def test_dotted_and_back(parts: tuple[str, list[str | int]]) -> None:
    path = (parts[0], *parts[1])
    assert path_of(dotted(path)) == path
