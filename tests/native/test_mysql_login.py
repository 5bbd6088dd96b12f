# SPDX-License-Identifier: Apache-2.0
"""The Greeter: whom it lets in by itself, and that all others reach the slow lane untouched."""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from types import SimpleNamespace
from typing import Any

import pytest

from hproxy._native.channel import Channel
from hproxy._native.decision import DecisionCache
from hproxy._native.digest import Digester
from hproxy._native.endpoint import Endpoint
from hproxy._native.mysql_login import Admission, Greeter, Greeting
from hproxy._native.mysql_multiplex import Multiplexed
from hproxy._native.mysql_outcome import Watch
from hproxy._native.reactor import Reactor
from hproxy.protocols.mysql.constants import Capability
from hproxy.protocols.mysql.handshake import AuthSwitchRequest, HandshakeResponse
from hproxy.protocols.mysql.handshake import Greeting as GreetingPacket
from hproxy.protocols.mysql.scramble import native_response, sha2_response
from hproxy.protocols.mysql.shortcut import form
from hproxy.protocols.mysql.wire import join
from tests.support.socket_pair import Peer, settle

NATIVE, SHA2 = b"mysql_native_password", b"caching_sha2_password"
BASE = (
    Capability.PROTOCOL_41
    | Capability.SECURE_CONNECTION
    | Capability.PLUGIN_AUTH
    | Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | Capability.CONNECT_ATTRS
)
OK = b"\0\0\0\2\0\0\0"
ATTRIBUTES = ((b"_pid", b"17"), (b"program", b"test"))


def packet(payload: bytes, sequence: int) -> bytes:
    return join([payload], sequence)[0]


def packets(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        size = int.from_bytes(data[:3], "little")
        found.append((data[3], data[4 : 4 + size]))
        data = data[4 + size :]
    return found


class Slow:
    """The slow lane: it writes down what reaches it."""

    def __init__(self, services: Any) -> None:
        self.services = services
        self.unusuals: list[tuple[Any, Channel, tuple[bytes, ...], float]] = []
        self.let_in: list[tuple[Multiplexed, bytes]] = []
        self.left: list[Any] = []
        self.nobodies = {b"nobody", b"ann"}

    def compose(self) -> Greeting | None:
        if not self.services.heard:
            return None
        greeting = GreetingPacket(b"9.9-test", 0, bytes(20), BASE, plugin=SHA2)
        return form(greeting, self.services.settings, "profile", self.services.heard)

    def goes_as_nobody(self, user: bytes) -> bool:
        return user in self.nobodies

    def admitted(self, connection: Any, session: Any, admission: Admission, said: bytes) -> None:
        connection.busy = None
        self.let_in.append((session, said))

    def unusual(self, guest: Any, channel: Channel, scrambles: Any, _: Any, left: float) -> None:
        self.unusuals.append((guest, channel, scrambles, left))

    def abandoned(self, connection: Any) -> None:
        self.left.append(connection)

    def client_lost(self, session: Multiplexed, error: int) -> None:
        session.close("client left")

    def closed(self, session: Multiplexed, reason: str) -> None:
        self.left.append(session.tag)

    def broken(self, connection: Any, error: BaseException) -> None:
        raise AssertionError(connection) from error


@dataclass
class Account:
    secret: object = field(default_factory=object)
    sessions: int = 0
    max_connections: int = 10

    def enter(self) -> bool:
        if self.sessions >= self.max_connections:
            return False
        self.sessions += 1
        return True


class Room:
    """A greeter and clients of it."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.services = SimpleNamespace(
            settings=SimpleNamespace(max_login_packet=65536),
            users=object(),
            heard=1,
            guard=SimpleNamespace(alert=False),
        )
        self.slow = Slow(self.services)
        self.greeter = Greeter(self.reactor, self.services, self.slow)
        self.account = Account()

    def enter(self, seconds: float = 10.0, peer: str = "127.0.0.1:5") -> Visitor:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        host = peer.partition(":")[0]
        connection = SimpleNamespace(id=0x40000007, peer=peer, host=host, busy=None)
        assert self.greeter.greet(ours.detach(), connection, seconds)
        return Visitor(self, Peer(theirs), connection)

    def mould(self) -> Multiplexed:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        client = Endpoint(self.reactor, ours.detach())
        theirs.close()
        return Multiplexed(
            client, self.slow, Digester(), DecisionCache(10), "settings", deprecate_eof=True
        )

    def learn(
        self, *, plugin: bytes = SHA2, switched: bool = False, password: bytes = b"pw", **how: Any
    ) -> None:
        """Let somebody through the slow lane and remember it."""
        visitor = self.enter()
        came_with = {True: NATIVE if plugin == SHA2 else SHA2, False: plugin}[switched]
        visitor.respond(plugin=came_with, password=password, **how)
        guest = self.slow.unusuals.pop()[0]
        digest = sha256 if plugin == SHA2 else sha1
        stored = digest(digest(password).digest()).digest() if password else b""
        admission = Admission(
            self.account, "login", "facts", 5, stored=stored, plugin=plugin, sha2=plugin == SHA2,
            switched=switched, ok=OK, like=self.mould(),
        )  # fmt: skip
        self.greeter.remember(guest, admission, True)
        visitor.peer.socket.close()


class Visitor:
    """A client."""

    def __init__(self, room: Room, peer: Peer, connection: Any) -> None:
        self.room, self.peer, self.connection = room, peer, connection
        settle(room.reactor)
        [(sequence, payload)] = packets(self.take())
        assert sequence == 0
        self.greeting = GreetingPacket.parse(payload)
        self.scramble = self.greeting.scramble

    def take(self) -> bytes:
        self.peer.heard += self.peer.receive()
        heard, self.peer.heard = self.peer.heard, b""
        return heard

    def response(
        self,
        *,
        user: bytes = b"ann",
        plugin: bytes = SHA2,
        database: bytes = b"",
        password: bytes = b"pw",
        attributes: Any = ATTRIBUTES,
        extra: int = 0,
    ) -> bytes:
        capabilities = BASE | Capability(extra)
        if database:
            capabilities |= Capability.CONNECT_WITH_DB
        return HandshakeResponse(
            capabilities, user, proof(plugin, password, self.scramble), database, plugin, attributes
        ).build()

    def send(self, data: bytes) -> list[tuple[int, bytes]]:
        self.peer.send(data)
        settle(self.room.reactor)
        return packets(self.take())

    def respond(self, **how: Any) -> list[tuple[int, bytes]]:
        return self.send(packet(self.response(**how), 1))


def proof(plugin: bytes, password: bytes, scramble: bytes) -> bytes:
    if not password:
        return b""
    if plugin == SHA2:
        return sha2_response(sha256(password).digest(), scramble)
    return native_response(sha1(password).digest(), scramble)


def seen_by_slow(room: Room) -> bytes:
    """Everything the slow lane can read of the one client that was passed on."""
    [(_, channel, _, _)] = room.slow.unusuals

    async def read() -> bytes:
        found = b""
        channel.write_packet(b"any greeting: it was said")
        while True:
            try:
                data = await asyncio.wait_for(channel.read_packet(), 0.01)
            except Exception:
                return found
            found += packet(data, channel.seq - 1)

    return asyncio.run(read())


@pytest.fixture
def room() -> Any:
    room = Room()
    yield room
    room.slow.unusuals.clear()
    room.slow.let_in.clear()
    room.reactor.close()


def test_greeting(room: Room) -> None:
    first, second = room.enter(), room.enter()
    assert first.greeting.thread_id == 0x40000007
    assert first.greeting.server_version == b"9.9-test"
    assert len(first.scramble) == 20
    assert first.scramble != second.scramble


def test_nobody_was_heard_of(room: Room) -> None:
    room.services.heard = 0
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not room.greeter.greet(ours.fileno(), SimpleNamespace(id=1, peer="unix"), 1.0)


@pytest.mark.parametrize("plugin", [NATIVE, SHA2])
@pytest.mark.parametrize("database", [b"", b"shop"])
def test_known_login(room: Room, plugin: bytes, database: bytes) -> None:
    room.learn(plugin=plugin, database=database)
    visitor = room.enter()
    fast = [(2, b"\x01\x03")] if plugin == SHA2 else []
    assert visitor.respond(plugin=plugin, database=database) == [*fast, (2 + len(fast), OK)]
    [(session, said)] = room.slow.let_in
    assert room.slow.unusuals == []
    assert said[:20] == visitor.scramble
    assert b"_pid" in said
    assert (session.state, session.tag) == ("idle", visitor.connection)
    # It is a session now: a ping is answered without a connection.
    assert visitor.send(packet(b"\x0e", 0)) == [(1, b"\0\0\0\2\0\0\0")]


@pytest.mark.parametrize("plugin", [NATIVE, SHA2])
def test_known_login_with_switch(room: Room, plugin: bytes) -> None:
    other = SHA2 if plugin == NATIVE else NATIVE
    room.learn(plugin=other, switched=True)
    visitor = room.enter()
    [(sequence, payload)] = visitor.respond(plugin=plugin)
    switch = AuthSwitchRequest.parse(payload)
    assert (sequence, switch.plugin, len(switch.scramble)) == (2, other, 20)
    assert switch.scramble != visitor.scramble
    answer = proof(other, b"pw", switch.scramble)
    fast = [(4, b"\x01\x03")] if other == SHA2 else []
    assert visitor.send(packet(answer, 3)) == [*fast, (4 + len(fast), OK)]
    [(_, said)] = room.slow.let_in
    assert said[:20] == switch.scramble


def test_no_password(room: Room) -> None:
    room.learn(password=b"")
    assert room.enter().respond(password=b"") == [(2, OK)]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_chopped(room: Room, cut: int) -> None:
    room.learn()
    visitor = room.enter()
    data = packet(visitor.response(), 1)
    answers = []
    for at in range(0, len(data), cut):
        answers = visitor.send(data[at : at + cut])
    assert answers == [(2, b"\x01\x03"), (3, OK)]


def test_pipelined_command(room: Room) -> None:
    room.learn()
    visitor = room.enter()
    answers = visitor.send(packet(visitor.response(), 1) + packet(b"\x0e", 0))
    assert answers == [(2, b"\x01\x03"), (3, OK), (1, b"\0\0\0\2\0\0\0")]


DIFFERENT: list[dict[str, Any]] = [
    {"password": b"wrong"},
    {"password": b""},
    {"user": b"bob"},
    {"user": b""},
    {"database": b"other"},
    {"plugin": b"client_ed25519"},
    {"extra": int(Capability.FOUND_ROWS)},
    {"extra": int(Capability.SSL)},
    {"extra": int(Capability.COMPRESS)},
]


@pytest.mark.parametrize("how", DIFFERENT)
def test_another_login(room: Room, how: dict[str, Any]) -> None:
    """Nothing is said, and the slow lane reads what the client wrote."""
    room.learn()
    visitor = room.enter()
    data = packet(visitor.response(**how), 1)
    assert visitor.send(data) == []
    assert room.slow.let_in == []
    [(_, _, scrambles, left)] = room.slow.unusuals
    assert scrambles == (visitor.scramble,)
    assert 5 < left <= 10
    assert seen_by_slow(room) == data


@pytest.mark.parametrize("user", [b"ann", b"nobody", b"special"])
def test_a_wrong_answer_to_a_switch(room: Room, user: bytes) -> None:
    """A name that is no account's is switched as well; one with steps of its own is not."""
    room.learn(plugin=NATIVE, switched=True)
    visitor = room.enter()
    data = packet(visitor.response(user=user), 1)
    said = visitor.send(data)
    if user == b"special":
        assert said == []
        assert seen_by_slow(room) == data
        return
    [(_, switch)] = said
    assert visitor.send(packet(b"x" * 20, 3)) == []
    [(_, channel, scrambles, _)] = room.slow.unusuals
    assert scrambles == (visitor.scramble, AuthSwitchRequest.parse(switch).scramble)

    async def converse() -> None:
        channel.write_packet(b"greeting")
        assert await channel.read_packet() == data[4:]
        channel.write_packet(switch)  # said already
        assert await channel.read_packet() == b"x" * 20
        channel.write_packet(b"\xffno")

    asyncio.run(converse())
    settle(room.reactor)
    assert packets(visitor.take()) == [(4, b"\xffno")]


def test_strangers_are_never_let_in(room: Room) -> None:
    """Not even with the password of the account that was seen before."""
    room.learn()
    assert room.enter().respond(user=b"nobody") == []
    assert room.slow.let_in == []


def test_full_account_goes_to_the_slow_lane(room: Room) -> None:
    room.learn()
    room.account.max_connections = 1
    assert room.enter().respond() != []
    assert room.enter().respond() == []
    assert len(room.slow.unusuals) == 1


@pytest.mark.parametrize("what", ["users", "settings", "secret", "forget"])
def test_what_was_known_is_forgotten(room: Room, what: str) -> None:
    room.learn()
    match what:
        case "users":
            room.services.users = object()
        case "settings":
            room.services.settings = SimpleNamespace(max_login_packet=65536)
        case "secret":
            room.account.secret = object()
        case _:
            room.greeter.forget()
    assert room.enter().respond() == []
    assert len(room.slow.unusuals) == 1


@pytest.mark.parametrize(
    "data",
    [
        packet(b"x" * 40, 2),  # wrong number
        packet(b"x" * 20000, 1),  # longer than is looked at
        b"GET / HTTP/1.1\r\n\r\n",
        packet(b"", 1),
        packet(b"\0" * 33, 1),
    ],
    ids=["sequence", "oversized", "http", "empty", "zeros"],
)
def test_nonsense(room: Room, data: bytes) -> None:
    visitor = room.enter()
    assert visitor.send(data) == []
    assert len(room.slow.unusuals) == 1


def test_mutations_never_get_in(room: Room) -> None:
    """Bytes of the response changed at random: into the slow lane, or in with the same rights."""
    room.learn()
    chance = random.Random(7)
    for _ in range(400):
        visitor = room.enter()
        data = bytearray(packet(visitor.response(), 1))
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(4, len(data))] = chance.randrange(256)
        intact = HandshakeResponse.parse(packet(visitor.response(), 1)[4:])
        answers = visitor.send(bytes(data))
        if answers:
            seen = HandshakeResponse.parse(bytes(data[4:]))
            assert (seen.user, seen.auth_response) == (intact.user, intact.auth_response)
            room.account.sessions = 0
        visitor.peer.socket.close()


@pytest.mark.parametrize("sent", [0, 3, 20])
def test_who_leaves(room: Room, sent: int) -> None:
    visitor = room.enter()
    visitor.send(packet(visitor.response(), 1)[:sent])
    visitor.peer.socket.close()
    while not room.slow.unusuals:
        room.reactor.poll()
    [(_, channel, _, _)] = room.slow.unusuals

    async def read() -> None:
        channel.write_packet(b"greeting")
        await channel.read_packet()

    with pytest.raises(Exception, match="connection closed"):
        asyncio.run(read())


def test_who_says_nothing(room: Room) -> None:
    room.enter(seconds=-1.0)
    room.reactor.sweep()
    [(_, _, _, left)] = room.slow.unusuals
    assert left == 0


@pytest.mark.parametrize("switched", [False, True])
def test_who_is_shut_out_is_looked_at(room: Room, switched: bool) -> None:
    """The guard is asked by address and name, and only while it is alert."""
    asked: list[tuple[str, bytes]] = []

    def is_open(host: str, user: bytes) -> bool:
        asked.append((host, user))
        return host != "127.0.0.9"

    room.services.guard.is_open = is_open
    room.learn(switched=switched)

    def log_in(peer: str, alert: bool, later: bool = False) -> bool:
        room.services.guard.alert = alert and not later
        visitor = room.enter(peer=peer)
        said = visitor.respond(plugin=NATIVE if switched else SHA2)
        if switched and said:
            [(_, payload)] = said
            room.services.guard.alert = alert
            challenge = AuthSwitchRequest.parse(payload)
            answer = proof(challenge.plugin, b"pw", challenge.scramble)
            said = visitor.send(packet(answer, 3))
        return bool(said)

    assert log_in("127.0.0.9:1", alert=False)
    assert asked == []
    assert log_in("127.0.0.8:1", alert=True)
    assert not log_in("127.0.0.9:1", alert=True)
    assert set(asked) == {("127.0.0.8", b"ann"), ("127.0.0.9", b"ann")}
    if switched:
        assert not log_in("127.0.0.9:1", alert=True, later=True)


def test_being_sent_away(room: Room) -> None:
    visitor = room.enter()
    visitor.connection.busy()
    assert room.slow.left == [visitor.connection]
    settle(room.reactor)
    visitor.take()
    assert visitor.peer.ended


def test_moulds_are_copied_whole(room: Room) -> None:
    """Whatever a login sets in its session, others like it have from the start."""
    mould = room.mould()
    given: dict[str, Any] = {
        "settings": "s", "modes": 3, "fast_lane": False, "exact_insert_ids": True,
        "hold_seconds": 2.5, "wait_limit": 7.5, "shows_state": True, "shows_transactions": True,
        "shows_in_eof": True, "keeps_warnings": True, "watch": Watch(), "roams": True,
        "idle_timeout": 9.0, "max_packet": 12345,
    }  # fmt: skip
    for name, value in given.items():
        setattr(mould, name, value)
    copy = mould.like(room.mould().client)
    assert {name: getattr(copy, name) for name in given} == given
    assert copy.serial != mould.serial
    own = {
        "status",
        "watched",
        "watch_next",
        "last_insert_id",
        "tag",
        "row_count",
        "restated",
        "expired",
        "captured",
        "capture_limit",
        "leaving",
        "notes",
    }  # of a session at work
    public = {
        name
        for name in dir(Multiplexed)
        if type(getattr(Multiplexed, name)).__name__ == "getset_descriptor"
        and settable(mould, name)
    }
    assert public - own == set(given)


def settable(session: Multiplexed, name: str) -> bool:
    try:
        setattr(session, name, getattr(session, name))
    except AttributeError:
        return False
    return True


def test_wrong_arguments(room: Room) -> None:
    with pytest.raises(ValueError, match="no room"):
        Greeting(b"short", 1, None, None, 1)
    common: dict[str, Any] = {"plugin": NATIVE, "sha2": False, "switched": False, "like": None}
    with pytest.raises(ValueError, match="digest"):
        Admission(Account(), None, None, 0, stored=b"x" * 32, ok=OK, **common)
    with pytest.raises(ValueError, match="OK"):
        Admission(Account(), None, None, 0, stored=b"", ok=b"", **common)
