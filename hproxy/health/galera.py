# SPDX-License-Identifier: Apache-2.0
"""What a Galera node says of itself; pure.

    not in the primary component, under maintenance, desynchronised, rejecting queries, or
    neither synced (4) nor a donor (2) that still answers ──> OFFLINE
    else read_only ──> READING, or WRITABLE

Variables that a family of servers does not have (pxc_maint_mode) count as off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hproxy.health.members import State
from hproxy.health.model import Row
from hproxy.health.read_only import is_on

__all__ = ["STATUS_SQL", "VARIABLES_SQL", "GaleraAnswer", "galera_answer"]

STATUS_SQL = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN "
    "('wsrep_local_state', 'wsrep_local_recv_queue', 'wsrep_cluster_status')"
)
VARIABLES_SQL = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'wsrep_desync', "
    "'wsrep_reject_queries', 'wsrep_sst_donor_rejects_queries', 'pxc_maint_mode')"
)
SYNCED, DONOR = 4, 2
NO_MAINTENANCE = "DISABLED"


@dataclass(frozen=True, slots=True)
class GaleraAnswer:
    """One answer."""

    primary_partition: bool = False
    read_only: bool = False
    wsrep_local_recv_queue: int = 0
    wsrep_local_state: int = 0
    wsrep_desync: bool = False
    wsrep_reject_queries: bool = False
    wsrep_sst_donor_rejects_queries: bool = False
    pxc_maint_mode: str = NO_MAINTENANCE

    @property
    def state(self) -> State:
        donating = self.wsrep_local_state == DONOR and not self.wsrep_sst_donor_rejects_queries
        if (
            not self.primary_partition
            or self.pxc_maint_mode != NO_MAINTENANCE
            or self.wsrep_desync
            or self.wsrep_reject_queries
            or not (self.wsrep_local_state == SYNCED or donating)
        ):
            return State.OFFLINE
        return State.READING if self.read_only else State.WRITABLE


def galera_answer(status: Sequence[Row], variables: Sequence[Row]) -> GaleraAnswer:
    """Read the rows of STATUS_SQL and VARIABLES_SQL; a server without wsrep is offline."""
    said = _by_name(status) | _by_name(variables)

    def on(name: str) -> bool:
        return is_on(said.get(name))

    return GaleraAnswer(
        primary_partition=said.get("wsrep_cluster_status", "").lower() == "primary",
        read_only=on("read_only"),
        wsrep_local_recv_queue=int(said.get("wsrep_local_recv_queue") or 0),
        wsrep_local_state=int(said.get("wsrep_local_state") or 0),
        wsrep_desync=on("wsrep_desync"),
        wsrep_reject_queries=said.get("wsrep_reject_queries", "NONE").upper() != "NONE",
        wsrep_sst_donor_rejects_queries=on("wsrep_sst_donor_rejects_queries"),
        pxc_maint_mode=said.get("pxc_maint_mode", NO_MAINTENANCE).upper(),
    )


def _by_name(rows: Sequence[Row]) -> dict[str, str]:
    """SHOW's two columns, whatever their case."""
    found: dict[str, str] = {}
    for row in rows:
        name, value = tuple(row.values())[:2]
        found[(name or "").lower()] = value or ""
    return found
