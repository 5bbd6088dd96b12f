# SPDX-License-Identifier: Apache-2.0
"""Samples over time, in a SQLite file: the database stats_history.

    put(batch) ──> queue (bounded) ──> a thread ── insert ── roll up ── expire ──> file
                     └ full: dropped, counted        └ locked, full disk: dropped, counted, told

    table            kept       table_hour    kept         table_day
    a row a minute   7 days     its hours     365 days     its days, for ever

Traffic never waits for the file: who samples only puts rows into the queue. Of a finished hour
and day one row is made: the last value of what only grows, the mean of what goes up and down.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Full, Queue
from typing import Any

import apsw

from hproxy.config.proxysql.catalogue import HISTORY_TABLES

__all__ = ["Batch", "History"]

HOUR, DAY = 3600, 86_400
KEPT = {"": 7 * DAY, "_hour": 365 * DAY}
WAITING = 64
"""Batches that wait for the file; more are dropped."""
BUSY_MS = 1000

# What goes up and down; all other columns of samples only grow.
GAUGES = frozenset(
    {
        "Client_Connections_connected", "Server_Connections_connected", "Entries_In_Cache",
        "Memory_Bytes", "allocated", "resident", "active", "mapped", "metadata", "retained",
    }
)  # fmt: skip

SAMPLES = tuple(name for name in HISTORY_TABLES if f"{name}_hour" in HISTORY_TABLES)
"""Tables that are rolled up."""
EXPIRING = (
    ("history_mysql_status_variables", "timestamp"),
    ("history_stats_mysql_connection_pool", "timestamp"),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one moment (unix seconds), by table, all columns; names of status variables are
    turned into their ids."""

    at: int
    rows: Mapping[str, Sequence[Sequence[Any]]]
    status: Mapping[str, str] | None = None
    """For history_mysql_status_variables."""


class History:
    """Writes the file; every method may be called from the loop."""

    def __init__(self, path: Path, log: Any) -> None:
        self._path = path
        self._log = log
        self._queue: Queue[Batch | threading.Event | None] = Queue(WAITING)
        self._thread: threading.Thread | None = None
        self.written = 0
        """Batches in the file."""
        self.dropped = 0
        """Batches that are not, and never will be."""
        self.last_error = ""
        """Why, while that is so."""

    def put(self, batch: Batch) -> bool:
        """Leave a batch to be written; False when too many wait already. Never raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="history", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(batch)
        except Full:
            self.dropped += 1
            return False
        return True

    def flush(self, timeout: float) -> bool:
        """Wait, in a thread that may, until what was put is dealt with; False: it took longer."""
        if self._thread is None:
            return True
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, and end; what takes longer than `timeout` seconds is given up."""
        if self._thread is None:
            return
        try:
            self._queue.put_nowait(None)
        except Full:
            return  # a thread that hangs in the file dies with the process
        self._thread.join(timeout)
        self._thread = None

    # -- in the thread -----------------------------------------------------------

    def _work(self) -> None:
        database: apsw.Connection | None = None
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                if database is None:
                    database = _opened(self._path)
                with database:
                    _write(database, item)
            except (apsw.Error, OSError) as error:
                self._failed(error)
                if not isinstance(error, apsw.BusyError):  # it may be another file by now
                    _close(database)
                    database = None
            else:
                self.written += 1
                self.last_error = ""
        _close(database)

    def _failed(self, error: Exception) -> None:
        self.dropped += 1
        reason = str(error) or type(error).__name__
        if reason != self.last_error:  # once, and not every minute
            self._log.warning("history not written", file=str(self._path), reason=reason)
        self.last_error = reason


def _opened(path: Path) -> apsw.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Texts of statements are nobody else's; SQLite's other files follow the first one's mode.
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    database = apsw.Connection(str(path))
    try:
        database.set_busy_timeout(BUSY_MS)
        database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        for table in HISTORY_TABLES.values():
            ddl = table.ddl.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)
            database.execute(ddl)
    except BaseException:
        database.close()
        raise
    return database


def _close(database: apsw.Connection | None) -> None:
    if database is not None:
        database.close(True)


def _write(database: apsw.Connection, batch: Batch) -> None:
    for name, rows in batch.rows.items():
        width = len(HISTORY_TABLES[name].columns)
        marks = ", ".join("?" * width)
        database.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({marks})", rows)
        if name in SAMPLES:
            _roll_up(database, name, batch.at)
    if batch.status is not None:
        _write_status(database, batch.at, batch.status)
    for name, column in EXPIRING:
        database.execute(f"DELETE FROM {name} WHERE {column} < ?", (batch.at - KEPT[""],))


def _write_status(database: apsw.Connection, at: int, status: Mapping[str, str]) -> None:
    lookup = "history_mysql_status_variables_lookup"
    known: dict[Any, Any] = dict(
        database.execute(f"SELECT variable_name, variable_id FROM {lookup}")
    )
    for name in status.keys() - known.keys():
        database.execute(f"INSERT INTO {lookup} (variable_name) VALUES (?)", (name,))
        known[name] = database.last_insert_rowid()
    database.executemany(
        "INSERT OR REPLACE INTO history_mysql_status_variables VALUES (?, ?, ?)",
        ((at, known[name], value) for name, value in status.items()),
    )


def _roll_up(database: apsw.Connection, name: str, now: int) -> None:
    """Make rows of the hours and days that are over, and forget what is too old."""
    columns = [column.name for column in HISTORY_TABLES[name].columns[1:]]
    for source, into, span in ((name, f"{name}_hour", HOUR), (f"{name}_hour", f"{name}_day", DAY)):
        end = now // span * span
        done = _number(database, f"SELECT MAX(timestamp) FROM {into}")
        begin = 0 if done is None else done + span
        if begin < end:
            database.execute(
                f"INSERT OR REPLACE INTO {into} SELECT timestamp / {span} * {span},"
                f" {', '.join(_summed(columns))} FROM {source}"
                f" WHERE timestamp >= ? AND timestamp < ? GROUP BY timestamp / {span}",
                (begin, end),
            )
    for suffix, kept in KEPT.items():
        database.execute(f"DELETE FROM {name}{suffix} WHERE timestamp < ?", (now - kept,))


def _summed(columns: Iterable[str]) -> list[str]:
    return [
        f"CAST(AVG({column}) AS INT)" if column in GAUGES else f"MAX({column})"
        for column in columns
    ]


def _number(database: apsw.Connection, sql: str) -> int | None:
    [[value]] = database.execute(sql)
    return value if isinstance(value, int) else None
