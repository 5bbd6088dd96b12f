# SPDX-License-Identifier: Apache-2.0
"""[proxy]: defaults others rely on, spellings accepted, values and pairs refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hproxy.config.proxy import ProxyOptions


def refusal(values: dict[str, object]) -> str:
    with pytest.raises(ValidationError) as raised:
        ProxyOptions.model_validate(values)
    return str(raised.value)


def test_defaults() -> None:
    proxy = ProxyOptions()
    assert (proxy.mode, proxy.backends, proxy.auth, proxy.session_mode) == (
        "mysql",
        (),
        None,
        None,
    )
    assert (proxy.connect_timeout_ms, proxy.connect_timeout_max_ms) == (3000, 10_000)
    assert (proxy.login_timeout_ms, proxy.idle_timeout_sec) == (10_000, 28_800)
    assert (proxy.max_allowed_packet, proxy.max_login_packet) == (2**30, 65_536)
    assert (proxy.kill_query_on_disconnect, proxy.client_attributes) == (True, True)
    assert (proxy.monitor_username, proxy.monitor_password) == ("", "")
    assert (proxy.shun_recovery_time_sec, proxy.tcp_keepalive_sec) == (10, 120)
    assert proxy.default_auth_plugin == "caching_sha2_password"
    assert proxy.server_version is None


def test_defaults_of_the_pool_are_those_of_proxysql() -> None:
    proxy = ProxyOptions()
    assert (proxy.free_connections_pct, proxy.connection_max_age_ms) == (10, 0)
    assert (proxy.ping_interval_server_msec, proxy.ping_timeout_server) == (10_000, 200)
    assert (proxy.connection_warming, proxy.throttle_connections_per_sec) == (False, 1_000_000)
    assert (proxy.query_retries_on_failure, proxy.max_stmts_cache) == (1, 10_000)


def test_defaults_of_our_own() -> None:
    proxy = ProxyOptions()
    assert (proxy.queue_limit, proxy.read_your_writes_ms) == (10_000, 1000)
    assert (proxy.max_stmts_per_connection, proxy.max_stmts_cache_bytes) == (200, 64 << 20)
    assert (proxy.fast_lane, proxy.session_tracking) == (True, "auto")
    assert (proxy.digests_max, proxy.decisions_max) == (5000, 20_000)


def test_backends_are_normalised() -> None:
    assert ProxyOptions(backends=("db", "10.0.0.1:1", "/run/s")).backends == (
        "db:3306",
        "10.0.0.1:1",
        "/run/s",
    )
    proxy = ProxyOptions(mongos_endpoints=("m",), cluster_nodes=("n",))
    assert (proxy.mongos_endpoints, proxy.cluster_nodes) == (("m:27017",), ("n:6379",))


@pytest.mark.parametrize("text", ["8.0.39", "5.7.30-log", "11.1.2-MariaDB-1:11 x"])
def test_server_version_accepted(text: str) -> None:
    assert ProxyOptions(server_version=text).server_version == text


@pytest.mark.parametrize("text", ["", "8", "8.0", "x8.0.1", "8.0.1\0", "8.0.1\n", "8.0.1é"])
def test_server_version_refused(text: str) -> None:
    assert "is not a server version" in refusal({"server_version": text})


@pytest.mark.parametrize("mode", ["multiplex", "session", None])
def test_session_modes(mode: Any) -> None:
    assert ProxyOptions(session_mode=mode).session_mode == mode


def test_the_session_mode_of_a_later_version_is_named() -> None:
    text = refusal({"session_mode": "fast_forward"})
    assert "not yet supported in this version" in text
    assert "session_mode" in refusal({"session_mode": "pool"})


def test_one_try_fits_into_all_tries() -> None:
    assert ProxyOptions(connect_timeout_ms=10_000).connect_timeout_max_ms == 10_000
    assert "must not be below proxy.connect_timeout_ms (10001)" in refusal(
        {"connect_timeout_ms": 10_001}
    )


@pytest.mark.parametrize(
    "values",
    [
        {"connect_timeout_ms": 0},
        {"connect_timeout_ms": 2**31},
        {"idle_timeout_sec": -1},
        {"max_allowed_packet": 2**30 + 1},
        {"max_redirects": 256},
        {"max_redirects": 0},
        {"free_connections_pct": 101},
        {"free_connections_pct": -1},
        {"connection_max_age_ms": 24 * 3600 * 1000 + 1},
        {"ping_interval_server_msec": -1},
        {"ping_timeout_server": 0},
        {"throttle_connections_per_sec": 0},
        {"queue_limit": -1},
        {"queue_limit": True},
        {"query_retries_on_failure": 1001},
        {"max_stmts_per_connection": 0},
        {"max_stmts_cache": 0},
        {"max_stmts_cache_bytes": 65_535},
        {"read_your_writes_ms": -1},
        {"fast_lane": 2},
        {"digests_max": 0},
        {"decisions_max": 0},
        {"session_tracking": "on"},
        {"session_tracking": False},
    ],
)
def test_refused(values: dict[str, object]) -> None:
    assert next(iter(values)) in refusal(values)


def test_the_monitors_password_stays_out_of_the_representation() -> None:
    assert "hush" not in repr(ProxyOptions(monitor_password="hush"))


def test_proxy_protocol_networks() -> None:
    assert ProxyOptions(proxy_protocol_networks="10.0.0.0/8, *").proxy_protocol_networks
    with pytest.raises(ValidationError, match="neither an address nor a CIDR"):
        ProxyOptions(proxy_protocol_networks="10.0.0/8")
