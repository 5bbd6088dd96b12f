# SPDX-License-Identifier: Apache-2.0
"""How a statement is told to be a command: by its first word, then by one pattern of many.

Patterns are written for the collapsed text (one blank, no ";" at the end) and match it whole,
in any case. What a command takes from inside of quotes it takes from the text as it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hproxy.admin.console import sql
from hproxy.admin.model import Answer

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["Command", "Found", "Matcher"]

# Rows are written with these: never a command, and perhaps megabytes long.
PLAIN = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"})
VERSIONED = "/*!"
LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Command:
    """One row of a family's table."""

    words: str  # the words it may begin with
    pattern: str
    run: Callable[[ConsoleSession, Found], Awaitable[Answer]]
    changes: bool = False
    """It changes something, or shows the configuration: nothing for the stats user."""
    always: bool = False
    """Allowed although admin-read_only is set."""


@dataclass(frozen=True, slots=True)
class Found:
    """A command that a statement is."""

    command: Command
    match: re.Match[str]
    text: str

    @property
    def changes(self) -> bool:
        return self.command.changes

    @property
    def always(self) -> bool:
        return self.command.always

    def group(self, name: str) -> str:
        """What the pattern's group caught; "" when it caught nothing."""
        caught: Any = self.match.groupdict().get(name)
        return caught or ""

    async def run(self, session: ConsoleSession) -> Answer:
        """Run it. Raises AdminError, ConfigError."""
        return await self.command.run(session, self)


class Matcher:
    """All commands by their first word; within one the first that matches."""

    def __init__(self, families: Iterable[Iterable[Command]]) -> None:
        self._commands: dict[str, list[tuple[re.Pattern[str], Command]]] = {}
        for family in families:
            for command in family:
                pattern = re.compile(command.pattern, re.IGNORECASE | re.DOTALL)
                for word in command.words.split():
                    self._commands.setdefault(word, []).append((pattern, command))

    def find(self, text: str) -> Found | None:
        """The command that `text` is."""
        word = VERSIONED if text.startswith(VERSIONED) else sql.first_word(text)
        commands = () if word in PLAIN else self._commands.get(word, ())
        if not commands or len(text) > LONGEST:
            return None
        collapsed = sql.collapse(text)
        for pattern, command in commands:
            match = pattern.fullmatch(collapsed)
            if match is not None:
                return Found(command, match, text)
        return None
