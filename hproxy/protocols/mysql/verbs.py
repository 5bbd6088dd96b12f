# SPDX-License-Identifier: Apache-2.0
"""Which statement it is: the first words of a text, read into a name and what it always does.

    SELECT WITH TABLE VALUES (    a query
    EXPLAIN ANALYZE SET STATEMENT the statement inside of them decides
    CREATE ALTER DROP ...         what kind of thing decides
    INSERT UPDATE GRANT ...       the word alone decides: `PLAIN`
    anything else                 UNKNOWN

`words` has an entry for each token: a keyword in capitals, an operator as written, LITERAL,
or NAME for what cannot be a keyword. Beyond the end there is nothing but NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hproxy.protocols.mysql.statement import Effect, Trait

__all__ = [
    "LITERAL",
    "NAME",
    "PROGRAMS",
    "Verb",
    "kind_of_thing",
    "names_no_table",
    "verb",
    "word",
]

NAME = b""
LITERAL = b"?"

READING = Trait.READ | Trait.SAFE_REPEAT
NOTHING = Trait(0)
NO_EFFECT = Effect(0)
COMMITTED_WRITE = Trait.WRITE | Trait.ENDS
NOT_RUN = -1


class Verb(NamedTuple):
    """`runs` is where what the session itself evaluates begins; NOT_RUN: nothing is."""

    name: bytes
    traits: Trait
    effects: Effect
    runs: int
    query: bool = False


PLAIN: dict[bytes, tuple[Trait, Effect]] = {
    b"INSERT": (Trait.WRITE, NO_EFFECT),
    b"REPLACE": (Trait.WRITE, NO_EFFECT),
    b"UPDATE": (Trait.WRITE, NO_EFFECT),
    b"DELETE": (Trait.WRITE, NO_EFFECT),
    b"CALL": (Trait.WRITE, Effect.ROUTINE),
    b"DO": (NOTHING, NO_EFFECT),
    b"HELP": (Trait.SAFE_REPEAT, NO_EFFECT),
    b"USE": (Trait.SAFE_REPEAT, Effect.USE),
    b"GET": (Trait.CONTEXT, NO_EFFECT),
    b"SIGNAL": (NOTHING, NO_EFFECT),
    b"RESIGNAL": (NOTHING, NO_EFFECT),
    # What is executed may be anything; the session knows the text behind the name.
    b"PREPARE": (NOTHING, Effect.PREPARE),
    b"EXECUTE": (Trait.WRITE, Effect.EXECUTE),
    b"DEALLOCATE": (NOTHING, Effect.DEALLOCATE),
    b"SAVEPOINT": (NOTHING, Effect.SAVEPOINT),
    b"RELEASE": (NOTHING, Effect.SAVEPOINT),
    b"HANDLER": (NOTHING, Effect.HANDLER),
    b"UNLOCK": (Trait.ENDS, Effect.UNLOCK),
    b"CHECKSUM": (Trait.SAFE_REPEAT, NO_EFFECT),
    b"PURGE": (NOTHING, NO_EFFECT),
    b"SHUTDOWN": (NOTHING, NO_EFFECT),
    b"RESTART": (NOTHING, NO_EFFECT),
    b"CLONE": (NOTHING, NO_EFFECT),
    # The rest commits what was open.
    b"TRUNCATE": (COMMITTED_WRITE, Effect.DDL),
    b"IMPORT": (COMMITTED_WRITE, Effect.DDL),
    b"INSTALL": (COMMITTED_WRITE, Effect.DDL),
    b"UNINSTALL": (COMMITTED_WRITE, Effect.DDL),
    b"OPTIMIZE": (COMMITTED_WRITE, NO_EFFECT),
    b"REPAIR": (COMMITTED_WRITE, NO_EFFECT),
    b"CHECK": (Trait.ENDS, NO_EFFECT),
    b"CACHE": (Trait.ENDS, NO_EFFECT),
    b"CHANGE": (Trait.ENDS, NO_EFFECT),
    b"RESET": (Trait.ENDS, NO_EFFECT),
    b"STOP": (Trait.ENDS, NO_EFFECT),
    # Row events follow a description of their format, on one connection.
    b"BINLOG": (Trait.WRITE, Effect.UNKNOWN),
}

QUERIES = frozenset((b"SELECT", b"TABLE", b"VALUES"))
EXPLAINED = QUERIES | {b"WITH", b"(", b"INSERT", b"REPLACE", b"UPDATE", b"DELETE"}

PROGRAMS = frozenset((b"PROCEDURE", b"FUNCTION", b"TRIGGER", b"EVENT", b"PACKAGE"))
ACCOUNTS = frozenset((b"USER", b"ROLE", b"SERVER", b"RESOURCE", b"TABLESPACE", b"LOGFILE", b"UNDO"))
TABLES = frozenset((b"TABLE", b"TABLES", b"SEQUENCE"))
THINGS = PROGRAMS | ACCOUNTS | TABLES
THINGS |= {b"VIEW", b"DATABASE", b"SCHEMA", b"INDEX", b"PREPARE", b"INSTANCE", b"LIBRARY"}


def word(words: Sequence[bytes], index: int) -> bytes:
    """The word at `index`; NAME beyond the end."""
    return words[index] if index < len(words) else NAME


def verb(words: Sequence[bytes], at: int = 0) -> Verb:
    """What the statement is that begins at `at`."""
    first = word(words, at)
    while first == b"(":
        at += 1
        first = word(words, at)
        if first not in EXPLAINED:
            return Verb(first, NOTHING, Effect.UNKNOWN, at)
    if first in QUERIES:
        return Verb(first, READING, NO_EFFECT, at, True)
    if first in SPECIAL:
        return SPECIAL[first](words, at)
    traits, effects = PLAIN.get(first, (NOTHING, Effect.UNKNOWN))
    return Verb(first, traits, effects, at)


def _with(words: Sequence[bytes], at: int) -> Verb:
    """The statement behind the last common table expression. No recursion: they nest at will."""
    index, depth = at + 1, 0
    while index < len(words):
        this = words[index]
        behind = this == b"(" and words[index - 1] == b")"
        if depth == 0 and (behind or this in EXPLAINED - {b"("}):
            while word(words, index) == b"(":
                index += 1
            if word(words, index) != b"WITH":
                return verb(words, index)._replace(runs=at)
        else:
            depth += (this == b"(") - (this == b")")
        index += 1
    return Verb(b"WITH", NOTHING, Effect.UNKNOWN, at)


def _explain(words: Sequence[bytes], at: int) -> Verb:
    """EXPLAIN, DESCRIBE, DESC: of a query it reads as the query does; of a table it shows."""
    index, analyze = at + 1, False
    while True:
        this, following = word(words, index), word(words, index + 1)
        assigned = this == b"FORMAT" and following == b"="
        if assigned or (this == b"FOR" and following in (b"SCHEMA", b"DATABASE")):
            index += 3
        elif this == b"INTO":
            index += 2
        elif this in (b"EXTENDED", b"PARTITIONS", b"ANALYZE"):
            analyze |= this == b"ANALYZE"
            index += 1
        else:
            break
    name = words[at]
    if this not in EXPLAINED:
        return Verb(name, Trait.SAFE_REPEAT, NO_EFFECT, at)
    inner = verb(words, index)
    traits = inner.traits if inner.query or analyze else Trait.SAFE_REPEAT
    return Verb(name, traits, inner.effects, at, inner.query)


def _analyze(words: Sequence[bytes], at: int) -> Verb:
    """ANALYZE TABLE; and MariaDB's ANALYZE, which runs the statement behind it."""
    index = at + 1
    if word(words, index) == b"FORMAT":
        index += 3
    if word(words, index) in EXPLAINED - {b"TABLE"}:
        return verb(words, index)._replace(name=b"ANALYZE")
    return Verb(b"ANALYZE", COMMITTED_WRITE, NO_EFFECT, NOT_RUN)


def _set(words: Sequence[bytes], at: int) -> Verb:
    what = word(words, at + 1)
    if what == b"STATEMENT":
        for index in range(at + 2, len(words)):
            if words[index] == b"FOR" and word(words, index + 1) != b"SET":
                inner = verb(words, index + 1)
                return inner._replace(effects=inner.effects | Effect.SET, runs=at)
    if what == b"TRANSACTION":
        return Verb(b"SET TRANSACTION", NOTHING, Effect.SET | Effect.SET_TRANSACTION, at)
    if what in (b"PASSWORD", b"DEFAULT"):
        return Verb(b"SET " + what, COMMITTED_WRITE, Effect.SET, NOT_RUN)
    if what == b"ROLE":
        return Verb(b"SET ROLE", Trait.SAFE_REPEAT, Effect.SET, NOT_RUN)
    # A call or a subquery may give something else the next time.
    return Verb(b"SET", NOTHING if b"(" in words else Trait.SAFE_REPEAT, Effect.SET, at)


SHOWN: dict[bytes, tuple[Trait, Effect]] = {
    b"WARNINGS": (Trait.CONTEXT, NO_EFFECT),
    b"ERRORS": (Trait.CONTEXT, NO_EFFECT),
    b"COUNT": (Trait.CONTEXT, NO_EFFECT),  # SHOW COUNT(*) WARNINGS
    b"PROFILE": (NOTHING, Effect.PROFILING),
    b"PROFILES": (NOTHING, Effect.PROFILING),
    b"VARIABLES": (Trait.SAFE_REPEAT, Effect.TRACKING),
    b"PROCESSLIST": (Trait.SAFE_REPEAT, Effect.CONNECTION_ID),
}


def _show(words: Sequence[bytes], at: int) -> Verb:
    index = at + 1
    while word(words, index) in (b"FULL", b"SESSION", b"LOCAL", b"EXTENDED"):
        index += 1
    what = word(words, index)
    traits, effects = SHOWN.get(what, (Trait.SAFE_REPEAT, NO_EFFECT))
    accounts = what == b"GRANTS" or (what == b"CREATE" and word(words, index + 1) == b"USER")
    return Verb(b"SHOW", traits, effects, NOT_RUN if accounts else at)


def kind_of_thing(words: Sequence[bytes], at: int) -> bytes:
    """What CREATE, ALTER, DROP or RENAME is about: the first word that says so."""
    return next((this for this in words[at + 1 : at + 16] if this in THINGS), NAME)


def _define(words: Sequence[bytes], at: int) -> Verb:
    """CREATE, ALTER, DROP, RENAME. Bodies and defaults are stored, not run."""
    first, thing = words[at], kind_of_thing(words, at)
    name = first + b" " + thing if thing else first
    if thing == b"PREPARE":
        return Verb(b"DEALLOCATE", NOTHING, Effect.DEALLOCATE, NOT_RUN)
    temporary = thing in TABLES and b"TEMPORARY" in words[at : words.index(thing, at)]
    traits = NOTHING if temporary else COMMITTED_WRITE
    effects = NO_EFFECT if temporary or thing in ACCOUNTS else Effect.DDL
    runs = NOT_RUN
    if first == b"CREATE" and thing in TABLES:
        effects |= Effect.CREATE_TEMPORARY if temporary else NO_EFFECT
        runs = words.index(b"SELECT", at) if b"SELECT" in words[at:] else NOT_RUN
    elif first == b"DROP" and thing in TABLES:
        effects |= Effect.DROP_TABLE
    return Verb(name, traits, effects, runs)


def _account(words: Sequence[bytes], at: int) -> Verb:
    """GRANT and REVOKE: what looks like variables are accounts."""
    return Verb(words[at], COMMITTED_WRITE, NO_EFFECT, NOT_RUN)


def _begin(words: Sequence[bytes], at: int) -> Verb:
    """BEGIN [WORK]; anything else is a block of MariaDB's, which may do anything."""
    if len(words) == at + 1 or words[at + 1 :] == [b"WORK"]:
        return Verb(b"BEGIN", Trait.BEGINS, NO_EFFECT, at)
    return Verb(b"BEGIN", COMMITTED_WRITE, Effect.UNKNOWN, at)


def _start(words: Sequence[bytes], at: int) -> Verb:
    if word(words, at + 1) == b"TRANSACTION":
        return Verb(b"START TRANSACTION", Trait.BEGINS, NO_EFFECT, at)
    return Verb(b"START", Trait.ENDS, NO_EFFECT, at)


def _finish(words: Sequence[bytes], at: int) -> Verb:
    """COMMIT, ROLLBACK. RELEASE closes the connection: nobody else may be given it."""
    first = words[at]
    if b"TO" in words[at + 1 : at + 3]:
        return Verb(first + b" TO", NOTHING, Effect.SAVEPOINT, at)
    rest = [this for this in words[at + 1 :] if this != b"WORK"]
    chain = rest[:2] == [b"AND", b"CHAIN"]
    release = rest[-1:] == [b"RELEASE"] and rest[-2:-1] != [b"NO"]
    traits = Trait.ENDS | Trait.BEGINS if chain else Trait.ENDS
    return Verb(first, traits, Effect.UNKNOWN if release else NO_EFFECT, at)


def _xa(words: Sequence[bytes], at: int) -> Verb:
    what = word(words, at + 1)
    traits = NOTHING
    if what in (b"START", b"BEGIN"):
        traits = Trait.BEGINS
    elif what == b"COMMIT":
        traits = COMMITTED_WRITE  # often of what another session wrote
    elif what == b"ROLLBACK":
        traits = Trait.ENDS
    return Verb((b"XA " + what).strip(), traits, Effect.XA, at)


def _lock(words: Sequence[bytes], at: int) -> Verb:
    """LOCK TABLES, LOCK INSTANCE FOR BACKUP, BACKUP STAGE, BACKUP LOCK."""
    first, what = words[at], word(words, at + 1)
    ends = first == b"BACKUP" and (what == b"UNLOCK" or word(words, at + 2) == b"END")
    traits = Trait.ENDS if what in TABLES or what == b"STAGE" else NOTHING
    return Verb(
        (first + b" " + what).strip(), traits, Effect.UNLOCK if ends else Effect.TABLE_LOCK, at
    )


def _flush(words: Sequence[bytes], at: int) -> Verb:
    """FLUSH ... WITH READ LOCK and FOR EXPORT lock; the rest of FLUSH does not."""
    pairs = set(zip(words[at:], words[at + 1 :], strict=False))
    locks = (b"READ", b"LOCK") in pairs or (b"FOR", b"EXPORT") in pairs
    return Verb(b"FLUSH", Trait.ENDS, Effect.TABLE_LOCK if locks else NO_EFFECT, at)


def _load(words: Sequence[bytes], at: int) -> Verb:
    what = word(words, at + 1)
    if what == b"INDEX":
        return Verb(b"LOAD INDEX", Trait.ENDS, NO_EFFECT, at)
    local = b"LOCAL" in words[at + 2 : at + 4]
    effects = Effect.LOCAL_INFILE if local else NO_EFFECT
    return Verb((b"LOAD " + what).strip(), Trait.WRITE, effects, at)


def _kill(words: Sequence[bytes], at: int) -> Verb:
    accounts = b"USER" in words[at + 1 : at + 4]
    return Verb(b"KILL", NOTHING, Effect.KILL, NOT_RUN if accounts else at)


SPECIAL: dict[bytes, Callable[[Sequence[bytes], int], Verb]] = {
    b"WITH": _with,
    b"EXPLAIN": _explain,
    b"DESCRIBE": _explain,
    b"DESC": _explain,
    b"ANALYZE": _analyze,
    b"SET": _set,
    b"SHOW": _show,
    b"CREATE": _define,
    b"ALTER": _define,
    b"DROP": _define,
    b"RENAME": _define,
    b"GRANT": _account,
    b"REVOKE": _account,
    b"BEGIN": _begin,
    b"START": _start,
    b"COMMIT": _finish,
    b"ROLLBACK": _finish,
    b"XA": _xa,
    b"LOCK": _lock,
    b"BACKUP": _lock,
    b"FLUSH": _flush,
    b"LOAD": _load,
    b"KILL": _kill,
}


# What may name tables, by the words in it.
ASKING = frozenset((b"SELECT", b"VALUES", b"WITH", b"SET", b"DO", b"EXPLAIN", b"CALL", b"SIGNAL"))
# Statements about sessions, transactions, accounts and servers.
TABLELESS = frozenset(
    b"USE|PREPARE|EXECUTE|DEALLOCATE|GET|RESIGNAL|BEGIN|START TRANSACTION|COMMIT|COMMIT TO|ROLLBACK"
    b"|ROLLBACK TO|SAVEPOINT|RELEASE|UNLOCK|KILL|HELP|SET TRANSACTION|SET ROLE|SET PASSWORD"
    b"|SET DEFAULT|XA START|XA BEGIN|XA END|XA PREPARE|XA COMMIT|XA ROLLBACK|XA RECOVER|RESET"
    b"|CREATE DATABASE|CREATE SCHEMA|DROP DATABASE|DROP SCHEMA|ALTER DATABASE|ALTER SCHEMA"
    b"|CREATE USER|ALTER USER|DROP USER|RENAME USER|CREATE ROLE|DROP ROLE".split(b"|")
)
SHOWN_WITHOUT_TABLE = frozenset(
    b"WARNINGS ERRORS COUNT PROCESSLIST GRANTS PRIVILEGES MASTER BINARY BINLOG SLAVE REPLICA"
    b" PROFILE PROFILES".split()
)


def names_no_table(what: Verb, words: Sequence[bytes]) -> bool:
    """Whether the statement has no table in it, however deep: MariaDB asks that of its list."""
    if what.name in TABLELESS:
        return True
    if what.name == b"SHOW":
        shown = [this for this in words[1:4] if this not in (b"FULL", b"ALL")]
        return bool(shown) and (
            shown[0] in SHOWN_WITHOUT_TABLE
            or (shown[0] == b"CREATE" and word(shown, 1) in (b"DATABASE", b"SCHEMA", b"USER"))
        )
    if what.name == b"FLUSH":
        return not any(this in TABLES for this in words)
    if what.name not in ASKING:
        return False
    return all(this != b"FROM" or word(words, at + 1) == b"DUAL" for at, this in enumerate(words))
