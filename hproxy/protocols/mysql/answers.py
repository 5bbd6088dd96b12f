# SPDX-License-Identifier: Apache-2.0
"""Answers given to clients without a server, and OKs of one as the client is to see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.client_tracking import build_session_track
from hproxy.protocols.mysql.constants import Capability, ServerStatus, TrackedKind
from hproxy.protocols.mysql.facts import Facts
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.replies import (
    EOF_HEADER,
    EofPacket,
    OkPacket,
    SessionChange,
    parse_session_track,
)
from hproxy.protocols.mysql.results import column, err, text_resultset

__all__ = [
    "EMPTY_COMMAND",
    "EOF_BYTES",
    "INITIAL_STATUS",
    "INTERRUPTED",
    "LASTING_STATUS",
    "UNKNOWN_INTERNAL",
    "killed_itself",
    "login_ok",
    "one_text",
    "option_set",
    "read_ok",
    "reset_ok",
    "shown_ok",
    "transaction_told",
    "with_status",
]

# What holds between statements; the rest of the flags is about the last one.
LASTING_STATUS = int(
    ServerStatus.IN_TRANS
    | ServerStatus.AUTOCOMMIT
    | ServerStatus.NO_BACKSLASH_ESCAPES
    | ServerStatus.IN_TRANS_READONLY
    | ServerStatus.ANSI_QUOTES
)
INITIAL_STATUS = int(ServerStatus.AUTOCOMMIT)
EOF_BYTES = 5
INTERRUPTED = err(1317, "Query execution was interrupted", b"70100")
EMPTY_COMMAND = err(1047, "Unknown command", b"08S01")


def read_ok(payload: bytes, login: LoginResult) -> tuple[OkPacket, tuple[SessionChange, ...]]:
    """A backend's OK with session state. Raises MalformedPacket."""
    agreed, _ = split(login.capabilities)
    packet = OkPacket.parse(payload, agreed | Capability.SESSION_TRACK)
    return packet, parse_session_track(packet.session_track)


def shown_ok(packet: OkPacket, view: bytes | None, login: LoginResult) -> bytes:
    """The same OK with the session state the client asked for."""
    agreed, _ = split(login.capabilities)
    status = packet.status & ~ServerStatus.SESSION_STATE_CHANGED
    shown = b""
    if view is not None and Capability.SESSION_TRACK in agreed:
        status |= ServerStatus.SESSION_STATE_CHANGED
        shown = view
    return replace(packet, session_track=shown, status=status).build(agreed)


def reset_ok(login: LoginResult) -> bytes:
    """The answer to COM_RESET_CONNECTION."""
    agreed, _ = split(login.capabilities)
    return OkPacket(status=ServerStatus(INITIAL_STATUS)).build(agreed)


def login_ok(login: LoginResult) -> bytes:
    """The answer to a login that no backend was asked about; it tells of the schema."""
    agreed, _ = split(login.capabilities)
    packet = OkPacket(status=ServerStatus(INITIAL_STATUS))
    if login.database and Capability.SESSION_TRACK in agreed:
        schema = SessionChange(TrackedKind.SCHEMA, b"", login.database)
        packet = replace(
            packet,
            status=packet.status | ServerStatus.SESSION_STATE_CHANGED,
            session_track=build_session_track((schema,), False),
        )
    return packet.build(agreed)


def transaction_told(changes: Iterable[SessionChange]) -> tuple[bytes | None, bytes | None]:
    """The letters of the transaction's state and the text of its characteristics, if told."""
    letters = text = None
    for change in changes:
        if change.kind == TrackedKind.TRANSACTION_STATE:
            letters = change.value
        elif change.kind == TrackedKind.TRANSACTION_CHARACTERISTICS:
            text = change.value
    return letters, text


def with_status(packets: list[bytes], status: int, login: LoginResult) -> list[bytes]:
    """A result set that was kept, ending with the status flags of now."""
    agreed, _ = split(login.capabilities)
    tail = (status & LASTING_STATUS).to_bytes(2, "little")
    if Capability.DEPRECATE_EOF in agreed:
        last = replace(
            OkPacket.parse(packets[-1], agreed), status=ServerStatus(status & LASTING_STATUS)
        )
        return [*packets[:-1], last.build(agreed)]
    return [
        packet[:3] + tail if len(packet) == EOF_BYTES and packet[0] == EOF_HEADER else packet
        for packet in packets
    ]


def option_set(status: int, login: LoginResult) -> bytes:
    """The answer to COM_SET_OPTION."""
    agreed, _ = split(login.capabilities)
    kept = ServerStatus(status & LASTING_STATUS)
    if Capability.DEPRECATE_EOF in agreed:
        return OkPacket(status=kept, header=EOF_HEADER).build(agreed)
    return EofPacket(kept).build()


def one_text(name: str, value: str, status: int, login: LoginResult) -> list[bytes]:
    """A result set of one column and one row, told by us."""
    agreed, _ = split(login.capabilities)
    kept = ServerStatus(status & LASTING_STATUS)
    return text_resultset([column(name)], [(value,)], agreed, kept)


UNKNOWN_INTERNAL = err(1064, "Unknown PROXYSQL INTERNAL command", b"42000")
"""The answer to what none of us knows."""


def killed_itself(query_only: bool, facts: Facts) -> bytes:
    """The servers' answer to a KILL of who says it."""
    if query_only or facts.mysql:
        return INTERRUPTED
    return err(1927, "Connection was killed", b"70100")
