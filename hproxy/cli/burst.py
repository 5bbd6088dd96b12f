# SPDX-License-Identifier: Apache-2.0
"""The demo's traffic: clients at work side by side, and what each query took.

CLIENTS at a time; each opens one session after another, as a web application would, and asks
which database it has got before anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from hproxy.cli.client import Client
from hproxy.cli.demo_data import PASSWORD, SCHEMA
from hproxy.config.address import Address
from hproxy.dial.converse import Refusal
from hproxy.errors import HProxyError

__all__ = ["Burst", "Share", "run_burst"]

CLIENTS = 8
SESSIONS = 5  # of each client
QUERIES = 50  # of each session
BUDGET_SEC = 30.0  # it takes one or two; the rest is for a machine that is busy
# Half of the sessions leave the choice to the proxy, the others name a side.
USERS = ("demo", "writer", "demo", "reader")

READS = (
    "SELECT name, country, population FROM city WHERE id = {id}",
    "SELECT name, country, population FROM city WHERE id = {id}",
    "SELECT id, name FROM city WHERE population > {id} * 500000 ORDER BY population DESC LIMIT 3",
    "SELECT country, count(*), sum(population) FROM city GROUP BY country",
    "SELECT count(*) FROM visit WHERE city_id = {id}",
)
WRITES = (
    "BEGIN",
    "INSERT INTO visit (city_id, guest) VALUES ({id}, 'guest {n}')",
    "UPDATE city SET population = population + 1 WHERE id = {id}",
    "COMMIT",
)


@dataclass(slots=True)
class Share:
    """What one database did of it."""

    sessions: dict[str, int] = field(default_factory=dict)
    """By user."""
    latencies: list[float] = field(default_factory=list)
    bytes_sent: int = 0
    bytes_received: int = 0

    def percentile_ms(self, part: float) -> float:
        """The latency that `part` of the queries did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0


@dataclass(slots=True)
class Burst:
    """The whole burst."""

    shares: dict[str, Share] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> Share:
        """All databases together."""
        total = Share()
        for share in self.shares.values():
            for user, count in share.sessions.items():
                total.sessions[user] = total.sessions.get(user, 0) + count
            total.latencies += share.latencies
            total.bytes_sent += share.bytes_sent
            total.bytes_received += share.bytes_received
        return total


async def run_burst(reactor: Any, address: Address) -> Burst:
    """Run it against the proxy at `address`; failures are in `errors`."""
    burst = Burst()
    begun = perf_counter()
    try:
        async with asyncio.timeout(BUDGET_SEC):
            await asyncio.gather(*(_client(burst, reactor, address, i) for i in range(CLIENTS)))
    except TimeoutError:
        burst.errors.append(f"not finished within {BUDGET_SEC:g} s")
    burst.seconds = perf_counter() - begun
    return burst


async def _client(burst: Burst, reactor: Any, address: Address, number: int) -> None:
    for i in range(SESSIONS):
        user = USERS[(number + i) % len(USERS)]
        try:
            client = await Client.open(reactor, address, user, PASSWORD, SCHEMA)
        except (HProxyError, Refusal) as error:
            burst.errors.append(f"login as {user}: {error}")
            continue
        try:
            await _session(burst, client, user, number * SESSIONS + i)
        except HProxyError as error:
            burst.errors.append(f"session of {user}: {error}")
        finally:
            client.close()


async def _session(burst: Burst, client: Client, user: str, number: int) -> None:
    begun = perf_counter()
    ((name,),) = await client.query("SELECT @@hostname")
    assert name is not None
    share = burst.shares.setdefault(name.decode(), Share())
    share.sessions[user] = share.sessions.get(user, 0) + 1
    share.latencies.append(perf_counter() - begun)
    for sql in _statements(user, number):
        begun = perf_counter()
        await client.query(sql)
        share.latencies.append(perf_counter() - begun)
    share.bytes_sent += client.bytes_out
    share.bytes_received += client.bytes_in


def _statements(user: str, number: int) -> Iterator[str]:
    """The rest of QUERIES; every other round of four is a transaction, where writes may go."""
    templates: list[str] = []
    for turn in range(QUERIES // 4 + 1):
        if user == "writer" and turn % 2:
            templates += WRITES
        else:
            templates += (READS[(turn + k) % len(READS)] for k in range(4))
    for n, template in enumerate(templates[: QUERIES - 1]):
        yield template.format(id=(number + n // 4) % 10 + 1, n=number * QUERIES + n)
