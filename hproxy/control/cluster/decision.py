# SPDX-License-Identifier: Apache-2.0
"""Whose configuration is the newer one, as ProxySQL decides it; pure.

    a peer's checksum     differs from ours     so often in a row     and
    ─────────────────     ─────────────────     ─────────────────     ───
    same as ours          no                                          its epoch is newer: AGE, ours
                                                                      is as old as that from now on
    another one           yes                   less than `diffs`     wait: we may learn it soon
                                                `diffs` and more      it was never LOADed: nothing
                                                                      ours was never LOADed: PULL
                                                                      its epoch is newer: PULL
                                                                      both are as old: CONFLICT
                                                                      ours is newer: nothing, it
                                                                      will come to us

A version of 1 is what a process has started on; each LOAD adds one. `diffs` 0 is never.

Ours beyond ProxySQL's: an epoch is at least one more than that of what it replaces, and equal
configurations come to have equal epochs. So what is LOADed anywhere later is newer everywhere, in
the same second too, and though the clock of that node is behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

__all__ = ["Checksum", "Seen", "Verdict", "verdict"]

STARTED = 1


class Checksum(NamedTuple):
    """A row of runtime_checksums_values without its name; `epoch` in Unix seconds."""

    version: int
    epoch: int
    checksum: str


class Verdict(Enum):
    """What to do about a module of a peer."""

    NOTHING = "nothing"
    AGE = "age"
    PULL = "pull"
    CONFLICT = "conflict"


@dataclass(slots=True)
class Seen:
    """One checksum of one peer; times in Unix seconds."""

    now: Checksum
    changed_at: int
    updated_at: int
    diff_check: int = 0
    """How many looks in a row it differed from ours."""

    def look(self, now: Checksum, ours: Checksum | None, at: int) -> None:
        """It was looked at once more."""
        if now.checksum != self.now.checksum:
            self.changed_at = at
            self.diff_check = 0
        self.now = now
        self.updated_at = at
        differs = ours is not None and now.checksum != ours.checksum
        self.diff_check = self.diff_check + 1 if differs else 0


def verdict(seen: Seen, ours: Checksum | None, diffs: int) -> Verdict:
    """What to do; nothing where `ours` is not known, or diffs is 0."""
    theirs = seen.now
    if ours is None or not diffs:
        return Verdict.NOTHING
    if theirs.checksum == ours.checksum:
        newer = theirs.version > STARTED and theirs.epoch > ours.epoch
        return Verdict.AGE if newer else Verdict.NOTHING
    if seen.diff_check < diffs or theirs.version <= STARTED:
        return Verdict.NOTHING
    if ours.version <= STARTED or theirs.epoch > ours.epoch:
        return Verdict.PULL
    return Verdict.CONFLICT if theirs.epoch == ours.epoch else Verdict.NOTHING
