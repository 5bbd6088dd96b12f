# SPDX-License-Identifier: Apache-2.0
"""Many clients that log in, ask one question and then do nothing.

Run as a process of its own, since each client is a file descriptor. One line of JSON in; one line
out when all are connected; an empty line in; one line out saying how many still answer.
"""

import contextlib
import json
import sys
import time

from bench.load.mysql.client import Address, Connection

MAX_FAILURES = 20
CONNECT_S = 120.0


def connect(address: Address, count: int) -> tuple[list[Connection], list[str]]:
    """Open `count` clients, one after the other; give up after some failures or too long."""
    clients: list[Connection] = []
    failures: list[str] = []
    deadline = time.monotonic() + CONNECT_S
    while len(clients) < count and len(failures) < MAX_FAILURES:
        if time.monotonic() > deadline:
            failures.append(f"not done within {CONNECT_S:.0f} s")
            break
        try:
            client = Connection(address)
            # One query each: a proxy that keeps a buffer once it was used must show it.
            client.query("SELECT 1")
        except Exception as error:  # whatever it was, it is counted and told
            failures.append(f"{type(error).__name__}: {error}")
        else:
            clients.append(client)
    return clients, failures


def count_alive(clients: list[Connection]) -> int:
    """Ask every client's server for a sign of life."""
    alive = 0
    for client in clients:
        with contextlib.suppress(Exception):
            client.ping()
            alive += 1
    return alive


def main() -> None:
    """Connect, hold, count, leave."""
    order = json.loads(sys.stdin.readline())
    started = time.perf_counter()
    clients, failures = connect(Address(**order["address"]), order["count"])
    elapsed = time.perf_counter() - started
    print(json.dumps({"open": len(clients), "failures": failures, "seconds": elapsed}), flush=True)
    sys.stdin.readline()
    print(json.dumps({"alive": count_alive(clients)}), flush=True)
    for client in clients:
        client.close()


if __name__ == "__main__":
    main()
