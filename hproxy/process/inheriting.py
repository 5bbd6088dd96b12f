# SPDX-License-Identifier: Apache-2.0
"""What a new service starts on when it takes over: what the old one ran on, as far as it can.

    options without a table    as file and flags say now: they belong to the program that starts
    every module               as it ran, whether it was saved or not
    the memory layer           as it was
    the file has changed       what runs stays, and that is told; a reload makes it count
    --reload                   that reload is done at once

    rows ── columns known? ── checked as by a LOAD ──> run
             └ left out       └ refused ──> the stored row of that key, or none; the same for a
                                            variable; what cannot be told apart: the stored module

Stored means: what a start without the old one would have found in store and file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hproxy.config.option import Refusal
from hproxy.config.proxysql.catalogue import CONFIG_TABLES
from hproxy.config.proxysql.module import MODULES, Module
from hproxy.config.proxysql.rows import place_of, rows_in, with_rows
from hproxy.config.proxysql.values import refused
from hproxy.config.proxysql.variables import VARIABLES
from hproxy.config.schema import Config
from hproxy.config.store import Tables
from hproxy.errors import ConfigError
from hproxy.process.estate import Estate
from hproxy.process.reloading import differs, renewed
from hproxy.routing.rules import check_regex

__all__ = ["Inherited", "inherit"]

Row = Mapping[str, Any]
ENGINE = "mysql-query_processor_regex"
PATTERNS = ("match_digest", "match_pattern")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What to start on."""

    config: Config
    memory: Mapping[str, Tables] = field(default_factory=dict)
    """By module; one that is missing begins as it runs."""
    file: Config | None = None
    """What the file said for what runs; None: what it says now."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Modules that run otherwise than store and file say, and where they have it from."""
    notes: tuple[str, ...] = ()
    """What is not as it was, for the operator."""
    servers: Sequence[Sequence[Any]] = ()
    """Whose status is not that of their rows."""


def inherit(
    estate: Estate, stored: Config, now: Config, saved: Collection[str], *, reload: bool = False
) -> Inherited:
    """`stored` is what a start would find, `now` what file and flags say; modules that are `saved`
    are the store's. Raises ConfigError for a `reload` that is refused."""
    notes: list[str] = []
    config = stored
    # Variables first: they say how rows are understood.
    for name in sorted(estate.running, key=lambda name: not MODULES[name].prefix):
        config = _taken(config, MODULES[name], estate.running[name], notes)
    memory = {
        name: _remembered(config, MODULES[name], tables, notes)
        for name, tables in estate.memory.items()
    }
    before = estate.file
    if reload:
        kept = config
        config = stored if before is None else renewed(config, before, now, saved)
        for name in MODULES:
            if _rows(kept, MODULES[name]) != _rows(config, MODULES[name]):
                memory.pop(name, None)
        before = now
    elif before is not None:
        notes += [
            f"{name}: the file says otherwise since it was read last; what runs is kept, "
            "a reload makes the file count"
            for name in MODULES
            if name not in saved and differs(before, now, name)
        ]
    words = f"kept from the service before, version {estate.version}"
    origins = {
        name: words
        for name, module in MODULES.items()
        if _rows(config, module) != _rows(stored, module)
    }
    return Inherited(config, memory, before, origins, tuple(notes), estate.servers)


def _rows(config: Config, module: Module) -> dict[str, list[dict[str, Any]]]:
    found = {name: rows_in(config, name) for name in module.tables}
    if module.prefix:
        rows = found["global_variables"]
        found = {"global_variables": [row for row in rows if _of(module, row)]}
    return found


def _of(module: Module, row: Row) -> bool:
    return str(row["variable_name"]).startswith(module.prefix)


def _taken(config: Config, module: Module, tables: Tables, notes: list[str]) -> Config:
    """`config` with the module's rows, as many of them as can be."""
    stored = _rows(config, module)
    wanted = _understood(module, tables, stored, notes)
    if module.name == "mysql_query_rules":
        wanted = _compiling(config, wanted, stored, notes)
    instead = {_named(name, row): row for name, rows in stored.items() for row in rows}
    while wanted != stored:
        try:
            return with_rows(config, module.name, wanted)
        except ConfigError as error:
            reasons = {finding.source or finding.key: str(finding) for finding in error.findings}
            rest = dict(_replaced(wanted, reasons, instead, notes))
            if rest == wanted:
                notes.append(f"{module.name}: as stored, for what ran is refused: {error}")
                return config
            wanted = rest
            for place in reasons:
                instead.pop(place, None)
    return config


def _named(table: str, row: Row) -> str:
    """As findings name it."""
    return str(row["variable_name"]) if table == "global_variables" else place_of(table, row)


def _replaced(
    wanted: Tables, reasons: Mapping[str, str], instead: Mapping[str, Row], notes: list[str]
) -> Iterator[tuple[str, list[Row]]]:
    """Without the rows that are refused: those stored are there instead, where there are any."""
    for table, rows in wanted.items():
        kept: list[Row] = []
        for row in rows:
            place = _named(table, row)
            if place not in reasons:
                kept.append(row)
                continue
            other = instead.get(place)
            if other is not None:
                kept.append(other)
            notes.append(f"{reasons[place]}: {'as stored' if other else 'left out'}")
        yield table, kept


def _understood(
    module: Module, tables: Tables, stored: Tables, notes: list[str]
) -> dict[str, list[Row]]:
    """The rows, without what this version has no name for; tables the other one did not have."""
    found: dict[str, list[Row]] = {name: list(rows) for name, rows in stored.items()}
    for name in module.tables:
        if name not in tables:
            continue
        known = set(CONFIG_TABLES[name].names)
        strange = sorted({column for row in tables[name] for column in row} - known)
        notes += [f"{name}.{column} is not known here: left out" for column in strange]
        rows = [{c: value for c, value in row.items() if c in known} for row in tables[name]]
        if module.prefix:
            rows = _values(module, rows, stored["global_variables"], notes)
        found[name] = list(rows)
    return found


def _values(
    module: Module, rows: Sequence[Row], stored: Sequence[Row], notes: list[str]
) -> list[dict[str, Any]]:
    """Every variable there is, as they ran where the other one had them, too."""
    values = {row["variable_name"]: row["variable_value"] for row in stored}
    for row in rows:
        name, value = row["variable_name"], row["variable_value"]
        if not _of(module, row):
            continue
        if name not in values:
            notes.append(f"{name} is not known here: left out")
        else:
            values[name] = value
    return [{"variable_name": n, "variable_value": value} for n, value in values.items()]


def _compiling(
    config: Config, wanted: dict[str, list[Row]], stored: Tables, notes: list[str]
) -> dict[str, list[Row]]:
    """Without rules whose patterns cannot be used; those that are stored alike are known."""
    engine = {row["variable_name"]: row["variable_value"]
              for row in rows_in(config, "global_variables")}[ENGINE]  # fmt: skip
    table = "mysql_query_rules"
    known = {_named(table, row): row for row in stored[table]}
    reasons: dict[str, str] = {}
    for row in wanted[table]:
        place = _named(table, row)
        if row == known.get(place):
            continue
        for column in PATTERNS:
            pattern, modifiers = row.get(column), row.get("re_modifiers") or ""
            if pattern and (why := check_regex(pattern, modifiers, int(engine))):
                reasons[place] = f"{place}: {column}: {why}"
    return dict(_replaced(wanted, reasons, known, notes))


def _remembered(
    config: Config, module: Module, tables: Tables, notes: list[str]
) -> dict[str, list[Row]]:
    """Rows of the memory layer, without what this version has no name for, or would refuse."""
    running = _rows(config, module)
    told: list[str] = []
    found = _understood(module, tables, running, told)
    if module.prefix:
        runs = {row["variable_name"]: row["variable_value"] for row in running["global_variables"]}
        found["global_variables"] = [
            {"variable_name": row["variable_name"], "variable_value": value}
            for row in found["global_variables"]
            for value in [_allowed(row, runs[row["variable_name"]], told)]
        ]
    notes += [f"memory: {text}" for text in told if text not in notes]
    return found


def _allowed(row: Row, runs: str, told: list[str]) -> str:
    """The value, if it may be loaded; else the one that runs."""
    name, value = str(row["variable_name"]), str(row["variable_value"] or "")
    if value != runs:
        try:
            VARIABLES[name].check(value)
        except Refusal as refusal:
            told.append(f"{refused(name, value, refusal)}: as it runs")
            return runs
    return value
