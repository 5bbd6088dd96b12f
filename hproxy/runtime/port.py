# SPDX-License-Identifier: Apache-2.0
"""The one interface through which operators, and tests, look at a running worker and steer it.

    admin SQL, REST ──┐              ┌── topology     backends(), set_status()
    control datagrams ┼──> Port ─────┼── pools        pools(), and used and free of backends()
    tests ────────────┘              ├── sessions     pins(), pin_counts()
                                     ├── digests      digests()
                                     ├── any table    read(), reading()
                                     └── control      rows(), load(), order(), explaining(),
                                                      status(), measured()

Coroutines mean the service, however many workers it has; the rest means the one worker that is in
this process. What it gives are copies: rows that stay as they are while the worker goes on. Pools,
sessions and digests are asked through a `Source` each, so that it works for one that has none.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hproxy.config.address import Address, AddressError, parse_backend
from hproxy.config.proxysql.values import Values
from hproxy.errors import AdminError
from hproxy.runtime.control import Control, LoadReport, Rows
from hproxy.telemetry.reading import Reading
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
        control: Control | None = None,
    ) -> None:
        """`clock` is the one that topology is told of failures by. Rows of `pools` have at least
        hostgroup, backend and user, of `pins` at least reason."""
        self._topology = topology
        self._clock = clock
        self._pools = pools
        self._pins = pins
        self._digests = digests
        self._control = control

    @property
    def control(self) -> Control:
        """What steers the worker. Raises AdminError for one that cannot be steered."""
        if self._control is None:
            raise AdminError("this worker takes no orders", code="order")
        return self._control

    @property
    def variables(self) -> Values:
        """mysql-* and admin-* as they are now."""
        return self.control.variables

    def read(self, table: str) -> list[tuple[Any, ...]]:
        """Rows of a runtime_*, stats_* or monitor table, in the catalogue's order of columns.

        Those of a `_reset` twin begin anew. Raises AdminError for a table nobody keeps."""
        return self.control.read(table)

    def look(self, table: str) -> Iterable[tuple[Any, ...]]:
        """The same, as it is now; iterate over it in any thread: thousands of rows take a while."""
        return self.control.look(table)

    def anywhere(self, table: str) -> bool:
        """Whether `read` may be called for this table in any thread."""
        return self.control.anywhere(table)

    def rows(self, module: str) -> dict[str, list[dict[str, Any]]]:
        """What the worker runs on, per table of a module, all columns; in any thread."""
        return self.control.rows(module)

    def explain(self, sql: str, user: str, schema: str) -> list[tuple[str, str]]:
        """Step by step, where a statement of that user would go. Raises AdminError."""
        return self.control.explain(sql, user, schema)

    # -- of the service: all its workers ----------------------------------------------

    async def reading(self, table: str) -> list[tuple[Any, ...]]:
        """Rows of a table as `read` gives them, of all workers; what takes long, in a thread."""
        if self.anywhere(table):
            return await asyncio.to_thread(self.read, table)
        found = self.look(table)
        return found if isinstance(found, list) else await asyncio.to_thread(list, found)

    async def load(self, module: str, tables: Rows, *, dry_run: bool = False) -> LoadReport:
        """Run on these rows from now on. Raises ConfigError before anything has changed."""
        return await self.control.load(module, tables, dry_run=dry_run)

    async def order(self, name: str, *arguments: str) -> str:
        """Do what an operator says; what there is to say of it. Raises AdminError."""
        return await self.control.order(name, *arguments)

    async def explaining(self, sql: str, user: str, schema: str) -> list[tuple[str, str]]:
        """As `explain`."""
        return self.explain(sql, user, schema)

    async def setting_status(
        self, hostgroup: int | None, address: str | Address, status: str | Status
    ) -> int:
        """As `set_status`."""
        return self.set_status(hostgroup, address, status)

    async def status(self) -> dict[str, Any]:
        """Whether it serves: ready, reasons why not, started, draining, paused, version,
        config_version, uptime_sec, sessions, processes."""
        return self.control.status()

    async def measured(self) -> Reading:
        """Every number of now, as Prometheus shows them."""
        return self.control.measured()

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


# The one left out is for monitors to say.
STATUSES = {s.value: s for s in Status if s is not Status.SHUNNED_REPLICATION_LAG}


def _status(status: str | Status) -> Status:
    if isinstance(status, Status):
        return status
    found = STATUSES.get(status.strip().upper())
    if found is None:
        raise AdminError(
            "no such status", code="status", status=status, hint=f"one of {', '.join(STATUSES)}"
        )
    return found


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
