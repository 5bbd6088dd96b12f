# SPDX-License-Identifier: Apache-2.0
"""What waits for slow peers is counted in chunks."""

from __future__ import annotations

from hproxy._native.buffer import CHUNK_BYTES, ByteQueue
from hproxy.telemetry.buffers import buffered_bytes


def test_chunks_that_are_in_use() -> None:
    before = buffered_bytes()
    queue = ByteQueue()
    queue.append(b"x" * (CHUNK_BYTES + 1))
    assert buffered_bytes() == before + 2 * CHUNK_BYTES
    queue.discard(CHUNK_BYTES + 1)
    assert buffered_bytes() == before
