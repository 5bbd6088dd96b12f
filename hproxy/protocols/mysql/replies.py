# SPDX-License-Identifier: Apache-2.0
"""How a server ends what was asked: OK, ERR and EOF packets, and the session state in an OK.

Clients and servers read the text of an OK as length-encoded whatever the capabilities say
(the manual's "rest of packet" is not what either does), and leave it out when there is
neither text nor session state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

from hproxy._native.cursor import Cursor
from hproxy.protocols.mysql.constants import Capability, ServerStatus, TrackedKind
from hproxy.protocols.mysql.wire import (
    MalformedPacket,
    lenenc,
    lenenc_string,
    reading,
    u8,
    u16,
)

__all__ = [
    "EOF_HEADER",
    "ERR_HEADER",
    "OK_HEADER",
    "PROGRESS_REPORT",
    "EofPacket",
    "ErrPacket",
    "OkPacket",
    "SessionChange",
    "is_eof",
    "parse_session_track",
]

OK_HEADER = 0x00
EOF_HEADER = 0xFE
ERR_HEADER = 0xFF
PROGRESS_REPORT = 0xFFFF
"""MariaDB's number of an ERR packet that is none: a progress report, more will follow."""

# A row may also begin with 0xFE, but then announces a string of 2^24 bytes or more.
EOF_LONGEST = 8
SQLSTATE_BYTES = 5

# The manual says the same of STATE_CHANGE, but both servers send its "1" as it is.
NESTED = frozenset(
    {
        TrackedKind.SCHEMA,
        TrackedKind.TRANSACTION_CHARACTERISTICS,
        TrackedKind.TRANSACTION_STATE,
    }
)


class SessionChange(NamedTuple):
    """One fact of an OK's session state; `name` is that of the variable, else b""."""

    kind: int
    name: bytes
    value: bytes


def parse_session_track(blob: bytes) -> tuple[SessionChange, ...]:
    """The facts in `OkPacket.session_track`. Raises MalformedPacket.

    Spec: MySQL "OK_Packet", "Session State Information". MariaDB packs several variables
    into one entry, MySQL one; kinds we do not know keep their bytes in `value`.
    """
    changes: list[SessionChange] = []
    with reading("session state"):
        entries = Cursor(blob)
        while entries.remaining:
            kind = entries.u8()
            entry = Cursor(entries.lenenc_bytes())
            if kind == TrackedKind.SYSTEM_VARIABLES:
                while entry.remaining:
                    name = entry.lenenc_bytes()
                    changes.append(SessionChange(kind, name, entry.lenenc_bytes()))
            elif kind == TrackedKind.GTIDS:
                entry.skip(1)  # the encoding; 0, text, is the only one there is
                changes.append(SessionChange(kind, b"", entry.lenenc_bytes()))
            elif kind in NESTED:
                changes.append(SessionChange(kind, b"", entry.lenenc_bytes()))
            else:
                changes.append(SessionChange(kind, b"", entry.rest()))
    return tuple(changes)


@dataclass(frozen=True, slots=True)
class OkPacket:
    """Done. With DEPRECATE_EOF it also ends result sets, then with `header` 0xFE."""

    affected_rows: int = 0
    insert_id: int = 0
    status: ServerStatus = ServerStatus.AUTOCOMMIT
    warnings: int = 0
    info: bytes = b""
    session_track: bytes = b""
    header: int = OK_HEADER

    @classmethod
    def parse(cls, payload: bytes, capabilities: Capability) -> Self:
        """Read an OK of a connection with `capabilities`. Raises MalformedPacket."""
        with reading("OK packet"):
            cursor = Cursor(payload)
            header = cursor.u8()
            if header not in (OK_HEADER, EOF_HEADER):
                raise MalformedPacket("OK packet", f"begins with {header:#04x}", 0)
            affected_rows = cursor.lenenc_int()
            insert_id = cursor.lenenc_int()
            status = ServerStatus(cursor.u16())
            warnings = cursor.u16()
            info = cursor.lenenc_bytes() if cursor.remaining else b""
            session_track = b""
            if (
                Capability.SESSION_TRACK in capabilities
                and ServerStatus.SESSION_STATE_CHANGED in status
                and cursor.remaining
            ):
                session_track = cursor.lenenc_bytes()
        return cls(affected_rows, insert_id, status, warnings, info, session_track, header)

    def build(self, capabilities: Capability) -> bytes:
        """The payload for a connection with `capabilities`."""
        out = [
            u8(self.header),
            lenenc(self.affected_rows),
            lenenc(self.insert_id),
            u16(self.status),
            u16(self.warnings),
        ]
        tracked = (
            Capability.SESSION_TRACK in capabilities
            and ServerStatus.SESSION_STATE_CHANGED in self.status
        )
        if self.info or tracked:
            out.append(lenenc_string(self.info))
        if tracked:
            out.append(lenenc_string(self.session_track))
        return b"".join(out)

    @property
    def session_changes(self) -> tuple[SessionChange, ...]:
        """What `session_track` says. Raises MalformedPacket."""
        return parse_session_track(self.session_track)


@dataclass(frozen=True, slots=True)
class ErrPacket:
    """Refused. `sqlstate` is None where none may be sent: before the server's greeting."""

    number: int
    message: bytes
    sqlstate: bytes | None = b"HY000"

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read an ERR packet, with or without SQLSTATE. Raises MalformedPacket."""
        with reading("ERR packet"):
            cursor = Cursor(payload)
            if (header := cursor.u8()) != ERR_HEADER:
                raise MalformedPacket("ERR packet", f"begins with {header:#04x}", 0)
            number = cursor.u16()
            sqlstate = None
            if number != PROGRESS_REPORT and cursor.remaining and cursor.peek() == ord("#"):
                cursor.skip(1)
                sqlstate = cursor.take(SQLSTATE_BYTES)
            return cls(number, cursor.rest(), sqlstate)

    def build(self) -> bytes:
        """The payload."""
        if self.sqlstate is None:
            return u8(ERR_HEADER) + u16(self.number) + self.message
        if len(self.sqlstate) != SQLSTATE_BYTES:
            raise ValueError(f"an SQLSTATE has {SQLSTATE_BYTES} characters: {self.sqlstate!r}")
        return u8(ERR_HEADER) + u16(self.number) + b"#" + self.sqlstate + self.message

    @property
    def is_progress(self) -> bool:
        """A progress report: not an error, and not the end of anything."""
        return self.number == PROGRESS_REPORT


@dataclass(frozen=True, slots=True)
class EofPacket:
    """The end of definitions or rows, for those without DEPRECATE_EOF."""

    status: ServerStatus = ServerStatus.AUTOCOMMIT
    warnings: int = 0

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read an EOF packet. Raises MalformedPacket."""
        if not is_eof(payload):
            raise MalformedPacket("EOF packet", "too long, or of another kind", 0)
        with reading("EOF packet"):
            cursor = Cursor(payload)
            cursor.skip(1)
            warnings = cursor.u16()
            return cls(ServerStatus(cursor.u16()), warnings)

    def build(self) -> bytes:
        """The payload."""
        return u8(EOF_HEADER) + u16(self.warnings) + u16(self.status)


def is_eof(payload: bytes) -> bool:
    """Whether this is an EOF packet rather than a row, or an OK, that begins with 0xFE.

    Only where no OK with that header can come; with DEPRECATE_EOF there are no EOF packets.
    """
    return 0 < len(payload) <= EOF_LONGEST and payload[0] == EOF_HEADER
