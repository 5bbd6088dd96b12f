# SPDX-License-Identifier: Apache-2.0
"""One side of a session: performs steps on a connection and tells what came back.

What must differ between the sides is mapped to one word: the letter in the names of databases, and
the ids of prepared statements. Everything else is given as it came.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass, replace

from hproxy._native.cursor import Cursor
from hproxy.protocols.mysql import constants
from hproxy.protocols.mysql.constants import Capability, FieldType, ServerStatus
from hproxy.protocols.mysql.handshake import ChangeUser as ChangeUserPacket
from hproxy.protocols.mysql.replies import EofPacket, OkPacket
from hproxy.protocols.mysql.wire import MalformedPacket, frames, lenenc, lenenc_string
from tests.support.recording_client import Login, RecordingClient, Refused
from tests.torture.step import (
    DB,
    Ahead,
    ChangeUser,
    Close,
    Command,
    Execute,
    Fetch,
    InitDb,
    LongData,
    Prepare,
    Query,
    Reconnect,
    Reset,
    Step,
    Value,
)

__all__ = ["Actor", "Answer", "Side", "shown"]

# For what names a statement that is not there: the same number on both sides.
NOWHERE = 0x7FFFFFF0
SCHEMA = 1  # SESSION_TRACK_SCHEMA
VARIABLE = 0  # SESSION_TRACK_SYSTEM_VARIABLES
STATE = 2  # SESSION_TRACK_STATE_CHANGE
LOOKED = 5
TRANSACTION = (4, 5)  # SESSION_TRACK_TRANSACTION_CHARACTERISTICS and _STATE
LOOKS = re.compile(rb"(?i)show\b.*\bvariables|session_track_")
# MariaDB's ids go on from connection to connection: in ERR 1243 and 1421 of commands, and as rows
# of SHOW WARNINGS, where the length of the text comes before it.
NUMBERED = re.compile(rb"(?s)^(\xff(?:\xdb\x04|\x8d\x05).*?)\(\d+\)")
NUMBERED_ROW = re.compile(rb"(?s)(\x04(?:1243|1421)|(?:\xdb\x04|\x8d\x05)\x00\x00).(.*?)\(\d+\)")

# MariaDB numbers a row where there is none, by whatever ran before.
ROWLESS = re.compile(rb"((?:``\.``\.`\w*`|for column 'a') at row )\d+")

HINTS = (
    ServerStatus.NO_GOOD_INDEX_USED
    | ServerStatus.NO_INDEX_USED
    | ServerStatus.METADATA_CHANGED
    | ServerStatus.SESSION_STATE_CHANGED
)

Answer = tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Side:
    """Where to connect, and how this side's databases begin."""

    host: str
    port: int
    prefix: str

    def named(self, text: bytes) -> bytes:
        return text.replace(DB, self.prefix.encode())


class Actor:
    """A connection of one side, with its prepared statements by slot."""

    def __init__(self, side: Side, login: Login) -> None:
        self.side = side
        self.login = replace(login, database=side.named(login.database.encode()).decode())
        self.own = side.prefix.encode()
        # d and p, the last letter before the number of the database.
        self.common = self.own[:-1] + b"_"
        self.statements: dict[int, int] = {}
        self.closed = False
        self.looked = 0
        """At its session variables, so many statements outside of transactions ago at most."""
        self.schemas: list[bytes] = []
        """What it was told of its schema last, if anything."""
        self.client = self._connect()

    def _connect(self) -> RecordingClient:
        client = RecordingClient(self.side.host, self.side.port, self.login)
        # Before the first SELECT, MariaDB's FOUND_ROWS() tells of whoever was served before, and
        # of ids the proxy believes the OK until somebody asks.
        client.query("SELECT LAST_INSERT_ID()")
        client.take()
        self.statements.clear()
        self.closed = False
        return client

    def close(self) -> None:
        with suppress(OSError):
            if not self.closed:
                # MySQL can lose a table whose connection ends while it is flushed FOR EXPORT.
                with suppress(Refused, MalformedPacket, IndexError):
                    self.client.query("UNLOCK TABLES")
            self.client.send(bytes([constants.Command.QUIT]))
        self.client.close()

    def perform(self, step: Step) -> Answer:
        """The frames that answered; a frame of our own in brackets for what is no frame."""
        extra: tuple[tuple[int, bytes], ...] = ()
        if self.closed and not isinstance(step, Reconnect):
            return ((-1, b"<closed before>"),)
        if isinstance(step, Query):
            self.looked = LOOKED if LOOKS.search(step.sql) else self.looked
        try:
            self._do(step)
        except Refused as refused:
            extra = ((-1, b"<refused %d %s>" % (refused.packet.number, refused.packet.message)),)
            self.closed = True
        except TimeoutError:
            extra = ((-1, b"<no answer in time>"),)
            self.closed = True
        except (MalformedPacket, IndexError) as error:
            # Bytes the client cannot follow: what came is told, and there is no going on.
            extra = ((-1, b"<unreadable: %s>" % str(error).encode()),)
            self.closed = True
        except OSError:
            extra = ((-1, b"<closed>"),)
            self.closed = True
        # That state has changed is told by the next OK where rows left no room for it, which may
        # have been rows of ours.
        hidden = (STATE, *TRANSACTION * bool(self.looked))
        frames = self.client.take()
        got = tuple((frame.sequence, self._mapped(frame.payload, hidden)) for frame in frames)
        status = ending(got, self.client.capabilities).status
        if status is not None and ServerStatus.IN_TRANS not in status:
            self.looked = max(0, self.looked - 1)
        return got + extra

    def _mapped(self, payload: bytes, hidden: tuple[int, ...]) -> bytes:
        payload = payload.replace(self.own, self.common)
        payload = payload.replace(
            self.own.hex().upper().encode(), self.common.hex().upper().encode()
        )
        payload = _sorted_track(payload, self.client.capabilities, hidden, self.schemas)
        payload = ROWLESS.sub(rb"\1N", _without_hints(payload))
        return NUMBERED_ROW.sub(rb"\1.\2(N)", NUMBERED.sub(rb"\1(N)", payload))

    # -- steps -------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        client, named = self.client, self.side.named
        if isinstance(step, Query):
            client.query(named(step.sql), *step.files)
        elif isinstance(step, Ahead):
            packets = [client.query_packet(named(sql)) for sql in step.statements]
            client.socket.sendall(b"".join(frame for each in packets for frame in frames(each)))
            for _ in packets:
                client.answer(constants.Command.QUERY)
        elif isinstance(step, Prepare):
            self._prepare(step.slot, named(step.sql))
        elif isinstance(step, Execute):
            client.command(self._execute_packet(step))
        elif isinstance(step, LongData):
            head = struct.pack("<BIH", 0x18, self._id(step.slot), step.index)
            client.command(head + step.data)
        elif isinstance(step, Fetch):
            client.command(struct.pack("<BII", 0x1C, self._id(step.slot), step.count))
        elif isinstance(step, Reset):
            client.command(struct.pack("<BI", 0x1A, self._id(step.slot)))
        elif isinstance(step, Close):
            client.command(struct.pack("<BI", 0x19, self._id(step.slot)))
            self.statements.pop(step.slot, None)
        elif isinstance(step, InitDb):
            client.command(b"\x02" + named(step.name))
        elif isinstance(step, Command):
            client.command(named(step.payload))
            if step.payload[0] == constants.Command.RESET_CONNECTION:
                self.statements.clear()
        elif isinstance(step, ChangeUser):
            self._change_user(step)
        else:
            self.close()
            self.client = self._connect()

    def _id(self, slot: int) -> int:
        return self.statements.get(slot, NOWHERE)

    def _prepare(self, slot: int, sql: bytes) -> None:
        client = self.client
        before = len(client.received)
        answer = client.command(b"\x16" + sql)
        if answer[0][0] == 0:
            self.statements[slot] = int.from_bytes(answer[0][1:5], "little")
            head = client.received[before]
            masked = head.payload[:1] + bytes(4) + head.payload[5:]
            client.received[before] = replace(head, payload=masked)
        else:
            self.statements.pop(slot, None)

    def _execute_packet(self, step: Execute) -> bytes:
        payload = struct.pack("<BIBI", 0x17, self._id(step.slot), step.flags, 1)
        attributes = Capability.QUERY_ATTRIBUTES in self.client.capabilities
        if not step.values:
            return payload
        if attributes:
            payload += lenenc(len(step.values))
        bitmap = bytearray((len(step.values) + 7) // 8)
        types = data = b""
        for i, value in enumerate(step.values):
            if value is None:
                bitmap[i // 8] |= 1 << i % 8
            kind, encoded = _bound(value)
            types += kind + (b"\0" if attributes else b"")
            if i not in step.long:
                data += encoded
        head = bytes(bitmap) + (b"\x01" + types if step.bind else b"\x00")
        return payload + head + data

    def _change_user(self, step: ChangeUser) -> None:
        client = self.client
        packet = ChangeUserPacket(
            user=self.login.user.encode(),
            auth_response=b"",
            database=self.side.named(step.database),
            charset=step.charset,
            plugin=b"mysql_clear_password",  # nobody's default: both sides ask to switch
            attributes=(),
        )
        self.statements.clear()
        before = len(client.received)
        try:
            client.change_user(self.login, packet.build(client.capabilities))
        finally:
            # How the password was checked is each side's own affair.
            last = client.received[-1:]
            client.received[before:] = [replace(frame, sequence=0) for frame in last]


def _sorted_track(
    payload: bytes, capabilities: Capability, hidden: tuple[int, ...], schemas: list[bytes]
) -> bytes:
    """An OK with its tracked variables in order: MariaDB's own is that of a hash.

    A flag of session state with nothing behind it is taken for none: neither tells anything.
    What is told of transactions is `hidden` for who has looked at session variables in one, or
    shortly before: they are shown by switching the connection's tracking, which forgets what it
    would have told.
    A schema that was told before (the last of `schemas`) is left out: MariaDB tells it again some
    time after it ran a statement that was prepared in another.
    """
    if payload[:1] not in (b"\x00", b"\xfe") or Capability.SESSION_TRACK not in capabilities:
        return payload
    try:
        packet = OkPacket.parse(payload, capabilities)
        if not packet.session_track:
            if ServerStatus.SESSION_STATE_CHANGED not in packet.status:
                return payload
            status = packet.status & ~ServerStatus.SESSION_STATE_CHANGED
            return replace(packet, status=status).build(capabilities)
        cursor = Cursor(packet.session_track)
        entries = []
        while cursor.remaining:
            entries.append((cursor.u8(), cursor.lenenc_bytes()))
        told = [data for kind, data in entries if kind == SCHEMA]
        if told and told[-1:] == schemas[-1:]:
            entries = [entry for entry in entries if entry[0] != SCHEMA]
        schemas[:] = told[-1:] or schemas
        entries = [entry for entry in entries if entry[0] not in hidden]
    except (MalformedPacket, ValueError):
        return payload  # a row that begins like an OK
    entries.sort(key=lambda entry: (entry[0] != VARIABLE, entry[1] if not entry[0] else b""))
    track = b"".join(bytes([kind]) + lenenc_string(data) for kind, data in entries)
    status = packet.status if entries else packet.status & ~ServerStatus.SESSION_STATE_CHANGED
    return replace(packet, session_track=track, status=status).build(capabilities)


def _bound(value: Value) -> tuple[bytes, bytes]:
    """Type and encoding of a parameter."""
    if value is None:
        return struct.pack("<H", FieldType.NULL), b""
    if isinstance(value, float):
        return struct.pack("<H", FieldType.DOUBLE), struct.pack("<d", value)
    if isinstance(value, int):
        if value >= 1 << 63:
            return struct.pack("<H", FieldType.LONGLONG | 0x8000), struct.pack("<Q", value)
        if -(1 << 31) <= value < 1 << 31:
            return struct.pack("<H", FieldType.LONG), struct.pack("<i", value)
        return struct.pack("<H", FieldType.LONGLONG), struct.pack("<q", value)
    kind = FieldType.VAR_STRING if len(value) % 2 else FieldType.BLOB
    return struct.pack("<H", kind), lenenc_string(value)


def _without_hints(payload: bytes) -> bytes:
    """The end of a result without flags that tell nothing of data or session.

    What the optimizer thought of indexes follows from statistics, which each side has of its
    own. That metadata has changed is told by who prepared before an ALTER; and an EOF that
    session state has changed, without what: the server changes the schema for the time of a
    statement from another one, and back.
    """
    if payload[:1] != b"\xfe" or not 5 <= len(payload) <= 64:
        return payload
    at = 3 if len(payload) == 5 else 1 + (1 + payload[1] % 0xFB // 0xFA) + 1
    bare = len(payload) == 5 or len(payload) == at + 4
    hints = HINTS if bare else HINTS & ~ServerStatus.SESSION_STATE_CHANGED
    status = int.from_bytes(payload[at : at + 2], "little") & ~hints
    return payload[:at] + status.to_bytes(2, "little") + payload[at + 2 :]


@dataclass(frozen=True, slots=True)
class Closing:
    """How an answer ended, as far as its last packet tells."""

    status: ServerStatus | None
    warnings: int
    error: bool


def ending(answer: Answer, capabilities: Capability) -> Closing:
    """Status flags and warnings at the end of an answer."""
    last = answer[-1][1] if answer else b""
    if not last or last[0] == 0xFF or answer[-1][0] < 0:
        return Closing(None, 0, True)
    try:
        if last[0] == 0xFE and len(last) < 9 and Capability.DEPRECATE_EOF not in capabilities:
            eof = EofPacket.parse(last)
            return Closing(eof.status, eof.warnings, False)
        if last[0] in (0x00, 0xFE):
            ok = OkPacket.parse(last, capabilities)
            return Closing(ok.status, ok.warnings, False)
    except Exception:  # a row, or the end of a prepare: nothing to learn from it
        return Closing(None, 0, False)
    return Closing(None, 0, False)


def shown(answer: Answer, limit: int = 400) -> str:
    """For people."""
    lines = []
    for sequence, payload in answer:
        text = repr(payload)
        lines.append(f"    {sequence:3} {text if len(text) <= limit else text[:limit] + '...'}")
    return "\n".join(lines)
