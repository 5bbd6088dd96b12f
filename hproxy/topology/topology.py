# SPDX-License-Identifier: Apache-2.0
"""Hostgroups of backends, the order in which a new connection tries them, and their status.

Weighted random among the usable ones (ProxySQL's default); shunned ones follow as a last
resort, so that a proxy whose every backend has failed once still tries.

    failed(backend) ──┐
    opened(backend) ──┼──> health[backend] ── its status is another ──> on_change listeners
    monitors        ──┤
    set_status(...) ──┘
    replace(backends) ──> some are new, some have other settings, some are gone: on_replace

Who is gone from the configuration is drained as if OFFLINE_SOFT, and forgotten when its last
connection is closed.

Pure: clock and randomness come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from hproxy.topology.backend import (
    Backend,
    Health,
    Status,
    after_answer,
    after_catching_up,
    after_failure,
    after_lag,
    after_operator,
    after_silence,
    after_success,
    usable,
)

__all__ = ["Replacement", "StatusListener", "Topology"]

StatusListener = Callable[[Backend, Status, Status], None]
LIVE = (Status.ONLINE, Status.SHUNNED)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a new configuration makes of the backends; each as it is from now on."""

    added: tuple[Backend, ...]
    changed: tuple[tuple[Backend, Backend], ...]
    """As it was, and as it is."""
    removed: tuple[Backend, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass(slots=True)
class Topology:
    """The backends known to this process and their health."""

    backends: tuple[Backend, ...]
    recovery_sec: float = 10.0
    tolerated: int = 0
    """Connect failures within a second that do not shun yet."""
    max_latency_ms: int = 0
    """For backends that have no limit of their own; 0 is none."""
    returns_everywhere: bool = False
    """A server that is found to be there again is so in all its hostgroups."""
    health: dict[Backend, Health] = field(default_factory=dict)
    connections: dict[Backend, int] = field(default_factory=dict)
    latency: dict[Backend, float] = field(default_factory=dict)
    """Seconds a ping took lately, of those that were pinged."""
    lag: dict[Backend, int] = field(default_factory=dict)
    """Seconds it was behind its source when that was measured last."""
    places: Callable[[Backend], Any] = lambda backend: None
    """What all workers have at a backend: a Row; None where there is one worker."""
    on_change: list[StatusListener] = field(default_factory=list)
    """Called with backend, old and new status once `health` has the new one. They must not raise:
    whoever noticed the change would be the one to suffer."""
    on_replace: list[Callable[[Replacement], None]] = field(default_factory=list)
    """Called once `backends` are the new ones, before the status of anyone changes with them."""
    on_forget: list[Callable[[Backend], None]] = field(default_factory=list)
    """Called when nobody is connected any more to one that is gone."""

    def __post_init__(self) -> None:
        for backend in self.backends:
            self.health.setdefault(backend, Health())
            self.connections.setdefault(backend, 0)

    def replace(
        self, wanted: Mapping[Backend, Status], now: float, *, statuses: bool = True
    ) -> Replacement:
        """These are the backends from now on, with the status the configuration gives them.

        One that is shunned stays so when its status is to be ONLINE: that is for those to say
        who shunned it. Without `statuses` only those of new ones count."""
        before = {backend: backend for backend in self.backends}
        added = tuple(b for b in wanted if b not in before)
        changed = tuple((before[b], b) for b in wanted if b in before and not _same(before[b], b))
        removed = tuple(b for b in self.backends if b not in wanted)
        self.backends = tuple(wanted)
        for backend in added:
            self.health.setdefault(backend, Health())
            self.connections.setdefault(backend, 0)
        found = Replacement(added, changed, removed)
        for told in tuple(self.on_replace):
            told(found)
        for backend in removed:
            self.set_status(backend, Status.OFFLINE_SOFT, now)
        for backend, status in wanted.items():
            if (statuses or backend not in before) and not self._serves_as(backend, status):
                self.set_status(backend, status, now)
        return found

    def forget(self, backend: Backend) -> None:
        """Nobody is connected any more to one that is gone from the configuration."""
        if backend in self.backends or self.connections.get(backend):
            return
        self.health.pop(backend, None)
        self.connections.pop(backend, None)
        self.latency.pop(backend, None)
        self.lag.pop(backend, None)
        for told in tuple(self.on_forget):
            told(backend)

    def order(
        self, hostgroup: int, now: float, random: Callable[[], float], *, full: bool = False
    ) -> tuple[Backend, ...]:
        """Backends of `hostgroup` in the order to try; `random` gives floats in [0, 1).

        `full`: those that have all the connections they may have as well."""
        members = [b for b in self.members(hostgroup) if self._live(b)]
        fit = [b for b in members if self.fit(b, now) and (full or self._room(b))]
        rest = [b for b in members if b not in fit and (full or self._room(b))]
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
        """Whether it takes sessions that are free to choose.

        One that answers slowly does not, unless there is none better."""
        if not self._usable(backend, now):
            return False
        if not self._slow(backend):
            return True
        others = (b for b in self.members(backend.hostgroup) if b.weight > 0)
        return not any(self._usable(b, now) and not self._slow(b) for b in others)

    def _usable(self, backend: Backend, now: float) -> bool:
        health = self.health.get(backend)
        return health is not None and usable(health, now)

    def _slow(self, backend: Backend) -> bool:
        limit = backend.max_latency_ms or self.max_latency_ms
        return limit > 0 and self.latency.get(backend, 0.0) * 1000 > limit

    def lags(self, hostgroup: int, limit_ms: int) -> bool:
        """Whether a statement might find a server there that is farther behind."""
        return any(
            self.lag.get(backend, 0) * 1000 > limit_ms
            for backend in self.members(hostgroup)
            if backend.weight > 0 and self.status(backend) is Status.ONLINE
        )

    def within(self, hostgroup: int, limit_ms: int) -> frozenset[Backend]:
        """Those that serve there and are not farther behind."""
        return frozenset(
            backend
            for backend in self.members(hostgroup)
            if backend.weight > 0
            and self.status(backend) is Status.ONLINE
            and self.lag.get(backend, 0) * 1000 <= limit_ms
        )

    def status(self, backend: Backend) -> Status:
        """What it is now; a shunned backend stays so until a connection to it was opened."""
        return self.health[backend].status

    def set_status(self, backend: Backend, status: Status, now: float = 0.0) -> None:
        """The operator's word. `now` matters for SHUNNED: from then on recovery is counted.

        Raises KeyError for a backend that is not of this topology."""
        health = self.health[backend]
        self._became(backend, after_operator(health, status, now, self.recovery_sec))

    def enter(self, backend: Backend) -> bool:
        """A place for a connection that is about to be opened; False: there is none left."""
        row = self.places(backend)
        if row is not None and not row.take(backend.max_connections):
            return False
        self.reserve(backend)
        return True

    def leave(self, backend: Backend) -> None:
        """That connection is closed, or could not be opened."""
        row = self.places(backend)
        if row is not None:
            row.give()
        self.release(backend)

    def reserve(self, backend: Backend) -> None:
        """A connection is about to be opened; counted now, so that limits hold under bursts."""
        self.connections[backend] = self.connections.get(backend, 0) + 1

    def release(self, backend: Backend) -> None:
        """A reserved connection is gone, or was never opened."""
        self.connections[backend] -= 1
        self.forget(backend)

    def failed(self, backend: Backend, error: str, now: float) -> None:
        """A connect attempt to `backend` failed."""
        health = self.health.get(backend)
        if health is not None:
            self._became(
                backend, after_failure(health, error, now, self.recovery_sec, self.tolerated)
            )

    def opened(self, backend: Backend) -> None:
        """A reserved connection was opened."""
        health = self.health.get(backend)
        if health is None:
            return
        self._became(backend, after_success(health))
        if self.returns_everywhere and health.status is Status.SHUNNED:
            for other in self.at(backend.host, backend.port, backend.path):
                if self.health[other].status is Status.SHUNNED:
                    self._became(other, after_success(self.health[other]))

    # -- what monitors say; of a server, so of every backend at its address ---------

    def silent(self, backend: Backend, error: str) -> None:
        """Its pings are not answered."""
        self._became(backend, after_silence(self.health[backend], error))

    def answered(self, backend: Backend, seconds: float = 0.0) -> None:
        """A ping was, within `seconds`."""
        self.latency[backend] = seconds
        self._became(backend, after_answer(self.health[backend]))

    def lagging(self, backend: Backend, lag: int) -> None:
        """It is `lag` seconds behind: too far."""
        self._became(backend, after_lag(self.health[backend], lag))

    def caught_up(self, backend: Backend) -> None:
        """It is not too far behind any more."""
        self._became(backend, after_catching_up(self.health[backend]))

    def told(self, backend: Backend, health: Health) -> None:
        """Another process of the service has seen it; one that is gone by now counts no more."""
        if backend in self.health:
            self._became(backend, health)

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

    def _serves_as(self, backend: Backend, status: Status) -> bool:
        """Whether the configuration asks for nothing new."""
        now = self.health[backend].status
        shunned = (Status.SHUNNED, Status.SHUNNED_REPLICATION_LAG)
        return now is status or (status is Status.ONLINE and now in shunned)

    def _live(self, backend: Backend) -> bool:
        return backend.weight > 0 and self.health[backend].status in LIVE

    def _room(self, backend: Backend) -> bool:
        if self.connections[backend] >= backend.max_connections:
            return False
        row = self.places(backend)
        return row is None or row.has_room(backend.max_connections)


def _same(one: Backend, other: Backend) -> bool:
    """Settings included, which equality leaves out."""
    return all(getattr(one, f.name) == getattr(other, f.name) for f in fields(Backend))


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
