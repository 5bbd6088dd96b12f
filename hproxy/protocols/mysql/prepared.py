# SPDX-License-Identifier: Apache-2.0
"""Prepared statements that clients share: answers to their preparation, under each one's id."""

from __future__ import annotations

from typing import Any

from hproxy._native.decision import Decision
from hproxy._native.mysql import ResponseScanner
from hproxy._native.statements import Statement
from hproxy.protocols.base import LoginResult
from hproxy.protocols.mysql.answers import EOF_BYTES, LASTING_STATUS
from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.profile import split
from hproxy.protocols.mysql.replies import (
    EOF_HEADER,
)
from hproxy.protocols.mysql.results import err
from hproxy.protocols.mysql.settings import Settings
from hproxy.protocols.mysql.wire import MalformedPacket

__all__ = [
    "LATEST_STATEMENT",
    "PrepareAnswer",
    "bad_execute",
    "context_of",
    "plain_execution",
    "prepare_status",
    "prepare_warnings",
    "prepared_packets",
    "statement",
    "statement_number",
    "unknown_statement",
]

# Of (account, kind, settings, modes, text), by which session/prepare.py knows a statement.
CONTEXT_IN_KEY = 2
PLAIN_FLAGS = 5  # where they are in COM_STMT_EXECUTE
# Of read_execute: more values are asked for than were sent (only MySQL tells it from other faults).
EXECUTE_FEWER = 3
UNKNOWN_STATEMENT = 1243
STATEMENT_FUNCTIONS: dict[int, str] = {
    Command.STMT_EXECUTE: "mysqld_stmt_execute",
    Command.STMT_BULK_EXECUTE: "mysqld_stmt_bulk_execute",
    Command.STMT_FETCH: "mysqld_stmt_fetch",
    Command.STMT_RESET: "mysqld_stmt_reset",
}
LATEST_STATEMENT = 0xFFFFFFFF
"""MariaDB: the statement that was prepared last."""


class PrepareAnswer:
    """Takes the packets of an answer to COM_STMT_PREPARE until it says that was all."""

    def __init__(self, login: LoginResult) -> None:
        agreed, _ = split(login.capabilities)
        self._scanner = ResponseScanner(Capability.DEPRECATE_EOF in agreed)
        self._scanner.start(Command.STMT_PREPARE)
        self._sequence = 1
        self.packets: list[bytes] = []
        self.number = 0

    def take(self, packet: bytes) -> bool:
        """Read one packet; True when it was the last. Raises MalformedPacket."""
        frame = len(packet).to_bytes(3, "little") + bytes([self._sequence]) + packet
        self._sequence = (self._sequence + 1) & 0xFF
        self._scanner.scan(frame)
        if self._scanner.fault:
            raise MalformedPacket("prepare answer", self._scanner.fault, 0)
        if not self.packets:
            self.number = int.from_bytes(packet[1:5], "little")
        self.packets.append(packet)
        return self._scanner.done


def statement(
    key: Any, text: bytes, packets: list[bytes], decision: Decision, mysql: bool
) -> Statement:
    """A statement from the answer to its preparation."""
    head = packets[0]
    columns, params = int.from_bytes(head[5:7], "little"), int.from_bytes(head[7:9], "little")
    return Statement(key, text, params, columns, tuple(packets), decision, mysql)


def context_of(statement: Statement) -> Settings:
    """The settings that a statement was prepared under, which its key names."""
    key: Any = statement.key
    context: Settings = key[CONTEXT_IN_KEY]
    return context


def prepare_warnings(packets: list[bytes]) -> bool:
    """Whether a preparation left warnings."""
    return packets[0][10:12] not in (b"", b"\0\0")


def prepare_status(packets: list[bytes]) -> int | None:
    """The server status behind a preparation, if its answer told it."""
    for packet in packets:
        if len(packet) == EOF_BYTES and packet[0] == EOF_HEADER:
            return int.from_bytes(packet[3:5], "little")
    return None


def prepared_packets(
    statement: Statement, client_id: int, status: int, login: LoginResult
) -> list[bytes]:
    """The answer to a client that prepares `statement`, under its own id."""
    agreed, _ = split(login.capabilities)
    kept: Any = statement.response
    packets: list[bytes] = list(kept)
    packets[0] = packets[0][:1] + client_id.to_bytes(4, "little") + packets[0][5:]
    if Capability.DEPRECATE_EOF in agreed:
        return packets
    tail = (status & LASTING_STATUS).to_bytes(2, "little")
    return [
        packet[:3] + tail if len(packet) == EOF_BYTES and packet[0] == EOF_HEADER else packet
        for packet in packets
    ]


def plain_execution(payload: bytes, statement: Statement) -> bool:
    """Whether an execution brings no parameters and opens no cursor."""
    return len(payload) > PLAIN_FLAGS and payload[PLAIN_FLAGS] == 0 and statement.params == 0


def statement_number(payload: bytes) -> int | None:
    """The id of a statement in a command that names one; None when it is cut short."""
    return int.from_bytes(payload[1:5], "little") if len(payload) > 4 else None


def unknown_statement(payload: bytes, mysql: bool) -> bytes | None:
    """The servers' answer to a statement id that is none; None for a command without answer."""
    command = payload[0]
    if command in (Command.STMT_SEND_LONG_DATA, Command.STMT_CLOSE):
        return None
    number = int.from_bytes(payload[1:5], "little")
    who = "mysql_stmt_precheck" if mysql else STATEMENT_FUNCTIONS[command]
    return err(
        UNKNOWN_STATEMENT,
        f"Unknown prepared statement handler ({number}) given to {who}",
        b"HY000",
    )


def bad_execute(found: int, mysql: bool) -> bytes:
    """The servers' answer to an execution they cannot read, or whose types nobody has told."""
    if found <= 0:
        return err(1835, "Malformed communication packet" + "." * mysql, b"HY000")
    who = "COM_STMT_EXECUTE" if found == EXECUTE_FEWER else "mysqld_stmt_execute"
    return err(1210, f"Incorrect arguments to {who}", b"HY000")
