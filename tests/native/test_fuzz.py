# SPDX-License-Identifier: Apache-2.0
"""Broken bytes to everything that reads from the network; `python -m tests.fuzz` runs longer."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.campaign import TARGETS, Target, run
from tests.fuzz.mutation import Mutator

# Three hundred thousand in seconds; line tracing makes the debug build many times slower.
INPUTS = 300_000
GROWTH_KIB = 4096


def inputs(target: Target, *, debug: bool) -> int:
    return round(INPUTS * target.share / (10 if debug else 1))


@pytest.fixture(scope="module")
def debug() -> bool:
    """Whether the compiled modules are those with line tracing: their functions are seen."""
    seen: list[str] = []
    reader = TARGETS[0].feed
    sys.setprofile(lambda frame, event, _: seen.append(frame.f_code.co_filename))
    try:
        reader(Mutator(1))
    finally:
        sys.setprofile(None)
    return any(name.endswith(".pyx") for name in seen)


@pytest.mark.fuzz
@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_broken_bytes_do_no_harm(target: Target, debug: bool) -> None:
    done = run(target, inputs(target, debug=debug), seed=20_000)
    if done.growth_kib >= GROWTH_KIB:
        # The allocator may keep pages once, in a process as large as this one; a leak grows again.
        done = run(target, inputs(target, debug=debug), seed=30_000)
    assert done.growth_kib < GROWTH_KIB


def test_the_same_seed_breaks_the_same_way() -> None:
    frames = [b"\x01\x00\x00\x00\x03", b"\x02\x00\x00\x01ab"]
    one, two = Mutator(7), Mutator(7)
    first = [one.frames(frames) for _ in range(500)]
    assert [two.frames(frames) for _ in range(500)] == first
    # Some are left as they were: a conversation must get somewhere to be broken further on.
    whole = sum(data == b"".join(frames) for data in first)
    assert 25 < whole < 250
    assert all(b"".join(one.pieces(data)) == data for data in first)
