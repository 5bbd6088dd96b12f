# SPDX-License-Identifier: Apache-2.0
"""Broken executions, against the slow twin, right before a page that may not be read."""

from __future__ import annotations

import ctypes
import mmap
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.execution import find_types
from tests.native.execution_reference import reference_types
from tests.native.recorded import exchanges
from tests.native.test_execution import execution
from tests.support.garbage import garbage

FOUND, MORE, MALFORMED = 1, 0, -1
EXECUTIONS = [each.command[4:] for each in exchanges() if each.code in (0x17, 0xFA)]
SEEDS = [
    *EXECUTIONS,
    execution([3, 253], b"\1\0\0\0\3abc", names=[b"", b"name"], flags=8),
    execution([3] * 9, nulls=b"\xff\1"),
    execution(None, b"\1\0\0\0"),
]
PROT_NONE = 0


@contextmanager
def guarded() -> Iterator[mmap.mmap]:
    """A page of memory; touching what follows ends the process."""
    area = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    anchor = ctypes.c_char.from_buffer(area)
    second = ctypes.c_void_p(ctypes.addressof(anchor) + mmap.PAGESIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(second, mmap.PAGESIZE, PROT_NONE) == 0
    try:
        yield area
    finally:
        libc.mprotect(second, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)
        del anchor
        area.close()


@given(
    payload=garbage(*SEEDS),
    params=st.integers(0, 20),
    attributes=st.booleans(),
)
def test_like_the_slow_twin(payload: bytes, params: int, attributes: bool) -> None:
    expected = reference_types(payload, params, attributes)
    answer = find_types(payload, params, attributes)
    assert answer == ((MALFORMED, None) if expected is None else (FOUND, expected))
    for have in range(len(payload)):
        part, layout = find_types(payload[:have], params, attributes, total=len(payload))
        if part == FOUND:
            # Enough was there to tell, and more of it tells the same.
            assert layout == expected
        elif part == MALFORMED:
            assert expected is None


@pytest.mark.fuzz
def test_nothing_is_read_beyond_the_end() -> None:
    chance = random.Random(20_260)
    with guarded() as area, memoryview(area) as view:
        for _ in range(60_000):
            data = bytearray(chance.choice(SEEDS))
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0xFB, 0xFC, 0xFE))
            del data[chance.randrange(len(data) + 1) :]
            start = mmap.PAGESIZE - len(data)
            view[start : mmap.PAGESIZE] = bytes(data)
            total = chance.choice((len(data), len(data) + chance.randrange(50), 1 << 32))
            with view[start : mmap.PAGESIZE] as payload:
                found, _ = find_types(payload, chance.randrange(24), chance.random() < 0.5, total)
            assert found in (FOUND, MORE, MALFORMED)
