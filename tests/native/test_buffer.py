# SPDX-License-Identifier: Apache-2.0
"""The byte queue, against a bytearray, and its pool of chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy._native.buffer import CHUNK_BYTES, ByteQueue, pool_stats

POOL_KEEP = 256
BORDERS = [
    1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 5 * CHUNK_BYTES + 7,
]  # fmt: skip

sizes = st.one_of(st.integers(0, 3000), st.sampled_from(BORDERS))
steps = st.lists(
    st.tuples(st.sampled_from(("append", "discard", "discard all", "peek")), sizes), max_size=40
)


def pattern(size: int, start: int = 0) -> bytes:
    """Bytes whose place can be told: no chunk looks like another."""
    return b"".join(n.to_bytes(4, "big") for n in range(start, start + size // 4 + 1))[:size]


def drain(queue: ByteQueue) -> bytes:
    parts = []
    while queue:
        part = queue.peek()
        assert part
        parts.append(part)
        queue.discard(len(part))
    return b"".join(parts)


@pytest.mark.parametrize("size", BORDERS)
def test_bytes_come_out_as_they_went_in(size: int) -> None:
    queue = ByteQueue()
    data = pattern(size)
    queue.append(data)
    assert (len(queue), queue.size) == (size, size)
    assert drain(queue) == data
    assert queue.peek() == b""


@pytest.mark.parametrize("size", BORDERS)
def test_a_chunk_is_filled_before_the_next_is_taken(size: int) -> None:
    used, _ = pool_stats()
    queue = ByteQueue()
    for at in range(0, size, 1000):
        queue.append(pattern(min(1000, size - at), at))
    assert pool_stats()[0] - used == -(-size // CHUNK_BYTES)
    assert len(queue.peek()) == min(size, CHUNK_BYTES)


@given(steps)
def test_queue_equals_a_bytearray(script: list[tuple[str, int]]) -> None:
    used, _ = pool_stats()
    queue, twin = ByteQueue(), bytearray()
    for number, (what, size) in enumerate(script):
        if what == "append":
            data = pattern(size, number * 100_000)
            queue.append(data)
            twin += data
        elif what == "discard":
            size = min(size, len(twin))
            queue.discard(size)
            del twin[:size]
        elif what == "discard all":
            queue.discard(len(twin))
            twin.clear()
        else:
            part = queue.peek()
            assert bool(part) == bool(twin)
            assert twin.startswith(part)
        assert len(queue) == len(twin)
        if not twin:
            assert pool_stats()[0] == used  # an empty queue owns no memory
    assert drain(queue) == twin


def test_a_queue_that_goes_away_gives_its_chunks_back() -> None:
    used, _ = pool_stats()
    queue = ByteQueue()
    queue.append(pattern(10 * CHUNK_BYTES))
    assert pool_stats()[0] == used + 10
    del queue
    assert pool_stats()[0] == used


def test_the_pool_keeps_only_so_many_free_chunks() -> None:
    queue = ByteQueue()
    queue.append(bytes((POOL_KEEP + 50) * CHUNK_BYTES))
    queue.discard(len(queue))
    assert pool_stats()[1] == POOL_KEEP
    queue.append(b"x")
    assert pool_stats()[1] == POOL_KEEP - 1


def test_free_chunks_are_used_again_and_clean() -> None:
    before, _ = pool_stats()
    queue = ByteQueue()
    for number in range(1000):
        data = pattern(CHUNK_BYTES + number, number)
        queue.append(data)
        queue.discard(5)
        assert drain(queue) == data[5:]
    used, free = pool_stats()
    assert free <= POOL_KEEP
    assert used == before


@pytest.mark.parametrize("length", [-1, 4, 2**40])
def test_no_more_can_be_discarded_than_is_there(length: int) -> None:
    queue = ByteQueue()
    queue.append(b"abc")
    with pytest.raises(ValueError, match="of 3 bytes"):
        queue.discard(length)
    assert drain(queue) == b"abc"


def test_nothing_is_queued_for_nothing() -> None:
    used, _ = pool_stats()
    queue = ByteQueue()
    queue.append(b"")
    queue.discard(0)
    assert (len(queue), queue.peek(), pool_stats()[0]) == (0, b"", used)


def test_what_is_appended_is_copied() -> None:
    queue = ByteQueue()
    data = bytearray(b"before")
    queue.append(data)
    data[:] = b"after!"
    assert queue.peek() == b"before"


def test_only_bytes_can_be_queued() -> None:
    with pytest.raises(TypeError):
        ByteQueue().append("text")  # type: ignore[arg-type]
