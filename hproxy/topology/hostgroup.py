# SPDX-License-Identifier: Apache-2.0
"""What holds for all backends of one hostgroup: a row of mysql_hostgroup_attributes; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["HostgroupAttributes", "HostgroupTable"]


@dataclass(frozen=True, slots=True)
class HostgroupAttributes:
    """The options of one hostgroup, those of the proxy as a whole filled in."""

    free_connections_pct: int = 10
    connection_warming: bool = False
    throttle_connections_per_sec: int = 1_000_000
    multiplex: bool = True
    """Connections are shared; else each session keeps the one it got."""
    init_connect: str = ""
    """Statement run on each connection that is opened."""
    ignored_variables: frozenset[str] = frozenset()
    """Session variables (lower case) that are not carried over to its connections."""

    def idle_limit(self, max_connections: int) -> int:
        """Idle connections kept to a backend that may have `max_connections`.

        At least one while any are kept at all: with 10 % of 5 the next statement would always
        wait for a connection to be opened."""
        if not self.free_connections_pct:
            return 0
        return max(min(1, max_connections), max_connections * self.free_connections_pct // 100)


class HostgroupTable(dict[int, HostgroupAttributes]):
    """Attributes by hostgroup; those of the proxy as a whole for one that no row is about.

    Hostgroups come and go while the proxy runs: a rule may name one nobody has heard of."""

    def __init__(
        self,
        rows: Mapping[int, HostgroupAttributes] | None = None,
        common: HostgroupAttributes | None = None,
    ) -> None:
        super().__init__(rows or {})
        self.common = common or HostgroupAttributes()

    def __missing__(self, hostgroup: int) -> HostgroupAttributes:
        return self.common
