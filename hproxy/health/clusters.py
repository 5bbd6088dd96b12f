# SPDX-License-Identifier: Apache-2.0
"""Checks of clusters whose members say what they can do: Group Replication and Galera.

answer ──> state of the member ──> where all members belong ──> place
   └ transactions behind ──> lagging, caught up
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from hproxy.health.checks import Check, Scene, Target
from hproxy.health.galera import STATUS_SQL, VARIABLES_SQL, GaleraAnswer, galera_answer
from hproxy.health.group_replication import GROUP_SQL, GroupAnswer, group_answer
from hproxy.health.index import Index
from hproxy.health.journal import Value
from hproxy.health.lag import Lag, Verdict
from hproxy.health.members import Member, State, place
from hproxy.health.model import Address, ClusterHostgroups, ProbeConnection, View
from hproxy.health.outcome import Failure, Kind

__all__ = ["GaleraCheck", "GroupReplicationCheck"]

FOR_WRITERS, FOR_READERS, FOR_ALL = 0, 1, 2


class ClusterCheck(Check):
    """What both kinds of cluster have in common."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._members: dict[Address, Member] = {}
        self._lags: dict[tuple[int, Address], Lag] = {}

    @abstractmethod
    def clusters(self, view: View) -> Sequence[ClusterHostgroups]:
        """The rows of this kind."""

    @abstractmethod
    def columns(self, answer: Any) -> tuple[Value, ...]:
        """What the log says of an answer."""

    @abstractmethod
    def behind(self, answer: Any) -> int:
        """Transactions that wait to be applied."""

    @abstractmethod
    def limited(self, row: ClusterHostgroups, state: State) -> tuple[int, ...]:
        """The hostgroups in which a member in this state must not be too far behind."""

    def targets(self, index: Index) -> Iterable[Target]:
        return {
            Target(server.address)
            for row in self._active(index)
            for server in index.members(*row.hostgroups)
            if server.followed
        }

    def judge(self, target: Target, answer: Any) -> tuple[Value, ...]:
        address = target.address
        member = self._members.setdefault(address, Member())
        limit = self.scene.values.number(f"mysql-monitor_{self.kind}_max_timeout_count")
        failed = isinstance(answer, Failure)
        member.take(answer if failed else answer.state, limit)
        self._settle(address)
        if failed:
            return self.no_columns
        self._weigh(address, answer)
        return self.columns(answer)

    def lost(self, address: Address) -> None:
        member = self._members.get(address)
        if member is not None:
            member.take(Failure(Kind.DOWN, "no pings"), 1)
            self._settle(address)

    def keep(self, targets: Collection[Target]) -> None:
        index = self.scene.index
        kept = {target.address for target in targets}
        for gone in self._members.keys() - kept:
            del self._members[gone]
        rows = {(s.hostgroup, address) for address in kept for s in index.own(address)}
        for hostgroup, address in self._lags.keys() - rows:
            if self._lags.pop((hostgroup, address)).lagging:
                self.scene.act.caught_up(hostgroup, *address)

    def _active(self, index: Index) -> list[ClusterHostgroups]:
        return [row for row in self.clusters(index.view) if row.active]

    def _of(self, address: Address) -> list[ClusterHostgroups]:
        hostgroups = {server.hostgroup for server in self.scene.index.own(address)}
        return [r for r in self._active(self.scene.index) if hostgroups.intersection(r.hostgroups)]

    def _settle(self, address: Address) -> None:
        """Put every member of its clusters where it belongs; most often they are there."""
        known = {a: m.state for a, m in self._members.items() if m.state is not None}
        for row in self._of(address):
            changes = place(row, self.scene.index.members(*row.hostgroups), known)
            if changes:
                self.scene.place(changes)

    def _weigh(self, address: Address, answer: Any) -> None:
        act, behind = self.scene.act, self.behind(answer)
        count = self.scene.values.number(
            "mysql-monitor_groupreplication_max_transactions_behind_count"
        )
        for row in self._of(address):
            limited = self.limited(row, answer.state)
            for server in self.scene.index.own(address):
                if server.hostgroup not in row.hostgroups:
                    continue
                limit = row.max_transactions_behind if server.hostgroup in limited else 0
                lag = self._lags.setdefault((server.hostgroup, address), Lag())
                verdict = lag.take(behind, limit, count)
                if verdict is Verdict.LAGGING:
                    act.lagging(server.hostgroup, address.host, address.port, behind)
                elif verdict is Verdict.CAUGHT_UP:
                    act.caught_up(server.hostgroup, address.host, address.port)


class GroupReplicationCheck(ClusterCheck):
    """MySQL's Group Replication and InnoDB Cluster."""

    kind = "groupreplication_healthcheck"
    table = "mysql_server_group_replication_log"

    def clusters(self, view: View) -> Sequence[ClusterHostgroups]:
        return view.group_replication

    async def ask(self, connection: ProbeConnection, target: Target) -> GroupAnswer:
        return group_answer(await connection.ask(GROUP_SQL))

    def columns(self, answer: GroupAnswer) -> tuple[Value, ...]:
        return (
            _yes(answer.viable_candidate),
            _yes(answer.read_only),
            answer.transactions_behind,
        )

    def behind(self, answer: GroupAnswer) -> int:
        return answer.transactions_behind

    def limited(self, row: ClusterHostgroups, state: State) -> tuple[int, ...]:
        who = self.scene.values.number(
            "mysql-monitor_groupreplication_max_transactions_behind_for_read_only"
        )
        wanted = (FOR_READERS, FOR_ALL) if state is State.READING else (FOR_WRITERS, FOR_ALL)
        return (row.writer, row.backup_writer, row.reader) if who in wanted else ()


class GaleraCheck(ClusterCheck):
    """Galera: MariaDB, Percona XtraDB Cluster."""

    kind = "galera_healthcheck"
    table = "mysql_server_galera_log"

    def clusters(self, view: View) -> Sequence[ClusterHostgroups]:
        return view.galera

    async def ask(self, connection: ProbeConnection, target: Target) -> GaleraAnswer:
        status = await connection.ask(STATUS_SQL)
        return galera_answer(status, await connection.ask(VARIABLES_SQL))

    def columns(self, answer: GaleraAnswer) -> tuple[Value, ...]:
        return (
            _yes(answer.primary_partition),
            _yes(answer.read_only),
            answer.wsrep_local_recv_queue,
            answer.wsrep_local_state,
            _yes(answer.wsrep_desync),
            _yes(answer.wsrep_reject_queries),
            _yes(answer.wsrep_sst_donor_rejects_queries),
            answer.pxc_maint_mode,
        )

    def behind(self, answer: GaleraAnswer) -> int:
        return answer.wsrep_local_recv_queue

    def limited(self, row: ClusterHostgroups, state: State) -> tuple[int, ...]:
        return (row.reader,)


def _yes(flag: bool) -> str:
    return "YES" if flag else "NO"
