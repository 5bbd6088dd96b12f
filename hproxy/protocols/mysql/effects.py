# SPDX-License-Identifier: Apache-2.0
"""What one statement would do to its session, read from its text.

    split(tokens)     the statements of one text
    read(tokens)      names: variables, temporary tables, locks, prepared statements, handlers

Nothing here says that it happened: the text may be refused. See state.py for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hproxy.protocols.mysql.lexer import NO_BACKSLASH_ESCAPES, Kind, Token, name, unquoted
from hproxy.protocols.mysql.variables import Assignment, is_word, read_set

__all__ = ["Effects", "LockKind", "Names", "Source", "is_symbol", "is_word_at", "read", "split"]

TEXT_LIMIT = 65536
NAME = re.compile(rb"[ !#-&(-\[\]-~]{1,64}")  # ASCII without quotes and backslash


class LockKind:
    """What holds tables, each with an end of its own."""

    TABLES = "tables"  # UNLOCK TABLES, or the begin of a transaction
    GLOBAL = "global"  # UNLOCK TABLES
    INSTANCE = "instance"  # UNLOCK INSTANCE
    BACKUP = "backup"  # BACKUP STAGE END
    BACKUP_LOCK = "backup lock"  # BACKUP UNLOCK


@dataclass(frozen=True, slots=True)
class Source:
    """Where PREPARE takes its text from: a literal, a user variable, or neither we can read."""

    text: bytes | None = None
    user: bytes | None = None
    long: bool = False
    """A literal, but too long to be kept."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Of one statement, should it succeed; names as they are compared by the server."""

    assignments: tuple[Assignment, ...] = ()
    unread_set: bool = False
    """A SET that is not understood."""
    users: frozenset[bytes] = frozenset()
    """User variables that may get a value nobody can tell from the text."""
    use: bytes | None = None
    dropped_schema: bytes | None = None
    created: tuple[bytes, ...] = ()
    """Temporary tables, as `schema.name` or `name`."""
    dropped: tuple[bytes, ...] = ()
    renamed: tuple[tuple[bytes, bytes], ...] = ()
    """Tables, temporary or not, and their new names."""
    locks: tuple[bytes | None, ...] = ()
    """Names given to GET_LOCK; None where it is not a plain literal."""
    releases: bool = False
    releases_all: bool = False
    holds: tuple[str, ...] = ()
    lets_go: tuple[str, ...] = ()
    begins: bool = False
    prepared: tuple[bytes, Source] | None = None
    deallocated: bytes | None = None
    executed: bytes | None = None
    immediate: Source | None = None
    using: tuple[bytes, ...] = ()
    opened: bytes | None = None
    closed: bytes | None = None
    xa: bool | None = None
    """True for START, False for COMMIT and ROLLBACK."""
    calls: bool = False
    compound: bool = False
    """An anonymous block."""
    defines_routine: bool = False


COMPOUND = (b"IF", b"LOOP", b"WHILE", b"REPEAT", b"FOR", b"CASE", b"DECLARE")
ROUTINES = (b"PROCEDURE", b"FUNCTION", b"TRIGGER", b"EVENT", b"PACKAGE")


def split(words: Sequence[Token]) -> list[list[Token]]:
    """The statements of one text, without their `;`. Stored code stays whole."""
    found: list[list[Token]] = []
    begin = 0
    while begin < len(words):
        end = begin
        if is_compound(words[begin:]) or defines_routine(words[begin:]):
            end = len(words)
        while end < len(words) and not is_symbol(words[end], b";"):
            end += 1
        if end > begin:
            found.append(list(words[begin:end]))
        begin = end + 1
    return found


def is_symbol(token: Token, *symbols: bytes) -> bool:
    return token.kind is Kind.PUNCTUATION and token.text in symbols


def is_compound(words: Sequence[Token]) -> bool:
    """MariaDB's anonymous blocks: `BEGIN NOT ATOMIC ...`, `IF ... END IF`, `label: LOOP`."""
    if is_word(words[0], b"BEGIN"):
        return len(words) > 1 and not is_word(words[1], b"WORK") and not is_symbol(words[1], b";")
    if len(words) > 1 and words[0].kind is Kind.WORD and is_symbol(words[1], b":"):
        return True
    return is_word(words[0], *COMPOUND) and not is_symbol(words[-1], b"=")


def defines_routine(words: Sequence[Token]) -> bool:
    # CREATE [OR REPLACE] [DEFINER = a@b] [AGGREGATE] FUNCTION: never far from the start.
    return is_word(words[0], b"CREATE", b"ALTER", b"DROP") and any(
        is_word(word, *ROUTINES) for word in words[1:12]
    )


def read(words: Sequence[Token], modes: int = 0) -> Effects:
    """The effects of one statement, given as `split` makes them."""
    if is_word(words[0], b"SET") and len(words) > 1 and is_word(words[1], b"STATEMENT"):
        return for_statement(words, modes)
    found = Effects(
        users=users(words, modes),
        locks=tuple(locks(words, modes)),
        releases=calls(words, b"RELEASE_LOCK"),
        releases_all=calls(words, b"RELEASE_ALL_LOCKS"),
    )
    if is_compound(words):
        return replace(found, compound=True, users=frozenset(every_user(words, modes)))
    if defines_routine(words):
        return Effects(defines_routine=True)
    reader = READERS.get(words[0].text.upper()) if words[0].kind is Kind.WORD else None
    return reader(found, words, modes) if reader else found


# -- user variables and locks: anywhere in a statement ------------------------------------------


def every_user(words: Sequence[Token], modes: int) -> Iterator[bytes]:
    return (name(word, modes) for word in words if word.kind is Kind.USER_VARIABLE)


def users(words: Sequence[Token], modes: int) -> frozenset[bytes]:
    """What `:=` and INTO assign."""
    found = set()
    into = False
    for i, word in enumerate(words):
        if word.kind is Kind.USER_VARIABLE:
            following = words[i + 1] if i + 1 < len(words) else None
            if into or (following and is_symbol(following, b":=")):
                found.add(name(word, modes))
        elif not is_symbol(word, b","):
            into = is_word(word, b"INTO")
    return frozenset(found)


def calls(words: Sequence[Token], function: bytes) -> bool:
    return any(
        is_word(word, function) and is_symbol(following, b"(")
        for word, following in pairwise(words)
    )


def locks(words: Sequence[Token], modes: int) -> Iterator[bytes | None]:
    for i, word in enumerate(words):
        if not is_word(word, b"GET_LOCK") or not is_symbol_at(words, i + 1, b"("):
            continue
        plain = None
        if is_symbol_at(words, i + 3, b","):
            plain = string(words[i + 2], modes)
        # Only what needs no escape, in any character set, can be asked for later.
        yield plain if plain and NAME.fullmatch(plain) else None


def is_symbol_at(words: Sequence[Token], at: int, *symbols: bytes) -> bool:
    return at < len(words) and is_symbol(words[at], *symbols)


def string(token: Token, modes: int) -> bytes | None:
    """The text of a string without a prefix."""
    if token.kind is not Kind.STRING or token.text[:1] not in (b"'", b'"'):
        return None
    return unquoted(token.text, modes, not modes & NO_BACKSLASH_ESCAPES)


# -- by the first word ----------------------------------------------------------------------------


class Names:
    """Goes through what a statement names; `after` skips optional words."""

    def __init__(self, words: Sequence[Token], modes: int, at: int) -> None:
        self.words = words
        self.modes = modes
        self.at = at

    def after(self, *optional: bytes) -> None:
        while self.at < len(self.words) and is_word(self.words[self.at], *optional):
            self.at += 1

    def one(self) -> bytes | None:
        """`name` or `schema.name`, or None when there is none."""
        parts = []
        while self.at < len(self.words):
            if self.words[self.at].kind not in (Kind.WORD, Kind.QUOTED):
                break
            parts.append(name(self.words[self.at], self.modes))
            self.at += 1
            if not is_symbol_at(self.words, self.at, b"."):
                break
            self.at += 1
        return b".".join(parts) if parts else None

    def all(self) -> tuple[bytes, ...]:
        """The same, separated by commas."""
        found = []
        while (each := self.one()) is not None:
            found.append(each)
            if not is_symbol_at(self.words, self.at, b","):
                break
            self.at += 1
        return tuple(found)


def read_assignments(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    assignments = read_set(words, modes)
    # With those that `:=` assigns on the way.
    return replace(
        found,
        assignments=assignments or (),
        unread_set=assignments is None,
        users=found.users if assignments is None else frozenset(),
    )


def for_statement(words: Sequence[Token], modes: int) -> Effects:
    """`SET STATEMENT a = 1 FOR ...` does what the statement behind FOR does."""
    temporary = read_set(words, modes)
    inner = next((i for i, word in enumerate(words) if is_word(word, b"FOR")), len(words)) + 1
    if temporary is None or inner >= len(words):
        return Effects(unread_set=True)
    return read(words[inner:], modes)


def read_use(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    return replace(found, use=Names(words, modes, 1).one())


def read_create(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    names.after(b"OR", b"REPLACE")
    if not is_word_at(words, names.at, b"TEMPORARY"):
        return found
    names.at += 1
    names.after(b"TABLE", b"SEQUENCE", b"IF", b"NOT", b"EXISTS")
    table = names.one()
    return replace(found, created=(table,) if table else ())


def is_word_at(words: Sequence[Token], at: int, *texts: bytes) -> bool:
    return at < len(words) and is_word(words[at], *texts)


def read_drop(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    if is_word_at(words, 1, b"PREPARE"):
        names.at += 1
        return replace(found, deallocated=statement_name(names))
    if is_word_at(words, 1, b"DATABASE", b"SCHEMA"):
        names.after(b"DATABASE", b"SCHEMA", b"IF", b"EXISTS")
        return replace(found, dropped_schema=names.one())
    names.after(b"TEMPORARY")
    if not is_word_at(words, names.at, b"TABLE", b"TABLES", b"SEQUENCE"):
        return found
    names.after(b"TABLE", b"TABLES", b"SEQUENCE", b"IF", b"EXISTS")
    return replace(found, dropped=names.all())


def read_alter(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    names.after(b"ONLINE", b"IGNORE")
    if not is_word_at(words, names.at, b"TABLE"):
        return found
    names.after(b"TABLE", b"IF", b"EXISTS")
    table = names.one()
    pairs = []
    for at in range(names.at, len(words)):
        # RENAME COLUMN, INDEX and KEY name no table.
        if is_word(words[at], b"RENAME") and not is_word_at(
            words, at + 1, b"COLUMN", b"INDEX", b"KEY"
        ):
            names.at = at + 1
            names.after(b"TO", b"AS")
            new = names.one()
            if table and new:
                pairs.append((table, new))
    return replace(found, renamed=tuple(pairs))


def read_rename(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    if not is_word_at(words, 1, b"TABLE", b"TABLES"):
        return found
    names.after(b"TABLE", b"TABLES", b"IF", b"EXISTS")
    pairs = []
    while (old := names.one()) is not None:
        names.after(b"WAIT", b"NOWAIT", b"TO")
        if (new := names.one()) is None:
            break
        pairs.append((old, new))
        if not is_symbol_at(words, names.at, b","):
            break
        names.at += 1
    return replace(found, renamed=tuple(pairs))


def read_lock(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    if is_word_at(words, 1, b"INSTANCE"):
        return replace(found, holds=(LockKind.INSTANCE,))
    return replace(found, holds=(LockKind.TABLES,))


def read_unlock(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    if is_word_at(words, 1, b"INSTANCE"):
        return replace(found, lets_go=(LockKind.INSTANCE,))
    return replace(found, lets_go=(LockKind.TABLES, LockKind.GLOBAL))


def read_flush(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    texts = [word.text.upper() for word in words]
    if texts[-3:] == [b"WITH", b"READ", b"LOCK"]:
        tables = texts[-4] not in (b"TABLES", b"TABLE")
        return replace(found, holds=(LockKind.TABLES if tables else LockKind.GLOBAL,))
    if texts[-2:] == [b"FOR", b"EXPORT"]:
        return replace(found, holds=(LockKind.TABLES,))
    return found


def read_backup(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    texts = [word.text.upper() for word in words[1:3]]
    if texts[:1] == [b"LOCK"]:
        return replace(found, holds=(LockKind.BACKUP_LOCK,))
    if texts[:1] == [b"UNLOCK"]:
        return replace(found, lets_go=(LockKind.BACKUP_LOCK,))
    if texts == [b"STAGE", b"END"]:
        return replace(found, lets_go=(LockKind.BACKUP,))
    return replace(found, holds=(LockKind.BACKUP,))


def read_begin(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    begins = is_word(words[0], b"BEGIN") or is_word_at(words, 1, b"TRANSACTION")
    return replace(found, begins=begins)


def statement_name(names: Names) -> bytes | None:
    found = names.one()
    return None if found is None else found.lower()


def read_prepare(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    statement = statement_name(names)
    behind = names.at + 1
    if statement is None or not is_word_at(words, names.at, b"FROM") or behind == len(words):
        return found
    return replace(found, prepared=(statement, source(words[behind:], modes)))


def source(words: Sequence[Token], modes: int) -> Source:
    if len(words) != 1:
        return Source()
    if words[0].kind is Kind.USER_VARIABLE:
        return Source(user=name(words[0], modes))
    text = string(words[0], modes)
    if text is not None and len(text) > TEXT_LIMIT:
        return Source(long=True)
    return Source(text)


def read_execute(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    using = next((i for i, word in enumerate(words) if is_word(word, b"USING")), len(words))
    given = tuple(every_user(words[using:], modes))
    if is_word_at(words, 1, b"IMMEDIATE"):
        return replace(found, immediate=source(words[2:using], modes), using=given)
    return replace(found, executed=statement_name(Names(words, modes, 1)), using=given)


def read_deallocate(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    names.after(b"PREPARE")
    return replace(found, deallocated=statement_name(names))


def read_handler(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    names = Names(words, modes, 1)
    table = names.one()
    if table is None:
        return found
    if is_word_at(words, names.at, b"OPEN"):
        names.at += 1
        names.after(b"AS")
        return replace(found, opened=names.one() or table.rpartition(b".")[2])
    if is_word_at(words, names.at, b"CLOSE"):
        return replace(found, closed=table.rpartition(b".")[2])
    return found


def read_xa(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    if is_word_at(words, 1, b"START", b"BEGIN"):
        return replace(found, xa=True)
    if is_word_at(words, 1, b"COMMIT", b"ROLLBACK"):
        return replace(found, xa=False)
    return found


def read_call(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    """Its variables may be the procedure's OUT parameters."""
    return replace(found, users=frozenset(every_user(words, modes)), calls=True)


def read_every_user(found: Effects, words: Sequence[Token], modes: int) -> Effects:
    return replace(found, users=frozenset(every_user(words, modes)))


READERS: dict[bytes, Callable[[Effects, Sequence[Token], int], Effects]] = {
    b"ALTER": read_alter,
    b"BACKUP": read_backup,
    b"BEGIN": read_begin,
    b"CALL": read_call,
    b"CREATE": read_create,
    b"DEALLOCATE": read_deallocate,
    b"DROP": read_drop,
    b"EXECUTE": read_execute,
    b"FLUSH": read_flush,
    b"GET": read_every_user,  # DIAGNOSTICS @a = ...
    b"HANDLER": read_handler,
    b"LOAD": read_every_user,  # ... (@column) SET a = @column
    b"LOCK": read_lock,
    b"PREPARE": read_prepare,
    b"RENAME": read_rename,
    b"SET": read_assignments,
    b"START": read_begin,
    b"UNLOCK": read_unlock,
    b"USE": read_use,
    b"XA": read_xa,
}
