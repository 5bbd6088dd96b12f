# SPDX-License-Identifier: Apache-2.0
"""What a member of Group Replication says of itself and of its group; pure.

| viable candidate | read only | state    |
|------------------|-----------|----------|
| no               |           | OFFLINE  |
| yes              | yes       | READING  |
| yes              | no        | WRITABLE |

Viable: ONLINE itself, and fewer than half of the members it sees are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hproxy.health.members import State
from hproxy.health.model import Row
from hproxy.health.read_only import is_on

__all__ = ["GROUP_SQL", "GroupAnswer", "group_answer"]

GROUP_SQL = (
    "SELECT m.MEMBER_ID AS member, m.MEMBER_STATE AS state, @@server_uuid AS own, "
    "@@global.read_only AS read_only, @@global.super_read_only AS super_read_only, "
    "s.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE AS behind "
    "FROM performance_schema.replication_group_members m "
    "LEFT JOIN performance_schema.replication_group_member_stats s "
    "ON s.MEMBER_ID = m.MEMBER_ID AND s.CHANNEL_NAME = m.CHANNEL_NAME"
)
PRESENT = frozenset({"ONLINE", "RECOVERING"})


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """One answer."""

    viable_candidate: bool
    read_only: bool
    transactions_behind: int

    @property
    def state(self) -> State:
        if not self.viable_candidate:
            return State.OFFLINE
        return State.READING if self.read_only else State.WRITABLE


def group_answer(rows: Sequence[Row]) -> GroupAnswer:
    """Read the rows of GROUP_SQL; none at all: the server is in no group."""
    own = next((row for row in rows if row["own"] and row["member"] == row["own"]), None)
    if own is None:
        return GroupAnswer(False, True, 0)
    lost = sum(row["state"] not in PRESENT for row in rows)
    return GroupAnswer(
        viable_candidate=own["state"] == "ONLINE" and 2 * lost < len(rows),
        read_only=is_on(own["read_only"]) or is_on(own["super_read_only"]),
        transactions_behind=int(own["behind"] or 0),
    )
