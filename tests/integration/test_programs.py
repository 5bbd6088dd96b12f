# SPDX-License-Identifier: Apache-2.0
"""The servers' own programs through the proxy: mysql, mysqldump, mysqlslap, of both vendors."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import direct
from tests.integration.route import Route
from tests.integration.scripts import TABLES
from tests.support.server import Server

TIMEOUT_S = 60
MARIADB = {"mysql": "mariadb", "mysqldump": "mariadb-dump", "mysqlslap": "mariadb-slap"}


@pytest.fixture
def vendors(route: Route) -> tuple[str, ...]:
    """Whose programs can log in: MySQL 9's no longer know the plugin of MariaDB's accounts,
    so they need the proxy to check the password."""
    return ("mariadb",) if route.is_mariadb and route.auth == "relay" else ("mariadb", "mysql")


def program(vendor: str, name: str, mysql9: Server) -> str:
    """MariaDB's is installed; MySQL 9's is what `ci/services` unpacked beside its client."""
    return MARIADB[name] if vendor == "mariadb" else str(mysql9.client.with_name(name))


def run(*command: str, stdin: bytes = b"") -> bytes:
    """What it writes; fails with what it complains about."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, timeout=TIMEOUT_S, env=os.environ | {"LANG": "C"}
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout


def test_interactive_client(
    route: Route, vendors: tuple[str, ...], mysql9: Server, database: str, tmp_path: Path
) -> None:
    for vendor in vendors:
        interactive_client(route, vendor, mysql9, database, tmp_path)


def interactive_client(
    route: Route, vendor: str, mysql9: Server, database: str, tmp_path: Path
) -> None:
    client = [program(vendor, "mysql", mysql9), *route.arguments(), "--local-infile=1"]
    client += ["--default-character-set=utf8mb4", database]
    said = run(
        *client,
        "--table",
        stdin="""
            DROP TABLE IF EXISTS t; CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50));
            INSERT INTO t VALUES (1, 'grüße 🐘'), (2, NULL);
            START TRANSACTION; DELETE FROM t; ROLLBACK;
            SELECT * FROM t;
            SHOW WARNINGS;
        """.encode(),
    )
    assert "grüße 🐘" in said.decode()
    assert b"| NULL" in said
    file = tmp_path / "rows"
    file.write_text("3\tthree\n4\tfour\n")
    run(*client, f"--execute=LOAD DATA LOCAL INFILE '{file}' INTO TABLE t")
    assert run(*client, "-N", "-e", "SELECT COUNT(*) FROM t") == b"4\n"
    # --quick streams, and asks for every row of it.
    numbers = run(
        *client, "-N", "--quick", "-e", "SELECT seq FROM (" + sequence(5) + ") s ORDER BY 1"
    )
    assert len(numbers.splitlines()) == 100_000
    done = subprocess.run(
        [*client, "-e", "SELECT * FROM no_such_table"], capture_output=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 1
    assert b"ERROR 1146 (42S02)" in done.stderr


def sequence(digits: int) -> str:
    """SQL for the numbers of so many decimal digits."""
    ten = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    names = [f"d{i}" for i in range(digits)]
    total = " + ".join(f"{name}.n * {10**i}" for i, name in enumerate(names))
    return f"SELECT {total} AS seq FROM " + ", ".join(f"({ten}) {name}" for name in names)


def test_wrong_password(route: Route, vendors: tuple[str, ...], mysql9: Server) -> None:
    for vendor in vendors:
        wrong_password(route, vendor, mysql9)


def wrong_password(route: Route, vendor: str, mysql9: Server) -> None:
    arguments = [f"--host={route.host}", f"--port={route.port}", "--user=hproxy", "--password=no"]
    done = subprocess.run(
        [program(vendor, "mysql", mysql9), *arguments, "-e", "SELECT 1"],
        capture_output=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert b"ERROR 1045 (28000): Access denied for user 'hproxy'@" in done.stderr


BIG = (
    "CREATE TABLE big (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200), b BLOB)",
    "INSERT INTO big (v, b) SELECT CONCAT('row ', seq, ' ü'), UNHEX(SHA2(seq, 256)) "
    f"FROM ({sequence(4)}) s",
)


def test_dump_and_restore_give_equal_checksums(
    route: Route, vendors: tuple[str, ...], mysql9: Server, database: str
) -> None:
    for vendor in vendors:
        dump_and_restore_give_equal_checksums(route, vendor, mysql9, database)


def dump_and_restore_give_equal_checksums(
    route: Route, vendor: str, mysql9: Server, database: str
) -> None:
    direct(
        route.server,
        f"DROP DATABASE {database}",
        f"CREATE DATABASE {database} CHARACTER SET utf8mb4",
        f"USE {database}",
        *TABLES,
        *BIG,
        f"CREATE DATABASE {database}_copy",
    )
    try:
        restore(route, vendor, mysql9, f"{database}_copy", dump(route, vendor, mysql9, database))
        names = ("kinds", "numbers", "big", "loaded")
        sums = [
            [total for _, total in direct(route.server, f"CHECKSUM TABLE {tables}")]
            for tables in (
                ", ".join(f"{schema}.{name}" for name in names)
                for schema in (database, f"{database}_copy")
            )
        ]
        assert sums[0] == sums[1]
        assert None not in sums[0]
    finally:
        direct(route.server, f"DROP DATABASE {database}_copy")


def dump(route: Route, vendor: str, mysql9: Server, database: str) -> bytes:
    extra = ["--no-tablespaces"]
    if vendor == "mysql":
        # It asks for tables of information_schema and for transaction ids that MariaDB lacks.
        extra += ["--column-statistics=0", "--set-gtid-purged=OFF"]
    dumped = run(
        program(vendor, "mysqldump", mysql9),
        *route.arguments(),
        *extra,
        "--single-transaction",
        "--routines",
        "--hex-blob",
        "--default-character-set=utf8mb4",
        database,
    )
    assert dumped.rstrip().splitlines()[-1].startswith(b"-- Dump completed")
    return dumped


def restore(route: Route, vendor: str, mysql9: Server, database: str, dumped: bytes) -> None:
    client = [program(vendor, "mysql", mysql9), *route.arguments()]
    run(*client, "--default-character-set=utf8mb4", database, stdin=dumped)


def test_load_emulator(
    route: Route, vendors: tuple[str, ...], mysql9: Server, database: str
) -> None:
    for vendor in vendors:
        load_emulator(route, vendor, mysql9, database)


def load_emulator(route: Route, vendor: str, mysql9: Server, database: str) -> None:
    said = run(
        program(vendor, "mysqlslap", mysql9),
        *route.arguments(),
        f"--create-schema={database}_slap",
        "--auto-generate-sql",
        "--auto-generate-sql-load-type=mixed",
        "--concurrency=1,8",
        "--number-of-queries=400",
        "--iterations=1",
    )
    assert said.count(b"Average number of queries per client") == 2
