# SPDX-License-Identifier: Apache-2.0
r"""The regular expressions of rules: RE2, or PCRE2 where that is asked for.

    engine RE2    linear time, whatever the pattern; no look-around, no \1 inside a pattern
    engine PCRE   what both read alike runs on RE2 all the same, the rest on PCRE2 with a limit

A pattern is tried somewhere in the text, on bytes. What PCRE2 reads otherwise: `$` also matches
in front of a newline that ends the text. A search that reaches MATCH_LIMIT has not matched:
some ten milliseconds at the most, so that no pattern can hang a worker.

Replacements are RE2's: \0 to \9 are groups, \\ is a backslash, no other \ may be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pcre2
import re2

__all__ = [
    "MATCH_LIMIT",
    "PCRE",
    "RE2",
    "Pattern",
    "PatternFilter",
    "PatternRefused",
    "check_regex",
    "read_modifiers",
]

PCRE = 1
RE2 = 2
"""As mysql-query_processor_regex counts them."""
PCRE_TAKES_IT = "; PCRE takes it: mysql-query_processor_regex = 1"
MATCH_LIMIT = 100_000
MODIFIERS = frozenset(("CASELESS", "GLOBAL"))
SET_FROM = 16
"""Patterns from which on they are tried together; fewer are as fast one by one."""
LONGEST = 64 << 10
"""Bytes of a pattern: compiling one holds up all threads."""
PATTERN_MEMORY = 8 << 20
SET_MEMORY = 256 << 20
SET_MOST = 2000
"""Patterns of one set: compiling it holds up all threads of the process, for some 20 ms then."""

# What may be read otherwise: relatives of `$`, verbs and options of PCRE alone.
OWN_TO_PCRE = re.compile(rb"\\[zZGRXKvhHVN]|\(\?[|#>]|\(\*|\\Q|\[\[:[<>]:\]\]")
VERBS = re.compile(rb"\(\*(?:LIMIT_|NO_JIT|NOTEMPTY)")


class PatternRefused(ValueError):
    """A pattern or a replacement that cannot be used; the text says why."""


def read_modifiers(text: str) -> frozenset[str]:
    """CASELESS and GLOBAL out of `re_modifiers`. Raises PatternRefused."""
    names = frozenset(part.strip().upper() for part in text.split(",") if part.strip())
    unknown = names - MODIFIERS
    if unknown:
        raise PatternRefused(f"unknown modifier {', '.join(sorted(unknown))}")
    return names


def check_regex(pattern: str, modifiers: str = "CASELESS", engine: int = PCRE) -> str:
    """Why `pattern` cannot be used, or "" if it can."""
    try:
        Pattern(pattern.encode(), "CASELESS" in read_modifiers(modifiers), engine)
    except PatternRefused as refused:
        return str(refused)
    return ""


def _options(caseless: bool, memory: int) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, and `.` is one of them
    options.case_sensitive = not caseless
    options.log_errors = False
    options.max_mem = memory
    return options


class Pattern:
    """One compiled expression."""

    def __init__(self, source: bytes, caseless: bool, engine: int, one_line: bool = False) -> None:
        """`one_line`: no text ends with a newline, as digests never do. Raises PatternRefused."""
        if len(source) > LONGEST:
            raise PatternRefused(f"it is longer than {LONGEST >> 10} KiB")
        self.source = source
        self.caseless = caseless
        self.overruns = 0
        """Searches that were given up at MATCH_LIMIT."""
        alike = not OWN_TO_PCRE.search(source) and (one_line or b"$" not in source)
        self.linear = engine == RE2 or alike
        """Runs on RE2."""
        if self.linear:
            try:
                self._compiled = re2.compile(source, _options(caseless, PATTERN_MEMORY))
                self.groups: int = self._compiled.groups
                return
            except re2.error as error:
                if engine == RE2:
                    raise PatternRefused(_text(error) + _way_out(source)) from None
        self.linear = False
        if VERBS.search(source):
            raise PatternRefused("limits of matching are not for patterns to set")
        limits = b"(*LIMIT_MATCH=%d)(*LIMIT_DEPTH=%d)" % (MATCH_LIMIT, MATCH_LIMIT)
        try:
            self._compiled = pcre2.compile(limits + source, pcre2.I if caseless else 0)
        except pcre2.LibraryError as error:
            raise PatternRefused(str(error)) from None
        self.groups = self._compiled.groups

    def found_in(self, text: bytes) -> bool:
        """Whether it matches anywhere in `text`."""
        try:
            return self._compiled.search(text) is not None
        except pcre2.LibraryError:
            self.overruns += 1
            return False

    def rewriter(self, replacement: bytes, everywhere: bool) -> Callable[[bytes], bytes]:
        """What replaces the first match, or all of them. Raises PatternRefused."""
        parts = _parts(replacement, self.groups)

        def replaced(match: Any) -> bytes:
            return b"".join(
                part if isinstance(part, bytes) else match.group(part) or b"" for part in parts
            )

        def rewrite(text: bytes) -> bytes:
            try:
                found: bytes = self._compiled.sub(replaced, text, 0 if everywhere else 1)
            except pcre2.LibraryError:
                self.overruns += 1
                return text
            return found

        return rewrite


def _way_out(source: bytes) -> str:
    """How to have a pattern that only the other engine takes."""
    return "" if check_regex(source.decode("utf-8", "replace"), "", PCRE) else PCRE_TAKES_IT


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    return first.decode("latin-1") if isinstance(first, bytes) else str(first)


def _parts(replacement: bytes, groups: int) -> list[bytes | int]:
    parts: list[bytes | int] = []
    at = 0
    while at < len(replacement):
        end = replacement.find(b"\\", at)
        if end < 0:
            parts.append(replacement[at:])
            break
        parts.append(replacement[at:end])
        what = replacement[end + 1 : end + 2]
        if what == b"\\":
            parts.append(what)
        elif what.isdigit():
            if int(what) > groups:
                raise PatternRefused(f"\\{int(what)} but the pattern has {groups} groups")
            parts.append(int(what))
        else:
            raise PatternRefused("a \\ must be followed by a digit or another \\")
        at = end + 2
    return parts


class PatternFilter:
    """Many patterns at once: which of them match a text."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        together = [index for index, pattern in enumerate(patterns) if pattern.linear]
        if len(together) < SET_FROM:
            together = []
        self._patterns = patterns
        parts = [together[at : at + SET_MOST] for at in range(0, len(together), SET_MOST)]
        self._sets: list[tuple[Any, list[int]]] = []
        for part in parts:
            with suppress(re2.error):  # too large for its memory
                self._sets.append((self._compile(part, SET_MEMORY // len(parts)), part))
        taken = {index for _, part in self._sets for index in part}
        self._alone = [index for index in range(len(patterns)) if index not in taken]

    def found_in(self, text: bytes) -> set[int]:
        """Indices of the patterns that match."""
        patterns = self._patterns
        found = {index for index in self._alone if patterns[index].found_in(text)}
        for compiled, part in self._sets:
            matching = compiled.Match(text)
            if 0 in matching:
                found.update(part[index - 1] for index in matching if index)
            else:  # its automaton has outgrown its memory: even what matches anything is missing
                found.update(i for i in part if patterns[i].found_in(text))
        return found

    def _compile(self, part: Sequence[int], memory: int) -> Any:
        compiled = re2.Set.SearchSet(_options(False, memory))
        compiled.Add(b"")
        for index in part:
            pattern = self._patterns[index]
            flags = b"(?i:" if pattern.caseless else b"(?:"
            compiled.Add(flags + pattern.source + b")")
        compiled.Compile()
        return compiled
