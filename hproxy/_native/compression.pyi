# SPDX-License-Identifier: Apache-2.0
"""MySQL's compressed frames, between a socket and the packets in them."""

from typing import Protocol, final, type_check_only

from typing_extensions import Buffer

@type_check_only
class Codec(Protocol):
    """One algorithm at one level."""

    def compress(self, data: Buffer) -> bytes: ...
    def decompress(self, data: Buffer, size: int) -> bytes:
        """Exactly `size` bytes, never more in memory. Raises ValueError for anything else."""

@final
class CompressedStream:
    """Both directions of one connection; `server` when the peer is the one that asks."""

    def __init__(self, codec: Codec, server: bool) -> None: ...
    @property
    def fault(self) -> str | None:
        """What is wrong with the peer's bytes."""
    def receive(self, data: bytes) -> bytes:
        """The packets in `data` and what came before it; for tests and clients of ours."""
    def send(self, data: bytes) -> bytes:
        """`data`, whole packets or parts of them, in frames."""
