# SPDX-License-Identifier: Apache-2.0
"""What a session can do. Steps are values: printed by repr, read back by `read_script`.

Statements say {db} where the name of a side's databases begins; every side puts its own there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "DB",
    "Ahead",
    "ChangeUser",
    "Close",
    "Command",
    "Execute",
    "Fetch",
    "InitDb",
    "LongData",
    "Prepare",
    "Query",
    "Reconnect",
    "Reset",
    "Step",
    "Value",
    "read_script",
    "write_script",
]

DB = b"{db}"

Value = int | float | bytes | None


@dataclass(frozen=True, slots=True)
class Query:
    """COM_QUERY; `files` answer LOCAL INFILE requests in turn."""

    sql: bytes
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Ahead:
    """Several COM_QUERY sent at once, before the first answer is read."""

    statements: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Prepare:
    """COM_STMT_PREPARE into a slot of the session."""

    slot: int
    sql: bytes


@dataclass(frozen=True, slots=True)
class Execute:
    """COM_STMT_EXECUTE. Without `bind` the types of the last execution stand."""

    slot: int
    values: tuple[Value, ...] = ()
    flags: int = 0
    bind: bool = True
    long: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class LongData:
    """COM_STMT_SEND_LONG_DATA."""

    slot: int
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """COM_STMT_FETCH."""

    slot: int
    count: int


@dataclass(frozen=True, slots=True)
class Reset:
    """COM_STMT_RESET."""

    slot: int


@dataclass(frozen=True, slots=True)
class Close:
    """COM_STMT_CLOSE."""

    slot: int


@dataclass(frozen=True, slots=True)
class InitDb:
    """COM_INIT_DB."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Command:
    """Any other command, answered by one packet."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ChangeUser:
    """COM_CHANGE_USER to the same account."""

    database: bytes
    charset: int


@dataclass(frozen=True, slots=True)
class Reconnect:
    """COM_QUIT and a new login."""


Step = (
    Query
    | Ahead
    | Prepare
    | Execute
    | LongData
    | Fetch
    | Reset
    | Close
    | InitDb
    | Command
    | ChangeUser
    | Reconnect
)

NAMES = {
    kind.__name__: kind
    for kind in (
        Query, Ahead, Prepare, Execute, LongData, Fetch, Reset, Close, InitDb, Command, ChangeUser,
        Reconnect,
    )
} | {"frozenset": frozenset}  # fmt: skip


def write_script(history: Iterable[tuple[int, Step]]) -> str:
    """One line a step: the session's number and the step."""
    return "".join(f"{session:3} {step!r}\n" for session, step in history)


def read_script(text: str) -> list[tuple[int, Step]]:
    """What `write_script` wrote; lines that begin with # are left out."""
    history: list[tuple[int, Step]] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        session, _, step = line.strip().partition(" ")
        history.append((int(session), eval(step, {"__builtins__": {}}, NAMES)))
    return history
