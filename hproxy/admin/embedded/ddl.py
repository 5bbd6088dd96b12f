# SPDX-License-Identifier: Apache-2.0
"""CREATE TABLE in MySQL's form as SQLite's: table options, keys and column attributes; pure.

id INT UNSIGNED NOT NULL AUTO_INCREMENT   ->   id INTEGER NOT NULL
KEY name (a, b) / INDEX / FULLTEXT        ->   left out: they change no result
UNIQUE KEY name (a)                       ->   UNIQUE (a)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4   ->   )
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hproxy.admin.lexer import Kind, Token, syntax_error

__all__ = ["table_body"]

INDEXES = frozenset({"KEY", "INDEX", "FULLTEXT", "SPATIAL"})
# Column attributes without a meaning here, with the number of tokens that belong to each.
IDLE = {"UNSIGNED": 1, "ZEROFILL": 1, "AUTO_INCREMENT": 1, "COLLATE": 2, "COMMENT": 2, "CHARSET": 2}
NOW = frozenset({"CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"})


def table_body(tokens: Sequence[Token], text: str) -> Sequence[Token]:
    """The tokens of a CREATE TABLE without what SQLite does not know. Raises AdminError."""
    start = _index(tokens, "(")
    if start is None or any(t.value == "SELECT" and t.kind is Kind.WORD for t in tokens[:start]):
        return tokens  # CREATE TABLE ... AS SELECT, or LIKE
    items, end = _items(tokens, start, text)
    kept = [list(found) for item in items if (found := _item(item))]
    out = list(tokens[: start + 1])
    comma = tokens[start]._replace(value=",", text=",")
    for i, item in enumerate(kept):
        out.extend([comma, *item] if i else item)
    out.append(tokens[end])
    rest = tokens[end + 1 :]
    chosen = next((i for i, t in enumerate(rest) if t.value in ("AS", "SELECT")), len(rest))
    return [*out, *rest[chosen:]]


def _index(tokens: Sequence[Token], operator: str) -> int | None:
    return next(
        (i for i, t in enumerate(tokens) if t.value == operator and t.kind is Kind.OPERATOR), None
    )


def _items(tokens: Sequence[Token], start: int, text: str) -> tuple[list[Sequence[Token]], int]:
    """The parts between commas, and where the closing parenthesis is."""
    items: list[Sequence[Token]] = []
    depth, first = 0, start + 1
    for i in range(start, len(tokens)):
        value = tokens[i].value if tokens[i].kind is Kind.OPERATOR else ""
        depth += (value == "(") - (value == ")")
        if depth == 0:
            items.append(tokens[first:i])
            return items, i
        if value == "," and depth == 1:
            items.append(tokens[first:i])
            first = i + 1
    raise syntax_error(text, len(text))


def _item(tokens: Sequence[Token]) -> Sequence[Token]:
    """A column or constraint; empty for an index."""
    words = [t.value if t.kind is Kind.WORD else "" for t in tokens[:3]] + ["", "", ""]
    if words[0] in INDEXES:
        return ()
    if words[0] == "UNIQUE" and tokens[1:]:
        at = _index(tokens, "(")
        return [tokens[0], *tokens[at:]] if at is not None else tokens
    if words[0] in ("PRIMARY", "CONSTRAINT", "FOREIGN", "CHECK"):
        return tokens
    return list(_column(tokens))


def _column(tokens: Sequence[Token]) -> Iterator[Token]:
    words = [t.value if t.kind is Kind.WORD else "" for t in tokens]
    counts_up = "AUTO_INCREMENT" in words
    i = 0
    while i < len(tokens):
        word = words[i]
        if i == 1 and counts_up:
            # Only a column declared as exactly INTEGER counts up by itself.
            yield tokens[i]._replace(text="INTEGER")
            i = _behind_parentheses(tokens, i + 1)
        elif i == 1 and word in ("ENUM", "SET"):
            yield tokens[i]._replace(text="TEXT")
            i = _behind_parentheses(tokens, i + 1)
        elif i > 1 and word in IDLE:
            i += IDLE[word]
        elif i > 1 and word == "CHARACTER":
            i += 3
        elif i > 1 and word == "ON" and words[i + 1 : i + 2] == ["UPDATE"]:
            i = _behind_parentheses(tokens, i + 3)
        elif i > 1 and word in NOW:
            yield tokens[i]._replace(value="", text="CURRENT_TIMESTAMP")
            i = _behind_parentheses(tokens, i + 1)
        else:
            yield tokens[i]
            i += 1


def _behind_parentheses(tokens: Sequence[Token], i: int) -> int:
    """The place after a (...) at `i`, or `i` where there is none."""
    if i >= len(tokens) or tokens[i].value != "(":
        return i
    return i + (_index(tokens[i:], ")") or 0) + 1
