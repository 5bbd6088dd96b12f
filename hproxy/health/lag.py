# SPDX-License-Identifier: Apache-2.0
"""How far a replica is behind, and when that is too far; pure.

fine ── above its limit in `count` checks in a row ──> lagging ── at the limit or below,
  ^                                                      │        or no replica any more
  └──────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hproxy.health.model import Row

__all__ = [
    "NOT_A_REPLICA",
    "STATUS_STATEMENTS",
    "Lag",
    "Verdict",
    "heartbeat_sql",
    "seconds_behind",
]

STATUS_STATEMENTS = ("SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
"""MariaDB with all its connections, MySQL 8.0.22 and later, older MySQL: the first one known."""
COLUMNS = ("Seconds_Behind_Source", "Seconds_Behind_Master")
NOT_A_REPLICA = -2
"""What the log says of a server that replicates from nobody."""

# The variable goes into a statement: names and quoted names only.
TABLE = re.compile(r"(?:`[^`]+`|[\w$]+)(?:\.(?:`[^`]+`|[\w$]+))?")


def heartbeat_sql(table: str) -> str | None:
    """The lag by pt-heartbeat's `table`; None when that is no name of a table."""
    if TABLE.fullmatch(table) is None:
        return None
    return (
        "SELECT MAX(ROUND(TIMESTAMPDIFF(MICROSECOND, ts, SYSDATE(6))/1000000)) "
        f"AS Seconds_Behind_Source FROM {table}"
    )


def seconds_behind(rows: Sequence[Row], when_null: int) -> int:
    """Seconds behind the source that is farthest away, or NOT_A_REPLICA.

    One that does not apply (NULL) counts as `when_null` seconds behind."""
    found: list[int] = []
    for row in rows:
        values = [row[name] for name in COLUMNS if name in row]
        if values:
            found.append(when_null if values[0] is None else round(float(values[0])))
    return max(found, default=NOT_A_REPLICA)


class Verdict(Enum):
    """What one check means for the server in one hostgroup."""

    NOTHING = "nothing"
    LAGGING = "lagging"
    CAUGHT_UP = "caught up"


@dataclass(slots=True)
class Lag:
    """The last checks of one server as a member of one hostgroup."""

    above: int = 0
    """Checks in a row that found it above the limit."""
    lagging: bool = False

    def take(self, lag: int, limit: int, count: int) -> Verdict:
        """One more answer: `lag` s with `limit` s allowed (0: any), for `count` checks in a row.

        LAGGING is repeated while it holds."""
        if limit <= 0 or lag <= limit:
            self.above = 0
            was, self.lagging = self.lagging, False
            return Verdict.CAUGHT_UP if was else Verdict.NOTHING
        self.above += 1
        if self.above >= count:
            self.lagging = True
        return Verdict.LAGGING if self.lagging else Verdict.NOTHING
