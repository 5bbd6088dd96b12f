# SPDX-License-Identifier: Apache-2.0
"""Cuts bytes the ways a network does: whole, byte by byte, at random places.

A parser test takes the fixture `chop` and so runs three times; there is no opting out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

__all__ = ["Chop", "at_random", "bytewise", "chop", "cuts", "whole"]

Chop = Callable[[bytes], Iterator[bytes]]

# Random cuts differ from byte-wise ones by having pieces of all sizes in one run.
SIZES = (1, 2, 3, 4, 5, 7, 28, 29, 100, 1460, 16384, 131072)


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def cuts(data: bytes, rng: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = rng.randint(1, rng.choice(SIZES))
        yield data[at : at + size]
        at += size


def at_random(data: bytes) -> Iterator[bytes]:
    """The same cuts for the same data, so that a failure happens again."""
    return cuts(data, random.Random(len(data)))


@pytest.fixture(params=[whole, bytewise, at_random], ids=["whole", "bytewise", "at_random"])
def chop(request: pytest.FixtureRequest) -> Chop:
    """Each way of cutting in turn."""
    found: Chop = request.param
    return found
