# SPDX-License-Identifier: Apache-2.0
"""MySQL's SQL as tokens: literals understood, comments gone, statements told apart; pure.

`/*! ... */` and `/*!40101 ... */` are code, as on a server, unless the number is a version
newer than ours; every other comment is nothing, `/*M! ... */` (code for MariaDB) included.
Bytes that were no UTF-8 arrive as lone surrogates and leave a `_binary` literal as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from hproxy.errors import AdminError

__all__ = ["Kind", "Statement", "Token", "parse", "syntax_error"]


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    NAME = "name"  # in backticks: never a keyword
    STRING = "string"
    BLOB = "blob"
    NUMBER = "number"
    USER_VARIABLE = "user variable"
    SYSTEM_VARIABLE = "system variable"
    PARAMETER = "parameter"
    OPERATOR = "operator"


class Token(NamedTuple):
    """One token. `value` is a word in capitals, what a string says, a variable's name without @."""

    kind: Kind
    value: str
    text: str  # as written
    start: int
    end: int


# Possessive throughout: a hostile text costs time linear in its length.
PATTERN = re.compile(
    r"""
      (?P<gap>\s++|/\*(?!!).*?\*/|\#[^\n]*+|--(?=\s|\Z)[^\n]*+)
    | (?P<newer>/\*!(?:8003[7-9]|800[4-9]\d|80[1-9]\d\d|8[1-9]\d{3}|9\d{4}|\d{6}).*?\*/)
    | (?P<code>/\*!\d*+)
    | (?P<closing>\*/)
    | (?P<blob>[xX]'(?:[0-9A-Fa-f]{2})*+'|0x(?:[0-9A-Fa-f]{2})++(?!\w))
    | (?P<string>'(?:[^'\\]|''|\\.)*+'|"(?:[^"\\]|""|\\.)*+")
    | (?P<name>`(?:[^`]|``)++`)
    | (?P<system>@@(?:[A-Za-z]++\.)?+`?\w++`?)
    | (?P<user>@(?:[\w.$]++|`[^`]++`|'[^']++'))
    | (?P<number>(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+(?!\w))
    | (?P<word>[^\W\d][\w$]*+)
    | (?P<parameter>\?)
    | (?P<operator><=>|[<>!:]=|<>|&&|\|\||<<|>>|/(?!\*)|[-+*%=<>!~^&|.,()\[\]{};:])
    """,
    re.VERBOSE | re.DOTALL,
)
ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `text` is that of all sent together, which positions refer to."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def source(self) -> str:
        """Its own part of the text."""
        return self.text[self.tokens[0].start : self.tokens[-1].end] if self.tokens else ""

    @property
    def parameters(self) -> int:
        """How many "?" it has."""
        return sum(token.kind is Kind.PARAMETER for token in self.tokens)

    def word(self, index: int) -> str:
        """The word at `index` in capitals; "" where there is none."""
        if index >= len(self.tokens) or self.tokens[index].kind is not Kind.WORD:
            return ""
        return self.tokens[index].value

    def name(self, index: int) -> str:
        """The identifier at `index`, as written; "" where there is none."""
        token = self.tokens[index] if index < len(self.tokens) else None
        if token is None:
            return ""
        return token.text if token.kind is Kind.WORD else token.value

    def starts(self, *words: str) -> bool:
        """Whether it begins with these words."""
        return all(self.word(i) == word for i, word in enumerate(words))


def syntax_error(text: str, at: int = 0) -> AdminError:
    """What a server says of a text it cannot read, from `at` on."""
    near = text[at : at + SHOWN_CHARACTERS]
    return AdminError(f"You have an error in your SQL syntax near '{near}'", number=1064)


def parse(text: str) -> list[Statement]:
    """The statements of `text`, empty ones left out. Raises AdminError (1064)."""
    found: list[Statement] = []
    current: list[Token] = []
    for token in _tokens(text):
        if token.value == ";" and token.kind is Kind.OPERATOR:
            found.append(Statement(text, tuple(_joined(current))))
            current = []
        else:
            current.append(token)
    found.append(Statement(text, tuple(_joined(current))))
    return [statement for statement in found if statement.tokens]


def _tokens(text: str) -> Iterator[Token]:
    at = code = 0
    while at < len(text):
        match = PATTERN.match(text, at)
        if match is None:
            raise syntax_error(text, at)
        kind, start, at = match.lastgroup, at, match.end()
        if kind == "code":
            code += 1
        elif kind == "closing":
            if not code:
                raise syntax_error(text, start)
            code -= 1
        elif kind not in ("gap", "newer"):
            assert kind is not None
            yield Token(*_meaning(kind, match[0]), match[0], start, at)


def _meaning(kind: str, text: str) -> tuple[Kind, str]:
    match kind:
        case "word":
            return Kind.WORD, text.upper()
        case "name":
            return Kind.NAME, text[1:-1].replace("``", "`")
        case "string":
            return Kind.STRING, _string(text)
        case "blob":
            return Kind.BLOB, text[2:].strip("'")
        case "system":
            return Kind.SYSTEM_VARIABLE, text[2:].replace("`", "").lower()
        case "user":
            return Kind.USER_VARIABLE, text[1:].strip("`'").lower()
    return Kind(kind), text


def _string(text: str) -> str:
    quote, inner = text[0], text[1:-1]
    if "\\" not in inner:
        return inner.replace(quote * 2, quote)
    # Escapes first, piece by piece: the quote a backslash protects is no half of a pair.
    out, at = [], 0
    for match in ESCAPE.finditer(inner):
        out.append(inner[at : match.start()].replace(quote * 2, quote))
        char = match[1]
        # \% and \_ keep their backslash: they mean something to LIKE.
        out.append(match[0] if char in "%_" else ESCAPES.get(char, char))
        at = match.end()
    out.append(inner[at:].replace(quote * 2, quote))
    return "".join(out)


def _joined(tokens: Sequence[Token]) -> Iterator[Token]:
    """Introducers applied (_binary'...' is a blob, _utf8mb4'...' a string), neighbours merged."""
    held: Token | None = None
    for token in tokens:
        if held is not None and token.kind is Kind.STRING:
            if held.kind is Kind.STRING:
                held = held._replace(value=held.value + token.value, end=token.end)
            elif held.value == "_BINARY":
                raw = token.value.encode("utf-8", "surrogateescape")
                held = Token(Kind.BLOB, raw.hex(), token.text, held.start, token.end)
            else:
                held = token._replace(start=held.start)
            continue
        if held is not None:
            yield held
            held = None
        if token.kind is Kind.STRING or (token.kind is Kind.WORD and token.value.startswith("_")):
            held = token
        else:
            yield token
    if held is not None:
        yield held
