# SPDX-License-Identifier: Apache-2.0
"""The configuration file read anew: HUP, `hproxy ctl reload`.

    option that no admin table has (tls, logging ...)   as the file says now
    module saved to disk by an operator                 stays as it runs: it counts at a start, too
    variables, rows of a module the file did not change stay as they run: LOADed ones with them
                                they changed in the file    as the file says now

    HUP ─> read ─> certificates looked at ─> renewed ─> committed to all workers ─> certificates
            └ refused ──┴ refused ─────────────┴ refused: nothing has changed

File, environment and flags count as at the start. What operators see of it is what they see of a
LOAD: the memory layer is as what runs, and a version is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from hproxy.admin.console import ConsoleDatabase
from hproxy.config.load import load_config
from hproxy.config.proxysql.module import MODULES
from hproxy.config.proxysql.rows import rows_in, with_rows, with_variables
from hproxy.config.schema import Config
from hproxy.errors import AdminError, ConfigError
from hproxy.process.origin import Origin
from hproxy.runtime import Runtime
from hproxy.runtime.secure import Secured

__all__ = ["Reloaded", "Reloading", "renewed"]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How a reload went."""

    text: str
    warnings: tuple[str, ...] = ()


class Reloading:
    """Of one service; in the process that has the admin port."""

    def __init__(
        self, runtime: Runtime, console: ConsoleDatabase | None, origin: Origin, log: Any
    ) -> None:
        self._runtime = runtime
        self._console = console
        self._origin = origin
        self._log = log
        self.file: Config | None = None
        """What the file said when it was read last."""
        self._turn = asyncio.Lock()
        self._rests = False

    async def begin(self, file: Config | None = None) -> None:
        """`file` was read for what runs; by default it is what the file says now, or an operator
        knows why not."""
        if file is not None:
            self.file = file
            return
        with suppress(ConfigError):  # it may have been replaced by now
            self.file = await asyncio.to_thread(self._read)

    def _read(self) -> Config:
        """The file as it is now, under environment and flags. Raises ConfigError."""
        return load_config(self._origin.path, self._origin.flags, os.environ)

    async def rest(self) -> None:
        """What is under way is finished; nothing is read anew until `wake`."""
        if not self._rests:
            await self._turn.acquire()
            self._rests = True

    def wake(self) -> None:
        """Go on; who asked meanwhile is served."""
        if self._rests:
            self._rests = False
            self._turn.release()

    async def order(self) -> str:
        """As an operator's order. Raises AdminError."""
        try:
            return (await self.reload()).text
        except ConfigError as error:
            raise AdminError(f"nothing has changed: {error}", code="reload") from error

    async def reload(self) -> Reloaded:
        """Run on what the file says now, certificates included.

        Raises ConfigError, AdminError; then nothing has changed."""
        console = self._console
        async with self._turn:
            if self._origin.path is None:
                await self._runtime.port.order("reload_tls")
                return Reloaded("certificates read anew; there is no configuration file")
            if console is None:
                return (await self._become(()))[0]
            async with console.turn():
                saved = [n for n in MODULES if await console.in_thread(console.history.saved, n)]
                found, changed = await self._become(saved)
                await console.renewed(changed, "reload")
                return found

    async def _become(self, saved: Sequence[str]) -> tuple[Reloaded, list[str]]:
        """How it went, and the modules that run otherwise since."""
        runtime = self._runtime
        protocol, control = runtime.services.protocol, runtime.port.control
        now = await asyncio.to_thread(self._read)
        await asyncio.to_thread(Secured.of, now, runtime.folder, protocol)
        before = self.file or now
        ran = {name: control.rows(name) for name in MODULES}
        report = await control.become(partial(renewed, before=before, now=now, saved=saved))
        self.file = now
        await runtime.port.order("reload_tls")
        changed = [name for name in MODULES if control.rows(name) != ran[name]]
        kept = (f"{n}: what was saved counts, not the file" for n in saved
                if differs(before, now, n))  # fmt: skip
        warnings = (*map(str, now.notes), *report.warnings, *kept)
        text = f"{report.changed} rows changed" + "".join(f", {name}" for name in changed)
        self._log.info("configuration file read anew", file=str(self._origin.path), changed=changed)
        for warning in warnings:
            self._log.warning("configuration is doubtful", reason=warning)
        return Reloaded(text, warnings), changed


def differs(before: Config, now: Config, module: str) -> bool:
    """Whether the two say something else of a module."""
    made = MODULES[module]
    if made.prefix:
        changed = _changed(_variables(before), _variables(now))
        return any(name.startswith(made.prefix) for name in changed)
    return any(rows_in(before, table) != rows_in(now, table) for table in made.tables)


def renewed(running: Config, before: Config, now: Config, saved: Collection[str]) -> Config:
    """`running` with what differs between `before` and `now`, two states of the file.

    Modules that are `saved` stay as they run. Raises ConfigError."""
    config = now
    for name, module in MODULES.items():
        if module.prefix:
            continue
        if name in saved or not differs(before, now, name):
            rows = {table: rows_in(running, table) for table in module.tables}
            if any(rows[table] != rows_in(config, table) for table in module.tables):
                config = with_rows(config, name, rows)
    kept = _variables(running) | {
        name: value
        for name, value in _changed(_variables(before), _variables(now)).items()
        if _module_of(name) not in saved
    }
    wanted = _changed(_variables(config), kept)
    return with_variables(config, wanted) if wanted else config


def _variables(config: Config) -> dict[str, str]:
    rows = rows_in(config, "global_variables")
    return {row["variable_name"]: row["variable_value"] for row in rows}


def _changed(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in now.items() if before.get(name) != value}


def _module_of(variable: str) -> str:
    found = (n for n, m in MODULES.items() if m.prefix and variable.startswith(m.prefix))
    return next(found, "")
