# SPDX-License-Identifier: Apache-2.0
"""The health of one backend: shunned after a failure, back after a while or a success."""

from __future__ import annotations

import pytest

from hproxy.topology.backend import (
    Backend,
    Health,
    Status,
    after_failure,
    after_operator,
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
