# SPDX-License-Identifier: Apache-2.0
"""COM_BINLOG_DUMP through the proxy: to the end of the log, and waiting for events."""

from __future__ import annotations

import struct
from time import monotonic

import pytest

from hproxy.protocols.mysql.constants import Command
from tests.integration.conftest import direct
from tests.integration.route import Route
from tests.support.recording_client import DEADLINE_S, RecordingClient

NON_BLOCKING = 1
EOF = 0xFE


def position(route: Route) -> tuple[str, int]:
    """Where the server's log ends now."""
    what = "SHOW MASTER STATUS" if route.is_mariadb else "SHOW BINARY LOG STATUS"
    row = direct(route.server, what)[0]
    return str(row[0]), int(row[1])


def dump(client: RecordingClient, start: tuple[str, int], flags: int, replica: int) -> None:
    """Ask for events from `start` on, as a replica of that number."""
    for name in ("master", "source"):
        client.query(f"SET @{name}_binlog_checksum = 'NONE'")
    file, offset = start
    client.send(
        bytes([Command.BINLOG_DUMP]) + struct.pack("<IHI", offset, flags, replica) + file.encode()
    )


def test_to_the_end_of_the_log(route: Route, database: str) -> None:
    start = position(route)
    direct(route.server, f"CREATE TABLE {database}.streamed (a INT)")
    with route.raw() as client:
        dump(client, start, NON_BLOCKING, 7001)
        events: list[bytes] = []
        while not events or events[-1][0] != EOF:
            events.append(client.packet())
        assert {event[0] for event in events[:-1]} == {0}
        assert f"CREATE TABLE {database}.streamed".encode() in b"".join(events)


def test_waiting_for_events_until_the_client_leaves(route: Route, database: str) -> None:
    start = position(route)
    since = len(route.proxy.log)
    with route.raw() as client:
        dump(client, start, 0, 7002)
        for number in range(3):
            direct(route.server, f"CREATE TABLE {database}.event{number} (a INT)")
            wanted = f"CREATE TABLE {database}.event{number}".encode()
            end = monotonic() + DEADLINE_S
            while wanted not in client.packet():
                assert monotonic() < end, "the event does not come"
        ours = client.greeting.thread_id
    assert route.proxy.wait_for_log("session ended", since=since, conn=ours)


def test_a_position_that_is_not_there(route: Route) -> None:
    told = []
    for make in (route.raw, route.raw_direct):
        with make() as client:
            dump(client, ("no-such-log.000001", 4), NON_BLOCKING, 7003)
            answer = client.packet()
            while answer[0] == 0:
                answer = client.packet()
            told.append(answer)
    assert told[0] == told[1]
    assert told[0][0] == 0xFF


@pytest.mark.parametrize("command", [Command.REGISTER_SLAVE])
def test_a_replica_introduces_itself(route: Route, command: int) -> None:
    payload = bytes([command]) + struct.pack("<I", 7004) + b"\0\0\0" + struct.pack("<HII", 0, 0, 0)
    with route.raw() as through, route.raw_direct() as other:
        assert through.command(payload) == other.command(payload)
        assert through.query("SELECT 1")[-2] == b"\x011"
