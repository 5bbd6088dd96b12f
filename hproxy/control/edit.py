# SPDX-License-Identifier: Apache-2.0
"""Changes of a module's rows, each a function of what is there; pure.

    put       the row instead of the one with its key; what is not given has its default
    patch     some columns of the row with that key, which must be there
    remove    no row with that key, which must be there
    replace   whole tables; those not given stay
    assign    variables

A value of JSON becomes what the table holds: true is 1. What is wrong beyond names is found by
those who make it act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.table import Table
from hproxy.control.model import Edit, Row, Tables
from hproxy.errors import AdminError

__all__ = ["assign", "patch", "printable", "put", "remove", "replace"]

LIMIT = 1 << 63


def put(table: str, key: Row, values: Row) -> Edit:
    """Whole rows. Raises AdminError for a column that is none, or that says another key."""
    made = CONFIG_TABLES[table]
    row = _defaults(made) | _plain(made, values) | _plain(made, key)
    _agree(key, values)

    def edit(tables: Tables) -> Tables:
        rows, at = list(tables[table]), _at(tables[table], key)
        if at:
            rows[at[0]] = row
            rows = [kept for number, kept in enumerate(rows) if number not in at[1:]]
        else:
            rows.append(row)
        return {**tables, table: rows}

    return edit


def patch(table: str, key: Row, values: Row) -> Edit:
    """Some columns."""
    changed = _plain(CONFIG_TABLES[table], values)
    _agree(key, values)

    def edit(tables: Tables) -> Tables:
        rows = list(tables[table])
        for at in _found(table, rows, key):
            rows[at] = {**rows[at], **changed}
        return {**tables, table: rows}

    return edit


def remove(table: str, key: Row) -> Edit:
    """Gone."""

    def edit(tables: Tables) -> Tables:
        rows = tables[table]
        gone = set(_found(table, rows, key))
        return {**tables, table: [row for at, row in enumerate(rows) if at not in gone]}

    return edit


def replace(module: str, given: Mapping[str, Any]) -> Edit:
    """Whole tables, by name. Raises AdminError for one that is not of the module."""
    description = MODULES[module]
    fresh: dict[str, list[dict[str, Any]]] = {}
    for name, rows in given.items():
        if name not in description.tables:
            known = ", ".join(description.tables)
            raise AdminError(f"{module} has no table {name!r}", code="request", hint=known)
        if description.prefix:
            continue
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise AdminError(f"{name} must be a list of objects", code="request")
        made = CONFIG_TABLES[name]
        fresh[name] = [_defaults(made) | _plain(made, row) for row in rows]
    if description.prefix:
        return assign(given.get("global_variables", {}), description.prefix)
    return lambda tables: {**tables, **fresh}


def assign(values: Any, prefix: str = "") -> Edit:
    """Variables by name; the others stay."""
    if not isinstance(values, dict):
        raise AdminError("variables are given as an object of names and values", code="request")
    texts = {name: _variable(value) for name, value in values.items()}
    for name in texts:
        if not name.startswith(prefix):
            raise AdminError(f"{name} is no variable {prefix}*", code="request")

    def edit(tables: Tables) -> Tables:
        rows = [
            {**row, "variable_value": texts.get(row["variable_name"], row["variable_value"])}
            for row in tables["global_variables"]
        ]
        known = {row["variable_name"] for row in rows}
        rows += [
            {"variable_name": name, "variable_value": text}
            for name, text in texts.items()
            if name not in known
        ]
        return {**tables, "global_variables": rows}

    return edit


def _variable(value: Any) -> str:
    if value is True or value is False:
        return str(value).lower()
    if value is None or isinstance(value, dict | list):
        raise AdminError("a variable is a text, a number, true or false", code="request")
    return str(_storable("a variable", value))


def _defaults(table: Table) -> dict[str, Any]:
    return {column.name: column.initial for column in table.columns}


def _plain(table: Table, values: Row) -> dict[str, Any]:
    names = {name.lower(): name for name in table.names}
    found: dict[str, Any] = {}
    for given, value in values.items():
        name = names.get(given.lower())
        if name is None:
            near = get_close_matches(given.lower(), names, n=1)
            hint = f"did you mean {names[near[0]]}?" if near else ", ".join(table.names)
            raise AdminError(f"{table.name} has no column {given!r}", code="request", hint=hint)
        column = table.column(name)
        if value is None and column.not_null:  # as REPLACE does it
            value = column.initial
            if value is None:
                raise AdminError(f"{name} must be given", code="request")
        found[name] = _storable(name, value)
    return found


def _storable(name: str, value: Any) -> Any:
    """A value of JSON as a table holds it. Raises AdminError for one that none can hold."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict | list):
        raise AdminError(f"{name} must be a text or a number", code="request")
    if isinstance(value, int | float) and not -LIMIT <= value < LIMIT:
        raise AdminError(f"{name} is out of range", code="request")
    if isinstance(value, str) and not printable(value):
        raise AdminError(f"{name} must be UTF-8 without NUL", code="request")
    return value


def printable(text: str) -> bool:
    """Whether it can be told in UTF-8 and kept: JSON can say what cannot be."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _agree(key: Row, values: Row) -> None:
    for given, value in values.items():
        name = given.lower()
        if name in key and value != key[name]:
            reason = f"{name} is {key[name]} in the address and {value} in the body"
            raise AdminError(reason, code="request")


def _at(rows: Sequence[Row], key: Row) -> list[int]:
    return [at for at, row in enumerate(rows) if all(row[k] == v for k, v in key.items())]


def _found(table: str, rows: Sequence[Row], key: Row) -> list[int]:
    found = _at(rows, key)
    if not found:
        named = ", ".join(str(value) for value in key.values())
        raise AdminError(f"there is no {named} in {table}", code="row")
    return found
