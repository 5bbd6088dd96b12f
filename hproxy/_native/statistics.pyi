# SPDX-License-Identifier: Apache-2.0
"""What each digest cost: counts and times per digest, natively, in bounded memory."""

from collections.abc import Hashable, Iterable
from typing import NamedTuple, final

class Row(NamedTuple):
    """One digest as `DigestTable.snapshot` tells it; times in nanoseconds."""

    key: Hashable
    count_star: int
    """Not `count`, which tuples have as a method."""
    errors: int
    rows_sent: int
    rows_affected: int
    bytes_in: int
    bytes_out: int
    sum_ns: int
    min_ns: int
    max_ns: int
    first_seen: float
    """Seconds of the clock its calls were recorded by."""
    last_seen: float
    p50_ns: int
    p95_ns: int
    p99_ns: int
    credit: int
    """Calls that may be missing here because the digest was not listed; they are in `other`."""

@final
class Histogram:
    """How long things took: 8 buckets per power of two, from 128 ns to 73 minutes."""

    def __init__(self) -> None: ...
    @property
    def total(self) -> int:
        """Times recorded."""
    def record(self, ns: int) -> None:
        """Count one time. Raises OverflowError below 0 and beyond 64 bits."""
    def percentile(self, percent: float) -> int:
        """The middle of the bucket that holds it, off by at most 1/16; 0 when empty.
        Raises ValueError outside 0 .. 100."""
    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """`percentile` of each."""
    def merge(self, other: Histogram) -> None:
        """Add everything that `other` counted; `other` stays as it is."""
    def rows(self) -> list[tuple[int, int, int]]:
        """(from ns, below ns, count) of each bucket that is not empty, shortest times first."""
    def load(self, rows: Iterable[tuple[int, int, int]]) -> None:
        """Add what the `rows` of another histogram, perhaps of another process, say.
        Raises ValueError for one that is no bucket."""

@final
class DigestCounters:
    """What one digest cost so far."""

    def __init__(self) -> None: ...
    @property
    def key(self) -> Hashable: ...
    @property
    def count(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def rows_sent(self) -> int: ...
    @property
    def rows_affected(self) -> int: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def sum_ns(self) -> int: ...
    @property
    def min_ns(self) -> int: ...
    @property
    def max_ns(self) -> int: ...
    @property
    def first_seen(self) -> float: ...
    @property
    def last_seen(self) -> float: ...
    @property
    def histogram(self) -> Histogram | None:
        """None up to the eighth call: until then the times themselves are kept."""
    @property
    def credit(self) -> int: ...
    def record(
        self,
        ns: int,
        rows: int,
        affected: int,
        bytes_in: int,
        bytes_out: int,
        error: bool,
        now: float,
    ) -> None:
        """Count one statement."""
    def percentiles(self, percents: Iterable[float]) -> list[int]:
        """In nanoseconds, never outside `min_ns` .. `max_ns`; exact up to the eighth call.
        Raises ValueError outside 0 .. 100."""
    def merge(self, other: DigestCounters) -> None:
        """Add everything that `other` counted; `other` stays as it is."""
    def row(self) -> Row: ...

@final
class DigestTable:
    """The digests that are called most, at most `limit`; what the others cost is in `other`."""

    def __new__(cls, limit: int) -> DigestTable:
        """Raises ValueError unless `limit` is positive."""
    @property
    def limit(self) -> int: ...
    @property
    def evicted(self) -> int:
        """Digests that lost their place so far."""
    @property
    def other(self) -> DigestCounters:
        """Calls of digests that are not listed."""
    def entry(self, key: Hashable) -> DigestCounters:
        """The counters of (hostgroup, schema, user, digest text). In a full table another digest
        loses its place. Raises TypeError for what is no key."""
    def snapshot(self) -> list[Row]:
        """The listed digests that were called, in no order."""
    def total(self) -> DigestCounters:
        """Everything since the last reset, exact."""
    def reset(self) -> None:
        """Start at zero; counters that are still held appear again with their next call."""
    def __len__(self) -> int: ...
