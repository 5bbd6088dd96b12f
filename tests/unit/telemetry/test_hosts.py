# SPDX-License-Identifier: Apache-2.0
"""Hosts that fail to log in."""

from __future__ import annotations

from hproxy.telemetry.hosts import HostCache


def test_off_unless_asked_for() -> None:
    for cache in (HostCache(), HostCache(size=10), HostCache(limit=1)):
        cache.failed("10.0.0.1", 1.0)
        assert not cache.blocked("10.0.0.1")
    assert HostCache().rows() == []


def test_blocked_at_the_limit_until_flushed() -> None:
    cache = HostCache(size=10, limit=2)
    cache.failed("a", 1.0)
    assert not cache.blocked("a")
    cache.failed("a", 2.5)
    assert cache.blocked("a")
    assert not cache.blocked("b")
    assert cache.rows() == [("a", 2, 2_500_000)]
    cache.flush()
    assert not cache.blocked("a")


def test_a_login_that_goes_well_is_the_end_of_it() -> None:
    cache = HostCache(size=10, limit=2)
    cache.failed("a", 1.0)
    cache.succeeded("a")
    cache.failed("a", 1.0)
    assert cache.rows() == [("a", 1, 1_000_000)]


def test_a_full_cache_forgets_who_failed_longest_ago() -> None:
    cache = HostCache(size=2, limit=1)
    for host in ("a", "b", "a", "c"):
        cache.failed(host, 1.0)
    assert [row[0] for row in cache.rows()] == ["a", "c"]
    cache.configure(size=1, limit=5)
    assert [row[0] for row in cache.rows()] == ["c"]
    assert not cache.blocked("c")


def test_clients_of_no_host_are_not_counted() -> None:
    cache = HostCache(size=2, limit=1)
    cache.failed("", 1.0)
    assert len(cache) == 0
