# SPDX-License-Identifier: Apache-2.0
"""All peers of proxysql_servers: each is looked at on its own, and the newest is copied.

    load(rows) ── a task for each row
        look ──> verdict of each module ── PULL ──> the newest of all peers? ──> Door.adopt
             │                          └─ CONFLICT ──> told, nothing is done
             └ failed ──> told once; asked again after an interval

Nothing is asked without an account, admin-cluster_username; every variable is read when needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol
from uuid import uuid4

from hproxy.config.proxysql.cluster import SYNCED
from hproxy.config.proxysql.values import Values
from hproxy.control.cluster.decision import Checksum, Seen, Verdict, verdict
from hproxy.control.cluster.peer import Dial, Peer
from hproxy.errors import HProxyError
from hproxy.net.tasks import TaskSet

__all__ = ["TABLES", "Cluster"]

LOOK_SEC = 5.0
PULL_SEC = 30.0
"""Until its rows are here: ten thousand rules take less than one second."""
FAILURES = (HProxyError, OSError, ValueError, TimeoutError)
TABLES = ("checksums", "metrics", "status")
Address = tuple[str, int]
Key = tuple[Address, str]


class Adopts(Protocol):
    """Makes rows act here: hproxy.admin.console.door.Door."""

    async def adopt(
        self, peer: str, module: str, rows: Any, value: str, epoch: int, *, save: bool
    ) -> Any:
        """Raises ConfigError, AdminError."""

    def age(self, module: str, value: str, epoch: int) -> None:
        """The module, if this is its checksum, is as old as that."""

    def own(self, table: str) -> Iterable[Any] | None:
        """Rows of runtime_checksums_values."""


class Cluster:
    """Use within a running event loop."""

    def __init__(
        self,
        dial: Dial,
        door: Adopts,
        values: Values,
        log: Any,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`clock` gives seconds that never jump, `wall` Unix seconds."""
        self._dial = dial
        self._door = door
        self._values = values
        self._log = log
        self._clock = clock
        self._wall = wall
        self._uuid = str(uuid4())
        self._peers: dict[Address, Peer] = {}
        self._tasks = TaskSet(self._broken)
        self._cancels: dict[Address, Callable[[], object]] = {}
        self._turn = asyncio.Lock()
        self._told: dict[Key, str] = {}
        """What was said of a module of a peer, so that it is said once."""

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Those of the rows loaded last."""
        return tuple(self._peers.values())

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """These are the peers from now on."""
        wanted = {(row["hostname"], row["port"]): row for row in rows}
        for address in self._peers.keys() - wanted.keys():
            self._drop(address)
        for address, row in wanted.items():
            peer = self._peers.get(address)
            if peer is None:
                peer = self._peers[address] = Peer(
                    *address, self._dial, self._clock, self._announcement()
                )
                follow = self._follow(address, peer)
                self._cancels[address] = self._tasks.spawn(follow, _task_of(peer))
            peer.weight, peer.comment = row["weight"], row["comment"]

    async def stop(self) -> None:
        """Ask nobody any more; what is being copied ends, whoever has a row."""
        for address in list(self._peers):
            self._drop(address)
        await self._tasks.cancel_all()

    def _drop(self, address: Address) -> None:
        peer, cancel = self._peers.pop(address), self._cancels.pop(address)
        current = asyncio.current_task()
        self._told = {key: said for key, said in self._told.items() if key[0] != address}
        # What was pulled from this very peer may be without it: that is brought to its end.
        if current is None or current.get_name() != _task_of(peer):
            cancel()

    def _broken(self, name: str, error: BaseException) -> None:
        self._log.error("internal error", task=name, exception=repr(error))

    def _announcement(self) -> str:
        interfaces = self._values.text("admin-mysql_ifaces").replace(" ", "")
        return f"PROXYSQL CLUSTER_NODE_UUID {self._uuid} {interfaces}".rstrip()

    # -- one peer ----------------------------------------------------------------------

    async def _follow(self, address: Address, peer: Peer) -> None:
        rounds = 0
        try:
            while self._peers.get(address) is peer:
                if self._values.text("admin-cluster_username"):
                    await self._round(address, peer, rounds)
                    rounds += 1
                else:
                    peer.drop()
                await asyncio.sleep(self._values.number("admin-cluster_check_interval_ms") / 1000)
        finally:
            peer.drop()

    async def _round(self, address: Address, peer: Peer, rounds: int) -> None:
        values = self._values
        account = (values.text("admin-cluster_username"), values.text("admin-cluster_password"))
        every = values.number("admin-cluster_check_status_frequency")
        try:
            async with asyncio.timeout(LOOK_SEC):
                await peer.look(
                    account,
                    self._ours(),
                    int(self._wall()),
                    statistics=bool(every) and rounds % every == 0,
                )
        except FAILURES as error:
            self._failed(peer, error)
            return
        except Exception as error:  # what a peer sends ends nothing here
            if self._failed(peer, error):
                self._log.error("internal error", task=f"look at {peer}", exception=repr(error))
            return
        peer.checks_ok += 1
        if peer.reason:
            peer.reason = ""
            self._log.info("a peer is there again", peer=str(peer))
        for name, seen in list(peer.seen.items()):
            try:
                await self._judge(address, peer, name, seen)
            except Exception as error:  # nor does what one module of it brings
                self._tell((address, name), f"internal error: {error!r}")

    def _failed(self, peer: Peer, error: BaseException) -> bool:
        """Whether that is news."""
        peer.checks_failed += 1
        peer.drop()
        reason = str(error) or type(error).__name__
        if reason == peer.reason:
            return False
        peer.reason = reason
        self._log.warning("a peer cannot be asked", peer=str(peer), reason=reason)
        return True

    def _ours(self) -> dict[str, Checksum]:
        rows = self._door.own("runtime_checksums_values") or ()
        return {name: Checksum(version, epoch, value) for name, version, epoch, value in rows}

    # -- one module --------------------------------------------------------------------

    async def _judge(self, address: Address, peer: Peer, name: str, seen: Seen) -> None:
        module = SYNCED[name]
        diffs = self._values.number(f"admin-cluster_{module}_diffs_before_sync")
        match verdict(seen, self._ours().get(name), diffs):
            case Verdict.PULL if not self._newer(name, seen, diffs):
                await self._pull(address, peer, name)
            case Verdict.CONFLICT:
                self._tell((address, name), "both were loaded in the same second: load one again")
            case Verdict.AGE:
                self._door.age(module, seen.now.checksum, seen.now.epoch)
            case Verdict.NOTHING if not seen.diff_check:
                self._told.pop((address, name), None)

    def _newer(self, name: str, seen: Seen, diffs: int) -> bool:
        """Whether another peer has a newer one: it is copied when that one is looked at."""
        ours = self._ours().get(name)
        others = (peer.seen.get(name) for peer in self._peers.values() if not peer.reason)
        return any(
            other is not None
            and other.now.epoch > seen.now.epoch
            and verdict(other, ours, diffs) is Verdict.PULL
            for other in others
        )

    async def _pull(self, address: Address, peer: Peer, name: str) -> None:
        module, key = SYNCED[name], (address, name)
        async with self._turn:
            seen = peer.seen[name]
            ours = self._ours().get(name)
            diffs = self._values.number(f"admin-cluster_{module}_diffs_before_sync")
            if verdict(seen, ours, diffs) is not Verdict.PULL:
                return  # another one has brought it meanwhile
            wanted = seen.now
            try:
                async with asyncio.timeout(PULL_SEC):
                    rows = await peer.pull(module)
            except FAILURES as error:
                self._failed(peer, error)
                return
            save = self._values.flag(f"admin-cluster_{module}_save_to_disk")
            try:
                await self._door.adopt(
                    str(peer), module, rows, wanted.checksum, wanted.epoch, save=save
                )
            except HProxyError as error:
                self._tell(key, str(error))
                return
            finally:
                seen.diff_check = 0  # what was refused is not asked for with every look
            self._told.pop(key, None)
            self._log.info(
                "configuration copied from a peer",
                peer=str(peer), module=module, epoch=wanted.epoch, checksum=wanted.checksum,
            )  # fmt: skip

    def _tell(self, key: Key, reason: str) -> None:
        if self._told.get(key) == reason:
            return
        self._told[key] = reason
        (host, port), name = key
        self._log.error(
            "a peer's configuration is not copied",
            peer=f"{host}:{port}", module=SYNCED[name], reason=reason,
        )  # fmt: skip

    # -- what operators see ------------------------------------------------------------

    def rows(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Rows of stats_proxysql_servers_<table>, one of TABLES."""
        return {"checksums": self._checksums, "metrics": self._metrics, "status": self._status}[
            table
        ]()

    def _checksums(self) -> Iterator[tuple[Any, ...]]:
        for peer in self.peers:
            for name, seen in sorted(peer.seen.items()):
                yield (
                    peer.host, peer.port, name, *seen.now,
                    seen.changed_at, seen.updated_at, seen.diff_check,
                )  # fmt: skip

    def _metrics(self) -> Iterator[tuple[Any, ...]]:
        for peer in self.peers:
            found = peer.metrics
            age_ms = 0 if found.at is None else round((self._clock() - found.at) * 1000)
            counts = found.counts.values()
            uptime, *rest = counts
            yield (
                peer.host, peer.port, peer.weight, peer.comment,
                found.response_ms, uptime, age_ms, *rest,
            )  # fmt: skip

    def _status(self) -> Iterator[tuple[Any, ...]]:
        for peer in self.peers:
            at = peer.checked_at
            age_us = 0 if at is None else round((self._clock() - at) * 1e6)
            yield (
                peer.host, peer.port, peer.weight, "", peer.versions, age_us, peer.ping_us,
                peer.checks_ok, peer.checks_failed,
            )  # fmt: skip


def _task_of(peer: Peer) -> str:
    return f"cluster peer {peer}"
