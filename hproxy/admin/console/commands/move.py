# SPDX-License-Identifier: Apache-2.0
"""LOAD and SAVE: rows of a module from one layer to another.

    move                  LOAD <module> ...                SAVE <module> ...
    memory  -> runtime    TO RUNTIME | RUN, FROM MEMORY | MEM
    disk    -> memory     FROM DISK, TO MEMORY | MEM
    file    -> memory     FROM CONFIG
    runtime -> memory                                      FROM RUNTIME | RUN, TO MEMORY | MEM
    memory  -> disk                                        TO DISK, FROM MEMORY | MEM

Ours: "DRY RUN" behind any of them moves nothing and shows what would change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import apsw

from hproxy.admin.console import layer
from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.commands.settle import settle
from hproxy.admin.console.diff import Change, diff
from hproxy.admin.console.failure import refuse
from hproxy.admin.console.layer import Row, Tables
from hproxy.admin.console.sql import unquoted
from hproxy.admin.model import Answer, Done, Rows
from hproxy.config.proxysql.module import MODULES, Module
from hproxy.errors import ConfigError
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS", "load"]

SPELLED = {module.spelling: module for module in MODULES.values()}
DIRECTIONS = {
    ("LOAD", "TO", "RUN"): ("main", "runtime"),
    ("LOAD", "FROM", "MEM"): ("main", "runtime"),
    ("LOAD", "TO", "MEM"): ("disk", "main"),
    ("LOAD", "FROM", "DISK"): ("disk", "main"),
    ("LOAD", "FROM", "CONFIG"): ("config", "main"),
    ("SAVE", "FROM", "RUN"): ("runtime", "main"),
    ("SAVE", "TO", "MEM"): ("runtime", "main"),
    ("SAVE", "TO", "DISK"): ("main", "disk"),
    ("SAVE", "FROM", "MEM"): ("main", "disk"),
}
SHORT = {"RUNTIME": "RUN", "MEMORY": "MEM"}
# Rows with active = 0 of these are kept for later and do not act.
ACTIVE = ("mysql_users", "mysql_query_rules")
DIFF_COLUMNS = [column(name) for name in Change._fields]


async def move(session: ConsoleSession, found: Found) -> Answer:
    """Any of the spellings above."""
    module = SPELLED.get(found.group("module").upper())
    verb, way, place = (found.group(name).upper() for name in ("verb", "way", "place"))
    direction = DIRECTIONS.get((verb, way, SHORT.get(place, place)))
    if module is None:
        raise refuse(_unknown(found.group("module")))
    if direction is None:
        raise refuse(f"{verb} {module.spelling} {way} {place} is no move: "
                     "LOAD goes towards the runtime, SAVE towards the disk")  # fmt: skip
    async with session.console.turn():
        if direction[0] == "disk" and not await session.console.in_thread(
            session.console.history.saved, module.name
        ):
            # There it would be without rows, and the next LOAD would make that act.
            session.warn(f"{module.spelling} were never saved to disk: memory stays as it is")
            return Rows(DIFF_COLUMNS, []) if found.group("dry") else Done()
        if found.group("dry"):
            return await _show(session, module, *direction)
        return await _move(session, module, *direction, found.text)


def _unknown(module: str) -> str:
    near = get_close_matches(module.upper(), SPELLED, n=1) or [", ".join(SPELLED)]
    return f"there is no module {module!r} here; did you mean {near[0]}?"


async def load_user(session: ConsoleSession, found: Found) -> Answer:
    """LOAD MYSQL USER name TO RUNTIME: the others stay as they run."""
    module = MODULES["mysql_users"]
    name = unquoted(found.group("name"))
    async with session.console.turn():
        memory = await session.own(layer.read, "main", module)
        own = [row for row in memory["mysql_users"] if row["username"] == name]
        if not own:
            raise refuse(f"there is no user {name!r} in mysql_users")
        running = await _rows(session, module, "runtime")
        others = [row for row in running["mysql_users"] if row["username"] != name]
        await load(session, module, {"mysql_users": [*others, *own]}, found.text)
    return Done(len(own))


async def save_digests(session: ConsoleSession, _: Found) -> Answer:
    """SAVE MYSQL DIGEST TO DISK."""
    return Done(info=await session.console.port.order("save_digests"))


async def load(
    session: ConsoleSession,
    module: Module,
    tables: Tables,
    statement: str,
    action: str = "load",
) -> int:
    """Make rows act; how many. The caller has its `turn`. Raises ConfigError, AdminError."""
    console = session.console
    tables = await console.in_thread(_active, tables)
    if module.name == "mysql_servers":
        _warn_of_emptiness(session, tables["mysql_servers"])
    report = await console.port.load(module.name, tables)
    for warning in report.warnings:
        session.warn(warning)
    await console.in_thread(console.stamp, module.name, tables)
    try:
        await console.in_thread(
            console.history.load, session.client, module.name, statement, tables, action
        )
    except ConfigError as error:  # a full disk is no reason not to run with it
        session.warn(f"it runs, but no version of it could be kept: {error}")
    return len(tables[module.tables[0]])


def _active(tables: Tables) -> dict[str, Sequence[Row]]:
    return {
        name: [row for row in rows if row["active"]] if name in ACTIVE else rows
        for name, rows in tables.items()
    }


def _warn_of_emptiness(session: ConsoleSession, servers: Sequence[Row]) -> None:
    usable = [row for row in servers if str(row["status"]).upper() in ("ONLINE", "SHUNNED")]
    if not usable:
        what = "no server is ONLINE" if servers else "there is no server"
        session.warn(f"{what} in what was loaded: clients cannot be served now")


async def _move(
    session: ConsoleSession, module: Module, source: str, target: str, statement: str
) -> Answer:
    console = session.console
    if target == "runtime":
        await settle(session, module)
        tables = await session.own(layer.read, "main", module)
        count = await load(session, module, tables, statement)
    elif source == "runtime":
        count = await session.own(_take, module, await _rows(session, module, source))
    elif target == "disk":
        saved = await session.own(layer.read, "main", module)
        count = len(saved[module.tables[0]])
        await console.in_thread(console.history.save, session.client, module.name, statement, saved)
    elif source == "config":
        given = await _rows(session, module, "config")
        count = await session.own(layer.merge, "main", module, given)
    else:
        count = await session.own(layer.copy, source, target, module)
    return Done(count if module.name == "mysql_users" else 0)


def _take(connection: apsw.Connection, module: Module, tables: Tables) -> int:
    """What runs instead of the memory layer; users that do not run stay, as inactive."""
    if module.name != "mysql_users":
        return layer.replace(connection, "main", module, tables)
    with connection:
        connection.execute("UPDATE main.mysql_users SET active = 0")
        layer.merge(connection, "main", module, tables)
    return len(tables.get("mysql_users", ()))


async def _file(session: ConsoleSession) -> Tables:
    file = session.console.config_file
    if file is None:
        raise refuse("hproxy was started without a configuration file")
    return await session.console.in_thread(file.read)


async def _show(session: ConsoleSession, module: Module, source: str, target: str) -> Answer:
    """DRY RUN: what would change in the target."""
    new = await _rows(session, module, source)
    old = await _rows(session, module, target)
    if source == "config":  # what the file does not speak of stays
        new = {name: _merged(name, old[name], new.get(name, ())) for name in old}
    if target == "runtime":
        new = _active(new)
        if module.name == "mysql_servers":
            _warn_of_emptiness(session, new["mysql_servers"])
        report = await session.console.port.load(module.name, new, dry_run=True)
        for warning in report.warnings:
            session.warn(warning)
    return Rows(DIFF_COLUMNS, await session.console.in_thread(diff, old, new))


async def _rows(session: ConsoleSession, module: Module, place: str) -> Mapping[str, Sequence[Row]]:
    if place == "runtime":
        return await session.console.in_thread(session.console.port.rows, module.name)
    if place == "config":
        found = await _file(session)
        return {name: _of(module, found.get(name, ())) for name in module.tables}
    return await session.own(layer.read, place, module)


def _of(module: Module, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if str(row.get("variable_name", "")).startswith(module.prefix)]


def _merged(table: str, old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    made = layer.CATALOGUE["main"][table]
    defaults = {c.name: c.initial for c in made.columns}
    found = {tuple(row[name] for name in made.order_by): row for row in old}
    for row in new:
        whole = defaults | dict(row)
        found[tuple(whole[name] for name in made.order_by)] = whole
    return list(found.values())


_MODULES = "|".join(re.escape(spelling) for spelling in sorted(SPELLED, key=len, reverse=True))
_PLACES = "RUNTIME|RUN|MEMORY|MEM|DISK|CONFIG"

COMMANDS = (
    Command("SAVE", r"SAVE MYSQL DIGEST TO DISK", save_digests, changes=True),
    Command("LOAD", r"LOAD MYSQL USER (?P<name>\S+) TO (?:RUNTIME|RUN)", load_user, changes=True),
    Command(
        "LOAD SAVE",
        rf"(?P<verb>LOAD|SAVE) (?P<module>{_MODULES}|[A-Z0-9 _]+?) (?P<way>TO|FROM) "
        rf"(?P<place>{_PLACES})(?P<dry> DRY ?RUN)?",
        move,
        changes=True,
    ),
)
