# SPDX-License-Identifier: Apache-2.0
"""proxysql.cnf: its groups and lists as rows of the admin tables, and rows as such a file.

    datadir = "/var/lib/proxysql"            settings of the process
    mysql_variables = { threads = 4 }        rows of global_variables, names without the prefix
    mysql_servers = ( { address = "a" } )    rows of the table of that name, every column filled

Old spellings are understood (address, hostgroup, restapi). What belongs to databases that are
not spoken here is a warning; a key that nobody knows is a mistake, told with its line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from hproxy.config.libconfig import MAX_INT64, LibconfigError, Node, parse, write
from hproxy.config.option import Refusal
from hproxy.config.position import KeyPath
from hproxy.config.proxysql.catalogue_config import CONFIG_TABLES
from hproxy.config.proxysql.table import Column, Table
from hproxy.config.proxysql.values import refused
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables import VARIABLES, find_variable
from hproxy.errors import ConfigError, ConfigFinding

__all__ = ["Document", "read_cnf", "tree_of", "write_cnf"]

# Settings of the process, and the option of ours that is the same; "" has none.
SETTINGS = {
    "datadir": "server.data_dir",
    "errorlog": "logging.file",
    "pidfile": "server.daemon.pid_file",
    "uuid": "",
    "restart_on_missing_heartbeats": "",
    "execute_on_exit_failure": "",
    "cluster_sync_interfaces": "",
    "ldap_auth_plugin": "",
    "web_interface_plugin": "",
    "set_thread_name": "",
}
GROUPS = {"mysql_variables": "mysql-", "admin_variables": "admin-"}
LISTS = {name: name for name in CONFIG_TABLES if name != "global_variables"} | {
    "restapi": "restapi_routes"
}
ALIASES = {"address": "hostname", "hostgroup": "hostgroup_id"}
# Of ProxySQL's other protocols and plugins.
FOREIGN = ("pgsql_", "clickhouse_", "ldap_", "mysql_ldap_", "sqliteserver_", "mcp_", "genai_")
# Defaults that a file has and the table has not: a rule in a file is meant to work, and what
# a table wants to be given may be left out.
DEFAULTS: dict[tuple[str, str], object] = {
    ("mysql_query_rules", "active"): 1,
    ("mysql_query_rules_fast_routing", "comment"): "",
    ("mysql_firewall_whitelist_users", "client_address"): "",
    ("mysql_firewall_whitelist_users", "comment"): "",
    ("mysql_firewall_whitelist_rules", "client_address"): "",
    ("mysql_firewall_whitelist_rules", "comment"): "",
}


@dataclass(slots=True)
class Document:
    """A file: rows by table (all columns, global_variables included), and where they stand."""

    settings: dict[str, object] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)  # by TOML path: "file:line"
    given: dict[str, list[set[str]]] = field(default_factory=dict)  # columns of each row
    warnings: list[ConfigFinding] = field(default_factory=list)


def read_cnf(text: str, source: str = "proxysql.cnf") -> Document:
    """The file as rows; tables it does not name have none of them.

    Raises ConfigError with every finding."""
    try:
        tree = parse(text)
    except LibconfigError as error:
        finding = ConfigFinding(
            f"{source}:{error.line}", "", f"{error.message} at column {error.column}"
        )
        raise ConfigError(findings=[finding]) from None
    reader = _Reader(source)
    for name, node in tree.items():
        reader.top(name, node)
    if reader.findings:
        raise ConfigError(findings=reader.findings)
    return reader.document


class _Reader:
    """Goes through the settings of a file and notes what is wrong with them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.document = Document()
        self.findings: list[ConfigFinding] = []

    def top(self, name: str, node: Node) -> None:
        """One setting of the outermost level."""
        if name in SETTINGS:
            self._setting(name, node)
        elif name in GROUPS:
            self._variables(name, node)
        elif name in LISTS:
            self._rows(LISTS[name], name, node)
        elif name.startswith(FOREIGN):
            self._warn(node, name, "is for a database or plugin that is not served here")
        else:
            self._refuse(node, name, "unknown key", _near(name, (*SETTINGS, *GROUPS, *LISTS)))

    def _setting(self, name: str, node: Node) -> None:
        if isinstance(node.value, dict | list):
            self._refuse(node, name, "must be a single value")
            return
        self.document.settings[name] = node.value
        if SETTINGS[name]:
            self.document.places[tuple(SETTINGS[name].split("."))] = self._place(node)
        else:
            self._warn(node, name, "has no effect here")

    def _variables(self, group: str, node: Node) -> None:
        if not isinstance(node.value, dict):
            self._refuse(node, group, "must be a group, { ... }")
            return
        rows = self.document.tables.setdefault("global_variables", [])
        for name, item in node.value.items():
            if isinstance(item.value, dict | list):
                self._refuse(item, f"{group}.{name}", "must be a single value")
                continue
            bare = name.removeprefix(GROUPS[group])
            value = _text(item.value)
            try:
                variable = find_variable(GROUPS[group] + bare)
                if variable.form == "fixed":
                    continue  # a dump has it
                checked = variable.check(value)
            except Refusal as refusal:
                finding = refused(GROUPS[group] + bare, value, refusal, self._place(item))
                self.findings.append(finding)
                continue
            rows.append({"variable_name": variable.name, "variable_value": checked})
            self.document.places[(group, variable.name.partition("-")[2])] = self._place(item)

    def _rows(self, table: str, name: str, node: Node) -> None:
        if not isinstance(node.value, list):
            self._refuse(node, name, "must be a list of groups, ( { ... } )")
            return
        rows = self.document.tables.setdefault(table, [])
        given = self.document.given.setdefault(table, [])
        for index, item in enumerate(node.value):
            where = f"{name}[{index}]"
            if not isinstance(item.value, dict):
                self._refuse(item, where, "must be a group, { ... }")
                continue
            self.document.places[(table, len(rows))] = self._place(item)
            found = self._row(CONFIG_TABLES[table], where, item, len(rows))
            given.append(set(found))
            rows.append(self._filled(CONFIG_TABLES[table], where, item, found))

    def _row(self, table: Table, where: str, node: Node, index: int) -> dict[str, Any]:
        """The columns that are given."""
        found: dict[str, Any] = {}
        assert isinstance(node.value, dict)
        for key, item in node.value.items():
            try:
                column = table.column(_spelled(table, key))
            except KeyError:
                known = (*table.names, *(a for a in ALIASES if ALIASES[a] in table.names))
                self._refuse(item, f"{where}.{key}", "unknown key", _near(key, known))
                continue
            if column.name in found:
                self._refuse(item, f"{where}.{key}", f"is {column.name}, which is given too")
                continue
            try:
                found[column.name] = _cell(column, item)
            except Refusal as refusal:
                self._refuse(item, f"{where}.{key}", refusal.message)
            self.document.places[(table.name, index, column.name)] = self._place(item)
        return found

    def _filled(
        self, table: Table, where: str, node: Node, found: dict[str, Any]
    ) -> dict[str, Any]:
        """The row with every column of its table."""
        row: dict[str, Any] = {}
        for column in table.columns:
            name = column.name
            row[name] = found.get(name, DEFAULTS.get((table.name, name), column.initial))
            if row[name] is None and (column.not_null or column.primary) and name not in found:
                self._refuse(node, f"{where}.{name}", "is required")
        return row

    def _place(self, node: Node) -> str:
        return f"{self.source}:{node.line}"

    def _refuse(self, node: Node, key: str, message: str, hint: str = "") -> None:
        self.findings.append(ConfigFinding(self._place(node), key, message, None, hint))

    def _warn(self, node: Node, key: str, message: str) -> None:
        self.document.warnings.append(ConfigFinding(self._place(node), key, message))


def _spelled(table: Table, key: str) -> str:
    alias = ALIASES.get(key.lower(), "")
    return alias if alias in table.names else key


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"


def _text(value: object) -> str:
    """A value as global_variables has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(column: Column, node: Node) -> int | str:
    """A value as its column holds it. Raises Refusal."""
    value = node.value
    if isinstance(value, dict | list):
        raise Refusal("must be a single value")
    if not column.numeric:
        return _text(value)
    try:
        number = int(value)
    except ValueError:
        raise Refusal("must be a whole number") from None
    if (number != value and isinstance(value, float)) or abs(number) > MAX_INT64:
        raise Refusal("must be a whole number")
    return number


def tree_of(document: Document) -> dict[str, Any]:
    """The document as a TOML file would have it: only what was given, so defaults stay ours."""
    tree: dict[str, Any] = {}
    for name, value in document.settings.items():
        node = tree
        *outer, last = SETTINGS[name].split(".") if SETTINGS[name] else ("",)
        for key in outer:
            node = node.setdefault(key, {})
        if last:
            node[last] = str(value)
    for table, rows in document.tables.items():
        if table == "global_variables":
            continue
        tree[table] = [
            {
                column: value
                for column, value in row.items()
                if column in given or (table, column) in DEFAULTS
            }
            for row, given in zip(rows, document.given[table], strict=True)
        ]
    for row in document.tables.get("global_variables", ()):
        prefix, _, name = row["variable_name"].partition("-")
        tree.setdefault(f"{prefix}_variables", {})[name] = row["variable_value"]
    return tree


HEAD = """\
# Written by SAVE CONFIG TO FILE. hproxy and ProxySQL read it at the start, with -c, and on
# LOAD ... FROM CONFIG.

"""


def write_cnf(
    tables: Mapping[str, Sequence[Mapping[str, Any]]], settings: Mapping[str, object] | None = None
) -> str:
    """A file that holds these rows; `read_cnf` gives them back.

    NULL is left out, except where a text has a default: there it is empty."""
    tree: dict[str, object] = dict(settings or {})
    for group, prefix in (("admin_variables", "admin-"), ("mysql_variables", "mysql-")):
        values = dict(_written(tables.get("global_variables", ()), prefix))
        if values:
            tree[group] = values
    for name, table in CONFIG_TABLES.items():
        rows = tables.get(name, ())
        if name != "global_variables" and rows:
            tree[name] = [
                {column.name: _null(column, row[column.name]) for column in table.columns}
                for row in rows
            ]
    return HEAD + write(tree)


def _null(column: Column, value: object) -> object:
    return "" if value is None and column.initial is not None and not column.numeric else value


def _written(rows: Sequence[Mapping[str, Any]], prefix: str) -> Iterator[tuple[str, object]]:
    for row in sorted(rows, key=lambda row: str(row["variable_name"])):
        name, value = str(row["variable_name"]), str(row["variable_value"])
        if name.startswith(prefix) and name != "admin-version":
            yield name.removeprefix(prefix), _typed(VARIABLES.get(name), value)


def _typed(variable: Variable | None, value: str) -> object:
    """A number or flag as such, when it is one."""
    if variable is not None and variable.kind == "int" and value.lstrip("-").isdecimal():
        return int(value)
    if variable is not None and variable.kind == "bool" and value in ("true", "false"):
        return value == "true"
    return value
