# SPDX-License-Identifier: Apache-2.0
"""What the text of a statement says about routing it and about its session; pure.

    text --split at ;--> statements --verbs.py--> what the first words mean
                                    --calls.py--> the functions in it
                                    --here------> variables, FOR UPDATE, INTO, ...
    and a text of several statements has all of their effects, and is as safe as the least safe.

The digest of a text gives the same as the text: no literal is looked into. What views, triggers
and stored code do is not in the text; that a routine is called is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise

from hproxy._native.digest import TEXT_BYTES, digest
from hproxy.protocols.mysql.calls import CALLED, ON_WRITER, calls
from hproxy.protocols.mysql.lexer import Kind, Token, name, tokens
from hproxy.protocols.mysql.statement import SLOW_EFFECTS, Effect, Trait, Traits
from hproxy.protocols.mysql.verbs import (
    LITERAL,
    NAME,
    PROGRAMS,
    Verb,
    kind_of_thing,
    names_no_table,
    verb,
)

__all__ = ["SLOW_EFFECTS", "Effect", "Trait", "Traits", "classify"]

LONG = 1024
"""Bytes from which on rows and lists of literals are likely: nobody waits while they are read."""

LITERALS = (Kind.STRING, Kind.NUMBER, Kind.PARAMETER)
VARIABLES = (Kind.USER_VARIABLE, Kind.SYSTEM_VARIABLE)
NAMED = (*VARIABLES, Kind.WORD, Kind.QUOTED)

# Every statement of a text must be it for the text to be it.
ALL_OR_NOTHING = Trait.READ | Trait.SAFE_REPEAT | Trait.NO_TABLE

# A query with one of these is none that a reader may answer.
NOT_READING = (
    Effect.LOCKING_READ
    | Effect.INTO
    | Effect.SEQUENCE
    | Effect.USER_LOCK
    | Effect.RELEASE_LOCK
    | Effect.ROUTINE
    | Effect.PROFILING
)

# Their OK says what LAST_INSERT_ID(expr) was; that of no other statement does.
SAY_INSERT_ID = frozenset((b"INSERT", b"REPLACE", b"UPDATE"))

SYSTEM_VARIABLES: dict[bytes, tuple[Trait, Effect]] = {
    b"warning_count": (Trait.CONTEXT, Effect(0)),
    b"error_count": (Trait.CONTEXT, Effect(0)),
    b"last_gtid": (Trait.CONTEXT, Effect(0)),
    b"last_insert_id": (Trait.LAST_ID, Effect(0)),
    b"identity": (Trait.LAST_ID, Effect(0)),
    b"profiling": (Trait(0), Effect.PROFILING),
    b"pseudo_thread_id": (Trait(0), Effect.CONNECTION_ID),
}

# Asked of a reader they would describe the wrong server.
OF_THE_WRITER = (b"gtid_", b"read_only", b"super_read_only", b"in_transaction")

# Tables that show variables of the session beside those that its client has set.
SHOWS_VARIABLES = frozenset((b"session_variables", b"system_variables", b"variables_by_thread"))


def classify(sql: bytes, modes: int = 0, whole: bool = True) -> Traits:
    """What is known of `sql`, a text or its digest; `modes` as for the lexer. Never raises.

    A token costs several microseconds, so that of a long text the digest is read, unless that is
    cut off. If only the head of the text is there, `whole` is False and the rest may do anything.
    """
    if len(sql) > LONG:
        short = digest(sql, modes)
        if len(short) < TEXT_BYTES:
            sql = short
    known = _classify(sql, modes)
    if whole:
        return known
    traits = (known.traits & ~ALL_OR_NOTHING) | Trait.SLOW | Trait.WRITE
    return replace(known, traits=traits, effects=known.effects | Effect.UNKNOWN)


def _classify(sql: bytes, modes: int) -> Traits:
    found = [token for token in tokens(sql, modes) if token.kind is not Kind.HINT]
    judged = [_judge(part, words, modes) for part, words in _split(found)]
    if not judged:
        return Traits(Trait(0), Effect(0), b"")
    if len(judged) == 1:
        return judged[0]
    common = reduce(Trait.__and__, (one.traits for one in judged))
    union = reduce(Trait.__or__, (one.traits for one in judged))
    effects = reduce(Effect.__or__, (one.effects for one in judged))
    routines = dict.fromkeys(routine for one in judged for routine in one.routines)
    traits = (union & ~ALL_OR_NOTHING) | (common & ALL_OR_NOTHING) | Trait.MULTI
    return Traits(traits, effects, judged[0].verb, tuple(routines))


def _words(found: list[Token]) -> list[bytes]:
    """For each token its keyword or operator, LITERAL, or NAME; what stands beside a dot is a
    name even if it looks like a keyword."""
    words = []
    for index, token in enumerate(found):
        if token.kind is Kind.PUNCTUATION:
            words.append(token.text)
        elif token.kind in LITERALS:
            words.append(LITERAL)
        elif token.kind is Kind.WORD and not (
            (index and found[index - 1].text == b".") or _dot_follows(found, index)
        ):
            words.append(token.text.upper())
        else:
            words.append(NAME)
    return words


def _dot_follows(found: list[Token], index: int) -> bool:
    return index + 1 < len(found) and found[index + 1].text == b"."


def _split(found: list[Token]) -> Iterator[tuple[list[Token], list[bytes]]]:
    """The statements of a text and their words, without semicolons and without empty ones."""
    words = _words(found)
    start = 0
    while start < len(found):
        end = _end(words, start)
        if end > start:
            yield found[start:end], words[start:end]
        start = end + 1


def _end(words: list[bytes], start: int) -> int:
    """Where the statement ends that begins at `start`: at the semicolon that is its own."""
    first = words[start]
    program = first in (b"CREATE", b"ALTER") and kind_of_thing(words, start) in PROGRAMS
    block = first == b"BEGIN" and words[start + 1 : start + 2] == [b"NOT"]
    depth, nests = 0, program or block or first in BLOCKS
    before = b";"
    for index in range(start, len(words)):
        this = words[index]
        if this == b";" and depth <= 0:
            return index
        if not nests:
            continue
        if this == b"END":
            depth -= 1
        elif before != b"END":  # END IF ends one block only
            opens = this in BLOCKS and before in BEFORE_BLOCK
            function = this == b"REPEAT" and words[index + 1 : index + 2] == [b"("]
            depth += this in (b"BEGIN", b"CASE") or (opens and not function)
        before = this
    return len(words)


BLOCKS = frozenset((b"IF", b"CASE", b"LOOP", b"REPEAT", b"WHILE"))
BEFORE_BLOCK = frozenset(
    b"; BEGIN THEN ELSE DO LOOP REPEAT : ) ROW DETERMINISTIC DATA SQL DEFINER INVOKER".split()
)


def _judge(found: list[Token], words: list[bytes], modes: int) -> Traits:
    """What one statement is."""
    what = verb(words)
    seen = Findings(what.traits, what.effects)
    if what.runs >= 0:
        part, part_words = found[what.runs :], words[what.runs :]
        _find_clauses(seen, part_words, what.query)
        _find_procedures(seen, part, part_words)
        _find_calls(seen, part, part_words, modes)
        _find_variables(seen, part, part_words, what, modes)
    if Effect.SEQUENCE not in seen.effects and names_no_table(what, words):
        seen.traits |= Trait.NO_TABLE
    _settle(seen, what)
    return Traits(seen.traits, seen.effects, what.name, tuple(seen.routines))


@dataclass(slots=True)
class Findings:
    """What has been found in one statement so far."""

    traits: Trait
    effects: Effect
    routines: dict[bytes, None] = field(default_factory=dict)  # in their order
    on_writer: bool = False


def _find_clauses(seen: Findings, words: list[bytes], query: bool) -> None:
    if b"SQL_CALC_FOUND_ROWS" in words:
        seen.traits |= Trait.CALC_ROWS
    if query and b"INTO" in words:
        seen.effects |= Effect.INTO
    for first, second in pairwise(words):
        if (first == b"FOR" and second in (b"UPDATE", b"SHARE")) or (
            first == b"LOCK" and second == b"IN"
        ):
            seen.effects |= Effect.LOCKING_READ
        elif second == b"VALUE" and first in (b"NEXT", b"PREVIOUS"):
            seen.effects |= Effect.SEQUENCE
            if first == b"PREVIOUS":
                seen.traits |= Trait.CONTEXT


def _find_procedures(seen: Findings, found: list[Token], words: list[bytes]) -> None:
    """The names behind CALL, as written; in a block of statements it may stand anywhere."""
    for index, this in enumerate(words):
        if this == b"CALL" and index + 1 < len(words):
            end = index + 2
            while words[end : end + 1] == [b"."]:
                end += 2
            seen.effects |= Effect.ROUTINE
            named = found[index + 1 : end]
            if all(token.kind not in LITERALS for token in named):  # else it is no statement
                seen.routines[b"".join(token.text for token in named)] = None


def _find_calls(seen: Findings, found: list[Token], words: list[bytes], modes: int) -> None:
    for call in calls(found, words, modes):
        traits, effects = CALLED.get(call.name, (Trait(0), Effect(0)))
        seen.traits |= traits
        seen.effects |= effects
        seen.on_writer |= call.name in ON_WRITER
        if call.routine:
            seen.effects |= Effect.ROUTINE
            seen.routines[call.routine] = None
        elif call.sequence:
            seen.effects |= Effect.SEQUENCE
        elif call.name == b"LAST_INSERT_ID" and call.has_arguments:
            seen.effects |= Effect.LAST_ID_SET


def _find_variables(
    seen: Findings, found: list[Token], words: list[bytes], what: Verb, modes: int
) -> None:
    setting = Effect.SET in what.effects
    for index, token in enumerate(found):
        if token.kind not in NAMED:
            continue
        plain = name(token, modes).lower()
        follows = words[index + 1] if index + 1 < len(words) else NAME
        if token.kind is Kind.USER_VARIABLE:
            seen.effects |= Effect.USER_VARIABLES
            seen.on_writer |= follows == b":="
        elif token.kind is Kind.SYSTEM_VARIABLE or setting:
            plain = plain.rpartition(b".")[2]
            traits, effects = SYSTEM_VARIABLES.get(plain, (Trait(0), Effect(0)))
            seen.traits |= traits
            seen.effects |= effects
            seen.on_writer |= plain.startswith(OF_THE_WRITER)
            if setting and plain == b"autocommit":
                seen.traits |= Trait.ENDS  # switched on, it commits
        if token.kind in VARIABLES and setting and follows not in (b"=", b":="):
            seen.traits &= ~Trait.SAFE_REPEAT  # SET @a = @a + 1
        if plain.startswith(b"session_track_") or plain in SHOWS_VARIABLES:
            seen.effects |= Effect.TRACKING
        elif plain == b"profiling" and words[index - 1 : index] == [b"."]:
            seen.effects |= Effect.PROFILING  # information_schema.profiling


def _settle(seen: Findings, what: Verb) -> None:
    """Traits that follow from what was found."""
    keeps = seen.effects & NOT_READING
    asks = bool(seen.traits & (Trait.CONTEXT | Trait.LAST_ID)) or seen.on_writer
    if keeps or asks:
        seen.traits &= ~Trait.READ
    if keeps & ~Effect.LOCKING_READ or asks:
        seen.traits &= ~Trait.SAFE_REPEAT
    if seen.effects & (Effect.ROUTINE | Effect.SEQUENCE):
        seen.traits |= Trait.WRITE
    sets_id = Effect.LAST_ID_SET in seen.effects and what.name not in SAY_INSERT_ID
    if seen.effects & SLOW_EFFECTS or sets_id:
        seen.traits |= Trait.SLOW
