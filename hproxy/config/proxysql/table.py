# SPDX-License-Identifier: Apache-2.0
"""One table of the admin databases: its columns, its keys, and the CREATE TABLE text of it.

A table is written down as SQL, one column or key a line, in ProxySQL's own style, and taken
apart here; so what SHOW CREATE TABLE shows and what the code knows of a column cannot differ.

    hostgroup_id INT CHECK (hostgroup_id>=0) NOT NULL DEFAULT 0
    |name        |type |check                |not_null |default
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

__all__ = ["Column", "Table", "table"]

_KEY = re.compile(r"(PRIMARY KEY|UNIQUE) ?\((.+)\)")
_TYPE = re.compile(r"`?(\w+)`? ([A-Z]+(?: UNSIGNED)?)")
_DEFAULT = re.compile(r"DEFAULT ('[^']*'|\S+)")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `default` and `check` are SQL text; `text` is the column as declared."""

    name: str
    type: str  # "INT", "INT UNSIGNED", "INTEGER", "BIGINT", "VARCHAR", "TEXT"
    not_null: bool
    default: str | None  # None: there is none
    check: str  # "" = none
    text: str

    @property
    def numeric(self) -> bool:
        """Whether its values are whole numbers."""
        return self.type.startswith(("INT", "BIGINT"))

    @property
    def primary(self) -> bool:
        """Whether it is the primary key by itself."""
        return "PRIMARY KEY" in self.text

    @property
    def initial(self) -> int | str | None:
        """The default as a value; None for a column without one."""
        if self.default is None:
            return None
        if self.default == "NULL":
            return None
        return int(self.default) if self.numeric else self.default.strip("'")


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the database `schema`: "main", "stats", "monitor" or "stats_history"."""

    name: str
    schema: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]  # "PRIMARY KEY (a, b)", "UNIQUE (c)"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def ddl(self) -> str:
        """The CREATE TABLE text, as SHOW CREATE TABLE gives it."""
        parts = (*(column.text for column in self.columns), *self.keys)
        return f"CREATE TABLE {self.name} ({' , '.join(parts)})"

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Its columns; empty when there is none."""
        alone = tuple(column.name for column in self.columns if column.primary)
        return alone or next(iter(_columns_of(self.keys, "PRIMARY KEY")), ())

    @property
    def unique_keys(self) -> tuple[tuple[str, ...], ...]:
        """Every set of columns whose values may stand only once, the primary key first."""
        primary = (self.primary_key,) if self.primary_key else ()
        return (*primary, *_columns_of(self.keys, "UNIQUE"))

    @property
    def order_by(self) -> tuple[str, ...]:
        """The columns that dumps and checksums are ordered by."""
        return self.primary_key or self.names

    def column(self, name: str) -> Column:
        """The column of that name, in any case. Raises KeyError."""
        for column in self.columns:
            if column.name.lower() == name.lower():
                return column
        raise KeyError(name)

    def renamed(self, name: str, schema: str | None = None) -> Table:
        """The same columns under another name: a runtime_ table, a _reset twin."""
        return replace(self, name=name, schema=schema or self.schema)


def _columns_of(keys: tuple[str, ...], kind: str) -> tuple[tuple[str, ...], ...]:
    matches = (_KEY.fullmatch(key) for key in keys)
    return tuple(
        tuple(name.strip() for name in match[2].split(","))
        for match in matches
        if match is not None and match[1] == kind
    )


def table(schema: str, name: str, text: str) -> Table:
    """The table declared by `text`: a column or key a line, indented lines continuing it.

    Raises ValueError for a line that is neither."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        if line.startswith(" "):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.strip())
    keys = tuple(line for line in lines if _KEY.fullmatch(line))
    return Table(name, schema, tuple(_column(line) for line in lines if line not in keys), keys)


def _column(text: str) -> Column:
    head = _TYPE.match(text)
    if head is None:
        raise ValueError(f"not a column: {text}")
    check, rest = _check(text[head.end() :])
    default = _DEFAULT.search(rest)
    return Column(
        name=head[1],
        type=head[2],
        not_null="NOT NULL" in rest,
        default=default[1] if default else None,
        check=check,
        text=text,
    )


def _check(text: str) -> tuple[str, str]:
    """The expression within CHECK (...), and the text without it."""
    start = text.find("CHECK (")
    if start < 0:
        return "", text
    depth = 0
    for at in range(start + 6, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return text[start + 7 : at].strip(), text[:start] + text[at + 1 :]
    raise ValueError(f"a parenthesis is open: {text}")
