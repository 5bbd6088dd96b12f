# SPDX-License-Identifier: Apache-2.0
"""What the slow lane decided about a statement once, for the fast lane to find again."""

from typing import Any, final

from hproxy._native.pool import Group
from hproxy._native.statistics import DigestCounters

@final
class Decision:
    """What is done with every statement of one digest."""

    def __init__(
        self,
        flags: int,
        writer: Group,
        reader: Group | None,
        counters: DigestCounters,
        traits: object,
        text: bytes,
    ) -> None: ...
    @property
    def flags(self) -> int:
        """Traits, as bits."""
    @property
    def writer(self) -> Group: ...
    @property
    def reader(self) -> Group | None:
        """None: always to the writer."""
    @property
    def counters(self) -> DigestCounters: ...
    @property
    def traits(self) -> Any:
        """The classification behind `flags`."""
    @property
    def text(self) -> bytes:
        """The digest, for people."""

@final
class DecisionCache:
    """Decisions by 128 bits of a keyed digest; two generations, the older one forgotten."""

    def __new__(cls, limit: int) -> DecisionCache:
        """Raises ValueError unless `limit` is 2 .. 16777216."""
    @property
    def limit(self) -> int:
        """Decisions per generation: half of what was asked for."""
    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    def __len__(self) -> int: ...
    def find(self, low: int, high: int) -> Decision | None: ...
    def store(self, low: int, high: int, decision: Decision) -> None: ...
    def clear(self) -> None: ...
