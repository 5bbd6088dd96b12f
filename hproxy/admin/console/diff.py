# SPDX-License-Identifier: Apache-2.0
"""What differs between two states of a module, as rows that can be shown; pure.

    table          key                 column   old     new     change
    mysql_servers  0, 10.0.0.1, 3306   weight   1       10      update

Passwords are compared and never shown. A variable that is not there is at its default: one that
comes or goes at that value is no change, or a first version would list them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hproxy.admin.console.layer import Row, Tables
from hproxy.config.proxysql.catalogue import CONFIG_TABLES, SECRET_COLUMNS
from hproxy.config.proxysql.table import Table
from hproxy.config.proxysql.variables import VARIABLES

__all__ = ["Change", "diff", "text"]

HIDDEN = "***"


class Change(NamedTuple):
    """One cell that differs, or a row that came or went (column "")."""

    table: str
    key: str
    column: str
    old: str | None
    new: str | None
    change: str


def diff(old: Tables, new: Tables) -> list[Change]:
    """The changes from `old` to `new`, by table and key."""
    found: list[Change] = []
    for name in sorted(old.keys() | new.keys()):
        found += _changes(CONFIG_TABLES[name], old.get(name, ()), new.get(name, ()))
    return found


def text(changes: Iterable[Change]) -> str:
    """The changes as lines for people."""
    return "\n".join(map(_line, changes))


def _changes(table: Table, old: Iterable[Row], new: Iterable[Row]) -> Iterator[Change]:
    before = {_key(table, row): row for row in old}
    after = {_key(table, row): row for row in new}
    for key, row in before.items():
        if key not in after and not _implied(row):
            yield Change(table.name, key, "", _shown_row(table, row), None, "delete")
    for key, row in after.items():
        was = before.get(key)
        if was is None:
            if _implied(row):
                continue
            yield Change(table.name, key, "", None, _shown_row(table, row), "insert")
            continue
        for column in row:
            if _text(was.get(column)) != _text(row[column]):
                one, two = (_shown(table, r, column) for r in (was, row))
                yield Change(table.name, key, column, one, two, "update")


def _implied(row: Row) -> bool:
    """Whether the row says what is so without it."""
    variable = VARIABLES.get(str(row.get("variable_name")))
    return variable is not None and variable.default == _text(row["variable_value"])


def _key(table: Table, row: Row) -> str:
    return ", ".join(str(row.get(column)) for column in table.order_by)


def _shown_row(table: Table, row: Row) -> str:
    defaults = {column.name: column.initial for column in table.columns}
    return ", ".join(
        f"{column}={_shown(table, row, column)}"
        for column in row
        if column not in table.order_by and _text(row[column]) != _text(defaults.get(column))
    )


def _shown(table: Table, row: Row, column: str) -> str | None:
    value = row.get(column)
    if value in (None, ""):
        return _text(value)
    variable = VARIABLES.get(str(row.get("variable_name")))
    if (table.name, column) in SECRET_COLUMNS or (
        column == "variable_value" and variable is not None and variable.secret
    ):
        return HIDDEN
    return _text(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _line(change: Change) -> str:
    head = f"{change.table} [{change.key}]"
    if change.change == "update":
        old, new = ("NULL" if text is None else text for text in (change.old, change.new))
        return f"{head} {change.column}: {old} -> {new}"
    content = change.new if change.change == "insert" else change.old
    return f"{head} {'added' if change.change == 'insert' else 'removed'}: {content}"
