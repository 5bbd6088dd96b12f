# SPDX-License-Identifier: Apache-2.0
"""Which functions a statement calls: those built in that matter to a session, and all others.

Every `name(` is a call unless it stands where no operand can:

    t (a, b)          behind INTO, INSERT, TABLE, IGNORE, WITH ...: the columns of a table
    ) x (a, b)        behind an operand, and behind AS: the columns of a derived table
    x (a) AS (        the columns of a common table expression
    COUNT( IN( INT(   a word of the grammar, see functions.py

In doubt it is a call: one that is taken for more than it is costs a look into the list of
routines, one that is overlooked costs the session's state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hproxy.protocols.mysql.functions import GRAMMAR, NATIVE
from hproxy.protocols.mysql.lexer import Kind, Token, name
from hproxy.protocols.mysql.statement import Effect, Trait

__all__ = ["CALLED", "ON_WRITER", "Call", "calls", "chain"]

CALLED: dict[bytes, tuple[Trait, Effect]] = {
    b"FOUND_ROWS": (Trait.CONTEXT | Trait.FOUND_ROWS, Effect(0)),
    b"ROW_COUNT": (Trait.CONTEXT, Effect(0)),
    b"WSREP_LAST_SEEN_GTID": (Trait.CONTEXT, Effect(0)),
    b"WSREP_LAST_WRITTEN_GTID": (Trait.CONTEXT, Effect(0)),
    b"LASTVAL": (Trait.CONTEXT, Effect(0)),
    b"LAST_INSERT_ID": (Trait.LAST_ID, Effect(0)),
    b"GET_LOCK": (Trait(0), Effect.USER_LOCK),
    b"RELEASE_LOCK": (Trait(0), Effect.RELEASE_LOCK),
    b"RELEASE_ALL_LOCKS": (Trait(0), Effect.RELEASE_LOCK),
    # MySQL's locking service, if it is installed: locks of the session as well.
    b"SERVICE_GET_READ_LOCKS": (Trait(0), Effect.USER_LOCK),
    b"SERVICE_GET_WRITE_LOCKS": (Trait(0), Effect.USER_LOCK),
    b"SERVICE_RELEASE_LOCKS": (Trait(0), Effect.RELEASE_LOCK),
    b"CONNECTION_ID": (Trait(0), Effect.CONNECTION_ID),
    b"IS_USED_LOCK": (Trait(0), Effect.CONNECTION_ID),
    b"PS_CURRENT_THREAD_ID": (Trait(0), Effect.CONNECTION_ID),
}
"""What a call says of a statement, by the function's name."""

ON_WRITER = frozenset(
    b"""
    IS_FREE_LOCK IS_USED_LOCK BINLOG_GTID_POS MASTER_GTID_WAIT MASTER_POS_WAIT SOURCE_POS_WAIT
    WAIT_FOR_EXECUTED_GTID_SET WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS WSREP_LAST_SEEN_GTID
    WSREP_LAST_WRITTEN_GTID WSREP_SYNC_WAIT_UPTO_GTID ASYNCHRONOUS_CONNECTION_FAILOVER_ADD_MANAGED
    ASYNCHRONOUS_CONNECTION_FAILOVER_ADD_SOURCE ASYNCHRONOUS_CONNECTION_FAILOVER_DELETE_MANAGED
    ASYNCHRONOUS_CONNECTION_FAILOVER_DELETE_SOURCE ASYNCHRONOUS_CONNECTION_FAILOVER_RESET
    INNODB_REDO_LOG_SHARP_CHECKPOINT INNODB_SET_OPEN_FILES_LIMIT
    """.split()
)
"""Built in, and asking about the server it runs on, or changing it."""

# MariaDB calls them with the name of a sequence; elsewhere they are functions of users.
SEQUENCES = frozenset((b"NEXTVAL", b"LASTVAL", b"SETVAL"))

# Behind these a name and a parenthesis are a table and its columns.
BEFORE_COLUMNS = frozenset(
    b"""
    AS DELAYED IGNORE INSERT INTO LOW_PRIORITY MEMBER RECURSIVE REPLACE TABLE TABLESAMPLE WITH
    """.split()
)

# Words behind which an operand may begin, besides those of GRAMMAR: one family or both let a
# user name a function like them.
BEFORE_OPERAND = frozenset(
    b"""
    AGAINST CONNECTION ELSIF ESCAPE EXAMINED HARD ID IMMEDIATE MOD OF QUALIFY QUERY SOFT
    SYSTEM_TIME TRANSACTION UNTIL
    """.split()
)


class Call(NamedTuple):
    """One call. `routine` is its name as written when it is not built in, else empty."""

    name: bytes  # in capitals, without schema and quotes
    routine: bytes
    has_arguments: bool
    sequence: bool = False


def calls(tokens: Sequence[Token], words: Sequence[bytes], modes: int) -> Iterator[Call]:
    """All function calls in `tokens`. `words` as in verbs.py."""
    columns = _column_lists(words) if b"WITH" in words else frozenset()
    for index in range(len(tokens) - 1):
        token = tokens[index]
        if words[index + 1] != b"(" or token.kind not in (Kind.WORD, Kind.QUOTED):
            continue
        first = chain(tokens, words, index)
        called = name(token, modes).upper()
        arguments = words[index + 2 : index + 3] != [b")"]
        if words[index + 2 : index + 4] == [b"+", b")"]:
            continue  # Oracle's outer join: WHERE t.a = u.b(+)
        known = called in NATIVE or (token.kind is Kind.WORD and called in GRAMMAR)
        if known and first == index:
            yield Call(called, b"", arguments)
        elif index not in columns and _operand_may_begin(tokens, words, first):
            if called in SEQUENCES and first == index and _names_something(tokens, index + 2):
                yield Call(called, b"", arguments, True)
            else:
                yield Call(called, b"".join(t.text for t in tokens[first : index + 1]), arguments)


def chain(tokens: Sequence[Token], words: Sequence[bytes], last: int) -> int:
    """Where the qualified name begins that ends at `last`."""
    first = last
    while first >= 2 and words[first - 1] == b"." and tokens[first - 2].kind in NAMES:
        first -= 2
    return first


NAMES = (Kind.WORD, Kind.QUOTED)


def _names_something(tokens: Sequence[Token], index: int) -> bool:
    return index < len(tokens) and tokens[index].kind in NAMES


def _operand_may_begin(tokens: Sequence[Token], words: Sequence[bytes], index: int) -> bool:
    """False where an operand has just ended, and before a table."""
    if index == 0:
        return True
    before, this = tokens[index - 1], words[index - 1]
    if before.kind is Kind.PUNCTUATION:
        return this not in (b")", b"}")
    if before.kind is not Kind.WORD or not this:
        return False
    if words[max(index - 2, 0)] == b"{":
        return True  # ODBC: {fn name(...)}
    return this not in BEFORE_COLUMNS and (this in GRAMMAR or this in BEFORE_OPERAND)


def _column_lists(words: Sequence[bytes]) -> frozenset[int]:
    """Where names stand whose parentheses are followed by AS and another one."""
    opened: list[int] = []
    found: set[int] = set()
    for index, this in enumerate(words):
        if this == b"(":
            opened.append(index)
        elif this == b")" and opened:
            start = opened.pop()
            if list(words[index + 1 : index + 3]) == [b"AS", b"("]:
                found.add(start - 1)
    return frozenset(found)
