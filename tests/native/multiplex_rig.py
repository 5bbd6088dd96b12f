# SPDX-License-Identifier: Apache-2.0
"""Sessions that share backend connections, both ends played by the test.

    rig = Pooled(connections=2)          two connections of one server, idle
    ann = rig.login()                    a session; ann.ask(b"\\x03SELECT 1") sends a command
    rig.backends[0].heard()              what that backend was sent
    rig.backends[0].say(ROWS)            its answer; ann.heard() is what came of it

`Slow` plays the slow lane: it writes down what it is told and does the least that is right.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from hproxy._native.decision import Decision, DecisionCache
from hproxy._native.digest import Digester
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.phases import PhaseTable
from hproxy._native.pool import BackendConnection, Bucket, Group, Server
from hproxy._native.reactor import Reactor
from hproxy._native.statements import ClientStatement, Statement
from hproxy._native.statistics import DigestCounters, DigestTable
from hproxy._native.tally import CommandTable
from tests.native.rig import BAD_CLIENT, INTERNAL, LOST, MALFORMED, packet
from tests.support.socket_pair import Peer, emptied, pair, settle

__all__ = ["FULL", "LATE", "READ", "SLOW", "WRITE", "Backend", "Client", "Pooled", "Slow"]

FULL = b"\xff\x29\x23#HY000queue full"
EMPTY = b"\xff\x17\x04#08S01empty"
LATE = b"\xff\x29\x23#HY000too late"
UNREADABLE = b"\xff\xba\x04#HY000unreadable"
TOO_LONG = b"\xff\x81\x04#08S01too long"

# Those of decision.pxd.
READ, SLOW, CONTEXT, LAST_ID, WRITE, CALC_ROWS = 1, 2, 4, 8, 16, 32
SAFE_REPEAT, SETS_LAST_ID = 256, 65536

# By the first words of a statement.
FLAGS = {
    b"SELECT": READ,
    b"SELECT LAST_INSERT_ID": READ | LAST_ID,
    b"SELECT SQL_CALC": READ | CALC_ROWS,
    b"SHOW WARNINGS": CONTEXT,
    b"INSERT": WRITE,
    b"UPDATE": WRITE,
    b"SET": SLOW,
    b"CALL": SLOW | SETS_LAST_ID,
}


class Slow:
    """The slow points of sessions and pools."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.group: Group
        self.errors: list[tuple[int, bytes | None]] = []
        self.digests = DigestTable(1000)
        self.commands = CommandTable(["SELECT", "INSERT", "UPDATE", "SET"])
        self.reader: Group | None = None
        self.repeats = 1
        self.holds = False
        """What a writer refuses that is read only by now."""
        self.later: list[Callable[[], None]] = []
        """What the product does in tasks: it comes when the reactor has nothing to do."""
        self.on_align: Callable[[Multiplexed, BackendConnection], None] = aligned
        self.on_statement: Callable[[Multiplexed, bytes, Decision | None], None] = self.relayed
        self.on_finished: Callable[[Multiplexed], None] = lambda session: session.settled()
        self.on_prepare: Callable[[Multiplexed, BackendConnection, ClientStatement], None] = (
            prepared
        )
        self.on_tracked: Callable[[Multiplexed, bytes], bytes] = lambda session, ok: ok
        self.on_decide: Callable[[bytes], None] = lambda text: None

    def tell(self, what: str, about: Any = None) -> None:
        self.told.append((what, about))

    def count(self, what: str) -> int:
        return sum(1 for kind, _ in self.told if kind == what)

    def about(self, what: str) -> list[Any]:
        return [about for kind, about in self.told if kind == what]

    # -- statements ------------------------------------------------------------------

    def decision(self, text: bytes) -> Decision:
        words = [first for first in FLAGS if text.startswith(first)]
        flags = FLAGS[max(words, key=len)] if words else 0
        reader = self.reader if flags & READ else None
        counters = self.digests.entry((self.group.hostgroup, b"", b"ann", text[:80]))
        at_reader = None
        if reader is not None:
            at_reader = self.digests.entry((reader.hostgroup, b"", b"ann", text[:80]))
        command = self.commands.rows.get(text.split(b" ")[0].decode("latin-1"))
        return Decision(
            flags, self.group, reader, counters, flags, text[:80],
            reader_counters=at_reader, command=command,
        )  # fmt: skip

    def decide(self, session: Multiplexed, text: bytes) -> Decision:
        self.tell("decide", text)
        self.on_decide(text)
        return self.decision(text)

    def decide_long(self, session: Multiplexed, head: bytes) -> Decision:
        self.tell("decide long", head[:20])
        return self.decision(head)

    def refusal_of(self, session: Multiplexed, decision: Decision) -> bytes:
        self.tell("refusal of", decision.text)
        return TOO_LONG

    def decide_again(self, session: Multiplexed, statement: ClientStatement) -> Decision:
        self.tell("decide again", statement.statement.text)
        return self.decision(statement.statement.text)

    def too_long(self, session: Multiplexed, command: int) -> bytes:
        self.tell("too long", command)
        return TOO_LONG

    def statement(self, session: Multiplexed, payload: bytes, decision: Decision | None) -> None:
        self.tell("statement", payload)
        self.on_statement(session, payload, decision)

    def relayed(self, session: Multiplexed, payload: bytes, decision: Decision | None) -> None:
        if payload:
            session.submit(payload, decision or self.decision(payload[1:]), None, True)
        else:
            session.reply([EMPTY])

    def recorded(
        self,
        session: Multiplexed,
        decision: Decision,
        statement: ClientStatement | None,
        payload: bytes | None,
        ns: int,
        slow: bool,
    ) -> None:
        assert session.held is not None
        assert ns > 0
        self.tell("recorded", (payload, statement, session.scanner.rows, slow))

    def finished(self, session: Multiplexed) -> None:
        self.tell("finished")
        self.on_finished(session)

    def tracked(self, session: Multiplexed, payload: bytes) -> bytes:
        self.tell("tracked", payload)
        return self.on_tracked(session, payload)

    def errored(self, session: Multiplexed, number: int, packet: bytes | None) -> None:
        self.errors.append((number, packet))

    def unseen(self, session: Multiplexed) -> None:
        self.tell("unseen")

    def read_insert_id(self, session: Multiplexed) -> None:
        self.tell("read insert id")
        session.know_insert_id(4711)
        session.settled()

    def prepare_on(
        self, session: Multiplexed, pooled: BackendConnection, statement: ClientStatement
    ) -> None:
        self.tell("prepare on", statement.client_id)
        self.later.append(partial(self.on_prepare, session, pooled, statement))

    def forget_statement(
        self, session: Multiplexed, pooled: BackendConnection, statement: ClientStatement
    ) -> None:
        self.tell("forget statement", statement.client_id)
        entry = pooled.statements.find(statement)
        assert entry is not None
        pooled.statements.remove(entry)

    def unreadable_execute(self, session: Multiplexed, found: int) -> None:
        self.tell("unreadable execute", found)
        session.refuse(UNREADABLE)

    # -- connections -----------------------------------------------------------------

    def align(self, session: Multiplexed, pooled: BackendConnection) -> None:
        self.tell("align")
        self.later.append(partial(self.on_align, session, pooled))

    def grow(self, group: Group) -> None:
        self.tell("grow")

    def spread(self, group: Group, bucket: Bucket) -> None:
        self.tell("spread")

    def retire(self, pooled: BackendConnection, polite: bool = True) -> None:
        if pooled.leave(False):
            self.tell("retired")

    def hand_over(self, pooled: BackendConnection) -> None:
        self.tell("hand over")
        self.retire(pooled)

    def idle_lost(self, pooled: BackendConnection, reason: str) -> None:
        self.tell("idle lost", reason)
        self.retire(pooled)

    def departs(self, session: Multiplexed) -> None:
        self.tell("departs")

    def departed(self, pooled: BackendConnection) -> None:
        self.tell("departed")

    def left(self, session: Multiplexed, pooled: BackendConnection, idle: bool) -> None:
        self.tell("left", idle)
        self.retire(pooled)

    def queue_full(self, session: Multiplexed, group: Group) -> None:
        self.tell("queue full")
        session.refuse(FULL)

    def timed_out(self, session: Multiplexed) -> None:
        self.tell("timed out", session.state)
        if session.state == "waiting":
            session.refuse(LATE)
        else:
            session.close("timed out")

    # -- what goes wrong -------------------------------------------------------------

    def may_repeat(self, session: Multiplexed, number: int) -> bool:
        self.tell("may repeat", number)
        return session.attempts <= self.repeats

    def demoted(self, session: Multiplexed, packet: bytes) -> bool:
        self.tell("demoted", packet)
        return self.holds

    def backend_lost(self, session: Multiplexed, error: int) -> None:
        state = session.state
        self.tell("backend lost", state)
        if session.repeatable and session.attempts <= self.repeats:
            session.again()
        elif state == "idle":
            session.give_up()
            session.refuse_next(LOST)
        elif not session.break_off(LOST):
            session.fail(LOST, "backend lost")

    def lost_meanwhile(self, session: Multiplexed) -> None:
        self.tell("lost meanwhile")
        session.give_up()
        session.refuse(LOST)

    def client_lost(self, session: Multiplexed, error: int) -> None:
        self.tell("client lost", session.state)
        session.close("client lost")

    def client_fault(self, session: Multiplexed, reason: str, code: str = "sequence") -> None:
        self.tell("client fault", reason)
        session.fail(BAD_CLIENT, "client fault")

    def backend_fault(self, session: Multiplexed, reason: str) -> None:
        self.tell("backend fault", reason)
        session.fail(MALFORMED, "backend fault")

    def broken(self, session: Multiplexed, error: BaseException) -> None:
        self.tell("broken", error)
        session.fail(INTERNAL, "internal error")

    def closed(self, session: Multiplexed, reason: str) -> None:
        self.tell("closed", reason)


def aligned(session: Multiplexed, pooled: BackendConnection) -> None:
    """What aligning comes to."""
    pooled.settings = session.settings
    if session.needs_insert_id:
        pooled.insert_owner = session.serial
    session.aligned()


def prepared(session: Multiplexed, pooled: BackendConnection, statement: ClientStatement) -> None:
    """What preparing comes to: the backend's ids begin at 1001."""
    pooled.statements.put(statement.statement, 1001 + pooled.statements.count)
    session.aligned()


class Backend:
    """A connection of the pool and its far end."""

    def __init__(self, rig: Pooled, bucket: Bucket, buffer: int | None) -> None:
        self.rig = rig
        self.peer, end = pair(rig.reactor, send_buffer=buffer)
        bucket.opened += 1
        bucket.server.opened += 1
        self.connection = BackendConnection(end, bucket, None, rig.settings, 20)
        bucket.group.give(self.connection)

    def heard(self) -> bytes:
        """What it was sent since the last time."""
        return self.rig.all_to(self.peer)

    def say(self, data: bytes) -> None:
        self.peer.send(data)
        self.rig.settle()

    def end(self) -> None:
        """It closes the connection."""
        self.peer.close()
        self.rig.settle()

    @property
    def free(self) -> bool:
        return self.connection.free


class Client:
    """A session and the far end of its client."""

    def __init__(self, rig: Pooled, buffer: int | None, options: dict[str, Any]) -> None:
        self.rig = rig
        self.peer, end = pair(rig.reactor, send_buffer=buffer)
        self.session = Multiplexed(
            end, rig.slow, rig.digester, rig.decisions, rig.settings,
            **({"deprecate_eof": True} | options),
        )  # fmt: skip
        self.session.wait_limit = 10.0
        self.session.start()

    def ask(self, *commands: bytes) -> None:
        """Send these payloads in one go."""
        self.send(b"".join(packet(command) for command in commands))

    def send(self, data: bytes) -> None:
        self.peer.send(data)
        self.rig.settle()

    def pour(self, data: bytes, into: Peer) -> bytes:
        """Send all of a long command while `into` reads; what that got."""
        sent, parts = 0, []
        for _ in range(100_000):
            if sent < len(data):
                sent += self.peer.send_some(memoryview(data)[sent:])
            served = self.rig.settle()
            parts.append(into.receive())
            if sent == len(data) and not served and not parts[-1]:
                return b"".join(parts)
        raise AssertionError("the command does not get through")

    def heard(self) -> bytes:
        return self.rig.all_to(self.peer)

    def end(self) -> None:
        """The client goes away."""
        self.peer.close()
        self.rig.settle()

    def prepared(self, params: int = 0, flags: int = READ, sticky: bool = False) -> ClientStatement:
        """A prepared statement of its own."""
        rig = self.rig
        text = b"SELECT %d" % rig.number()
        decision = Decision(flags, rig.group, rig.slow.reader, DigestCounters(), flags, text)
        statement = Statement(text, text, params, 1, (), decision, sticky)
        return self.session.prepare_statements().add(statement)

    @property
    def state(self) -> str:
        return self.session.state

    def held(self) -> BackendConnection | None:
        return self.session.held


class Pooled:
    """A server, a group, its connections, and who wants them."""

    def __init__(
        self,
        connections: int = 1,
        *,
        queue_limit: int = 1000,
        backend_buffer: int | None = None,
        reactor: Reactor | None = None,
    ) -> None:
        self.reactor = reactor or Reactor()
        self.slow = Slow()
        self.settings: Any = object()
        self.digester = Digester()
        self.decisions = DecisionCache(1000)
        self.server = Server("db1", connections)
        self.group = self.slow.group = Group("group", self.slow, queue_limit)
        self.times = PhaseTable()
        self.group.times = self.times.ensure(0)
        self.bucket = self.group.add(self.server)
        self.backend_buffer = backend_buffer
        self.backends = [self.connect() for _ in range(connections)]
        self.clients: list[Client] = []
        self._numbers = 0

    def connect(self, bucket: Bucket | None = None) -> Backend:
        """One more connection; whoever waits gets it."""
        return Backend(self, bucket or self.bucket, self.backend_buffer)

    def login(self, buffer: int | None = None, **options: Any) -> Client:
        client = Client(self, buffer, options)
        self.clients.append(client)
        return client

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def settle(self) -> int:
        """Serve until nothing is to be done, by the reactor or by tasks."""
        served = settle(self.reactor)
        while self.slow.later:
            self.slow.later.pop(0)()
            served += 1 + settle(self.reactor)
        return served

    def all_to(self, peer: Peer) -> bytes:
        """All that is on its way to `peer`."""
        parts = []
        while True:
            self.settle()
            parts.append(peer.receive())
            if not parts[-1]:
                return b"".join(parts)

    def conserved(self) -> bool:
        """Whether the counts agree: each connection is idle or held by one session, or gone."""
        held = [found for each in self.clients if (found := each.held()) is not None]
        idle = self.bucket.connections()
        all_free = all(connection.free and not connection.closed for connection in idle)
        return (
            len(set(map(id, held))) == len(held)
            and not set(map(id, held)) & set(map(id, idle))
            and len(idle) == self.bucket.idle == self.server.idle
            and len(held) + len(idle) == self.bucket.opened
            and self.bucket.opened == self.server.opened
            and self.group.waiting == sum(each.state == "waiting" for each in self.clients)
            and all_free
        )

    def over(self) -> bool:
        """Everybody leaves; whether nothing is left of anybody."""
        for client in self.clients:
            client.end()
        for backend in self.backends:
            with suppress(OSError):
                backend.end()
        return (
            emptied(self.reactor)
            and self.server.opened == self.bucket.opened == self.bucket.idle == 0
            and self.group.waiting == 0
            and all(client.state == "closed" for client in self.clients)
        )
