# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious twin of the native digest: the lexer's tokens, then one pass for each rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

from hproxy.protocols.mysql.lexer import Kind, Token, tokens

__all__ = ["reference_digest"]

VALUES = {Kind.STRING, Kind.NUMBER, Kind.PARAMETER}
TAKE_SIGN = frozenset(b"( , = < > <= >= <> != <=> :=".split())


class Role(Enum):
    """What an item is to its neighbours; the value is its letter."""

    VALUE = "v"
    LIST = "l"
    WORD = "w"
    NAME = "n"
    OPEN = "("
    CLOSE = ")"
    COMMA = ","
    TIMES = "*"
    OPERATOR = "o"
    SILENT = "s"  # keeps no distance from anything


PUNCTUATION = {
    b"(": Role.OPEN,
    b")": Role.CLOSE,
    b"}": Role.CLOSE,
    b",": Role.COMMA,
    b"*": Role.TIMES,
    **dict.fromkeys((b".", b";", b"{"), Role.SILENT),
}
WORDS = {Role.VALUE, Role.LIST, Role.WORD, Role.NAME, Role.TIMES}
OPERATORS = {Role.OPERATOR, Role.TIMES}


class Item(NamedTuple):
    text: bytes
    role: Role
    apart: bool  # something stood between it and the token before


def reference_digest(sql: bytes, modes: int = 0) -> bytes:
    """The normalised text, all of it."""
    items = semicolons(list(plain(without_signs(tokens(sql, modes)))))
    items = lists(items)
    items = rows(items)
    if not items:
        return b""
    text = items[0].text
    for left, right in pairwise(items):
        text += b" " * spaced(left, right) + right.text
    return text


def without_signs(found: list[Token]) -> list[Token]:
    """A sign that belongs to a number goes with it."""
    kept = []
    for i, token in enumerate(found):
        after = found[i + 1] if i + 1 < len(found) else token
        before = found[i - 1] if i else token
        if (
            token.kind is before.kind is Kind.PUNCTUATION
            and token.text in (b"-", b"+")
            and before.text in TAKE_SIGN
            and after.kind is Kind.NUMBER
            and after.start == token.end
        ):
            continue
        kept.append(token)
    return kept


def plain(found: list[Token]) -> Iterator[Item]:
    end = 0
    for token in found:
        apart = token.start > end
        end = token.end
        if token.kind in VALUES:
            yield Item(b"?", Role.VALUE, apart)
        elif token.kind is Kind.WORD:
            yield Item(token.text, Role.WORD, apart)
        elif token.kind is Kind.PUNCTUATION:
            role = PUNCTUATION.get(token.text, Role.OPERATOR)
            yield Item(token.text, role, apart)
        else:
            yield Item(token.text, Role.NAME, apart)


def semicolons(items: list[Item]) -> list[Item]:
    """One for several, none at the end."""
    kept: list[Item] = []
    for item in items:
        if not (kept and separator(item) and separator(kept[-1])):
            kept.append(item)
    if kept and separator(kept[-1]):
        kept.pop()
    return kept


def separator(item: Item) -> bool:
    return item.text == b";" and item.role is Role.SILENT


def letters(items: list[Item]) -> str:
    return "".join("}" if item.text == b"}" else item.role.value for item in items)


def lists(items: list[Item]) -> list[Item]:
    """?,?,? -> ?,..."""
    made, end = [], 0
    for many in re.finditer(r"v(?:,v)+", letters(items)):
        made += items[end : many.start()]
        made.append(Item(b"?,...", Role.LIST, False))
        end = many.end()
    return made + items[end:]


def rows(items: list[Item]) -> list[Item]:
    """(?),(?) -> (?),... and (?,...),(?,...) -> (?,...),..."""
    made, end = [], 0
    for many in re.finditer(r"(\([vl]\))(?:,\1)+", letters(items)):
        made += items[end : many.start() + 3]
        made.append(Item(b",...", Role.CLOSE, False))
        end = many.end()
    return made + items[end:]


def spaced(left: Item, right: Item) -> bool:
    if right.role in WORDS and (left.role in WORDS or left.role is Role.CLOSE):
        return True
    if right.role in OPERATORS and left.role in OPERATORS:
        return True
    return left.role is Role.WORD and right.role is Role.OPEN and right.apart
