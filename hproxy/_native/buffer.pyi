# SPDX-License-Identifier: Apache-2.0
"""A first-in first-out byte queue over pooled chunks (send queues of slow peers)."""

from typing import final

from typing_extensions import Buffer

CHUNK_BYTES: int

@final
class ByteQueue:
    """Bytes waiting to be sent; empty queues own no memory."""

    @property
    def size(self) -> int:
        """Bytes queued."""
    def append(self, data: Buffer) -> None:
        """Queue a copy of `data`. Raises MemoryError."""
    def peek(self) -> bytes:
        """The longest contiguous run at the front, at most one chunk; b"" when empty."""
    def discard(self, length: int) -> None:
        """Drop `length` bytes from the front. Raises ValueError beyond `size`."""
    def __len__(self) -> int: ...

def pool_stats() -> tuple[int, int]:
    """(chunks in use, chunks on the free list), for leak tests and metrics."""
