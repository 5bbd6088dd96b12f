# SPDX-License-Identifier: Apache-2.0
"""When a child that ended is started again; pure.

    lived 10 s or longer                    at once, and what went before is forgotten
    quick death of one that served, the first of the place or after a long life
                                            at once: somebody killed it, it did not fail
    quick death 1, 2, 3, 4, 5               after 2, 4, 8, 16, 32 s
    quick death 6                           never: the service ends

One for each place (head, worker 0, worker 1, ...). Times come in as arguments.
"""

from __future__ import annotations

__all__ = ["LONG_SEC", "MOST_QUICK", "Backoff"]

LONG_SEC = 10.0
"""A child that lived this long had started well."""
MOST_QUICK = 5
"""Quick deaths in a row that are answered with another start."""


class Backoff:
    """How one place has fared."""

    __slots__ = ("_excused", "quick", "restarts")

    def __init__(self) -> None:
        self.quick = 0
        """Quick deaths in a row that count."""
        self.restarts = 0
        """All of them, for people."""
        self._excused = True

    def ended(self, lived_sec: float, *, served: bool = True) -> float | None:
        """A child ended that lived this long: seconds until the next is started, or None."""
        self.restarts += 1
        if lived_sec >= LONG_SEC:
            self.quick, self._excused = 0, True
            return 0.0
        if self._excused and served:
            self._excused = False
            return 0.0
        self.quick += 1
        return None if self.quick > MOST_QUICK else float(2**self.quick)
