# SPDX-License-Identifier: Apache-2.0
"""Rows as a client asks for them: named, without secrets, filtered, sorted, cut; pure.

?hostgroup=1&user=app      only rows that have these values (as text)
?sort=-sum_time            by a column, "-" for the largest first
?limit=50&offset=100       a part; `total` counts all that match
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hproxy.config.proxysql.catalogue import SECRET_COLUMNS
from hproxy.config.proxysql.values import MASK
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.control.model import Row
from hproxy.errors import AdminError

__all__ = ["hidden", "named", "page"]

CONTROLS = ("sort", "limit", "offset", "layer")
MOST = 100_000


def named(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows by the names of their columns."""
    return [dict(zip(columns, row, strict=True)) for row in rows]


def hidden(table: str, row: Row) -> dict[str, Any]:
    """A row of a table of the configuration without what is secret; columns in any case."""
    table = table.removeprefix("runtime_")
    shown = {
        column: MASK if value and (table, column.lower()) in SECRET_COLUMNS else value
        for column, value in row.items()
    }
    variable = VARIABLES.get(str(row.get("variable_name")))
    if variable is not None and variable.secret and row.get("variable_value"):
        shown["variable_value"] = MASK
    return shown


def page(rows: Sequence[Row], wanted: Mapping[str, str], **defaults: str) -> dict[str, Any]:
    """What is told of `rows`. Raises AdminError for a column that is none, or no number."""
    wanted = defaults | dict(wanted)
    columns = rows[0].keys() if rows else ()
    found = list(rows)
    for column, value in wanted.items():
        if column not in CONTROLS and rows:
            name = _column(column, columns)
            found = [row for row in found if _text(row[name]) == value]
    if found and (order := wanted.get("sort")):
        name = _column(order.removeprefix("-"), columns)
        found.sort(key=lambda row: _rank(row[name]), reverse=order.startswith("-"))
    start, limit = _number(wanted, "offset", 0), _number(wanted, "limit", MOST)
    return {"items": found[start : start + limit], "total": len(found)}


def _column(name: str, columns: Iterable[str]) -> str:
    known = list(columns)
    for column in known:
        if column.lower() == name.lower():
            return column
    raise AdminError(f"there is no column {name!r}", code="request", hint=", ".join(known))


def _number(wanted: Mapping[str, str], name: str, default: int) -> int:
    text = wanted.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise AdminError(f"{name} must be a whole number", code="request")
    return int(text)


def _text(value: Any) -> str:
    if value is True or value is False:
        return str(value).lower()
    return "" if value is None else str(value)


def _rank(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))
