# SPDX-License-Identifier: Apache-2.0
"""What errors say: one sentence from summary, reason and facts; a configuration's all at once."""

from __future__ import annotations

from hproxy.errors import ConfigError, ConfigFinding, ConnectError, PoolError


def test_sentence_from_summary_reason_and_facts() -> None:
    assert str(PoolError()) == "no backend connection"
    assert str(ConnectError("refused", backend="db:3306")) == (
        "cannot connect to backend: refused (backend=db:3306)"
    )


def test_code_is_the_class_and_the_case() -> None:
    assert PoolError().full_code == "pool"
    assert ConnectError(code="login").full_code == "pool.connect.login"


def test_finding() -> None:
    assert str(ConfigFinding("a.toml:1", "a.b", "is wrong", "5", "seconds")) == (
        "a.toml:1: a.b: is wrong, got 5 (seconds)"
    )
    assert str(ConfigFinding("", "", "is wrong")) == "is wrong"


def test_configuration_with_one_and_with_several_findings() -> None:
    one, two = ConfigFinding("f:1", "a", "is wrong"), ConfigFinding("f:2", "b", "is missing")
    assert str(ConfigError(findings=[one])) == "configuration refused: f:1: a: is wrong"
    assert str(ConfigError(findings=[one, two])) == (
        "configuration refused:\n  f:1: a: is wrong\n  f:2: b: is missing"
    )


def test_packets_among_the_facts_are_not_shown() -> None:
    error = ConnectError("Too many", code="refused", number=1040, packet=b"\xff\x10\x04")
    assert str(error) == "cannot connect to backend: Too many (number=1040)"
    assert str(ConnectError(packet=b"\xff")) == "cannot connect to backend"


def test_configuration_error_by_facts_is_one_finding() -> None:
    error = ConfigError("cannot listen", key="server.listen_addr", value=":1", hint="in use?")
    assert error.findings == (
        ConfigFinding("", "server.listen_addr", "cannot listen", ":1", "in use?"),
    )
    assert str(error) == (
        "configuration refused: server.listen_addr: cannot listen, got :1 (in use?)"
    )
    assert ConfigError("plain").findings == ()
    assert str(ConfigError("plain")) == "configuration refused: plain"
