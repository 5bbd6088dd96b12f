# SPDX-License-Identifier: Apache-2.0
"""SET taken apart and carried out on a session's variables; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hproxy.admin.embedded.variables import Variables
from hproxy.admin.lexer import Kind, Statement, Token, syntax_error
from hproxy.admin.model import Value
from hproxy.errors import AdminError

__all__ = ["assign"]

SCOPES = frozenset({"SESSION", "GLOBAL", "LOCAL", "PERSIST"})
Evaluate = Callable[[Sequence[Token]], Value]


def assign(statement: Statement, variables: Variables, evaluate: Evaluate) -> None:
    """Carry out a SET; `evaluate` computes an expression. Raises AdminError."""
    tokens = [t for i, t in enumerate(statement.tokens[1:]) if i or t.value not in SCOPES]
    words = [t.value if t.kind is Kind.WORD else "" for t in tokens[:2]] + ["", ""]
    if words[0] in ("NAMES", "CHARSET") or words[:2] == ["CHARACTER", "SET"]:
        _names(tokens, variables, 2 if words[0] == "CHARACTER" else 1)
    elif words[0] == "TRANSACTION":
        _transaction(tokens[1:], variables)
    elif words[0] in ("PASSWORD", "ROLE", "DEFAULT"):
        raise AdminError("Access denied for this operation", number=1227, sqlstate=b"42000")
    else:
        for part in _parts(tokens):
            _assign(part, variables, evaluate, statement)


def _names(tokens: Sequence[Token], variables: Variables, at: int) -> None:
    def text(i: int) -> str:
        return tokens[i].value.lower() if i < len(tokens) else ""

    collation = text(at + 2) if text(at + 1) == "collate" else None
    charset = text(at)
    variables.set_names("utf8mb4" if charset in ("default", "") else charset, collation)


def _transaction(tokens: Sequence[Token], variables: Variables) -> None:
    words = [t.value for t in tokens]
    for part in " ".join(words).split(" , "):
        if part.startswith("ISOLATION LEVEL "):
            level = part.removeprefix("ISOLATION LEVEL ").replace(" ", "-")
            variables.set("transaction_isolation", level)
        elif part in ("READ ONLY", "READ WRITE"):
            variables.set("transaction_read_only", int(part == "READ ONLY"))


def _parts(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """What stands between the commas outside of parentheses."""
    parts: list[Sequence[Token]] = []
    depth = first = 0
    for i, token in enumerate(tokens):
        value = token.value if token.kind is Kind.OPERATOR else ""
        depth += (value == "(") - (value == ")")
        if value == "," and depth == 0:
            parts.append(tokens[first:i])
            first = i + 1
    return [*parts, tokens[first:]]


def _assign(
    tokens: Sequence[Token], variables: Variables, evaluate: Evaluate, statement: Statement
) -> None:
    if len(tokens) > 1 and tokens[0].value in SCOPES:
        tokens = tokens[1:]
    if len(tokens) < 3 or tokens[1].value not in ("=", ":="):
        at = tokens[0].start if tokens else len(statement.text)
        raise syntax_error(statement.text, at)
    target, expression = tokens[0], tokens[2:]
    value: Value
    if len(expression) == 1 and expression[0].kind is Kind.WORD:
        word = expression[0]
        value = None if word.value in ("DEFAULT", "NULL") else word.text
    else:
        value = evaluate(expression)
    if target.kind is Kind.USER_VARIABLE:
        variables.set_user(target.value, value)
    else:
        variables.set(target.value, value)
