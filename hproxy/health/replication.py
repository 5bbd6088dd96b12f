# SPDX-License-Identifier: Apache-2.0
"""Checks of replication: who may write (read_only), and who is too far behind.

Both pause while a server is down, and act on the rows it has when the answer comes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from hproxy.errors import BackendError
from hproxy.health.checks import Check, Scene, Target
from hproxy.health.index import Index
from hproxy.health.journal import Value
from hproxy.health.lag import (
    NOT_A_REPLICA,
    STATUS_STATEMENTS,
    Lag,
    Verdict,
    heartbeat_sql,
    seconds_behind,
)
from hproxy.health.model import Address, Change, ProbeConnection, ReplicationHostgroups, Row
from hproxy.health.outcome import Failure
from hproxy.health.read_only import ReadOnly, place, read_only_of, read_only_sql

__all__ = ["LagCheck", "ReadOnlyCheck"]

PARSE_ERROR = 1064


class ReadOnlyCheck(Check):
    """Moves servers between the writer and the reader of their replication hostgroups."""

    kind = "read_only"
    table = "mysql_server_read_only_log"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._known: dict[Target, ReadOnly] = {}
        self._pairs: dict[Target, list[ReplicationHostgroups]] = {}

    def targets(self, index: Index) -> Iterable[Target]:
        self._pairs = {}
        for pair in index.view.replication:
            followed = [s for s in index.members(pair.writer, pair.reader) if s.followed]
            for address in {server.address for server in followed}:
                target = Target(address, pair.check_type.lower())
                self._pairs.setdefault(target, []).append(pair)
        return self._pairs.keys()

    async def ask(self, connection: ProbeConnection, target: Target) -> bool | None:
        rows = await connection.ask(read_only_sql(target.variant))
        return read_only_of(target.variant, rows)

    def judge(self, target: Target, answer: Any) -> tuple[Value, ...]:
        values, address = self.scene.values, target.address
        limit = values.number("mysql-monitor_read_only_max_timeout_count")
        known = self._known.setdefault(target, ReadOnly())
        read_only = known.take(answer, limit)
        if read_only is not None:
            changes = place(
                self._pairs.get(target, ()),
                self.scene.index.own(address),
                address,
                read_only,
                values.flag("mysql-monitor_writer_is_also_reader"),
            )
            if changes:
                if read_only and isinstance(answer, Failure):
                    known.fallen = True
                self.scene.place(changes)
        return (int(answer),) if isinstance(answer, bool) else (None,)

    def arrangement(self, index: Index) -> Iterable[Change]:
        """What must change so that servers are where their last answers say they belong."""
        also = self.scene.values.flag("mysql-monitor_writer_is_also_reader")
        touched: defaultdict[Address, set[int]] = defaultdict(set)
        for pair in index.view.replication:
            rows = index.members(pair.writer, pair.reader)
            for address in dict.fromkeys(server.address for server in rows):
                known = self._known.get(Target(address, pair.check_type.lower()))
                if known is not None and known.last is not None:
                    yield from place(
                        [pair], index.own(address), address, known.last, also, touched[address]
                    )

    def keep(self, targets: Collection[Target]) -> None:
        for gone in self._known.keys() - set(targets):
            del self._known[gone]


class LagCheck(Check):
    """Takes servers that are too far behind out of the hostgroups that say how far is too far."""

    kind = "replication_lag"
    table = "mysql_server_replication_lag_log"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._known: dict[tuple[int, Address], Lag] = {}
        self._statement: dict[Address, str] = {}
        """The one its server understands."""

    def targets(self, index: Index) -> Iterable[Target]:
        return {
            Target(server.address)
            for server in index.view.servers
            if server.max_replication_lag > 0 and server.followed
        }

    async def ask(self, connection: ProbeConnection, target: Target) -> list[Row]:
        table = self.scene.values.text("mysql-monitor_replication_lag_use_percona_heartbeat")
        sql = heartbeat_sql(table) if table else None
        rows = await (self._status(connection, target) if sql is None else connection.ask(sql))
        seconds_behind(rows, 0)  # numbers that are none are a failure of the check
        return rows

    async def _status(self, connection: ProbeConnection, target: Target) -> list[Row]:
        """The answer to the first statement that the server understands."""
        known = self._statement.get(target.address, STATUS_STATEMENTS[0])
        others = (statement for statement in STATUS_STATEMENTS if statement != known)
        unknown: BackendError | None = None
        for statement in (known, *others):
            try:
                rows = await connection.ask(statement)
            except BackendError as error:
                if error.facts.get("number") != PARSE_ERROR:
                    raise
                unknown = error
            else:
                self._statement[target.address] = statement
                return rows
        assert unknown is not None
        raise unknown

    def judge(self, target: Target, answer: Any) -> tuple[Value, ...]:
        if isinstance(answer, Failure):
            return (None,)
        scene, address = self.scene, target.address
        when_null = scene.values.number("mysql-monitor_slave_lag_when_null")
        count = scene.values.number("mysql-monitor_replication_lag_count")
        for server in scene.index.own(address):
            if not server.followed:
                continue
            own = scene.index.lag_when_null.get(server.hostgroup, when_null)
            lag = seconds_behind(answer, own)
            known = self._known.setdefault((server.hostgroup, address), Lag())
            verdict = known.take(lag, server.max_replication_lag, count)
            scene.act.measured(server.hostgroup, address.host, address.port, max(lag, 0))
            if verdict is Verdict.LAGGING:
                scene.act.lagging(server.hostgroup, address.host, address.port, lag)
            elif verdict is Verdict.CAUGHT_UP:
                scene.act.caught_up(server.hostgroup, address.host, address.port)
        lag = seconds_behind(answer, when_null)
        return (None if lag == NOT_A_REPLICA else lag,)

    def keep(self, targets: Collection[Target]) -> None:
        index = self.scene.index
        kept = {target.address for target in targets}
        rows = {(s.hostgroup, address) for address in kept for s in index.own(address)}
        for hostgroup, address in self._known.keys() - rows:
            if self._known.pop((hostgroup, address)).lagging:  # its limit was lifted
                self.scene.act.caught_up(hostgroup, *address)
        for gone in self._statement.keys() - kept:
            del self._statement[gone]
