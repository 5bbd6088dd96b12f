# SPDX-License-Identifier: Apache-2.0
"""ROLLBACK CONFIG TO n, and the configuration as a file.

ROLLBACK CONFIG TO 7      of each module what ran at version 7: to memory, and to runtime
SELECT CONFIG FILE        the memory layer as a file, in a column
SAVE CONFIG TO FILE path  the same in a file on this machine
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from hproxy.admin.console import layer
from hproxy.admin.console.commands.matcher import Command, Found
from hproxy.admin.console.commands.move import load
from hproxy.admin.console.diff import diff
from hproxy.admin.console.failure import refuse
from hproxy.admin.console.layer import Row
from hproxy.admin.console.sql import unquoted
from hproxy.admin.model import Answer, Done, Rows
from hproxy.config.proxysql.module import MODULES
from hproxy.protocols.mysql.results import column

if TYPE_CHECKING:
    from hproxy.admin.console.session import ConsoleSession

__all__ = ["COMMANDS"]

PRIVATE = 0o600  # passwords are in it


async def rollback(session: ConsoleSession, found: Found) -> Answer:
    """Back to a version. Modules that are the same as then are left alone."""
    console = session.console
    async with console.turn():
        contents = await console.in_thread(console.history.at, int(found.group("version")))
        for name, tables in contents.items():
            module = MODULES[name]
            running = await console.in_thread(console.port.rows, name)
            if not await console.in_thread(diff, running, tables):
                continue
            await session.own(layer.replace, "main", module, tables)
            await load(session, module, tables, found.text, "rollback")
            session.warn(f"{module.spelling} went back", code=0, level="Note")
    return Done()


async def show_file(session: ConsoleSession, _: Found) -> Answer:
    """SELECT CONFIG FILE."""
    return Rows([column("Data")], [(await _text(session),)])


async def save_file(session: ConsoleSession, found: Found) -> Answer:
    """SAVE CONFIG TO FILE, SELECT CONFIG INTO OUTFILE."""
    path = Path(unquoted(found.group("path")))
    if not path.is_absolute():
        raise refuse(f"{path} is not an absolute path")
    text = await _text(session)
    try:
        await session.console.in_thread(_write, path, text)
    except OSError as error:
        raise refuse(f"cannot write {path}: {error.strerror}") from error
    return Done(info=f"{len(text)} bytes written to {path}")


async def _text(session: ConsoleSession) -> str:
    file = session.console.config_file
    if file is None:
        raise refuse("hproxy was started without a form of configuration file")
    tables = await session.own(_everything)
    return await session.console.in_thread(file.text, tables)


def _everything(connection: apsw.Connection) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for module in MODULES.values():
        for name, rows in layer.read(connection, "main", module).items():
            found.setdefault(name, []).extend(rows)
    return found


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a new file takes the old one's name."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


COMMANDS = (
    Command("ROLLBACK", r"ROLLBACK CONFIG TO (?:VERSION )?(?P<version>\d{1,18})", rollback, True),
    Command("SELECT", r"SELECT CONFIG FILE", show_file, True, True),
    Command("SELECT", r"SELECT CONFIG INTO OUTFILE (?P<path>.+)", save_file, True, True),
    Command("SAVE", r"SAVE CONFIG TO FILE (?P<path>.+)", save_file, True, True),
)
