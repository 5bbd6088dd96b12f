# SPDX-License-Identifier: Apache-2.0
"""Stored procedures and functions: which of them leave nothing behind in a session.

A body is judged by its text, once per routine: what it may not do is in TRACES, and it may
call only what is harmless itself. A routine that cannot be read is not; one that does not
exist is, for then the name is a loadable function's, and those know of no session.

Redefining a routine past the proxy is not noticed: `RoutineBook.forget` is for whoever has a
clock. What triggers do is not judged here; the server's session tracking tells of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hproxy.protocols.mysql.effects import Names, is_symbol, is_word_at
from hproxy.protocols.mysql.lexer import Kind, Token, tokens
from hproxy.protocols.mysql.settings import lex_modes
from hproxy.protocols.mysql.traits import classify
from hproxy.protocols.mysql.variables import Target, is_word, read_set

__all__ = [
    "BOOK_LIMIT",
    "Judgement",
    "RoutineBook",
    "Trial",
    "harmless",
    "judge",
    "routine_question",
]

BOOK_LIMIT = 10000

# What a routine may not do if nothing is to be left behind. HANDLER is a keyword of DECLARE too.
TRACES = frozenset(
    {
        b"BACKUP", b"DEALLOCATE", b"EXECUTE", b"FLUSH", b"GET_LOCK", b"PREPARE",
        b"RELEASE_ALL_LOCKS", b"RELEASE_LOCK", b"TEMPORARY", b"UNLOCK", b"USE", b"XA",
    }
)  # fmt: skip
# The word before a SET that is a statement and not a part of UPDATE.
OPENERS = (b"BEGIN", b"THEN", b"ELSE", b"DO", b"LOOP", b"REPEAT", b"ATOMIC")


def harmless(body: bytes, parameters: Sequence[bytes] = (), modes: int = 0) -> bool:
    """Whether stored code leaves nothing in the session that runs it, but for what it calls."""
    words = tokens(body, modes)
    known = {parameter.lower() for parameter in parameters} | set(declared(words, modes))
    for i, word in enumerate(words):
        if word.kind is Kind.USER_VARIABLE:
            return False
        if word.kind is not Kind.WORD:
            continue
        text = word.text.upper()
        if text in TRACES and not (text == b"USE" and is_word_at(words, i + 1, b"INDEX", b"KEY")):
            return False
        if text == b"HANDLER" and not is_word_at(words, i - 1, b"EXIT", b"CONTINUE", b"UNDO"):
            return False
        if text == b"LOCK" and not is_word_at(words, i + 1, b"IN"):
            return False
        if text == b"SET" and opens(words, i) and not sets_only(words[i:], known, modes):
            return False
    return True


def declared(words: Sequence[Token], modes: int) -> Iterator[bytes]:
    for i, word in enumerate(words):
        if is_word(word, b"DECLARE"):
            yield from (each.lower() for each in Names(words, modes, i + 1).all())


def opens(words: Sequence[Token], at: int) -> bool:
    return at == 0 or is_symbol(words[at - 1], b";", b":") or is_word(words[at - 1], *OPENERS)


def sets_only(words: Sequence[Token], known: set[bytes], modes: int) -> bool:
    end = next((i for i, word in enumerate(words) if is_symbol(word, b";")), len(words))
    # A body of one SET has the END of its block neither here nor behind a `;`.
    assignments = read_set(words[:end], modes)
    return assignments is not None and all(
        each.target is Target.SESSION
        and (each.name in known or each.name.startswith((b"new.", b"old.")))
        for each in assignments
    )


Row = tuple[bytes | None, ...]
Judgement = tuple[bool, tuple[bytes, ...]]
"""Whether the body is harmless, and the names of what it calls."""


def routine_question(schema: bytes, routine: bytes) -> bytes:
    """Ask for all there is of that name; the names are UTF-8."""
    found = b"_utf8mb4 x'%s'"
    place = found % schema.hex().encode(), found % routine.hex().encode()
    return (
        b"SELECT ROUTINE_DEFINITION,(SELECT GROUP_CONCAT(PARAMETER_NAME)"
        b" FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA=%s AND SPECIFIC_NAME=%s),"
        b"ROUTINE_BODY,SQL_MODE FROM information_schema.ROUTINES"
        b" WHERE ROUTINE_SCHEMA=%s AND ROUTINE_NAME=%s LIMIT 9" % (place * 2)
    )


def judge(rows: Sequence[Row]) -> Judgement:
    """What the answer to `routine_question` says."""
    called: list[bytes] = []
    for body, parameters, language, sql_mode in rows:
        if body is None or language != b"SQL":
            return False, ()
        modes = lex_modes(sql_mode or b"", b"utf8mb4")
        if not harmless(body, (parameters or b"").split(b","), modes):
            return False, ()
        called += classify(body, modes).routines
    return True, tuple(called)


class RoutineBook:
    """What is known of a worker's routines, by schema and name."""

    def __init__(self) -> None:
        self._harmless: dict[tuple[bytes, bytes], bool] = {}

    def get(self, schema: bytes, routine: bytes) -> bool | None:
        """Whether it is harmless, None where nobody has looked yet."""
        return self._harmless.get((schema, routine.lower()))

    def put(self, schema: bytes, routine: bytes, verdict: bool) -> None:
        """Remember it."""
        if len(self._harmless) >= BOOK_LIMIT:
            self.forget()
        self._harmless[schema, routine.lower()] = verdict

    def forget(self) -> None:
        """Routines may have changed."""
        self._harmless.clear()


Name = tuple[bytes, bytes]
"""Schema and routine."""


class Trial:
    """The routines that one session has run and that nobody has judged yet."""

    def __init__(self, book: RoutineBook) -> None:
        self.stained = False
        """Code ran that leaves who knows what."""
        self._book = book
        self._waiting: dict[Name, None] = {}
        self._summoned: set[Name] = set()
        # Harmless by themselves, until there is a verdict on what they call.
        self._callers: dict[Name, tuple[Name, ...]] = {}

    @property
    def open(self) -> bool:
        """Whether something may have been left behind."""
        return self.stained or bool(self._waiting)

    @property
    def undecided(self) -> bool:
        """Whether some are still to be judged."""
        return bool(self._waiting or self._callers)

    def ran(self, names: Sequence[Name]) -> bool:
        """These ran. True when all of them are known to be harmless."""
        verdicts = [self._book.get(*name) for name in names]
        self.stained |= False in verdicts
        for name, verdict in zip(names, verdicts, strict=True):
            if verdict is None:
                self._waiting[name] = None
        return all(verdicts)

    def summon(self) -> list[Name]:
        """Those to be asked for now."""
        self._settle()
        known = self._summoned | self._callers.keys()
        found = [name for name in self._waiting if name not in known]
        self._summoned |= set(found)
        return found

    def postpone(self, name: Name) -> None:
        """It was not asked for after all: summon it again."""
        self._summoned.discard(name)

    def answered(self, name: Name, rows: Sequence[Row], package: bool) -> None:
        """What `routine_question` found; `package`: nothing, of what did run."""
        self._summoned.discard(name)
        fine, called = judge(rows)
        if package or not fine:
            self._book.put(*name, False)
        elif not called:
            self._book.put(*name, True)
        else:
            self._callers[name] = tuple(self._inner(name[0], each) for each in called)
            self._waiting |= dict.fromkeys(self._callers[name])
        self._settle()

    @staticmethod
    def _inner(schema: bytes, written: bytes) -> Name:
        own, _, routine = written.replace(b"`", b"").rpartition(b".")
        return own or schema, routine.lower()

    def _settle(self) -> None:
        """Carry verdicts from routines to those that call them, and to the session."""
        changed = True
        while changed:
            changed = False
            for name, called in list(self._callers.items()):
                if any(self._book.get(*inner) is False for inner in called):
                    self._book.put(*name, False)
                    del self._callers[name]
                    changed = True
        inner = {each for called in self._callers.values() for each in called}
        if all(each in self._callers or self._book.get(*each) for each in inner):
            # What is left calls only what is harmless, or each other.
            for name in self._callers:
                self._book.put(*name, True)
            self._callers.clear()
        for name in list(self._waiting):
            verdict = self._book.get(*name)
            if verdict is not None:
                self.stained |= not verdict
                del self._waiting[name]
