# SPDX-License-Identifier: Apache-2.0
"""Read and write libconfig text, the format of proxysql.cnf; pure.

    setting   NAME ('=' | ':') VALUE [';' | ',']        # a comment   // another   /* a third */
    VALUE     true | 12 | 0x1F | 12L | 1.5 | "text" "continued"
              { settings }     a group: Node of dict
              ( values )       a list: Node of list; a comma at its end may stand
              [ scalars ]      an array: Node of list

Every value keeps the line and column it stands at, so that whoever reads on can point there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["MAX_INT64", "LibconfigError", "Node", "Value", "parse", "write"]

# Far deeper than any file, and far from the interpreter's own limit.
MAX_DEPTH = 50
MAX_INT64 = 2**63 - 1
MAX_INT32 = 2**31 - 1

_TOKEN = re.compile(
    r"""
      (?P<blank>   [ \t\r\n\f\v]+ | \#[^\n]* | //[^\n]* | /\*.*?\*/ )
    | (?P<real>    [-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?
                 | [-+]?[0-9]+[eE][-+]?[0-9]+ )
    | (?P<hex>     0[xX][0-9A-Fa-f]+L{0,2} )
    | (?P<int>     [-+]?[0-9]+L{0,2} )
    | (?P<text>    "[^"\\]*(?:\\.[^"\\]*)*" )
    | (?P<name>    [A-Za-z*][-A-Za-z0-9_*]* )
    | (?P<sign>    [=:;,{}()\[\]] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "a": "\a", "b": "\b", "v": "\v"}
_UNSAFE = re.compile(r'["\\\x00-\x1f\x7f]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f"}
_NAME = re.compile(r"[A-Za-z*][-A-Za-z0-9_*]*")


class LibconfigError(ValueError):
    """The text is not libconfig; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(f"{message} at line {line}, column {column}")
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Node:
    """One value and where it stands (a setting: where its name stands)."""

    value: Value
    line: int
    column: int


Value = bool | int | float | str | dict[str, Node] | list[Node]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # a group of _TOKEN, or "end"
    text: str
    at: int


class _Parser:
    """One pass over the text, one token ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._tokens = self._scan()
        self._token = next(self._tokens)

    def settings(self, end: str, depth: int) -> dict[str, Node]:
        """Settings up to `end`, a sign or the end of the text."""
        found: dict[str, Node] = {}
        while not self._is(end):
            if self._token.kind != "name":
                raise self._wrong("a name")
            name = self._take()
            if name.text in found:
                first = found[name.text].line
                raise self._error(f"{name.text} is given again (first in line {first})", name.at)
            if not (self._is("=") or self._is(":")):
                raise self._wrong(f"'=' after {name.text}")
            self._take()
            found[name.text] = self._node(self._value(depth), name.at)
            if self._is(";") or self._is(","):
                self._take()
        return found

    def _value(self, depth: int) -> Value:
        token = self._token
        if depth > MAX_DEPTH:
            raise self._error("is nested too deeply", token.at)
        if self._is("{"):
            self._take()
            group = self.settings("}", depth + 1)
            self._take()
            return group
        if self._is("(") or self._is("["):
            return self._list(")" if token.text == "(" else "]", depth + 1)
        return self._scalar()

    def _list(self, end: str, depth: int) -> list[Node]:
        self._take()
        found: list[Node] = []
        while not self._is(end):
            at = self._token.at
            value = self._value(depth) if end == ")" else self._scalar()
            found.append(self._node(value, at))
            if self._is(","):
                self._take()
            elif not self._is(end):
                raise self._wrong(f"',' or '{end}'")
        self._take()
        return found

    def _scalar(self) -> Value:
        token = self._token
        if token.kind == "text":
            return self._string()
        if token.kind == "name" and token.text.lower() in ("true", "false"):
            return self._take().text.lower() == "true"
        if token.kind == "real":
            return float(self._take().text)
        if token.kind in ("int", "hex"):
            return self._number(self._take())
        raise self._wrong("a value")

    def _number(self, token: _Token) -> int:
        digits = token.text.rstrip("L")
        # int() refuses thousands of digits by an error of its own.
        if len(digits) > 20 or abs(number := int(digits, 16 if token.kind == "hex" else 10)) > (
            MAX_INT64
        ):
            raise self._error("the number is too large", token.at)
        return number

    def _string(self) -> str:
        parts: list[str] = []
        while self._token.kind == "text":
            parts.append(_ESCAPE.sub(_unescaped, self._take().text[1:-1]))
        return "".join(parts)

    def _scan(self) -> Iterator[_Token]:
        at = 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._error(_unread(self._text, at), at)
            if match.lastgroup != "blank":
                yield _Token(match.lastgroup or "", match[0], at)
            at = match.end()
        while True:
            yield _Token("end", "", at)

    def _is(self, text: str) -> bool:
        token = self._token
        return token.kind == "end" if not text else token.kind == "sign" and token.text == text

    def _take(self) -> _Token:
        token = self._token
        self._token = next(self._tokens)
        return token

    def _node(self, value: Value, at: int) -> Node:
        return Node(value, *self._position(at))

    def _wrong(self, wanted: str) -> LibconfigError:
        token = self._token
        found = "the end" if token.kind == "end" else token.text.partition("\n")[0][:40]
        if token.kind == "text":  # it may be a password
            found = "a text"
        return self._error(f"{wanted} is expected, not {found}", token.at)

    def _error(self, message: str, at: int) -> LibconfigError:
        return LibconfigError(message, *self._position(at))

    def _position(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1


def _unread(text: str, at: int) -> str:
    if text[at] == '"':
        return "a text is not closed"
    if text.startswith("/*", at):
        return "a comment is not closed"
    if text[at] == "@":
        return "@include is not followed; put the settings into one file"
    return f"{text[at]!r} is not expected"


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 3:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code)


def parse(text: str) -> dict[str, Node]:
    """The settings of a file. Raises LibconfigError."""
    parser = _Parser(text)
    return parser.settings("", 0)


def write(settings: Mapping[str, object]) -> str:
    """Text that `parse` reads back: mappings become groups, sequences lists; None is left out.

    Raises ValueError for what cannot be said, which includes names with other characters."""
    return "".join(f"{line}\n" for line in _lines(settings, ""))


def _lines(settings: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, value in settings.items():
        if value is None:
            continue
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name: {name!r}")
        if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
            yield f"{indent}{name} ="
            yield from _block(value, indent)
        else:
            yield f"{indent}{name} = {_scalar(value)}"


def _block(value: object, indent: str, tail: str = "") -> Iterator[str]:
    """A group or a list, opened and closed at `indent`."""
    inner = f"{indent}    "
    if isinstance(value, Mapping):
        yield f"{indent}{{"
        yield from _lines(value, inner)
        yield f"{indent}}}{tail}"
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield f"{indent}("
        for index, item in enumerate(value, start=1):
            yield from _block(item, inner, "" if index == len(value) else ",")
        yield f"{indent}){tail}"
    else:
        yield f"{indent}{_scalar(value)}{tail}"


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > MAX_INT64:
            raise ValueError(f"too large: {value}")
        return f"{value}L" if abs(value) > MAX_INT32 else str(value)
    if isinstance(value, float):
        text = repr(value)
        if text[-1] in "fn":  # inf, nan
            raise ValueError(f"not a number: {value}")
        return text
    if isinstance(value, str):
        return f'"{_UNSAFE.sub(_escaped, value)}"'
    raise ValueError(f"cannot be written: {type(value).__name__}")


def _escaped(match: re.Match[str]) -> str:
    return _SHORT.get(match[0]) or f"\\x{ord(match[0]):02x}"
