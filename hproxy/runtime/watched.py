# SPDX-License-Identifier: Apache-2.0
"""What monitors see of a worker, and what they may do to it.

view   topology and replication hostgroups, as they are now
act    shun, back      a server: every backend at its address
       lagging, caught_up      one backend
       place   rows of mysql_servers move between hostgroups, as if an operator had loaded them
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hproxy.config.schema import (
    Config,
    MysqlGaleraHostgroup,
    MysqlGroupReplicationHostgroup,
    MysqlServer,
)
from hproxy.health import (
    Add,
    ClusterHostgroups,
    Remove,
    ReplicationHostgroups,
    Server,
    View,
)
from hproxy.runtime import settings as build
from hproxy.session.ruling import decide_anew
from hproxy.topology import Backend, Status

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["Watched", "moved", "view_of"]


class Watched:
    """One worker, to the monitors."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    # -- what they see -------------------------------------------------------------

    def view(self) -> View:
        """The runtime as it is now."""
        topology = self._runtime.services.topology
        return _view(self._runtime.config, {b: topology.status(b) for b in topology.backends})

    # -- what they do --------------------------------------------------------------

    def shun(self, host: str, port: int, reason: str) -> None:
        """It does not answer: no new connections, and all there are are cut."""
        topology = self._runtime.services.topology
        for backend in self._at(host, port):
            before = topology.status(backend)
            topology.silent(backend, reason)
            if before is Status.ONLINE:
                self._runtime.log.warning("backend shunned", backend=str(backend), reason=reason)
            self._runtime.sever(backend)

    def back(self, host: str, port: int) -> None:
        """It answers again."""
        for backend in self._at(host, port):
            self._runtime.services.topology.answered(backend)
            self._runtime.log.info("backend answers again", backend=str(backend))

    def answered(self, host: str, port: int, seconds: float) -> None:
        """It answered a ping within `seconds`."""
        services = self._runtime.services
        for backend in self._at(host, port):
            services.topology.latency[backend] = seconds
        services.sources.latencies[host, port] = round(seconds * 1e6)

    def lagging(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        """Too far behind for this hostgroup."""
        for backend in self._at(host, port, hostgroup):
            self._runtime.services.topology.lagging(backend, lag)

    def caught_up(self, hostgroup: int, host: str, port: int) -> None:
        """Not any more."""
        for backend in self._at(host, port, hostgroup):
            self._runtime.services.topology.caught_up(backend)

    def measured(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        """So many seconds behind."""
        for backend in self._at(host, port, hostgroup):
            self._runtime.services.topology.lag[backend] = lag

    def place(self, changes: Sequence[Add | Remove]) -> None:
        """Memberships change, all of them at once; sessions follow as with a LOAD."""
        runtime = self._runtime
        config = moved(runtime.config, changes)
        runtime.config = config
        runtime.services.topology.replace(build.statuses(config), time.monotonic(), statuses=False)
        if runtime.services.multiplex is not None:
            decide_anew(runtime.services)
        runtime.log.info(
            "backends moved by their state",
            changes=[f"{'-' if isinstance(c, Remove) else '+'} {_named(c)}" for c in changes],
        )

    def _at(self, host: str, port: int, hostgroup: int | None = None) -> Iterator[Backend]:
        """Backends at an address; none for one that is gone by now."""
        path = host if port == 0 else None
        for backend in self._runtime.services.topology.at(host, port, path):
            if hostgroup in (None, backend.hostgroup):
                yield backend


def view_of(config: Config) -> View:
    """What monitors would see of a configuration that nothing runs on yet."""
    return _view(config, build.statuses(config))


def moved(config: Config, changes: Sequence[Add | Remove]) -> Config:
    """The same with `changes` made to the rows of mysql_servers."""
    # What an added row is like may be one that goes: from writer to reader.
    rows, known = list(config.servers), {_row_key(row): row for row in config.servers}
    for change in changes:
        if isinstance(change, Remove):
            gone = _key(change.server)
            rows = [row for row in rows if _row_key(row) != gone]
            continue
        like = known.get(_key(change.like))
        if like is not None:
            new = {"hostgroup_id": change.hostgroup, "status": "ONLINE"}
            added = like.model_copy(update=new)
            rows = [row for row in rows if _row_key(row) != _row_key(added)]
            rows.append(added)
    # Rows that were checked stay right where they move: nothing else is looked at again.
    proxy = config.proxy.model_copy(update={"backends": ()})
    return config.model_copy(update={"mysql_servers": tuple(rows), "proxy": proxy})


def _view(config: Config, statuses: Mapping[Backend, Status]) -> View:
    return View(
        servers=tuple(
            Server(
                b.hostgroup,
                b.path or b.host,
                0 if b.path else b.port,
                status.value,
                b.use_tls,
                b.max_replication_lag,
                b.weight,
            )
            for b, status in statuses.items()
        ),
        replication=tuple(
            ReplicationHostgroups(row.writer_hostgroup, row.reader_hostgroup, row.check_type)
            for row in config.mysql_replication_hostgroups
        ),
        group_replication=_clusters(config.mysql_group_replication_hostgroups),
        galera=_clusters(config.mysql_galera_hostgroups),
        lag_when_null=tuple(_lag_when_null(config)),
    )


def _clusters(
    rows: Sequence[MysqlGaleraHostgroup | MysqlGroupReplicationHostgroup],
) -> tuple[ClusterHostgroups, ...]:
    return tuple(
        ClusterHostgroups(
            row.writer_hostgroup,
            row.backup_writer_hostgroup,
            row.reader_hostgroup,
            row.offline_hostgroup,
            row.max_writers,
            row.writer_is_also_reader,
            row.max_transactions_behind,
            bool(row.active),
        )
        for row in rows
    )


def _lag_when_null(config: Config) -> Iterator[tuple[int, int]]:
    """Hostgroups whose settings say how far behind a replica is that does not know."""
    for row in config.mysql_hostgroup_attributes:
        settings = json.loads(row.hostgroup_settings) if row.hostgroup_settings else {}
        seconds = settings.get("monitor_slave_lag_when_null")
        if isinstance(seconds, int):
            yield row.hostgroup_id, seconds


def _key(server: Server) -> tuple[int, str, int]:
    return server.hostgroup, server.host.lower(), server.port


def _row_key(row: MysqlServer) -> tuple[int, str, int]:
    return row.hostgroup_id, row.hostname.lower(), row.port


def _named(change: Add | Remove) -> str:
    if isinstance(change, Remove):
        server, hostgroup = change.server, change.server.hostgroup
    else:
        server, hostgroup = change.like, change.hostgroup
    return f"{server.host}:{server.port} in hostgroup {hostgroup}"
