# SPDX-License-Identifier: Apache-2.0
"""Answers of members of a group, in the shape MySQL 9 gives them."""

from __future__ import annotations

import pytest

from hproxy.health.group_replication import GroupAnswer, group_answer
from hproxy.health.members import State
from hproxy.health.model import Row


def member(number: int, state: str, *, read_only: str = "0", behind: str | None = "0") -> Row:
    """One row, asked of member 1."""
    return {
        "member": f"00000000-0000-0000-0000-00000000000{number}",
        "state": state,
        "own": "00000000-0000-0000-0000-000000000001",
        "read_only": read_only,
        "super_read_only": read_only,
        "behind": behind,
    }


def test_primary() -> None:
    answer = group_answer([member(1, "ONLINE"), member(2, "ONLINE"), member(3, "ONLINE")])
    assert answer == GroupAnswer(True, False, 0)
    assert answer.state is State.WRITABLE


def test_secondary_behind() -> None:
    answer = group_answer([member(2, "ONLINE"), member(1, "ONLINE", read_only="1", behind="42")])
    assert answer == GroupAnswer(True, True, 42)
    assert answer.state is State.READING


@pytest.mark.parametrize("state", ["RECOVERING", "OFFLINE", "ERROR", "UNREACHABLE"])
def test_own_state(state: str) -> None:
    assert group_answer([member(1, state), member(2, "ONLINE")]).state is State.OFFLINE


@pytest.mark.parametrize(
    ("others", "viable"),
    [
        (["ONLINE", "UNREACHABLE"], True),
        (["UNREACHABLE", "UNREACHABLE"], False),
        (["UNREACHABLE"], False),
        (["RECOVERING"], True),
        (["ONLINE", "ONLINE", "ERROR", "UNREACHABLE"], True),
    ],
)
def test_majority(others: list[str], viable: bool) -> None:
    rows = [member(number, state) for number, state in enumerate(["ONLINE", *others], 1)]
    assert group_answer(rows).viable_candidate is viable


def test_group_replication_not_started() -> None:
    # What a server with the plugin but without a group says.
    assert group_answer([{**member(1, "OFFLINE"), "member": ""}]).state is State.OFFLINE
    assert group_answer([]).state is State.OFFLINE
