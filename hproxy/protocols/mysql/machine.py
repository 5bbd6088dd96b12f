# SPDX-License-Identifier: Apache-2.0
"""The frame of a login machine: a table of what each state awaits and where it may go.

A machine is a class with three tables and one method per state:

    State    the names, an IntEnum
    AWAITS   state -> (event, side, method); what comes otherwise is a broken protocol
    NEXT     state -> states that may follow; anything else is our own mistake and raises
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar

from hproxy.errors import AuthError, BackendProtocolError, ClientError, HProxyError
from hproxy.protocols.model import Action, Event, PacketArrived, Refuse, Side
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import ChangeUser
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = ["Machine", "Row", "read_change"]

Row = tuple[type[Any], Side | None, Callable[[Any, Any], Sequence[Action]]]


class Machine:
    """State, dispatch and the conversion of malformed packets into somebody's mistake."""

    AWAITS: ClassVar[Mapping[Any, Row]] = {}
    NEXT: ClassVar[Mapping[Any, frozenset[Any]]] = {}
    MAY_BE_EMPTY: ClassVar[frozenset[Any]] = frozenset()
    """States in which a client may send an empty packet: how no password answers a switch."""

    def __init__(self, first: IntEnum) -> None:
        self.state = first

    def to(self, state: IntEnum, *actions: Action) -> Sequence[Action]:
        """Change the state, the only way to do so, and hand back `actions`."""
        if state not in self.NEXT[self.state]:
            raise RuntimeError(f"{type(self).__name__}: no way from {self.state!r} to {state!r}")
        self.state = state
        return actions

    def receive(self, event: Event) -> Sequence[Action]:
        """Dispatch by the table. Raises ClientError or BackendProtocolError.

        An AuthError of a method is a refusal.
        """
        kind, side, method = self.AWAITS[self.state]
        came_from = getattr(event, "side", None)
        if not isinstance(event, kind) or (side is not None and came_from is not side):
            raise RuntimeError(f"{type(self).__name__}: {event!r} in {self.state!r}")
        if isinstance(event, PacketArrived) and not event.payload and not self._may_be_empty(event):
            raise broken(event.side, "an empty packet", 0)
        try:
            return method(self, event)
        except MalformedPacket as error:
            raise broken(came_from, str(error), error.offset) from error
        except AuthError as error:
            return self.to(type(self.state)["ENDED"], Refuse(error))

    def _may_be_empty(self, event: PacketArrived) -> bool:
        return event.side is Side.CLIENT and self.state in self.MAY_BE_EMPTY


def read_change(payload: bytes, capabilities: Capability) -> ChangeUser:
    """The client's COM_CHANGE_USER. Raises ClientError."""
    try:
        return ChangeUser.parse(payload, capabilities)
    except MalformedPacket as error:
        raise broken(Side.CLIENT, str(error), error.offset) from error


def broken(side: Side | None, reason: str, offset: int | None) -> HProxyError:
    """The error for bytes of `side` that make no sense."""
    if side is Side.CLIENT:
        return ClientError(reason, code="malformed", offset=offset)
    return BackendProtocolError(reason, offset=offset)
