# SPDX-License-Identifier: Apache-2.0
"""The tokens of a statement, cut where MySQL and MariaDB cut them.

    SELECT  /*+ NO_MRR(t) */  t    .     1x    ,    @v             :=    N'it''s'  -- why
    WORD    HINT              WORD PUNCT WORD PUNCT USER_VARIABLE  PUNCT STRING    nothing

What decides where a token ends:

  `--`          a comment only before white space, a control character or the end
  /*! /*M!      code for the server, with or without a version of 5 or 6 digits; one level
  1a t.1e5      an identifier may begin with a digit, and behind `.` is never a number
  x'' b'' n''   one token with their string; an introducer (_utf8'') is a word of its own
  @             and its name stand together; @ alone is the variable without a name
  \\            in a string takes the next byte with it, unless the mode NO_BACKSLASH_ESCAPES is on
  multi-byte    in gbk, sjis, big5 and gb18030 the second byte of a character may look like
                \\ ` @ | or a letter, and is none

Nothing raises: what is not closed reaches to the end, and a byte that fits nowhere is
punctuation. `_native/digest.pyx` follows the same rules and is compared with these.
Spec: MySQL "Language Structure"; sql/sql_lex.cc of both servers.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import cache
from typing import NamedTuple

__all__ = [
    "ANSI_QUOTES",
    "BIG5",
    "FAMILY",
    "GB18030",
    "GBK",
    "NO_BACKSLASH_ESCAPES",
    "SAFE",
    "SJIS",
    "Kind",
    "Token",
    "family",
    "name",
    "tokens",
]

# Modes, one integer: two bits of sql_mode, and the family of character_set_client in three.
ANSI_QUOTES = 1
NO_BACKSLASH_ESCAPES = 2
FAMILY = 0b11100
SAFE = 0  # no byte below 0x80 is ever part of a longer character, or only letters and digits are
GBK = 4
SJIS = 8
BIG5 = 12
GB18030 = 16

FAMILIES = {b"gbk": GBK, b"sjis": SJIS, b"cp932": SJIS, b"big5": BIG5, b"gb18030": GB18030}

# One character of several bytes; without its second byte a lead byte stands for itself.
CHARACTERS = {
    GBK: rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]",
    SJIS: rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]",
    BIG5: rb"[\xa1-\xf9][\x40-\x7e\xa1-\xfe]",
    GB18030: rb"[\x81-\xfe](?:[\x40-\x7e\x80-\xfe]|[\x30-\x39][\x81-\xfe][\x30-\x39])",
}


class Kind(IntEnum):
    """What a token is."""

    WORD = 1  # keyword, name, or introducer
    QUOTED = 2  # `name`, and "name" with ANSI_QUOTES
    STRING = 3
    NUMBER = 4
    USER_VARIABLE = 5  # @name @'name' @"name" @`name`
    SYSTEM_VARIABLE = 6  # @@name @@session.name @@`name`
    PARAMETER = 7  # ?
    PUNCTUATION = 8  # one operator
    HINT = 9  # /*+ ... */


class Token(NamedTuple):
    """`text` is sql[start:end]."""

    kind: Kind
    text: bytes
    start: int
    end: int


class Grammar(NamedTuple):
    """The patterns of one combination of modes."""

    plain: re.Pattern[bytes]
    code: re.Pattern[bytes]  # inside of an executable comment
    word: re.Pattern[bytes]
    member: re.Pattern[bytes]  # a dot and the word right behind it
    part: re.Pattern[bytes]  # of the name of a system variable


LETTER = rb"A-Za-z0-9_$\x80-\xff"

# Groups bear the names of kinds, but for the ends of executable comments; what is in no group
# is passed over. Loops are possessive: nothing goes back, so the time is linear.
GRAMMAR = rb"""
    [ \t-\r]++ | \#[^\n]*+ | --(?=[\x00-\x20\x7f]|\Z)[^\n]*+
  | (?P<HINT>            /\*\+ (?:[^*]|\*(?!/))*+ (?:\*/|\Z) )
  | (?P<OPEN>            /\*M?! (?:[0-9]{5,6})? )
  | /\* (?:[^*]|\*(?!/))*+ (?:\*/|\Z)
  | (?P<NUMBER>          0x[0-9A-Fa-f]++(?![LETTER]) | 0b[01]++(?![LETTER])
                       | [0-9]++EXPONENT
                       | [0-9]++(?![LETTER])(?:\.[0-9]*+(?:EXPONENT)?)?
                       | \.[0-9]++(?:EXPONENT)? )
  | (?P<STRING>          [xXbBnN]?SINGLE | DOUBLE )
  | (?P<QUOTED>          NAME )
  | (?P<WORD>            WORDS )
  | (?P<SYSTEM_VARIABLE> @@ (?: PART (?:\.PART)*+ )? )
  | (?P<USER_VARIABLE>   @ (?: SINGLE | DOUBLE | NAME | [LETTER.]*+ ) )
  | (?P<PARAMETER>       \? )
  | (?P<PUNCTUATION>     <=> | ->>? | <[=><]? | >[=>]? | != | && | \|\| | := | . )
"""


@cache
def grammar(modes: int) -> Grammar:
    """Compiled once for each of the twenty combinations."""
    ansi = bool(modes & ANSI_QUOTES)
    escapes = not modes & NO_BACKSLASH_ESCAPES
    character = CHARACTERS.get(modes & FAMILY)
    words = rb"(?>%s|[LETTER])++" % character if character else rb"[LETTER]++"
    double = quoted(b'"', modes, escapes and not ansi)
    names = quoted(b"`", modes, False)
    if ansi:
        names = rb"(?:%s|%s)" % (names, double)
    part = rb"(?:[LETTER]++|%s)" % names
    text = GRAMMAR
    for symbol, pattern in (
        (b"WORDS", words),
        (b"PART", part),
        (b"SINGLE", quoted(b"'", modes, escapes)),
        (b"DOUBLE", rb"(?!)" if ansi else double),
        (b"NAME", names),
        (b"EXPONENT", rb"[eE][+-]?[0-9]++"),
    ):
        text = text.replace(symbol, pattern)
    text, words, part = (each.replace(b"LETTER", LETTER) for each in (text, words, part))
    flags = re.DOTALL | re.VERBOSE
    return Grammar(
        plain=re.compile(text, flags),
        code=re.compile(rb"(?P<CLOSE>\*/) |" + text, flags),
        word=re.compile(words, flags),
        member=re.compile(rb"\.(%s)" % words, flags),
        part=re.compile(part, flags),
    )


def quoted(quote: bytes, modes: int, escapes: bool) -> bytes:
    """From quote to quote, or to the end."""
    return rb"%s%s(?:%s|\Z)" % (quote, inside(quote, modes, escapes), quote)


def inside(quote: bytes, modes: int, escapes: bool) -> bytes:
    """What may stand between quotes; a doubled one and an escaped one do not end it."""
    special = quote + (rb"\\" if escapes else b"")
    parts = [rb"[^%s]++" % special, quote * 2]
    if character := CHARACTERS.get(modes & FAMILY):
        # Runs of ASCII, whole characters, then bytes that begin none.
        parts = [rb"[^%s\x80-\xff]++" % special, character, rb"[\x80-\xff]", quote * 2]
    if escapes:
        # One byte, not one character: so do the servers.
        parts.append(rb"\\(?:.|\Z)")
    return rb"(?>%s)*+" % b"|".join(parts)


def family(charset: bytes) -> int:
    """The family of a character set, for the modes: SAFE for all but five."""
    return FAMILIES.get(charset.lower(), SAFE)


KINDS = {kind.name: kind for kind in Kind}
"""Of an enum a dictionary is several times as fast: once for each token."""


def tokens(sql: bytes, modes: int = 0) -> list[Token]:
    """Cut a statement into its tokens; comments and white space are left out."""
    plain, code, word, member, _ = grammar(modes)
    match = plain.match
    found: list[Token] = []
    at = 0
    while piece := match(sql, at):
        at = piece.end()
        group = piece.lastgroup
        if group is None:
            continue
        if group == "OPEN":
            match = code.match
            continue
        if group == "CLOSE":
            match = plain.match
            continue
        found.append(Token(KINDS[group], piece[0], piece.start(), at))
        # Right behind a dot stands a name, whatever it looks like.
        if piece[0] == b"." and (name := word.match(sql, at)):
            at = name.end()
            found.append(Token(Kind.WORD, name[0], name.start(), at))
        while found[-1].kind is Kind.WORD and (name := member.match(sql, at)):
            found.append(Token(Kind.PUNCTUATION, b".", at, at + 1))
            at = name.end()
            found.append(Token(Kind.WORD, name[1], name.start(1), at))
    return found


def name(token: Token, modes: int = 0) -> bytes:
    """The name a token stands for: without quotes; variables without @ and in lower case."""
    text = token.text
    if token.kind is Kind.QUOTED:
        return unquoted(text, modes, False)
    if token.kind is Kind.USER_VARIABLE:
        literal = text[1:2] == b"'" or (text[1:2] == b'"' and not modes & ANSI_QUOTES)
        escapes = literal and not modes & NO_BACKSLASH_ESCAPES
        return unquoted(text[1:], modes, escapes).lower()
    if token.kind is Kind.SYSTEM_VARIABLE:
        parts = grammar(modes).part.findall(text, 2)
        return b".".join(unquoted(part, modes, False) for part in parts).lower()
    return text


ESCAPED = {b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a"}
ESCAPED |= {b"%": rb"\%", b"_": rb"\_"}  # the servers leave these two to LIKE


def unquoted(text: bytes, modes: int, escapes: bool) -> bytes:
    """What stands between quotes, escapes and doubling undone; other text as it is."""
    quote = text[:1]
    if quote not in (b"'", b'"', b"`"):
        return text
    body = re.match(inside(quote, modes, escapes), text[1:], re.DOTALL)
    character = CHARACTERS.get(modes & FAMILY, rb"(?!)")
    pieces = rb"(%s)|%s(%s)" % (character, rb"\\" if escapes else rb"(?!)", rb".")
    pieces += rb"|%s(%s)" % (quote, quote)

    def plain(piece: re.Match[bytes]) -> bytes:
        whole, escaped, doubled = piece.groups()
        return whole or doubled or ESCAPED.get(escaped, escaped)

    return re.sub(pieces, plain, body[0] if body else b"", flags=re.DOTALL)
