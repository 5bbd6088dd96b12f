# SPDX-License-Identifier: Apache-2.0
"""One connected socket in the reactor, its leftover input and its send queue."""

from typing import final

from typing_extensions import disjoint_base

from hproxy._native.reactor import Pollable, Reactor

@disjoint_base
class Owner:
    """Who is told what an endpoint hears; implemented by native classes only."""

@final
class Endpoint(Pollable):
    """Takes ownership of `fd`, a connected non-blocking stream socket."""

    def __init__(self, reactor: Reactor, fd: int) -> None:
        """Raises OSError when the reactor cannot watch the descriptor."""
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    @property
    def secured(self) -> bool:
        """Whether the TLS handshake has finished."""
    @property
    def compressed(self) -> bool:
        """Whether packets go in compressed frames."""
    @property
    def tls_version(self) -> str | None:
        """ "TLSv1.3" and the like; None without TLS."""
    def send_queue(self) -> int:
        """Bytes the peer has not taken yet."""
    def finish(self, fin: bool = True) -> None:
        """Flush, send FIN, read to the peer's end (5 s at most without progress), close.

        Without `fin` the peer, told to by its protocol, closes first: the port that stays
        in TIME_WAIT is then its, not one of our few towards a backend.
        """
    def close(self) -> None:
        """Close at once; what is queued is lost."""
    def part(self) -> int:
        """Watch the descriptor no more: it is the caller's from here on, and nothing was said to
        the peer. What was read and not taken is lost; -1 when it is closed already."""
