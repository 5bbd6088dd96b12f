# SPDX-License-Identifier: Apache-2.0
"""One row of proxysql_servers: its connection, and what it said last.

    look ── no connection ──> dial, PROXYSQL CLUSTER_NODE_UUID
         ── SELECT GLOBAL_CHECKSUM() ── changed ──> runtime_checksums_values ──> seen
         └─ every so often ──> stats_mysql_global ──> metrics
    pull ── PROXY_SELECT for each table ──> rows, as our own tables have them

A peer is not trusted: what cannot be read is an error, and its connection is given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.cluster import PULLS, SYNCED
from hproxy.control.cluster.decision import Checksum, Seen
from hproxy.dial.probe import Probe, Row
from hproxy.errors import BackendProtocolError

__all__ = ["Account", "Metrics", "Ours", "Peer"]

Dial = Callable[[str, int, bool, str, str], Awaitable[Probe]]
Account = tuple[str, str]
Ours = Mapping[str, Checksum]
OVERALL = "SELECT GLOBAL_CHECKSUM()"
CHECKSUMS = "SELECT * FROM runtime_checksums_values ORDER BY name"
STATISTICS = "SELECT Variable_Name, Variable_Value FROM stats_mysql_global"
MOST = 2**53
LONGEST = 64
"""Characters of a checksum."""
# Columns of stats_proxysql_servers_metrics -> what a peer calls it.
COUNTED = {
    "Uptime_s": "ProxySQL_Uptime",
    "Queries": "Questions",
    "Client_Connections_connected": "Client_Connections_connected",
    "Client_Connections_created": "Client_Connections_created",
}


class Metrics:
    """What its statistics said last, and when."""

    def __init__(self) -> None:
        self.at: float | None = None
        self.response_ms = 0
        self.counts = dict.fromkeys(COUNTED, 0)


class Peer:
    """Of one node; one question at a time. Bounding the time is the caller's."""

    def __init__(
        self, host: str, port: int, dial: Dial, clock: Callable[[], float], announcement: str
    ) -> None:
        """`clock` gives seconds that never jump; `announcement` is said first."""
        self.host, self.port = host, port
        self.weight, self.comment = 0, ""
        self.seen: dict[str, Seen] = {}
        self.metrics = Metrics()
        self.versions = 0
        """How many configurations it was seen with."""
        self.checks_ok = self.checks_failed = 0
        self.checked_at: float | None = None
        self.ping_us = 0
        self.reason = ""
        """Why the last look failed; empty where it did not."""
        self._overall: str | None = None
        self._dial = dial
        self._clock = clock
        self._announcement = announcement
        self._probe: Probe | None = None
        self._account: Account | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    async def look(self, account: Account, ours: Ours, wall: int, *, statistics: bool) -> None:
        """What it runs on now. Raises HProxyError, OSError, ValueError."""
        probe = await self._connected(account)
        began = self._clock()
        overall = _only(await probe.ask(OVERALL))
        self.ping_us = round((self._clock() - began) * 1e6)
        if overall != self._overall:
            self._learn(await probe.ask(CHECKSUMS), ours, wall)
            self._overall = overall
            self.versions += 1
        else:
            for name, seen in self.seen.items():
                seen.look(seen.now, ours.get(name), wall)
        if statistics:
            await self._count(probe)
        self.checked_at = self._clock()

    async def pull(self, module: str) -> dict[str, list[dict[str, Any]]]:
        """The rows of a module that it runs on. Raises HProxyError, OSError, ValueError."""
        assert self._probe is not None  # it has told us of them just now
        return {
            asked.table: _rows(asked.table, await self._probe.ask(asked.statement))
            for asked in PULLS[module]
        }

    def drop(self) -> None:
        """Give the connection up; what it said is asked anew."""
        probe, self._probe, self._overall = self._probe, None, None
        if probe is not None:
            probe.cut()

    async def _connected(self, account: Account) -> Probe:
        if self._account != account or (self._probe is not None and not self._probe.clean):
            self.drop()
        if self._probe is None:
            self._probe = await self._dial(self.host, self.port, False, *account)
            self._account = account
            await self._probe.ask(self._announcement)
        return self._probe

    def _learn(self, rows: Sequence[Row], ours: Ours, wall: int) -> None:
        found = {}
        for row in rows:
            name, checksum = row.get("name"), row.get("checksum")
            if name not in SYNCED or checksum is None or len(checksum) > LONGEST:
                continue
            found[name] = Checksum(_whole(row, "version"), _whole(row, "epoch"), checksum)
        for name, now in found.items():
            seen = self.seen.setdefault(name, Seen(now, wall, wall))
            seen.look(now, ours.get(name), wall)
        for name in self.seen.keys() - found.keys():
            del self.seen[name]

    async def _count(self, probe: Probe) -> None:
        began = self._clock()
        rows = await probe.ask(STATISTICS)
        self.metrics.response_ms = round((self._clock() - began) * 1000)
        told = {row.get("Variable_Name"): row for row in rows}
        for column, name in COUNTED.items():
            self.metrics.counts[column] = _whole(told.get(name, {}), "Variable_Value")
        self.metrics.at = self._clock()


def _only(rows: Sequence[Row]) -> str:
    """The one value of the one row."""
    if len(rows) == 1 and len(rows[0]) == 1:
        (value,) = rows[0].values()
        if value is not None:
            return value
    raise BackendProtocolError("no checksum where one was asked for")


def _whole(row: Mapping[str, str | None], name: str) -> int:
    """A number that can be counted on from. Raises ValueError."""
    number = int(row.get(name) or 0)
    if not 0 <= number < MOST:
        raise BackendProtocolError(f"{name} is no number of ours", value=number)
    return number


def _rows(table: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Whole rows of the table: columns that nobody asks for have what rows that act have."""
    made = CONFIG_TABLES[table]
    usual = {column.name: column.initial for column in made.columns}
    if "active" in usual:
        usual["active"] = 1
    numeric = {column.name for column in made.columns if column.numeric}
    return [
        {
            **usual,
            **{
                name: int(value) if value is not None and name in numeric else value
                for name, value in row.items()
                if name in usual
            },
        }
        for row in rows
    ]
