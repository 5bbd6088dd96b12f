# SPDX-License-Identifier: Apache-2.0
"""Versions of the configuration: who changed what, and how to go back.

    start, upgrade ───────> store.record ─┐
    LOAD ... TO RUNTIME ──> store.record ─┤
    SAVE ... TO DISK ─────> store.save ───┴─> a row of hproxy_config_history, and the module's rows
    ROLLBACK CONFIG TO n ─> store.version(n): of each module the newest at or before n

The store keeps the rows with their passwords, as it keeps the configuration; what is shown of a
version, the diff, has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock

from hproxy.admin.console.diff import diff, text
from hproxy.admin.console.layer import Tables
from hproxy.admin.model import Client
from hproxy.config.proxysql.catalogue import MAIN_TABLES
from hproxy.config.proxysql.module import MODULES
from hproxy.config.store import Change, Store

__all__ = ["History"]

DIFF_CHARACTERS = 16_384
COLUMNS = MAIN_TABLES["hproxy_config_history"].names
NOBODY = Client(0, "", "")


class History:
    """The store, for one thread at a time; called in threads."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._running: dict[str, Tables] = {}
        self.rows: list[tuple[str | int, ...]] = []
        """hproxy_config_history, oldest first."""
        self._read()

    def begin(self, running: dict[str, Tables], origins: Mapping[str, str]) -> None:
        """What runs at the start: a version of each module that is not as it was last, and of
        those an upgrade has brought, with the words of `origins`."""
        with self._lock:
            newest = self.rows[-1][0] if self.rows else 0
            last = self._store.version(int(newest)) if newest else {}
            for module, tables in running.items():
                old = last.get(module, tables)  # the first version differs from nothing
                origin = origins.get(module, "")
                if module not in last or origin or diff(old, tables):
                    action = "upgrade" if origin else "start"
                    change = self._change(NOBODY, module, action, origin, old, tables)
                    self._store.record(module, tables, change)
            self._running = dict(running)
            self._read()

    def load(
        self, client: Client, module: str, statement: str, tables: Tables, action: str
    ) -> None:
        """These rows run now. Raises ConfigError."""
        with self._lock:
            old = self._running.get(module, {})
            change = self._change(client, module, action, statement, old, tables)
            self._running[module] = tables
            self._store.record(module, tables, change)
            self._read()

    def save(self, client: Client, module: str, statement: str, tables: Tables) -> None:
        """Save these rows. Raises ConfigError, and then nothing has changed."""
        with self._lock:
            old = self._store.load(module)
            change = self._change(client, module, "save", statement, old, tables)
            self._store.save(module, tables, change)
            self._read()

    def saved(self, module: str) -> bool:
        """Whether it was ever saved, or its tables of disk were written otherwise."""
        with self._lock:
            return module in self._store.saved

    def at(self, version: int) -> dict[str, Tables]:
        """Each module's rows at that version. Raises ConfigError."""
        with self._lock:
            found = self._store.version(version)
        return {module: found[module] for module in MODULES if module in found}

    def _change(
        self, client: Client, module: str, action: str, statement: str, old: Tables, new: Tables
    ) -> Change:
        shown = text(diff(old, new))
        if len(shown) > DIFF_CHARACTERS:
            shown = f"{shown[:DIFF_CHARACTERS]}\n... ({len(shown)} characters)"
        when = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d %H:%M:%S")
        return Change(when, client.user, client.host, module, action, statement, shown)

    def _read(self) -> None:
        versions = reversed(self._store.versions())
        self.rows = [tuple(getattr(v, column) for column in COLUMNS) for v in versions]
