# SPDX-License-Identifier: Apache-2.0
"""A connection of the tests' own to a server, past the proxy: to look, and to kill."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import pymysql

from tests.support.server import Server

__all__ = ["Side"]


class Side:
    """Autocommit, in database `test`."""

    def __init__(self, server: Server) -> None:
        self._connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database="test",
            autocommit=True,
            read_timeout=30,
        )

    def run(self, sql: str) -> Any:
        """The rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def threads(self, mark: str) -> list[int]:
        """Ids of the connections that run a statement with `mark` in it."""
        found = self.run("SELECT id, info FROM information_schema.processlist")
        return [
            number for number, info in found if info and mark in info and "processlist" not in info
        ]

    def runs(self, mark: str) -> bool:
        return bool(self.threads(mark))

    def kill(self, mark: str) -> None:
        for number in self.threads(mark):
            self.run(f"KILL {number}")

    @contextmanager
    def table(self, columns: str) -> Iterator[str]:
        """A table of its own, InnoDB, dropped afterwards."""
        name = f"fault_{secrets.token_hex(6)}"
        self.run(f"CREATE TABLE {name} ({columns}) ENGINE=InnoDB")
        try:
            yield name
        finally:
            self.run(f"DROP TABLE {name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
