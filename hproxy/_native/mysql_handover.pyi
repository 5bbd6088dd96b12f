# SPDX-License-Identifier: Apache-2.0
"""A session leaves this process for another one, at the boundary between two commands."""

from typing import Any

from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.pool import BackendConnection
from hproxy._native.statements import ClientStatement, Statement

def at_rest(session: Multiplexed) -> bool:
    """Whether no command is under way, nothing binds it to a backend connection, and nothing is
    on its way to the client; TLS never rests."""

def depart(session: Multiplexed) -> tuple[int, dict[str, Any]]:
    """Its client's descriptor, which is the caller's, and what `arrive` wants; it is closed then,
    without a word to the client or the driver. Raises ValueError where it is not at rest."""

def arrive(session: Multiplexed, memory: dict[str, Any]) -> None:
    """Make a session that has not started the one that departed. Raises KeyError, TypeError."""

def statements_of(
    session: Multiplexed,
) -> tuple[int, int | None, list[tuple[ClientStatement, bytes | None, bytes | None, bool]]]:
    """The next number, that of the latest, and each statement with the types bound last, the
    classes its executions have fixed, and whether it is mixed."""

def recall_statements(
    session: Multiplexed,
    next_id: int,
    latest: int | None,
    entries: list[tuple[Statement, int, bytes | None, bytes | None, bytes | None, bool]],
) -> None:
    """Statement, number, text asked for, types, classes, mixed: as they were. Raises ValueError."""

def tied(session: Multiplexed) -> bool:
    """Whether it is at rest but for a backend connection in hand, which is as quiet."""

def untie(session: Multiplexed) -> tuple[int, dict[str, Any], int, dict[str, Any]]:
    """The client's descriptor and what `arrive` wants, the connection's and what `tie` wants; both
    are nobody's here, and the connection's place is free. Raises ValueError if it is not tied."""

def tie(session: Multiplexed, connection: BackendConnection, known: dict[str, Any]) -> None:
    """Give a session that has arrived the connection it had. Raises KeyError, TypeError."""

def untied(session: Multiplexed) -> BackendConnection | None:
    """It does not begin here: what was its connection, closed here without a word to the server."""

def prepared_there(
    session: Multiplexed,
) -> tuple[list[tuple[int, int, bytes | None, bytes | None, bool, bool]], list[int]]:
    """The client's statements on its connection: its number, the server's, the types bound last,
    the classes fixed there, whether it alone may use it, whether it is in use. And the server's
    numbers of others."""

def recall_there(
    session: Multiplexed,
    entries: list[tuple[int, int, bytes | None, bytes | None, bool, bool]],
    open_ones: list[tuple[int, bool, bool]],
) -> list[int]:
    """The same, and numbers of the client's with an open cursor, with long data. The server's
    numbers of those there is no place for any more. Raises ValueError."""

def close_there(session: Multiplexed, numbers: list[int]) -> None:
    """Have the server forget these statements of the connection in hand."""

def wake(session: Multiplexed) -> None:
    """It has begun: hear what its connection has said meanwhile."""
