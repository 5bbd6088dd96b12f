# SPDX-License-Identifier: Apache-2.0
"""What MariaDB's own capabilities add: bulk execution, cached metadata, progress reports."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from hproxy.protocols.mysql.constants import Capability, Command, FieldType, MariadbCapability
from hproxy.protocols.mysql.wire import lenenc_string
from tests.integration.conftest import ProxyFactory
from tests.integration.scripts import execute, prepare
from tests.support.recording_client import COMMON, Login, RecordingClient
from tests.support.server import Server

SEND_TYPES = 128
PROGRESS = b"\xff\xff\xff"
EVERYTHING = (
    MariadbCapability.PROGRESS
    | MariadbCapability.STMT_BULK_OPERATIONS
    | MariadbCapability.EXTENDED_METADATA
    | MariadbCapability.CACHE_METADATA
)

with_eof = pytest.mark.parametrize(
    "eof", [Capability(0), Capability.DEPRECATE_EOF], ids=["eof", "no-eof"]
)


def clients(
    proxy: ProxyFactory, mariadb: Server, auth: str, eof: Capability
) -> tuple[RecordingClient, RecordingClient]:
    """Through the proxy, and direct."""
    login = Login(capabilities=COMMON | eof, mariadb=EVERYTHING)
    running = proxy(mariadb, auth=auth)
    return (
        RecordingClient(running.host, running.port, login),
        RecordingClient(mariadb.host, mariadb.port, replace(login)),
    )


@with_eof
def test_bulk_execution(proxy: ProxyFactory, mariadb: Server, auth: str, eof: Capability) -> None:
    told = []
    for client in clients(proxy, mariadb, auth, eof):
        with client:
            client.query("CREATE TEMPORARY TABLE b (a BIGINT UNIQUE, v VARCHAR(50) DEFAULT 'd')")
            statement = prepare(client, "INSERT INTO b VALUES (?, ?)")
            head = bytes([Command.STMT_BULK_EXECUTE]) + struct.pack("<IH", statement, SEND_TYPES)
            head += struct.pack("<HH", FieldType.LONGLONG, FieldType.VAR_STRING)
            rows = b"".join(
                b"\0" + struct.pack("<q", n) + (b"\x01" if n % 3 else b"\0" + lenenc_string(b"v"))
                for n in range(1000)
            )
            client.take()
            for _ in range(2):  # the second time every row is a duplicate
                client.command(head + rows)
            client.query("SELECT COUNT(*), COUNT(v) FROM b")
            told.append(client.take())
    assert told[0] == told[1]
    assert told[0][0].payload[0] == 0
    assert told[0][1].payload[0] == 0xFF


@with_eof
def test_cached_metadata(proxy: ProxyFactory, mariadb: Server, auth: str, eof: Capability) -> None:
    told = []
    for client in clients(proxy, mariadb, auth, eof):
        with client:
            assert MariadbCapability.CACHE_METADATA in client.mariadb
            statement = prepare(client, "SELECT ?, 'x', NULL UNION SELECT 2, 'y', 3")
            client.take()
            answers = [execute(client, statement, 1) for _ in range(4)]
            client.query("SELECT 1, 2")
            assert answers[-1][0] == b"\x03\0"  # the definitions are left out
            told.append(client.take())
    assert told[0] == told[1]


@with_eof
def test_progress_reports(proxy: ProxyFactory, mariadb: Server, auth: str, eof: Capability) -> None:
    through, other = clients(proxy, mariadb, auth, eof)
    with other, through as client:
        client.query("SET progress_report_time = 1")
        client.query("CREATE TEMPORARY TABLE p (a INT, b CHAR(200), KEY (b)) ENGINE = InnoDB")
        client.query("INSERT INTO p SELECT seq, SHA1(seq) FROM test.seq_1_to_200000")
        *reports, last = client.query("ALTER TABLE p FORCE, ALGORITHM = COPY")
        assert last[0] == 0
        assert reports, "it was too fast to report"
        assert all(packet.startswith(PROGRESS) for packet in reports)
        assert client.query("SELECT 1")[-2] == b"\x011"
