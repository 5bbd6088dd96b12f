# SPDX-License-Identifier: Apache-2.0
"""Money is moved in transactions while backend connections are killed: none appears or vanishes.

Every transfer writes its own row. At the end: the sum is what it was; each account is what its
transfers make it; every commit a client was told of is there; no transfer that failed before its
commit is.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import mysql.connector
import MySQLdb
import pymysql
import pytest

from tests.integration.conftest import ProxyFactory, direct
from tests.support.server import Server

ACCOUNTS = 12
BALANCE = 1_000_000  # never below zero: drivers bind amounts as unsigned
CLIENTS = 12
CONNECTIONS = 8
KILL_EVERY_S = 0.03
# Lost, killed, interrupted, rolled back by the server, or no connection to be had for now.
EXPECTED = {
    2006, 2013, 2027, 2055, 1053, 1080, 1094, 1152, 1158, 1159, 1160, 1161, 1184, 1205, 1213, 1317,
    1927, 1969, 3024, 3169, 4031, 9001,
}  # fmt: skip
LOST = EXPECTED - {1205, 1213, 1317}
FAILURES = (pymysql.err.MySQLError, MySQLdb.MySQLError, mysql.connector.Error, OSError)


@dataclass
class Ledger:
    """What clients were told. Each list is appended to by many threads."""

    acknowledged: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    killed: int = 0


class Text:
    """PyMySQL: COM_QUERY."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.connection: Any = pymysql.connect(**options, autocommit=True, read_timeout=30)

    def run(self, sql: str, *values: Any) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    def commit(self) -> None:
        self.run("COMMIT")

    def close(self) -> None:
        with suppress(*FAILURES):
            self.connection.close()


class Native(Text):
    """mysqlclient: COM_QUERY too, and commits by the C library's own call."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.connection = MySQLdb.connect(**options, autocommit=True, read_timeout=30)

    def commit(self) -> None:
        self.connection.commit()


class Prepared(Text):
    """mysql-connector: everything that takes values is prepared, once."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.connection = mysql.connector.connect(
            **options, autocommit=True, use_pure=True, connection_timeout=30
        )
        self.cursors: dict[str, Any] = {}

    def run(self, sql: str, *values: Any) -> Any:
        if not values:
            cursor = self.connection.cursor()
            cursor.execute(sql)
            rows = cursor.fetchall() if cursor.with_rows else []
            cursor.close()
            return rows
        cursor = self.cursors.get(sql)
        if cursor is None:
            cursor = self.cursors[sql] = self.connection.cursor(prepared=True)
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.with_rows else []


KINDS: tuple[Callable[[dict[str, Any]], Text], ...] = (Text, Native, Prepared)


class Client(threading.Thread):
    """Moves money until told to stop."""

    def __init__(
        self, number: int, options: dict[str, Any], ledger: Ledger, stop: threading.Event
    ) -> None:
        super().__init__(name=f"client {number}")
        self.number = number
        self.options = options
        self.ledger = ledger
        self.stop = stop
        self.rng = random.Random(number)
        self.way: Text | None = None
        self.committing = False

    def run(self) -> None:
        try:
            count = 0
            while not self.stop.is_set():
                count += 1
                self._transfer(f"{self.number}-{count}")
        except Exception as error:  # told by the test, which fails for it
            self.ledger.surprises.append(f"{self.name}: {type(error).__name__}: {error}")
            raise
        finally:
            if self.way is not None:
                self.way.close()

    def _transfer(self, name: str) -> None:
        self.committing = False
        try:
            if self.way is None:
                self.way = KINDS[self.number % len(KINDS)](self.options)
            self._move(self.way, name)
        except FAILURES as error:
            number = self._number(error)
            self.ledger.errors[number] += 1
            if number not in EXPECTED:
                self.ledger.surprises.append(f"{self.name}: {error!r}")
            (self.ledger.unknown if self.committing else self.ledger.failed).append(name)
            self._recover(number)
        else:
            self.ledger.acknowledged.append(name)

    def _move(self, way: Text, name: str) -> None:
        rng = self.rng
        source, target = rng.sample(range(ACCOUNTS), 2)
        amount = rng.randrange(1, 50)
        way.run(rng.choice(("BEGIN", "START TRANSACTION")))
        if rng.random() < 0.5:
            way.run("SELECT balance FROM accounts WHERE id = %s FOR UPDATE", source)
        if rng.random() < 0.3:
            way.run("SAVEPOINT before_mistake")
            way.run("UPDATE accounts SET balance = balance + 777777 WHERE id = %s", source)
            way.run("ROLLBACK TO SAVEPOINT before_mistake")
        way.run("UPDATE accounts SET balance = balance - %s WHERE id = %s", amount, source)
        way.run("INSERT INTO transfers VALUES (%s, %s, %s, %s)", name, source, target, amount)
        way.run("UPDATE accounts SET balance = balance + %s WHERE id = %s", amount, target)
        self.committing = True
        way.commit()

    def _recover(self, number: int) -> None:
        """Go on with the same connection where that is possible, or with a new one."""
        way = self.way
        if way is None:
            return
        if number not in LOST or self.rng.random() < 0.5:
            try:
                way.run("ROLLBACK")
                return
            except FAILURES:
                pass
        way.close()
        self.way = None

    @staticmethod
    def _number(error: BaseException) -> int:
        number = getattr(error, "errno", None) or (error.args[0] if error.args else 0)
        if isinstance(error, pymysql.err.InterfaceError | MySQLdb.InterfaceError) or number == -1:
            return 2006  # "closed", in each driver's words
        return number if isinstance(number, int) else 2006


def killing(server: Server, database: str, ledger: Ledger, stop: threading.Event) -> None:
    """Kill a connection of `database` now and then."""
    rng = random.Random(database)
    connection = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password
    )
    asked = "SELECT id FROM information_schema.processlist WHERE db = %s"
    with connection, connection.cursor() as cursor:
        while not stop.wait(KILL_EVERY_S):
            cursor.execute(asked, (database,))
            found = [row[0] for row in cursor.fetchall()]
            if not found:
                continue
            with suppress(pymysql.err.MySQLError):  # gone already
                cursor.execute(f"KILL {rng.choice(found)}")
                ledger.killed += 1


def transfers(server: Server, database: str, host: str, port: int, seconds: float) -> Ledger:
    """Run for `seconds`; what clients were told."""
    ledger = Ledger()
    stop = threading.Event()
    options = {"host": host, "port": port, "user": server.user, "password": server.password}
    options["database"] = database
    clients = [Client(number, options, ledger, stop) for number in range(CLIENTS)]
    killer = threading.Thread(target=killing, args=(server, database, ledger, stop), name="killer")
    began = monotonic()
    for thread in (*clients, killer):
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in (*clients, killer):
        thread.join(60)
        assert not thread.is_alive(), f"{thread.name} hangs after {monotonic() - began:.0f} s"
    return ledger


def check(server: Server, database: str, ledger: Ledger) -> None:
    assert not ledger.surprises, "\n".join(ledger.surprises[:10])
    rows = direct(server, f"SELECT name, source, target, amount FROM {database}.transfers")
    balances = dict(direct(server, f"SELECT id, balance FROM {database}.accounts"))
    there = {row[0] for row in rows}
    lost = set(ledger.acknowledged) - there
    assert not lost, f"acknowledged and not there: {sorted(lost)[:10]} of {len(lost)}"
    torn = set(ledger.failed) & there
    assert not torn, f"failed before the commit and there: {sorted(torn)[:10]} of {len(torn)}"
    unasked = there - set(ledger.acknowledged) - set(ledger.unknown)
    assert not unasked, f"nobody asked for {sorted(unasked)[:10]}"
    expected = dict.fromkeys(range(ACCOUNTS), BALANCE)
    for _, source, target, amount in rows:
        expected[source] -= amount
        expected[target] += amount
    assert balances == expected
    assert sum(balances.values()) == ACCOUNTS * BALANCE


@pytest.fixture
def bank(server: Server, database: str) -> str:
    values = ", ".join(f"({number}, {BALANCE})" for number in range(ACCOUNTS))
    direct(
        server,
        f"USE {database}",
        "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB",
        f"INSERT INTO accounts VALUES {values}",
        """CREATE TABLE transfers (name VARCHAR(40) PRIMARY KEY, source INT, target INT, amount INT)
            ENGINE=InnoDB""",
    )
    return database


def play(server: Server, bank: str, host: str, port: int, seconds: float) -> None:
    ledger = transfers(server, bank, host, port, seconds)
    sys.stdout.write(
        f"\n{server.name}: {len(ledger.acknowledged)} acknowledged, {len(ledger.failed)} failed,"
        f" {len(ledger.unknown)} unknown, {ledger.killed} killed, errors {dict(ledger.errors)}\n"
    )
    check(server, bank, ledger)
    assert len(ledger.acknowledged) > 10 * seconds
    assert ledger.killed > 3 * seconds
    assert ledger.failed, "no transfer was hit: nothing was tried"


def test_directly(server: Server, bank: str) -> None:
    """What the clients expect of a server holds without a proxy, too."""
    play(server, bank, server.host, server.port, 2.0)


@pytest.mark.parametrize(
    "seconds", [5.0, pytest.param(120.0, marks=(pytest.mark.full, pytest.mark.timeout(300)))]
)
def test_through_few_connections(
    proxy: ProxyFactory, server: Server, bank: str, seconds: float
) -> None:
    row = {"hostname": server.host, "port": server.port, "max_connections": CONNECTIONS}
    running = proxy(
        server,
        "table",
        proxy={"backends": [], "session_mode": "multiplex"},
        mysql_servers=[row],
    )
    play(server, bank, running.host, running.port, seconds)
