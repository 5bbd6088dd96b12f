# SPDX-License-Identifier: Apache-2.0
"""The Python drivers of DB-API 2.0, each with the names it has for the same things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import mysql.connector
import MySQLdb
import MySQLdb.cursors
import pymysql
import pymysql.constants.CLIENT
import pymysql.cursors

from tests.integration.route import Route

__all__ = ["CONNECTOR", "DRIVERS", "MYSQLCLIENT", "PATIENCE_S", "PYMYSQL", "Driver", "connected"]

# Above every single wait of a test, so that a hang is the test's failure and says where.
PATIENCE_S = 20


@dataclass(frozen=True)
class Driver:
    """How to connect with everything on, and how rows are streamed."""

    name: str
    connect: Callable[..., Any]
    streaming: Callable[[Any], Any]
    """A cursor that does not fetch ahead."""
    errors: type[Exception]

    def __str__(self) -> str:
        return self.name


def _pymysql(route: Route, database: str | None, **more: Any) -> Any:
    return pymysql.connect(
        **route.options(
            database=database,
            local_infile=True,
            client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS,
            charset="utf8mb4",
            read_timeout=PATIENCE_S,
            write_timeout=PATIENCE_S,
        )
        | more
    )


def _mysqlclient(route: Route, database: str | None, **more: Any) -> Any:
    options = route.options(
        local_infile=1, charset="utf8mb4", read_timeout=PATIENCE_S, write_timeout=PATIENCE_S
    )
    if database is not None:
        options["database"] = database
    return MySQLdb.connect(**options | more)


def _connector(route: Route, database: str | None, **more: Any) -> Any:
    return mysql.connector.connect(
        **route.options(
            database=database,
            allow_local_infile=True,
            charset="utf8mb4",
            collation="utf8mb4_general_ci",
            connection_timeout=PATIENCE_S,
        )
        | more
    )


PYMYSQL = Driver(
    "pymysql", _pymysql, lambda c: c.cursor(pymysql.cursors.SSCursor), pymysql.err.MySQLError
)
MYSQLCLIENT = Driver(
    "mysqlclient",
    _mysqlclient,
    lambda c: c.cursor(MySQLdb.cursors.SSCursor),
    MySQLdb.MySQLError,
)
CONNECTOR = Driver(
    "connector", _connector, lambda c: c.cursor(buffered=False), mysql.connector.Error
)
DRIVERS = (PYMYSQL, MYSQLCLIENT, CONNECTOR)


@contextmanager
def connected(
    driver: Driver, route: Route, database: str | None = None, **more: Any
) -> Iterator[Any]:
    """A connection, closed at the end whatever happens."""
    connection = driver.connect(route, database, **more)
    try:
        yield connection
    finally:
        with suppress(driver.errors):  # a killed one says so once more
            connection.close()
