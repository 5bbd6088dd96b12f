# SPDX-License-Identifier: Apache-2.0
"""A client that reads large results and throws them away: the reader of the `large` workloads.

Run as a process of its own: one line of JSON in, one line out. It only receives; what a client
library does with rows would hide what the proxy costs. The end of a result is known by its last
bytes: the tables hold nothing but the letter x, so an EOF packet cannot be mistaken.
"""

import json
import sys
import time

from bench.load.errors import BenchError
from bench.load.mysql.client import ERR, Address, Connection

CHUNK_BYTES = 1 << 20
EOF_BYTES = 9  # 05 00 00 seq FE warnings(2) status(2)
HEADER_BYTES = 4
COLUMNS_BYTES = 4096  # more than the columns of these results take, less than any result


def read_results(address: Address, table: str, seconds: float) -> dict[str, object]:
    """Read the whole table again and again until the time is over."""
    connection = Connection(address)
    chunk = memoryview(bytearray(EOF_BYTES + CHUNK_BYTES))
    sql = f"SELECT payload FROM {table}"
    _read_one(connection, sql, chunk)  # warms the server's cache
    received = 0
    durations_ms = []
    started = time.perf_counter()
    while (before := time.perf_counter()) - started < seconds:
        received += _read_one(connection, sql, chunk)
        durations_ms.append((time.perf_counter() - before) * 1000)
    elapsed = time.perf_counter() - started
    connection.close()
    return {"bytes": received, "seconds": elapsed, "durations_ms": durations_ms}


def _read_one(connection: Connection, sql: str, chunk: memoryview) -> int:
    connection.send_query(sql)
    received = 0
    # The first bytes hold column definitions and an EOF packet of their own.
    while received <= COLUMNS_BYTES or not _ends_with_eof(chunk[:EOF_BYTES]):
        size = connection.socket.recv_into(chunk[EOF_BYTES:])
        if size == 0:
            raise ConnectionResetError("the connection was closed within a result")
        if received == 0 and size > HEADER_BYTES and chunk[EOF_BYTES + HEADER_BYTES] == ERR:
            raise BenchError(bytes(chunk[EOF_BYTES : EOF_BYTES + size]).decode(errors="replace"))
        received += size
        # What came last goes in front of what comes next, so that an EOF packet that arrives in
        # two pieces is still seen whole.
        chunk[:EOF_BYTES] = bytes(chunk[size : size + EOF_BYTES])
    return received


def _ends_with_eof(tail: memoryview) -> bool:
    return bytes(tail[:3]) == b"\x05\x00\x00" and tail[4] == 0xFE


def main() -> None:
    """Speak the one line each way."""
    order = json.loads(sys.stdin.readline())
    print(json.dumps(read_results(Address(**order["address"]), order["table"], order["seconds"])))


if __name__ == "__main__":
    main()
