# SPDX-License-Identifier: Apache-2.0
"""What a login machine and its driver say to each other; no I/O, no protocol.

A login (client's, backend's, or both relayed) is a state machine without sockets:

    driver ── event ──> machine.receive ── actions ──> driver ── performs, awaits ──> event ...

The last action of a list says what to wait for: `Read` a packet, `StartTls`, `Lookup` an
account, `Work`; or how it ended: `Done`, `Refuse`. There is always exactly one thing to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from hproxy.errors import HProxyError

__all__ = [
    "AccountFound",
    "Action",
    "ChangeUser",
    "Compress",
    "Done",
    "Event",
    "Kill",
    "Login",
    "Lookup",
    "PacketArrived",
    "Plain",
    "Read",
    "ReadAny",
    "Refuse",
    "Secured",
    "Send",
    "Side",
    "SlowCommand",
    "StartTls",
    "Work",
    "Worked",
]


class Side(Enum):
    """Whose connection: the client's (downstream) or the backend's (upstream)."""

    CLIENT = "client"
    BACKEND = "backend"


@dataclass(frozen=True, slots=True)
class Send:
    """Write one packet; framing and sequence ids are the channel's."""

    side: Side
    payload: bytes = field(repr=False)  # may be a password


@dataclass(frozen=True, slots=True)
class Read:
    """Wait for the next packet from `side`."""

    side: Side


@dataclass(frozen=True, slots=True)
class ReadAny:
    """Wait for the next packet from either side: a plugin whose turns are not known to us."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """Run the TLS handshake with `side`."""

    side: Side


@dataclass(frozen=True, slots=True)
class Compress:
    """From here on `side` is compressed, both ways; `codec` packs and unpacks."""

    side: Side
    codec: Any


@dataclass(frozen=True, slots=True)
class Lookup:
    """Find the account of this user name."""

    user: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """Run `steps` to their end; it takes long, so let others have their turn in between."""

    steps: Generator[None, None, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """Login succeeded; `result` is the machine's own dataclass of facts."""

    result: Any


@dataclass(frozen=True, slots=True)
class Refuse:
    """Login failed. `packet` is what the client shall read, when somebody said it already."""

    error: HProxyError
    packet: bytes | None = None


@dataclass(frozen=True, slots=True)
class PacketArrived:
    """A whole packet came in."""

    side: Side
    payload: bytes = field(repr=False)  # may be a password


@dataclass(frozen=True, slots=True)
class Secured:
    """The TLS handshake with `side` succeeded."""

    side: Side


@dataclass(frozen=True, slots=True)
class AccountFound:
    """The answer to `Lookup`; None when there is no such account."""

    account: Any


@dataclass(frozen=True, slots=True)
class Worked:
    """What the steps of `Work` returned."""

    result: Any = field(repr=False)


Action = Send | Read | ReadAny | StartTls | Compress | Lookup | Work | Done | Refuse
Event = PacketArrived | Secured | AccountFound | Worked


class Login(Protocol):
    """A login conversation without I/O."""

    def start(self) -> Sequence[Action]:
        """The first actions."""

    def receive(self, event: Event) -> Sequence[Action]:
        """What to do about `event`. Raises ClientError or BackendProtocolError."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A command the slow lane looked at and found ordinary: forward it as it is."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The client wants a connection (or only its query) killed."""

    target: int
    """The id the client knows: ours, if a session of ours has it."""
    query_only: bool
    rewrite: Callable[[int], bytes]
    """The same command with another id, as a payload."""
    alone: bool = True
    """False when other statements follow in the same text."""


@dataclass(frozen=True, slots=True)
class ChangeUser:
    """The client wants to become somebody else on the same connection."""

    payload: bytes = field(repr=False)


SlowCommand = Plain | Kill | ChangeUser
