# SPDX-License-Identifier: Apache-2.0
"""Token buckets by key, which all workers of a service share: bounded, and never waited for."""

from typing import Final, final

FORMAT: Final[int]

@final
class Buckets:
    """One process's view. A bucket holds a minute's worth, `per_minute`, and fills evenly.

    `now` is in nanoseconds, of a clock that all processes share."""

    def __init__(self, fd: int = -1, kinds: int = 1, most: int = 1) -> None:
        """Map what is behind `fd`, which stays the caller's; without, its own: see `create`.

        Raises ValueError for anything else, or buckets of another format."""
    @staticmethod
    def create(kinds: int, most: int) -> int:
        """New ones: a descriptor that is the caller's. `most`: buckets of each kind that are
        remembered, or a few more. Raises OSError, ValueError."""
    def take(self, kind: int, key: bytes, per_minute: int, now: int, force: bool = False) -> bool:
        """Take a token; False: there is none. `force`: take one that is still to come."""
    def give(self, kind: int, key: bytes, per_minute: int, now: int) -> None:
        """Put one back."""
    def has(self, kind: int, key: bytes, per_minute: int, now: int) -> bool:
        """Whether there is a token to take."""
    def knows(self, kind: int, key: bytes) -> bool:
        """Whether that bucket was used, and is not forgotten."""
    def touch(self, kind: int, key: bytes, now: int) -> None:
        """Used now, though nothing was taken."""
    def alerted(self, now: int) -> bool:
        """Whether `alert` of a process still holds."""
    def alert(self, until: int) -> None:
        """All processes are told."""
    @property
    def count(self) -> int:
        """Buckets that are remembered."""
    @property
    def capacity(self) -> int:
        """Buckets that can be."""
