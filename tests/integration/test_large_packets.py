# SPDX-License-Identifier: Apache-2.0
"""Packets around the limits of a frame, both ways, with and without the old EOF packets."""

from __future__ import annotations

import hashlib
import struct

import pytest

from hproxy.protocols.mysql.constants import Capability, Command
from hproxy.protocols.mysql.wire import lenenc
from tests.integration.route import Route
from tests.integration.scripts import execute, prepare
from tests.support.recording_client import COMMON, Login

FULL = 0xFFFFFF
SIZES = (FULL - 1, FULL, FULL + 1, 2 * FULL - 1, 2 * FULL, 2 * FULL + 1)

every_size = pytest.mark.parametrize("size", SIZES)
with_eof = pytest.mark.parametrize(
    "eof", [Capability(0), Capability.DEPRECATE_EOF], ids=["eof", "no-eof"]
)


def lengths(size: int) -> list[int]:
    """Of the frames that carry a packet of `size` bytes."""
    return [FULL] * (size // FULL) + [size % FULL]


@every_size
def test_command_of_that_size(route: Route, size: int) -> None:
    with route.raw() as client:
        head, tail = b"\x03SELECT LENGTH('", b"')"
        text = b"q" * (size - len(head) - len(tail))
        answer = client.command(head + text + tail)
        assert answer[-2] == bytes([len(str(len(text)))]) + str(len(text)).encode()
        assert client.query("SELECT 1")[0] == b"\x01"


@every_size
@with_eof
def test_row_of_that_size(route: Route, size: int, eof: Capability) -> None:
    with route.raw(Login(capabilities=COMMON | eof)) as client:
        value = size - (4 if size - 4 <= FULL else 9)
        client.take()
        answer = client.query(f"SELECT REPEAT('r', {value}) UNION ALL SELECT 'small'")
        assert len(answer[-3]) == size
        equal = answer[-3] == lenenc(value) + b"r" * value  # too long to be shown
        assert equal
        assert answer[-2] == b"\x05small"
        row = [frame for frame in client.take() if len(frame.payload) > 1000]
        assert [len(frame.payload) for frame in row] == [n for n in lengths(size) if n > 1000]
        assert client.query("SELECT 1")[0] == b"\x01"


@with_eof
def test_large_values_in_prepared_statements(route: Route, eof: Capability) -> None:
    with route.raw(Login(capabilities=COMMON | eof)) as client:
        statement = prepare(client, "SELECT SHA2(?, 256), ?")
        data = bytes(range(256)) * 70_000
        pieces = [data[at : at + 5_000_000] for at in range(0, len(data), 5_000_000)]
        for piece in pieces:
            head = bytes([Command.STMT_SEND_LONG_DATA]) + struct.pack("<IH", statement, 0)
            client.command(head + piece)
        answer = execute(client, statement, b"", data, long_data=frozenset({0}))
        row = answer[-2]
        assert row[3:67] == hashlib.sha256(data).hexdigest().encode()
        assert row.endswith(data)


def test_large_file(route: Route) -> None:
    with route.raw() as client:
        client.query("CREATE TEMPORARY TABLE up (a LONGBLOB)")
        line = b"z" * 20_000_000
        answer = client.query("LOAD DATA LOCAL INFILE 'any' INTO TABLE up", line + b"\nshort\n")
        assert answer[-1][0] == 0
        sizes = client.query("SELECT LENGTH(a) FROM up ORDER BY 1")
        assert sizes[-3:-1] == [b"\x015", b"\x0820000000"]


def test_many_megabytes_of_rows(route: Route) -> None:
    """The client reads slower than the server writes, and gets every byte."""
    with route.raw() as client:
        digits = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
        tables = ", ".join(f"({digits}) d{i}" for i in range(4))
        client.send(client.query_packet(f"SELECT REPEAT('m', 5000) FROM {tables}"))
        answer = client.answer(Command.QUERY)
        rows = answer[3:-1]
        assert len(rows) == 10_000
        assert {len(row) for row in rows} == {5003}
