# SPDX-License-Identifier: Apache-2.0
"""SQL text as SQLite reads it: where a statement ends, how many "?" it has; pure.

    text ── pieces ──> strings, names, comments, code: what is open ends with the text, and all
                       is possessive, so time is linear in the length
    text ── statements() ──> each statement by itself
    text ── collapse() ──> what commands are matched against: one blank, no ";" at the end
    text ── redact() ──> what a log may keep
    text ── dialect() ──> MySQL's INSERT IGNORE and TRUNCATE as SQLite says them

A backslash escapes nothing here: clients are told NO_BACKSLASH_ESCAPES.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = [
    "collapse", "dialect", "first_word", "parameters", "quoted", "redact", "statements", "unquoted",
]  # fmt: skip

PIECE = re.compile(
    r"""
      (?P<string>'(?:[^']|'')*+(?:'|\Z)|"(?:[^"]|"")*+(?:"|\Z)|`(?:[^`]|``)*+(?:`|\Z)
        |\[[^\]]*+(?:\]|\Z))
    | (?P<comment>/\*(?!!).*?(?:\*/|\Z)|--[^\n]*+)
    | (?P<end>;)
    | (?P<parameter>\?)
    | (?P<code>[^'"`\[/;?-]++|.)
    """,
    re.VERBOSE | re.DOTALL,
)
BLANKS = re.compile(r"\s+")
FIRST_WORD = re.compile(r"[^\W\d]\w*")
EDGE = re.compile(r"(?:\s|/\*(?!!).*?\*/|--[^\n]*(?:\n|\Z)|\#[^\n]*(?:\n|\Z))*", re.DOTALL)
INSERT_IGNORE = re.compile(r"INSERT\s+IGNORE\b(?:\s+INTO\b)?", re.IGNORECASE)
TRUNCATE = re.compile(r"TRUNCATE\s+(?:TABLE\s+)?(?=\S)", re.IGNORECASE)
# replication-manager looks for the live digests among the samples.
MISPLACED = re.compile(r"\bstats_history\.(?=stats_mysql_query_digest\b)", re.IGNORECASE)
HIDDEN = "'***'"
# Names of columns and variables that hold passwords, and the tables they are in.
SECRETS = re.compile(
    r"passw|credential|mysql_users|attributes|secret|identified|_keylog|\bkey\b", re.I
)
UNQUOTED = re.compile(r"(\ASET\s[^=]*=)\s*[^\s'].*\Z", re.I | re.DOTALL)
# A number may be one, too: after its name, or in a list of values.
NUMBERS = re.compile(
    r"((?:passw|secret|credential)\w{0,16}+[`\"\]]?\s*+=\s*+|[(,]\s*+)\d[\w.]*+", re.IGNORECASE
)
QUOTES = {"'": "'", '"': '"', "`": "`"}


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    for match in PIECE.finditer(text):
        assert match.lastgroup is not None
        yield match.lastgroup, match[0]


def statements(text: str) -> list[str]:
    """The statements of `text`, without comments before them; empty ones are left out."""
    found: list[str] = []
    current: list[str] = []
    for kind, piece in _pieces(text):
        if kind == "end":
            found.append("".join(current))
            current = []
        else:
            current.append(piece)
    found.append("".join(current))
    stripped = (_stripped(statement) for statement in found)
    return [statement for statement in stripped if statement]


def _stripped(text: str) -> str:
    edge = EDGE.match(text)
    start = edge.end() if edge else 0
    return text[start:].rstrip()


def parameters(text: str) -> int:
    """How many "?" stand outside of strings and comments."""
    return sum(kind == "parameter" for kind, _ in _pieces(text))


def collapse(text: str) -> str:
    """Runs of blanks as one, none at the edges, no ";" at the end."""
    return BLANKS.sub(" ", text).strip(" ;")


def redact(text: str) -> str:
    """The statement without what may be a password: no string is left where one is spoken of, nor
    a number where one may stand."""
    if not SECRETS.search(text):
        return text
    shown = "".join(
        HIDDEN if kind == "string" and piece[0] in "'\"" else piece for kind, piece in _pieces(text)
    )
    return UNQUOTED.sub(rf"\1 {HIDDEN}", NUMBERS.sub(rf"\1{HIDDEN}", shown))


def first_word(text: str) -> str:
    """The first word in capitals; "" when the text begins otherwise."""
    match = FIRST_WORD.match(text)
    return match[0].upper() if match else ""


def dialect(text: str) -> str:
    """The statement with MySQL's spellings replaced."""
    word = first_word(text)
    if word == "INSERT":
        match = INSERT_IGNORE.match(text)
        return text if match is None else f"INSERT OR IGNORE INTO{text[match.end() :]}"
    if word == "TRUNCATE":
        return TRUNCATE.sub("DELETE FROM ", text, count=1)
    if word == "PROXY_SELECT":
        return text[len("PROXY_") :]
    if word == "SELECT" and MISPLACED.search(text):
        return "".join(
            MISPLACED.sub("stats.", piece) if kind == "code" else piece
            for kind, piece in _pieces(text)
        )
    return text


def quoted(name: str) -> str:
    """A name or text as an SQL string."""
    return "'" + name.replace("'", "''") + "'"


def unquoted(text: str) -> str:
    """What a string or name in quotes says; anything else as it is."""
    text = text.strip()
    if len(text) >= 2 and text[0] in QUOTES and text[-1] == text[0]:
        return text[1:-1].replace(text[0] * 2, text[0])
    return text
