# SPDX-License-Identifier: Apache-2.0
"""The configuration as rows of the admin tables, and back.

    rows_of(config)    Config ──> {"mysql_servers": [{column: value, ...}, ...], ...}
    rows_in(config, "mysql_servers")       the rows of one table: others may have thousands
    with_rows(...)     Config + the rows of one module ──every row checked──> a new Config

Values are as SQLite holds them: whole numbers (also for true and false), text, None. A row keeps
its order; `proxy.backends`, which is shorthand, becomes rows of mysql_servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from pydantic import BaseModel, ValidationError

from hproxy.config.finding import findings_of
from hproxy.config.position import KeyPath
from hproxy.config.proxysql.binding import variables_of, with_variables
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.table import Table
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, ConfigFinding

__all__ = ["place_of", "rows_in", "rows_of", "variables_of", "with_rows", "with_variables"]

Row = Mapping[str, Any]
Rows = Sequence[Row]


def rows_of(config: Config) -> dict[str, list[dict[str, Any]]]:
    """Every table of the configuration, each row with all its columns."""
    return {name: rows_in(config, name) for name in CONFIG_TABLES}


def rows_in(config: Config, name: str) -> list[dict[str, Any]]:
    """One table of the configuration, each row with all its columns."""
    if name == "global_variables":
        values = variables_of(config)
        return [
            {"variable_name": key, "variable_value": value} for key, value in sorted(values.items())
        ]
    rows = config.servers if name == "mysql_servers" else getattr(config, name)
    return _rows(CONFIG_TABLES[name], rows)


def _rows(table: Table, rows: Iterable[BaseModel]) -> list[dict[str, Any]]:
    names = table.names
    values = attrgetter(*names)  # ten thousand rows are read in one go
    found = [dict(zip(names, values(row), strict=True)) for row in rows]
    for row in found:
        for column, value in row.items():
            if value is True or value is False:
                row[column] = int(value)
    return found


def with_rows(config: Config, module: str, tables: Mapping[str, Rows]) -> Config:
    """A Config with the rows of one module; tables that are not given stay as they are.

    Raises ConfigError with every finding, whose `source` names the row by its key."""
    description = MODULES[module]
    if description.prefix:
        return with_variables(config, _values(tables["global_variables"], description.prefix))
    given = {name: _plain(tables[name]) for name in description.tables if name in tables}
    tree: dict[str, Any] = {
        name: getattr(config, name)
        for name in Config.model_fields
        if name in config.model_fields_set and name not in given
    }
    if "mysql_servers" in given and config.proxy.backends:
        tree["proxy"] = config.proxy.model_copy(update={"backends": ()})
    if "mysql_users" in given and not given["mysql_users"] and config.auth_mode == "table":
        # Without users it would follow that backends check passwords; nobody asked for that.
        tree["proxy"] = config.proxy.model_copy(update={"auth": "table"})
    try:
        return Config.model_validate(tree | given, context={"live": True})
    except ValidationError as error:
        found = [finding for _, finding in findings_of(error, _Places(given))]
        raise ConfigError(findings=found) from None


def _plain(rows: Rows) -> list[dict[str, Any]]:
    """Rows without the columns that are NULL: those have the default of their option."""
    return [{column: value for column, value in row.items() if value is not None} for row in rows]


class _Places:
    """Names the row that a finding is about: its table and key."""

    def __init__(self, tables: Mapping[str, Rows]) -> None:
        self._tables = tables

    def __call__(self, path: KeyPath) -> str:
        if len(path) < 2 or path[0] not in self._tables or not isinstance(path[1], int):
            return ""
        name = str(path[0])
        return place_of(name, self._tables[name][path[1]])


def place_of(table: str, row: Row) -> str:
    """How findings name a row: its table and key, where NULL is nothing."""
    values = (row.get(column) for column in CONFIG_TABLES[table].primary_key)
    return f"{table} ({', '.join('' if value is None else str(value) for value in values)})"


def _values(rows: Iterable[Row], prefix: str) -> dict[str, str]:
    """Values by name, of the variables with that prefix. Raises ConfigError for a name twice."""
    values: dict[str, str] = {}
    for row in rows:
        name, value = str(row["variable_name"]), row["variable_value"]
        if not name.startswith(prefix):
            continue
        if name in values:
            raise ConfigError(findings=[ConfigFinding("global_variables", name, "is there twice")])
        values[name] = "" if value is None else str(value)
    return values
