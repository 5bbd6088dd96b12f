# SPDX-License-Identifier: Apache-2.0
"""All peers: who is asked, from whom is copied, what is told once, and what ends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hproxy.config.proxysql.cluster import PULLS
from hproxy.config.proxysql.values import Values
from hproxy.control.cluster import TABLES, Cluster
from hproxy.control.cluster.peer import CHECKSUMS, OVERALL
from hproxy.errors import AdminError, ConnectError
from tests.support.health import until

FAST = {
    "admin-cluster_username": "peer",
    "admin-cluster_password": "s3cret",
    "admin-cluster_check_interval_ms": "10",
    "admin-cluster_check_status_frequency": "0",
    "admin-cluster_mysql_users_diffs_before_sync": "2",
}
(USERS,) = PULLS["mysql_users"]
MINE = ("mysql_users", 2, 5, "0xA")


class Node:
    """A peer: what it answers, and how often it was asked."""

    def __init__(self, epoch: int, checksum: str) -> None:
        row = {"name": "mysql_users", "version": "2", "epoch": str(epoch), "checksum": checksum}
        self.answers: dict[str, Any] = {
            OVERALL: [{"CHECKSUM": checksum}],
            CHECKSUMS: [row],
            USERS.statement: [{"username": checksum}],
        }
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.clean = True

    async def ask(self, sql: str) -> Any:
        self.asked.append(sql)
        if self.error is not None:
            raise self.error
        return self.answers.get(sql, [])

    def cut(self) -> None:
        pass


class FakeDoor:
    """What runs here."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = [MINE]
        self.adopted: list[tuple[str, str, Any, bool]] = []
        self.error: Exception | None = None
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def adopt(
        self, peer: str, module: str, rows: Any, value: str, epoch: int, *, save: bool
    ) -> None:
        self.adopted.append((peer, module, rows, save))
        if self.error is not None:
            raise self.error
        if self.meanwhile is not None:
            await self.meanwhile()
        self.rows = [("mysql_users", 3, epoch, value)]

    def age(self, module: str, value: str, epoch: int) -> None:
        self.rows = [("mysql_users", 2, epoch, value)]

    def own(self, _: str) -> list[tuple[Any, ...]]:
        return self.rows


class FakeLog:
    def __init__(self) -> None:
        self.lines: list[tuple[str, Mapping[str, Any]]] = []

    def _say(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    info = warning = error = _say

    def said(self, event: str) -> list[Mapping[str, Any]]:
        return [facts for line, facts in self.lines if line == event]


class World:
    """Nodes by name, and a cluster that asks them."""

    def __init__(self, **nodes: Node) -> None:
        self.nodes = nodes
        self.door, self.log, self.values = FakeDoor(), FakeLog(), Values(FAST)
        self.cluster = Cluster(
            self._dial, self.door, self.values, self.log, clock=lambda: 1.0, wall=lambda: 100.0
        )

    async def _dial(self, host: str, port: int, use_ssl: bool, user: str, password: str) -> Any:
        if host not in self.nodes:
            raise ConnectError("nobody listens there")
        return self.nodes[host]

    def load(self, *names: str) -> None:
        self.cluster.load({"hostname": n, "port": 1, "weight": 0, "comment": ""} for n in names)

    async def until(self, condition: Callable[[], object]) -> None:
        await until(lambda: bool(condition()))


def play(world: World, scene: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await scene(world)
        finally:
            await world.cluster.stop()
            assert world.cluster.peers == ()

    asyncio.run(whole())


def test_a_newer_one_is_copied_and_saved() -> None:
    async def scene(world: World) -> None:
        world.load("a")
        await world.until(lambda: world.door.adopted)
        ((peer, module, rows, save),) = world.door.adopted
        assert (peer, module, save) == ("a:1", "mysql_users", True)
        assert rows["mysql_users"][0]["username"] == "0xB"
        assert len(world.nodes["a"].asked) >= 3  # not at the first look

    play(World(a=Node(9, "0xB")), scene)


def test_the_newest_of_several_is_copied() -> None:
    async def scene(world: World) -> None:
        world.load("a", "b", "c")
        await world.until(lambda: world.door.rows[0][3] == "0xC")
        assert {peer for peer, *_ in world.door.adopted} <= {"a:1", "b:1"}

    play(World(a=Node(8, "0xB"), b=Node(9, "0xC"), c=Node(4, "0xD")), scene)


def test_an_equal_one_makes_ours_as_old() -> None:
    async def scene(world: World) -> None:
        world.load("a")
        await world.until(lambda: world.door.rows[0][2] == 9)
        assert not world.door.adopted

    play(World(a=Node(9, "0xA")), scene)


def test_a_conflict_is_told_once_and_nothing_is_copied() -> None:
    async def scene(world: World) -> None:
        world.load("a")
        asked = world.nodes["a"].asked
        await world.until(lambda: len(asked) > 20)
        (told,) = world.log.said("a peer's configuration is not copied")
        assert "load one again" in told["reason"]
        assert not world.door.adopted

    play(World(a=Node(5, "0xB")), scene)


def test_what_is_refused_is_told_once_and_tried_again() -> None:
    async def scene(world: World) -> None:
        world.door.error = AdminError("its rows are not those of its checksum", code="checksum")
        world.load("a")
        await world.until(lambda: len(world.door.adopted) > 2)
        assert len(world.log.said("a peer's configuration is not copied")) == 1
        world.door.error = None
        await world.until(lambda: world.log.said("configuration copied from a peer"))

    play(World(a=Node(9, "0xB")), scene)


def test_one_that_cannot_be_asked_is_told_once_and_again_when_it_is_there() -> None:
    async def scene(world: World) -> None:
        world.load("a", "nobody")
        node = world.nodes["a"]
        node.error = ConnectError("gone")
        (peer, _) = world.cluster.peers
        await world.until(lambda: peer.checks_failed > 3)
        assert len(world.log.said("a peer cannot be asked")) == 2  # one for each
        node.error = None
        await world.until(lambda: world.log.said("a peer is there again"))
        assert peer.checks_ok

    play(World(a=Node(1, "0xA")), scene)


def test_what_fails_within_ends_nothing() -> None:
    async def scene(world: World) -> None:
        world.door.error = KeyError("x")
        world.load("a")
        await world.until(lambda: len(world.door.adopted) >= 2)
        world.door.error = None
        await world.until(lambda: world.log.said("configuration copied from a peer"))
        (told,) = world.log.said("a peer's configuration is not copied")
        assert told["reason"] == "internal error: KeyError('x')"

    play(World(a=Node(9, "0xB")), scene)


def test_a_copy_that_removes_its_own_peer_is_brought_to_its_end() -> None:
    async def scene(world: World) -> None:
        async def meanwhile() -> None:
            world.load()
            await asyncio.sleep(0)

        world.door.meanwhile = meanwhile
        world.load("a")
        await world.until(lambda: world.log.said("configuration copied from a peer"))
        assert world.cluster.peers == ()

    play(World(a=Node(9, "0xB")), scene)


def test_stop_ends_a_copy_that_has_removed_its_own_peer() -> None:
    """Whoever stops us closes next what a copy works with."""
    ends: list[str] = []

    async def scene(world: World) -> None:
        async def meanwhile() -> None:
            world.load()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ends.append("cancelled")

        world.door.meanwhile = meanwhile
        world.load("a")
        await world.until(lambda: world.door.adopted)
        await world.cluster.stop()
        assert ends == ["cancelled"]

    play(World(a=Node(9, "0xB")), scene)


def test_nonsense_ends_nothing() -> None:
    async def scene(world: World) -> None:
        node = world.nodes["a"]
        node.answers[CHECKSUMS] = [None]
        world.load("a")
        (peer,) = world.cluster.peers
        await world.until(lambda: peer.checks_failed > 3)
        assert len(world.log.said("internal error")) == 1
        node.answers[CHECKSUMS] = []
        await world.until(lambda: peer.checks_ok)

    play(World(a=Node(9, "0xB")), scene)


def test_nobody_is_asked_without_an_account_or_when_its_row_is_gone() -> None:
    async def scene(world: World) -> None:
        a, b = world.nodes["a"], world.nodes["b"]
        world.load("a", "b")
        await world.until(lambda: a.asked and b.asked)
        world.load("b")
        a.asked.clear()
        asked = len(b.asked)
        await world.until(lambda: len(b.asked) > asked + 5)
        assert a.asked == []
        world.values.update({"admin-cluster_username": ""})
        (peer,) = world.cluster.peers
        await world.until(lambda: peer._probe is None)
        b.asked.clear()
        world.values.update({"admin-cluster_username": "another"})
        await world.until(lambda: b.asked)
        assert b.asked[0].startswith("PROXYSQL CLUSTER_NODE_UUID")

    play(World(a=Node(1, "0xA"), b=Node(1, "0xA")), scene)


def test_a_module_is_not_copied_where_diffs_are_zero() -> None:
    async def scene(world: World) -> None:
        world.values.update({"admin-cluster_mysql_users_diffs_before_sync": "0"})
        world.load("a")
        await world.until(lambda: len(world.nodes["a"].asked) > 20)
        assert not world.door.adopted

    play(World(a=Node(9, "0xB")), scene)


def test_rows_of_statistics() -> None:
    async def scene(world: World) -> None:
        world.load("a")
        (peer,) = world.cluster.peers
        await world.until(lambda: peer.checks_ok)
        found = {table: list(world.cluster.rows(table)) for table in TABLES}
        assert found["checksums"][0][:6] == ("a", 1, "mysql_users", 2, 5, "0xA")
        assert found["metrics"] == [("a", 1, 0, "", 0, 0, 0, 0, 0, 0)]
        assert found["status"][0][:5] == ("a", 1, 0, "", 1)

    play(World(a=Node(5, "0xA")), scene)
