# SPDX-License-Identifier: Apache-2.0
"""A running session goes on in another process: what it is, as facts, and its descriptors.

    why_not ── None ──> pack ──> facts, descriptors ── another process ──> unpack ──> begin
       │                                                  └ HandoverError: unpack here again
       └ "WARNINGS", "TLS", ...: not now, or not at all

From `pack` on the session is nobody's here, without a word to its client; until `begin` it is
nobody's there. What its client says meanwhile waits in the socket.

What goes along: who the client is, all that its session has set, counts and warnings it may ask
for, prepared statements under its own ids, and the part of a command that was read already. What
stays: decisions, pools, statistics; they are this process's. With a session that needs its backend
connection (a transaction, locks, temporary tables) that goes as well: tethering.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hproxy.dial.converse import Refusal
from hproxy.errors import HandoverError, HProxyError
from hproxy.net.proxy_protocol import Header
from hproxy.protocols.model import Side
from hproxy.session.diagnostics import Diagnostics
from hproxy.session.multiplex import MultiplexDriver
from hproxy.session.registry import Connection
from hproxy.session.services import Services
from hproxy.session.tethering import Tethering

__all__ = ["Handover", "Packed", "descriptors_of"]

Packed = tuple[dict[str, Any], tuple[int, ...]]
"""Facts that JSON can carry, and descriptors that are whoever has them's: the client's, and that of
its backend connection if it has one."""
UNREADABLE = (KeyError, TypeError, ValueError, IndexError, AttributeError)


class Handover:
    """Of one worker: takes its sessions apart, puts those of another together."""

    def __init__(self, services: Services, driver: MultiplexDriver) -> None:
        self._services = services
        self._driver = driver
        self._portable = services.protocol.portable
        self._mysql = services.protocol.multiplexing
        self._tethering = Tethering(services)

    # -- leaving -----------------------------------------------------------------

    def why_not(self, connection: Connection) -> str | None:
        """Why it cannot leave now; None: it can."""
        session = connection.session
        if session is None:
            return "login"
        if not connection.pooled:
            return "own connection"
        if session.client.secured:
            return "TLS"
        if connection.busy is not None or session.state != "idle":
            return "busy"
        if session.held is not None or session.in_transaction or session.pins:
            if self._tethering.may_leave(connection):
                return None
            reasons = self._mysql.reasons(session.pins, session.in_transaction)
            return ", ".join(reasons) or "backend connection"
        if not self._portable.may_leave(session, connection.follow.state):
            return "busy"
        return None

    def relieve(self, connection: Connection) -> bool:
        """Read what binds it to its connection if that is only what it may ask for; True: it is
        being read."""
        session = connection.session
        if session is None or not connection.pooled or connection.busy is not None:
            return False
        if not session.yieldable(int(connection.follow.state.pending)):
            return False
        session.begin_yield()
        self._driver.spawn(session, connection, "diagnostics", self._driver.settling.relieve)
        return True

    def on_departure(self, told: Callable[[Any], object] | None) -> None:
        """Have `told` hear of sessions that are `leaving` and have come to rest before a command;
        None: they stay."""
        self._driver.on_departure = told or (lambda session: session.stay())

    def pack(self, connection: Connection) -> Packed:
        """End it here. Raises ValueError where something binds it; it then goes on."""
        session, account = connection.session, connection.account
        assert account is not None
        login, follow = connection.login, connection.follow
        portable, there = self._portable, None
        fds: tuple[int, ...]
        if session.held is not None:
            fds, taken, there = self._tethering.pack(connection)
        else:
            fd, taken = portable.take(session, login, follow.state)
            fds = (fd,)
        facts = {
            "id": connection.id,
            "peer": connection.peer,
            "via": connection.via,
            "header": header_to(connection.header, portable.as_text),
            "since": connection.since,
            "listener": connection.listener.address if connection.listener is not None else "",
            "mysql": follow.facts.mysql,
            "wrote_in": connection.wrote_in,
            "gtids": [[group, portable.as_text(gtid)] for group, gtid in _items(connection.gtids)],
            "diagnostics": self._diagnostics(connection.diagnostics),
            "asks_insert_id": account.asks_insert_id,
            "learned": portable.credential_to(account.learned),
            "session": taken,
            "there": there,
        }
        self._services.users.leave(account)
        self._services.registry.leave(connection)
        connection.session = None
        return facts, fds

    def parted(self, facts: Mapping[str, Any]) -> None:
        """What was packed is somebody's now: another process's, or back here, or nobody's."""
        self._tethering.parted(facts["id"])

    def _diagnostics(self, found: Diagnostics | None) -> Any:
        if found is None:
            return None
        text = self._portable.as_text
        answers = [[text(q), [text(p) for p in packets]] for q, packets in found.answers.items()]
        return [found.serial, answers]

    # -- arriving ----------------------------------------------------------------

    async def unpack(self, facts: Mapping[str, Any], fds: Sequence[int]) -> Connection:
        """The session, which has not begun. Raises HandoverError; `fds` are closed then."""
        connection, own = None, list(fds)
        try:
            account = self._account(facts)
            connection = self._welcome(facts, account)
            there, bucket = facts["there"], None
            if there is None:
                known = await self._known(connection, account)
            else:
                bucket, known = await self._tethering.expect(connection, there)
            if known.mysql is not facts["mysql"]:
                raise HandoverError("its servers are of another kind here", code="servers")
            channel = self._services.protocol.channel(
                self._services.reactor, own.pop(0), Side.CLIENT.value,
                self._services.settings.max_packet,
            )  # fmt: skip
            try:
                self._put_together(connection, channel, known, facts)
                if there is not None:
                    self._tethering.give(connection, bucket, own.pop(), there)
            except BaseException:
                channel.close()
                if connection.session is not None:
                    connection.session.client.close()
                raise
        except BaseException as error:
            for fd in own:
                os.close(fd)
            if connection is not None:
                self._forget(connection)
            if isinstance(error, UNREADABLE):
                why = f"the session makes no sense: {error!r}"
                raise HandoverError(why, code="facts") from error
            raise
        return connection

    def _account(self, facts: Mapping[str, Any]) -> Any:
        login = facts["session"]["login"]
        account = self._services.users.find(self._portable.as_bytes(login["user"]))
        if account is None:
            raise HandoverError("there is no such account here", code="account")
        if account.fast_forward:
            raise HandoverError("its account keeps one backend connection", code="account")
        learned = self._portable.credential_of(facts["learned"])
        if learned is not None and account.learned is None:
            account.learned = learned
            if account.credential is None and not account.separate:
                account.credential = learned
        account.asks_insert_id |= facts["asks_insert_id"]
        return account

    def _welcome(self, facts: Mapping[str, Any], account: Any) -> Connection:
        services, back = self._services, self._portable.as_bytes
        header = header_of(facts["header"], back)
        gtids = {group: back(gtid) for group, gtid in facts["gtids"]}
        kind = self._mysql.kind_of(facts["session"]["login"]["capabilities"])
        via, since, wrote_in = facts["via"], facts["since"], facts["wrote_in"]
        connection = services.registry.welcome(facts["id"], facts["peer"], services.log)
        if connection is None:
            raise HandoverError("another client has its id", code="id", id=facts["id"])
        account.tally.welcome()  # whatever its limit: it is in already
        connection.account, connection.kind = account, kind
        connection.via, connection.header, connection.since = via, header, since
        connection.wrote_in, connection.gtids = wrote_in, gtids or None
        return connection

    async def _known(self, connection: Connection, account: Any) -> Any:
        """What is known of the servers it goes to."""
        try:
            return await self._driver.connector.facts_for(connection, account)
        except (HProxyError, Refusal) as error:
            raise HandoverError(f"its servers are not known: {error}", code="servers") from error

    def _put_together(
        self, connection: Connection, channel: Any, known: Any, facts: Mapping[str, Any]
    ) -> None:
        portable, taken = self._portable, facts["session"]
        login = portable.login_of(taken["login"], connection.account)
        memory = portable.memory_of(taken)
        connection.login = login
        if login.compression is not None:
            channel.start_compression(login.compression)
        session = self._driver.connector.session_of(connection, channel, login, memory.settings)
        session.keeps_warnings = not known.mysql
        connection.follow = self._driver.follower.following(memory.settings, known)
        connection.follow.state.recall(memory)
        if facts["there"] is not None:
            self._services.protocol.tethered.retie(connection.follow.state, facts["there"])
        self._driver.follower.apply(session, connection)
        statements = Statements(self._services, self._driver, connection)
        portable.give(session, taken, statements.recalled)
        if facts["diagnostics"] is not None:
            serial, answers = facts["diagnostics"]
            back = portable.as_bytes
            kept = {back(question): [back(p) for p in packets] for question, packets in answers}
            connection.diagnostics = Diagnostics(serial, kept)

    def begin(self, connection: Connection, facts: Mapping[str, Any]) -> None:
        """Serve it, beginning with what its client has sent meanwhile."""
        session, native = connection.session, facts["session"]["native"]
        if session.client.closed:
            session.close("client left")
            return
        session.start()
        self._tethering.begin(connection)
        if session.state == "idle" and native["deadline"] and not native["inbox"]:
            session.client.deadline = native["deadline"]

    def drop(self, connection: Connection) -> None:
        """It does not begin here after all; its client, who is somebody else's, hears nothing."""
        self._tethering.drop(connection)
        connection.session.client.close()
        connection.session = None
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection.account is not None:
            self._services.users.leave(connection.account)
            connection.account = None
        connection.session = None
        self._services.registry.leave(connection)


class Statements:
    """Finds or makes what one session had prepared, among the statements of this worker."""

    def __init__(self, services: Services, driver: MultiplexDriver, connection: Connection) -> None:
        self._cache = services.sharing.statements
        self._mysql = services.protocol.multiplexing
        self._decider = driver.decider
        self._connection = connection

    def recalled(
        self, text: bytes, context: Any, modes: int, params: int, columns: int, sticky: bool
    ) -> Any:
        """The statement; what answers a client that prepares it anew is not known of it."""
        connection = self._connection
        assert connection.account is not None
        key = (connection.account.username, connection.kind, context, modes, text)
        known = self._cache.get(key)
        if known is not None and (known.params, known.columns) == (params, columns):
            return known
        traits, digest = self._mysql.classify(text, modes), self._mysql.digest(text, modes)
        decision = self._decider.decision(connection.session, connection, traits, digest)
        made = self._mysql.Statement(key, text, params, columns, b"", decision, sticky)
        if known is None:
            self._cache.put(made)
        return made


def descriptors_of(facts: Mapping[str, Any]) -> int:
    """How many go with them."""
    return 1 if facts["there"] is None else 2


def header_to(header: Header | None, text: Any) -> Any:
    if header is None:
        return None
    tlvs = [[kind, text(value)] for kind, value in header.tlvs]
    return [header.version, header.source, header.destination, tlvs]


def header_of(facts: Sequence[Any] | None, back: Any) -> Header | None:
    if facts is None:
        return None
    version, source, destination, tlvs = facts
    return Header(
        version,
        None if source is None else (source[0], source[1]),
        None if destination is None else (destination[0], destination[1]),
        tuple((kind, back(value)) for kind, value in tlvs),
    )


def _items(gtids: Mapping[int, bytes] | None) -> Any:
    return () if gtids is None else gtids.items()
