# SPDX-License-Identifier: Apache-2.0
"""The health of one backend: shunned after a failure, back after a while or a success."""

from __future__ import annotations

import pytest

from hproxy.topology.backend import (
    Backend,
    Health,
    Status,
    after_answer,
    after_catching_up,
    after_failure,
    after_lag,
    after_operator,
    after_silence,
    after_success,
    usable,
)

RECOVERY_S = 10.0


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        (Backend("db.example", 3306), "db.example:3306"),
        (Backend("::1", 3307), "[::1]:3307"),
        (Backend("", 0, path="/run/db.sock"), "/run/db.sock"),
    ],
)
def test_a_backend_as_text(backend: Backend, text: str) -> None:
    assert str(backend) == text


def test_a_failure_shuns_for_a_while() -> None:
    first = after_failure(Health(), "refused", 100.0, RECOVERY_S)
    assert first == Health(Status.SHUNNED, 110.0, 1, "refused")
    assert not usable(first, 109.9)
    assert usable(first, 110.0)
    second = after_failure(first, "timed out", 105.0, RECOVERY_S)
    assert second == Health(Status.SHUNNED, 115.0, 2, "timed out")


def test_a_success_forgives() -> None:
    shunned = after_failure(Health(), "refused", 100.0, RECOVERY_S)
    assert after_success(shunned) == Health()
    assert after_success(Health()) == Health()


@pytest.mark.parametrize("status", [Status.OFFLINE_SOFT, Status.OFFLINE_HARD])
def test_what_the_operator_says_stays(status: Status) -> None:
    offline = Health(status=status)
    assert not usable(offline, 0.0)
    failed = after_failure(offline, "refused", 100.0, RECOVERY_S)
    assert (failed.status, failed.failures) == (status, 1)
    assert not usable(failed, 1000.0)
    assert after_success(failed) == Health(status=status, shunned_until=110.0)


def test_online_is_usable() -> None:
    assert usable(Health(), 0.0)


@pytest.mark.parametrize("before", list(Status))
def test_the_operator_may_set_any_status(before: Status) -> None:
    health = Health(before, 105.0, 3, "refused")
    assert after_operator(health, Status.ONLINE, 100.0, RECOVERY_S) == Health()
    for offline in (Status.OFFLINE_SOFT, Status.OFFLINE_HARD):
        wanted = Health(offline, 0.0, 3, "refused")
        assert after_operator(health, offline, 100.0, RECOVERY_S) == wanted
    shunned = after_operator(health, Status.SHUNNED, 100.0, RECOVERY_S)
    assert shunned == Health(Status.SHUNNED, 110.0, 3, "refused")


def test_failures_that_are_tolerated_count_within_a_second() -> None:
    health = Health()
    for at in (100.0, 100.4):
        health = after_failure(health, "refused", at, RECOVERY_S, tolerated=2)
        assert health.status is Status.ONLINE
    assert after_failure(health, "refused", 101.5, RECOVERY_S, tolerated=2).status is Status.ONLINE
    third = after_failure(health, "refused", 101.2, RECOVERY_S, tolerated=2)
    assert (third.status, third.shunned_until) == (Status.SHUNNED, 111.2)


def test_silence_shuns_until_an_answer() -> None:
    silent = after_silence(Health(), "no answer")
    assert silent.status is Status.SHUNNED
    assert not usable(silent, 1e12)
    failed = after_failure(silent, "refused", 100.0, RECOVERY_S)
    assert not usable(failed, 1e12), "a failure does not shorten it"
    assert after_answer(silent) == Health()
    refused = after_failure(Health(), "refused", 100.0, RECOVERY_S)
    assert after_answer(refused) is refused, "pings do not forgive refused connects"
    offline = Health(Status.OFFLINE_SOFT)
    assert after_silence(offline, "no answer").status is Status.OFFLINE_SOFT


def test_lag_shuns_until_it_has_caught_up() -> None:
    behind = after_lag(Health(), 30)
    assert (behind.status, behind.lag) == (Status.SHUNNED_REPLICATION_LAG, 30)
    assert not usable(behind, 1e12)
    assert after_success(behind).status is Status.SHUNNED_REPLICATION_LAG
    assert after_failure(behind, "refused", 1.0, RECOVERY_S).status is behind.status
    assert after_catching_up(behind) == Health()
    offline = Health(Status.OFFLINE_HARD)
    assert after_lag(offline, 30) is offline
    assert after_catching_up(offline) is offline


def test_equal_by_hostgroup_and_address() -> None:
    assert Backend("a", 1, weight=2, use_tls=True) == Backend("a", 1)
    assert Backend("a", 1, hostgroup=1) != Backend("a", 1)
    assert not Backend("a", 1, use_tls=True).speaks_as(Backend("a", 1))
    assert Backend("a", 1, weight=2).speaks_as(Backend("a", 1))
