# SPDX-License-Identifier: Apache-2.0
"""Recorded command phases, cut into exchanges: a command and all that answered it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import HandshakeResponse, SslRequest
from tests.captures.reading import Conversation, conversations

__all__ = ["Exchange", "exchanges"]

ERR = 0xFF
AUTHENTICATION = frozenset({0x11})  # answered by an exchange of its own
BIG_COMMAND = "big_command"  # its command is 16 MiB long and was not written down


@dataclass(slots=True)
class Exchange:
    """One command and its response, frames included."""

    name: str
    command: bytes
    deprecate_eof: bool
    query_attributes: bool = False
    turns: list[tuple[bool, bytes]] = field(default_factory=list)
    """(the client's, bytes) in order: the response, with the client's file between if any."""

    @property
    def code(self) -> int:
        return self.command[4]

    @property
    def response(self) -> bytes:
        """What the backend sent, up to a file and after it."""
        return b"".join(data for client, data in self.turns if not client)


def split(conversation: Conversation) -> list[Exchange]:
    frames = conversation.frames
    starts = [n for n, frame in enumerate(frames) if frame.remark == "OK" and not frame.client]
    if not starts or conversation.name.endswith(BIG_COMMAND):
        return []
    response = next(
        HandshakeResponse.parse(frame.payload)
        for frame in frames
        if frame.client and not SslRequest.matches(frame.payload)
    )
    found: list[Exchange] = []
    for frame in frames[starts[0] + 1 :]:
        if frame.client and frame.data[3] == 0:
            place = f"{conversation.name.removeprefix('mysql/')} {len(found)}"
            found.append(
                Exchange(
                    place,
                    frame.data,
                    Capability.DEPRECATE_EOF in response.capabilities,
                    Capability.QUERY_ATTRIBUTES in response.capabilities,
                )
            )
        elif found and not (frame.data[3] == 0 and frame.payload[0] == ERR):
            # An ERR under number 0 is one that nobody asked for.
            turns = found[-1].turns
            if turns and turns[-1][0] == frame.client:
                turns[-1] = (frame.client, turns[-1][1] + frame.data)
            else:
                turns.append((frame.client, frame.data))
    return [exchange for exchange in found if exchange.code not in AUTHENTICATION]


def exchanges() -> list[Exchange]:
    """Those of all recordings."""
    return [exchange for each in conversations("mysql") for exchange in split(each)]
