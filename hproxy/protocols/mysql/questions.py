# SPDX-License-Identifier: Apache-2.0
"""What a session's state is asked about on its connection, and what is still to be asked.

Answers are cast to binary and every SELECT has a LIMIT: a session may have set any
character_set_results and sql_select_limit.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["CHARSET", "SCHEMA", "Asking", "Question", "QuestionKind", "Row"]

Row = tuple[bytes | None, ...]


class QuestionKind(Enum):
    """What an answer is about."""

    SCHEMA = auto()
    CHARSET = auto()
    VARIABLES = auto()
    USERS = auto()
    LOCKS = auto()
    ROUTINE = auto()
    CLIENT_TRACKING = auto()
    TRACKING = auto()  # no question: a statement that sets the connection right again


class Question(NamedTuple):
    """A statement of ours; `names` is what it asks about."""

    sql: bytes
    kind: QuestionKind
    names: tuple[bytes, ...] = ()


CHARSET = Question(
    b"SELECT %s LIMIT 1"
    % b",".join(
        b"CAST(CONVERT(@@%s USING utf8mb4) AS BINARY)" % name
        for name in (b"character_set_client", b"character_set_results", b"collation_connection")
    ),
    QuestionKind.CHARSET,
)
SCHEMA = Question(
    b"SELECT CAST(CONVERT(DATABASE() USING utf8mb4) AS BINARY) LIMIT 1", QuestionKind.SCHEMA
)


class Asking:
    """What is left to ask, in one go."""

    def __init__(self) -> None:
        self.schema = False
        self.charset = False
        self.variables: dict[bytes, None] = {}
        self.users: dict[bytes, None] = {}
        self.locks = False
        self.routines: dict[bytes, None] = {}
        self.client_tracking: dict[bytes, None] = {}
        self.tracking = False
