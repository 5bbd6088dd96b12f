# SPDX-License-Identifier: Apache-2.0
"""The disk layer: the saved configuration and its history, in one SQLite file.

    open     a file that is damaged, foreign or of a newer version is refused and left as it is
    save     the rows of one module, and a version of them, in one transaction
    load     the rows of one module, or of all

A transaction is on disk before `save` returns (synchronous=EXTRA, rollback journal): whoever is
killed at any moment leaves the old rows or the new ones, whole. A disk that is full leaves the old.

A version keeps the rows of the module that was changed; the whole at version n is, of each
module, the newest at or before n. Old versions go, save those the kept ones rest upon.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import apsw
import orjson
import zstandard

from hproxy.config.proxysql.catalogue import CONFIG_TABLES, DISK_TABLES, MAIN_TABLES
from hproxy.config.proxysql.module import MODULES, Module
from hproxy.errors import ConfigError, ConfigFinding

__all__ = ["KEPT_VERSIONS", "Change", "Store", "Tables", "Version", "set_aside", "store_path"]

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

FORMAT = 1
APPLICATION_ID = 0x48505258  # "HPRX", which file(1) and we know the file by
KEPT_VERSIONS = 200
SAVED = "saved_modules"
# Another connection to the file (the admin port's `disk`) may be within a transaction.
BUSY_MS = 5000

_CONTENT = """CREATE TABLE hproxy_config_content (
 version INTEGER NOT NULL PRIMARY KEY , module VARCHAR NOT NULL , rows BLOB NOT NULL)"""
_TABLES = CONFIG_TABLES | DISK_TABLES


@dataclass(frozen=True, slots=True)
class Change:
    """Who changed what, and when: a row of hproxy_config_history but for its number."""

    changed_at: str  # "2026-01-31 12:00:00", UTC
    username: str = ""
    client: str = ""
    module: str = ""
    action: str = ""  # "save", "load", "rollback", "start", "upgrade", "reload"
    statement: str = ""
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Version(Change):
    """One row of hproxy_config_history."""

    version: int = 0


def store_path(store: Path | None, data_dir: Path) -> Path:
    """Where the file is: [admin] store, or hproxy.db in the data folder."""
    return store or data_dir / "hproxy.db"


def set_aside(path: Path) -> Path:
    """Rename the file to the first free of NAME.bak, NAME.bak2, ...; returns the new name.

    For an operator who says that it shall not be used. Raises ConfigError."""
    number = 1
    while True:
        target = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        if not target.exists():
            break
        number += 1
    try:
        journal = path.with_name(f"{path.name}-journal")
        if journal.exists():  # the file is not whole without it
            journal.rename(target.with_name(f"{target.name}-journal"))
        path.rename(target)
    except OSError as error:
        raise _refusal(path, f"cannot be set aside: {error.strerror}") from None
    return target


class Store:
    """The file, open. Not for several threads at once."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the file, or make a new one.

        Raises ConfigError for one that cannot be used; it is not touched then."""
        _create(path)
        with _told(path, "cannot be opened"):
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        store = cls(path, connection)
        try:
            store._prepare()
        except BaseException:
            connection.close()
            raise
        return store

    def close(self) -> None:
        """Close the file; it can be opened again."""
        self._connection.close()

    @property
    def empty(self) -> bool:
        """Whether nothing was ever saved: the first start, when the file of options counts."""
        return not self.versions() and not any(self.read_all().values())

    @property
    def saved(self) -> tuple[str, ...]:
        """Modules that were saved here, were it without any row, or were written otherwise."""
        marked = (self.setting(SAVED) or "").split(",")
        return tuple(name for name in MODULES if name in marked or any(self.load(name).values()))

    def save(self, module: str, tables: Tables, change: Change) -> int:
        """Replace the rows of a module and keep a version of them; returns its number.

        Tables of the module that are not given become empty. Raises ConfigError, and then
        nothing has changed."""
        return self._write(change, {module: tables}, replace=True)

    def save_all(self, modules: Mapping[str, Tables], change: Change) -> int:
        """Replace the rows of several modules at once; returns the last version's number."""
        return self._write(change, modules, replace=True)

    def record(self, module: str, tables: Tables, change: Change) -> int:
        """Keep a version of rows that are running, without saving them; returns its number."""
        return self._write(change, {module: tables}, replace=False)

    def load(self, module: str) -> dict[str, list[dict[str, Any]]]:
        """The saved rows of a module, by table, each row with all its columns."""
        description = MODULES[module]
        with _told(self.path, "cannot be read"):
            return {name: list(self._rows(name, description.prefix)) for name in description.tables}

    def read_all(self) -> dict[str, list[dict[str, Any]]]:
        """All saved rows, by table."""
        with _told(self.path, "cannot be read"):
            return {name: list(self._rows(name, "")) for name in CONFIG_TABLES}

    def setting(self, name: str) -> str | None:
        """A row of global_settings: what belongs to the file and not to the configuration."""
        with _told(self.path, "cannot be read"):
            query = "SELECT variable_value FROM global_settings WHERE variable_name = ?"
            found = self._connection.execute(query, (name,)).get
        return None if found is None else str(found)

    def set_setting(self, name: str, value: str) -> None:
        """Write a row of global_settings. Raises ConfigError."""
        with self._transaction():
            self._connection.execute("REPLACE INTO global_settings VALUES (?, ?)", (name, value))

    def versions(self) -> list[Version]:
        """The history, newest first."""
        names = [field.name for field in fields(Version)]
        query = f"SELECT {', '.join(names)} FROM hproxy_config_history ORDER BY version DESC"
        with _told(self.path, "cannot be read"):
            return [Version(*row) for row in self._connection.execute(query)]

    def version(self, number: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """The rows as they were at a version, by module and table.

        A module is missing that was not changed up to then. Raises ConfigError when there is no
        such version."""
        query = (
            "SELECT c.module, c.rows FROM hproxy_config_content c JOIN (SELECT module, "
            "max(version) AS version FROM hproxy_config_content WHERE version <= ? "
            "GROUP BY module) newest USING (module, version)"
        )
        with _told(self.path, "cannot be read"):
            known = self._connection.execute(
                "SELECT count(*) FROM hproxy_config_history WHERE version = ?", (number,)
            ).get
            content = dict(self._connection.execute(query, (number,)))
        if not known:
            raise _refusal(self.path, f"has no version {number}")
        return {module: _unpacked(rows) for module, rows in content.items()}

    def _prepare(self) -> None:
        connection = self._connection
        connection.set_busy_timeout(BUSY_MS)
        with _told(self.path, "cannot be opened"):
            application = connection.pragma("application_id")
            version = int(connection.pragma("user_version"))
            fresh = not connection.execute("SELECT count(*) FROM sqlite_schema").get
            problem = str(connection.execute("PRAGMA quick_check(1)").get)
        if problem != "ok":
            raise _refusal(self.path, f"is damaged: {problem.partition(chr(10))[0]}", _ASIDE)
        if application != APPLICATION_ID and not (fresh and not application):
            raise _refusal(self.path, "is a database, but not a store of hproxy", _ASIDE)
        if version > FORMAT:
            raise _refusal(
                self.path,
                f"was written by a newer version (format {version}, not {FORMAT})",
                _ASIDE,
            )
        connection.pragma("journal_mode", "delete")
        connection.pragma("synchronous", "EXTRA")
        if fresh:
            self._build()

    def _build(self) -> None:
        with self._transaction():
            made = (*_TABLES.values(), MAIN_TABLES["hproxy_config_history"])
            for statement in (*(table.ddl for table in made), _CONTENT):
                self._connection.execute(statement)
            self._connection.pragma("application_id", APPLICATION_ID)
            self._connection.pragma("user_version", FORMAT)

    def _write(self, change: Change, modules: Mapping[str, Tables], *, replace: bool) -> int:
        query = "INSERT INTO hproxy_config_history VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
        with self._transaction():
            for name, tables in modules.items():
                module = MODULES[name]
                if replace:
                    self._replace(module, tables)
                values = (
                    change.changed_at,
                    change.username,
                    change.client,
                    name,
                    change.action,
                    change.statement,
                    change.diff,
                )
                self._connection.execute(query, values)
                content = (self._connection.last_insert_rowid(), name, _packed(module, tables))
                self._connection.execute(
                    "INSERT INTO hproxy_config_content VALUES (?, ?, ?)", content
                )
            self._forget()
            return int(
                self._connection.execute("SELECT max(version) FROM hproxy_config_history").get
            )

    def _replace(self, module: Module, tables: Tables) -> None:
        query = "SELECT variable_value FROM global_settings WHERE variable_name = ?"
        marked = str(self._connection.execute(query, (SAVED,)).get or "")
        if module.name not in marked.split(","):
            marked = ",".join(filter(None, (marked, module.name)))
            self._connection.execute("REPLACE INTO global_settings VALUES (?, ?)", (SAVED, marked))
        for name in module.tables:
            condition = " WHERE substr(variable_name, 1, ?) = ?" if module.prefix else ""
            bound = (len(module.prefix), module.prefix) if module.prefix else ()
            self._connection.execute(f"DELETE FROM {name}{condition}", bound)
            columns = CONFIG_TABLES[name].names
            marks = ", ".join("?" * len(columns))
            self._connection.executemany(
                f"INSERT INTO {name} VALUES ({marks})", _tuples(module, name, tables)
            )

    def _forget(self) -> None:
        """Drop versions beyond those kept, but for what the oldest of them rests upon."""
        newest = self._connection.execute("SELECT max(version) FROM hproxy_config_history").get
        oldest = int(newest) - KEPT_VERSIONS + 1
        self._connection.execute("DELETE FROM hproxy_config_history WHERE version < ?", (oldest,))
        self._connection.execute(
            "DELETE FROM hproxy_config_content WHERE version < (SELECT max(version) FROM "
            "hproxy_config_content newer WHERE newer.module = hproxy_config_content.module "
            "AND newer.version <= ?)",
            (oldest,),
        )

    def _rows(self, name: str, prefix: str) -> Iterator[dict[str, Any]]:
        table = CONFIG_TABLES[name]
        query = f"SELECT * FROM {name} ORDER BY {', '.join(table.order_by)}"
        for row in self._connection.execute(query):
            if not prefix or str(row[0]).startswith(prefix):
                yield dict(zip(table.names, row, strict=True))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told(self.path, "cannot be written"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, a full disk among them.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _create(path: Path) -> None:
    """Make the folder and an empty file that only its owner may read: it holds passwords."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _refusal(path, f"cannot be opened: {error.strerror}") from None


def _tuples(module: Module, name: str, tables: Tables) -> list[tuple[Any, ...]]:
    columns = CONFIG_TABLES[name].columns
    rows = [
        tuple(row.get(column.name, column.initial) for column in columns)
        for row in tables.get(name, ())
    ]
    return [row for row in rows if not module.prefix or str(row[0]).startswith(module.prefix)]


def _packed(module: Module, tables: Tables) -> bytes:
    rows = {name: _tuples(module, name, tables) for name in module.tables}
    return zstandard.compress(orjson.dumps(rows))


def _unpacked(content: bytes) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[list[Any]]] = orjson.loads(zstandard.decompress(content))
    return {
        name: [dict(zip(CONFIG_TABLES[name].names, row, strict=True)) for row in rows]
        for name, rows in tables.items()
    }


_REASONS: dict[type[apsw.Error], str] = {
    apsw.FullError: "the disk is full",
    apsw.BusyError: "another program has it locked",
    apsw.LockedError: "another program has it locked",
    apsw.ReadOnlyError: "it is read-only",
    apsw.CantOpenError: "it, or its journal beside it, cannot be opened",
    apsw.PermissionsError: "permission denied",
    # So a file size limit is reported, and a disk that is full at the wrong moment.
    apsw.IOError: "reading or writing failed",
    apsw.NotADBError: "it is not a database",
    apsw.CorruptError: "it is damaged",
}
_ASIDE = (
    "it was left as it is; put back a copy of it, or start with --initial, which moves it away "
    "and begins with the configuration file again"
)


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    """Errors of SQLite in our words."""
    try:
        yield
    except apsw.Error as error:
        hint = "nothing has changed" if what == "cannot be written" else ""
        if isinstance(error, apsw.NotADBError | apsw.CorruptError):
            hint = _ASIDE
        message = f"{what}: {_REASONS.get(type(error), str(error))}"
        raise _refusal(path, message, hint) from None


def _refusal(path: Path, message: str, hint: str = "") -> ConfigError:
    finding = ConfigFinding(str(path), "admin.store", message, None, hint)
    return ConfigError(findings=[finding], code="store")
