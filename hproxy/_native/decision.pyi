# SPDX-License-Identifier: Apache-2.0
"""What the slow lane decided about a statement once, for the fast lane to find again."""

from typing import Any, final

from hproxy._native.pool import Group
from hproxy._native.statistics import DigestCounters
from hproxy._native.tally import CommandCounters

@final
class Tally:
    """How often the same query rules matched together."""

    def __init__(self, rules: tuple[int, ...]) -> None: ...
    @property
    def rules(self) -> tuple[int, ...]: ...
    @property
    def count(self) -> int: ...

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
        *,
        verdict: object = None,
        tally: Tally | None = None,
        time_limit: float = 0.0,
        next_flag: int = -1,
        multiplex: int = -1,
        reader_counters: DigestCounters | None = None,
        command: CommandCounters | None = None,
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
    def counters(self) -> DigestCounters:
        """Of what the writer's hostgroup answers."""
    @property
    def reader_counters(self) -> DigestCounters | None:
        """Of what the reader's answers; None: the same."""
    @property
    def command(self) -> CommandCounters | None: ...
    @property
    def traits(self) -> Any:
        """The classification behind `flags`."""
    @property
    def text(self) -> bytes:
        """The digest, for people."""
    @property
    def verdict(self) -> Any:
        """What query rules said of it, a routing.rules.Verdict; None: nothing."""
    @property
    def tally(self) -> Tally | None:
        """Of the rules that matched."""
    @property
    def time_limit(self) -> float:
        """Seconds its answer may take; 0 is any."""
    @property
    def next_flag(self) -> int:
        """flagIN of the statements behind it; -1: it stays as it is."""
    @property
    def multiplex(self) -> int:
        """0: the session keeps its connection from here on, 1: no longer, -1: as it was."""
    @property
    def uses(self) -> int:
        """Statements it was taken for."""

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
    @property
    def texts(self) -> DecisionCache | None:
        """Those that hold for one text only."""
    def entries(self) -> list[Decision]:
        """All that is kept, each once; those of single texts as well."""
