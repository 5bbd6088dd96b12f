# SPDX-License-Identifier: Apache-2.0
"""What to do with a statement from now on: its traits, its route and its counters in one decision.

Asked once per account, schema and digest; what it says is kept where the fast lane finds it.
"""

from __future__ import annotations

from typing import Any

from hproxy.routing import Request
from hproxy.session.registry import Connection
from hproxy.session.services import Services

__all__ = ["Decider"]


class Decider:
    """Makes the decisions of multiplexed sessions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def decide(self, session: Any, text: bytes) -> Any:
        """For a statement nobody has seen yet."""
        multiplexing = self._services.protocol.multiplexing
        traits = multiplexing.classify(text, session.modes)
        digest = multiplexing.digest(text, session.modes)
        return self.decision(session, session.tag, traits, digest)

    def decide_again(self, session: Any, statement: Any) -> Any:
        """For a prepared statement, in the session's schema of now."""
        decision = statement.decision
        return self.decision(session, session.tag, decision.traits, decision.text)

    def decide_long(self, session: Any, head: bytes) -> Any:
        """A text too long to be held: what its head says, and the worst of its tail."""
        multiplexing = self._services.protocol.multiplexing
        decision = self.decide(session, head)
        if decision.traits.effects & multiplexing.UNREADABLE:
            session.pin(multiplexing.WIDE_STATEMENT, multiplexing.WIDE_STATEMENT)
        return multiplexing.Decision(
            decision.flags & ~int(multiplexing.Trait.SLOW | multiplexing.Trait.READ),
            decision.writer,
            None,
            decision.counters,
            decision.traits,
            decision.text,
        )

    def for_command(self, session: Any) -> Any:
        """For commands that are no statements: to the writer, as they are."""
        traits = self._services.protocol.multiplexing.COMMAND_TRAITS
        return self.decision(session, session.tag, traits, b"")

    def decision(self, session: Any, connection: Connection, traits: Any, digest: bytes) -> Any:
        """For a statement of these traits."""
        services, shared = self._services, self._services.sharing
        multiplexing = services.protocol.multiplexing
        account = connection.account
        assert account is not None
        home = account.hostgroup
        settings = session.settings
        route = shared.router.compile(
            Request(
                reads=bool(traits.traits & multiplexing.Trait.READ),
                default_hostgroup=home,
                user=account.username,
                schema=settings.schema,
            )
        )
        writer = shared.pools.group(route.writer, account, connection.kind, settings)
        reader = None
        if route.reader is not None:
            reader = shared.pools.group(route.reader, account, connection.kind, settings)
            if reader.sticky or writer.sticky:
                reader = None  # who keeps a connection reads and writes on the same
        counters = shared.digests.entry((home, settings.schema, account.username, digest))
        flags = int(traits.traits)
        if traits.effects & multiplexing.Effect.DDL:
            flags |= int(multiplexing.Trait.SLOW)  # what was prepared may be stale after it
        if flags & multiplexing.Trait.CONTEXT and multiplexing.shows_warnings(digest):
            flags |= int(multiplexing.Trait.SLOW)  # whose they are is to be looked at
        if traits.effects & multiplexing.Effect.SAVEPOINT:
            flags |= multiplexing.SAVEPOINT
        flags |= multiplexing.found_otherwise(traits, digest, connection.follow.facts.mysql)
        several = traits.traits & multiplexing.Trait.MULTI
        if several or traits.effects & multiplexing.MAY_SET_LAST_ID:
            flags |= multiplexing.SETS_LAST_ID | int(multiplexing.Trait.LAST_ID)
        if traits.traits & multiplexing.Trait.LAST_ID and not account.asks_insert_id:
            account.asks_insert_id = True  # from now on it is known for sure
            for other in services.registry:
                if other.account is account and other.pooled:
                    other.session.exact_insert_ids = True
        return multiplexing.Decision(flags, writer, reader, counters, traits, digest)
