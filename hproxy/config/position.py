# SPDX-License-Identifier: Apache-2.0
"""Where in a TOML text each key stands, because `tomllib` gives values without lines.

The text has been accepted by `tomllib` before, so nothing is checked here: the walker only
needs to know where keys, values and comments end. A path is a tuple of keys, with an index for
each element of an array or array table: `("mysql_servers", 1, "port")`.
"""

from __future__ import annotations

import re
import tomllib

__all__ = ["KeyPath", "key_lines"]

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_QUOTED_KEY = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
# Longest first: a multi-line string may end in up to two quotes of its own before the closing
# three, and the empty basic string must not be taken for the start of a multi-line one.
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2}(?!"))|'
    r"'''.*?'''(?:'{0,2}(?!'))|"
    r'"(?:[^"\\]|\\.)*"|'
    r"'[^']*'",
    re.DOTALL,
)
# Numbers, booleans and dates; a date may have one blank between day and time.
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[0-9:.+\-Zz]*|[^,\]}#\s]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every key, table, array table and array element of `text`."""
    return _Walker(text.replace("\r\n", "\n")).walk()


class _Walker:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.line = 1
        self.counted = 0  # position up to which newlines are in `line`
        self.lines: dict[KeyPath, int] = {}
        self.last_index: dict[KeyPath, int] = {}  # of each array table

    def walk(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self.skip(_BLANK_LINES)
            if self.pos >= len(self.text):
                return self.lines
            if self.text[self.pos] == "[":
                table = self.header()
            else:
                self.pair(table)

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.pos)
        if match is None:
            return ""
        self.pos = match.end()
        return match.group()

    def mark(self, path: KeyPath) -> None:
        """Note the current line for `path`; the first place counts."""
        self.line += self.text.count("\n", self.counted, self.pos)
        self.counted = self.pos
        self.lines.setdefault(path, self.line)

    def header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`; the path goes through the newest element of array tables."""
        array = self.text.startswith("[[", self.pos)
        self.pos += 2 if array else 1
        keys = self.keys()
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self.newest((*path, key))
            self.mark(path)
        path = (*path, keys[-1])
        self.mark(path)
        if array:
            self.last_index[path] = self.last_index.get(path, -1) + 1
        path = self.newest(path)
        self.mark(path)
        self.pos += 2 if array else 1
        return path

    def newest(self, path: KeyPath) -> KeyPath:
        index = self.last_index.get(path)
        return path if index is None else (*path, index)

    def keys(self) -> list[str]:
        """One dotted key, up to the `=` or `]` behind it."""
        keys = []
        while True:
            self.skip(_BLANK)
            keys.append(self.skip(_BARE_KEY) or _unquoted(self.skip(_QUOTED_KEY)))
            self.skip(_BLANK)
            if not self.text.startswith(".", self.pos):
                return keys
            self.pos += 1

    def pair(self, table: KeyPath) -> None:
        path = table
        for key in self.keys():
            path = (*path, key)
            self.mark(path)
        self.pos += 1  # the "="
        self.skip(_BLANK)
        self.value(path)

    def value(self, path: KeyPath) -> None:
        char = self.text[self.pos]
        if char == "[":
            self.array(path)
        elif char == "{":
            self.inline_table(path)
        elif char in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_SCALAR)

    def array(self, path: KeyPath) -> None:
        self.pos += 1
        index = 0
        while True:
            self.skip(_BLANK_LINES)
            if self.text[self.pos] == "]":
                self.pos += 1
                return
            self.mark((*path, index))
            self.value((*path, index))
            index += 1
            self.skip(_BLANK_LINES)
            if self.text[self.pos] == ",":
                self.pos += 1

    def inline_table(self, path: KeyPath) -> None:
        self.pos += 1
        while True:
            self.skip(_BLANK_LINES)
            if self.text[self.pos] == "}":
                self.pos += 1
                return
            self.pair(path)
            self.skip(_BLANK_LINES)
            if self.text[self.pos] == ",":
                self.pos += 1


def _unquoted(key: str) -> str:
    # The escapes of a quoted key are the parser's business, so it is asked.
    return next(iter(tomllib.loads(f"{key} = 0")))
