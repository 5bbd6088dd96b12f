# SPDX-License-Identifier: Apache-2.0
"""What peers compare to see whether they have the same configuration: runtime_checksums_values.

    LOAD <module> TO RUNTIME ── rows, ordered by key ── SpookyHash ──> checksum
        version + 1 each time; epoch = now only when the checksum is another one

Peers copy from whoever has the newest epoch: a LOAD that changes nothing must not look newer, and
one that changes something must, in the same second too, and where clocks differ.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hproxy.admin.console.layer import Tables
from hproxy.admin.console.spooky import hash64
from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.proxysql.cluster import OWN_VARIABLES

__all__ = ["CHECKED", "Checksums", "checksum"]

ROW_SEEDS = (19, 3)
GLOBAL_SEEDS = (9, 5)
CHECKSUM_CHARACTERS = 18

# Module -> the names its checksum has in runtime_checksums_values.
CHECKED: dict[str, tuple[str, ...]] = {
    "admin_variables": ("admin_variables",),
    "mysql_query_rules": ("mysql_query_rules",),
    "mysql_servers": ("mysql_servers", "mysql_servers_v2"),
    "mysql_users": ("mysql_users",),
    "mysql_variables": ("mysql_variables",),
    "proxysql_servers": ("proxysql_servers",),
}


@dataclass(slots=True)
class Checked:
    """One row of runtime_checksums_values."""

    version: int
    epoch: int
    checksum: str


class Checksums:
    """The checksums of what runs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._clock = clock
        self._found: dict[str, Checked] = {}

    def stamp(self, module: str, value: str) -> None:
        """The module was loaded, and this is its checksum."""
        for name in CHECKED.get(module, ()):
            now = int(self._clock())
            was = self._found.get(name)
            if was is None:
                self._found[name] = Checked(1, now, value)
                continue
            was.version += 1
            if was.checksum != value:
                was.checksum, was.epoch = value, max(now, was.epoch + 1)

    def age(self, module: str, value: str, epoch: int) -> None:
        """A peer runs on the same since then: it is as old here, or both would take turns."""
        for name in CHECKED.get(module, ()):
            if (found := self._found.get(name)) is not None and found.checksum == value:
                found.epoch = epoch

    def rows(self) -> list[tuple[str, int, int, str]]:
        """runtime_checksums_values, by name."""
        return [(name, c.version, c.epoch, c.checksum) for name, c in sorted(self._found.items())]

    @property
    def overall(self) -> int:
        """SELECT GLOBAL_CHECKSUM(): changes whenever a row of the table does."""
        parts = (c.checksum.encode() + struct.pack("<Q", c.version)
                 for _, c in sorted(self._found.items()))  # fmt: skip
        return hash64(b"".join(parts), *GLOBAL_SEEDS)


def checksum(tables: Tables) -> str:
    """The checksum of a module's rows, each table's in the order of its key."""
    return shown(b"".join(_bytes(name, rows) for name, rows in tables.items()))


def shown(content: bytes) -> str:
    """The hash of `content` as ProxySQL writes it: 0x, both halves, zeros up to 16 digits."""
    number = hash64(content, *ROW_SEEDS) if content else 0
    text = f"0x{number & 0xFFFFFFFF:X}{number >> 32:X}"
    return text.ljust(CHECKSUM_CHARACTERS, "0")


def _bytes(table: str, rows: Iterable[Any]) -> bytes:
    made = CONFIG_TABLES[table]
    kept = [row for row in rows if row.get("variable_name") not in OWN_VARIABLES]
    kept.sort(key=lambda row: [_order(row.get(column)) for column in made.order_by])
    values = (row.get(column) for row in kept for column in made.names)
    return b"".join(str(value).encode() for value in values if value is not None)


def _order(value: Any) -> tuple[int, Any]:
    """As SQLite sorts: NULL, numbers, texts."""
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))
