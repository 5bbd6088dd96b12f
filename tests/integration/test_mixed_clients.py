# SPDX-License-Identifier: Apache-2.0
"""Many clients of many drivers over few backend connections, doing what applications do.

Each client checks that what it sees is its own; the server is asked how many connections there
are, the proxy who is pinned and why. This file is also the program that Django's clients run in:
Django keeps its settings in the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncmy
import mysql.connector
import MySQLdb
import pymysql
import pytest
from sqlalchemy import URL, Engine, create_engine, func, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from tests.integration.conftest import direct
from tests.integration.test_sqlalchemy import Author, Base, Book
from tests.support.process import eventually
from tests.support.server import Server
from tests.torture.observed import Observed

SETTINGS = "HPROXY_TEST_DJANGO_CLIENTS"
PATIENCE_S = 60
ROUNDS = 3
SHARES = {
    "pymysql": 24, "mysqlclient": 24, "connector": 12, "asyncmy": 16, "alchemy_pymysql": 8,
    "alchemy_mysqldb": 8, "django": 8,
}  # fmt: skip
# Pins that are no client's doing here: what the proxy could not follow, or did not try to.
FALSE = {
    "LONG_DATA", "OPEN_CURSOR", "TABLE_LOCK", "LOCAL_INFILE", "HANDLER", "XA", "ROUTINE",
    "UNTRACKABLE_SET", "UNTRACKABLE_STATE", "SESSION_MODE", "UNKNOWN_COMMAND", "WIDE_STATEMENT",
}  # fmt: skip
# Those who keep something at the end, to see that just they are pinned: client number -> why.
KEEPERS = {
    0: ("TEMP_TABLE", "CREATE TEMPORARY TABLE kept (a INT)", "DROP TEMPORARY TABLE kept"),
    1: ("USER_LOCK", "DO GET_LOCK('{database}', 0)", "DO RELEASE_ALL_LOCKS()"),
    2: ("TRANSACTION", "BEGIN", "ROLLBACK"),
    3: ("TEMP_TABLE", "CREATE TEMPORARY TABLE kept (a INT)", "DROP TABLE kept"),
}


TABLES = (
    """CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, owner INT, body VARCHAR(200),
        KEY (owner)) ENGINE=InnoDB""",
    "CREATE TABLE counter (owner INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB",
)


@dataclass
class Stage:
    """What all clients share. Threads wait for each other at the gates."""

    server: Server
    database: str
    host: str
    port: int
    rounds: int
    connected: threading.Barrier
    worked: threading.Barrier
    seen: threading.Barrier
    failures: list[str] = field(default_factory=list)

    def options(self) -> dict[str, Any]:
        return {
            "host": self.host,
            "port": self.port,
            "user": self.server.user,
            "password": self.server.password,
            "database": self.database,
        }

    def pass_gates(self, keep: Callable[[], None], release: Callable[[], None]) -> None:
        keep()
        self.worked.wait(PATIENCE_S)
        self.seen.wait(PATIENCE_S)
        release()


Run = Callable[..., list[tuple[Any, ...]]]


def ordinary_work(run: Run, number: int, rng: random.Random) -> None:
    """One round of statements over any driver; every answer must be this client's."""
    ((me,),) = run("SELECT @me")
    assert int(me) == number
    run("INSERT INTO note (owner, body) VALUES (%s, %s)", number, f"body of {number}")
    ((identity,),) = run("SELECT LAST_INSERT_ID()")
    ((owner,),) = run("SELECT owner FROM note WHERE id = %s", identity)
    assert owner == number
    run("START TRANSACTION")
    run("SELECT n FROM counter WHERE owner = %s FOR UPDATE", number)
    run("UPDATE counter SET n = n + 1 WHERE owner = %s", number)
    if rng.random() < 0.3:
        run("SAVEPOINT s")
        run("UPDATE counter SET n = n + 1000 WHERE owner = %s", number)
        run("ROLLBACK TO SAVEPOINT s")
    run("COMMIT")
    rows = run("SELECT id, owner, body FROM note WHERE owner = %s ORDER BY id", number)
    assert {row[1] for row in rows} == {number}
    if rng.random() < 0.3:
        zone = f"+{number % 13:02}:00"
        run(f"SET time_zone = '{zone}'")
        assert run("SELECT @@time_zone") == [(zone,)]
    if rng.random() < 0.2:
        run("CREATE TEMPORARY TABLE mine (a INT)")
        run("INSERT INTO mine VALUES (%s)", number)
        assert run("SELECT a FROM mine") == [(number,)]
        run("DROP TEMPORARY TABLE mine")
    if rng.random() < 0.2:
        ((locked,),) = run(f"SELECT GET_LOCK('mixed {number}', 0)")
        assert locked == 1
        assert run(f"SELECT RELEASE_LOCK('mixed {number}')") == [(1,)]
    run("DELETE FROM note WHERE id = %s", identity)


def check_counter(run: Run, number: int, rounds: int) -> None:
    assert run("SELECT n FROM counter WHERE owner = %s", number) == [(rounds,)]


def follow(stage: Stage, number: int, run: Run) -> None:
    """A client of a DB-API driver from connection to end."""
    rng = random.Random(number)
    run(f"SET @me = {number}")
    run("INSERT INTO counter VALUES (%s, 0)", number)
    stage.connected.wait(PATIENCE_S)
    for _ in range(stage.rounds):
        ordinary_work(run, number, rng)
    check_counter(run, number, stage.rounds)
    _, keep, release = KEEPERS.get(number, ("", "DO 0", "DO 0"))
    stage.pass_gates(
        lambda: void(run(keep.format(database=stage.database))), lambda: void(run(release))
    )


def void(_: object) -> None:
    """For callables whose result nobody wants."""


def dbapi(connection: Any) -> Run:
    def run(sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = connection.cursor()
        cursor.execute(sql, values or None)
        rows = list(cursor.fetchall()) if cursor.description else []
        cursor.close()
        return rows

    return run


def with_pymysql(stage: Stage, number: int) -> None:
    with pymysql.connect(**stage.options(), autocommit=True, charset="utf8mb4") as connection:
        follow(stage, number, dbapi(connection))


def with_mysqlclient(stage: Stage, number: int) -> None:
    connection: Any = MySQLdb.connect(**stage.options(), autocommit=True)
    try:
        follow(stage, number, dbapi(connection))
    finally:
        connection.close()


def with_connector(stage: Stage, number: int) -> None:
    """Prepared wherever there are values."""
    connection: Any = mysql.connector.connect(
        **stage.options(), autocommit=True, use_pure=True, charset="utf8mb4",
        collation="utf8mb4_general_ci",
    )  # fmt: skip
    cursors: dict[str, Any] = {}

    def run(sql: str, *values: object) -> list[tuple[Any, ...]]:
        if not values:
            return dbapi(connection)(sql)
        cursor = cursors.get(sql)
        if cursor is None:
            cursor = cursors[sql] = connection.cursor(prepared=True)
        cursor.execute(sql, values)
        return list(cursor.fetchall()) if cursor.with_rows else []

    try:
        follow(stage, number, run)
    finally:
        connection.close()


def with_alchemy(driver: str) -> Callable[[Stage, int], None]:
    def client(stage: Stage, number: int) -> None:
        options = stage.options()
        engine = create_engine(
            URL.create(
                f"mysql+{driver}", options["user"], options["password"], options["host"],
                options["port"], options["database"], {"charset": "utf8mb4"},
            ),
            poolclass=NullPool,
        )  # fmt: skip
        with engine.connect() as connection:
            objects(stage, number, connection)
        engine.dispose()

    return client


def objects(stage: Stage, number: int, connection: Any) -> None:
    """SQLAlchemy's ORM on one connection."""
    rng = random.Random(number)
    connection.execute(text(f"SET @me = {number}"))
    connection.commit()
    stage.connected.wait(PATIENCE_S)
    for round_ in range(stage.rounds):
        name = f"author {number} {round_}"
        with Session(connection) as session:
            author = Author(name=name, books=[Book(title=f"{name}, {i}") for i in range(3)])
            session.add(author)
            session.commit()
            identity = author.id
        with Session(connection) as session:
            found = session.scalars(select(Author).where(Author.id == identity)).one()
            assert found.name == name
            assert sorted(book.title for book in found.books) == [f"{name}, {i}" for i in range(3)]
            found.books.pop()
            session.flush()
            if rng.random() < 0.5:
                session.rollback()
            with session.begin_nested():
                session.add(Book(title="nested", author_id=identity))
            session.commit()
            count = session.scalar(
                select(func.count()).select_from(Book).where(Book.author_id == identity)
            )
            assert count in (3, 4)
            assert session.scalar(text("SELECT @me")) == number
            session.delete(session.get_one(Author, identity))
            session.commit()
    stage.pass_gates(connection.rollback, connection.rollback)


THREADED = {
    "pymysql": with_pymysql,
    "mysqlclient": with_mysqlclient,
    "connector": with_connector,
    "alchemy_pymysql": with_alchemy("pymysql"),
    "alchemy_mysqldb": with_alchemy("mysqldb"),
}


# -- asyncmy: all its clients on one loop ------------------------------------------


async def async_clients(stage: Stage, numbers: range) -> None:
    ready = asyncio.Barrier(len(numbers) + 1)
    done = asyncio.Barrier(len(numbers) + 1)
    end = asyncio.Event()

    async def client(number: int) -> None:
        connection = await asyncmy.connect(
            host=stage.host, port=stage.port, user=stage.server.user, autocommit=True,
            password=stage.server.password, db=stage.database, charset="utf8mb4",
        )  # fmt: skip
        try:
            async with connection.cursor() as cursor:

                async def run(sql: str, *values: object) -> list[tuple[Any, ...]]:
                    await cursor.execute(sql, values or None)
                    return list(await cursor.fetchall()) if cursor.description else []

                await run(f"SET @me = {number}")
                await run("INSERT INTO counter VALUES (%s, 0)", number)
                await ready.wait()
                for _ in range(stage.rounds):
                    await run("START TRANSACTION")
                    await run("UPDATE counter SET n = n + 1 WHERE owner = %s", number)
                    await run("INSERT INTO note (owner, body) VALUES (%s, 'async')", number)
                    assert await run("SELECT @me") == [(number,)]
                    await run("COMMIT")
                    rows = await run("SELECT owner FROM note WHERE owner = %s", number)
                    assert set(rows) == {(number,)}
                assert await run("SELECT n FROM counter WHERE owner = %s", number) == [
                    (stage.rounds,)
                ]
                await done.wait()
                await end.wait()
        finally:
            await connection.ensure_closed()

    async def conduct() -> None:
        gates = asyncio.get_running_loop().run_in_executor
        await ready.wait()
        await gates(None, stage.connected.wait, PATIENCE_S)
        await done.wait()
        await gates(None, stage.worked.wait, PATIENCE_S)
        await gates(None, stage.seen.wait, PATIENCE_S)
        end.set()

    async with asyncio.TaskGroup() as group:
        for number in numbers:
            group.create_task(client(number))
        group.create_task(conduct())


def with_asyncmy(stage: Stage, numbers: range) -> None:
    asyncio.run(async_clients(stage, numbers))


# -- Django: a program ---------------------------------------------------------------


def with_django(stage: Stage, numbers: range) -> None:
    options = stage.options()
    settings = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": options["database"],
        "HOST": options["host"],
        "PORT": options["port"],
        "USER": options["user"],
        "PASSWORD": options["password"],
        "OPTIONS": {"charset": "utf8mb4"},
        "CONN_MAX_AGE": None,
    }
    told = {"database": settings, "clients": len(numbers), "rounds": stage.rounds}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.test_mixed_clients"],
        env=os.environ | {SETTINGS: json.dumps(told)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for word, gates in (
            ("connected", (stage.connected,)),
            ("worked", (stage.worked, stage.seen)),
        ):
            line = process.stdout.readline()
            assert line.strip() == word, line + process.communicate()[1]
            for gate in gates:
                gate.wait(PATIENCE_S)
            process.stdin.write("go\n")
            process.stdin.flush()
        said, complained = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said + complained
    finally:
        process.kill()
        process.wait()


def program() -> None:
    """What runs in the process of its own."""
    import django  # noqa: PLC0415 - settings come first
    from django.conf import settings  # noqa: PLC0415

    told = json.loads(os.environ[SETTINGS])
    settings.configure(
        DATABASES={"default": told["database"]},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.db import connection, models, transaction  # noqa: PLC0415

    fields: dict[str, Any] = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"app_label": "auth"}),
        "owner": models.IntegerField(db_index=True),
        "price": models.DecimalField(max_digits=12, decimal_places=3),
        "facts": models.JSONField(default=dict),
    }
    thing: Any = type("DjangoThing", (models.Model,), fields)
    with connection.schema_editor() as editor:
        editor.create_model(thing)
    connection.close()
    failures: list[BaseException] = []
    threading.excepthook = lambda told_: failures.append(told_.exc_value or Exception("?"))
    connected, worked = (threading.Barrier(told["clients"] + 1) for _ in range(2))
    start, end = threading.Event(), threading.Event()

    def client(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET @me = %s", [number])
        connected.wait(PATIENCE_S)
        start.wait(PATIENCE_S)
        for round_ in range(told["rounds"]):
            with transaction.atomic():
                thing.objects.bulk_create(
                    thing(owner=number, price=i, facts={"round": round_}) for i in range(3)
                )
                try:
                    with transaction.atomic():
                        thing.objects.filter(owner=number).update(price=models.F("price") + 1000)
                        raise ArithmeticError
                except ArithmeticError:
                    pass
            total = thing.objects.filter(owner=number).aggregate(models.Sum("price"))
            assert total["price__sum"] == 3, total
            assert {each.facts["round"] for each in thing.objects.filter(owner=number)} == {round_}
            one = thing.objects.create(owner=number, price=5)
            one.refresh_from_db()
            assert thing.objects.get(pk=one.pk).owner == number
            with connection.cursor() as cursor:
                cursor.execute("SELECT @me")
                assert cursor.fetchone() == (number,)
            thing.objects.filter(owner=number).delete()
        worked.wait(PATIENCE_S)
        end.wait(PATIENCE_S)
        connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(told["clients"])]
    for thread in threads:
        thread.start()
    for word, gate, event in (("connected", connected, start), ("worked", worked, end)):
        try:
            gate.wait(PATIENCE_S)
        except threading.BrokenBarrierError:
            word = "broken"
        sys.stdout.write(word + "\n")
        sys.stdout.flush()
        sys.stdin.readline()
        event.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# -- the test ------------------------------------------------------------------------


@contextmanager
def watched(
    server: Server, database: str, proxy: Observed
) -> Iterator[tuple[Counter[str], list[int]]]:
    """Samples of pins by reason and of how many connections the server has for us."""
    pins: Counter[str] = Counter()
    connections: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            for reason, count in proxy.ask("pin_counts").items():
                pins[reason] = max(pins[reason], count)
            ((count,),) = direct(
                server,
                f"SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{database}'",
            )
            connections.append(count)

    thread = threading.Thread(target=watch, name="watch")
    thread.start()
    try:
        yield pins, connections
    finally:
        stop.set()
        thread.join()


def play(
    server: Server, database: str, address: tuple[str, int], clients: int, look: Callable[[], None]
) -> None:
    """All clients from connection to end; `look` while they are connected and idle."""
    counts = {kind: clients * share // 100 for kind, share in SHARES.items()}
    counts["pymysql"] += clients - sum(counts.values())
    direct(server, f"USE {database}", *TABLES)
    engine = alchemy_direct(server, database)
    Base.metadata.create_all(engine)
    engine.dispose()
    # Those who wait at the gates: a thread each, one for asyncmy, one for Django, and this one.
    parties = sum(count for kind, count in counts.items() if kind in THREADED) + 2 + 1
    connected, worked, seen = (threading.Barrier(parties) for _ in range(3))
    stage = Stage(server, database, *address, ROUNDS, connected, worked, seen)
    threads: list[threading.Thread] = []
    number = 0
    for kind, count in counts.items():
        numbers = range(number, number + count)
        number += count
        if kind in THREADED:
            threads += [client_thread(stage, f"{kind} {n}", THREADED[kind], n) for n in numbers]
        else:
            many = with_asyncmy if kind == "asyncmy" else with_django
            threads.append(client_thread(stage, kind, many, numbers))
    try:
        for thread in threads:
            thread.start()
        connected.wait(PATIENCE_S)
        worked.wait(PATIENCE_S)
        look()
        seen.wait(PATIENCE_S)
    except threading.BrokenBarrierError:
        pass  # the failures say more
    finally:
        for gate in (connected, worked, seen):
            if gate.n_waiting:
                gate.abort()
        for thread in threads:
            if thread.ident is not None:
                thread.join(PATIENCE_S)
    assert not stage.failures, "\n".join(stage.failures[:10])


def through_a_proxy(server: Server, database: str, folder: Path, clients: int, limit: int) -> None:
    sections = {
        "server": {"listen_addr": "127.0.0.1:0", "data_dir": str(folder)},
        "proxy": {"auth": "table", "session_mode": "multiplex"},
        "logging": {"level": "info", "format": "json"},
        "mysql_servers": [{"hostname": server.host, "port": server.port, "max_connections": limit}],
        "mysql_users": [{"username": server.user, "password": server.password}],
    }
    kept = Counter(reason for reason, _, _ in KEEPERS.values())
    with ExitStack() as stack:
        proxy = stack.enter_context(Observed(folder, sections))
        pins, connections = stack.enter_context(watched(server, database, proxy))

        def look() -> None:
            """Everybody is connected and idle, some keep something."""
            assert proxy.ask("sessions") == clients
            eventually(lambda: proxy.ask("pin_counts") == dict(kept), "just the keepers are pinned")
            pools = proxy.ask("pools")
            used = sum(row["used"] for row in pools)
            assert used == sum(kept.values())
            assert used + sum(row["free"] for row in pools) <= limit

        play(server, database, (proxy.host, proxy.port), clients, look)
        eventually(lambda: proxy.ask("pin_counts") == {}, "nobody is pinned at the end")
        eventually(lambda: proxy.ask("sessions") == 0, "nobody is left")
    report = (
        f"\n{server.name}: {clients} clients, at most {max(connections)} connections of {limit}"
        f"; most sessions pinned at a time, by reason: {dict(pins)}\n"
    )
    sys.stdout.write(report)
    assert 2 < max(connections) <= limit, report
    assert not FALSE & set(pins), report
    assert pins["TRANSACTION"] > 0, report


def client_thread(
    stage: Stage, name: str, work: Callable[[Stage, Any], None], numbers: Any
) -> threading.Thread:
    def run() -> None:
        try:
            work(stage, numbers)
        except threading.BrokenBarrierError:
            pass  # another one failed
        except BaseException as error:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            stage.failures.append(f"{name}: {type(error).__name__}: {error}")
            for gate in (stage.connected, stage.worked, stage.seen):
                gate.abort()

    return threading.Thread(target=run, name=name)


def alchemy_direct(server: Server, database: str) -> Engine:
    return create_engine(
        URL.create(
            "mysql+pymysql", server.user, server.password, server.host, server.port, database
        )
    )


def test_the_clients_directly(server: Server, database: str) -> None:
    """What they expect of a server holds without a proxy, too."""
    play(server, database, (server.host, server.port), 40, lambda: None)


def test_more_clients_than_connections(server: Server, database: str, tmp_path: Path) -> None:
    through_a_proxy(server, database, tmp_path, clients=100, limit=12)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_five_hundred_clients_on_fifty_connections(
    server: Server, database: str, tmp_path: Path
) -> None:
    through_a_proxy(server, database, tmp_path, clients=500, limit=50)


if __name__ == "__main__":
    program()
