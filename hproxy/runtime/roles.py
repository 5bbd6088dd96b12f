# SPDX-License-Identifier: Apache-2.0
"""What traffic tells monitors about who writes.

    a write was refused as read only ──> look at that server at once
    statements wait for a hostgroup that nobody serves ──> look at its readers: one may be promoted

and what monitors know when an operator loads servers: where each belongs by its last answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hproxy.config.schema import Config
from hproxy.health import Monitor
from hproxy.runtime.watched import moved, view_of
from hproxy.topology import Backend

if TYPE_CHECKING:
    from hproxy.runtime.runtime import Runtime

__all__ = ["Roles"]


class Roles:
    """Of the servers in replication hostgroups."""

    def __init__(self, runtime: Runtime, monitor: Monitor, clock: Callable[[], float]) -> None:
        self._runtime = runtime
        self._monitor = monitor
        self._clock = clock
        self._looked: dict[int, float] = {}

    def refuses_writes(self, backend: Backend) -> bool:
        """A writer says it is read only; whether anybody can see to it that it is no writer."""
        pairs = self._runtime.config.mysql_replication_hostgroups
        if not any(pair.writer_hostgroup == backend.hostgroup for pair in pairs):
            return False
        return self._look(backend)

    def wanted(self, hostgroup: int) -> None:
        """Statements wait for a writer that is not there."""
        now = self._clock()
        if now - self._looked.get(hostgroup, 0.0) < LOOK_SEC:
            return
        self._looked[hostgroup] = now
        for pair in self._runtime.config.mysql_replication_hostgroups:
            if pair.writer_hostgroup == hostgroup:
                for backend in self._runtime.services.topology.members(pair.reader_hostgroup):
                    self._look(backend)

    def arranged(self, config: Config) -> Config:
        """The same, with servers in the hostgroups that their last answers say."""
        changes = self._monitor.arrangement(view_of(config))
        if not changes:
            return config
        return moved(config, changes)

    def _look(self, backend: Backend) -> bool:
        host, port = (backend.path, 0) if backend.path else (backend.host, backend.port)
        return self._monitor.look(host, port)


LOOK_SEC = 0.2
"""Between two extra looks for a new writer."""
