# SPDX-License-Identifier: Apache-2.0
"""What we answer as a server: exact bytes, what servers sent, and what real clients make of it."""

from __future__ import annotations

from collections.abc import Iterable

import mysql.connector
import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hproxy.protocols.mysql.constants import (
    Capability,
    Charset,
    ColumnFlag,
    ErrorNumber,
    FieldType,
    ServerStatus,
)
from hproxy.protocols.mysql.replies import EofPacket, OkPacket
from hproxy.protocols.mysql.results import (
    Column,
    Value,
    binary_resultset,
    column,
    eof,
    err,
    ok,
    prepare_ok,
    text_resultset,
)
from tests.captures.reading import load
from tests.support.codec_server import OFFERED, CodecServer, Result

PLAIN = Capability.PROTOCOL_41
NO_EOF = PLAIN | Capability.DEPRECATE_EOF

COLUMNS = [column("i", int), column("f", float), column("s"), column("b", bytes)]
ROWS: list[tuple[Value, ...]] = [
    (1, 1.5, "text", b"\0\xff"),
    (-(2**63), -0.0, "", b""),
    (2**63 - 1, 1e308, "größer ✓", bytes(range(256))),
    (None, None, None, None),
    (0, 1 / 3, "x" * 70000, b"y" * 300),
]


def test_ok_err_eof() -> None:
    assert ok().hex() == "00000002000000"
    assert ok(3, 7, info="hi", warnings=2, status=ServerStatus.IN_TRANS).hex() == (
        "00030701000200026869"
    )
    assert err(ErrorNumber.CON_COUNT, "Too many connections") == (
        b"\xff\x10\x04#08004Too many connections"
    )
    assert err(9999, "ours").startswith(b"\xff\x0f\x27#HY000")
    assert err(1, "x", b"42000") == b"\xff\x01\x00#42000x"
    assert eof(ServerStatus.MORE_RESULTS_EXISTS, 1).hex() == "fe01000800"


def test_a_captured_definition_is_written_alike() -> None:
    """MySQL 9.7's answer to SELECT 1 AS one, NULL AS nothing, 'text' AS text."""
    payloads = [f.payload for f in load("mysql/mysql-9.7/login_fast").frames if not f.client]
    binary = Charset.BINARY
    flags = ColumnFlag.NOT_NULL | ColumnFlag.BINARY
    one = Column("one", FieldType.LONGLONG, binary, 2, flags)
    assert one.build() in payloads
    nothing = Column("nothing", FieldType.NULL, binary, 0, ColumnFlag.BINARY)
    assert nothing.build() in payloads
    text = Column("text", FieldType.VAR_STRING, 255, 16, ColumnFlag.NOT_NULL, 31)
    assert text.build() in payloads


def test_a_captured_result_is_written_alike() -> None:
    frames = load("mysql/mysql-9.7/login_fast").frames
    start = next(i for i, f in enumerate(frames) if f.client and b"one" in f.payload)
    sent = [frame.payload for frame in frames[start + 1 :]]
    binary = Charset.BINARY
    columns = [
        Column("one", FieldType.LONGLONG, binary, 2, ColumnFlag.NOT_NULL | ColumnFlag.BINARY),
        Column("nothing", FieldType.NULL, binary, 0, ColumnFlag.BINARY),
        Column("text", FieldType.VAR_STRING, 255, 16, ColumnFlag.NOT_NULL, 31),
    ]
    written = text_resultset(columns, [(1, None, "text")], PLAIN, ServerStatus(0))
    assert written == sent[: len(written)]


def test_a_captured_binary_row_is_written_alike() -> None:
    frames = load("mysql/mysql-9.7/prepared").frames
    rows = [f.payload for f in frames if not f.client and f.payload.endswith(b"\x02\0\xff")]
    assert len(rows) == 1
    columns = [column("a", int), column("b", float), column("c"), column("d", bytes)]
    written = binary_resultset(columns, [(1, -1.5, "text", b"\0\xff")], PLAIN)
    assert rows[0] in written


def test_a_captured_prepare_answer_has_our_shape() -> None:
    frames = load("mysql/mysql-9.7/prepared").frames
    start = next(i for i, f in enumerate(frames) if f.remark == "COM_STMT_PREPARE")
    sent = []
    for frame in frames[start + 1 :]:
        if frame.client:
            break
        sent.append(frame.payload)
    written = prepare_ok(1, 4, [Column("?")] * 4, PLAIN)
    assert written[0] == sent[0]
    assert [p[:1] == b"\xfe" for p in written] == [p[:1] == b"\xfe" for p in sent]


@pytest.mark.parametrize("write", [text_resultset, binary_resultset])
def test_ends_differ_by_capability(write: object) -> None:
    assert callable(write)
    status = ServerStatus.AUTOCOMMIT | ServerStatus.MORE_RESULTS_EXISTS
    old = write(COLUMNS, ROWS, PLAIN, status, 3)
    assert len(old) == 1 + len(COLUMNS) + 1 + len(ROWS) + 1
    assert old[1 + len(COLUMNS)] == eof(status)
    assert EofPacket.parse(old[-1]) == EofPacket(status, 3)
    new = write(COLUMNS, ROWS, NO_EOF, status, 3)
    assert len(new) == len(old) - 1
    assert OkPacket.parse(new[-1], NO_EOF) == OkPacket(status=status, warnings=3, header=0xFE)


def test_prepare_ok_shapes() -> None:
    both = prepare_ok(9, 2, COLUMNS, PLAIN)
    assert both[0].hex() == "00" + "09000000" + "0400" + "0200" + "00" + "0000"
    assert [len(prepare_ok(9, n, c, PLAIN)) for n, c in ((0, []), (2, []), (0, COLUMNS))] == [
        1, 4, 6,
    ]  # fmt: skip
    assert len(prepare_ok(9, 2, COLUMNS, NO_EOF)) == len(both) - 2


def test_what_cannot_be_written() -> None:
    for row in ((1, 2.0, "x"), (1, 2.0, "x", b"", None)):
        for write in (text_resultset, binary_resultset):
            with pytest.raises(ValueError, match="under 4 columns"):
                write(COLUMNS, [row], PLAIN)
    with pytest.raises(ValueError, match="column 'i'"):
        binary_resultset([column("i", int)], [(2**63,)], PLAIN)
    with pytest.raises(ValueError, match="column 'i'"):
        binary_resultset([column("i", int)], [("many",)], PLAIN)
    with pytest.raises(ValueError, match="no binary form for DATETIME"):
        binary_resultset([Column("d", FieldType.DATETIME)], [("2024-02-29",)], PLAIN)


def test_unsigned_and_small_integers() -> None:
    unsigned = Column("u", FieldType.LONGLONG, flags=ColumnFlag.UNSIGNED)
    small = Column("t", FieldType.TINY)
    rows = binary_resultset([unsigned, small], [(2**64 - 1, True)], PLAIN)
    assert rows[-2].hex() == "0000" + "ff" * 8 + "01"
    assert text_resultset([small], [(True,)], PLAIN)[-2] == b"\x011"


def test_names_are_utf_8() -> None:
    built = Column("größe", table="t", schema="s").build()
    name = b"\x07" + "größe".encode()
    assert built.startswith(b"\x03def\x01s\x01t\x01t" + name + name)


# -- real clients -------------------------------------------------------------

RESULTS = {
    b"SELECT everything": Result(COLUMNS, ROWS),
    b"SELECT nothing": Result(COLUMNS, []),
    b"SELECT wide": Result([column(f"c{i}") for i in range(300)], [("v",) * 300]),
    b"SELECT big": Result([column("s")], [("x" * (1 << 24),), ("y",)]),
    b"SHOW VARIABLES": Result([column("Variable_name"), column("Value")], []),
}


def pymysql_connection(server: CodecServer) -> pymysql.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(
        host="127.0.0.1", port=server.port, user="u", password="secret", database="db",
        ssl_disabled=True,
    )  # fmt: skip


def test_pymysql_reads_our_results() -> None:
    with CodecServer(RESULTS) as server, pymysql_connection(server) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT everything")
        assert list(cursor.fetchall()) == ROWS
        assert [d[0] for d in cursor.description] == ["i", "f", "s", "b"]
        cursor.execute("SELECT nothing")
        assert cursor.fetchall() == ()
        cursor.execute("SELECT wide")
        assert cursor.fetchall() == (("v",) * 300,)
        cursor.execute("SELECT big")
        assert cursor.fetchall() == (("x" * (1 << 24),), ("y",))
        assert cursor.execute("SET x = 1") == 3
        assert cursor.lastrowid == 7
        with pytest.raises(pymysql.err.ProgrammingError, match="what") as caught:
            cursor.execute("nonsense")
        assert caught.value.args[0] == ErrorNumber.PARSE
        connection.ping(reconnect=False)
    assert server.response is not None
    assert (server.response.user, server.response.database) == (b"u", b"db")


def as_bytes(row: Iterable[object]) -> list[object]:
    return [value.encode() if isinstance(value, str) else value for value in row]


@pytest.mark.parametrize("attributes", [Capability(0), Capability.QUERY_ATTRIBUTES])
def test_mysql_connector_reads_our_binary_results(attributes: Capability) -> None:
    with CodecServer(RESULTS, offered=OFFERED | attributes) as server:
        connection = mysql.connector.connect(
            host="127.0.0.1", port=server.port, user="u", password="secret", use_pure=True,
            ssl_disabled=True,
        )  # fmt: skip
        assert attributes in server.agreed
        cursor = connection.cursor(prepared=True)
        for row in ROWS:
            cursor.execute("SELECT ?, ?, ?, ?", row)
            assert [as_bytes(found) for found in cursor.fetchall()] == [as_bytes(row)]
        cursor.close()
        plain = connection.cursor()
        plain.execute("SELECT everything")
        assert [as_bytes(found) for found in plain.fetchall()] == [as_bytes(row) for row in ROWS]
        connection.close()
    assert [as_bytes(row) for row in server.executions] == [as_bytes(row) for row in ROWS]


@pytest.mark.parametrize(
    ("secret", "greeted", "account"),
    [
        ("secret", b"mysql_native_password", None),
        ("secret", b"caching_sha2_password", None),
        ("secret", b"caching_sha2_password", b"mysql_native_password"),
        ("secret", b"mysql_native_password", b"caching_sha2_password"),
        ("secret", b"mysql_native_password", b"client_ed25519"),
        ("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7", b"mysql_native_password", None),
        ("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7", b"caching_sha2_password", None),
    ],
)
@pytest.mark.parametrize("password", ["secret", "wrong", ""])
def test_pymysql_logs_in_to_us(
    secret: str, greeted: bytes, account: bytes | None, password: str
) -> None:
    with CodecServer({}, secret=secret, plugin=greeted, account_plugin=account) as server:
        connection = pymysql.Connection(
            host="127.0.0.1", port=server.port, user="u", password=password,
            ssl_disabled=True, defer_connect=True,
        )  # fmt: skip
        if password == "secret":
            connection.connect()
            connection.close()
        else:
            with pytest.raises(pymysql.err.OperationalError, match="1045"):
                connection.connect()


texts = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=20)
)


@given(st.lists(texts, min_size=1, max_size=12))
def test_every_row_has_room_for_its_nulls(row: list[Value]) -> None:
    columns = [
        column(f"c{i}", bytes if value is None else type(value)) for i, value in enumerate(row)
    ]
    written = binary_resultset(columns, [row], NO_EOF)[-2]
    bitmap = int.from_bytes(written[1 : 1 + (len(row) + 9) // 8], "little")
    assert [bool(bitmap >> i + 2 & 1) for i in range(len(row))] == [v is None for v in row]
    assert written[0] == 0
