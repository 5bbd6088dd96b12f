# SPDX-License-Identifier: Apache-2.0
"""The one interface through which operators, and tests, look at a running worker and steer it.

    admin SQL, REST ──┐              ┌── topology     backends(), set_status()
    control datagrams ┼──> Port ─────┼── pools        pools(), and used and free of backends()
    tests ────────────┘              ├── sessions     pins(), pin_counts()
                                     └── digests      digests()

What it gives are copies: rows that stay as they are while the worker goes on. Pools, sessions
and digests are asked through a `Source` each, so that the port works for a worker that has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hproxy.config.address import Address, AddressError, parse_backend
from hproxy.errors import AdminError
from hproxy.topology import Backend, Status, Topology

__all__ = ["BackendRow", "Port", "Row", "Source"]

Row = Mapping[str, Any]
Source = Callable[[], Iterable[Any]]
"""Gives rows when called: mappings, or named tuples."""

POOL_COUNTS = ("used", "free", "connecting", "waiting", "opened", "closed")


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One backend as a member of one hostgroup."""

    hostgroup: int
    host: str
    """Name, IP address, or the path of a socket."""
    port: int
    status: str
    weight: int
    max_connections: int
    connections: int
    """Open, or being opened."""
    used: int
    free: int
    failures: int
    """Connect failures since the last success."""
    shunned_for: float
    """Seconds until it is tried again without need."""
    last_error: str


def _nothing() -> tuple[Row, ...]:
    return ()


class Port:
    """Over one worker; use it on its event loop."""

    def __init__(
        self,
        topology: Topology,
        *,
        clock: Callable[[], float],
        pools: Source = _nothing,
        pins: Source = _nothing,
        digests: Source = _nothing,
    ) -> None:
        """`clock` is the one that topology is told of failures by. Rows of `pools` have at least
        hostgroup, backend and user, of `pins` at least reason."""
        self._topology = topology
        self._clock = clock
        self._pools = pools
        self._pins = pins
        self._digests = digests

    # -- backends ----------------------------------------------------------------

    def backends(self, hostgroup: int | None = None) -> tuple[BackendRow, ...]:
        """Every backend, or those of a hostgroup, in the order of the configuration."""
        used, free = Counter[tuple[int, str]](), Counter[tuple[int, str]]()
        for row in self.pools():
            key = (row["hostgroup"], row["backend"])
            used[key] += row["used"]
            free[key] += row["free"]
        now = self._clock()
        rows = []
        for backend, (health, connections) in self._topology.snapshot().items():
            if hostgroup is not None and backend.hostgroup != hostgroup:
                continue
            key = (backend.hostgroup, str(backend))
            shunned = health.status is Status.SHUNNED
            rows.append(
                BackendRow(
                    hostgroup=backend.hostgroup,
                    host=backend.path or backend.host,
                    port=0 if backend.path else backend.port,
                    status=health.status.value,
                    weight=backend.weight,
                    max_connections=backend.max_connections,
                    connections=connections,
                    used=used[key],
                    free=free[key],
                    failures=health.failures,
                    shunned_for=max(0.0, health.shunned_until - now) if shunned else 0.0,
                    last_error=health.last_error,
                )
            )
        return tuple(rows)

    def set_status(
        self, hostgroup: int | None, address: str | Address, status: str | Status
    ) -> int:
        """Set the status of a backend in one hostgroup, or in all it is in (None).

        Sessions on it follow at once: OFFLINE_SOFT lets transactions end, OFFLINE_HARD cuts.
        Returns how many rows are not as they were. Raises AdminError (admin.status,
        admin.address, admin.backend) before anything is changed."""
        wanted = _status(status)
        changed = 0
        for backend in self._found(hostgroup, _address(address)):
            if self._topology.status(backend) is not wanted:
                self._topology.set_status(backend, wanted, self._clock())
                changed += 1
        return changed

    def _found(self, hostgroup: int | None, address: Address) -> tuple[Backend, ...]:
        everywhere = self._topology.at(address.host, address.port, address.path)
        found = tuple(b for b in everywhere if hostgroup in (None, b.hostgroup))
        if found:
            return found
        facts: dict[str, object] = {"backend": address}
        if everywhere:
            groups = ", ".join(str(backend.hostgroup) for backend in everywhere)
            facts |= {"hostgroup": hostgroup, "hint": f"it is in hostgroup {groups}"}
            raise AdminError("the backend is not in this hostgroup", code="backend", **facts)
        known = dict.fromkeys(str(backend) for backend in self._topology.backends)
        facts["hint"] = f"backends are {', '.join(known)}" if known else "there are none"
        raise AdminError("no such backend", code="backend", **facts)

    # -- pools, sessions, digests ------------------------------------------------

    def pools(self, hostgroup: int | None = None, user: str | None = None) -> tuple[Row, ...]:
        """Connections of each (hostgroup, backend, user), by these; counts that a pool does not
        keep are 0."""
        rows = [dict.fromkeys(POOL_COUNTS, 0) | row for row in map(_mapping, self._pools())]
        rows.sort(key=lambda row: (row["hostgroup"], row["backend"], row["user"]))
        return tuple(
            row
            for row in rows
            if hostgroup in (None, row["hostgroup"]) and user in (None, row["user"])
        )

    def pins(self, reason: str | None = None) -> tuple[Row, ...]:
        """Sessions that cannot give up their backend connection, a row for each reason."""
        rows = map(_mapping, self._pins())
        return tuple(row for row in rows if reason in (None, row["reason"]))

    def pin_counts(self) -> dict[str, int]:
        """How many sessions are pinned for each reason, the most frequent first."""
        return dict(Counter(row["reason"] for row in self.pins()).most_common())

    def digests(self) -> tuple[Row, ...]:
        """What each kind of statement cost."""
        return tuple(map(_mapping, self._digests()))


def _mapping(row: Any) -> dict[str, Any]:
    """A copy of a row, whatever notation its owner has."""
    items = row if isinstance(row, Mapping) else row._asdict()
    return {column: _plain(value) for column, value in items.items()}


def _plain(value: Any) -> Any:
    """Text for what people read as text: names on the wire, names of constants, backends."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Enum):
        return value.name or str(value)
    return str(value) if isinstance(value, Backend) else value


def _status(status: str | Status) -> Status:
    if isinstance(status, Status):
        return status
    try:
        return Status(status.strip().upper())
    except ValueError:
        raise AdminError(
            "no such status",
            code="status",
            status=status,
            hint=f"one of {', '.join(known.value for known in Status)}",
        ) from None


def _address(address: str | Address) -> Address:
    if isinstance(address, Address):
        return address
    try:
        return parse_backend(address)
    except AddressError as error:
        raise AdminError(
            f"the address {error}",
            code="address",
            backend=address,
            hint=error.hint or "write HOST:PORT",
        ) from None
