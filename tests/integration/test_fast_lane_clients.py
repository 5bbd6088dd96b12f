# SPDX-License-Identifier: Apache-2.0
"""Clients and sysbench hear the same bytes with the fast lane on and off."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import asyncmy
import asyncmy.errors
import pytest

from tests.integration import test_django, test_drivers, test_programs, test_sqlalchemy
from tests.integration.conftest import Fleet, direct
from tests.integration.drivers import CONNECTOR, DRIVERS, PYMYSQL, Driver, connected
from tests.integration.lanes import first_difference
from tests.integration.route import Route
from tests.integration.scripts import TABLES
from tests.integration.test_sysbench import sysbench
from tests.support.server import Server

Script = Callable[..., None]

SEED = 4711
SYSBENCH_TABLES, SYSBENCH_ROWS = 2, 500
# About 3000 statements.
EVENTS = {
    "oltp_point_select": 300,
    "oltp_read_only": 40,
    "oltp_read_write": 40,
    "oltp_write_only": 80,
}
ROUNDS = 20
WRONG = (
    "SELEC 1",
    "SELECT * FROM no_such_table",
    "SELECT words FROM t WHERE nobody = 1",
    "INSERT INTO t (id) VALUES (1)",
    "USE no_such_database",
    "CALL no_such_procedure()",
    "SELECT (SELECT 1 UNION SELECT 2)",
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own'",
)


def mostly_full(values: Sequence[Any]) -> list[Any]:
    """The first in each run, the others in the full one."""
    return [values[0], *(pytest.param(value, marks=pytest.mark.full) for value in values[1:])]


@pytest.fixture(scope="module")
def loaded(server: Server) -> Iterator[str]:
    """A database with sysbench's tables: it fills them with what its seed does not determine."""
    name = f"it_{secrets.token_hex(6)}"
    direct(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    program(server, name, "oltp_read_write", "prepare")
    yield name
    direct(server, f"DROP DATABASE {name}")


def program(way: Route | Server, database: str, *arguments: str) -> str:
    """What sysbench says, for one thread and tables of our size."""
    size = (f"--tables={SYSBENCH_TABLES}", f"--table-size={SYSBENCH_ROWS}")
    return sysbench(way, database, *size, f"--rand-seed={SEED}", "--threads=1", *arguments)


@pytest.mark.parametrize("preparing", ["disable", "auto"], ids=["text", "prepared"])
def test_sysbench(fleet: Fleet, server: Server, loaded: str, preparing: str) -> None:
    def work(route: Route, database: str) -> None:
        for number in range(1, SYSBENCH_TABLES + 1):
            copy, table = (f"{name}.sbtest{number}" for name in (database, loaded))
            direct(
                server,
                f"CREATE TABLE {copy} LIKE {table}",
                f"INSERT INTO {copy} SELECT * FROM {table} ORDER BY id",
            )
        for workload, events in EVENTS.items():
            how = (f"--db-ps-mode={preparing}", f"--events={events}", "--time=0")
            said = program(route, database, workload, *how, "run")
            assert re.search(rf"total number of events: +{events}\n", said)
        program(route, database, "oltp_read_write", "cleanup")

    assert first_difference(fleet, server, work, fewest=1 + len(EVENTS)) == ""


def mistakes_and_their_warnings(route: Route, database: str, driver: Driver) -> None:
    """The same few statements many times: most of it is what the fast lane runs."""
    with connected(driver, route, database) as connection:
        test_drivers.run(connection, test_drivers.TABLE)
        test_drivers.run(connection, "INSERT INTO t (id) VALUES (1)")
        for number in range(ROUNDS):
            for statement in WRONG:
                with pytest.raises(driver.errors):
                    test_drivers.results(connection, statement)
            connection.commit()
            test_drivers.rows(connection, "SELECT 1 + 'x', %s", number)
            test_drivers.rows(connection, "SHOW WARNINGS")
            test_drivers.rows(connection, "SELECT * FROM t WHERE id = %s", number)
            test_drivers.run(connection, "UPDATE t SET words = %s", f"{number} ü")
            test_drivers.rows(connection, "SELECT ROW_COUNT(), LAST_INSERT_ID()")
            connection.commit()


SCRIPTS: tuple[Script, ...] = (
    mistakes_and_their_warnings,
    test_drivers.test_every_kind_of_value_comes_back,
    test_drivers.test_transactions,
    test_drivers.test_stored_procedures,
)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_drivers_in_a_database(
    fleet: Fleet, server: Server, driver: Driver, script: Script
) -> None:
    assert first_difference(fleet, server, partial(script, driver=driver)) == ""


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_drivers_in_none(fleet: Fleet, server: Server, driver: Driver) -> None:
    def work(route: Route, database: str) -> None:
        test_drivers.test_several_statements_at_once(route, driver)
        test_drivers.test_change_user(route, driver)

    assert first_difference(fleet, server, work) == ""


@pytest.mark.parametrize("driver", mostly_full(DRIVERS), ids=str)
def test_drivers_send_a_file(fleet: Fleet, server: Server, driver: Driver, tmp_path: Path) -> None:
    work = partial(test_drivers.test_local_file, driver=driver, tmp_path=tmp_path)
    assert first_difference(fleet, server, work) == ""


def test_connector_prepares(fleet: Fleet, server: Server) -> None:
    def work(route: Route, database: str) -> None:
        test_drivers.test_connector_prepares(route, database)
        test_drivers.test_change_user_back_and_forth(route)
        pure(route, database)

    def pure(route: Route, database: str) -> None:
        """Its Python half does prepare, in binary."""
        with connected(CONNECTOR, route, database, use_pure=True) as connection:
            cursor = connection.cursor(prepared=True)
            for number in range(ROUNDS):
                cursor.execute("SELECT id, words, data FROM t WHERE id >= %s", (number,))
                assert cursor.fetchall() is not None
                cursor.execute("UPDATE t SET nothing = %s WHERE id = 1", (number,))
            connection.commit()
            cursor.close()

    assert first_difference(fleet, server, work, fewest=3) == ""


def test_json(fleet: Fleet, server: Server) -> None:
    assert first_difference(fleet, server, test_drivers.test_json) == ""


async def talk(route: Route, database: str) -> None:
    connection: Any = await asyncmy.connect(**route.options(database=database))
    async with connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(50))")
        for number in range(ROUNDS):
            await cursor.execute("INSERT INTO t (v) VALUES (%s)", (f"{number} grüße 🐘",))
            await cursor.execute("SELECT * FROM t ORDER BY id DESC LIMIT 3")
            assert (await cursor.fetchone())[0] == number + 1
            with pytest.raises(asyncmy.errors.IntegrityError):
                await cursor.execute("INSERT INTO t VALUES (1, 'twice')")
            await connection.ping()
            await (connection.rollback if number % 5 == 4 else connection.commit)()
            await cursor.execute("SELECT %s, NULL, %s", (number, b"\x00\xff"))


def test_asyncmy(fleet: Fleet, server: Server) -> None:
    def work(route: Route, database: str) -> None:
        asyncio.run(talk(route, database))

    assert first_difference(fleet, server, work) == ""


@pytest.mark.parametrize("dialect", mostly_full(test_sqlalchemy.DIALECTS))
def test_sqlalchemy_objects(fleet: Fleet, server: Server, dialect: str) -> None:
    def work(route: Route, database: str) -> None:
        engine = test_sqlalchemy.connected(route, dialect, database)
        try:
            test_sqlalchemy.test_objects_and_transactions(engine)
        finally:
            engine.dispose()

    assert first_difference(fleet, server, work) == ""


def test_django_models(fleet: Fleet, mariadb: Server) -> None:
    assert first_difference(fleet, mariadb, test_django.test_migrations_and_models) == ""


@pytest.mark.full
def test_django_models_in_mysql(fleet: Fleet, mysql9: Server) -> None:
    assert first_difference(fleet, mysql9, test_django.test_migrations_and_models) == ""


@pytest.fixture(scope="module")
def filled(server: Server) -> Iterator[str]:
    """What both lanes dump: mysqldump is told estimates, too, which no two tables share."""
    name = f"it_{secrets.token_hex(6)}"
    direct(
        server,
        f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
        f"USE {name}",
        *TABLES,
        *test_programs.BIG,
        "ALTER TABLE big STATS_AUTO_RECALC = 0",
        "ANALYZE TABLE kinds, numbers, loaded, big",
    )
    yield name
    direct(server, f"DROP DATABASE {name}")


def programs(
    fleet: Fleet, server: Server, vendor: str, mysql9: Server, filled: str, folder: Path
) -> None:
    def work(route: Route, database: str) -> None:
        test_programs.interactive_client(route, vendor, mysql9, database, folder)
        dumped = test_programs.dump(route, vendor, mysql9, filled)
        test_programs.restore(route, vendor, mysql9, database, dumped)

    assert first_difference(fleet, server, work, plans=True) == ""


def test_programs_of_its_vendor(
    fleet: Fleet, server: Server, mysql9: Server, filled: str, tmp_path: Path
) -> None:
    programs(fleet, server, server.name, mysql9, filled, tmp_path)


@pytest.mark.full
def test_programs_of_the_other_vendor(
    fleet: Fleet, server: Server, mysql9: Server, filled: str, tmp_path: Path
) -> None:
    other = "mysql" if server.name == "mariadb" else "mariadb"
    programs(fleet, server, other, mysql9, filled, tmp_path)


def test_a_difference_is_found(fleet: Fleet, server: Server) -> None:
    """The counterpart: what differs by one byte, late in the second connection, is told."""

    def work(route: Route, database: str) -> None:
        for number in range(2):
            with connected(PYMYSQL, route, database) as connection:
                odd = number == 1 and route.auth == "slow"
                test_drivers.rows(connection, f"SELECT {int(odd)} AS a")

    found = first_difference(fleet, server, work, fewest=2)
    assert found.startswith("connection 1, frame ")
