# SPDX-License-Identifier: Apache-2.0
"""The frame of login machines: dispatch by the table, and whose mistake malformed bytes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, auto
from typing import ClassVar

import pytest

from hproxy.errors import AuthError, BackendProtocolError, ClientError
from hproxy.protocols.model import (
    AccountFound,
    Action,
    Done,
    Event,
    PacketArrived,
    Read,
    Refuse,
    Secured,
    Side,
)
from hproxy.protocols.mysql.backend import BackendLogin
from hproxy.protocols.mysql.frontend import ClientLogin
from hproxy.protocols.mysql.machine import Machine, Row
from hproxy.protocols.mysql.relay import RelayLogin
from hproxy.protocols.mysql.wire import MalformedPacket
from tests.support.playbook import Playbook, Raises


class Mood(IntEnum):
    HELLO = auto()
    EITHER = auto()
    ENDED = auto()


class Parrot(Machine):
    """Hears the client once, then anybody."""

    def __init__(self) -> None:
        super().__init__(Mood.HELLO)

    def start(self) -> Sequence[Action]:
        return (Read(Side.CLIENT),)

    def on_hello(self, event: PacketArrived) -> Sequence[Action]:
        if event.payload == b"wrong":
            raise MalformedPacket("hello", "no feathers", 3)
        return self.to(Mood.EITHER, Read(Side.BACKEND))

    def on_either(self, event: PacketArrived) -> Sequence[Action]:
        if event.payload == b"wrong":
            raise MalformedPacket("chatter", "no feathers", 4)
        if event.payload == b"secret":
            raise AuthError("not telling", code="rsa")
        if event.payload == b"back":
            return self.to(Mood.HELLO)
        return self.to(Mood.ENDED, Done(event.payload))

    MAY_BE_EMPTY = frozenset({Mood.EITHER})
    AWAITS: ClassVar[Mapping[Mood, Row]] = {
        Mood.HELLO: (PacketArrived, Side.CLIENT, on_hello),
        Mood.EITHER: (PacketArrived, None, on_either),
    }
    NEXT: ClassVar[Mapping[Mood, frozenset[Mood]]] = {
        Mood.HELLO: frozenset({Mood.EITHER}),
        Mood.EITHER: frozenset({Mood.ENDED}),
    }


def heard(side: Side, payload: bytes) -> Playbook:
    """After the hello, `payload` from `side`."""
    book = Playbook(Parrot()) << Read(Side.CLIENT) >> PacketArrived(Side.CLIENT, b"hello")
    return book << Read(Side.BACKEND) >> PacketArrived(side, payload)


def test_a_conversation() -> None:
    assert (heard(Side.BACKEND, b"bye") << Done(b"bye")).machine.state is Mood.ENDED


def test_malformed_is_the_mistake_of_who_sent_it() -> None:
    book = heard(Side.CLIENT, b"wrong") << Raises(ClientError, "client.malformed")
    assert book.raised.facts == {"offset": 4}
    book = heard(Side.BACKEND, b"wrong") << Raises(BackendProtocolError, "backend.protocol")
    assert "no feathers" in str(book.raised)


def test_an_auth_error_refuses() -> None:
    book = heard(Side.BACKEND, b"secret") << Refuse
    assert (book.refused.full_code, book.machine.state) == ("auth.rsa", Mood.ENDED)


def test_empty_packets() -> None:
    """Only a client, and only where a plugin may have nothing to say."""
    heard(Side.CLIENT, b"") << Done(b"")
    heard(Side.BACKEND, b"") << Raises(BackendProtocolError, "backend.protocol")
    book = Playbook(Parrot()) << Read(Side.CLIENT) >> PacketArrived(Side.CLIENT, b"")
    book << Raises(ClientError, "client.malformed")


def test_a_state_change_outside_the_table_is_our_mistake() -> None:
    with pytest.raises(RuntimeError, match=r"no way from .*EITHER.* to .*HELLO"):
        heard(Side.CLIENT, b"back")


@pytest.mark.parametrize(
    "event",
    [PacketArrived(Side.BACKEND, b"x"), Secured(Side.CLIENT), AccountFound(None)],
)
def test_an_event_nobody_awaits_is_our_mistake(event: Event) -> None:
    with pytest.raises(RuntimeError, match="Parrot: "):
        Parrot().receive(event)


@pytest.mark.parametrize("machine", [RelayLogin, ClientLogin, BackendLogin])
def test_tables_fit_together(machine: type[Machine]) -> None:
    """Whatever is awaited can go on, whatever can follow is awaited or the end."""
    assert set(machine.AWAITS) <= set(machine.NEXT)
    following = {state for states in machine.NEXT.values() for state in states}
    assert {state.name for state in following - set(machine.AWAITS)} == {"ENDED"}
    assert set(machine.AWAITS) >= machine.MAY_BE_EMPTY
