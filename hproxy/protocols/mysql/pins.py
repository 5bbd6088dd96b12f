# SPDX-License-Identifier: Apache-2.0
"""Why a session may not give its backend connection back: a set of reasons, each with an end.

    reason              begins with                         ends with
    TRANSACTION         the server's status flag            the server's status flag
    TEMP_TABLE          CREATE TEMPORARY TABLE              the last of them is dropped
    USER_LOCK           GET_LOCK                            RELEASE_LOCK, RELEASE_ALL_LOCKS
    TABLE_LOCK          LOCK TABLES, FLUSH .. READ LOCK     UNLOCK TABLES; BEGIN for the former
    OPEN_CURSOR         COM_STMT_EXECUTE with a cursor      last row, reset, close
    LONG_DATA           COM_STMT_SEND_LONG_DATA             the execute, reset or close
    FOUND_ROWS          SELECT SQL_CALC_FOUND_ROWS          the next statement
    WARNINGS            a statement that left some          the next statement
    LOCAL_INFILE        the server asks for a file          the answer to it
    NEXT_TRANSACTION    SET TRANSACTION, without a scope    the transaction it was for
    HANDLER             HANDLER t OPEN                      HANDLER t CLOSE
    XA                  XA START                            XA COMMIT, XA ROLLBACK
    ROUTINE             code we cannot judge ran            a reset of the session
    UNTRACKABLE_SET     a SET nobody can follow             a reset of the session
    UNTRACKABLE_STATE   the server tells of an unknown change   a reset of the session
    SESSION_MODE        its hostgroup does not multiplex    never
    UNKNOWN_COMMAND     a command that has no name here     a reset of the session
    WIDE_STATEMENT      a statement too long to be read     a reset of the session
    NO_MULTIPLEX        a query rule says so                another says so, a reset

A reset is the COM_RESET_CONNECTION or COM_CHANGE_USER of the client.
"""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

__all__ = ["Pin", "PinRecord"]


class Pin(IntFlag):
    """The reasons; compiled code knows them by these numbers."""

    TRANSACTION = 1 << 0
    TEMP_TABLE = 1 << 1
    USER_LOCK = 1 << 2
    TABLE_LOCK = 1 << 3
    OPEN_CURSOR = 1 << 4
    LONG_DATA = 1 << 5
    FOUND_ROWS = 1 << 6
    WARNINGS = 1 << 7
    LOCAL_INFILE = 1 << 8
    NEXT_TRANSACTION = 1 << 9
    HANDLER = 1 << 10
    XA = 1 << 11
    ROUTINE = 1 << 12
    UNTRACKABLE_SET = 1 << 13
    UNTRACKABLE_STATE = 1 << 14
    SESSION_MODE = 1 << 15
    UNKNOWN_COMMAND = 1 << 16
    WIDE_STATEMENT = 1 << 17
    NO_MULTIPLEX = 1 << 18


class PinRecord(NamedTuple):
    """One reason as the report of pins shows it."""

    reason: Pin
    since: float
    """Seconds, of the caller's clock."""
    statement: bytes
    """The digest text of the statement that began it."""
