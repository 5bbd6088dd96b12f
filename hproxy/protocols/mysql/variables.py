# SPDX-License-Identifier: Apache-2.0
"""The grammar of SET, MySQL's and MariaDB's in one.

    SET item, item, ...             item:
        @name = value
        [GLOBAL | SESSION | LOCAL | PERSIST | PERSIST_ONLY] name = value
        @@[global. | session. | local. | persist. | persist_only.]name = value
        NAMES charset [COLLATE collation]     CHARACTER SET charset
    SET [GLOBAL | SESSION | LOCAL] TRANSACTION characteristic, ...
    SET PASSWORD ...    SET ROLE ...    SET DEFAULT ROLE ...    SET RESOURCE GROUP ...
    SET STATEMENT name = value, ... FOR statement                       (MariaDB)

A scope in words counts for the items behind it, until the next one; one behind @@ for its own
item only. `@@name` without a scope is the session's, but `@@transaction_isolation` and its
like are the next transaction's.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from itertools import pairwise
from typing import NamedTuple

from hproxy.protocols.mysql.lexer import Kind, Token, name, tokens

__all__ = ["Assignment", "Target", "Value", "ValueKind", "is_word", "parse_set", "read_set"]


class Target(Enum):
    """What a SET item sets."""

    USER = auto()
    SESSION = auto()
    GLOBAL = auto()  # also PERSIST and PERSIST_ONLY: nothing of the session
    NEXT_TRANSACTION = auto()
    NAMES = auto()  # `name` is the collation, where one is given
    CHARACTER_SET = auto()
    PASSWORD = auto()
    ROLE = auto()
    DEFAULT_ROLE = auto()
    RESOURCE_GROUP = auto()
    STATEMENT = auto()  # for the statement behind FOR only


class ValueKind(Enum):
    """How much of a value can be read off."""

    NUMBER = auto()  # with its sign
    STRING = auto()  # one string, as written
    WORD = auto()  # ON, latin1, NULL, or a quoted name
    DEFAULT = auto()
    EXPRESSION = auto()  # has to be asked for


class Value(NamedTuple):
    """The right side of an assignment; `text` is as written."""

    kind: ValueKind
    text: bytes = b""


class Assignment(NamedTuple):
    """One item; `name` is in lower case."""

    target: Target
    name: bytes
    value: Value


DEFAULT = Value(ValueKind.DEFAULT)
NOTHING = Value(ValueKind.EXPRESSION)

SCOPES = {
    b"GLOBAL": Target.GLOBAL,
    b"PERSIST": Target.GLOBAL,
    b"PERSIST_ONLY": Target.GLOBAL,
    b"SESSION": Target.SESSION,
    b"LOCAL": Target.SESSION,
}
NEXT_TRANSACTION = frozenset(
    {b"transaction_isolation", b"transaction_read_only", b"tx_isolation", b"tx_read_only"}
)
ASSIGN = frozenset({b"=", b":="})


def parse_set(sql: bytes, modes: int = 0) -> tuple[Assignment, ...] | None:
    """The assignments of a SET statement; None when it is none, or not understood."""
    return read_set(tokens(sql, modes), modes)


def read_set(words: Sequence[Token], modes: int = 0) -> tuple[Assignment, ...] | None:
    """The same of one statement's tokens, without the `;` behind it."""
    if not words or not is_word(words[0], b"SET"):
        return None
    if words[-1].text == b";":
        words = words[:-1]
    reader = Reader(words[1:], modes)
    try:
        return tuple(reader.statement())
    except (IndexError, NotUnderstood):
        return None


def is_word(token: Token, *words: bytes) -> bool:
    """Whether it is one of these keywords, given in capitals."""
    return token.kind is Kind.WORD and token.text.upper() in words


class NotUnderstood(Exception):
    """Neither server's grammar has it, as far as we know."""


class Reader:
    """Goes through the tokens behind SET; IndexError at the end says that more was needed."""

    def __init__(self, words: Sequence[Token], modes: int) -> None:
        self.words = words
        self.modes = modes
        self.at = 0
        self.sticky = Target.SESSION

    def here(self, *words: bytes) -> bool:
        """Whether these keywords come next."""
        found = self.words[self.at : self.at + len(words)]
        return len(found) == len(words) and all(map(is_word, found, words))

    def symbol(self, *symbols: bytes, ahead: int = 0) -> bool:
        if self.at + ahead >= len(self.words):
            return False
        token = self.words[self.at + ahead]
        return token.kind is Kind.PUNCTUATION and token.text in symbols

    def take(self) -> Token:
        self.at += 1
        return self.words[self.at - 1]

    def statement(self) -> list[Assignment]:
        for head, target in (
            ((b"PASSWORD",), Target.PASSWORD),
            ((b"DEFAULT", b"ROLE"), Target.DEFAULT_ROLE),
            ((b"ROLE",), Target.ROLE),
            ((b"RESOURCE", b"GROUP"), Target.RESOURCE_GROUP),
        ):
            if self.here(*head) and (target is Target.PASSWORD or len(self.words) > len(head)):
                return [Assignment(target, b"", NOTHING)]
        if self.here(b"STATEMENT"):
            return self.for_statement()
        if transaction := self.transaction():
            return transaction
        found = self.item()
        while self.at < len(self.words):
            if not self.symbol(b","):
                raise NotUnderstood
            self.at += 1
            found += self.item()
        return found

    def transaction(self) -> list[Assignment]:
        """`[scope] TRANSACTION READ ONLY`, or nothing."""
        scope = Target.NEXT_TRANSACTION
        ahead = 0
        if is_word(self.words[0], b"GLOBAL", b"SESSION", b"LOCAL"):
            scope = SCOPES[self.words[0].text.upper()]
            ahead = 1
        if ahead >= len(self.words) or not is_word(self.words[ahead], b"TRANSACTION"):
            return []
        if ahead + 1 >= len(self.words) or self.words[ahead + 1].kind is not Kind.WORD:
            raise NotUnderstood
        found = []
        texts = [token.text.upper() for token in self.words[ahead + 1 :]]
        for part in b" ".join(texts).split(b" , "):
            if part.startswith(b"ISOLATION LEVEL "):
                level = part.removeprefix(b"ISOLATION LEVEL ").replace(b" ", b"-")
                value = Value(ValueKind.WORD, level)
                found.append(Assignment(scope, b"transaction_isolation", value))
            elif part in (b"READ ONLY", b"READ WRITE"):
                value = Value(ValueKind.WORD, b"ON" if part == b"READ ONLY" else b"OFF")
                found.append(Assignment(scope, b"transaction_read_only", value))
            else:
                raise NotUnderstood
        return found

    def for_statement(self) -> list[Assignment]:
        """`STATEMENT name = value, ... FOR`; what follows is for others to read."""
        self.at += 1
        found = []
        while True:
            name = self.variable()
            self.assign()
            value, nested = self.value(stop=b"FOR")
            found += [Assignment(Target.STATEMENT, name, value), *nested]
            if self.here(b"FOR"):
                return found
            if not self.symbol(b","):
                raise NotUnderstood
            self.at += 1

    def item(self) -> list[Assignment]:
        token = self.words[self.at]
        if token.kind is Kind.USER_VARIABLE:
            self.at += 1
            self.assign()
            return self.assigned(Target.USER, name(token, self.modes))
        if token.kind is Kind.SYSTEM_VARIABLE:
            return self.system_variable()
        if token.kind is Kind.WORD and not self.symbol(*ASSIGN, b".", ahead=1):
            if self.here(b"NAMES"):
                return self.names()
            for head in ((b"CHARSET",), (b"CHARACTER", b"SET"), (b"CHAR", b"SET")):
                if self.here(*head):
                    self.at += len(head)
                    return [Assignment(Target.CHARACTER_SET, b"", self.charset())]
            if scope := SCOPES.get(token.text.upper()):
                self.at += 1
                self.sticky = scope
        found = self.variable()
        self.assign()
        return self.assigned(self.sticky, found)

    def names(self) -> list[Assignment]:
        self.at += 1
        charset = self.charset()
        collation = b""
        if self.here(b"COLLATE"):
            self.at += 1
            if (given := self.charset()).kind is not ValueKind.DEFAULT:
                collation = unquoted(given, self.modes)
        return [Assignment(Target.NAMES, collation, charset)]

    def charset(self) -> Value:
        token = self.take()
        if token.kind not in (Kind.WORD, Kind.STRING, Kind.QUOTED):
            raise NotUnderstood
        return simple(token)

    def system_variable(self) -> list[Assignment]:
        parts = name(self.take(), self.modes).split(b".")
        # `@@session . sql_mode` is three tokens.
        while self.symbol(b"."):
            self.at += 1
            parts.append(name(self.take(), self.modes).lower())
        self.assign()
        scope = SCOPES.get(parts[0].upper()) if len(parts) > 1 else None
        if scope is not None:
            return self.assigned(scope, b".".join(parts[1:]))
        once = len(parts) == 1 and parts[0] in NEXT_TRANSACTION
        return self.assigned(Target.NEXT_TRANSACTION if once else Target.SESSION, b".".join(parts))

    def variable(self) -> bytes:
        token = self.take()
        if token.kind not in (Kind.WORD, Kind.QUOTED):
            raise NotUnderstood
        parts = [name(token, self.modes)]
        while self.symbol(b"."):
            self.at += 1
            parts.append(name(self.take(), self.modes))
        return b".".join(parts).lower()

    def assign(self) -> None:
        if not self.symbol(*ASSIGN):
            raise NotUnderstood
        self.at += 1

    def assigned(self, target: Target, name: bytes) -> list[Assignment]:
        """The item, behind what its value assigns on the way: `SET @a = @b := 1`."""
        value, nested = self.value()
        return [*nested, Assignment(target, name, value)]

    def value(self, stop: bytes | None = None) -> tuple[Value, list[Assignment]]:
        """Up to the next comma that is in no parenthesis, or the word `stop`."""
        begin = self.at
        depth = 0
        while self.at < len(self.words):
            token = self.words[self.at]
            if token.kind is Kind.PUNCTUATION:
                if not depth and token.text == b",":
                    break
                depth += (token.text == b"(") - (token.text == b")")
                if token.text == b";":
                    raise NotUnderstood
            elif stop and not depth and is_word(token, stop):
                break
            self.at += 1
        found = self.words[begin : self.at]
        if not found or depth:
            raise NotUnderstood
        nested = [
            Assignment(Target.USER, name(token, self.modes), NOTHING)
            for token, following in pairwise(found)
            if token.kind is Kind.USER_VARIABLE and following.text == b":="
        ]
        if len(found) == 1:
            return simple(found[0]), nested
        if (
            len(found) == 2
            and found[0].text in (b"-", b"+")
            and found[1].kind is Kind.NUMBER
            and found[1].text[:2].lower() not in (b"0x", b"0b")
        ):
            return Value(ValueKind.NUMBER, found[0].text + found[1].text), nested
        return Value(ValueKind.EXPRESSION, b" ".join(token.text for token in found)), nested


SIMPLE = {
    Kind.NUMBER: ValueKind.NUMBER,
    Kind.STRING: ValueKind.STRING,
    Kind.WORD: ValueKind.WORD,
    Kind.QUOTED: ValueKind.WORD,
}


def simple(token: Token) -> Value:
    """A value of one token."""
    if is_word(token, b"DEFAULT"):
        return DEFAULT
    return Value(SIMPLE.get(token.kind, ValueKind.EXPRESSION), token.text)


def unquoted(value: Value, modes: int) -> bytes:
    """The name that a word or a string gives, in lower case."""
    found = tokens(value.text, modes)[0]
    if found.kind is Kind.STRING:
        # A string that can be a name has nothing in it to escape.
        return found.text[1:-1].lower()
    return name(found, modes).lower()
