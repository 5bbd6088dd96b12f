# SPDX-License-Identifier: Apache-2.0
"""What to do with a statement from now on: traits, verdict, route and counters in one decision.

    decide        for all texts of a digest; or that query rules judge each text for itself
    decide_text   for one text
    decide_again  for a prepared statement, where another account, schema or rules hold now
    decide_long   for a text of which only the head is known

Asked once per account, schema, digest and what else rules look at (ruling.py); what it says is
kept where the fast lane finds it. A statement that rules rewrite is decided by its new text, but
counted under the client's digest.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from hproxy.errors import PoolTimeout, RouteError
from hproxy.routing import Request
from hproxy.routing.rules import Verdict
from hproxy.session.registry import Connection
from hproxy.session.ruling import Ruling
from hproxy.session.screening import Screening
from hproxy.session.services import Services

__all__ = ["Decider"]

COARSE_MS = 20_000
"""A shorter limit is kept to a twentieth of itself."""
NO_HOSTGROUP = -1
"""Of statements that no backend answers, in statistics."""


class Decider:
    """Makes the decisions of multiplexed sessions."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._mysql = services.protocol.multiplexing
        self.ruling = Ruling(services)
        self.screening = Screening(services)

    def decide(self, session: Any, text: bytes) -> Any:
        """For a statement nobody has seen yet."""
        begun = perf_counter_ns()
        digest = self._mysql.digest(text, session.modes)
        verdict = self.ruling.judge(session, session.tag, text, digest)
        if verdict is None or not (verdict.by_text or verdict.by_chance):
            made = self._decided(session, text, digest, verdict)
        else:
            traits = self._mysql.classify(text, session.modes)
            asks = self._mysql.RULED_BY_TEXT | (self._mysql.RULED_BY_CHANCE * verdict.by_chance)
            made = self.decision(session, session.tag, traits, digest, more=asks)
        self._services.counters.deciding_ns += perf_counter_ns() - begun
        return made

    def decide_text(self, session: Any, text: bytes) -> Any:
        """For this text alone."""
        digest = self._mysql.digest(text, session.modes)
        return self._decided(
            session, text, digest, self.ruling.judge(session, session.tag, text, digest)
        )

    def decide_prepared(self, session: Any, text: bytes) -> Any:
        """For a statement that is being prepared, and its executions in the session as it is."""
        digest = self._mysql.digest(text, session.modes)
        verdict = self.ruling.judge(session, session.tag, text, digest)
        chance = verdict is not None and verdict.by_chance
        return self._decided(
            session, text, digest, verdict, more=self._mysql.RULED_BY_CHANCE * chance
        )

    def decide_again(self, session: Any, client: Any) -> Any:
        """For a prepared statement, in the session's schema of now and by the rules of now."""
        statement = client.statement
        known = statement.decision
        asked = client.asked or statement.text
        digest = known.text if client.asked is None else self._mysql.digest(asked, session.modes)
        verdict = self.ruling.judge(session, session.tag, asked, digest)
        chance = verdict is not None and verdict.by_chance
        return self.decision(
            session,
            session.tag,
            known.traits,
            known.text,
            verdict=verdict,
            asked=digest,
            more=self._mysql.RULED_BY_CHANCE * chance,
        )

    def decide_long(self, session: Any, head: bytes) -> Any:
        """A text too long to be held: what its head says, and the worst of its tail.

        Bytes: the answer that query rules or the firewall give instead."""
        decision = self.decide_text(session, head)
        verdict = decision.verdict
        if verdict is not None and verdict.error_msg is not None:
            session.noted(decision)
            return self._mysql.rule_error(verdict.error_msg)
        refusal: bytes | None = self.screening.refusal(decision)
        if refusal is not None:
            return refusal
        if decision.traits.effects & self._mysql.UNREADABLE:
            session.pin(self._mysql.WIDE_STATEMENT, self._mysql.WIDE_STATEMENT)
        return self._mysql.Decision(
            decision.flags & ~int(self._mysql.Trait.SLOW | self._mysql.Trait.READ),
            decision.writer,
            None,
            decision.counters,
            decision.traits,
            decision.text,
            verdict=verdict,
            tally=decision.tally,
            time_limit=decision.time_limit,
            next_flag=decision.next_flag,
            multiplex=decision.multiplex,
            command=decision.command,
        )

    def for_command(self, session: Any) -> Any:
        """For commands that are no statements: to the writer, as they are."""
        return self.decision(session, session.tag, self._mysql.COMMAND_TRAITS, b"")

    def for_schema(self, session: Any, schema: bytes) -> Any:
        """For COM_INIT_DB: where rules expect the sessions of that schema."""
        connection: Connection = session.tag
        home = self.ruling.home(connection, connection.account, schema, session.flag_in)
        verdict = Verdict(destination_hostgroup=home) if self.rules_route else None
        return self.decision(session, connection, self._mysql.COMMAND_TRAITS, b"", verdict=verdict)

    def _watch(self, seconds: float) -> None:
        """A short time limit is worth a closer look at the clock, until all is decided anew."""
        services = self._services
        if seconds < services.precision:
            services.precision = seconds
            services.keep_deadlines(seconds)

    @property
    def rules_route(self) -> bool:
        """Whether there are rules at all."""
        rules = self._services.sharing.rules
        return bool(rules.rules or rules.fast_routes)

    def _decided(
        self, session: Any, text: bytes, digest: bytes, verdict: Verdict | None, more: int = 0
    ) -> Any:
        connection: Connection = session.tag
        mysql, modes = self._mysql, session.modes
        asked = digest
        if verdict is not None and verdict.text is not None:
            text = verdict.text
            digest = mysql.digest(text, modes)
        traits = mysql.classify(text, modes)
        if traits.effects & mysql.Effect.USE and self.rules_route:
            # Where the schema is, not where the session comes from.
            schema = mysql.used_schema(text, modes)
            verdict = Verdict() if verdict is None else verdict
            verdict.destination_hostgroup = self.ruling.home(
                connection, connection.account, schema, session.flag_in
            )
        return self.decision(
            session, connection, traits, digest, verdict=verdict, asked=asked, more=more
        )

    def decision(
        self,
        session: Any,
        connection: Connection,
        traits: Any,
        digest: bytes,
        verdict: Verdict | None = None,
        asked: bytes | None = None,
        more: int = 0,
    ) -> Any:
        """For a statement of these traits; `asked` is the digest of what the client has sent."""
        services, shared = self._services, self._services.sharing
        multiplexing = self._mysql
        account = connection.account
        assert account is not None
        home = account.hostgroup
        settings = session.settings
        said = Verdict() if verdict is None else verdict
        ruled = said.destination_hostgroup
        if ruled is not None and not services.topology.members(ruled):
            error = PoolTimeout(
                "there is no such hostgroup", code="hostgroup", hostgroup=ruled, waited_ms=0
            )
            said.refusal = services.protocol.error_packet(error)
            ruled = None
        if traits.effects & multiplexing.Effect.LOCAL_INFILE and not services.variables.flag(
            "mysql-enable_load_data_local_infile"
        ):
            text = "Unsupported 'LOAD DATA LOCAL INFILE' command"
            forbidden = RouteError(text, code="local_infile")
            said.refusal = services.protocol.error_packet(forbidden)
        route = shared.router.compile(
            Request(
                reads=bool(traits.traits & multiplexing.Trait.READ),
                default_hostgroup=home,
                user=account.username,
                schema=settings.schema,
                ruled=ruled,
                ruled_by=said.why,
            )
        )
        writer = shared.pools.group(route.writer, account, connection.kind, settings)
        reader = None
        if route.reader is not None:
            reader = shared.pools.group(route.reader, account, connection.kind, settings)
            if reader.sticky or writer.sticky:
                reader = None  # who keeps a connection reads and writes on the same
        counted = NO_HOSTGROUP if said.answered else route.writer
        told = digest if asked is None else asked
        counters = self._counters(connection, counted, settings.schema, told)
        at_reader = None
        if reader is not None and not said.answered:
            at_reader = self._counters(connection, reader.hostgroup, settings.schema, told)
        name = multiplexing.command_name(traits, digest)
        command = shared.commands.rows.get(name if services.count_commands else "")
        if not name:
            command = None  # no statement
        flags = int(traits.traits) | more | (multiplexing.RULED_ROUTE * (ruled is not None))
        flags |= services.recorder.flags(said.log)
        flags |= self.screening.flags(session, connection, told)
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
        ends = multiplexing.Trait.WRITE | multiplexing.Trait.ENDS
        if shared.rules.gtid_sources and traits.traits & ends:
            flags |= int(multiplexing.Trait.SLOW)  # which GTID it has will be asked
        delay = (
            services.variables.number("mysql-default_query_delay")
            if said.delay is None
            else said.delay
        )
        if said.acts or delay:
            flags |= int(multiplexing.Trait.SLOW)
            said.delay = delay
            verdict = said
        limit = said.timeout or services.variables.number("mysql-default_query_timeout")
        if limit < COARSE_MS:
            self._watch(limit / COARSE_MS)
        keeps = 0 if said.sticky_conn else said.multiplex
        return multiplexing.Decision(
            flags,
            writer,
            reader,
            counters,
            traits,
            digest,
            verdict=verdict,
            tally=self.ruling.tally(verdict),
            time_limit=limit / 1000 if traits is not multiplexing.COMMAND_TRAITS else 0.0,
            next_flag=-1 if said.next_query_flagIN is None else said.next_query_flagIN,
            multiplex=-1 if keeps is None else keeps,
            reader_counters=at_reader,
            command=command,
        )

    def _counters(
        self, connection: Connection, hostgroup: int, schema: bytes, digest: bytes
    ) -> Any:
        """Of a digest in one hostgroup; of none that is listed when digests are not wanted."""
        services, shared = self._services, self._services.sharing
        if not services.count_digests:
            return shared.unlisted
        account = connection.account
        assert account is not None
        text = services.digest_form.write(digest)
        key: tuple[Any, ...] = (hostgroup, schema, account.username, text)
        if services.track_hosts:
            key = (*key, connection.host.encode())
        return shared.digests.entry(key)
