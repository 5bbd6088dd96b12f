# SPDX-License-Identifier: Apache-2.0
"""Conversations to hold twice, directly and through the proxy: every frame must be the same.

Each script is a function of a logged-in RecordingClient whose database `TABLES` have prepared. What
differs from one run to the next (ids, times, counters) is not asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hproxy.protocols.mysql.constants import Capability, Command, FieldType
from hproxy.protocols.mysql.wire import lenenc, lenenc_string
from tests.support.recording_client import Frame, RecordingClient

__all__ = ["SCRIPTS", "TABLES", "execute", "prepare", "statement_id"]

Script = Callable[[RecordingClient], object]

TABLES = (
    """CREATE TABLE kinds (
        id INT PRIMARY KEY AUTO_INCREMENT, tiny TINYINT UNSIGNED, small SMALLINT, medium MEDIUMINT,
        big BIGINT, price DECIMAL(20,5), f FLOAT, d DOUBLE, bits BIT(20), day DATE, at DATETIME(6),
        stamp TIMESTAMP NULL, took TIME(3), y YEAR, c CHAR(10), v VARCHAR(300),
        b VARBINARY(300), t TEXT, l LONGBLOB, e ENUM('a','b'), s SET('x','y','z'), j JSON)""",
    """INSERT INTO kinds VALUES (1,255,-32768,8388607,-9223372036854775808,'12345.67891',1.5,-2.25,
        b'10101','2024-02-29','2024-02-29 23:59:59.123456','2024-01-01 00:00:01','-838:59:59',1999,
        'char','grüße 日本 🐘',x'00ff00','text',repeat('L',70000),'b','x,z','{"a": [1, 2]}')""",
    "INSERT INTO kinds (id) VALUES (2)",
    "CREATE TABLE numbers (n INT PRIMARY KEY)",
    "INSERT INTO numbers VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    "CREATE TABLE loaded (a VARCHAR(100), b VARCHAR(100))",
    """CREATE PROCEDURE several(IN a INT, INOUT b INT, OUT c VARCHAR(20))
        BEGIN SELECT a; SELECT n FROM numbers WHERE n > a; SET b = b + a; SET c = 'out'; END""",
    "CREATE PROCEDURE silent() BEGIN DO 1; END",
    "CREATE PROCEDURE failing() BEGIN SELECT 1; SELECT * FROM no_such_table; END",
)  # fmt: skip


def prepare(client: RecordingClient, sql: str) -> int:
    """COM_STMT_PREPARE; the id of the statement, 0 if it was refused.

    MariaDB counts its ids on from connection to connection: the id is left out of the record.
    """
    before = len(client.received)
    answer = client.command(bytes([Command.STMT_PREPARE]) + sql.encode())
    number = statement_id(answer)
    if number:
        head = client.received[before]
        masked = head.payload[:1] + bytes(4) + head.payload[5:]
        client.received[before] = Frame(head.sequence, masked)
    return number


def statement_id(answer: list[bytes]) -> int:
    return int.from_bytes(answer[0][1:5], "little") if answer[0][0] == 0 else 0


def execute(
    client: RecordingClient,
    statement: int,
    *values: int | bytes | None,
    flags: int = 0,
    long_data: frozenset[int] = frozenset(),
) -> list[bytes]:
    """COM_STMT_EXECUTE with integers, strings and NULLs."""
    payload = bytes([Command.STMT_EXECUTE]) + struct.pack("<IBI", statement, flags, 1)
    named = Capability.QUERY_ATTRIBUTES in client.capabilities
    if values:
        if named:
            payload += lenenc(len(values))
        bitmap = bytearray((len(values) + 7) // 8)
        types = data = b""
        for i, value in enumerate(values):
            if value is None:
                bitmap[i // 8] |= 1 << i % 8
            kind = FieldType.LONGLONG if isinstance(value, int) else FieldType.BLOB
            types += struct.pack("<H", kind) + (b"\0" if named else b"")
            if i in long_data or value is None:
                continue
            data += struct.pack("<q", value) if isinstance(value, int) else lenenc_string(value)
        payload += bytes(bitmap) + b"\x01" + types + data
    return client.command(payload)


def text_kinds(client: RecordingClient) -> None:
    client.query("SELECT * FROM kinds ORDER BY id")
    client.query("SELECT * FROM kinds WHERE id > 100")
    client.query("SELECT NULL, '', 0, -1, 1e300, 0x00, CAST('2024-01-01' AS DATE)")


def binary_kinds(client: RecordingClient) -> None:
    statement = prepare(client, "SELECT * FROM kinds WHERE id >= ? ORDER BY id")
    execute(client, statement, 1)
    execute(client, statement, 100)
    execute(client, statement, None)
    client.command(bytes([Command.STMT_RESET]) + struct.pack("<I", statement))
    client.command(bytes([Command.STMT_CLOSE]) + struct.pack("<I", statement))
    execute(client, statement, 1)


def length_boundaries(client: RecordingClient) -> None:
    for length in (0, 1, 250, 251, 252, 253, 254, 255, 256, 65535, 65536, 65537, 300_000):
        client.query(f"SELECT REPEAT('x', {length}), {length}, REPEAT('y', {length})")


def many_columns(client: RecordingClient) -> None:
    # Counts of 251 and more take three bytes, and the packet then begins with 0xFC.
    for count in (1, 2, 3, 10, 250, 251, 252, 300, 1000):
        columns = ",".join(f"{i} AS c{i}" for i in range(count))
        client.query(f"SELECT {columns}")
        if count < 300:
            execute(client, prepare(client, f"SELECT {columns}"))


def many_rows(client: RecordingClient) -> None:
    client.query("SELECT a.n, b.n, c.n, d.n FROM numbers a, numbers b, numbers c, numbers d")
    statement = prepare(client, "SELECT a.n, b.n, NULL, ? FROM numbers a, numbers b, numbers c")
    execute(client, statement, b"text")


def changes(client: RecordingClient) -> None:
    client.query("CREATE TEMPORARY TABLE c (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
    client.query("INSERT INTO c (v) VALUES (1), (2), (3)")
    client.query("UPDATE c SET v = v + 1 WHERE id < 3")
    client.query("UPDATE c SET v = v")
    client.query("INSERT INTO c VALUES (1, 1) ON DUPLICATE KEY UPDATE v = 9")
    client.query("INSERT IGNORE INTO c VALUES (1, 'abc')")
    client.query("SHOW WARNINGS")
    client.query("DELETE FROM c")
    client.query("INSERT INTO c VALUES (4000000, 1)")
    client.query("INSERT INTO c (v) VALUES (1)")
    client.query("DO 1")


def errors(client: RecordingClient) -> None:
    for statement in (
        "", "   ", "SELEC 1", "SELECT * FROM no_such_table", "SELECT no_such_column",
        "INSERT INTO numbers VALUES (1)", "SELECT 1/0", "CALL no_such_procedure()",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'grüße', MYSQL_ERRNO = 5001",
        # An error behind the definitions, and one behind rows.
        "SELECT (SELECT n FROM numbers WHERE n >= x.n) FROM numbers x ORDER BY x.n DESC",
        "SELECT n, (SELECT m.n FROM numbers m WHERE m.n = x.n OR x.n = 5) FROM numbers x",
    ):  # fmt: skip
        client.query(statement)
    prepare(client, "SELEC ?")
    execute(client, 12345)
    client.command(bytes([Command.STMT_RESET]) + struct.pack("<I", 12345))
    client.command(bytes([Command.STMT_FETCH]) + struct.pack("<II", 12345, 1))


def several_results(client: RecordingClient) -> None:
    client.query("SELECT 1; SELECT 2, 3; DO 1; SELECT n FROM numbers; SET @a = 1; SELECT @a")
    client.query("SELECT 1; SELECT * FROM no_such_table; SELECT 2")
    client.query("SELECT 1;")
    client.query("DO 1; DO 2; DO 3")
    client.query("SET @b = 5")
    client.query("CALL several(7, @b, @c)")
    client.query("CALL silent()")
    client.query("CALL failing()")
    client.query("CALL several(8, @b, @c); CALL silent(); SELECT @b, @c")
    statement = prepare(client, "CALL several(?, ?, ?)")
    execute(client, statement, 7, 1, None)
    execute(client, statement, 7, 1, b"")
    execute(client, prepare(client, "CALL failing()"))


def prepared(client: RecordingClient) -> None:
    inserting = "INSERT INTO loaded VALUES (?, ?)"
    for sql in ("DO 1", "SET @a = ?", "SELECT 1", "SELECT ?, ?, ?", inserting):
        prepare(client, sql)
    statement = prepare(client, "SELECT ?, ?, ?")
    execute(client, statement, 1, b"two", None)
    execute(client, statement, b"\xff\x00", None, b"x" * 70_000)
    execute(client, statement, 1, 2)
    client.query("DELETE FROM loaded")
    insert = prepare(client, inserting)
    for i in range(20):
        execute(client, insert, i, b"v%d" % i)
    client.query("SELECT * FROM loaded ORDER BY a + 0")
    client.query("DELETE FROM loaded")
    statements = [prepare(client, f"SELECT {i}, ?") for i in range(50)]
    for statement in statements:
        execute(client, statement, 1)
        client.command(bytes([Command.STMT_CLOSE]) + struct.pack("<I", statement))


def long_data(client: RecordingClient) -> None:
    statement = prepare(client, "SELECT LENGTH(?), SHA2(?, 256)")
    for index in (0, 1):
        for piece in (b"a" * 10, b"b" * 100_000, b""):
            head = bytes([Command.STMT_SEND_LONG_DATA]) + struct.pack("<IH", statement, index)
            client.command(head + piece)
    execute(client, statement, b"", b"", long_data=frozenset({0, 1}))
    client.command(bytes([Command.STMT_RESET]) + struct.pack("<I", statement))
    execute(client, statement, b"1", b"2")
    # For a statement that is not there the answer, if any, comes with the next command.
    head = bytes([Command.STMT_SEND_LONG_DATA]) + struct.pack("<IH", 999, 0)
    client.command(head + b"lost")
    client.command(bytes([Command.PING]))


def cursors(client: RecordingClient) -> None:
    statement = prepare(client, "SELECT n, REPEAT('x', n * 100) FROM numbers ORDER BY n")
    execute(client, statement, flags=1)
    for count in (1, 3, 0, 100, 5):
        client.command(bytes([Command.STMT_FETCH]) + struct.pack("<II", statement, count))
    execute(client, statement, flags=1)
    client.command(bytes([Command.STMT_FETCH]) + struct.pack("<II", statement, 2))
    client.command(bytes([Command.STMT_RESET]) + struct.pack("<I", statement))
    client.command(bytes([Command.STMT_FETCH]) + struct.pack("<II", statement, 2))
    execute(client, statement, flags=1)
    client.query("SELECT 'between'")
    client.command(bytes([Command.STMT_FETCH]) + struct.pack("<II", statement, 4))
    client.command(bytes([Command.STMT_CLOSE]) + struct.pack("<I", statement))
    none = prepare(client, "SELECT n FROM numbers WHERE n > 100")
    execute(client, none, flags=1)
    client.command(bytes([Command.STMT_FETCH]) + struct.pack("<II", none, 1))
    execute(client, prepare(client, "DO 1"), flags=1)
    execute(client, prepare(client, "CALL several(1, @b, @c)"), flags=1)


def upload(client: RecordingClient) -> None:
    load = "LOAD DATA LOCAL INFILE 'any' INTO TABLE loaded FIELDS TERMINATED BY ','"
    client.query("DELETE FROM loaded")
    client.query(load, b"a,1\nb,2\n")
    client.query(load, b"")
    client.query(load, b"".join(b"k%d,%d\n" % (i, i) for i in range(60_000)))
    client.query("SELECT COUNT(*), SUM(b) FROM loaded")
    client.query(f"{load}; SELECT COUNT(*) FROM loaded; {load}", b"c,3\n", b"d,4\n")
    client.query(load.replace("loaded", "no_such_table"), b"x,y\n")
    client.query("DELETE FROM loaded")


def small_commands(client: RecordingClient) -> None:
    client.command(bytes([Command.PING]))
    client.command(bytes([Command.INIT_DB]) + b"information_schema")
    client.command(bytes([Command.INIT_DB]) + b"no_such_database")
    client.command(bytes([Command.INIT_DB]) + b"test")
    client.command(bytes([Command.FIELD_LIST]) + b"no_such_table\0")
    client.command(bytes([Command.SET_OPTION]) + b"\x01\x00")
    client.query("SELECT 1; SELECT 2")
    client.command(bytes([Command.SET_OPTION]) + b"\x00\x00")
    client.query("SELECT 1; SELECT 2")
    client.command(bytes([Command.SET_OPTION]) + b"\x07\x00")
    client.command(bytes([Command.RESET_CONNECTION]))
    client.query("SELECT @a, DATABASE()")
    client.command(bytes([Command.STATISTICS]))
    client.received.pop()  # its text counts seconds and queries


def fields(client: RecordingClient) -> None:
    client.command(bytes([Command.FIELD_LIST]) + b"kinds\0")
    client.command(bytes([Command.FIELD_LIST]) + b"kinds\0%i%")
    client.command(bytes([Command.FIELD_LIST]) + b"kinds\0none")
    client.query("SELECT 1")


def session_state(client: RecordingClient) -> None:
    for statement in (
        "SET autocommit = 0", "SET NAMES latin1", "SET SESSION sql_mode = 'ANSI_QUOTES'",
        "SET SESSION session_track_state_change = ON",
        "SET SESSION session_track_system_variables = "
        "'autocommit,character_set_client,sql_mode,sort_buffer_size,time_zone'",
        "SET SESSION sort_buffer_size = 300000, time_zone = '+01:00'",
        "USE information_schema", "USE test",
        "SET SESSION session_track_transaction_info = 'CHARACTERISTICS'",
        "START TRANSACTION READ ONLY", "SELECT 1", "COMMIT", "START TRANSACTION",
        "ROLLBACK", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT 2", "COMMIT",
        "CREATE TEMPORARY TABLE tracked (a INT)", "INSERT INTO tracked VALUES (1)",
        "SELECT * FROM tracked", "DROP TEMPORARY TABLE tracked",
        "SET @user_variable = REPEAT('x', 300)", "SET SESSION sql_mode = ''",
    ):  # fmt: skip
        client.query(statement)
    execute(client, prepare(client, "SET @v = ?"), 1)
    client.command(bytes([Command.RESET_CONNECTION]))


def no_metadata(client: RecordingClient) -> None:
    """Definitions left out: MySQL, where CLIENT_OPTIONAL_RESULTSET_METADATA was agreed."""
    if Capability.OPTIONAL_RESULTSET_METADATA not in client.capabilities:
        return
    client.query("SET SESSION resultset_metadata = NONE")
    client.query("SELECT 1")
    client.query("SELECT 1, 2, 3 UNION SELECT 4, 5, 6")
    client.query("SELECT n FROM numbers WHERE n > 100")
    client.query("SELECT 1, 2; SELECT 3; DO 1; CALL several(1, @b, @c)")
    client.query("SELECT (SELECT n FROM numbers WHERE n >= x.n) FROM numbers x ORDER BY x.n DESC")
    statement = prepare(client, "SELECT ?, n FROM numbers")
    execute(client, statement, 1)
    execute(client, prepare(client, "DO ?"), 1)
    client.query("SET SESSION resultset_metadata = FULL")
    client.query("SELECT 1, 2, 3")
    execute(client, statement, 1)


def attributes(client: RecordingClient) -> None:
    """Query attributes, where CLIENT_QUERY_ATTRIBUTES was agreed."""
    if Capability.QUERY_ATTRIBUTES not in client.capabilities:
        return
    pair = struct.pack("<H", FieldType.STRING) + lenenc_string(b"trace")
    head = b"\x03\x01\x01\x00\x01" + pair + lenenc_string(b"abc")
    client.command(head + b"SELECT mysql_query_attribute_string('trace')")
    client.command(head + b"SELECT 1; SELECT 2")
    client.command(head + b"SELEC 1")
    # A value that reads like a KILL is no KILL.
    for value in (b"kill 1", b" KILL QUERY 5"):
        tricky = b"\x03\x01\x01\x00\x01" + pair + lenenc_string(value)
        client.command(tricky + b"SELECT 'kill 1'")
    null = b"\x03\x01\x01\x01\x01" + pair
    client.command(null + b"SELECT 2")
    statement = prepare(client, "SELECT ?, mysql_query_attribute_string('trace')")
    payload = bytes([Command.STMT_EXECUTE]) + struct.pack("<IBI", statement, 8, 1)
    payload += b"\x02\x00\x01" + struct.pack("<H", FieldType.LONGLONG) + b"\x00"
    client.command(payload + pair + struct.pack("<q", 5) + lenenc_string(b"value"))


SCRIPTS: tuple[Script, ...] = (
    text_kinds, binary_kinds, length_boundaries, many_columns, many_rows, changes, errors,
    several_results, prepared, long_data, cursors, upload, small_commands, fields, session_state,
    no_metadata, attributes,
)  # fmt: skip
