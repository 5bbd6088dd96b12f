# SPDX-License-Identifier: Apache-2.0
"""What a command is about, as far as we must know: its name, and whose thread a KILL means.

The ids in a client's KILL are ours and the backend's are others, so the number must be found
and replaced. Only a literal number can be: KILL @id, KILL QUERY ID n (a query's number, on
MariaDB) and KILL USER name mean nothing of ours and are left alone. What follows the KILL in
the same text (KILL 5; SELECT 1) stays behind it when it is rewritten.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from hproxy.protocols.mysql.constants import Command

__all__ = [
    "Kill",
    "KillKind",
    "command_name",
    "parse_kill",
    "rewrite_kill",
]

# White space and comments. "/*!" and MariaDB's "/*M!" are code, not comments; "--" is one only
# before white space. Everything here is possessive or bounded by the comment's end, so a
# hostile text costs time linear in its length.
GAP = rb"(?:[\s\0]++|/\*(?!M?!)(?s:.*?)\*/|#[^\n]*+|--(?=[\0-\x20]|\Z)[^\n]*+)"
KILL = re.compile(
    rb"%(gap)s*+ KILL %(gap)s++"
    rb"(?: (?P<force>HARD|SOFT) %(gap)s++ )?+"
    rb"(?: (?P<kind>CONNECTION|QUERY) %(gap)s++ )?+"
    rb"(?P<id>[0-9]{1,20}+) %(gap)s*+"
    rb"(?: \Z | (?P<more>;) )".replace(b" ", b"")
    % {b"gap": GAP},
    re.IGNORECASE,
)
NOTHING_MORE = re.compile(rb"(?:;|" + GAP + rb")*+\Z")


class KillKind(Enum):
    CONNECTION = "connection"
    QUERY = "query"


class Kill(NamedTuple):
    """A KILL of thread `id`."""

    kind: KillKind
    id: int
    span: tuple[int, int]
    """Where the digits of the id stand in the text."""
    force: str | None = None
    """MariaDB's "hard" or "soft", if said."""
    alone: bool = True
    """False when other statements follow in the same text."""

    @property
    def query_only(self) -> bool:
        """The connection stays."""
        return self.kind is KillKind.QUERY


def parse_kill(sql: bytes) -> Kill | None:
    """The KILL `sql` begins with, or None when it is something else."""
    found = KILL.match(sql)
    if found is None:
        return None
    kind, force = found["kind"], found["force"]
    return Kill(
        KillKind(kind.decode().lower()) if kind else KillKind.CONNECTION,
        int(found["id"]),
        found.span("id"),
        force.decode().lower() if force else None,
        not found["more"] or NOTHING_MORE.match(sql, found.end()) is not None,
    )


def rewrite_kill(sql: bytes, new_id: int) -> bytes:
    """`sql` with the id of its KILL replaced. Raises ValueError when it has none."""
    kill = parse_kill(sql)
    if kill is None:
        raise ValueError("not a KILL of a literal id")
    start, end = kill.span
    return sql[:start] + str(new_id).encode() + sql[end:]


def command_name(command: int) -> str:
    """For logs: "COM_QUERY", or "COM_0x2a" for a number nobody has given a name."""
    try:
        return f"COM_{Command(command).name}"
    except ValueError:
        return f"COM_{command:#04x}"
