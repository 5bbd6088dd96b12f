# SPDX-License-Identifier: Apache-2.0
"""What servers can do and what was agreed: profiles, capabilities, connection attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hproxy.errors import BackendProtocolError
from hproxy.protocols.base import LoginOptions
from hproxy.protocols.mysql.compression import COMPRESSION
from hproxy.protocols.mysql.constants import Capability, MariadbCapability, ServerStatus
from hproxy.protocols.mysql.handshake import Attributes, Greeting
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = ["STRIPPED", "Profile", "client_attributes", "meet", "profile", "split", "wide"]

# Compression and TLS are each side's own affair.
STRIPPED = COMPRESSION | Capability.SSL
_MARIADB_SHIFT = 32


@dataclass(frozen=True, slots=True)
class Profile:
    """What a backend's greeting says of it; what clients are greeted with in table mode."""

    server_version: bytes
    capabilities: Capability
    mariadb: MariadbCapability
    charset: int
    status: ServerStatus


def profile(greeting: bytes) -> Profile:
    """Read a greeting's profile. Raises BackendProtocolError."""
    try:
        packet = Greeting.parse(greeting)
    except MalformedPacket as error:
        raise BackendProtocolError(str(error)) from error
    return Profile(
        packet.server_version,
        packet.capabilities & ~STRIPPED,
        packet.mariadb,
        packet.charset,
        packet.status,
    )


def meet(profiles: Sequence[Profile]) -> Profile:
    """What every one of `profiles` can do, so that any of them may serve the client."""
    first, *others = profiles
    capabilities, mariadb = first.capabilities, first.mariadb
    for other in others:
        # LONG_PASSWORD absent means "MariaDB"; a mixed group must not claim the extension.
        capabilities = (capabilities & other.capabilities) | (
            (capabilities | other.capabilities) & Capability.LONG_PASSWORD
        )
        mariadb &= other.mariadb
    return Profile(first.server_version, capabilities, mariadb, first.charset, first.status)


def wide(capabilities: Capability, mariadb: MariadbCapability) -> int:
    """Both sets in one number, MariaDB's in the upper 32 bits."""
    return int(capabilities) | int(mariadb) << _MARIADB_SHIFT


def split(number: int) -> tuple[Capability, MariadbCapability]:
    """The two sets of a `wide` number."""
    return Capability(number & 0xFFFFFFFF), MariadbCapability(number >> _MARIADB_SHIFT)


def client_attributes(sent: Attributes, options: LoginOptions) -> Attributes:
    """The client's attributes and ours; a client cannot forge what only the proxy knows."""
    if not options.attributes:
        return sent
    ours = ((b"_client_ip", options.client_host.encode()), (b"_proxy_name", b"hproxy"))
    names = {name for name, _ in ours}
    return tuple(pair for pair in sent if pair[0] not in names) + ours
