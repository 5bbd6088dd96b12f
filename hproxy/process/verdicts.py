# SPDX-License-Identifier: Apache-2.0
"""What is known of servers, told between the processes of a service.

    monitors (head) ── Spread ──┬─> the head's own topology
                                └─> health ──> act ──> Watched of each worker
    a worker could not connect ──> status ──> head ──> the other workers
    a new head, a new worker ──> statuses: all that are not ONLINE

Times are told as seconds to go: clocks of processes are their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple
from math import inf
from time import monotonic
from typing import Any

from hproxy.health import Add, Remove, Server
from hproxy.process.fleet import Fleet
from hproxy.runtime import Runtime
from hproxy.runtime.watched import Watched
from hproxy.topology import Backend, Health, Status

__all__ = ["Spread", "Told", "act", "learn", "seen_by_traffic", "statuses", "told"]

Told = list[Any]


def told(backend: Backend, health: Health) -> Told:
    """One server in one hostgroup."""
    left = health.shunned_until - monotonic()
    return [
        backend.hostgroup,
        backend.path or backend.host,
        0 if backend.path else backend.port,
        health.status.value,
        None if left == inf else max(0.0, left),
        health.failures,
        health.last_error,
        health.lag,
    ]


def statuses(runtime: Runtime) -> list[Told]:
    """All of them."""
    return [told(b, health) for b, (health, _) in runtime.services.topology.snapshot().items()]


def learn(runtime: Runtime, rows: Iterable[Sequence[Any]]) -> None:
    """They are as another process told."""
    topology = runtime.services.topology
    for hostgroup, host, port, status, left, failures, error, lag in rows:
        backend = topology.find(hostgroup, host, port, host if port == 0 else None)
        if backend is None or topology.status(backend).value == status:
            continue
        until = inf if left is None else monotonic() + left
        topology.told(
            backend,
            Health(
                Status(status),
                until if status == Status.SHUNNED.value else 0.0,
                failures,
                error,
                lag=lag,
            ),
        )
        if status == Status.OFFLINE_HARD.value or (until == inf and status == "SHUNNED"):
            runtime.sever(backend)


def seen_by_traffic(health: Health, old: Status, new: Status) -> bool:
    """Whether sessions have brought it about, and not an operator or a monitor."""
    if new is Status.SHUNNED:
        return old is Status.ONLINE and health.shunned_until != inf
    return old is Status.SHUNNED and new is Status.ONLINE


def act(runtime: Runtime, name: str, arguments: Sequence[Any]) -> None:
    """Do to this worker what was seen in the head."""
    watched = Watched(runtime)
    match name:
        case "statuses":
            learn(runtime, arguments)
        case "place":
            watched.place([_change(each) for each in arguments])
        case "shun" | "back" | "answered" | "lagging" | "caught_up" | "measured":
            getattr(watched, name)(*arguments)


def _told_change(change: Add | Remove) -> Told:
    if isinstance(change, Add):
        return [change.hostgroup, *astuple(change.like)]
    return [None, *astuple(change.server)]


def _change(row: Sequence[Any]) -> Add | Remove:
    hostgroup, *server = row
    return Remove(Server(*server)) if hostgroup is None else Add(hostgroup, Server(*server))


class Spread(Watched):
    """What monitors do, done to the head's own knowledge and to all workers."""

    def __init__(self, runtime: Runtime, fleet: Fleet, moved: Callable[[], int]) -> None:
        """`moved` is called when servers have moved, and gives the new version."""
        super().__init__(runtime)
        self._fleet = fleet
        self._moved = moved
        self.inherited: set[tuple[str, int]] = set()
        """Servers that monitors of an earlier head found silent."""
        self.held = False
        """While workers become another configuration: what moves then does so after it."""
        self._later: list[Add | Remove] = []

    def inherit(self, rows: Sequence[Sequence[Any]]) -> None:
        """Statuses that a worker has from an earlier head."""
        learn(self._runtime, rows)
        for _, host, port, status, left, *_ in rows:
            if status == Status.SHUNNED.value and left is None:
                self.inherited.add((host, port))

    def release(self) -> None:
        """Workers have become what they were to."""
        self.held = False
        later, self._later = self._later, []
        if later:
            self.place(later)

    def shun(self, host: str, port: int, reason: str) -> None:
        super().shun(host, port, reason)
        self._fleet.say("shun", host, port, reason)

    def back(self, host: str, port: int) -> None:
        super().back(host, port)
        self._fleet.say("back", host, port)

    def answered(self, host: str, port: int, seconds: float) -> None:
        super().answered(host, port, seconds)
        self._fleet.say("answered", host, port, seconds)
        if (host, port) in self.inherited:
            # Nobody here has said that it is silent, so nobody here would take it back.
            self.inherited.discard((host, port))
            self.back(host, port)

    def lagging(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        super().lagging(hostgroup, host, port, lag)
        self._fleet.say("lagging", hostgroup, host, port, lag)

    def caught_up(self, hostgroup: int, host: str, port: int) -> None:
        super().caught_up(hostgroup, host, port)
        self._fleet.say("caught_up", hostgroup, host, port)

    def measured(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        super().measured(hostgroup, host, port, lag)
        self._fleet.say("measured", hostgroup, host, port, lag)

    def place(self, changes: Sequence[Add | Remove]) -> None:
        if self.held:
            self._later.extend(changes)
            return
        super().place(changes)
        self._fleet.say("place", *map(_told_change, changes), version=self._moved())
