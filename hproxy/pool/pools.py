# SPDX-License-Identifier: Apache-2.0
"""The pools of a worker: who may open how many backend connections, and when they are closed.

    grow ── room? (opening.py) ── open ──> given to who waits longest
      └ none: another group has more than we, or idle ones ──> theirs is closed first
    retire   a connection is at its end ──> departed: its place goes to who has least of it
    tick     pings, ages, keeps `free_connections_pct` idle, shares out (upkeep.py)

Where workers share a ledger (`shares`), limits hold over all of them: who waits while others have
what there is says so, and they lend it (lending.py).

Taking and giving back are native (`Group`). What a connection says is the opener's business;
this counts and decides. Pure but for the clock and the tasks it is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from hproxy._native.phases import PhaseTable
from hproxy._native.pool import Applicant, BackendConnection, Bucket, Group, Server
from hproxy.errors import PoolTimeout
from hproxy.pool import lending, upkeep
from hproxy.pool.change import replaced
from hproxy.pool.opening import MOST_AT_ONCE, allowed, choose, enter, opened
from hproxy.pool.report import Count, Given, rows
from hproxy.pool.settings import PoolSettings
from hproxy.pool.shares import Row, Shares
from hproxy.pool.sharing import spare, starves
from hproxy.topology import Backend, HostgroupAttributes, Status, Topology

__all__ = ["GroupKey", "Opener", "Pools"]

Spawn = Callable[[Coroutine[Any, Any, None], str], object]


@dataclass(eq=False, slots=True)
class GroupKey:
    """What the connections of a group have in common."""

    hostgroup: int
    account: Any
    kind: int
    """The capabilities clients and connections share, in the protocol's own form."""
    with_schema: bool
    settings: Any
    """Those of the session that asked first: what new connections are set to."""
    failures: int = 0
    """Connections that could not be opened, since the last that could."""
    last_error: BaseException | None = None
    retry_at: float = 0.0
    """No try before that, while there are failures."""
    grew_at: float = 0.0
    """When it last began to open a connection."""
    acquired: int = 0
    """Connections it had given out at the last look."""
    moves: bool = True
    """It has given out some since the look before: they come back to it."""
    fed_at: float = 0.0
    """When a look last found that it had, or that nobody waited."""


class Opener(Protocol):
    """Opens, pings and resets connections: the conversations behind this file's decisions."""

    async def open(self, key: GroupKey, bucket: Bucket, settings: Any) -> BackendConnection:
        """Connect, log in, set up. Raises HProxyError, Refusal, TimeoutError, OSError."""

    async def ping(self, connection: BackendConnection) -> bool:
        """Whether it answers in time."""

    async def reset(self, connection: BackendConnection) -> bool:
        """Make it as good as new; False when it is not known to be."""


@dataclass(slots=True)
class Pools:
    """All groups of a worker.

    `failed(group, error, who)` is told when a connection could not be opened, and which waiting
    session it was to be set up for; it says whether only that session is to blame."""

    topology: Topology
    settings: PoolSettings
    attributes: Mapping[int, HostgroupAttributes]
    user_limits: Mapping[bytes, int]
    clock: Callable[[], float]
    spawn: Spawn
    opener: Opener
    failed: Callable[[Group, BaseException, Any], bool]
    log: Any
    shares: Shares = field(default_factory=Shares)
    servers: dict[Backend, Server] = field(default_factory=dict)
    groups: dict[tuple[int, bytes, int, bool], Group] = field(default_factory=dict)
    counts: dict[Backend, Count] = field(default_factory=dict)
    accounts: Mapping[bytes, Any] = field(default_factory=dict)
    """Those of now, once they are not those that sessions have come with."""
    gone: Count = field(default_factory=Count)
    """What servers did that are no more: totals only grow."""
    given: defaultdict[int, Given] = field(default_factory=lambda: defaultdict(Given))
    """The same of groups, by hostgroup."""
    closed: bool = False
    times: PhaseTable = field(default_factory=PhaseTable)
    """Where the time of statements goes, by hostgroup."""
    delayed: int = 0
    """Times that a group had to wait for what throttling or its account's limit allows."""
    opened_in_second: dict[int, tuple[int, int]] = field(default_factory=dict)
    """When the newest connection of a hostgroup was opened, and how many in that second."""
    leaving: set[Backend] = field(default_factory=set)
    """Gone from the configuration, with connections that are still open."""

    def __post_init__(self) -> None:
        self.topology.on_change.append(self._status_changed)
        self.topology.on_replace.append(partial(replaced, self))

    # -- groups ------------------------------------------------------------------

    def group(self, hostgroup: int, account: Any, kind: int, settings: Any) -> Group:
        """The group of these sessions; made at the first of them."""
        with_schema = bool(settings.schema)
        key = (hostgroup, account.username, kind, with_schema)
        found = self.groups.get(key)
        if found is None:
            # A session may have come before the account has another password.
            account = self.accounts.get(account.username, account)
            facts = GroupKey(hostgroup, account, kind, with_schema, settings, fed_at=self.clock())
            limit = self.settings.queue_limit or 1 << 40
            found = self.groups[key] = Group(facts, self, limit)
            found.hostgroup = hostgroup
            found.times = self.times.ensure(hostgroup)
            found.sticky = not self.attributes[hostgroup].multiplex
            found.row = self.shares.account(account.username)
            found.limit = self.user_limits.get(account.username, 1 << 40)
            for backend in self.topology.members(hostgroup):
                found.add(self.server(backend))
        return found

    def server(self, backend: Backend) -> Server:
        """What all groups have on it; made at the first call."""
        server = self.servers.get(backend)
        if server is None:
            status = self.topology.status(backend)
            row = self.shares.backend(backend)
            limit = self.shares.limit(backend.max_connections, row)
            server = self.servers[backend] = Server(
                backend, limit, backend.weight, status is Status.ONLINE, row
            )
            self.counts[backend] = Count()
        return server

    def __iter__(self) -> Iterator[Bucket]:
        for group in self.groups.values():
            yield from group.buckets

    async def borrow(
        self, group: Group, settings: Any, future: Any, limited: bool = False
    ) -> BackendConnection:
        """A connection for code that awaits, whatever it is set to.

        Raises PoolTimeout if it is `limited`, as statements are and logins are not, and the queue
        is full."""
        applicant = Applicant(future)
        try:
            found = applicant.apply(group, settings, limited)
        except OverflowError as full:
            raise PoolTimeout(
                str(full), code="queue", hostgroup=group.key.hostgroup, waited_ms=0
            ) from None
        if found is not None:
            return found
        try:
            self.grow(group)
            granted: BackendConnection = await future
            return granted
        except BaseException:
            applicant.withdraw()
            if future.done() and not future.cancelled() and future.exception() is None:
                group.give(future.result(), used=False)  # it came too late
            raise

    # -- opening -----------------------------------------------------------------

    def grow(self, group: Group) -> None:
        """Sessions wait: open what may be opened, or see to it that there will be room."""
        key: GroupKey = group.key
        if self.closed or self._rests(group):
            return
        while group.grows:
            # One that fails tells as much as all of them.
            if group.connecting >= (1 if key.failures else MOST_AT_ONCE):
                return
            if not allowed(self, group):
                self.delayed += not group.full
                group.full = True
                lending.ask_for_account(self, group)
                return
            bucket = choose(self, group)
            if bucket is None:
                self._make_room(group)
                lending.ask(self, group)
                return
            if not self.begin(group, bucket):
                return

    def spread(self, group: Group, bucket: Bucket) -> None:
        """A server was drawn to which the group has no connection, though others serve it."""
        if not self.closed and not self._rests(group) and allowed(self, group):
            self.begin(group, bucket)

    def _rests(self, group: Group) -> bool:
        """Whether it has just failed to open one. No longer than that: who has idle connections
        elsewhere opens no other whose success would say that the server is back."""
        key: GroupKey = group.key
        return bool(key.failures) and self.clock() < key.retry_at

    def begin(self, group: Group, bucket: Bucket) -> bool:
        """False: other workers were quicker to take the place."""
        if not enter(self, group, bucket):
            return False
        self.spawn(self.open_in(group, bucket), f"connection to {bucket.server.backend}")
        return True

    # -- sharing -----------------------------------------------------------------

    def _make_room(self, group: Group) -> None:
        """The servers are full: idle connections of others, on one after the other, give way."""
        for bucket in group.buckets:
            server = bucket.server
            if server.online and group.waiting > group.connecting + server.leaving:
                others = [b for b in self if b.server is server and b.group is not group]
                if self.close_idle(group, others):
                    return

    def close_idle(self, group: Group, others: list[Bucket]) -> bool:
        """Close what was idle longest, unless its group needs it as much."""
        found = spare(list(self), group, others, self.clock())
        if found is None:
            return False
        self.part(found, polite=True)
        return True

    async def open_in(self, group: Group, bucket: Bucket) -> None:
        # Set up for who will get it: nothing is left to align then.
        who = group.first_waiter()
        connection = await opened(
            self, group, bucket, who.settings if who is not None else group.key.settings, who
        )
        if connection is None:
            self.grow(group)
            return
        group.give(connection)
        if group.waiting:
            self.grow(group)

    def idle_on(
        self, group: Group, settings: Any, servers: Collection[Backend]
    ) -> BackendConnection | None:
        """An idle connection to one of these servers, idle no longer; best one set like that."""
        buckets = [b for b in group.buckets if b.idle and b.server.backend in servers]
        buckets.sort(key=lambda b: (b.opened - b.idle) / b.server.weight)
        idle = [each for bucket in buckets for each in bucket.connections()]
        same = (each for each in idle if each.settings is settings)
        found = next(same, idle[0] if idle else None)
        if found is not None:
            found.reserve()
            group.acquired += 1
        return found

    async def fresh(
        self, group: Group, settings: Any, servers: Collection[Backend] | None = None
    ) -> BackendConnection | None:
        """A connection that nobody had before, to one of these servers; None where none may be
        opened, or none could be."""
        if self.closed or not allowed(self, group):
            return None
        bucket = choose(self, group, servers)
        if bucket is None or not enter(self, group, bucket):
            return None
        connection = await opened(self, group, bucket, settings, None)
        if connection is not None:
            group.acquired += 1
        return connection

    # -- closing -----------------------------------------------------------------

    def retire(self, connection: BackendConnection, polite: bool = True) -> None:
        """It goes back to nobody; who waits may open another in its place."""
        if self.part(connection, polite) and not connection.leaving:
            self._left(connection)

    def part(self, connection: BackendConnection, polite: bool = True) -> bool:
        """Close it; False when that was done before."""
        if not connection.leave(polite):
            return False
        self.counts[connection.bucket.server.backend].closed += 1
        return True

    def departed(self, connection: BackendConnection) -> None:
        """The server has closed what left politely: there is a place."""
        self._left(connection)

    def idle_lost(self, connection: BackendConnection, reason: str) -> None:
        """The backend ended an idle connection."""
        self.log.debug(
            "idle connection lost", backend=str(connection.bucket.server.backend), reason=reason
        )
        self.retire(connection, polite=False)

    def check(self, server: Server) -> None:
        """A connection to it broke: those that wait for work may have, too, and not tell yet."""
        for bucket in self:
            if bucket.server is server:
                for connection in bucket.connections():
                    if not connection.quiet and connection.reserve():
                        self.idle_lost(connection, "the backend closed it")

    def hand_over(self, connection: BackendConnection) -> None:
        """Its group has more than others that wait for the same server."""
        self.part(connection, polite=True)

    def _left(self, connection: BackendConnection) -> None:
        """Its place is free: for who waits here or in another worker."""
        self.shares.freed(connection.bucket.server.row)
        self.shares.freed(connection.bucket.group.row)
        self.serve(connection.bucket.server)

    def serve(self, server: Server) -> None:
        """There is room on `server`: for those who wait, who starves or has least of it first."""
        waiting = [b for b in self if b.group.waiting and (b.server is server or b.group.full)]
        if not waiting:
            return
        has: dict[bytes, int] = {}
        for bucket in self:
            if bucket.server is server:
                name = bucket.group.key.account.username
                has[name] = has.get(name, 0) + bucket.opened + bucket.connecting

        now = self.clock()

        def need(bucket: Bucket) -> tuple[bool, int, int, float]:
            key: GroupKey = bucket.group.key
            account = has.get(key.account.username, 0)
            count = bucket.opened + bucket.connecting
            return not starves(bucket.group, now), account, count, key.grew_at

        for bucket in sorted(waiting, key=need):
            bucket.group.full = False
            self._grow_by_one(bucket.group)
        for bucket in waiting:
            self.grow(bucket.group)

    def _grow_by_one(self, group: Group) -> None:
        """The first of what a group may open, so that the next may have some too."""
        if self.closed or group.key.failures:
            return
        if group.grows and group.connecting == 0 and allowed(self, group):
            bucket = choose(self, group)
            if bucket is not None:
                self.begin(group, bucket)

    def nudged(self, row: Row) -> None:
        """Another worker waits for a place in `row`, or has left one."""
        lending.nudged(self, row)

    def recycle(self, connection: BackendConnection) -> None:
        """Its session left something behind: reset it, then it is anybody's."""
        if self.closed:
            self.part(connection, polite=True)
            return
        backend = connection.bucket.server.backend
        self.spawn(self._recycle(connection), f"reset of a connection to {backend}")

    async def _recycle(self, connection: BackendConnection) -> None:
        if not connection.gone and await self.opener.reset(connection):
            connection.bucket.group.give(connection)
        else:
            self.retire(connection, polite=False)

    # -- upkeep ------------------------------------------------------------------

    def _status_changed(self, backend: Backend, _: Status, new: Status) -> None:
        server = self.servers.get(backend)
        if server is None:
            return
        server.online = new is Status.ONLINE
        server.closing = new in (Status.OFFLINE_SOFT, Status.OFFLINE_HARD)
        if server.closing:
            for bucket in self:
                if bucket.server is server:
                    for connection in bucket.connections():
                        self.part(connection, polite=True)
        for bucket in list(self):
            if bucket.server is server and bucket.group.waiting:
                self.grow(bucket.group)

    def tick(self) -> None:
        """Once a second, and while sessions wait more often."""
        upkeep.tick(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row per hostgroup, backend and user, for reports."""
        return rows(self, self.counts)

    def close(self) -> None:
        """The worker ends: say goodbye to the servers, and open nothing more."""
        self.closed = True
        for bucket in self:
            for connection in bucket.connections():
                self.part(connection, polite=True)
