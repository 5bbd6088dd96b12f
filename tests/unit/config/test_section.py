# SPDX-License-Identifier: Apache-2.0
"""The sections: defaults others rely on, spellings accepted, values and pairs refused."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from hproxy.config.address import Address
from hproxy.config.section import (
    AdminOptions,
    DaemonOptions,
    HealthOptions,
    LoggingOptions,
    ServerOptions,
    TlsOptions,
    default_data_dir,
)


def refusal(model: type, values: Mapping[str, object]) -> str:
    with pytest.raises(ValidationError) as raised:
        model(**values)
    return str(raised.value)


def test_defaults() -> None:
    server, tls = ServerOptions(), TlsOptions()
    assert (server.listen_addr, server.max_connections) == ("0.0.0.0:6033", 10_000)
    assert (server.connection_timeout_sec, server.worker_threads) == (60, None)
    assert (server.data_dir, server.daemon) == (None, None)
    assert (tls.client, tls.min_version, tls.backend) == ("preferred", "1.2", "off")
    assert HealthOptions() == HealthOptions(
        interval_sec=10, timeout_sec=5, failure_threshold=3, success_threshold=2
    )
    assert LoggingOptions() == LoggingOptions(level="info", format="auto", stdout=True, file=None)
    assert AdminOptions().address == "127.0.0.1:6032"
    assert DaemonOptions().enabled is False


def test_listen_is_parsed() -> None:
    assert ServerOptions(listen_addr=" [::1]:6033").listen == Address("::1", 6033)
    assert ServerOptions(listen_addr="*:1").listen_addr == ":1"


def test_state_dir_prefers_what_is_given(tmp_path: Path) -> None:
    assert ServerOptions(data_dir=tmp_path).state_dir == tmp_path
    assert ServerOptions().state_dir == default_data_dir(os.environ)


def test_default_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir({"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/var/lib/hproxy")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir({"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/x/hproxy")
    assert default_data_dir({"XDG_STATE_HOME": "x", "HOME": "/h"}) == Path("/h/.local/state/hproxy")
    assert default_data_dir({}) == Path.home() / ".local/state/hproxy"


@pytest.mark.parametrize("value", ["1.3", 1.3, "TLSv1.3"])
def test_tls_version_spellings(value: object) -> None:
    assert TlsOptions.model_validate({"min_version": value}).min_version == "1.3"


@pytest.mark.parametrize("value", ["1.1", 1, True, "TLSv1"])
def test_tls_version_refused(value: object) -> None:
    refusal(TlsOptions, {"min_version": value})


def test_verify_is_verify_identity() -> None:
    assert TlsOptions.model_validate({"backend": "verify"}).backend == "verify_identity"
    assert TlsOptions(backend="verify_ca").backend == "verify_ca"


def test_a_key_needs_its_certificate() -> None:
    text = refusal(TlsOptions, {"key": Path("k"), "backend_key": Path("b")})
    assert "is set but tls.cert is not" in text
    assert "is set but tls.backend_cert is not" in text
    assert TlsOptions(cert=Path("both.pem")).key is None


def test_a_probe_ends_before_the_next() -> None:
    assert "must be below health.interval_sec (5)" in refusal(HealthOptions, {"interval_sec": 5})
    assert HealthOptions(interval_sec=5, timeout_sec=4.9).timeout_sec == 4.9


@pytest.mark.parametrize(
    ("value", "level"), [("WARN", "warn"), ("warning", "warn"), ("Debug", "debug")]
)
def test_level_spellings(value: str, level: str) -> None:
    assert LoggingOptions.model_validate({"level": value}).level == level


@pytest.mark.parametrize("value", ["loud", "", 3])
def test_level_refused(value: object) -> None:
    refusal(LoggingOptions, {"level": value})


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (ServerOptions, {"max_connections": 0}),
        (ServerOptions, {"connection_timeout_sec": float("nan")}),
        (ServerOptions, {"connection_timeout_sec": float("inf")}),
        (ServerOptions, {"connection_timeout_sec": 0}),
        (ServerOptions, {"worker_threads": 0}),
        (HealthOptions, {"failure_threshold": 0}),
    ],
)
def test_out_of_range(model: type, values: dict[str, object]) -> None:
    refusal(model, values)


def test_secrets_stay_out_of_the_representation() -> None:
    shown = repr(AdminOptions(credentials="admin:hush", stats_credentials="stats:hush"))
    assert "hush" not in shown
