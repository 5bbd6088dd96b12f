# SPDX-License-Identifier: Apache-2.0
"""Runs targets for so many inputs, and says what they cost and whether memory grew."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.multiplex import multiplex
from tests.fuzz.mutation import Mutator
from tests.fuzz.parsers import cursor, framer, login, scanner
from tests.fuzz.sockets import channel, session

__all__ = ["TARGETS", "Outcome", "Target", "resident_kib", "run"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is fed, and its share of the inputs: the quick ones get more."""

    name: str
    feed: Callable[[Mutator], None]
    share: float


TARGETS = (
    Target("scanner", scanner, 0.35),
    Target("framer", framer, 0.15),
    Target("cursor", cursor, 0.15),
    Target("channel", channel, 0.10),
    Target("session", session, 0.10),
    Target("multiplex", multiplex, 0.05),
    Target("login", login, 0.10),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    inputs: int
    seconds: float
    rss_before_kib: int
    rss_after_kib: int

    @property
    def growth_kib(self) -> int:
        return self.rss_after_kib - self.rss_before_kib


def resident_kib() -> int:
    """Resident memory of this process now (not its peak)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


def tidy() -> None:
    """Give back what is free: what the allocator keeps of it is no leak."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def run(target: Target, inputs: int, seed: int) -> Outcome:
    """Feed `inputs` inputs. An AssertionError names the one that broke: seed and number."""
    # Memory is compared from the state that a tenth of them leave behind.
    warm_up(target, inputs // 10, seed)
    tidy()
    before, started = resident_kib(), time.monotonic()
    mutator = Mutator(seed)
    for number in range(inputs):
        try:
            target.feed(mutator)
        except BaseException as error:
            error.add_note(f"target {target.name}, seed {seed}, input {number}")
            raise
    seconds = time.monotonic() - started
    tidy()
    return Outcome(inputs, seconds, before, resident_kib())


def warm_up(target: Target, inputs: int, seed: int) -> None:
    mutator = Mutator(-seed - 1)
    for _ in range(inputs):
        target.feed(mutator)
