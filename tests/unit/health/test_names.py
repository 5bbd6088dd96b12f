# SPDX-License-Identifier: Apache-2.0
"""The DNS cache, with a resolver of our own and a clock that is set."""

from __future__ import annotations

import asyncio

import pytest

from hproxy.errors import ConnectError
from hproxy.health.names import NameCache, system_lookup
from tests.support.health import FakeValues


class Resolver:
    def __init__(self) -> None:
        self.names = {"db": ["10.0.0.1", "10.0.0.2"]}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[str]:
        self.asked.append(name)
        await asyncio.sleep(0)
        if name not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[name]


class Rig:
    def __init__(self, ttl_ms: int = 1000) -> None:
        self.now = 0.0
        self.resolver = Resolver()
        values = FakeValues(monitor_local_dns_cache_ttl=ttl_ms)
        self.cache = NameCache(values, self.resolver, lambda: self.now)


def test_addresses_in_turn_and_one_question() -> None:
    async def run() -> None:
        rig = Rig()
        found = [await rig.cache.resolve("db") for _ in range(4)]
        assert set(found) == {"10.0.0.1", "10.0.0.2"}
        assert rig.resolver.asked == ["db"]
        assert (rig.cache.queried, rig.cache.lookup_success, rig.cache.record_updated) == (4, 3, 1)

    asyncio.run(run())


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "/run/mysqld/mysqld.sock"])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    async def run() -> None:
        rig = Rig()
        assert await rig.cache.resolve(name) == name
        await rig.cache.refresh([name])
        assert rig.resolver.asked == []

    asyncio.run(run())


def test_asked_again_after_the_ttl_and_never_kept_without() -> None:
    async def run() -> None:
        rig = Rig()
        await rig.cache.resolve("db")
        rig.now = 1.0
        rig.resolver.names["db"] = ["10.0.0.9"]
        assert await rig.cache.resolve("db") == "10.0.0.9"
        assert rig.cache.record_updated == 2
        without = Rig(ttl_ms=0)
        for _ in range(3):
            await without.cache.resolve("db")
        assert without.resolver.asked == ["db"] * 3

    asyncio.run(run())


def test_refresh_follows_changes_and_survives_a_dead_resolver() -> None:
    async def run() -> None:
        rig = Rig()
        await rig.cache.resolve("db")
        rig.resolver.names["db"] = ["10.0.0.7"]
        await rig.cache.refresh(["db", "gone"])
        assert await rig.cache.resolve("db") == "10.0.0.7"
        del rig.resolver.names["db"]
        await rig.cache.refresh(["db"])
        assert await rig.cache.resolve("db") == "10.0.0.7"
        rig.now = 5.0
        with pytest.raises(ConnectError, match="cannot resolve the name: Name or service"):
            await rig.cache.resolve("db")

    asyncio.run(run())


def test_many_who_ask_at_once_ask_once() -> None:
    async def run() -> None:
        rig = Rig()
        found = await asyncio.gather(*(rig.cache.resolve("db") for _ in range(10)))
        assert set(found) == {"10.0.0.1"}
        assert rig.resolver.asked == ["db"]

    asyncio.run(run())


def test_the_system_knows_localhost() -> None:
    found = asyncio.run(system_lookup("localhost"))
    assert "127.0.0.1" in found or "::1" in found
