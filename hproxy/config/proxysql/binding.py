# SPDX-License-Identifier: Apache-2.0
"""Variables that are options of the file: read out of a Config, and put where they belong.

    variable                    option                      how
    mysql-connect_timeout_...   proxy.connect_timeout_ms    Variable.option and scale
    mysql-have_ssl              tls.client                  "off" or not
    mysql-have_compress         proxy.compression           empty or not
    mysql-use_tcp_keepalive     proxy.tcp_keepalive_sec     0 or not; then [mysql_variables]
    mysql-tcp_keepalive_time                                remembers the time
    any other                   [mysql_variables]           as it is, when it is not the default

So a value lives in one place only, and file and admin port cannot say different things.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hproxy.config.finding import findings_of
from hproxy.config.option import Refusal
from hproxy.config.position import KeyPath
from hproxy.config.proxysql.values import Values, refused
from hproxy.config.proxysql.variable import Variable
from hproxy.config.proxysql.variables import VARIABLES, find_variable
from hproxy.config.schema import Config
from hproxy.errors import ConfigError, ConfigFinding

__all__ = ["fold_variables", "variables_of", "with_tree", "with_variables"]

Tree = dict[str, Any]

KEEPALIVE = "mysql-use_tcp_keepalive"
KEEPALIVE_TIME = "mysql-tcp_keepalive_time"
KEEPALIVE_SEC = 120


def variables_of(config: Config) -> dict[str, str]:
    """The value of every variable, as the options of `config` have it."""
    values: dict[str, str] = {}
    for name, variable in VARIABLES.items():
        if variable.option:
            section, key = variable.option.split(".")
            values[name] = _text(variable, getattr(getattr(config, section), key))
        else:
            values[name] = _own(config).get(name, variable.default)
    values["mysql-have_ssl"] = _flag(config.tls.client != "off")
    values["mysql-have_compress"] = _flag(bool(config.proxy.compression))
    values[KEEPALIVE] = _flag(config.proxy.tcp_keepalive_sec > 0)
    values[KEEPALIVE_TIME] = _own(config).get(KEEPALIVE_TIME, values[KEEPALIVE_TIME])
    return values


def _own(config: Config) -> dict[str, str]:
    """Variables that are not options, with their prefix."""
    return {
        f"{prefix}-{name}": value
        for prefix, kept in (("mysql", config.mysql_variables), ("admin", config.admin_variables))
        for name, value in kept.items()
    }


def _text(variable: Variable, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _flag(value) if variable.kind == "bool" else str(int(value))
    if isinstance(value, int | float):
        return str(round(value / variable.scale))
    return str(value)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def with_variables(config: Config, values: Mapping[str, str]) -> Config:
    """A Config whose options say what the variables say; those not in `values` stay.

    Raises ConfigError with findings under the variables' names."""
    current = variables_of(config)
    changed = Values(current).check(values)
    if not changed:
        return config
    tree = _tree(config)
    for name, value in changed.items():
        _put(tree, VARIABLES[name], value)
    _put_keepalive(tree, changed, current)
    names = {VARIABLES[name].option: name for name in changed if VARIABLES[name].option}
    return with_tree(tree, lambda key: names.get(key, key))


def _tree(config: Config) -> Tree:
    """The Config as a tree: sections as dicts, rows as they are (checked, and many)."""
    tree: Tree = {}
    for name in Config.model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            tree[name] = value.model_dump(exclude_unset=True)
        elif isinstance(value, dict):
            tree[name] = dict(value)
        elif name in config.model_fields_set:
            tree[name] = value
    return tree


def with_tree(tree: Tree, renamed: Callable[[str], str] = str, source: str = "") -> Config:
    """The Config of a tree, as of an admin's change: it may be left without any backend.

    Raises ConfigError with findings, their keys as `renamed` gives them."""
    try:
        return Config.model_validate(tree, context={"live": True})
    except ValidationError as error:
        findings = [
            ConfigFinding(
                finding.source, renamed(finding.key), finding.message, finding.value, finding.hint
            )
            for _, finding in findings_of(error, lambda _: source)
        ]
        raise ConfigError(findings=findings) from None


def _put(tree: Tree, variable: Variable, value: str) -> KeyPath:
    """Set one checked value; returns the path of what holds it."""
    name = variable.name
    prefix, _, bare = name.partition("-")
    kept = tree.setdefault(f"{prefix}_variables", {})
    if name == "mysql-have_ssl":
        tls = tree.setdefault("tls", {})
        if value == "false" or tls.get("client", "preferred") == "off":
            tls["client"] = "preferred" if value == "true" else "off"
        return ("tls", "client")
    if name == "mysql-have_compress":
        proxy = tree.setdefault("proxy", {})
        if value == "false":
            proxy["compression"] = ()
        elif not proxy.get("compression", ("zlib",)):
            proxy["compression"] = ("zlib", "zstd")
        return ("proxy", "compression")
    if name in (KEEPALIVE, KEEPALIVE_TIME):
        return ("proxy", "tcp_keepalive_sec")  # `_put_keepalive`, when both are known
    if variable.option:
        section, key = variable.option.split(".")
        tree.setdefault(section, {})[key] = _option_value(variable, value)
        return (section, key)
    kept[bare] = value
    if value == variable.default:
        del kept[bare]
    return (f"{prefix}_variables", bare)


def _option_value(variable: Variable, value: str) -> object:
    if variable.kind == "int":
        scaled = int(value) * variable.scale
        return int(scaled) if float(scaled).is_integer() else round(scaled, 6)
    if variable.kind == "bool":
        return value == "true"
    if not value:
        return _unset(variable)
    return Path(value) if variable.option.startswith("tls.") else value


def _unset(variable: Variable) -> str | None:
    """An empty text, in an option that knows none."""
    section, key = variable.option.split(".")
    default = Config.model_fields[section].default
    return None if getattr(default, key) is None else ""


def _put_keepalive(tree: Tree, changed: Mapping[str, str], current: Mapping[str, str]) -> None:
    """Two variables, one option: switched off, the time is remembered as a variable."""
    if KEEPALIVE not in changed and KEEPALIVE_TIME not in changed:
        return
    seconds = int(changed.get(KEEPALIVE_TIME, current.get(KEEPALIVE_TIME, KEEPALIVE_SEC)))
    on = changed.get(KEEPALIVE, current.get(KEEPALIVE, "true"))
    kept = tree.setdefault("mysql_variables", {})
    kept.pop("tcp_keepalive_time", None)
    if on == "false":
        kept["tcp_keepalive_time"] = str(seconds)
        seconds = 0
    elif not seconds and KEEPALIVE_TIME not in changed:
        seconds = KEEPALIVE_SEC
    tree.setdefault("proxy", {})["tcp_keepalive_sec"] = seconds


# Pairs where the first must stay below, or not above, the second. In a file the one that was not
# given yields; on the admin port any two are taken, as ProxySQL does, or a variable would change
# that nobody has set. Defaults are those of the options.
_HEALTH = ("mysql-monitor_ping_timeout", "mysql-monitor_ping_interval")
_CONNECT = ("mysql-connect_timeout_server", "mysql-connect_timeout_server_max")


def _fit(tree: Tree, changed: Mapping[str, str]) -> None:
    low, high = (name in changed for name in _HEALTH)
    health = _section(tree, "health")
    timeout, interval = health.get("timeout_sec", 5), health.get("interval_sec", 10)
    if low != high and _numbers(timeout, interval) and timeout >= interval:
        health |= {"timeout_sec": interval / 2} if high else {"interval_sec": timeout * 2}
    low, high = (name in changed for name in _CONNECT)
    proxy = _section(tree, "proxy")
    once = proxy.get("connect_timeout_ms", 3000)
    whole = proxy.get("connect_timeout_max_ms", 10_000)
    if low != high and _numbers(once, whole) and once > whole:
        proxy |= {"connect_timeout_ms": whole} if high else {"connect_timeout_max_ms": once}


def _section(tree: Tree, name: str) -> Tree:
    section = tree.get(name)
    return section if isinstance(section, dict) else {}


def _numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) for value in values)


def fold_variables(
    tree: Tree, places: dict[KeyPath, str], source: str, only: Collection[KeyPath] | None = None
) -> list[ConfigFinding]:
    """Move the variables of a raw tree that are options to where those stand.

    Of a file all of them, where an option that was given as well is a contradiction; of what
    comes over a file `only` those it gives, and they win. Returns what is wrong with them."""
    folding = _Folding(tree, places, source, only)
    for prefix in ("mysql", "admin"):
        table = tree.get(f"{prefix}_variables")
        if isinstance(table, dict):
            for bare in list(table):
                folding.move(prefix, bare, table)
    if folding.changed:
        _fit(tree, folding.changed)
        _put_keepalive(tree, folding.changed, {})
    return folding.findings


class _Folding:
    """What `fold_variables` has seen so far."""

    def __init__(
        self,
        tree: Tree,
        places: dict[KeyPath, str],
        source: str,
        only: Collection[KeyPath] | None,
    ) -> None:
        self.tree = tree
        self.places = places
        self.source = source
        self.only = only
        self.changed: dict[str, str] = {}
        self.findings: list[ConfigFinding] = []
        self._mine: set[KeyPath] = set()  # options that a variable has set

    def move(self, prefix: str, bare: str, table: Tree) -> None:
        """Take one variable out of its table, if it is an option."""
        path: KeyPath = (f"{prefix}_variables", bare)
        if self.only is not None and path not in self.only:
            return
        value = _flag(table[bare]) if isinstance(table[bare], bool) else str(table[bare])
        place = self.places.get(path, self.source)
        try:
            variable = find_variable(f"{prefix}-{bare}")
        except Refusal:
            return  # the model says so
        bound = _option_path(variable)
        if bound is None:
            return  # the model checks it where it stands
        del table[bare]
        section = self.tree.get(bound[0], {})
        if not isinstance(section, dict):
            return  # which is a finding of its own
        try:
            checked = variable.check(value)
        except Refusal as refusal:
            self.findings.append(refused(f"{prefix}-{bare}", value, refusal, place))
            return
        if bound[1] in section and bound not in self._mine and self.only is None:
            message = f"is {bound[0]}.{bound[1]}, which is given too"
            key = f"{prefix}_variables.{bare}"
            self.findings.append(ConfigFinding(place, key, message, None, "say it once"))
            return
        _put(self.tree, variable, checked)
        self._mine.add(bound)
        self.places[bound] = place
        self.changed[variable.name] = checked


_SPECIAL: dict[str, tuple[str, str]] = {
    "mysql-have_ssl": ("tls", "client"),
    "mysql-have_compress": ("proxy", "compression"),
    "mysql-use_tcp_keepalive": ("proxy", "tcp_keepalive_sec"),
}


def _option_path(variable: Variable) -> tuple[str, str] | None:
    """Section and key of what holds it; None for a variable that is no option."""
    if variable.name in _SPECIAL:
        return _SPECIAL[variable.name]
    if not variable.option:
        return None
    section, key = variable.option.split(".")
    return section, key
