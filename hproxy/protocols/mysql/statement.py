# SPDX-License-Identifier: Apache-2.0
"""What is known of a statement from its text: the words that routing and sessions share.

`Trait` is read on every statement by compiled code, which knows its numbers; `Effect` is
read in Python only, before and after a statement that changes its session.
"""

from __future__ import annotations

from dataclasses import dataclass

from hproxy.protocols.mysql.flags import PeerFlag

__all__ = ["COMMAND_TRAITS", "SLOW_EFFECTS", "Effect", "Trait", "Traits"]


class Trait(PeerFlag):
    """What the path of every statement depends on; the numbers are known to native code."""

    READ = 1  # only reads: may go to a reader hostgroup, may be repeated
    SLOW = 2  # Python must see the text before it runs
    CONTEXT = 4  # asks about the statement before it: ROW_COUNT(), SHOW WARNINGS
    LAST_ID = 8  # uses or sets what LAST_INSERT_ID() returns
    WRITE = 16  # changes data or schema
    CALC_ROWS = 32  # SQL_CALC_FOUND_ROWS: FOUND_ROWS() will be asked next
    BEGINS = 64  # begins a transaction
    ENDS = 128  # ends one, if only by an implicit commit
    SAFE_REPEAT = 256  # to run it twice is to run it once
    MULTI = 512  # several statements in one text
    FOUND_ROWS = 2048  # asks FOUND_ROWS(), which is older than the last statement perhaps
    NO_TABLE = 1024  # names no table: MariaDB keeps the warnings of before over it


class Effect(PeerFlag):
    """What a statement does, or may do, to the session that runs it."""

    SET = 1 << 0
    USE = 1 << 1
    USER_VARIABLES = 1 << 2  # any @name, read or assigned
    PREPARE = 1 << 3
    EXECUTE = 1 << 4
    DEALLOCATE = 1 << 5
    CREATE_TEMPORARY = 1 << 6
    DROP_TABLE = 1 << 7  # with or without TEMPORARY: it may be one of the session's own
    USER_LOCK = 1 << 8  # GET_LOCK()
    RELEASE_LOCK = 1 << 9
    TABLE_LOCK = 1 << 10  # LOCK TABLES, FLUSH TABLES WITH READ LOCK, LOCK INSTANCE, BACKUP STAGE
    UNLOCK = 1 << 11
    ROUTINE = 1 << 12  # CALL, or a function that is not built in
    HANDLER = 1 << 13
    XA = 1 << 14
    KILL = 1 << 15
    LOCAL_INFILE = 1 << 16
    TRACKING = 1 << 17  # session_track_* can be seen or set by it
    DDL = 1 << 18  # what prepared statements know of tables may be stale now
    SAVEPOINT = 1 << 19
    SET_TRANSACTION = 1 << 20  # the form that counts for the next transaction only
    LOCKING_READ = 1 << 21
    INTO = 1 << 22  # SELECT ... INTO
    SEQUENCE = 1 << 23
    PROFILING = 1 << 24
    LAST_ID_SET = 1 << 25  # LAST_INSERT_ID(expr)
    CONNECTION_ID = 1 << 26  # shows the backend's connection ids; for information
    UNKNOWN = 1 << 27  # the first word says nothing to us


SLOW_EFFECTS = (
    Effect.SET
    | Effect.USE
    | Effect.USER_VARIABLES
    | Effect.PREPARE
    | Effect.EXECUTE
    | Effect.DEALLOCATE
    | Effect.CREATE_TEMPORARY
    | Effect.DROP_TABLE
    | Effect.USER_LOCK
    | Effect.RELEASE_LOCK
    | Effect.TABLE_LOCK
    | Effect.UNLOCK
    | Effect.ROUTINE
    | Effect.HANDLER
    | Effect.XA
    | Effect.KILL
    | Effect.LOCAL_INFILE
    | Effect.TRACKING
    | Effect.SET_TRANSACTION
    | Effect.PROFILING
    | Effect.UNKNOWN
)
"""Any of these makes a statement SLOW, and nothing else does but LAST_ID_SET in a SELECT."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What `traits.classify` says of one statement text."""

    traits: Trait
    effects: Effect
    verb: bytes
    """The first keyword, or keywords, in capitals: SELECT, CREATE TABLE."""
    routines: tuple[bytes, ...] = ()
    """Procedures called and functions that are not built in, qualified as written."""


COMMAND_TRAITS = Traits(Trait.NO_TABLE, Effect(0), b"COMMAND")
"""Of a command without a text."""
