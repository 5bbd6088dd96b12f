# SPDX-License-Identifier: Apache-2.0
"""From a statement in MySQL's SQL to the same in SQLite's; pure.

Token by token: literals in SQLite's spelling, operators and functions that are called or work
differently, hints that mean nothing here left out. What has no counterpart is left as it is,
and SQLite refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from hproxy.admin.lexer import Kind, Statement, Token
from hproxy.admin.model import Value

__all__ = ["Rendered", "literal", "render"]

Lookup = Callable[[Token], Value]

OPERATORS = {"&&": " AND ", "||": " OR ", "<=>": " IS ", "/": "*1.0/", "!": " NOT "}
WORDS = {"DIV": "/", "MOD": "%", "UNSIGNED": "INTEGER", "SIGNED": "INTEGER"}
# Functions whose names are keywords to SQLite, or which may be written without parentheses.
CALLS = {
    "LEFT": "mysql_left",
    "RIGHT": "mysql_right",
    "CURRENT_TIMESTAMP": "now",
    "LOCALTIME": "now",
    "CURRENT_DATE": "curdate",
    "CURRENT_TIME": "curtime",
    "MOD": "mysql_mod",
}
BARE_CALLS = {"CURRENT_USER": "current_user()", "UTC_TIMESTAMP": "utc_timestamp()"}
HINTS = frozenset(
    {
        "SQL_NO_CACHE",
        "SQL_CACHE",
        "SQL_CALC_FOUND_ROWS",
        "SQL_BUFFER_RESULT",
        "SQL_SMALL_RESULT",
        "SQL_BIG_RESULT",
        "HIGH_PRIORITY",
        "LOW_PRIORITY",
        "DELAYED",
        "STRAIGHT_JOIN",
    }
)
LIST_ENDS = frozenset(
    {"FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "INTO"}
)


@dataclass(slots=True)
class Rendered:
    """SQLite's text, and what MySQL calls the columns SQLite would name by that text."""

    sql: str
    names: dict[str, str] = field(default_factory=dict)


def literal(value: Value) -> str:
    """`value` as SQLite reads it."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int | float):
        return repr(float(value) if isinstance(value, float) else int(value))
    if "\0" in value:  # a NUL would end SQLite's text of the statement
        return f"CAST(x'{value.encode('utf-8', 'surrogateescape').hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def render(statement: Statement, schema: str, variable: Lookup) -> Rendered:
    """`statement` for SQLite, where `schema` is the one database; `variable` knows @x and @@x."""
    tokens = list(_prepared(statement.tokens, schema))
    parts = [_part(tokens, i, variable) for i in range(len(tokens))]
    gaps = _gaps(tokens)
    sql = "".join(gap + part for gap, part in zip(gaps, parts, strict=True))
    if statement.starts("TRUNCATE"):
        start = 2 if statement.word(1) == "TABLE" else 1
        return Rendered("DELETE FROM" + "".join(f" {part}" for part in parts[start:]))
    return Rendered(sql.strip(), _names(statement, tokens, parts, gaps))


def _prepared(tokens: Sequence[Token], schema: str) -> Iterator[Token]:
    """Without hints, locking clauses, FROM DUAL and the schema's name before a dot."""
    i, count = 0, len(tokens)
    upsert = False

    def word(at: int) -> str:
        return tokens[at].value if at < count and tokens[at].kind is Kind.WORD else ""

    def dot(at: int) -> bool:
        return 0 <= at < count and tokens[at].value == "." and tokens[at].kind is Kind.OPERATOR

    while i < count:
        token = tokens[i]
        if word(i) in HINTS:
            i += 1
        elif (word(i), word(i + 1)) in (("FOR", "UPDATE"), ("FOR", "SHARE"), ("LOCK", "IN")):
            return  # the last clause of a SELECT
        elif (word(i), word(i + 1), word(i + 2)) == ("ON", "DUPLICATE", "KEY"):
            upsert = True
            yield token._replace(value="", text="ON CONFLICT DO UPDATE SET")
            i += 4
        elif upsert and word(i) == "VALUES" and i + 3 < count:
            yield token._replace(value="", text=f"excluded.{tokens[i + 2].text}")
            i += 4
        elif (word(i), word(i + 1)) == ("FROM", "DUAL") or (
            _names_schema(token, schema) and dot(i + 1) and not dot(i - 1)
        ):
            i += 2
        elif _names_schema(token, "information_schema") and dot(i + 1) and i + 2 < count:
            table = tokens[i + 2]
            name = f"information_schema_{table.value.lower()}"
            yield Token(Kind.NAME, name, name, token.start, table.end)
            i += 3
        else:
            yield token
            i += 1


def _names_schema(token: Token, schema: str) -> bool:
    return token.kind in (Kind.WORD, Kind.NAME) and token.value.lower() == schema.lower()


def _gaps(tokens: Sequence[Token]) -> list[str]:
    """White space before each token, where there was any, or a comment."""
    ends = [token.end for token in tokens]
    return [" " if i and token.start > ends[i - 1] else "" for i, token in enumerate(tokens)]


def _part(tokens: Sequence[Token], i: int, variable: Lookup) -> str:
    token = tokens[i]
    match token.kind:
        case Kind.WORD:
            return _word(tokens, i)
        case Kind.NAME:
            return "`" + token.value.replace("`", "``") + "`"
        case Kind.STRING:
            return literal(token.value)
        case Kind.BLOB:
            return f"x'{token.value}'"
        case Kind.USER_VARIABLE | Kind.SYSTEM_VARIABLE:
            return literal(variable(token))
        case Kind.OPERATOR:
            return OPERATORS.get(token.value, token.value)
    return token.text


def _word(tokens: Sequence[Token], i: int) -> str:
    name, text = tokens[i].value, tokens[i].text
    before = tokens[i - 1] if i else None
    called = i + 1 < len(tokens) and tokens[i + 1].value == "("
    if before is not None and before.value == "." and before.kind is Kind.OPERATOR:
        return text  # a column, whatever it is called
    if called:
        return CALLS.get(name, text)
    if name == "IGNORE" and before is not None and before.value in ("INSERT", "UPDATE"):
        return "OR IGNORE"
    return BARE_CALLS.get(name) or WORDS.get(name, text)


def _names(
    statement: Statement, tokens: Sequence[Token], parts: Sequence[str], gaps: Sequence[str]
) -> dict[str, str]:
    """For each item of the outermost SELECT list: SQLite's name for it -> MySQL's."""
    if not statement.starts("SELECT"):
        return {}
    names: dict[str, str] = {}
    depth, first = 0, 1
    if len(tokens) > 1 and tokens[1].value in ("DISTINCT", "ALL"):
        first = 2
    for i in range(first, len(tokens) + 1):
        token = tokens[i] if i < len(tokens) else None
        if token is not None:
            depth += token.value == "(" and token.kind is Kind.OPERATOR
            depth -= token.value == ")" and token.kind is Kind.OPERATOR
        ends = token is None or (
            depth == 0 and token.kind is Kind.WORD and token.value in LIST_ENDS
        )
        comma = token is not None and depth == 0 and token.value == ","
        if (ends or comma) and i > first:
            rendered = "".join(gaps[j] + parts[j] for j in range(first, i)).strip()
            item = tokens[first:i]
            names[rendered] = _source(statement.text, item)
        if ends:
            break
        if comma:
            first = i + 1
    return names


def _source(text: str, item: Sequence[Token]) -> str:
    if len(item) == 1 and item[0].kind is Kind.STRING:
        return item[0].value
    return text[item[0].start : item[-1].end]
