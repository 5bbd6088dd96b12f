# SPDX-License-Identifier: Apache-2.0
"""Tables that are read from the running proxy: runtime_*, stats_*, monitor.*.

    thread of a statement                          event loop
    scan begins ── call_soon_threadsafe ─────────> port.reading(table), once per statement
                <─ a future of its rows ─────────
    filter, sort, join, count ... in the thread

Nothing is copied into tables and nothing is locked: two statements have two snapshots, and
within one all scans of a table see the same rows. An "=" is answered from an index that is
built when it is first asked for, else a join of two such tables would take their product.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import apsw

from hproxy.admin.console.failure import interrupted, refuse
from hproxy.admin.console.layer import CATALOGUE
from hproxy.admin.model import Value
from hproxy.config.proxysql.table import Table
from hproxy.errors import AdminError, HProxyError

__all__ = ["Module", "Snapshot"]

Rows = Sequence[Sequence[Value]]
Result = TypeVar("Result")
Made = Iterable[Sequence[Value]]
Read = Callable[[str], Made | Awaitable[Made]]

FULL_COST = 1e6
FULL_ROWS = 100_000
EQUAL_COST = 100.0
EQUAL_ROWS = 10
WIDTHS = {
    name: len(table.columns) for tables in CATALOGUE.values() for name, table in tables.items()
}


class Snapshot:
    """What one session's statement has read so far; `forget` it before the next statement."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        read: Read,
        anywhere: Callable[[str], bool] = lambda table: False,
    ) -> None:
        """`read` gives a table's rows; it runs on `loop`, and may make them wait for others, but
        for tables it gives `anywhere`."""
        self._loop = loop
        self._read = read
        self._anywhere = anywhere
        self._rows: dict[str, Rows] = {}
        self._indexes: dict[tuple[str, int], dict[object, list[Sequence[Value]]]] = {}
        self._waiting: Future[Made] | None = None
        self._asking: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        """The next scan reads anew."""
        self._rows = {}
        self._indexes = {}

    def cancel(self) -> None:
        """Whoever waits for rows waits no more."""
        if self._waiting is not None:
            self._waiting.cancel()
        for task in self._asking:
            task.cancel()

    def rows(self, table: str) -> Rows:
        """All rows; called in a thread. Raises AdminError when interrupted."""
        found = self._rows.get(table)
        if found is None:
            self._waiting = future = Future[Made]()
            if self._anywhere(table):
                self._fill(future, table)
            else:
                self._loop.call_soon_threadsafe(self._fill, future, table)
            try:
                made = future.result()
            except CancelledError:
                raise interrupted() from None
            finally:
                self._waiting = None
            found = self._rows[table] = self._tried(table, lambda: _whole(table, list(made)))
        return found

    def matching(self, table: str, column: int, value: Value) -> Rows:
        """At least the rows whose column equals `value`; SQLite looks at each once more."""
        index = self._indexes.get((table, column))
        if index is None:
            index = {}
            for row in self.rows(table):
                index.setdefault(_key(row[column]), []).append(row)
            self._indexes[table, column] = index
        return index.get(_key(value), ())

    def _fill(self, future: Future[Made], table: str) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            found = self._tried(table, lambda: self._read(table))
        except HProxyError as error:
            future.set_exception(error)
            return
        if isinstance(found, Awaitable):
            task = self._loop.create_task(self._ask(found, future, table))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            future.set_result(found)

    async def _ask(self, rows: Awaitable[Made], future: Future[Made], table: str) -> None:
        try:
            future.set_result(await rows)
        except HProxyError as error:
            future.set_exception(error)
        except Exception as error:
            future.set_exception(self._broken(table, error))
        finally:
            if not future.done():
                future.set_exception(interrupted())

    def _tried(self, table: str, work: Callable[[], Result]) -> Result:
        """Raises AdminError."""
        try:
            return work()
        except HProxyError:
            raise
        except Exception as error:
            raise self._broken(table, error) from error

    def _broken(self, table: str, error: Exception) -> AdminError:
        """Of one table: its reader is told, and whoever looks after the log."""
        message = f"{table} cannot be read"
        facts = {"message": message, "exception": error}
        self._loop.call_soon_threadsafe(self._loop.call_exception_handler, facts)
        return refuse(f"{message}: {error!r}")


def _whole(table: str, rows: Rows) -> Rows:
    """The rows, if each has all columns. Raises AdminError."""
    width = WIDTHS[table]
    for row in rows:
        if len(row) != width:
            raise refuse(f"{table} cannot be read: {len(row)} values for {width} columns")
    return rows


def _key(value: Value) -> object:
    """The same for all values that some affinity or collation of SQLite makes equal."""
    if isinstance(value, bytes) or value is None:
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return str(value).rstrip().casefold()
    return number if number == number else "nan"


class Module:
    """Implements apsw's VTModule: the table's name says what it is."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def Create(
        self, connection: apsw.Connection, module: str, schema: str, name: str, *_: Any
    ) -> tuple[str, Any]:
        table = CATALOGUE[schema].get(name) or CATALOGUE["stats"][name]
        columns = ", ".join(f"`{column.name}` {column.type}" for column in table.columns)
        return f"CREATE TABLE {name} ({columns})", _Table(table, self._snapshot)

    Connect = Create

    def ShadowName(self, _: str) -> bool:
        return False


class _Table:
    def __init__(self, table: Table, snapshot: Snapshot) -> None:
        self.name = table.name
        self.snapshot = snapshot

    def BestIndexObject(self, info: Any) -> bool:
        info.estimatedCost, info.estimatedRows = FULL_COST, FULL_ROWS
        for i in range(info.nConstraint):
            column = info.get_aConstraint_iColumn(i)
            if (
                info.get_aConstraint_op(i) == apsw.SQLITE_INDEX_CONSTRAINT_EQ
                and info.get_aConstraint_usable(i)
                and column >= 0
            ):
                info.set_aConstraintUsage_argvIndex(i, 1)
                info.idxNum = column + 1
                info.estimatedCost, info.estimatedRows = EQUAL_COST, EQUAL_ROWS
                break
        return True

    def Open(self) -> _Cursor:
        return _Cursor(self)

    def Disconnect(self) -> None:
        """Nothing is held."""

    Destroy = Disconnect


class _Cursor:
    def __init__(self, table: _Table) -> None:
        self._table = table
        self._rows: Rows = ()
        self._at = 0

    def Filter(self, number: int, _: str | None, arguments: tuple[Value, ...] | None) -> None:
        snapshot, name = self._table.snapshot, self._table.name
        if number and arguments:
            self._rows = snapshot.matching(name, number - 1, arguments[0])
        else:
            self._rows = snapshot.rows(name)
        self._at = 0

    def Eof(self) -> bool:
        return self._at >= len(self._rows)

    def Next(self) -> None:
        self._at += 1

    def Column(self, number: int) -> Value:
        return self._at if number < 0 else self._rows[self._at][number]

    def Rowid(self) -> int:
        return self._at

    def Close(self) -> None:
        self._rows = ()
