# SPDX-License-Identifier: Apache-2.0
"""Upgrades under load: what sysbench and idle sessions notice of them.

    python -m bench.load.upgrade [--upgrades 10] [--idle 1000] [--threads 8] [--server mariadb]

sysbench's oltp_read_write (prepared, transactions) goes on all the time. Between upgrades some calm
seconds are measured; those of an upgrade begin when the next service is started and end when the
old one is gone. Errors of sysbench, connections it makes anew, and idle sessions that have
forgotten anything are counted; there should be none.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

from tests.integration.database import Side
from tests.support.crowd import Crowd
from tests.support.server import Server, find_server
from tests.support.succession import Succession
from tests.support.sysbench import Second, Sysbench

CALM_S = 6
HEAD = (
    f"{'':>3}{'serves s':>10}{'gone s':>8}{'moved':>7}{'left':>6}{'moving ms':>11}"
    f"{'calm p99':>10}{'p99':>8}{'worst':>8}{'calm tps':>10}{'tps':>8}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One upgrade; latencies in milliseconds."""

    serves_s: float
    gone_s: float
    moved: int
    left: int
    moving_ms: float
    calm: Sequence[Second]
    during: Sequence[Second]

    @property
    def calm_p99(self) -> float:
        return median(second.p99_ms for second in self.calm)

    @property
    def p99(self) -> float:
        return median(second.p99_ms for second in self.during)

    @property
    def worst_p99(self) -> float:
        return max(second.p99_ms for second in self.during)

    def line(self, number: int) -> str:
        calm_tps = median(second.transactions for second in self.calm)
        tps = median(second.transactions for second in self.during)
        return (
            f"{number:>3}{self.serves_s:10.2f}{self.gone_s:8.2f}{self.moved:7}{self.left:6}"
            f"{self.moving_ms:11.0f}{self.calm_p99:10.1f}{self.p99:8.1f}{self.worst_p99:8.1f}"
            f"{calm_tps:10.0f}{tps:8.0f}"
        )


def seconds_since(load: Sysbench, before: int, least: int) -> list[Second]:
    """What it has said since, and at least so many."""
    while len(found := load.seconds[before:]) < least:
        if not load.runs:
            raise SystemExit(load.text)
        sleep(0.2)
    return found


def upgrade(service: Succession, load: Sysbench) -> Row:
    calm = seconds_since(load, len(load.seconds) + 1, CALM_S)
    before = len(load.seconds)
    upgraded = service.upgrade()
    return Row(
        upgraded.serves_s,
        upgraded.ends_s,
        upgraded.sessions,
        upgraded.left,
        1000 * max(line["seconds"] for line in upgraded.moved),
        calm,
        seconds_since(load, before, 1),
    )


def sections(server: Server) -> dict[str, Any]:
    return {
        "proxy": {
            "backends": [server.address],
            "session_mode": "multiplex",
            "monitor_username": server.user,
            "monitor_password": server.password,
        },
        "mysql_users": [{"username": server.user, "password": server.password}],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrades", type=int, default=10)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--server", default="mariadb", choices=("mariadb", "mysql"))
    given = parser.parse_args()
    server = find_server(given.server)
    schema = f"bench_{secrets.token_hex(6)}"
    began = monotonic()
    with tempfile.TemporaryDirectory() as folder, Side(server) as side:
        side.run(f"CREATE DATABASE {schema}")
        try:
            with (
                Succession(Path(folder), sections(server), given.workers) as service,
                Crowd(service.host, service.port, given.idle) as crowd,
                Sysbench(service.host, service.port, schema, threads=given.threads) as load,
            ):
                print(f"{given.server}, {given.threads} threads, {given.idle} idle sessions")
                print(HEAD)
                rows = []
                for number in range(given.upgrades):
                    rows.append(upgrade(service, load))
                    print(rows[-1].line(number + 1), flush=True)
                forgotten, faults = crowd.forgotten(), load.faults()
                errors = sum(second.errors for second in load.seconds)
        finally:
            side.run(f"DROP DATABASE {schema}")
    print(
        f"{monotonic() - began:.0f} s; p99 {median(row.calm_p99 for row in rows):.1f} ms calm,"
        f" {median(row.p99 for row in rows):.1f} ms in an upgrade,"
        f" {max(row.worst_p99 for row in rows):.1f} ms in its worst second"
    )
    print(
        f"idle sessions that forgot something: {len(forgotten)}; faults: {len(faults)};"
        f" deadlocks and the like per second, summed up: {errors:.0f}"
    )
    for fault in faults:
        print("  " + fault)


if __name__ == "__main__":
    main()
