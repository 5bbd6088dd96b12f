# SPDX-License-Identifier: Apache-2.0
"""Local DNS cache: a slow or absent resolver costs no probe its time.

    resolve(name) ── numeric ──> itself
       ├ known and younger than the TTL ──> its addresses in turn
       └ else ask the system, remember; known names are asked again each refresh interval

A name that can no longer be resolved keeps its last addresses until the TTL ends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from hproxy.errors import ConnectError
from hproxy.health.model import Values

__all__ = ["NameCache", "system_lookup"]

Lookup = Callable[[str], Awaitable[list[str]]]


async def system_lookup(name: str) -> list[str]:
    """The addresses of a name, in the resolver's order. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, 0, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(slots=True)
class _Record:
    addresses: list[str]
    expires: float
    turn: int = 0

    def next(self) -> str:
        """Each address in turn."""
        self.turn += 1
        return self.addresses[(self.turn - 1) % len(self.addresses)]


class NameCache:
    """Addresses of the backends' names."""

    def __init__(
        self,
        values: Values,
        lookup: Lookup = system_lookup,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._values = values
        self._lookup = lookup
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._asking: dict[str, asyncio.Future[list[str]]] = {}
        self.on_update: Callable[[str], None] = lambda name: None
        """Called with a name whose addresses have changed."""
        self.queried = 0
        self.lookup_success = 0
        self.record_updated = 0

    async def resolve(self, name: str) -> str:
        """An address of `name`. Raises ConnectError."""
        if _numeric(name):
            return name
        self.queried += 1
        record = self._records.get(name)
        if record is not None and self._clock() < record.expires:
            self.lookup_success += 1
            return record.next()
        return (await self._ask(name))[0]

    async def refresh(self, names: Iterable[str]) -> None:
        """Ask again for those of `names` that are names, one after the other; forget others."""
        wanted = [name for name in dict.fromkeys(names) if not _numeric(name)]
        for gone in self._records.keys() - set(wanted):
            del self._records[gone]
        if self._ttl() <= 0:
            return
        for name in wanted:
            try:
                await self._ask(name)
            except ConnectError:
                continue  # the last addresses stay until they expire

    async def _ask(self, name: str) -> list[str]:
        """Ask the system, once for all who want to know."""
        asking = self._asking.get(name)
        if asking is None:
            asking = self._asking[name] = asyncio.ensure_future(self._lookup(name))
            asking.add_done_callback(lambda done: self._heard(name, done))
        try:
            addresses = await asyncio.shield(asking)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConnectError(f"cannot resolve the name: {reason}", host=name) from error
        if not addresses:
            raise ConnectError("the name has no address", host=name)
        return addresses

    def _heard(self, name: str, done: asyncio.Future[list[str]]) -> None:
        self._asking.pop(name, None)
        if done.cancelled() or done.exception() is not None or not done.result():
            return
        ttl = self._ttl()
        if ttl <= 0:
            self._records.pop(name, None)
            return
        before = self._records.get(name)
        self._records[name] = _Record(done.result(), self._clock() + ttl)
        if before is None:
            self.record_updated += 1
        elif sorted(before.addresses) != sorted(done.result()):
            self.record_updated += 1
            self.on_update(name)

    def _ttl(self) -> float:
        return self._values.number("mysql-monitor_local_dns_cache_ttl") / 1000


def _numeric(name: str) -> bool:
    if name.startswith("/"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
