# SPDX-License-Identifier: Apache-2.0
"""When silence means that a server is down; pure.

up ── the last `limit` pings failed ──> down ── a ping answered, even "access denied" ──> up
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hproxy.health.outcome import Failure, Kind

__all__ = ["Pings", "Verdict"]


class Verdict(Enum):
    """What one ping means for the server."""

    NOTHING = "nothing"
    SHUN = "shun"
    BACK = "back"


@dataclass(slots=True)
class Pings:
    """The last pings of one server."""

    failed: int = 0
    """In a row."""
    down: bool = False

    def take(self, failure: Failure | None, limit: int) -> Verdict:
        """One more ping; `limit` is monitor_ping_max_failures.

        SHUN is repeated while it stays silent: somebody else may have given it another chance.
        """
        if failure is not None and failure.kind is Kind.OURS:
            return Verdict.NOTHING  # it was not asked
        if failure is None or failure.kind is Kind.DENIED:
            self.failed = 0
            was, self.down = self.down, False
            return Verdict.BACK if was else Verdict.NOTHING
        self.failed += 1
        if self.failed >= limit:
            self.down = True
        return Verdict.SHUN if self.down else Verdict.NOTHING
