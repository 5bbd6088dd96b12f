# SPDX-License-Identifier: Apache-2.0
"""Wrong values are refused when they are written: triggers on the memory layer.

    INSERT, UPDATE ── hproxy_check_TABLE ──> a reason ── RAISE(ABORT) ──> the client reads it

CHECK constraints cannot say why, and they know no regular expression and no variable's range.
With admin-strict off nothing is refused here: what is wrong is left out at LOAD, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apsw

from hproxy.config.option import Refusal
from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.proxysql.table import Table
from hproxy.config.proxysql.values import Values, refused
from hproxy.config.proxysql.variables import find_variable

__all__ = ["Checks", "triggers"]

CheckRegex = Callable[[str, str], None]
REGEX_COLUMNS = ("match_digest", "match_pattern")


def accept_any(_pattern: str, _modifiers: str) -> None:
    """No regular expression is refused."""


class Checks:
    """The reasons; registered as functions on each connection."""

    def __init__(self, values: Values, check_regex: CheckRegex = accept_any) -> None:
        """`check_regex(pattern, modifiers)` raises for one that cannot be used."""
        self._values = values
        self._check_regex = check_regex

    def register(self, connection: apsw.Connection) -> None:
        """Give the connection what the triggers call."""
        functions: dict[str, tuple[Any, int]] = {
            "hproxy_strict": (self.strict, 0),
            "hproxy_variable": (self.variable, 2),
            "hproxy_regex": (self.regex, 2),
        }
        for name, (function, arguments) in functions.items():
            connection.create_scalar_function(name, function, arguments)

    def strict(self) -> int:
        """Whether wrong values are refused when written."""
        return int(self._values.flag("admin-strict"))

    def variable(self, name: object, value: object) -> str | None:
        """Why the variable cannot have this value; None when it can."""
        text = "" if value is None else str(value)
        try:
            found = find_variable(str(name))
            if found.name != name:
                raise Refusal(f"is spelled {found.name}")
            # What runs stands, even if only the file could say it.
            if self._values.text(found.name) != text:
                found.check(text)
        except Refusal as error:
            return str(refused(str(name), text, error))
        return None

    def regex(self, pattern: object, modifiers: object) -> str | None:
        """Why the pattern cannot be used; None when it can."""
        if pattern is None:
            return None
        try:
            self._check_regex(str(pattern), "" if modifiers is None else str(modifiers))
        except Exception as error:  # whatever the engine raises, its text is the reason
            return f"{str(pattern)[:80]!r} is no regular expression that can be used: {error}"
        return None


def triggers() -> Iterator[str]:
    """CREATE TRIGGER for every table of the memory layer."""
    for table in CONFIG_TABLES.values():
        conditions = list(_conditions(table))
        if not conditions:
            continue
        body = " ".join(
            f"SELECT RAISE(ABORT, {reason}) WHERE {wrong};" for wrong, reason in conditions
        )
        for event in ("INSERT", "UPDATE"):
            yield (
                f"CREATE TRIGGER main.hproxy_check_{table.name}_{event.lower()} "
                f"BEFORE {event} ON {table.name} WHEN hproxy_strict() BEGIN {body} END"
            )


def _conditions(table: Table) -> Iterator[tuple[str, str]]:
    """SQL that is true for a wrong row, and SQL of the reason."""
    for column in table.columns:
        new = f"NEW.`{column.name}`"
        if column.numeric:
            text = f"{table.name}.{column.name} must be a whole number, got "
            yield f"typeof({new}) NOT IN ('integer', 'null')", f"'{text}' || quote({new})"
    if table.name == "global_variables":
        reason = "hproxy_variable(NEW.variable_name, NEW.variable_value)"
        yield f"{reason} IS NOT NULL", reason
    if table.name == "mysql_query_rules":
        for name in REGEX_COLUMNS:
            reason = f"hproxy_regex(NEW.{name}, NEW.re_modifiers)"
            yield f"{reason} IS NOT NULL", f"'{name}: ' || {reason}"
