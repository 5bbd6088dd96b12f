# SPDX-License-Identifier: Apache-2.0
"""What monitors look at, what they ask for, and what they need of the outside.

view() ── servers, hostgroup rows ──> Monitor ── shun, back, lagging, place ──> Act
                                        └ dial(address, account) ──> ProbeConnection
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

__all__ = [
    "Act",
    "Add",
    "Address",
    "Change",
    "ClusterHostgroups",
    "Dial",
    "ProbeConnection",
    "Remove",
    "ReplicationHostgroups",
    "Row",
    "Server",
    "Values",
    "View",
]

Row = dict[str, str | None]


class Address(NamedTuple):
    """One server, whatever hostgroups it is in; port 0: the host is a Unix socket's path."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Server:
    """A row of the runtime: one server as a member of one hostgroup."""

    hostgroup: int
    host: str
    port: int
    status: str = "ONLINE"
    """ONLINE, SHUNNED, OFFLINE_SOFT, OFFLINE_HARD."""
    use_ssl: bool = False
    max_replication_lag: int = 0
    """Seconds; 0 for no limit."""
    weight: int = 1

    @property
    def address(self) -> Address:
        return Address(self.host, self.port)

    @property
    def pinged(self) -> bool:
        """Whether it is looked at at all: one that drains is, so that it can be cut if it dies."""
        return self.status != "OFFLINE_HARD"

    @property
    def followed(self) -> bool:
        """Whether its role and its lag matter: the operator's word stands above them."""
        return self.status not in ("OFFLINE_SOFT", "OFFLINE_HARD")


@dataclass(frozen=True, slots=True)
class ReplicationHostgroups:
    """A row of mysql_replication_hostgroups."""

    writer: int
    reader: int
    check_type: str = "read_only"


@dataclass(frozen=True, slots=True)
class ClusterHostgroups:
    """A row of mysql_group_replication_hostgroups or of mysql_galera_hostgroups."""

    writer: int
    backup_writer: int
    reader: int
    offline: int
    max_writers: int = 1
    writer_is_also_reader: int = 0
    """0: writers only write; 1: they read as well; 2: only backup writers read."""
    max_transactions_behind: int = 0
    """Transactions; 0 for no limit."""
    active: bool = True

    @property
    def hostgroups(self) -> tuple[int, int, int, int]:
        return self.writer, self.backup_writer, self.reader, self.offline


@dataclass(frozen=True, slots=True)
class View:
    """The runtime as monitors see it."""

    servers: tuple[Server, ...] = ()
    replication: tuple[ReplicationHostgroups, ...] = ()
    group_replication: tuple[ClusterHostgroups, ...] = ()
    galera: tuple[ClusterHostgroups, ...] = ()
    lag_when_null: tuple[tuple[int, int], ...] = ()
    """(hostgroup, s): hostgroup_settings of the ones that name monitor_slave_lag_when_null."""


@dataclass(frozen=True, slots=True)
class Add:
    """Make the server a member of `hostgroup`, with the columns of `like`, its row elsewhere."""

    hostgroup: int
    like: Server


@dataclass(frozen=True, slots=True)
class Remove:
    """Its row leaves `server.hostgroup`."""

    server: Server


Change = Add | Remove


class Act(Protocol):
    """What is done about what was seen.

    Calls may repeat what already holds, and may name a row that is gone by now: neither is an
    error. When monitoring ends for a server, `back` and `caught_up` take back what was said."""

    def shun(self, host: str, port: int, reason: str) -> None:
        """No new connections, and all there are are cut. Said again with each failed ping."""

    def back(self, host: str, port: int) -> None:
        """It answers again; said once, after `shun`."""

    def lagging(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        """Too far behind for this hostgroup; said again with each check that finds it so."""

    def caught_up(self, hostgroup: int, host: str, port: int) -> None:
        """Said once, after `lagging`."""

    def measured(self, hostgroup: int, host: str, port: int, lag: int) -> None:
        """So many seconds behind, which is well or not; said with each check."""

    def place(self, changes: Sequence[Change]) -> None:
        """Memberships change, all of them at once."""


class Values(Protocol):
    """The live variables, named as the admin port does ("mysql-monitor_ping_interval")."""

    on_change: list[Callable[[set[str]], Any]]

    def text(self, name: str, /) -> str: ...

    def number(self, name: str, /) -> int: ...

    def flag(self, name: str, /) -> bool: ...


class ProbeConnection(Protocol):
    """A connection to one server, logged in as the monitor's account."""

    @property
    def clean(self) -> bool: ...

    async def ask(self, sql: str) -> list[Row]: ...

    async def ping(self) -> None: ...

    def close(self) -> None: ...

    def cut(self) -> None: ...


Dial = Callable[[str, int, bool, str, str], Awaitable[ProbeConnection]]
"""(host, port, use_ssl, user, password); the caller bounds the time."""
