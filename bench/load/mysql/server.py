# SPDX-License-Identifier: Apache-2.0
"""The database behind every target: which one, and the tables the workloads need."""

import shutil
from collections.abc import Callable

from bench.load.children import Children
from bench.load.errors import BenchError
from bench.load.mysql.client import Address, Connection
from ci.servers.place import HOST, MARIADB_PORT, MYSQL9_PORT, PASSWORD, USER

DATABASE = "sbtest"
TABLES = 4
TABLE_SIZE = 20_000
KNOWN = {"mariadb": MARIADB_PORT, "mysql9": MYSQL9_PORT}
PREPARE_S = 120.0
SPARE_CONNECTIONS = 100

# name -> (rows, bytes of payload): 16 MiB each, once as a few large rows, once as many small ones
STREAM_TABLES = {"stream_large": (64, 256 * 1024), "stream_rows": (81_920, 205)}


def find(server: str) -> Address:
    """Turn `mariadb`, `mysql9` or HOST:PORT into an address that answers."""
    host, colon, port = server.rpartition(":")
    if server in KNOWN:
        host, port = HOST, str(KNOWN[server])
    elif not (colon and host and port.isdigit()):
        raise BenchError(f"--server {server}: expected mariadb, mysql9 or HOST:PORT")
    address = Address(host, int(port), USER, PASSWORD, "")
    if not answers(address):
        hint = "ci/services up" if server in KNOWN else "start it"
        raise BenchError(f"no database answers {USER}@{address}: {hint}")
    Connection(address).query(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    return Address(address.host, address.port, USER, PASSWORD, DATABASE)


def answers(address: Address) -> bool:
    """Whether a client can log in there, right now."""
    try:
        Connection(address, timeout_s=5).close()
    except (OSError, BenchError):
        return False
    return True


def usual_plugin(address: Address) -> str:
    """Name the plugin clients of such a server log in with unless told otherwise."""
    connection = Connection(address)
    [[version]] = connection.query("SELECT VERSION()")
    connection.close()
    old = "MariaDB" in (version or "")
    return "mysql_native_password" if old else "caching_sha2_password"


def sysbench(address: Address, *options: str) -> list[str]:
    """Give the sysbench command line for this address."""
    program = shutil.which("sysbench")
    if program is None:
        raise BenchError("sysbench is missing: apt-get install sysbench")
    return [
        program,
        f"--mysql-host={address.host}",
        f"--mysql-port={address.port}",
        f"--mysql-user={address.user}",
        f"--mysql-password={address.password}",
        f"--mysql-db={address.database}",
        f"--tables={TABLES}",
        f"--table-size={TABLE_SIZE}",
        *options,
    ]


def ensure_tables(address: Address, children: Children, say: Callable[[str], None]) -> None:
    """Create what is missing and refill what write workloads have worn down."""
    connection = Connection(address)
    try:
        if not all(_is_fresh(connection, f"sbtest{n + 1}") for n in range(TABLES)):
            say(f"filling {TABLES} tables of {TABLE_SIZE:,} rows ...")
            for command in ("cleanup", "prepare"):
                children.run(sysbench(address, "oltp_point_select", command), timeout_s=PREPARE_S)
        for name, (rows, size) in STREAM_TABLES.items():
            if _count(connection, name) != rows:
                say(f"filling {name} with {rows:,} rows of {size:,} bytes ...")
                _fill(connection, name, rows, size)
    finally:
        connection.close()


def allow_connections(address: Address, count: int) -> Callable[[], None]:
    """Raise max_connections when `count` clients would not fit; the result puts it back."""
    connection = Connection(address)
    try:
        [[before]] = connection.query("SELECT @@GLOBAL.max_connections")
        wanted = count + SPARE_CONNECTIONS
        if before is None or int(before) >= wanted:
            return lambda: None
        connection.query(f"SET GLOBAL max_connections = {wanted}")
        return lambda: _set_max_connections(address, int(before))
    finally:
        connection.close()


def _set_max_connections(address: Address, value: int) -> None:
    connection = Connection(address)
    connection.query(f"SET GLOBAL max_connections = {value}")
    connection.close()


def _is_fresh(connection: Connection, table: str) -> bool:
    # Inserts by the workloads are welcome, up to a point; holes among the first rows are not,
    # because a select that finds nothing is cheaper.
    first = _count(connection, table, f"id <= {TABLE_SIZE}")
    return first == TABLE_SIZE and _count(connection, table) <= 2 * TABLE_SIZE


def _count(connection: Connection, table: str, where: str = "1") -> int:
    known = connection.query(
        "SELECT 1 FROM information_schema.tables"
        f" WHERE table_schema = '{DATABASE}' AND table_name = '{table}'"
    )
    if not known:
        return -1
    [[count]] = connection.query(f"SELECT COUNT(*) FROM {table} WHERE {where}")
    return int(count or 0)


def _fill(connection: Connection, table: str, rows: int, size: int) -> None:
    connection.query(f"DROP TABLE IF EXISTS {table}")
    connection.query(f"CREATE TABLE {table} (id INT PRIMARY KEY, payload LONGBLOB)")
    # Rows are numbered through a cross join: servers limit the depth of a recursion to 1,000.
    connection.query(
        f"INSERT INTO {table} WITH RECURSIVE n (i) AS"
        " (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 511)"
        f" SELECT a.i * 512 + b.i, REPEAT('x', {size}) FROM n a, n b"
        f" WHERE a.i * 512 + b.i < {rows}"
    )
