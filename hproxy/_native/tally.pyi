# SPDX-License-Identifier: Apache-2.0
"""How often each command of SQL was run, and how long that took."""

from collections.abc import Iterable
from typing import final

@final
class CommandCounters:
    """One command; made by a table only."""

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def sum_ns(self) -> int: ...
    @property
    def histogram(self) -> tuple[int, ...]:
        """Twelve cells: up to 100 and 500 us, 1, 5, 10, 50, 100 and 500 ms, 1, 5 and 10 s, and
        longer."""
    def record(self, ns: int) -> None:
        """Count one statement."""

@final
class CommandTable:
    """The commands there are; counts since the start of the worker."""

    def __new__(cls, names: Iterable[str]) -> CommandTable: ...
    @property
    def rows(self) -> dict[str, CommandCounters]: ...
    def row(self, name: str) -> CommandCounters:
        """Raises KeyError."""
    def ensure(self, name: str) -> CommandCounters:
        """The row of that name, made at the first call."""
    @property
    def count(self) -> int: ...
    @property
    def sum_ns(self) -> int: ...
