# SPDX-License-Identifier: Apache-2.0
"""What a statement leaves for the next one to ask about: counts and warnings; pure.

found_otherwise   what FOUND_ROWS() is after a statement, if not the rows of its answer
shows_warnings    whether a statement asks for the warnings of the one before
restate           ROW_COUNT() and FOUND_ROWS() in a text, as the numbers they stand for
corrected         the same for GET DIAGNOSTICS, which takes no numbers
"""

from __future__ import annotations

from dataclasses import replace

from hproxy.protocols.mysql.lexer import tokens
from hproxy.protocols.mysql.plan import Plan
from hproxy.protocols.mysql.statement import Trait, Traits

__all__ = ["corrected", "counts_warnings", "found_otherwise", "restate", "shows_warnings"]

# What FOUND_ROWS() is after it: 1, the rows it changed, what it was before, 0, the rows an UPDATE
# has found. THERE: only the connection knows, unless it had rows; with KEPT, whatever it had.
FOUND_ONE, FOUND_AFFECTED, FOUND_KEPT, FOUND_THERE = 1 << 18, 1 << 19, 1 << 20, 1 << 21
FOUND_NONE, FOUND_MATCHED = 1 << 22, 1 << 23
# ROW_COUNT() is what it was before.
COUNT_KEPT = 1 << 24
KEEPS_FOUND = frozenset({b"ANALYZE", b"CHECK", b"CHECKSUM", b"HANDLER", b"HELP", b"REPAIR"})
EXPLAINED = frozenset({b"SELECT", b"INSERT", b"REPLACE", b"UPDATE", b"DELETE", b"WITH"})
ON_MYSQL = {b"UPDATE": FOUND_MATCHED, b"CALL": FOUND_THERE, b"DO": FOUND_ONE}
SHOWS_KEEPING = frozenset({b"WARNINGS", b"ERRORS", b"GRANTS"})


def shows_warnings(text: bytes) -> bool:
    """Whether a statement about the one before asks for its warnings, rather than for counts."""
    words = text.lower()
    return any(word in words for word in (b"warning", b"error", b"diagnostics"))


def restate(text: bytes, row_count: int, found_rows: int, modes: int) -> bytes:
    """The statement with ROW_COUNT() and FOUND_ROWS() as the numbers they stand for.

    A select item that is nothing else, or assigns it, keeps its name. In a text of several
    statements only the first one asks about what came before the text.
    """
    words = tokens(text, modes)
    out, last = [], 0
    for at, token in enumerate(words):
        if token.text == b";":
            break
        value = {b"ROW_COUNT": row_count, b"FOUND_ROWS": found_rows}.get(token.text.upper())
        following = [each.text for each in words[at + 1 : at + 3]]
        if value is None or following != [b"(", b")"]:
            continue
        end = words[at + 2].end
        start = at
        if at > 2 and words[at - 1].text == b":=" and words[at - 2].text.startswith(b"@"):
            start = at - 2  # an item that assigns it is called by all of its text, too
        before = words[start - 1].text.upper() if start else b""
        after = words[at + 3].text.upper() if at + 3 < len(words) else b""
        name = b""
        if before in (b"SELECT", b",") and after in (b"", b",", b";", b"FROM", b"LIMIT"):
            name = b" AS `" + text[words[start].start : end].replace(b"`", b"``") + b"`"
        # Still called, for the type of the column and the warnings that the call makes.
        called = text[token.start : end]
        out.append(text[last : token.start] + b"IF(1,%d,%s)" % (value, called) + name)
        last = end
    out.append(text[last:])
    return b"".join(out)


def counts_warnings(text: bytes) -> bool:
    """Whether a statement that `shows_warnings` reads nothing but their numbers."""
    words = text.lower().replace(b"@@warning_count", b"").replace(b"@@error_count", b"")
    return not shows_warnings(words) and b";" not in words


def corrected(plan: Plan, text: bytes, row_count: int, modes: int) -> Plan:
    """The plan of a GET DIAGNOSTICS, which takes ROW_COUNT from its connection."""
    words = tokens(text, modes)
    names = [
        text[first.start : words[at - 1].start]
        for at, word in enumerate(words)
        if word.text.upper() == b"ROW_COUNT" and words[at - 1].text == b"="
        for first in words[at - 2 : at - 1]
    ]
    if plan.traits.verb != b"GET" or not names:
        return plan
    items = b",".join(b"%s=%d" % (name.strip(), row_count) for name in names)
    return replace(plan, corrections=(b"SET " + items,))


def found_otherwise(traits: Traits, digest: bytes, mysql: bool) -> int:
    """What FOUND_ROWS() is after a statement, if not the rows of its last result."""
    words = digest.upper().split()
    if Trait.MULTI in traits.traits or not words:
        return FOUND_THERE if mysql and Trait.WRITE in traits.traits else 0
    if traits.verb == b"GET":
        return FOUND_KEPT | COUNT_KEPT
    if words[0] == b"EXPLAIN" and any(word in EXPLAINED for word in words[1:]):
        return FOUND_KEPT if mysql else FOUND_KEPT | FOUND_THERE
    if traits.verb.startswith(b"CREATE") and any(b"SELECT" in word for word in words):
        return FOUND_KEPT | FOUND_THERE
    if traits.verb == b"SELECT" and b"INTO" in words:
        table = mysql or Trait.NO_TABLE not in traits.traits
        return FOUND_AFFECTED if table else FOUND_NONE
    if mysql and traits.verb in ON_MYSQL:
        return ON_MYSQL[traits.verb]
    if not mysql and traits.verb in (b"SET", b"DO") and any(b"SELECT" in word for word in words):
        return FOUND_THERE
    if traits.verb in (b"INSERT", b"REPLACE") and b"SELECT" in words:
        return FOUND_AFFECTED
    shown = words[1] if words[0] == b"SHOW" and len(words) > 1 else b""
    keeps = traits.verb in KEEPS_FOUND or shown in SHOWS_KEEPING or shown.startswith(b"COUNT")
    return FOUND_KEPT if keeps else 0
