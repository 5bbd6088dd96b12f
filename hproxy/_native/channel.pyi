# SPDX-License-Identifier: Apache-2.0
"""MySQL packets over an endpoint for code that awaits (the slow lane)."""

from ssl import SSLContext
from typing import final

from hproxy._native.compression import Codec
from hproxy._native.endpoint import Endpoint, Owner

@final
class Channel(Owner):
    """Reads and writes whole packets; sequence ids are checked and counted."""

    seq: int
    """Next sequence id, expected or sent; set it to 0 before each command."""
    limit: int
    """Longest packet accepted, in bytes."""
    said: list[bytes | None] | None
    """Packets that somebody else has sent: written again in this order they are only counted.

    None stands for any packet."""
    def __init__(self, endpoint: Endpoint, side: str, limit: int = ...) -> None:
        """Take over `endpoint`; `side` ("client" or "backend") decides which errors are raised."""
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def side(self) -> str: ...
    async def read_packet(self) -> bytes:
        """The next packet's payload, joined over continuations.

        Raises ClientError (code client.gone, client.sequence, client.oversized) or, on the
        backend's side, BackendLost and BackendProtocolError.
        """
    def write_packet(self, payload: bytes) -> None:
        """Send one packet, split at 16 MiB - 1 with a closing short frame."""
    def write_packets(self, payloads: list[bytes]) -> None:
        """Send several packets in one go."""
    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written."""
    async def start_tls(
        self, context: SSLContext, *, server_side: bool, server_hostname: str | None = None
    ) -> None:
        """Run the TLS handshake over what follows. Raises like `read_packet`."""
    def start_compression(self, codec: Codec) -> None:
        """All that follows, unread bytes included, goes in compressed frames, both ways."""
    @property
    def gone(self) -> bool:
        """Whether nothing more can come from the peer: known as soon as it has left."""
    @property
    def clean(self) -> bool: ...
    def detach(self) -> Endpoint:
        """Give the endpoint, unread bytes included, to the next owner."""
    def finish(self) -> None:
        """Flush, then close politely."""
    def close(self) -> None:
        """Close at once."""
