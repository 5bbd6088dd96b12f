# SPDX-License-Identifier: Apache-2.0
"""Hostgroups of backends, the order in which a new connection tries them, and their status.

Weighted random among the usable ones (ProxySQL's default); shunned ones follow as a last
resort, so that a proxy whose every backend has failed once still tries.

    failed(backend) ──┐
    opened(backend) ──┼──> health[backend] ── its status is another ──> on_change listeners
    set_status(...) ──┘

Pure: clock and randomness come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hproxy.topology.backend import (
    Backend,
    Health,
    Status,
    after_failure,
    after_operator,
    after_success,
    usable,
)

__all__ = ["StatusListener", "Topology"]

StatusListener = Callable[[Backend, Status, Status], None]
LIVE = (Status.ONLINE, Status.SHUNNED)


@dataclass(slots=True)
class Topology:
    """The backends known to this process and their health."""

    backends: tuple[Backend, ...]
    recovery_sec: float = 10.0
    health: dict[Backend, Health] = field(default_factory=dict)
    connections: dict[Backend, int] = field(default_factory=dict)
    on_change: list[StatusListener] = field(default_factory=list)
    """Called with backend, old and new status once `health` has the new one. They must not raise:
    whoever noticed the change would be the one to suffer."""

    def __post_init__(self) -> None:
        for backend in self.backends:
            self.health.setdefault(backend, Health())
            self.connections.setdefault(backend, 0)

    def order(self, hostgroup: int, now: float, random: Callable[[], float]) -> tuple[Backend, ...]:
        """Backends of `hostgroup` in the order to try; `random` gives floats in [0, 1)."""
        members = [b for b in self.members(hostgroup) if self._live(b)]
        fit = [b for b in members if usable(self.health[b], now) and self._room(b)]
        rest = [b for b in members if b not in fit and self._room(b)]
        rest.sort(key=lambda b: self.health[b].shunned_until)
        return (*_weighted(fit, random), *rest)

    def members(self, hostgroup: int) -> tuple[Backend, ...]:
        """Every backend of `hostgroup`, whatever its status."""
        return tuple(b for b in self.backends if b.hostgroup == hostgroup)

    def at(self, host: str, port: int, path: str | None = None) -> tuple[Backend, ...]:
        """The server at this address, once for each hostgroup it is in; a `path` is enough."""
        if path is not None:
            return tuple(b for b in self.backends if b.path == path)
        wanted = (None, host.lower(), port)
        return tuple(b for b in self.backends if (b.path, b.host.lower(), b.port) == wanted)

    def find(self, hostgroup: int, host: str, port: int, path: str | None = None) -> Backend | None:
        """The server at this address as a member of `hostgroup`."""
        return next((b for b in self.at(host, port, path) if b.hostgroup == hostgroup), None)

    def fit(self, backend: Backend, now: float) -> bool:
        """Whether it takes sessions that are free to choose."""
        return usable(self.health[backend], now)

    def status(self, backend: Backend) -> Status:
        """What it is now; a shunned backend stays so until a connection to it was opened."""
        return self.health[backend].status

    def set_status(self, backend: Backend, status: Status, now: float = 0.0) -> None:
        """The operator's word. `now` matters for SHUNNED: from then on recovery is counted.

        Raises KeyError for a backend that is not of this topology."""
        health = self.health[backend]
        self._became(backend, after_operator(health, status, now, self.recovery_sec))

    def reserve(self, backend: Backend) -> None:
        """A connection is about to be opened; counted now, so that limits hold under bursts."""
        self.connections[backend] = self.connections.get(backend, 0) + 1

    def release(self, backend: Backend) -> None:
        """A reserved connection is gone, or was never opened."""
        self.connections[backend] -= 1

    def failed(self, backend: Backend, error: str, now: float) -> None:
        """A connect attempt to `backend` failed."""
        health = self.health.get(backend, Health())
        self._became(backend, after_failure(health, error, now, self.recovery_sec))

    def opened(self, backend: Backend) -> None:
        """A reserved connection was opened."""
        self._became(backend, after_success(self.health.get(backend, Health())))

    def snapshot(self) -> Mapping[Backend, tuple[Health, int]]:
        """Health and open connections of each backend, for logs and tests."""
        return {b: (self.health[b], self.connections[b]) for b in self.backends}

    def _became(self, backend: Backend, health: Health) -> None:
        """The one place where a status changes."""
        old = self.health.get(backend, Health()).status
        self.health[backend] = health
        if health.status is not old:
            for listener in tuple(self.on_change):  # one may unsubscribe itself
                listener(backend, old, health.status)

    def _live(self, backend: Backend) -> bool:
        return backend.weight > 0 and self.health[backend].status in LIVE

    def _room(self, backend: Backend) -> bool:
        return self.connections[backend] < backend.max_connections


def _weighted(backends: Iterable[Backend], random: Callable[[], float]) -> list[Backend]:
    """A weighted random permutation: each draw is proportional to the weights left."""
    left = list(backends)
    drawn: list[Backend] = []
    while left:
        point = random() * sum(b.weight for b in left)
        for backend in left:
            point -= backend.weight
            if point < 0:
                break
        left.remove(backend)
        drawn.append(backend)
    return drawn
